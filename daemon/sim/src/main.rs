//! `hongbao-sim`: runs histories of the whole daemon from seeds and says which broke a promise.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use clap::Parser;
use hongbao_sim::{Case, Fault, FaultSet, Summary, hush_panics, shrink, sweep};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a line tells of the progress where no bar can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(10);
const REPLAY: &str = "cargo run --profile sim -p hongbao-sim --";

/// Run the whole daemon from seeds on a simulated disk, network and clock, and look for money that is lost or doubled.
///
/// Each seed is a history of starts, shakes, faults, crashes and restarts. After each start and with each answer it is held against
/// an independent model. Exits with 1 where a promise was broken; the seed is printed at once with the command that
/// replays it.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  hongbao-sim --seeds 100000\n  hongbao-sim --seeds 1000 --first 7000000 --threads 1\n  \
        hongbao-sim --seed 18895 --trace\n  hongbao-sim --seed 18895 --steps 40 --without bit-flip,kill"
)]
struct Arguments {
    /// How many histories.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    first: u64,
    /// Threads; one for each core where it is not said.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// One history alone, which ends with the digest of everything that happened in it.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "first", "threads"])]
    seed: Option<u64>,
    /// Print each turn of it.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// At most so many turns.
    #[arg(long, value_name = "N", requires = "seed")]
    steps: Option<usize>,
    /// At most so many clients.
    #[arg(long, value_name = "N", requires = "seed")]
    clients: Option<usize>,
    /// At most so many SETs.
    #[arg(long, value_name = "N", requires = "seed")]
    sets: Option<usize>,
    /// Kinds of faults to leave out, by their names in the summary.
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = fault, requires = "seed")]
    without: Vec<Fault>,
}

fn fault(name: &str) -> Result<Fault, String> {
    let found = Fault::ALL.iter().copied().find(|fault| fault.name() == name);
    found.ok_or_else(|| {
        let names: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        format!("there are: {}", names.join(", "))
    })
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    hush_panics();
    let failed = match arguments.seed {
        Some(seed) => replay(seed, &arguments),
        None => search(&arguments),
    };
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn replay(seed: u64, arguments: &Arguments) -> bool {
    let Arguments { steps, clients, sets, .. } = *arguments;
    let without = arguments.without.iter().fold(FaultSet::NONE, |set, fault| set.with(*fault));
    let case = Case { seed, steps, clients, sets, without };
    let outcome = if arguments.trace { case.run_traced(&mut |line| println!("{line}")) } else { case.run() };
    println!(
        "seed {seed}: {} turns, {} starts, {} refused, {} shakes, {} envelopes, digest {:016x}",
        outcome.steps, outcome.starts, outcome.refusals, outcome.heard.shakes, outcome.heard.envelopes, outcome.digest
    );
    if let Some((step, text)) = &outcome.violation {
        println!("BROKEN at turn {step}: {text}");
    }
    outcome.violation.is_some()
}

fn search(arguments: &Arguments) -> bool {
    let seeds = arguments.first..arguments.first.saturating_add(arguments.seeds);
    let threads = arguments.threads.unwrap_or_else(|| available_parallelism().map_or(1, usize::from));
    eprintln!("seeds {} to {} on {threads} threads", seeds.start, seeds.end.saturating_sub(1));
    let progress = Progress::new(arguments.seeds);
    let begun = Instant::now();
    let failed = |case: &Case, step: usize, text: &str| {
        progress
            .say(&format!("BROKEN at turn {step} of seed {}: {text}\n  replay: {REPLAY} {case} --trace", case.seed));
    };
    let summary = sweep(seeds, threads, &|done| progress.advance(done), &failed);
    let took = begun.elapsed();
    progress.bar.finish_and_clear();
    if let Some((case, ..)) = summary.failures.first() {
        let small = shrink(*case);
        let told = small.run().violation.map_or_else(String::new, |(step, text)| format!("turn {step}: {text}"));
        println!("the smallest found: {told}\n  replay: {REPLAY} {small} --trace");
    }
    tell(&summary, took);
    !summary.failures.is_empty()
}

fn tell(summary: &Summary, took: Duration) {
    let Summary { histories, steps, starts, refusals, heard, faults, failures } = summary;
    println!("fault                  times");
    for fault in Fault::ALL {
        println!("{:20} {:>7}", fault.name(), faults.of(*fault));
    }
    println!(
        "{histories} histories, {} broken; {} faults, {steps} turns, {starts} starts, {refusals} refused for corruption; {} shakes, {} \
         envelopes, {} shown again; {:.0} s, {:.0} histories/s",
        failures.len(),
        faults.total(),
        heard.shakes,
        heard.envelopes,
        heard.shown_again,
        took.as_secs_f64(),
        *histories as f64 / took.as_secs_f64()
    );
}

/// A bar on a terminal, a line now and then elsewhere.
struct Progress {
    bar: ProgressBar,
    last_line: Option<Mutex<Instant>>,
}

impl Progress {
    fn new(histories: u64) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let target = if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(histories), target);
        let style =
            ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len} histories, {per_sec}, {eta} left");
        bar.set_style(style.expect("the template is right"));
        Self { bar, last_line: (!is_terminal).then(|| Mutex::new(Instant::now())) }
    }

    fn advance(&self, done: u64) {
        self.bar.inc(done);
        let Some(last) = &self.last_line else { return };
        let mut last = last.lock().expect("nothing panics that holds it");
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            eprintln!("{} histories, {:.0}/s", self.bar.position(), self.bar.per_sec());
        }
    }

    fn say(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }
}
