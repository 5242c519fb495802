//! A short run of the fuzzers without a fuzzer: the committed corpus, and mutations of it from a fixed seed.

#[path = "../fuzz/checks.rs"]
mod checks;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

const SEED: u64 = 20_150_218;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = directory
        .read_dir()
        .expect("the corpus is part of the source")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus of {target} is not empty");
    files.into_iter().map(|file| std::fs::read(file).expect("a readable file")).collect()
}

/// One to four changes of the sort that finds things in formats: bits, bytes, small numbers, cuts, repetitions, splices.
fn mutate(rng: &mut Pcg64, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..=bytes.len());
        match rng.random_range(0..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = rng.random(),
            2 if at + 4 <= bytes.len() => {
                let number = [0, 1, 255, 256, u32::MAX][rng.random_range(0..5)];
                bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
            }
            3 => bytes.truncate(at),
            4 => bytes.extend_from_within(at..),
            5 => bytes.insert(at, rng.random()),
            _ => {
                let from = rng.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend(&other[from..]);
            }
        }
        bytes.truncate(64 * 1024);
    }
}

fn run(target: &str, mutations: u32, check: fn(&[u8])) {
    let corpus = corpus(target);
    let mut rng = Pcg64::seed_from_u64(SEED);
    let try_one = |bytes: &[u8], what: &dyn std::fmt::Display| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(bytes))) {
            eprintln!("{target} failed on {what} (seed {SEED}): {bytes:02x?}");
            resume_unwind(panic);
        }
    };
    for (number, bytes) in corpus.iter().enumerate() {
        try_one(bytes, &format_args!("corpus file {number}"));
    }
    for number in 0..mutations {
        let mut bytes = corpus[rng.random_range(0..corpus.len())].clone();
        let other = &corpus[rng.random_range(0..corpus.len())];
        mutate(&mut rng, &mut bytes, other);
        try_one(&bytes, &format_args!("mutation {number}"));
    }
    println!("{target}: {} files and {mutations} mutations from seed {SEED}", corpus.len());
}

#[test]
fn no_bytes_from_a_client_harm_the_reader() {
    run("wire_client", 200_000, checks::wire_client);
}

#[test]
fn no_bytes_from_a_server_harm_the_reader() {
    run("wire_server", 200_000, checks::wire_server);
}

#[test]
fn no_seed_file_harms_the_reader() {
    run("seed", 10_000, checks::seed);
}
