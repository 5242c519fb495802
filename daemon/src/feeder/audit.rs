//! Holds what the journal says was issued against the seed files, before a single envelope is dealt: a journal and a seed directory
//! that do not belong together would issue an envelope twice, or money that nobody put in.

use std::ops::Range;
use std::rc::Rc;

use hongbao_protocol::seed::{RECORDS_PER_BLOCK, RecordBlock};
use hongbao_protocol::{CampaignId, Cents, Envelope, EnvelopeId, ServerId};

use super::reader::{Chunk, Reader, SeedReads, Span};
use super::{SeedFile, Tally};
use crate::exit::{Exit, Failure};
use crate::issued::{IssuedBefore, same_prize};
use crate::limits::FEEDER_READ_BLOCKS;

const BELONG: &str = "The seed directory and the data directory do not belong together: start with the seed files that this journal \
                      was written with.";

fn contradiction(what: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Config, format!("{what}. {BELONG}"))
}

fn block_of(id: EnvelopeId) -> u32 {
    id.index() / RECORDS_PER_BLOCK as u32
}

/// Compares every envelope that was issued with its seed record. Only blocks that hold such envelopes are read, in order; one that
/// is damaged cannot contradict the journal, and is left to the walk to name.
///
/// The result is what was issued of each file.
///
/// # Errors
/// `Exit::Config`, naming envelope and file, where journal and seeds contradict each other.
pub(super) async fn audit(
    reads: &dyn SeedReads,
    files: &Rc<[SeedFile]>,
    campaign: Option<CampaignId>,
    server: ServerId,
    issued: &IssuedBefore,
) -> Result<Vec<Tally>, Failure> {
    if let (Some(journal), Some(seeds)) = (issued.campaign, campaign)
        && journal != seeds
    {
        return Err(contradiction(format_args!(
            "the journal is of campaign {journal}, the seed files are of campaign {seeds}"
        )));
    }
    let envelopes = &issued.envelopes;
    debug_assert!(envelopes.is_sorted_by(|a, b| a.id < b.id), "the ledger sorts what it hands over");
    // Sorted, so that the first and the last speak for all.
    for envelope in envelopes.first().into_iter().chain(envelopes.last()) {
        if envelope.id.server() != server {
            let (id, other) = (envelope.id, envelope.id.server());
            return Err(contradiction(format_args!(
                "the journal has envelope {id} of server {other}, and this is server {server}"
            )));
        }
    }
    let ranges: Vec<_> = files.iter().map(|file| issued_of(file, envelopes)).collect();
    let tallies: Vec<_> = files
        .iter()
        .zip(&ranges)
        .map(|(file, range)| tally(file, &envelopes[range.clone()]))
        .collect::<Result<_, _>>()?;
    warn_of_missing_shards(envelopes, &tallies);
    compare(reads, files, &ranges, envelopes).await?;
    Ok(tallies)
}

/// Which of the issued envelopes are the file's.
fn issued_of(file: &SeedFile, envelopes: &[Envelope]) -> Range<usize> {
    let (server, shard) = (file.header.binding.server, file.header.binding.shard);
    let start = envelopes.partition_point(|envelope| envelope.id < EnvelopeId::new(server, shard, 0));
    let end = envelopes.partition_point(|envelope| envelope.id <= EnvelopeId::new(server, shard, u32::MAX));
    start..end
}

/// What can be held against the header alone.
fn tally(file: &SeedFile, issued: &[Envelope]) -> Result<Tally, Failure> {
    let path = file.path.display();
    if let Some(last) = issued.last()
        && last.id.index() >= file.header.count
    {
        return Err(contradiction(format_args!(
            "the journal has envelope {} (index {} of shard {}), but {path} holds only {} envelopes",
            last.id,
            last.id.index(),
            last.id.shard(),
            file.header.count
        )));
    }
    let amount = issued.iter().try_fold(Cents::ZERO, |sum, envelope| sum.checked_add(envelope.amount));
    match amount {
        Some(amount) if amount <= file.header.total => Ok(Tally { envelopes: issued.len() as u64, amount }),
        _ => Err(contradiction(format_args!(
            "the journal issued more money from {path} than the {} cents in it",
            file.header.total.0
        ))),
    }
}

fn warn_of_missing_shards(envelopes: &[Envelope], tallies: &[Tally]) {
    let missing = envelopes.len() as u64 - tallies.iter().map(|tally| tally.envelopes).sum::<u64>();
    if missing > 0 {
        tracing::warn!(
            "{missing} envelopes that the journal has as issued are of shards that are not in the seed directory: they could not be \
             compared with their seed records. This is as it should be where those seed files were retired"
        );
    }
}

/// Compares record by record, each file's part in order.
async fn compare(
    reads: &dyn SeedReads,
    files: &Rc<[SeedFile]>,
    ranges: &[Range<usize>],
    envelopes: &[Envelope],
) -> Result<(), Failure> {
    let spans: Vec<_> =
        ranges.iter().enumerate().flat_map(|(file, range)| spans_with(file, &envelopes[range.clone()])).collect();
    let mut reader = Reader::start(reads, files.clone(), spans.into_iter());
    let mut unreadable = 0;
    let mut place = 0;
    while let Some(chunk) = reader.next().await {
        let range = &ranges[chunk.span.file];
        place = place.max(range.start);
        let end = chunk.span.first + chunk.span.blocks;
        let count = envelopes[place..range.end].partition_point(|envelope| block_of(envelope.id) < end);
        for group in envelopes[place..place + count].chunk_by(|a, b| block_of(a.id) == block_of(b.id)) {
            unreadable += compare_block(&files[chunk.span.file], &chunk, group)?;
        }
        place += count;
        reader.reuse(chunk);
    }
    if unreadable > 0 {
        tracing::warn!(
            "{unreadable} issued envelopes stand in damaged seed blocks: what the journal says of them is taken as it is"
        );
    }
    Ok(())
}

/// The windows of blocks that hold issued envelopes, each cut to what is needed of it.
fn spans_with(file: usize, issued: &[Envelope]) -> impl Iterator<Item = Span> {
    issued.chunk_by(|a, b| block_of(a.id) / FEEDER_READ_BLOCKS == block_of(b.id) / FEEDER_READ_BLOCKS).map(
        move |window| {
            let (first, last) = (block_of(window[0].id), block_of(window[window.len() - 1].id));
            Span { file, first, blocks: last - first + 1 }
        },
    )
}

/// Compares the issued envelopes of one block. Gives how many could not be compared.
fn compare_block(file: &SeedFile, chunk: &Chunk, issued: &[Envelope]) -> Result<usize, Failure> {
    let number = block_of(issued[0].id);
    let Ok(bytes) = chunk.block(number) else { return Ok(issued.len()) };
    let expected = file.header.records_in(number);
    let Ok(block) = RecordBlock::decode(&file.header.binding, number, expected, bytes) else { return Ok(issued.len()) };
    let mut issued = issued.iter().peekable();
    for record in block.envelopes() {
        let Some(envelope) = issued.next_if(|envelope| envelope.id == record.id) else { continue };
        if !same_prize((record.sponsor, record.amount), envelope) {
            return Err(contradiction(format_args!(
                "the journal has envelope {} as {} cents of sponsor {}, but {} (block {}, offset {}) holds it as {} cents of sponsor {}",
                envelope.id,
                envelope.amount.0,
                envelope.sponsor,
                file.path.display(),
                number + 1,
                Span::offset(number),
                record.amount.0,
                record.sponsor
            )));
        }
    }
    assert!(issued.next().is_none(), "each index below the count has a record");
    Ok(0)
}
