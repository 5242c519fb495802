//! The golden vectors: written from `SPEC.md` by hand and by another language, and held against this implementation.

mod common;

use common::{hex, vectors};
use hongbao_protocol::seed::{BLOCK_BYTES, Header, RecordBlock, SeedError};
use hongbao_protocol::wire::{ClientFrame, Decoded, ErrorCode, ServerFrame, WireError};
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
struct WireVectors<F> {
    good: Vec<Good<F>>,
    bad: Vec<Bad>,
    unfinished: Vec<Unfinished>,
    streams: Vec<Stream<F>>,
}

#[derive(Deserialize)]
struct Good<F> {
    name: String,
    hex: String,
    value: F,
}

#[derive(Deserialize)]
struct Bad {
    name: String,
    hex: String,
    error: ErrorCode,
    kind: u8,
}

#[derive(Deserialize)]
struct Unfinished {
    name: String,
    hex: String,
}

#[derive(Deserialize)]
struct Stream<F> {
    name: String,
    hex: String,
    frames: Vec<F>,
    left: usize,
}

fn check_wire<F: DeserializeOwned + PartialEq + std::fmt::Debug>(
    file: &str,
    encode: impl Fn(&F) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<Decoded<F>, WireError>,
) {
    let vectors: WireVectors<F> =
        serde_json::from_str(&vectors(file)).expect("vectors of the form that the spec gives");
    for Good { name, hex: text, value } in vectors.good {
        let bytes = hex(&text);
        assert_eq!(encode(&value), bytes, "{file}: {name}: written");
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), Ok(Decoded::Incomplete), "{file}: {name}: first {length} bytes");
        }
        assert_eq!(decode(&bytes), Ok(Decoded::Frame(value, bytes.len())), "{file}: {name}: read");
    }
    for Bad { name, hex: text, error, kind } in vectors.bad {
        let found = decode(&hex(&text)).map_err(ServerFrame::from);
        assert_eq!(found, Err(ServerFrame::Error { code: error, kind }), "{file}: {name}");
    }
    for Unfinished { name, hex: text } in vectors.unfinished {
        assert_eq!(decode(&hex(&text)), Ok(Decoded::Incomplete), "{file}: {name}");
    }
    for Stream { name, hex: text, frames, left } in vectors.streams {
        let bytes = hex(&text);
        let (mut at, mut read) = (0, Vec::new());
        while let Decoded::Frame(frame, taken) = decode(&bytes[at..]).expect("a good stream") {
            read.push(frame);
            at += taken;
        }
        assert_eq!((read, bytes.len() - at), (frames, left), "{file}: {name}");
    }
}

#[test]
fn a_client_written_from_the_spec_is_understood() {
    check_wire::<ClientFrame>("client.json", |frame| frame.encode().as_bytes().to_vec(), ClientFrame::decode);
}

#[test]
fn a_client_written_from_the_spec_understands() {
    check_wire::<ServerFrame>("server.json", |frame| frame.encode().as_bytes().to_vec(), ServerFrame::decode);
}

#[derive(Deserialize)]
struct SeedVectors {
    file: String,
    header: SeedHeader,
    envelopes: Vec<SeedEnvelope>,
    damaged: Vec<Damaged>,
}

#[derive(Deserialize)]
struct SeedHeader {
    campaign: u64,
    server: u16,
    shard: u16,
    count: u32,
    total_cents: u64,
    digest: String,
    blocks: u32,
    file_bytes: u64,
}

#[derive(Deserialize)]
struct SeedEnvelope {
    index: usize,
    #[serde(flatten)]
    envelope: hongbao_protocol::Envelope,
}

#[derive(Deserialize)]
struct Damaged {
    name: String,
    place: String,
    error: String,
    edits: Vec<Edit>,
    cut_to: Option<usize>,
}

#[derive(Deserialize)]
struct Edit {
    offset: usize,
    hex: String,
}

