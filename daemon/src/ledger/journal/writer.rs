//! Where the next block goes and what its header says. Pure: it fills the caller's buffer and never writes a file.

use super::block::{self, BlockHash, BlockHeader, JournalId, Sequence};
use super::segment::SegmentNumber;
use crate::limits::JOURNAL_PAGE_BYTES;

/// The end of a chain of blocks: what the next block must continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainPoint {
    /// Which journal; `None` before its first block.
    pub journal: Option<JournalId>,
    /// Boot epoch of the last block, 0 before the first.
    pub epoch: u64,
    /// Number of the next block.
    pub block: u64,
    /// Number of the next record.
    pub record: Sequence,
    /// Hash of the last block.
    pub previous: BlockHash,
    /// Where the next block goes.
    pub segment: SegmentNumber,
    /// Where in it, in bytes from its start.
    pub offset: u64,
}

impl ChainPoint {
    /// A journal with nothing in it.
    pub const START: Self = Self {
        journal: None,
        epoch: 0,
        block: 1,
        record: Sequence(1),
        previous: BlockHash([0; 32]),
        segment: SegmentNumber::FIRST,
        offset: 0,
    };
}

/// Where a sealed block is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The segment.
    pub segment: SegmentNumber,
    /// Bytes from its start.
    pub offset: u64,
    /// Bytes of the block.
    pub length: usize,
}

/// Gives each block its place and its header.
#[derive(Debug)]
pub struct JournalWriter {
    point: ChainPoint,
    journal: JournalId,
    epoch: u64,
    segment_bytes: u64,
}

impl JournalWriter {
    /// Goes on at `point`, in a segment of this length, as this journal and boot epoch.
    pub fn new(point: ChainPoint, journal: JournalId, epoch: u64, segment_bytes: u64) -> Self {
        assert!(point.journal.is_none_or(|earlier| earlier == journal), "a journal keeps its id");
        assert!(epoch >= point.epoch, "an epoch never falls");
        Self { point, journal, epoch, segment_bytes }
    }

    /// Whether a block with this much payload fits the rest of the segment.
    pub fn fits(&self, payload_bytes: usize) -> bool {
        self.point.offset + block::block_bytes(payload_bytes) as u64 <= self.segment_bytes
    }

    /// Goes on at the start of the next segment, of this length.
    pub fn next_segment(&mut self, segment_bytes: u64) {
        self.point.segment = self.point.segment.next();
        self.point.offset = 0;
        self.segment_bytes = segment_bytes;
    }

    /// Makes `buffer`, whose records stand behind the room for a header, a block that [`fits`](Self::fits), and moves on behind it.
    pub fn seal(&mut self, buffer: &mut [u8], payload_bytes: usize, records: u32) -> Placed {
        assert!(payload_bytes > 0 && records > 0, "a block holds at least one record");
        assert!(self.fits(payload_bytes), "the caller moves to the next segment first");
        let (end, length) = (BlockHeader::BYTES + payload_bytes, block::block_bytes(payload_bytes));
        let header = BlockHeader {
            payload_bytes: payload_bytes as u32,
            journal: self.journal,
            epoch: self.epoch,
            block: self.point.block,
            first: self.point.record,
            last: Sequence(self.point.record.0 + u64::from(records) - 1),
            previous: self.point.previous,
            segment: self.point.segment,
            page: (self.point.offset / JOURNAL_PAGE_BYTES as u64) as u32,
            payload_crc: crc32c::crc32c(&buffer[BlockHeader::BYTES..end]),
        };
        buffer[..BlockHeader::BYTES].copy_from_slice(&header.encode());
        buffer[end..length].fill(0);
        let placed = Placed { segment: self.point.segment, offset: self.point.offset, length };
        self.point = ChainPoint {
            journal: Some(self.journal),
            epoch: self.epoch,
            block: self.point.block + 1,
            record: Sequence(header.last.0 + 1),
            previous: block::hash(&buffer[..end]),
            segment: self.point.segment,
            offset: self.point.offset + length as u64,
        };
        placed
    }

    /// Where the chain ends now, sealed blocks included.
    pub fn point(&self) -> &ChainPoint {
        &self.point
    }
}
