//! A record block: 255 envelopes behind 16 bytes of header.

use super::{BLOCK_BYTES, SeedBinding, SeedError};
use crate::{Cents, Envelope, EnvelopeId, SponsorId};

const MAGIC: [u8; 4] = *b"HBSB";
const HEADER_BYTES: usize = 16;
const RECORD_BYTES: usize = 16;
/// Envelopes in a full block; only the last block of a file may hold fewer.
pub const RECORDS_PER_BLOCK: usize = (BLOCK_BYTES - HEADER_BYTES) / RECORD_BYTES;

/// The checksum starts from the binding, so that a block of another file is found even where its number fits.
fn checksum(binding: &SeedBinding, block: &[u8; BLOCK_BYTES]) -> u32 {
    let mut bound = [0; 12];
    bound[0..8].copy_from_slice(&binding.campaign.0.to_le_bytes());
    bound[8..10].copy_from_slice(&binding.server.0.to_le_bytes());
    bound[10..12].copy_from_slice(&binding.shard.0.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bound), &block[0..12]);
    crc32c::crc32c_append(crc, &block[HEADER_BYTES..])
}

/// Writes record block `number` (from 0): 1 to [`RECORDS_PER_BLOCK`] records of (sponsor, amount), each of at least 1 cent.
pub fn encode_block(
    binding: &SeedBinding,
    number: u32,
    records: impl ExactSizeIterator<Item = (SponsorId, Cents)>,
    block: &mut [u8; BLOCK_BYTES],
) {
    assert!((1..=RECORDS_PER_BLOCK).contains(&records.len()), "a block holds 1 to {RECORDS_PER_BLOCK} records");
    block.fill(0);
    block[0..4].copy_from_slice(&MAGIC);
    block[4..8].copy_from_slice(&number.to_le_bytes());
    block[8..12].copy_from_slice(&(records.len() as u32).to_le_bytes());
    for (place, (sponsor, amount)) in block[HEADER_BYTES..].chunks_exact_mut(RECORD_BYTES).zip(records) {
        assert!(amount > Cents::ZERO, "an envelope holds at least 1 cent");
        place[0..8].copy_from_slice(&amount.0.to_le_bytes());
        place[8..12].copy_from_slice(&sponsor.0.to_le_bytes());
    }
    let crc = checksum(binding, block);
    block[12..16].copy_from_slice(&crc.to_le_bytes());
}

/// A record block that was checked: every envelope in it may be dealt.
#[derive(Clone, Copy, Debug)]
pub struct RecordBlock<'a> {
    binding: SeedBinding,
    first_index: u32,
    records: &'a [u8],
}

impl<'a> RecordBlock<'a> {
    /// Checks block `number` of the file bound as `binding`, which is to hold `expected` records; the two come from
    /// [`Header::records_in`](super::Header::records_in), and are refused where no header could ask for them.
    pub fn decode(
        binding: &SeedBinding,
        number: u32,
        expected: usize,
        block: &'a [u8; BLOCK_BYTES],
    ) -> Result<Self, SeedError> {
        let u32_at = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        let first_index = number.checked_mul(RECORDS_PER_BLOCK as u32).filter(|first| {
            (1..=RECORDS_PER_BLOCK).contains(&expected) && first.checked_add(expected as u32).is_some()
        });
        let Some(first_index) = first_index else {
            return Err(SeedError::Field("no seed file has such a block"));
        };
        if block[0..4] != MAGIC {
            return Err(SeedError::Magic);
        }
        let (found, stored) = (checksum(binding, block), u32_at(12));
        if found != stored {
            return Err(SeedError::Checksum { found, expected: stored });
        }
        if u32_at(4) != number {
            return Err(SeedError::Misplaced { found: u32_at(4), expected: number });
        }
        if u32_at(8) as usize != expected {
            return Err(SeedError::Field("the block's record count is not what the header's count asks for"));
        }
        let (records, unused) = block[HEADER_BYTES..].split_at(expected * RECORD_BYTES);
        if unused.iter().any(|byte| *byte != 0) {
            return Err(SeedError::Reserved);
        }
        for record in records.chunks_exact(RECORD_BYTES) {
            if record[0..8] == [0; 8] {
                return Err(SeedError::Field("an envelope holds nothing"));
            }
            if record[12..16] != [0; 4] {
                return Err(SeedError::Reserved);
            }
        }
        Ok(Self { binding: *binding, first_index, records })
    }

    /// The envelopes of the block, in order.
    pub fn envelopes(&self) -> impl ExactSizeIterator<Item = Envelope> + use<'a> {
        let (binding, first_index) = (self.binding, self.first_index);
        self.records.chunks_exact(RECORD_BYTES).enumerate().map(move |(place, record)| Envelope {
            id: EnvelopeId::new(binding.server, binding.shard, first_index + place as u32),
            amount: Cents(u64::from_le_bytes(record[0..8].try_into().expect("eight bytes"))),
            sponsor: SponsorId(u32::from_le_bytes(record[8..12].try_into().expect("four bytes"))),
        })
    }
}
