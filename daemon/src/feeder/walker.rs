//! Walks through the seed files block by block: verifies each before an envelope of it is dealt, passes over what was issued before,
//! and books what is damaged.

use std::collections::VecDeque;
use std::rc::Rc;

use hongbao_protocol::seed::{RECORDS_PER_BLOCK, RecordBlock};
use hongbao_protocol::{Cents, Envelope, EnvelopeId};

use super::reader::{Chunk, Look, Reader, SeedReads, Span};
use super::{FeederSummary, SeedFile, Tally};
use crate::issued::IssuedSet;
use crate::limits::{DEALT_PER_TICK_MAX, FEEDER_DAMAGE_LINES_MAX};

/// The file under way.
#[derive(Default)]
struct Page {
    /// What its header promises and no block has shown yet.
    left: Cents,
    /// Damaged blocks so far.
    damaged_blocks: u32,
}

/// Hands out the envelopes of all files, in order.
pub(super) struct Walker {
    files: Rc<[SeedFile]>,
    /// What was issued of each file, by the audit.
    skipped: Vec<Tally>,
    issued: IssuedSet,
    reader: Reader,
    chunk: Option<Chunk>,
    /// The next block of the chunk.
    next: u32,
    page: Page,
    /// Verified, not issued before, not dealt.
    fresh: VecDeque<Envelope>,
    /// Envelopes in blocks not reached yet, the issued ones not counted.
    unread: u64,
    ended: bool,
}

impl Walker {
    /// Begins to read ahead. `skipped` says what `issued` holds of each file.
    pub(super) fn new(reads: &dyn SeedReads, files: Rc<[SeedFile]>, skipped: Vec<Tally>, issued: IssuedSet) -> Self {
        let counts = files.iter().zip(&skipped).map(|(file, skipped)| u64::from(file.header.count) - skipped.envelopes);
        Self {
            unread: counts.sum(),
            reader: Reader::start(reads, files.clone(), Span::all(files.clone())),
            files,
            skipped,
            issued,
            chunk: None,
            next: 0,
            page: Page::default(),
            fresh: VecDeque::with_capacity(DEALT_PER_TICK_MAX + RECORDS_PER_BLOCK),
            ended: false,
        }
    }

    /// Whether every block was reached and every envelope handed out.
    pub(super) fn is_exhausted(&self) -> bool {
        self.ended && self.fresh.is_empty()
    }

    /// Envelopes not handed out: verified ones and those in blocks to come.
    pub(super) fn remaining(&self) -> u64 {
        self.unread + self.fresh.len() as u64
    }

    /// The next verified envelope. Those that [`fill`](Self::fill) promised are there.
    pub(super) fn pop(&mut self) -> Option<Envelope> {
        self.fresh.pop_front()
    }

    /// Verifies blocks until `wanted` envelopes are ready, at most [`DEALT_PER_TICK_MAX`], or what was read ahead is used up. Gives
    /// how many are ready.
    pub(super) fn fill(&mut self, wanted: usize, books: &mut FeederSummary) -> usize {
        assert!(wanted <= DEALT_PER_TICK_MAX, "the queue has room for one tick's envelopes");
        while self.fresh.len() < wanted {
            let Some(chunk) = self.chunk.take() else {
                match self.reader.look() {
                    Look::Chunk(chunk) => self.turn_to(chunk),
                    Look::Later => break,
                    Look::End => {
                        assert!(self.unread == 0, "the reader handed over every block");
                        self.ended = true;
                        break;
                    }
                }
                continue;
            };
            self.take_block(&chunk, books);
            if self.next == chunk.span.first + chunk.span.blocks {
                self.reader.reuse(chunk);
            } else {
                self.chunk = Some(chunk);
            }
        }
        self.fresh.len()
    }

    fn turn_to(&mut self, chunk: Chunk) {
        let file = chunk.span.file;
        self.next = chunk.span.first;
        if self.next == 0 {
            let left = self.files[file].header.total.checked_sub(self.skipped[file].amount);
            self.page =
                Page { left: left.expect("the audit has held the issued money against the total"), damaged_blocks: 0 };
        }
        self.chunk = Some(chunk);
    }

    fn take_block(&mut self, chunk: &Chunk, books: &mut FeederSummary) {
        let (number, file) = (self.next, &self.files[chunk.span.file]);
        let (header, expected) = (file.header, file.header.records_in(number));
        let found = chunk.block(number).map_err(str::to_owned).and_then(|bytes| {
            RecordBlock::decode(&header.binding, number, expected, bytes).map_err(|error| error.to_string())
        });
        self.unread -= match found.and_then(|block| self.admit(&block)) {
            Ok(count) => count,
            Err(reason) => {
                let first = number * RECORDS_PER_BLOCK as u32;
                let id = |index| EnvelopeId::new(header.binding.server, header.binding.shard, index);
                let indices = first..first + expected as u32;
                let lost = indices.filter(|index| !self.issued.contains(id(*index))).count() as u64;
                self.report(chunk.span.file, number, lost, &reason);
                books.damage(Tally { envelopes: lost, amount: Cents::ZERO });
                lost
            }
        };
        self.next += 1;
        if self.next == header.blocks() {
            self.settle(chunk.span.file, books);
        }
    }

    /// Makes the block's envelopes ready, where their money is within what the header leaves for them. Gives how many.
    fn admit(&mut self, block: &RecordBlock<'_>) -> Result<u64, String> {
        let before = self.fresh.len();
        let mut left = Some(self.page.left);
        for envelope in block.envelopes().filter(|envelope| !self.issued.contains(envelope.id)) {
            left = left.and_then(|left| left.checked_sub(envelope.amount));
            self.fresh.push_back(envelope);
        }
        let Some(left) = left else {
            self.fresh.truncate(before);
            return Err("its envelopes hold more than the header's total leaves for them".to_owned());
        };
        self.page.left = left;
        Ok((self.fresh.len() - before) as u64)
    }

    fn report(&mut self, file: usize, number: u32, envelopes: u64, reason: &str) {
        self.page.damaged_blocks += 1;
        let path = self.files[file].path.display();
        if self.page.damaged_blocks <= FEEDER_DAMAGE_LINES_MAX {
            tracing::error!(
                "seed file {path}, block {} (offset {}): {reason}. Its {envelopes} envelopes are not dealt; restore the file",
                number + 1,
                Span::offset(number)
            );
        }
    }

    /// At the end of a file: what its header promised and its blocks did not show is lost with the damage.
    fn settle(&mut self, file: usize, books: &mut FeederSummary) {
        let (path, left, damaged) = (self.files[file].path.display(), self.page.left, self.page.damaged_blocks);
        if damaged > FEEDER_DAMAGE_LINES_MAX {
            tracing::error!("seed file {path}: {damaged} damaged blocks in all");
        } else if damaged == 0 && left > Cents::ZERO {
            tracing::error!("seed file {path}: its header promises {} cents more than its envelopes hold", left.0);
        }
        books.damage(Tally { envelopes: 0, amount: left });
        self.page = Page::default();
    }
}
