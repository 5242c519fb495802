//! Seed files on a real file system: nothing is lost in making them, and no damage to them passes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hongbao_protocol::seed::{BLOCK_BYTES, SeedError};
use hongbao_protocol::{CampaignId, Cents, Envelope, SponsorId};
use hongbaod::exit::Exit;
use hongbaod::seed::file::{Damage, Fault, Place, SeedFile, Tally, find};
use hongbaod::seed::{GenerateOptions, generate};
use serde::Deserialize;

fn options(output: &Path, count: u64) -> GenerateOptions {
    GenerateOptions {
        campaign: CampaignId(7),
        count,
        total: Cents(count * 37 + 11),
        sponsors: 5,
        servers: 1,
        shards_per_server: 1,
        output: output.to_path_buf(),
        rng_seed: 42,
        force: false,
    }
}

fn generated(options: &GenerateOptions) -> Vec<PathBuf> {
    let summary = generate(options, &mut |_| {}).expect("a generation that ends well");
    summary.files.into_iter().map(|file| file.path).collect()
}

fn walk(path: &Path) -> (Tally, Vec<Envelope>, Vec<Damage>) {
    let (mut envelopes, mut damages) = (Vec::new(), Vec::new());
    let tally = match SeedFile::open(path) {
        Ok(file) => file.walk(|envelope| envelopes.push(envelope), |damage| damages.push(damage)),
        Err(damage) => {
            damages.push(damage);
            Tally::default()
        }
    };
    (tally, envelopes, damages)
}

#[test]
fn a_campaign_is_split_over_servers_without_overlap_or_loss() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = GenerateOptions { servers: 3, shards_per_server: 2, ..options(folder.path(), 10_007) };
    let files = generated(&options);
    assert_eq!(files.len(), 6);
    assert_eq!(find(&[folder.path().to_path_buf()]).expect("a folder to list"), files);
    let (mut ids, mut total) = (BTreeSet::new(), Cents::ZERO);
    for path in &files {
        let (tally, envelopes, damages) = walk(path);
        assert!(damages.is_empty(), "{damages:?}");
        assert_eq!(tally.envelopes, envelopes.len() as u64);
        let mut sponsors: BTreeMap<SponsorId, u64> = BTreeMap::new();
        for envelope in envelopes {
            assert!(ids.insert(envelope.id), "{} is there twice", envelope.id);
            total = total.checked_add(envelope.amount).expect("a sum that fits");
            *sponsors.entry(envelope.sponsor).or_default() += 1;
        }
        let (least, most) = (sponsors.values().min(), sponsors.values().max());
        assert!(sponsors.len() == 5 && most.expect("five") - least.expect("five") <= 1, "{sponsors:?}");
    }
    assert_eq!((ids.len(), total), (10_007, options.total));
}

/// The digest is pinned: the same seed must give the same envelopes with every later version, or audits of old campaigns break.
#[test]
fn a_seed_gives_the_same_files_for_ever() {
    let [first, again, other] = [42, 42, 43].map(|rng_seed| {
        let folder = tempfile::tempdir().expect("a folder");
        let files = generated(&GenerateOptions { rng_seed, ..options(folder.path(), 1000) });
        fs::read(&files[0]).expect("a file to read")
    });
    assert!(first == again && first != other);
    let digest = blake3::hash(&first).to_hex();
    assert_eq!(digest.as_str(), "6c0e0b496f795fae86184024e9a87aec79a913cc58bcad006c37c36c22be3429");
}

#[test]
fn every_damaged_byte_of_a_seed_file_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = &generated(&options(folder.path(), 300))[0];
    let good = fs::read(path).expect("a file to read");
    assert_eq!(good.len(), 3 * BLOCK_BYTES);
    let file = fs::OpenOptions::new().write(true).open(path).expect("a file to write");
    for at in 0..good.len() {
        file.write_all_at(&[good[at] ^ (1 << (at % 8))], at as u64).expect("a byte written");
        let (_, envelopes, damages) = walk(path);
        file.write_all_at(&good[at..=at], at as u64).expect("a byte written");
        assert_eq!(damages.len(), 1, "byte {at}");
        let place = damages[0].place;
        assert!((place.offset()..place.offset() + BLOCK_BYTES as u64).contains(&(at as u64)), "byte {at}: {place}");
        assert_eq!(envelopes.len(), [0, 45, 255][at / BLOCK_BYTES], "the other block's envelopes are still good");
    }
}

#[test]
fn a_seed_file_cut_or_grown_anywhere_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = &generated(&options(folder.path(), 300))[0];
    let good = fs::read(path).expect("a file to read");
    let copy = folder.path().join("copy");
    for length in (0..good.len()).step_by(61).chain([0, 4095, 4096, 4097, 8191, 8192, 8193, 12_287]) {
        fs::write(&copy, &good[..length]).expect("a file to write");
        let (_, envelopes, damages) = walk(&copy);
        assert!(damages.len() == 1 && matches!(damages[0].fault, Fault::Cut { .. }), "{length} bytes: {damages:?}");
        assert_eq!(envelopes.len(), if length >= 8192 { 255 } else { 0 }, "{length} bytes");
    }
    for more in [1, 4095, 4096, 10_000] {
        let mut grown = good.clone();
        grown.resize(good.len() + more, 0);
        fs::write(&copy, &grown).expect("a file to write");
        let (_, envelopes, damages) = walk(&copy);
        assert!(damages.len() == 1 && matches!(damages[0].fault, Fault::TooLong { .. }), "{more} more: {damages:?}");
        assert_eq!(envelopes.len(), 300);
    }
}

