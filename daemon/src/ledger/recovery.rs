//! Walking the chain of blocks from its start, and telling a torn tail from damage. Pure over bytes.
//!
//! One flush is in flight at a time, and a segment holds zeros where nothing was written. So after a crash, behind the last whole
//! block lies nothing but zeros and, at most, one block of which some 512-byte sectors arrived and others did not: a *torn
//! tail*. Nobody was told of its records; it is cut. Everything else is *damage*, and acknowledged wins may be in it:
//!
//! - the header of a block of this journal behind the place where the chain breaks, or anything in a later segment: what came before it was
//!   durable when it was written;
//! - something set further behind the break than one block reaches;
//! - a broken block that sectors not arriving do not explain: its first sector is neither a right header nor zeros, or every sector
//!   of its records arrived and the checksum is wrong all the same.

use std::ops::Range;

use thiserror::Error;

use super::gifts::GiftContradiction;
use super::journal::{
    Block, BlockError, BlockHeader, ChainPoint, Record, RecordError, RecordReader, SegmentNumber, Sequence,
};
use crate::limits::{JOURNAL_BLOCK_BYTES_MAX, JOURNAL_PAGE_BYTES};

/// What a disk writes all or nothing of.
const SECTOR_BYTES: usize = 512;

/// Why the journal cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DamageReason {
    /// The chain breaks before its end.
    #[error(
        "{broken}, yet block {later} begins at offset {offset}: records between them are lost, or it was written to a wrong place"
    )]
    LaterBlock {
        /// What is wrong here.
        broken: BlockError,
        /// Number of a later block.
        later: u64,
        /// Where it starts in its segment.
        offset: u64,
    },
    /// The chain breaks, and yet something is written in a later segment.
    #[error(
        "the chain of blocks breaks here, yet something is written in segment {later}: records between them are lost"
    )]
    BehindTheEnd {
        /// The later segment.
        later: SegmentNumber,
    },
    /// Too far behind the last block for a write that did not finish.
    #[error("{broken}, and bytes are set up to offset {last}, further than one unfinished write reaches")]
    TooFar {
        /// What is wrong here.
        broken: BlockError,
        /// The last byte that is not zero.
        last: u64,
    },
    /// Not explained by a write that did not finish.
    #[error("{0}, and no sector of it is missing: it was changed after it was written")]
    Changed(BlockError),
    /// A whole block that does not belong here.
    #[error("a whole block that does not follow the one before: {0}")]
    Foreign(&'static str),
    /// A whole block with a record that cannot be read.
    #[error("it holds {0}")]
    Record(RecordError),
    /// A whole block that does not hold the records that its header says.
    #[error("its header counts {stated} records and it holds {found}")]
    RecordCount {
        /// By the header.
        stated: u64,
        /// By reading them.
        found: u64,
    },
    /// A record that contradicts an earlier one.
    #[error("record {} {}", sequence.0, contradiction)]
    Contradiction {
        /// The record.
        sequence: Sequence,
        /// How.
        contradiction: Contradiction,
    },
}

/// How a record contradicts those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Contradiction {
    /// An envelope a second time.
    #[error("issues envelope {0} a second time")]
    IssuedTwice(hongbao_protocol::EnvelopeId),
    /// A binding that is not the first record, or a first record that is none.
    #[error("is no binding, but the first record says whom the journal belongs to")]
    Unbound,
    /// A second binding.
    #[error("binds the journal a second time")]
    BoundTwice,
    /// A gift that cannot be.
    #[error("{0}")]
    Gift(#[from] GiftContradiction),
}

/// The journal is damaged: where, and how that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("block {block} at offset {offset} of segment {segment}: {reason}")]
pub struct Damage {
    /// The segment.
    pub segment: SegmentNumber,
    /// Bytes from its start.
    pub offset: u64,
    /// Number of the block that is, or should be, there.
    pub block: u64,
    /// How it is known.
    pub reason: DamageReason,
}

/// How the bytes behind the last whole block look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing but zeros.
    Clean,
    /// A write that did not finish, in these bytes of the segment where the chain ends. Nobody was told of it.
    Torn(Range<u64>),
}

/// Follows the chain through one segment after the other.
#[derive(Debug)]
pub struct Walk {
    point: ChainPoint,
    tail: Option<Tail>,
    /// The segment that comes next.
    expected: SegmentNumber,
    blocks: u64,
}

impl Walk {
    /// A walk that starts here.
    pub fn new(start: ChainPoint) -> Self {
        Self { expected: start.segment, point: start, tail: None, blocks: 0 }
    }