/// A reader as section 6.3 of the spec describes it: the first place that is refused, and why.
fn first_damage(bytes: &[u8]) -> Option<(String, &'static str)> {
    let why = |error| match error {
        SeedError::Magic => "magic",
        SeedError::Version(_) => "version",
        SeedError::Checksum { .. } => "checksum",
        SeedError::Misplaced { .. } => "misplaced",
        SeedError::Reserved => "reserved",
        SeedError::Field(_) => "value",
    };
    let Some(block) = bytes.first_chunk::<BLOCK_BYTES>() else { return Some(("header".into(), "cut")) };
    let header = match Header::decode(block) {
        Ok(header) => header,
        Err(error) => return Some(("header".into(), why(error))),
    };
    let (mut digest, mut total) = (blake3::Hasher::new(), 0);
    for number in 0..header.blocks() {
        let place = format!("block {number}");
        let at = (number as usize + 1) * BLOCK_BYTES;
        let Some(block) = bytes[at..].first_chunk::<BLOCK_BYTES>() else { return Some((place, "cut")) };
        match RecordBlock::decode(&header.binding, number, header.records_in(number), block) {
            Ok(records) => total += records.envelopes().map(|envelope| envelope.amount.0).sum::<u64>(),
            Err(error) => return Some((place, why(error))),
        }
        digest.update(block);
    }
    if bytes.len() as u64 > header.file_bytes() {
        return Some((format!("block {}", header.blocks()), "too_long"));
    }
    if *digest.finalize().as_bytes() != header.digest {
        return Some(("file".into(), "digest"));
    }
    (total != header.total.0).then(|| ("file".into(), "total"))
}

#[test]
fn a_seed_file_written_from_the_spec_is_read_and_written_alike() {
    let vectors: SeedVectors =
        serde_json::from_str(&vectors("seed.json")).expect("vectors of the form that the spec gives");
    let bytes = common::vector_bytes(&vectors.file);
    assert_eq!(first_damage(&bytes), None);

    let block = bytes.first_chunk().expect("a header block");
    let header = Header::decode(block).expect("a good header");
    let expected = vectors.header;
    assert_eq!(header.binding.campaign.0, expected.campaign);
    assert_eq!((header.binding.server.0, header.binding.shard.0), (expected.server, expected.shard));
    assert_eq!((header.count, header.total.0), (expected.count, expected.total_cents));
    assert_eq!(header.digest.to_vec(), hex(&expected.digest));
    assert_eq!((header.blocks(), header.file_bytes()), (expected.blocks, expected.file_bytes));
    assert_eq!(header.encode(), *block);

    let mut envelopes = Vec::new();
    for (number, block) in (0..).zip(bytes.as_chunks::<BLOCK_BYTES>().0.iter().skip(1)) {
        let records =
            RecordBlock::decode(&header.binding, number, header.records_in(number), block).expect("a good block");
        let mut again = [0xFF; BLOCK_BYTES];
        let pairs = records.envelopes().map(|envelope| (envelope.sponsor, envelope.amount));
        hongbao_protocol::seed::encode_block(&header.binding, number, pairs, &mut again);
        assert_eq!(again, *block);
        envelopes.extend(records.envelopes());
    }
    assert_eq!(envelopes.len(), header.count as usize);
    for SeedEnvelope { index, envelope } in vectors.envelopes {
        assert_eq!(envelopes[index], envelope);
    }
}

#[test]
fn every_damaged_seed_file_of_the_spec_is_refused_at_its_place() {
    let vectors: SeedVectors =
        serde_json::from_str(&vectors("seed.json")).expect("vectors of the form that the spec gives");
    for Damaged { name, place, error, edits, cut_to } in vectors.damaged {
        let mut bytes = common::vector_bytes(&vectors.file);
        for Edit { offset, hex: text } in edits {
            let new = hex(&text);
            bytes.resize(bytes.len().max(offset + new.len()), 0);
            bytes[offset..offset + new.len()].copy_from_slice(&new);
        }
        bytes.truncate(cut_to.unwrap_or(bytes.len()));
        let found = first_damage(&bytes);
        assert_eq!(found.as_ref().map(|(place, why)| (place.as_str(), *why)), Some((&*place, &*error)), "{name}");
    }
}
