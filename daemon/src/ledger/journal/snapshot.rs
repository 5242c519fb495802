//! Snapshots: every record up to the end of a segment, packed, so that the segments it covers are not needed any more.
//!
//! A lone win takes a block of 4 KiB in the journal and 40 bytes in a snapshot: that is what bounds the disk and the time of a start,
//! and nothing is lost by it, as every record is kept as the proof that it is. What the records add up to is not stored: it is found by
//! the same fold as from the journal, so that there is one way to read a state and no second one that could differ.
//!
//! ```text
//! DATA/journal/00000007.snapshot   covers segments 1 to 7: blocks of packed records, then the seal, a page of 4 KiB
//! ```
//!
//! The blocks are those of the journal's format, a chain of their own from block 1; "segment" in their headers is the last one covered.
//!
//! | at | bytes | seal |
//! |---|---|---|
//! | 0 | 8 | magic `HBJSNP\r\n` |
//! | 8 | 4 | the last segment covered |
//! | 12 | 4 | zero |
//! | 16 | 16 | journal id |
//! | 32 | 8 | boot epoch of the journal's last block covered |
//! | 40 | 8 | number of the next block of the journal |
//! | 48 | 8 | number of the next record |
//! | 56 | 32 | BLAKE3 of the journal's last block covered |
//! | 88 | 8 | blocks of the snapshot |
//! | 96 | 32 | BLAKE3 of the snapshot's last block |
//! | 4092 | 4 | CRC32C of the 4092 bytes before, zeros between included |

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::block::{Block, BlockError, BlockHash, BlockHeader, JournalId, Sequence};
use super::record::{Record, RecordReader};
use super::segment::SegmentNumber;
use super::writer::{ChainPoint, JournalWriter};
use crate::ledger::files::Files;
use crate::limits::{JOURNAL_BLOCK_BYTES_MAX, JOURNAL_PAGE_BYTES, SNAPSHOT_STEP_BYTES};

const MAGIC: [u8; 8] = *b"HBJSNP\r\n";

/// A snapshot that exists, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// The last segment that it covers.
    pub covers: SegmentNumber,
    /// Its place.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
}

/// A snapshot is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: block {block} at offset {offset}: {reason}", path.display())]
pub struct SnapshotDamage {
    /// The file.
    pub path: PathBuf,
    /// Number of the block, from 1; the seal comes after the last.
    pub block: u64,
    /// Where it starts.
    pub offset: u64,
    /// What is wrong.
    pub reason: SnapshotReason,
}

/// What is wrong with a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SnapshotReason {
    /// No whole block.
    #[error("{0}")]
    Block(BlockError),
    /// A whole block that is not the next of this snapshot.
    #[error("a whole block that does not belong here")]
    Foreign,
    /// No whole seal.
    #[error("the seal at the end is missing or damaged")]
    Seal,
    /// The seal counts or names other blocks.
    #[error("the seal is of other blocks")]
    OtherSeal,
}

/// A snapshot cannot be read.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The operating system refused.
    #[error("cannot read {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is damaged.
    #[error(transparent)]
    Damaged(#[from] SnapshotDamage),
}

/// A snapshot whose seal was read.
#[derive(Debug)]
pub struct Snapshot {
    files: Arc<dyn Files>,
    found: SnapshotFile,
    point: ChainPoint,
    blocks: u64,
    last: BlockHash,
}

impl Snapshot {
    /// Reads the seal of the snapshot `found`.
    pub fn open(files: Arc<dyn Files>, found: SnapshotFile) -> Result<Self, SnapshotError> {
        let damaged = |reason| {
            let offset = found.bytes.saturating_sub(JOURNAL_PAGE_BYTES as u64);
            SnapshotDamage { path: found.path.clone(), block: 0, offset, reason }
        };
        if found.bytes < JOURNAL_PAGE_BYTES as u64 || !found.bytes.is_multiple_of(JOURNAL_PAGE_BYTES as u64) {
            return Err(damaged(SnapshotReason::Seal).into());
        }
        let mut seal = [0; JOURNAL_PAGE_BYTES];
        let read = files.read_at(&found.path, found.bytes - JOURNAL_PAGE_BYTES as u64, &mut seal);
        read.map_err(|error| SnapshotError::Io { path: found.path.clone(), error })?;
        let Some((point, blocks, last)) = decode_seal(&seal) else { return Err(damaged(SnapshotReason::Seal).into()) };
        if point.segment != found.covers.next() {
            return Err(damaged(SnapshotReason::OtherSeal).into());
        }
        Ok(Self { files, found, point, blocks, last })
    }

    /// Where the journal goes on: at the start of the segment behind those covered.
    pub fn point(&self) -> &ChainPoint {
        &self.point
    }

    /// Its file.
    pub fn file(&self) -> &SnapshotFile {
        &self.found
    }

