//! Very many histories, over all cores.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::case::Case;
use crate::client::Heard;
use crate::fault::FaultCounts;
use crate::history::Outcome;

/// Seeds that a thread takes at once.
const STRIDE: u64 = 64;
/// Failures after which no more are looked for.
const FAILURES_MAX: usize = 10;

/// What many histories add up to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Histories run.
    pub histories: u64,
    /// Turns in them.
    pub steps: u64,
    /// Starts of the daemon.
    pub starts: u64,
    /// Starts that were refused for a corrupted journal, as they must be.
    pub refusals: u64,
    /// What clients saw.
    pub heard: Heard,
    /// What was done to them.
    pub faults: FaultCounts,
    /// Those that broke a promise, with the turn and the promise.
    pub failures: Vec<(Case, usize, String)>,
}

impl Summary {
    fn add(&mut self, case: Case, outcome: Outcome) {
        self.histories += 1;
        self.steps += outcome.steps;
        self.starts += outcome.starts;
        self.refusals += outcome.refusals;
        self.heard.add(outcome.heard);
        self.faults.add(&outcome.faults);
        if let Some((step, text)) = outcome.violation {
            self.failures.push((case, step, text));
        }
    }

    fn join(&mut self, other: Self) {
        self.histories += other.histories;
        self.steps += other.steps;
        self.starts += other.starts;
        self.refusals += other.refusals;
        self.heard.add(other.heard);
        self.faults.add(&other.faults);
        self.failures.extend(other.failures);
    }
}

/// Runs the histories of these seeds on so many threads. `done` is told how many are, now and then; `failed` of each failure at once.
pub fn sweep(
    seeds: Range<u64>,
    threads: usize,
    done: &(dyn Fn(u64) + Sync),
    failed: &(dyn Fn(&Case, usize, &str) + Sync),
) -> Summary {
    let next = AtomicU64::new(seeds.start);
    let all = Mutex::new(Summary::default());
    let work = || {
        let mut own = Summary::default();
        loop {
            let first = next.fetch_add(STRIDE, Ordering::Relaxed);
            if first >= seeds.end {
                break;
            }
            let end = (first + STRIDE).min(seeds.end);
            for seed in first..end {
                let case = Case::of_seed(seed);
                let outcome = case.run();
                if let Some((step, text)) = &outcome.violation {
                    failed(&case, *step, text);
                }
                own.add(case, outcome);
            }
            done(end - first);
            if own.failures.len() >= FAILURES_MAX {
                next.store(seeds.end, Ordering::Relaxed);
            }
        }
        all.lock().expect("no thread panics while it adds").join(own);
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    all.into_inner().expect("no thread panics while it adds")
}
