//! The main thread after the start: waits for signals, stops the SETs in good order, and watches that no thread dies before its time.
//!
//! The SETs are told to stop, and the feeder to deal no more. The ledger and the feeder end by themselves when the last SET has dropped
//! its ends of their queues, so that nothing a SET still asks for or gives back is lost.

mod course;
mod signals;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hongbao_uring::{Doorbell, Waker};
use nix::sys::signal::Signal;
use rtrb::Producer;

use crate::exit::{Exit, Failure};
use crate::messages::{FeederCommand, SetCommand};
use course::{Course, Seen, Step};
pub use signals::Signals;

/// A thread that is watched.
pub struct Watched<'a> {
    /// As in the process list.
    pub name: String,
    /// Whether it has ended, in whatever way.
    pub has_ended: Box<dyn Fn() -> bool + 'a>,
}

/// Control's ends of the queues that carry commands.
pub struct Commands {
    /// One a SET, with what wakes it.
    pub sets: Vec<(Producer<SetCommand>, Arc<Doorbell>)>,
    /// The feeder's. It looks in every tick.
    pub feeder: Producer<FeederCommand>,
    /// Rings the doorbells.
    pub waker: Waker,
}

impl Commands {
    /// Tells everyone to stop.
    pub fn stop(&mut self) {
        // A queue that is full holds a Stop already; one that is abandoned belongs to a thread that has ended.
        let _ = self.feeder.push(FeederCommand::Stop);
        for (set, doorbell) in &mut self.sets {
            let _ = set.push(SetCommand::Stop);
            // A SET that cannot be woken looks at its commands with the next tick of its wheel.
            let _ = self.waker.wake(doorbell);
        }
    }
}

/// Where control begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// All is well.
    Serving,
    /// A signal came, or something failed, before everything had started.
    Stopping,
}

/// Runs until every thread has ended. `stop_time_max` bounds the stop, from its first signal on.
///
/// `stopping` is called when the stop begins. A second signal, and a stop that takes too long, end the process on the spot: what was promised is in the journal.
pub fn run(
    signals: &Signals,
    commands: &mut Commands,
    threads: &[Watched<'_>],
    stop_time_max: Duration,
    begin: Begin,
    stopping: &dyn Fn(),
) -> Result<(), Failure> {
    let start = Instant::now();
    let mut course = Course::new(stop_time_max);
    if begin == Begin::Stopping {
        course.stop(Duration::ZERO);
        stopping();
        commands.stop();
    }
    loop {
        let signal = signals
            .wait(course.patience())
            .map_err(|error| Failure::new(Exit::Os, format!("waiting for signals: {error}")))?;
        let running = threads.iter().filter(|thread| !(thread.has_ended)()).count();
        let seen = Seen { now: start.elapsed(), signal, running, threads: threads.len() };
        match course.step(seen) {
            Step::Wait => {}
            Step::Stop => {
                told_why(signal, threads);
                stopping();
                commands.stop();
            }
            Step::Done => return Ok(()),
            Step::EndNow(signal) => {
                tracing::warn!(%signal, "ending at once: connections are cut; what was promised is in the journal");
                std::process::exit(128 + signal as i32);
            }
            Step::TookTooLong => {
                let names: Vec<&str> =
                    threads.iter().filter(|thread| !(thread.has_ended)()).map(|thread| thread.name.as_str()).collect();
                tracing::error!(
                    threads = names.join(" "),
                    "the stop took too long; ending anyway. What was promised is in the journal. Raise --drain-timeout, and report this"
                );
                std::process::exit(Exit::Os as i32);
            }
        }
    }
}

fn told_why(signal: Option<Signal>, threads: &[Watched<'_>]) {
    if let Some(signal) = signal {
        tracing::info!(%signal, "stopping in good order; a second signal ends at once");
        return;
    }
    for thread in threads.iter().filter(|thread| (thread.has_ended)()) {
        tracing::error!(thread = thread.name, "the thread ended before its time: stopping");
    }
}
