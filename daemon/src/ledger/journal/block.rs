//! A block: what one commit writes.
//!
//! | at | bytes | header |
//! |---|---|---|
//! | 0 | 8 | magic `HBJBLK\r\n` |
//! | 8 | 2 | version, 1 |
//! | 10 | 2 | zero |
//! | 12 | 4 | length of the payload in bytes |
//! | 16 | 16 | journal id, random |
//! | 32 | 8 | boot epoch of the daemon that wrote it; never falls |
//! | 40 | 8 | block sequence, from 1, over all segments |
//! | 48 | 8 | sequence of the first record, from 1 |
//! | 56 | 8 | sequence of the last record |
//! | 64 | 32 | BLAKE3 of the block before: its header and payload; zeros for the first block |
//! | 96 | 4 | number of the segment it was written to |
//! | 100 | 4 | place in the segment, in pages of 4 KiB |
//! | 104 | 16 | zero |
//! | 120 | 4 | CRC32C of the payload |
//! | 124 | 4 | CRC32C of the 124 bytes before |
//!
//! The payload follows, then zeros up to a multiple of 4 KiB. Every bit of a block is covered: by the header's checksum, by the
//! payload's, or by having to be zero.

use hongbao_protocol::CampaignId;
use thiserror::Error;

use super::segment::SegmentNumber;
use crate::limits::{JOURNAL_BLOCK_BYTES_MAX, JOURNAL_PAGE_BYTES};

const MAGIC: [u8; 8] = *b"HBJBLK\r\n";
const VERSION: u16 = 1;

/// Number of a record, from 1, over the whole journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence(pub u64);

/// Tells two journals apart, even of the same campaign and server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalId(pub u128);

impl JournalId {
    /// The id of a journal begun at this time for this campaign, with some randomness.
    pub fn new(campaign: CampaignId, time_us: u64, random: u64) -> Self {
        let mut hash = blake3::Hasher::new();
        for part in [campaign.0, time_us, random] {
            hash.update(&part.to_le_bytes());
        }
        let digest = hash.finalize();
        Self(u128::from_le_bytes(digest.as_bytes()[..16].try_into().expect("16 bytes")))
    }
}

/// BLAKE3 of a block's header and payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockHash(pub [u8; 32]);

/// What stands at the start of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Length of the records in bytes.
    pub payload_bytes: u32,
    /// Which journal.
    pub journal: JournalId,
    /// Which run of the daemon wrote it.
    pub epoch: u64,
    /// Number of the block.
    pub block: u64,
    /// Number of its first record.
    pub first: Sequence,
    /// Number of its last record.
    pub last: Sequence,
    /// Hash of the block before.
    pub previous: BlockHash,
    /// The segment it was written to.
    pub segment: SegmentNumber,
    /// Where in the segment, in pages.
    pub page: u32,
    /// CRC32C of the records.
    pub payload_crc: u32,
}

/// Why bytes are not a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    /// All zero: nothing was written here.
    #[error("nothing is written here")]
    Empty,
    /// No block starts here.
    #[error("no block starts here (bad magic)")]
    Magic,
    /// The header does not match its checksum.
    #[error("the header's checksum does not match")]
    HeaderChecksum,
    /// Written by a later program.
    #[error("block format version {0} is not known (this program reads version 1)")]
    Version(u16),
    /// A header with a right checksum and a wrong field: a defect.
    #[error("the header says {0}")]
    Field(&'static str),
    /// The records do not match their checksum.
    #[error("the records' checksum does not match")]
    PayloadChecksum,
    /// Something behind the records.
    #[error("bytes that must be zero are set behind the records")]
    Padding,
}

impl BlockHeader {
    /// Bytes of a header.
    pub const BYTES: usize = 128;
    /// Bytes of records that the longest block holds.
    pub const PAYLOAD_BYTES_MAX: usize = JOURNAL_BLOCK_BYTES_MAX - Self::BYTES;

