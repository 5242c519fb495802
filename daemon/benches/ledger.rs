//! The ledger on a real disk: durable wins a second and the latency of a lone win for both ways of writing, alternating in one run;
//! and the time of a restart with three million records. One JSON line each, on the standard output.
//!
//! `cargo bench -p hongbaod --bench ledger -- [--directory DIR] [--rounds N] [--seconds N] [--records N]`

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hongbao_protocol::{CampaignId, Cents, Envelope, EnvelopeId, ServerId, ShardId, SponsorId, UserId};
use hongbao_uring::{Disk, DiskRing, Doorbell, Token, Wait};
use hongbaod::cells::LedgerCells;
use hongbaod::ledger::accounts::Caps;
use hongbaod::ledger::{Ledger, LedgerError, LedgerOptions, LedgerSummary, WritePath};
use hongbaod::limits::{LEDGER_REQUESTS_PER_SET, LEDGER_VERDICTS_PER_SET};
use hongbaod::messages::{LedgerSetEnds, Refusal, Request, Verdict};
use rtrb::{Consumer, Producer, RingBuffer};
use serde_json::json;

const PATHS: [WritePath; 2] = [WritePath::Linked, WritePath::Direct];

struct Arguments {
    directory: PathBuf,
    rounds: usize,
    seconds: u64,
    records: u32,
}

impl Arguments {
    fn parse() -> Self {
        let mut parsed = Self { directory: std::env::temp_dir(), rounds: 5, seconds: 2, records: 3_000_000 };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            if argument == "--bench" {
                continue; // Cargo's own.
            }
            let value = arguments.next().unwrap_or_else(|| panic!("{argument} needs a value"));
            match argument.as_str() {
                "--directory" => parsed.directory = value.into(),
                "--rounds" => parsed.rounds = value.parse().expect("a number of rounds"),
                "--seconds" => parsed.seconds = value.parse().expect("a number of seconds"),
                "--records" => parsed.records = value.parse().expect("a number of records"),
                _ => panic!("{argument} is not known"),
            }
        }
        parsed
    }
}

/// A SET's side of a ledger on a thread: real queues, real doorbells, no sockets.
struct SimulatedSet {
    ring: DiskRing,
    requests: Producer<Request>,
    verdicts: Consumer<Verdict>,
    doorbell: Arc<Doorbell>,
    ledger_doorbell: Arc<Doorbell>,
    cells: Arc<LedgerCells>,
    thread: JoinHandle<Result<LedgerSummary, LedgerError>>,
    next: u32,
    refused: VecDeque<u32>,
    in_flight: usize,
}

impl SimulatedSet {
    fn start(ledger: Ledger) -> Self {
        let (requests, ledger_requests) = RingBuffer::new(LEDGER_REQUESTS_PER_SET);
        let (ledger_verdicts, verdicts) = RingBuffer::new(LEDGER_VERDICTS_PER_SET);
        let doorbell: Arc<Doorbell> = Arc::default();
        let ledger_doorbell: Arc<Doorbell> = Arc::default();
        let cells: Arc<LedgerCells> = Arc::default();
        let ends =
            LedgerSetEnds { requests: ledger_requests, verdicts: ledger_verdicts, doorbell: Arc::clone(&doorbell) };
        let thread = thread::spawn({
            let (doorbell, cells) = (Arc::clone(&ledger_doorbell), Arc::clone(&cells));
            move || ledger.run(vec![ends], &doorbell, cells)
        });
        let ring = DiskRing::open(WritePath::Linked, &doorbell).expect("io_uring works here");
        let refused = VecDeque::new();
        Self { ring, requests, verdicts, doorbell, ledger_doorbell, cells, thread, next: 0, refused, in_flight: 0 }
    }

