//! The ledger's figures, without the SETs. `cargo bench -p hongbaod --bench ledger -- NAME...` runs some. Each is printed as one line of JSON.

mod planted;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

type Bench = fn(&Path) -> Value;

const BENCHES: [(&str, Bench); 1] = [("reconcile", reconcile)];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let unknown = arguments.iter().find(|argument| BENCHES.iter().all(|(name, _)| name != argument));
    assert!(unknown.is_none(), "no figure is named {unknown:?}: {:?}", BENCHES.map(|(name, _)| name));
    for (name, bench) in BENCHES {
        if arguments.is_empty() || arguments.iter().any(|argument| argument == name) {
            eprintln!("{name} ...");
            let folder = tempfile::tempdir().expect("a temporary folder");
            println!("{}", bench(folder.path()));
        }
    }
}

/// Ten million issues with a thousand planted faults: all found, none false, within 60 s.
fn reconcile(folder: &Path) -> Value {
    const ISSUES: u32 = 10_000_000;
    const FAULTS: u32 = 1000;
    let planted = planted::make(folder, ISSUES, FAULTS);
    let report = folder.join("report.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hongbaod"));
    command.args(["ledger", "reconcile", "--data-dir"]).arg(&planted.data_dir).arg("--seeds").arg(&planted.seeds);
    command.arg("--claims").args(&planted.claims).arg("--report").arg(&report);
    command.arg("--reissue").arg(folder.join("reissue.jsonl"));
    let begun = Instant::now();
    let status = command.status().expect("the binary runs");
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!(status.code(), Some(65), "faults were planted");
    let megabytes = getrusage(UsageWho::RUSAGE_CHILDREN).expect("usage").max_rss() / 1000;
    let report: Value = serde_json::from_slice(&std::fs::read(report).expect("a report")).expect("the report is JSON");
    let found = planted::found(&report);
    let missed = planted.expected.difference(&found).count();
    let false_alarms = found.difference(&planted.expected).count();
    json!({"figure": "reconcile", "issues": ISSUES, "planted": FAULTS, "findings": found.len(), "by_kind": planted.faults,
        "missed": missed, "false": false_alarms, "seconds": seconds, "resident_megabytes": megabytes, "must_seconds": 60, "aim_seconds": 10})
}
