//! The ledger's figures, without the SETs. `cargo bench -p hongbaod --bench ledger -- NAME...` runs some. Each is printed as one line of JSON.

mod planted;
mod set;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hongbao_protocol::{CampaignId, ServerId};
use hongbao_uring::WritePath;
use hongbaod::ledger::accounts::Caps;
use hongbaod::ledger::{Ledger, LedgerOptions};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};
use set::{REQUESTS, SimulatedSet};

type Bench = fn(&Path) -> Value;

const BENCHES: [(&str, Bench); 4] =
    [("durable", durable), ("latency", latency), ("restart", restart), ("reconcile", reconcile)];

/// Both ways of writing, in turns.
const PATHS: [WritePath; 2] = [WritePath::Linked, WritePath::Direct];
const ALTERNATIONS: usize = 5;

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

fn open(data_dir: &Path, write_path: WritePath, segment_bytes: u64) -> Ledger {
    let options = LedgerOptions { write_path, segment_bytes, ..LedgerOptions::new(data_dir, Caps::UNLIMITED) };
    let mut ledger = Ledger::open(options).expect("the ledger opens");
    ledger.bind(CampaignId(1), ServerId(1)).expect("it is ours");
    ledger
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs `measure` on both ways of writing in turns, each time in a fresh folder; the median of each figure that it gives.
fn both_paths<const N: usize>(
    folder: &Path,
    names: [&str; N],
    measure: impl Fn(&Path, WritePath) -> [f64; N],
) -> Value {
    let mut all: [[Vec<f64>; N]; 2] = std::array::from_fn(|_| std::array::from_fn(|_| Vec::new()));
    for _ in 0..ALTERNATIONS {
        for (path, figures) in PATHS.into_iter().zip(&mut all) {
            let fresh = tempfile::tempdir_in(folder).expect("a temporary folder");
            for (values, value) in figures.iter_mut().zip(measure(fresh.path(), path)) {
                values.push(value);
            }
        }
    }
    let of = |figures: [Vec<f64>; N]| -> serde_json::Map<String, Value> {
        names.iter().zip(figures).map(|(name, values)| ((*name).to_owned(), median(values).into())).collect()
    };
    let lines = PATHS.into_iter().zip(all).map(|(path, figures)| (path.label().to_owned(), Value::Object(of(figures))));
    Value::Object(lines.collect())
}

/// As many wins a second as the queues take.
fn durable(folder: &Path) -> Value {
    let by_path = both_paths(folder, ["wins_per_second", "wins_per_commit"], |data_dir, path| {
        let mut set = SimulatedSet::start(open(data_dir, path, 64 << 20));
        let begun = Instant::now();
        let mut wins = 0;
        while begun.elapsed() < Duration::from_secs(2) {
            wins += set.turn(REQUESTS, true);
        }
        let rate = f64::from(wins) / begun.elapsed().as_secs_f64();
        let batch = set.cells.wins.get() as f64 / set.cells.commits.get().max(1) as f64;
        set.stop();
        [rate, batch]
    });
    json!({"figure": "durable wins", "by_path": by_path, "must_wins_per_second": 50_000, "aim_wins_per_second": 150_000})
}

/// 200 wins a second, each asked for at its time: how long each waited for its durable answer.
fn latency(folder: &Path) -> Value {
    let by_path = both_paths(folder, ["p50_ms", "p99_ms"], |data_dir, path| {
        let mut set = SimulatedSet::start(open(data_dir, path, 64 << 20));
        let every = Duration::from_millis(5);
        let mut latencies = Vec::new();
        let mut intended = Instant::now();
        while latencies.len() < 600 {
            let due = set.in_flight == 0 && Instant::now() >= intended;
            if set.turn(1, due) == 1 {
                latencies.push(intended.elapsed().as_secs_f64() * 1e3);
                intended += every;
            }
        }
        set.stop();
        latencies.sort_by(f64::total_cmp);
        [latencies[latencies.len() / 2], latencies[latencies.len() * 99 / 100]]
    });
    json!({"figure": "durable answer at 200 wins/s", "by_path": by_path, "must_p99_ms": 20, "aim_p99_ms": 3})
}

/// Three million records, snapshots and segments as they come: the time until the ledger is open.
fn restart(folder: &Path) -> Value {
    const RECORDS: u32 = 3_000_000;
    let mut set = SimulatedSet::start(open(folder, WritePath::Direct, 8 << 20));
    let mut wins = 0;
    while wins < RECORDS {
        let more = set.next < RECORDS || !set.refused.is_empty();
        wins += set.turn(REQUESTS.min((RECORDS - wins) as usize), more);
    }
    set.stop();
    let seconds = |_| {
        let begun = Instant::now();
        let ledger = open(folder, WritePath::Direct, 8 << 20);
        let seconds = begun.elapsed().as_secs_f64();
        assert_eq!(ledger.issued_before().envelopes.len(), wins as usize);
        seconds
    };
    let all: Vec<f64> = (0..ALTERNATIONS).map(seconds).collect();
    let names = std::fs::read_dir(folder.join("journal")).expect("listed").flatten().map(|entry| entry.file_name());
    let snapshots = names.filter(|name| name.to_string_lossy().ends_with(".snapshot")).count();
    json!({"figure": "restart", "records": wins, "snapshots": snapshots, "seconds": median(all.clone()), "all": all,
        "must_seconds": 5, "aim_seconds": 1})
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