    /// Reads every block and checks every bit.
    pub fn check(&self) -> Result<(), SnapshotError> {
        self.read(&mut |_, _| Ok(()))
    }

    /// Reads every block and checks every bit, giving each record to `visit`; where that returns an error the reading ends with it.
    pub fn read<E: From<SnapshotError>>(
        &self,
        visit: &mut dyn FnMut(Sequence, &Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut place = Place { block: 1, record: Sequence(1), previous: BlockHash::default(), offset: 0 };
        let end = self.found.bytes - JOURNAL_PAGE_BYTES as u64;
        let mut window = Window { snapshot: self, end, start: 0, bytes: Vec::new() };
        while place.offset < end {
            let bytes = window.at(place.offset).map_err(|error| self.unreadable(error))?;
            let block = Block::decode(bytes).map_err(|error| self.damaged(&place, SnapshotReason::Block(error)))?;
            if !self.is_next(&place, &block.header) {
                return Err(self.damaged(&place, SnapshotReason::Foreign).into());
            }
            let mut sequence = block.header.first;
            for record in RecordReader::new(block.payload) {
                let record = record.map_err(|_| self.damaged(&place, SnapshotReason::Foreign))?;
                visit(sequence, &record)?;
                sequence.0 += 1;
            }
            if sequence.0 != block.header.last.0 + 1 {
                return Err(self.damaged(&place, SnapshotReason::Foreign).into());
            }
            place = Place {
                block: place.block + 1,
                record: sequence,
                previous: block.hash(),
                offset: place.offset + block.header.block_bytes() as u64,
            };
        }
        if (place.block - 1, place.record, place.previous) != (self.blocks, self.point.record, self.last) {
            return Err(self.damaged(&place, SnapshotReason::OtherSeal).into());
        }
        Ok(())
    }

    fn is_next(&self, place: &Place, header: &BlockHeader) -> bool {
        let page = place.offset / JOURNAL_PAGE_BYTES as u64;
        (header.block, header.first, header.previous) == (place.block, place.record, place.previous)
            && (Some(header.journal), header.segment, u64::from(header.page))
                == (self.point.journal, self.found.covers, page)
    }

    fn damaged(&self, place: &Place, reason: SnapshotReason) -> SnapshotError {
        let (block, offset) = (place.block, place.offset);
        SnapshotDamage { path: self.found.path.clone(), block, offset, reason }.into()
    }

    fn unreadable(&self, error: io::Error) -> SnapshotError {
        SnapshotError::Io { path: self.found.path.clone(), error }
    }
}

/// Where a block of a snapshot is, and what it must continue.
#[derive(Debug)]
struct Place {
    block: u64,
    record: Sequence,
    previous: BlockHash,
    offset: u64,
}

/// A part of a file, read ahead: as much memory for a large snapshot as for a small one.
struct Window<'a> {
    snapshot: &'a Snapshot,
    end: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    const BYTES: usize = 16 * JOURNAL_BLOCK_BYTES_MAX;

    /// What stands at `offset`, at least as much as the longest block takes, or up to the end.
    fn at(&mut self, offset: u64) -> io::Result<&[u8]> {
        let wanted = (self.end - offset).min(JOURNAL_BLOCK_BYTES_MAX as u64);
        if offset + wanted > self.start + self.bytes.len() as u64 {
            self.start = offset;
            self.bytes.resize((self.end - offset).min(Self::BYTES as u64) as usize, 0);
            self.snapshot.files.read_at(&self.snapshot.found.path, offset, &mut self.bytes)?;
        }
        Ok(&self.bytes[(offset - self.start) as usize..])
    }
}

/// Writes a snapshot under a passing name; it gets its own when it is whole and on the disk.
#[derive(Debug)]
pub struct SnapshotWriter {
    files: Arc<dyn Files>,
    passing: PathBuf,
    path: PathBuf,
    writer: JournalWriter,
    journal: JournalId,
    /// Whole blocks, and the one that is being filled.
    step: Vec<u8>,
    /// Where the block that is being filled starts in the step.
    start: usize,
    /// Where the step starts in the file.
    offset: u64,
    payload_bytes: usize,
    records: u32,
}

impl SnapshotWriter {
    /// Begins the snapshot at `path` of this journal, up to the end of this segment.
    pub fn create(files: Arc<dyn Files>, path: &Path, covers: SegmentNumber, journal: JournalId) -> io::Result<Self> {
        let passing = path.with_extension("snapshot.new");
        files.create(&passing)?;
        let start = ChainPoint { segment: covers, ..ChainPoint::START };
        Ok(Self {
            files,
            passing,
            path: path.to_owned(),
            writer: JournalWriter::new(start, journal, 0, u64::MAX),
            journal,
            step: vec![0; SNAPSHOT_STEP_BYTES + JOURNAL_BLOCK_BYTES_MAX],
            start: 0,
            offset: 0,
            payload_bytes: 0,
            records: 0,
        })
    }

