//! Seeds, journal and claims that contradict each other are found to do so, whatever the contradiction, and nothing else is.

#[path = "../benches/ledger/planted.rs"]
mod planted;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use planted::Planted;

fn reconcile(planted: &Planted, folder: &Path, claims: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hongbaod"));
    command.args(["ledger", "reconcile", "--data-dir"]).arg(&planted.data_dir).arg("--seeds").arg(&planted.seeds);
    command.arg("--claims").args(claims).arg("--reissue").arg(folder.join("reissue.jsonl"));
    command.output().expect("the binary runs")
}

fn report(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The small twin of the benchmark with ten million issues and a thousand faults.
#[test]
fn every_planted_fault_is_found_under_its_kind_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let planted = planted::make(folder.path(), 50_000, 80);
    assert_eq!(planted.faults.len(), 8, "faults of every kind: {:?}", planted.faults);
    let output = reconcile(&planted, folder.path(), &[&planted.claims[0], &planted.claims[1]]);
    let report = report(&output);
    assert_eq!(planted::found(&report), planted.expected);
    assert_eq!((output.status.code(), &report["clean"]), (Some(65), &false.into()));
    let reissued = fs::read_to_string(folder.path().join("reissue.jsonl")).expect("the re-issue list");
    // Promised by a right receipt and not in the journal: owed just as much.
    for kind in ["issued_never_shown", "claimed_not_issued"] {
        let lines = reissued.lines().filter(|line| line.contains(&format!(r#""reason":"{kind}""#)));
        assert_eq!(lines.count() as u64, planted.faults[kind], "{kind}");
    }
}

#[test]
fn what_agrees_is_clean_and_what_was_never_shown_costs_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let planted = planted::make(folder.path(), 2000, 0);
    let output = reconcile(&planted, folder.path(), &[&planted.claims[0], &planted.claims[1]]);
    let whole = report(&output);
    assert_eq!((output.status.code(), &whole["clean"]), (Some(0), &true.into()));
    assert_eq!(whole["findings"].as_array().map(Vec::len), Some(0), "{whole}");
    // One of the two files is lost: its winners were never shown anything, as far as anybody knows.
    let output = reconcile(&planted, folder.path(), &[&planted.claims[0]]);
    let half = report(&output);
    assert_eq!((output.status.code(), &half["clean"]), (Some(0), &true.into()));
    assert_eq!(half["reissue"]["envelopes"], 1000, "{half}");
}

/// What a damaged line held is missing from the comparison: that must not pass for agreement.
#[test]
fn a_damaged_line_of_a_claims_file_is_named_and_is_not_clean() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let planted = planted::make(folder.path(), 2000, 0);
    let mut text = fs::read(&planted.claims[1]).expect("read");
    text.truncate(text.len() - 10);
    let offset = text.iter().rposition(|byte| *byte == b'\n').expect("lines") + 1;
    fs::write(&planted.claims[1], text).expect("written");
    let output = reconcile(&planted, folder.path(), &[&planted.claims[0], &planted.claims[1]]);
    let report = report(&output);
    assert_eq!((output.status.code(), &report["claims"]["unreadable_lines"]), (Some(65), &1.into()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("claims-2.jsonl") && said.contains(&offset.to_string()), "{said}");
}

/// Twice the same file would be twice everything in it.
#[test]
fn a_claims_file_that_is_named_twice_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let planted = planted::make(folder.path(), 100, 0);
    let link = folder.path().join("link.jsonl");
    fs::hard_link(&planted.claims[0], &link).expect("linked");
    let output = reconcile(&planted, folder.path(), &[&planted.claims[0], &link]);
    assert_eq!(output.status.code(), Some(64), "{}", String::from_utf8_lossy(&output.stderr));
}
