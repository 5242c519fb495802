//! The first block of a seed file.

use super::{BLOCK_BYTES, RECORDS_PER_BLOCK, SeedError};
use crate::{CampaignId, Cents, ServerId, ShardId};

const MAGIC: [u8; 8] = *b"HBSEED\r\n";
const VERSION: u16 = 1;
const CRC_OFFSET: usize = BLOCK_BYTES - 4;
/// Behind the digest: room for a signature, zero in version 1.
const ROOM_OFFSET: usize = 72;

/// Which campaign, server and shard a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct SeedBinding {
    /// The giveaway.
    pub campaign: CampaignId,
    /// The one server that may deal from it.
    pub server: ServerId,
    /// Which of that server's files it is.
    pub shard: ShardId,
}

/// What the header says of the whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whom the file is for.
    pub binding: SeedBinding,
    /// Envelopes in the file, at least 1.
    pub count: u32,
    /// Sum of their amounts, at least 1 cent an envelope.
    pub total: Cents,
    /// BLAKE3 over all record blocks, in order.
    pub digest: [u8; 32],
}

impl Header {
    /// Record blocks that follow the header.
    pub const fn blocks(&self) -> u32 {
        self.count.div_ceil(RECORDS_PER_BLOCK as u32)
    }

    /// Envelopes in record block `number` (from 0): 255, fewer in the last block, none behind it.
    pub const fn records_in(&self, number: u32) -> usize {
        let before = number as u64 * RECORDS_PER_BLOCK as u64;
        let left = (self.count as u64).saturating_sub(before);
        if left < RECORDS_PER_BLOCK as u64 { left as usize } else { RECORDS_PER_BLOCK }
    }

    /// Bytes of the whole file.
    pub const fn file_bytes(&self) -> u64 {
        (self.blocks() as u64 + 1) * BLOCK_BYTES as u64
    }

    /// The header block.
    pub fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        block[0..8].copy_from_slice(&MAGIC);
        block[8..10].copy_from_slice(&VERSION.to_le_bytes());
        block[10..12].copy_from_slice(&self.binding.server.0.to_le_bytes());
        block[12..14].copy_from_slice(&self.binding.shard.0.to_le_bytes());
        block[16..24].copy_from_slice(&self.binding.campaign.0.to_le_bytes());
        block[24..28].copy_from_slice(&self.count.to_le_bytes());
        block[32..40].copy_from_slice(&self.total.0.to_le_bytes());
        block[40..72].copy_from_slice(&self.digest);
        let crc = crc32c::crc32c(&block[..CRC_OFFSET]);
        block[CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
        block
    }

    /// Reads and checks a header block.
    pub fn decode(block: &[u8; BLOCK_BYTES]) -> Result<Self, SeedError> {
        if block[0..8] != MAGIC {
            return Err(SeedError::Magic);
        }
        let u16_at = |at: usize| u16::from_le_bytes([block[at], block[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().expect("eight bytes"));
        let found = crc32c::crc32c(&block[..CRC_OFFSET]);
        let expected = u32_at(CRC_OFFSET);
        if found != expected {
            return Err(SeedError::Checksum { found, expected });
        }
        if u16_at(8) != VERSION {
            return Err(SeedError::Version(u16_at(8)));
        }
        // A file that uses the reserved bytes is of a later version, and says so.
        if block[14..16] != [0; 2]
            || block[28..32] != [0; 4]
            || block[ROOM_OFFSET..CRC_OFFSET].iter().any(|byte| *byte != 0)
        {
            return Err(SeedError::Reserved);
        }
        let (count, total) = (u32_at(24), Cents(u64_at(32)));
        if count == 0 {
            return Err(SeedError::Field("the header counts no envelope"));
        }
        if total < Cents(count.into()) {
            return Err(SeedError::Field("the header's total is below 1 cent an envelope"));
        }
        Ok(Self {
            binding: SeedBinding {
                campaign: CampaignId(u64_at(16)),
                server: ServerId(u16_at(10)),
                shard: ShardId(u16_at(12)),
            },
            count,
            total,
            digest: block[40..ROOM_OFFSET].try_into().expect("32 bytes"),
        })
    }
}