    /// Goes through the next segment, giving each record to `visit`.
    pub fn segment(
        &mut self,
        number: SegmentNumber,
        bytes: &[u8],
        visit: &mut dyn FnMut(Sequence, &Record) -> Result<(), Contradiction>,
    ) -> Result<(), Damage> {
        assert_eq!(number, self.expected, "segments come in order");
        self.expected = number.next();
        let mut offset = if number == self.point.segment { self.point.offset as usize } else { 0 };
        if self.tail.is_some() && is_zero(bytes) {
            return Ok(()); // The spare.
        }
        if let Some(Tail::Torn(_)) = self.tail {
            let ChainPoint { segment, offset, .. } = self.point;
            return Err(self.damage_at(segment, offset, DamageReason::BehindTheEnd { later: number }));
        }
        while offset < bytes.len() {
            match Block::decode(&bytes[offset..]) {
                Ok(block) => {
                    self.follow(number, offset as u64, &block, visit)?;
                    offset += block.header.block_bytes();
                }
                Err(error) => return self.end(number, bytes, offset, error),
            }
        }
        Ok(())
    }

    /// Takes a whole block as the next of the chain.
    fn follow(
        &mut self,
        number: SegmentNumber,
        offset: u64,
        block: &Block<'_>,
        visit: &mut dyn FnMut(Sequence, &Record) -> Result<(), Contradiction>,
    ) -> Result<(), Damage> {
        let header = &block.header;
        let damage = |reason| Damage { segment: number, offset, block: header.block, reason };
        if let Some(reason) = self.foreign(number, offset, header) {
            return Err(self.damage_at(number, offset, DamageReason::Foreign(reason)));
        }
        let mut sequence = header.first;
        for record in RecordReader::new(block.payload) {
            let record = record.map_err(|error| damage(DamageReason::Record(error)))?;
            visit(sequence, &record)
                .map_err(|contradiction| damage(DamageReason::Contradiction { sequence, contradiction }))?;
            sequence.0 += 1;
        }
        let (stated, found) = (header.last.0 - header.first.0 + 1, sequence.0 - header.first.0);
        if stated != found {
            return Err(damage(DamageReason::RecordCount { stated, found }));
        }
        self.tail = None;
        self.blocks += 1;
        self.point = ChainPoint {
            journal: Some(header.journal),
            epoch: header.epoch,
            block: header.block + 1,
            record: sequence,
            previous: block.hash(),
            segment: number,
            offset: offset + header.block_bytes() as u64,
        };
        Ok(())
    }

    /// Why this header is not the next of the chain, if it is not.
    fn foreign(&self, number: SegmentNumber, offset: u64, header: &BlockHeader) -> Option<&'static str> {
        let point = &self.point;
        if point.journal.is_some_and(|journal| journal != header.journal) {
            Some("it is of another journal")
        } else if header.block != point.block {
            Some("its number is not the next")
        } else if header.previous != point.previous {
            Some("its hash of the block before does not match")
        } else if header.first != point.record {
            Some("its first record's number is not the next")
        } else if header.epoch < point.epoch {
            Some("it is of an earlier run of the daemon")
        } else if header.segment != number || u64::from(header.page) * JOURNAL_PAGE_BYTES as u64 != offset {
            Some("it was written for another place")
        } else {
            None
        }
    }

    /// The chain does not go on at `offset`: finds out whether that is its end.
    fn end(&mut self, number: SegmentNumber, bytes: &[u8], offset: usize, broken: BlockError) -> Result<(), Damage> {
        let rest = &bytes[offset..];
        let Some(last) = last_set(rest) else {
            // A chain that ended in an earlier segment ends there; else here, unless the next segment goes on with it.
            self.tail = Some(Tail::Clean);
            return Ok(());
        };
        let damage = |reason| Err(self.damage_at(number, offset as u64, reason));
        if let Some((later, place)) = self.later_block(&rest[..=last]) {
            let offset = (offset + place) as u64;
            return damage(DamageReason::LaterBlock { broken, later, offset });
        }
        if last >= JOURNAL_BLOCK_BYTES_MAX {
            return damage(DamageReason::TooFar { broken, last: (offset + last) as u64 });
        }
        if !self.torn(number, offset as u64, &rest[..=last]) {
            return damage(DamageReason::Changed(broken));
        }
        self.tail = Some(Tail::Torn(offset as u64..(offset + last + 1) as u64));
        self.point.segment = number;
        self.point.offset = offset as u64;
        Ok(())
    }

    /// The header of a block of this journal, anywhere behind the start of `rest`: a write that did not finish leaves none there. Every
    /// sector is looked at, as a disk may put a block a few sectors beside its place and say that it is written.
    fn later_block(&self, rest: &[u8]) -> Option<(u64, usize)> {
        let places = (SECTOR_BYTES..rest.len()).step_by(SECTOR_BYTES);
        places.into_iter().find_map(|place| {
            let header = BlockHeader::decode(&rest[place..]).ok()?;
            let ours = self.point.journal.is_none_or(|journal| journal == header.journal);
            ours.then_some((header.block, place))
        })
    }

    /// Whether one write of which some sectors did not arrive explains `rest`, which ends with the last byte that is set.
    fn torn(&self, number: SegmentNumber, offset: u64, rest: &[u8]) -> bool {
        let sectors = || rest.chunks(SECTOR_BYTES);
        if sectors().next().is_some_and(is_zero) {
            return true;
        }
        let Ok(header) = BlockHeader::decode(rest) else { return false };
        let written = BlockHeader::BYTES + header.payload_bytes as usize;
        let missing = rest.len() <= (written - 1) / SECTOR_BYTES * SECTOR_BYTES || sectors().any(is_zero);
        self.foreign(number, offset, &header).is_none() && rest.len() <= written && missing
    }

    fn damage_at(&self, segment: SegmentNumber, offset: u64, reason: DamageReason) -> Damage {
        Damage { segment, offset, block: self.point.block, reason }
    }

    /// Where the chain ends so far.
    pub fn point(&self) -> &ChainPoint {
        &self.point
    }

    /// What lies behind the end.
    pub fn tail(&self) -> &Tail {
        self.tail.as_ref().unwrap_or(&Tail::Clean)
    }

    /// Whole blocks walked.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    last_set(bytes).is_none()
}

