//! Reading the journal's files in order: what every start and every `hongbaod ledger` command does.

use super::error::LedgerError;
use super::journal::{Binding, Block, ChainPoint, Record, RecordReader, SegmentFile, SegmentFolder, Sequence};
use super::recovery::{Contradiction, Tail, Walk};

/// Where the journal ends.
#[derive(Clone, Debug)]
pub(super) struct JournalEnd {
    /// Where the next block goes.
    pub(super) point: ChainPoint,
    /// What lies behind the last block.
    pub(super) tail: Tail,
    /// Whole blocks.
    pub(super) blocks: u64,
}

/// Walks these segments and gives each record to `visit`; after each segment, `done` gets its bytes.
pub(super) fn read(
    folder: &SegmentFolder,
    segments: &[SegmentFile],
    visit: &mut dyn FnMut(Sequence, &Record) -> Result<(), Contradiction>,
    done: &mut dyn FnMut(u64),
) -> Result<JournalEnd, LedgerError> {
    let first = segments.first().map_or(ChainPoint::START.segment, |first| first.number);
    let mut walk = Walk::new(ChainPoint { segment: first, ..ChainPoint::START });
    let mut bytes = Vec::new();
    for segment in segments {
        folder.read(segment, &mut bytes)?;
        walk.segment(segment.number, &bytes, visit).map_err(|damage| LedgerError::damaged(folder, damage))?;
        done(segment.bytes);
    }
    Ok(JournalEnd { point: *walk.point(), tail: walk.tail().clone(), blocks: walk.blocks() })
}

/// Whom the journal belongs to, by its first record alone; `None` where nothing whole is at its start.
pub(super) fn binding(folder: &SegmentFolder, segments: &[SegmentFile]) -> Result<Option<Binding>, LedgerError> {
    let Some(first) = segments.first() else { return Ok(None) };
    let start = folder.read_start(first)?;
    let record = Block::decode(&start).ok().and_then(|block| RecordReader::new(block.payload).next());
    Ok(match record {
        Some(Ok(Record::Binding(binding))) => Some(binding),
        _ => None,
    })
}