    /// Adds the next record.
    pub fn add(&mut self, record: &Record) -> io::Result<()> {
        if self.payload_bytes + record.bytes() > BlockHeader::PAYLOAD_BYTES_MAX {
            self.close_block()?;
        }
        let place = self.start + BlockHeader::BYTES + self.payload_bytes;
        self.payload_bytes += record.encode(&mut self.step[place..]);
        self.records += 1;
        Ok(())
    }

    /// Writes in small steps that are synced one by one, so that the commits meanwhile wait for one step at most.
    fn close_block(&mut self) -> io::Result<()> {
        let placed = self.writer.seal(&mut self.step[self.start..], self.payload_bytes, self.records);
        (self.payload_bytes, self.records) = (0, 0);
        self.start += placed.length;
        if self.start >= SNAPSHOT_STEP_BYTES { self.write_step() } else { Ok(()) }
    }

    fn write_step(&mut self) -> io::Result<()> {
        self.files.write(&self.passing, self.offset, &self.step[..self.start])?;
        self.offset += self.start as u64;
        self.start = 0;
        Ok(())
    }

    /// Seals it as all that comes before `point`, and gives it its name, durably. Returns its length.
    pub fn finish(mut self, point: &ChainPoint) -> io::Result<u64> {
        if self.records > 0 {
            self.close_block()?;
        }
        if self.start > 0 {
            self.write_step()?;
        }
        let end = *self.writer.point();
        assert!((end.record, Some(self.journal)) == (point.record, point.journal), "a snapshot holds every record");
        let sealed = ChainPoint { segment: end.segment.next(), offset: 0, ..*point };
        self.files.write(&self.passing, self.offset, &encode_seal(&sealed, end.block - 1, end.previous))?;
        self.files.rename(&self.passing, &self.path)?;
        self.files.sync_folder(self.path.parent().expect("a snapshot lies in the journal's folder"))?;
        Ok(self.offset + JOURNAL_PAGE_BYTES as u64)
    }
}

fn encode_seal(point: &ChainPoint, blocks: u64, last: BlockHash) -> [u8; JOURNAL_PAGE_BYTES] {
    let mut seal = [0; JOURNAL_PAGE_BYTES];
    let journal = point.journal.expect("a snapshot holds records, and so its journal has an id");
    seal[0..8].copy_from_slice(&MAGIC);
    seal[8..12].copy_from_slice(&(point.segment.0 - 1).to_le_bytes());
    seal[16..32].copy_from_slice(&journal.0.to_le_bytes());
    seal[32..40].copy_from_slice(&point.epoch.to_le_bytes());
    seal[40..48].copy_from_slice(&point.block.to_le_bytes());
    seal[48..56].copy_from_slice(&point.record.0.to_le_bytes());
    seal[56..88].copy_from_slice(&point.previous.0);
    seal[88..96].copy_from_slice(&blocks.to_le_bytes());
    seal[96..128].copy_from_slice(&last.0);
    let crc = crc32c::crc32c(&seal[..JOURNAL_PAGE_BYTES - 4]);
    seal[JOURNAL_PAGE_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    seal
}

/// The point behind what is covered, the snapshot's blocks and the hash of the last.
fn decode_seal(seal: &[u8; JOURNAL_PAGE_BYTES]) -> Option<(ChainPoint, u64, BlockHash)> {
    let u64_at = |at: usize| u64::from_le_bytes(seal[at..at + 8].try_into().expect("eight bytes"));
    let covers = u32::from_le_bytes(seal[8..12].try_into().expect("four bytes"));
    let point = ChainPoint {
        journal: Some(JournalId(u128::from_le_bytes(seal[16..32].try_into().expect("16 bytes")))),
        epoch: u64_at(32),
        block: u64_at(40),
        record: Sequence(u64_at(48)),
        previous: BlockHash(seal[56..88].try_into().expect("32 bytes")),
        segment: SegmentNumber(covers.checked_add(1)?),
        offset: 0,
    };
    let (blocks, last) = (u64_at(88), BlockHash(seal[96..128].try_into().expect("32 bytes")));
    // Said again in its only form, so that every bit is checked, those that must be zero too.
    (encode_seal(&point, blocks, last) == *seal).then_some((point, blocks, last))
}

/// The number in a snapshot's name.
pub(super) fn snapshot_number(path: &Path) -> Option<SegmentNumber> {
    let digits = path.file_name()?.to_str()?.strip_suffix(".snapshot")?;
    let number = SegmentNumber(digits.parse().ok()?);
    (number.0 > 0 && number.to_string() == digits).then_some(number)
}
