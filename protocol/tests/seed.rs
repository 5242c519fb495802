//! Seed blocks: no damage passes, and no question makes the reader panic.

mod common;

use common::{binding, records};
use hongbao_protocol::seed::{
    BLOCK_BYTES, Header, RECORDS_PER_BLOCK, RecordBlock, SeedBinding, SeedError, encode_block,
};
use hongbao_protocol::{CampaignId, Cents, EnvelopeId, ServerId, ShardId, SponsorId};
use proptest::prelude::*;

const BINDING: SeedBinding = SeedBinding { campaign: CampaignId(7), server: ServerId(2), shard: ShardId(1) };

fn header(binding: SeedBinding, count: u32) -> Header {
    Header { binding, count, total: Cents(u64::from(count) * 10), digest: [0xA5; 32] }
}

fn block(binding: &SeedBinding, number: u32, records: &[(SponsorId, Cents)]) -> [u8; BLOCK_BYTES] {
    let mut block = [0xFF; BLOCK_BYTES];
    encode_block(binding, number, records.iter().copied(), &mut block);
    block
}

proptest! {
    #[test]
    fn envelopes_are_read_as_they_were_written(binding in binding(), number in 0_u32..16_000_000, records in records()) {
        let block = block(&binding, number, &records);
        let decoded = RecordBlock::decode(&binding, number, records.len(), &block).expect("a good block");
        prop_assert_eq!(decoded.envelopes().len(), records.len());
        for ((place, envelope), (sponsor, amount)) in (0_u32..).zip(decoded.envelopes()).zip(records) {
            prop_assert_eq!((envelope.sponsor, envelope.amount), (sponsor, amount));
            prop_assert_eq!(envelope.id, EnvelopeId::new(binding.server, binding.shard, number * 255 + place));
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written(binding in binding(), count in 1_u32.., over: u32, digest: [u8; 32]) {
        let header = Header { binding, count, total: Cents(u64::from(count) + u64::from(over)), digest };
        prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn a_block_of_another_file_or_place_is_found(mine in binding(), other in binding(), number in 0_u32..1000, records in records()) {
        let block = block(&mine, number, &records);
        if mine != other {
            let decoded = RecordBlock::decode(&other, number, records.len(), &block);
            let found = matches!(decoded, Err(SeedError::Checksum { .. }));
            prop_assert!(found);
        }
        let moved = RecordBlock::decode(&mine, number + 1, records.len(), &block).expect_err("it stands elsewhere");
        prop_assert_eq!(moved, SeedError::Misplaced { found: number, expected: number + 1 });
    }

    #[test]
    fn no_question_about_a_block_makes_the_reader_panic(number: u32, expected: usize, records in records(), fits: bool) {
        let expected = if fits { expected % 300 } else { expected };
        let block = block(&BINDING, number.min(16_000_000), &records);
        if let Ok(decoded) = RecordBlock::decode(&BINDING, number, expected, &block) {
            prop_assert_eq!(decoded.envelopes().len(), records.len());
        }
    }

    #[test]
    fn a_header_knows_its_blocks(count in 1_u32..) {
        let header = header(BINDING, count);
        let last = header.blocks() - 1;
        prop_assert_eq!(u64::from(last) * 255 + header.records_in(last) as u64, u64::from(count));
        prop_assert_eq!(header.records_in(header.blocks()), 0);
        prop_assert_eq!(header.records_in(u32::MAX), 0);
        prop_assert!(last == 0 || header.records_in(last - 1) == RECORDS_PER_BLOCK);
    }
}

#[test]
fn every_flipped_bit_of_a_block_is_found() {
    let records: Vec<_> = (1..=200).map(|n| (SponsorId(n), Cents(n.into()))).collect();
    let good = block(&BINDING, 3, &records);
    for bit in 0..BLOCK_BYTES * 8 {
        let mut bad = good;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(RecordBlock::decode(&BINDING, 3, records.len(), &bad).is_err(), "bit {bit}");
    }
}

#[test]
fn every_flipped_bit_of_a_header_is_found() {
    let good = header(BINDING, 1000).encode();
    for bit in 0..BLOCK_BYTES * 8 {
        let mut bad = good;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Header::decode(&bad).is_err(), "bit {bit}");
    }
}

#[test]
fn the_largest_file_has_an_id_for_every_envelope() {
    let header = header(BINDING, u32::MAX);
    let last = header.blocks() - 1;
    let records = vec![(SponsorId(1), Cents(1)); header.records_in(last)];
    let block = block(&BINDING, last, &records);
    let decoded = RecordBlock::decode(&BINDING, last, records.len(), &block).expect("the last block");
    assert_eq!(decoded.envelopes().last().expect("records").id.index(), u32::MAX - 1);
    RecordBlock::decode(&BINDING, last + 1, 1, &block).expect_err("there is none behind it");
}

#[test]
#[should_panic(expected = "a block holds 1 to 255 records")]
fn a_writer_cannot_put_too_much_into_a_block() {
    block(&BINDING, 0, &[(SponsorId(1), Cents(1)); 256]);
}

#[test]
#[should_panic(expected = "at least 1 cent")]
fn a_writer_cannot_write_an_empty_envelope() {
    block(&BINDING, 0, &[(SponsorId(1), Cents(0))]);
}