/// Place of the last byte that is not zero. Page by page: tens of megabytes of zeros are compared, not looked at byte by byte.
fn last_set(bytes: &[u8]) -> Option<usize> {
    static ZEROS: [u8; JOURNAL_PAGE_BYTES] = [0; JOURNAL_PAGE_BYTES];
    let page = bytes.chunks(JOURNAL_PAGE_BYTES).rposition(|page| *page != ZEROS[..page.len()])?;
    let start = page * JOURNAL_PAGE_BYTES;
    let end = bytes.len().min(start + JOURNAL_PAGE_BYTES);
    bytes[start..end].iter().rposition(|byte| *byte != 0).map(|place| start + place)
}

#[cfg(test)]
mod tests {
    use hongbao_protocol::{CampaignId, Cents, Envelope, EnvelopeId, ServerId, ShardId, SponsorId, UserId};

    use super::*;
    use crate::ledger::journal::{Binding, JournalId, JournalWriter, WinRecord};

    const SEGMENT_BYTES: usize = 16 * JOURNAL_PAGE_BYTES;

    /// The first two blocks of a journal: the binding, and `wins` wins.
    fn blocks(wins: u32) -> [Vec<u8>; 2] {
        let mut writer = JournalWriter::new(ChainPoint::START, JournalId(7), 1, SEGMENT_BYTES as u64);
        let mut block = |records: &[Record]| {
            let mut bytes = vec![0; JOURNAL_BLOCK_BYTES_MAX];
            let mut end = BlockHeader::BYTES;
            for record in records {
                end += record.encode(&mut bytes[end..]);
            }
            let placed = writer.seal(&mut bytes, end - BlockHeader::BYTES, records.len() as u32);
            bytes.truncate(placed.length);
            bytes
        };
        let binding = Binding { campaign: CampaignId(1), server: ServerId(1), gift_key: [1; 16], time_us: 1 };
        let win = |index| {
            let id = EnvelopeId::new(ServerId(1), ShardId(0), index);
            let envelope = Envelope { id, sponsor: SponsorId(1), amount: Cents(1) };
            Record::Win(WinRecord { user: UserId(u64::from(index)), envelope, time_us: 1 })
        };
        [block(&[Record::Binding(binding)]), block(&(0..wins).map(win).collect::<Vec<_>>())]
    }

    fn walk(segment: &[u8]) -> Result<Walk, Damage> {
        let mut walk = Walk::new(ChainPoint::START);
        walk.segment(SegmentNumber::FIRST, segment, &mut |_, _| Ok(()))?;
        Ok(walk)
    }

    /// Found by the simulation: a disk that puts a block some sectors beside its place and says that it is written. What lies there
    /// begins with sectors that are missing, as a torn write does; cutting it would lose wins that were answered.
    #[test]
    fn a_block_beside_its_place_is_no_torn_write() {
        for wins in [1, 90, 150] {
            let [first, second] = blocks(wins);
            for place in (0..=SEGMENT_BYTES - second.len()).step_by(SECTOR_BYTES) {
                let mut segment = vec![0; SEGMENT_BYTES];
                segment[..first.len()].copy_from_slice(&first);
                segment[place..place + second.len()].copy_from_slice(&second);
                let walked = walk(&segment);
                assert_eq!(walked.is_ok(), place == first.len(), "{wins} wins at {place}: {walked:?}");
            }
        }
    }

    #[test]
    fn a_chain_that_breaks_before_a_segment_that_is_written_in_is_named_where_it_breaks() {
        let [first, second] = blocks(99);
        let mut segment = vec![0; SEGMENT_BYTES];
        segment[..first.len()].copy_from_slice(&first);
        segment[first.len() + SECTOR_BYTES..][..SECTOR_BYTES].copy_from_slice(&second[SECTOR_BYTES..][..SECTOR_BYTES]);
        let mut walk = walk(&segment).expect("a torn tail");
        let damage = walk.segment(SegmentNumber::FIRST.next(), &[1; JOURNAL_PAGE_BYTES], &mut |_, _| Ok(()));
        let damage = damage.expect_err("what came before it was durable");
        assert_eq!((damage.segment, damage.offset), (SegmentNumber::FIRST, first.len() as u64));
    }
}
