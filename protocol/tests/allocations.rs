//! Reading and writing frames and seed blocks allocates nothing: counted by the allocator.

mod common;

use std::hint::black_box;

use common::{hex, vectors};
use hongbao_protocol::seed::{BLOCK_BYTES, Header, RecordBlock};
use hongbao_protocol::wire::{ClientFrame, Decoded, ServerFrame};
use hongbao_protocol::{Cents, SponsorId};

/// Every `hex` of a vector file, the bad ones too.
fn all(file: &str) -> Vec<Vec<u8>> {
    let value: serde_json::Value = serde_json::from_str(&vectors(file)).expect("JSON");
    let lists = value.as_object().expect("an object of lists").values();
    lists.flat_map(|list| list.as_array().expect("a list")).map(|one| hex(one["hex"].as_str().expect("text"))).collect()
}

#[test]
fn frames_good_or_bad_cost_no_allocation() {
    let (client, server) = (all("client.json"), all("server.json"));
    let mut frames = 0;
    let counted = allocation_counter::measure(|| {
        for bytes in &client {
            if let Ok(Decoded::Frame(frame, _)) = black_box(ClientFrame::decode(bytes)) {
                black_box(frame.encode().as_bytes());
                frames += 1;
            }
        }
        for bytes in &server {
            match black_box(ServerFrame::decode(bytes)) {
                Ok(Decoded::Frame(frame, _)) => {
                    black_box(frame.encode().as_bytes());
                    frames += 1;
                }
                Ok(Decoded::Incomplete) => {}
                Err(error) => {
                    black_box(ServerFrame::from(error).encode());
                }
            }
        }
    });
    assert!(frames > 30, "the vectors hold good frames");
    assert_eq!(counted.count_total, 0);
}

#[test]
fn seed_blocks_good_or_bad_cost_no_allocation() {
    let file = common::vector_bytes("seed-2027-s03-01.hbs");
    let (blocks, _) = file.as_chunks::<BLOCK_BYTES>();
    let mut cents = 0;
    let counted = allocation_counter::measure(|| {
        let header = Header::decode(&blocks[0]).expect("a good header");
        black_box(header.encode());
        for (number, block) in (0..).zip(&blocks[1..]) {
            let records = RecordBlock::decode(&header.binding, number, header.records_in(number), block).expect("good");
            cents += records.envelopes().map(|envelope| envelope.amount.0).sum::<u64>();
            black_box(RecordBlock::decode(&header.binding, number + 1, 1, block)).expect_err("misplaced");
        }
        black_box(Header::decode(&blocks[1])).expect_err("no header");
        let mut block = [0; BLOCK_BYTES];
        let records = [(SponsorId(1), Cents(1)); 255];
        hongbao_protocol::seed::encode_block(&header.binding, 0, records.into_iter(), black_box(&mut block));
        assert_eq!(cents, header.total.0);
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocation_counter::measure(|| drop(black_box(vec![0_u8; 100]))).count_total, 1);
}