    /// One turn: takes what was answered, asks until `window` requests are out, waits. Returns the wins.
    fn turn(&mut self, window: usize, more: bool) -> u32 {
        let mut wins = 0;
        while let Ok(verdict) = self.verdicts.pop() {
            self.in_flight -= 1;
            match verdict {
                Verdict::Won { .. } => wins += 1,
                // The next segment is not ready: asked again, as its stock would be.
                Verdict::Refused { sequence, refusal: Refusal::Halted, .. } => self.refused.push_back(sequence),
                other => panic!("{other:?}"),
            }
        }
        let asked = self.in_flight;
        while more && self.in_flight < window {
            let index = self.refused.pop_front().unwrap_or_else(|| {
                self.next += 1;
                self.next - 1
            });
            let envelope = Envelope {
                id: EnvelopeId::new(ServerId(1), ShardId(0), index),
                sponsor: SponsorId(index % 100),
                amount: Cents(100),
            };
            // Neighbours in time are no neighbours in the table.
            let user = UserId(u64::from(index).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let claim = Request::Claim { caller: Token::default(), sequence: index, user, envelope };
            if self.requests.push(claim).is_err() {
                break;
            }
            self.in_flight += 1;
        }
        if self.in_flight > asked {
            self.ring.ring_doorbell(&self.ledger_doorbell);
        }
        self.doorbell.going_to_sleep();
        let wait = Wait { want: u32::from(self.verdicts.is_empty()), min_wait_us: 0, timeout_us: 1000 };
        self.ring.enter(wait).expect("the ring works");
        while self.ring.next().is_some() {}
        self.doorbell.woke_up();
        wins
    }

    fn stop(mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.in_flight > 0 {
            self.turn(0, false);
            assert!(Instant::now() < deadline, "{} answers are missing", self.in_flight);
        }
        drop(self.requests);
        self.thread.join().expect("no panic").expect("the ledger ends well");
    }
}

fn open(data_dir: &Path, write_path: WritePath) -> Ledger {
    let options = LedgerOptions { write_path, ..LedgerOptions::new(data_dir, Caps::UNLIMITED) };
    let mut ledger = Ledger::open(options).expect("the ledger opens");
    ledger.bind(CampaignId(1), ServerId(1)).expect("it is ours");
    ledger
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// As many wins as the queues take, for some seconds.
fn throughput(data_dir: &Path, path: WritePath, seconds: u64) -> (f64, f64) {
    let mut set = SimulatedSet::start(open(data_dir, path));
    let begun = Instant::now();
    let mut wins = 0;
    while begun.elapsed() < Duration::from_secs(seconds) {
        wins += set.turn(LEDGER_REQUESTS_PER_SET, true);
    }
    let rate = f64::from(wins) / begun.elapsed().as_secs_f64();
    let batch = set.cells.wins.get() as f64 / set.cells.commits.get().max(1) as f64;
    set.stop();
    (rate, batch)
}

/// One win at a time: its latency in microseconds, at the median and at 99 %.
fn latency(data_dir: &Path, path: WritePath, seconds: u64) -> (f64, f64) {
    let mut set = SimulatedSet::start(open(data_dir, path));
    let begun = Instant::now();
    let mut latencies = Vec::new();
    let mut asked = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        if set.turn(1, set.in_flight == 0) == 1 {
            latencies.push(asked.elapsed().as_secs_f64() * 1e6);
            asked = Instant::now();
        }
    }
    set.stop();
    latencies.sort_by(f64::total_cmp);
    (latencies[latencies.len() / 2], latencies[latencies.len() * 99 / 100])
}

fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let resident = pages.and_then(|text| text.split_whitespace().nth(1).and_then(|field| field.parse::<u64>().ok()));
    resident.map_or(0, |pages| pages * 4096)
}

/// Processor time of this thread: what the restart takes on a machine with nothing else to do, waits for the disk apart.
fn processor_milliseconds() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok());
    nanoseconds.unwrap_or(0) as f64 / 1e6
}

fn restart(data_dir: &Path, records: u32, rounds: usize) {
    let mut set = SimulatedSet::start(open(data_dir, WritePath::Direct));
    let mut wins = 0;
    while wins < records {
        let more = set.next < records || !set.refused.is_empty();
        wins += set.turn(LEDGER_REQUESTS_PER_SET.min((records - wins) as usize), more);
    }
    set.stop();
    let (mut milliseconds, mut processor, mut for_feeder) = (Vec::new(), Vec::new(), Vec::new());
    let mut memory = 0;
    for _ in 0..rounds {
        let before = resident_bytes();
        let (begun, used) = (Instant::now(), processor_milliseconds());
        let ledger = open(data_dir, WritePath::Direct);
        milliseconds.push(begun.elapsed().as_secs_f64() * 1e3);
        processor.push(processor_milliseconds() - used);
        memory = resident_bytes().saturating_sub(before);
        let begun = Instant::now();
        assert_eq!(ledger.issued_before().envelopes.len(), wins as usize);
        for_feeder.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let line = json!({
        "benchmark": "ledger_restart", "records": wins, "milliseconds": median(milliseconds.clone()),
        "all": milliseconds, "processor_milliseconds": median(processor), "issued_before_milliseconds": median(for_feeder), "resident_bytes": memory,
    });
    println!("{line}");
}

fn main() {
    let arguments = Arguments::parse();
    let fresh = || tempfile::tempdir_in(&arguments.directory).expect("the directory takes a temporary folder");
    let mut figures: Vec<[Vec<f64>; 4]> = vec![Default::default(); PATHS.len()];
    for _ in 0..arguments.rounds {
        for (path, figures) in PATHS.into_iter().zip(&mut figures) {
            let (rate, batch) = throughput(fresh().path(), path, arguments.seconds);
            let (half, p99) = latency(fresh().path(), path, arguments.seconds);
            for (all, value) in figures.iter_mut().zip([rate, batch, half, p99]) {
                all.push(value);
            }
        }
    }
    for (path, [rates, batches, halves, p99s]) in PATHS.into_iter().zip(figures) {
        let line = json!({
            "benchmark": "ledger_durable_wins", "write_path": path.label(), "wins_per_second": median(rates.clone()),
            "all": rates, "records_per_commit": median(batches),
            "lone_win_us_median": median(halves), "lone_win_us_p99": median(p99s),
        });
        println!("{line}");
    }
    restart(fresh().path(), arguments.records, arguments.rounds);
}