#[test]
fn one_damaged_block_does_not_take_the_others_along() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = &generated(&options(folder.path(), 255 * 300))[0];
    let mut bytes = fs::read(path).expect("a file to read");
    for block in [3_usize, 4, 299] {
        bytes[(block + 1) * BLOCK_BYTES + 20] ^= 1;
    }
    fs::write(path, &bytes).expect("a file to write");
    let (tally, envelopes, damages) = walk(path);
    let places: Vec<Place> = damages.iter().map(|damage| damage.place).collect();
    assert_eq!(places, [Place::Block(3), Place::Block(4), Place::Block(299)]);
    assert_eq!((tally.damages, tally.envelopes, envelopes.len()), (3, 255 * 297, 255 * 297));
    let told = damages[0].to_string();
    assert!(told.starts_with(&format!("{}: block 3 at byte 16384: checksum", path.display())), "{told}");
}

#[derive(Deserialize)]
struct Vectors {
    file: String,
    damaged: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
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

fn name_of(damage: &Damage) -> (String, &'static str) {
    let place = match damage.place {
        Place::Header => "header".into(),
        Place::Block(number) => format!("block {number}"),
        Place::File => "file".into(),
    };
    let fault = match damage.fault {
        Fault::Read(_) => "read",
        Fault::Cut { .. } => "cut",
        Fault::TooLong { .. } => "too_long",
        Fault::Digest => "digest",
        Fault::Total { .. } => "total",
        Fault::Block(SeedError::Magic) => "magic",
        Fault::Block(SeedError::Version(_)) => "version",
        Fault::Block(SeedError::Checksum { .. }) => "checksum",
        Fault::Block(SeedError::Misplaced { .. }) => "misplaced",
        Fault::Block(SeedError::Reserved) => "reserved",
        Fault::Block(SeedError::Field(_)) => "value",
    };
    (place, fault)
}

#[test]
fn every_damaged_file_of_the_specification_is_found_at_its_place() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/vectors");
    let text = fs::read_to_string(golden.join("seed.json")).expect("the vectors are part of the source");
    let vectors: Vectors = serde_json::from_str(&text).expect("vectors of the form that the spec gives");
    let good = fs::read(golden.join(vectors.file)).expect("the golden seed file");
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("copy");
    assert!(vectors.damaged.len() > 20);
    for Vector { name, place, error, edits, cut_to } in vectors.damaged {
        let mut bytes = good.clone();
        for Edit { offset, hex } in edits {
            let new: Vec<u8> =
                (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("digits")).collect();
            bytes.resize(bytes.len().max(offset + new.len()), 0);
            bytes[offset..offset + new.len()].copy_from_slice(&new);
        }
        bytes.truncate(cut_to.unwrap_or(bytes.len()));
        fs::write(&copy, &bytes).expect("a file to write");
        let (_, _, damages) = walk(&copy);
        let found: Vec<_> = damages.iter().map(name_of).collect();
        let found: Vec<_> = found.iter().map(|(place, fault)| (&**place, *fault)).collect();
        assert_eq!(found, [(&*place, &*error)], "{name}");
    }
}

#[test]
fn nothing_is_replaced_that_was_not_meant_to_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = options(folder.path(), 600);
    let path = &generated(&GenerateOptions { shards_per_server: 2, ..first.clone() })[0];
    let before = fs::read(path).expect("a file to read");

    let again = GenerateOptions { rng_seed: 1, shards_per_server: 2, ..first.clone() };
    let refused = generate(&again, &mut |_| {}).expect_err("it exists");
    assert!(refused.exit == Exit::Unavailable && refused.message.contains("--force"), "{refused}");
    assert_eq!(fs::read(path).expect("a file to read"), before);

    // One shard now, two before: the second one's money would come on top.
    let fewer = GenerateOptions { force: true, ..first.clone() };
    let refused = generate(&fewer, &mut |_| {}).expect_err("a file would be left over");
    assert!(refused.message.contains("seed-7-s01-01.hbs belongs to campaign 7 too"), "{refused}");
    assert_eq!(fs::read(path).expect("a file to read"), before);

    generated(&GenerateOptions { force: true, ..again });
    assert_ne!(fs::read(path).expect("a file to read"), before);
    generated(&GenerateOptions { campaign: CampaignId(8), ..first });
}

#[test]
fn a_generation_that_fails_leaves_no_file_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    // Server 2's directory cannot be made: a file is in its way.
    fs::write(folder.path().join("server-02"), "in the way").expect("a file to write");
    let options = GenerateOptions { servers: 2, ..options(folder.path(), 600) };
    let failure = generate(&options, &mut |_| {}).expect_err("no directory for server 2");
    assert!(failure.message.contains("server-02"), "{failure}");
    let left = fs::read_dir(folder.path().join("server-01")).expect("server 1's directory").count();
    assert_eq!(left, 0, "neither a file nor a temporary one");
}

#[test]
fn progress_counts_every_envelope_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = GenerateOptions { servers: 2, ..options(folder.path(), 200_000) };
    let mut seen = vec![0];
    generate(&options, &mut |progress| {
        assert_eq!(progress.of, 200_000);
        seen.push(progress.envelopes);
    })
    .expect("a generation that ends well");
    assert!(seen.is_sorted() && seen.len() > 3 && seen.last() == Some(&200_000), "{seen:?}");
}