    /// Bytes of the whole block, padding included.
    pub const fn block_bytes(&self) -> usize {
        block_bytes(self.payload_bytes as usize)
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.journal.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.block.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.last.0.to_le_bytes());
        bytes[64..96].copy_from_slice(&self.previous.0);
        bytes[96..100].copy_from_slice(&self.segment.0.to_le_bytes());
        bytes[100..104].copy_from_slice(&self.page.to_le_bytes());
        bytes[120..124].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..124]);
        bytes[124..128].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads and checks the header at the start of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        let Some(bytes) = bytes.first_chunk::<{ Self::BYTES }>() else { return Err(BlockError::Magic) };
        if *bytes == [0; Self::BYTES] {
            return Err(BlockError::Empty);
        }
        if bytes[0..8] != MAGIC {
            return Err(BlockError::Magic);
        }
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if crc32c::crc32c(&bytes[..124]) != u32_at(124) {
            return Err(BlockError::HeaderChecksum);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Err(BlockError::Version(version));
        }
        if bytes[10..12] != [0; 2] || bytes[104..120] != [0; 16] {
            return Err(BlockError::Field("something where it must be zero"));
        }
        let header = Self {
            payload_bytes: u32_at(12),
            journal: JournalId(u128::from_le_bytes(bytes[16..32].try_into().expect("16 bytes"))),
            epoch: u64_at(32),
            block: u64_at(40),
            first: Sequence(u64_at(48)),
            last: Sequence(u64_at(56)),
            previous: BlockHash(bytes[64..96].try_into().expect("32 bytes")),
            segment: SegmentNumber(u32_at(96)),
            page: u32_at(100),
            payload_crc: u32_at(120),
        };
        if header.payload_bytes as usize > Self::PAYLOAD_BYTES_MAX {
            return Err(BlockError::Field("its records are longer than a block may be"));
        }
        if header.payload_bytes == 0 || header.first > header.last {
            return Err(BlockError::Field("it holds no record"));
        }
        Ok(header)
    }
}

/// Bytes of a block with this much payload.
pub(super) const fn block_bytes(payload_bytes: usize) -> usize {
    (BlockHeader::BYTES + payload_bytes).next_multiple_of(JOURNAL_PAGE_BYTES)
}

/// A block whose every bit was checked. That it follows the block before is the walk's business.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// Its header.
    pub header: BlockHeader,
    /// Its records.
    pub payload: &'a [u8],
    checked: &'a [u8],
}

impl<'a> Block<'a> {
    /// Checks the block that starts `bytes`; they may go on behind it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, BlockError> {
        let header = BlockHeader::decode(bytes)?;
        let end = BlockHeader::BYTES + header.payload_bytes as usize;
        let Some(block) = bytes.get(..header.block_bytes()) else {
            return Err(BlockError::Field("it is longer than its segment"));
        };
        let payload = &block[BlockHeader::BYTES..end];
        if crc32c::crc32c(payload) != header.payload_crc {
            return Err(BlockError::PayloadChecksum);
        }
        if block[end..].iter().any(|byte| *byte != 0) {
            return Err(BlockError::Padding);
        }
        Ok(Self { header, payload, checked: &block[..end] })
    }

    /// What the next block's header must hold.
    pub fn hash(&self) -> BlockHash {
        hash(self.checked)
    }
}

/// Hash of a block, given its header and payload.
pub(super) fn hash(header_and_payload: &[u8]) -> BlockHash {
    BlockHash(*blake3::hash(header_and_payload).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Vec<u8> {
        let payload: Vec<u8> = (0..5000_u32).map(|byte| byte as u8).collect();
        let header = BlockHeader {
            payload_bytes: payload.len() as u32,
            journal: JournalId(7),
            epoch: 3,
            block: 9,
            first: Sequence(100),
            last: Sequence(224),
            previous: BlockHash([5; 32]),
            segment: SegmentNumber(2),
            page: 17,
            payload_crc: crc32c::crc32c(&payload),
        };
        let mut bytes = header.encode().to_vec();
        bytes.extend_from_slice(&payload);
        bytes.resize(header.block_bytes(), 0);
        bytes
    }

    #[test]
    fn every_flipped_bit_of_a_block_is_found() {
        let mut bytes = block();
        assert_eq!(bytes.len(), 2 * JOURNAL_PAGE_BYTES);
        let whole = Block::decode(&bytes).expect("the block is right").hash();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Block::decode(&bytes).is_err(), "bit {bit} of byte {} was not found", bit / 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(Block::decode(&bytes).expect("the block is right again").hash(), whole);
    }

    #[test]
    fn a_block_cut_anywhere_is_refused() {
        let bytes = block();
        for length in 0..bytes.len() {
            assert!(Block::decode(&bytes[..length]).is_err(), "cut at {length}");
        }
    }
}
