//! The main thread after the start: obeys operators, stops the SETs in good order, and watches that no thread dies before its time.
//!
//! ```text
//! admin socket, SIGHUP -> desk -> standing (pure) -> orders -> [rtrb] -> SETs, feeder, ledger
//!                          ^                                                |
//!                          +------------- in force (cells) -----------------+
//! ```
//!
//! | file | what |
//! |---|---|
//! | `course` | from serving to the end: pure |
//! | `desk` | takes orders and answers them once they are in force |
//! | `standing` | what is ordered, and what follows from it: pure |
//! | `schedule` | the rounds as they stand: pure |
//! | `orders` | the queues to the threads |
//! | `socket` | the admin socket |
//! | `survey`, `meter` | the status: counters and rates |
//! | `signals` | SIGTERM, SIGINT, SIGHUP |
//!
//! The SETs are told to stop, and the feeder to deal no more. The ledger and the feeder end by themselves when the last SET has dropped
//! its ends of their queues, so that nothing a SET still asks for or gives back is lost.

mod course;
mod desk;
mod meter;
mod orders;
mod schedule;
mod signals;
mod socket;
mod standing;
mod survey;

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::exit::{Exit, Failure};
use course::{Course, Seen, Step};
pub use desk::{Desk, Reload, Reloaded};
pub use orders::Commands;
pub use signals::Signals;
pub use socket::AdminSocket;
pub use standing::Plan;
pub use survey::{Facts, Survey};

/// A thread that is watched.
pub struct Watched<'a> {
    /// As in the process list.
    pub name: String,
    /// Whether it has ended, in whatever way.
    pub has_ended: Box<dyn Fn() -> bool + 'a>,
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
    desk: &mut Desk<'_>,
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
        desk.stop();
        commands.stop();
    }
    loop {
        let patience = course.patience().min(desk.patience());
        let others = desk.socket().into_iter().flat_map(AdminSocket::descriptors);
        let signal = signals
            .wait(patience, others)
            .map_err(|error| Failure::new(Exit::Os, format!("waiting for signals: {error}")))?;
        if signal == Some(Signal::SIGHUP) {
            desk.hang_up(commands, start.elapsed());
        }
        let drain = desk.look(commands, start.elapsed());
        let signal = signal.filter(|signal| *signal != Signal::SIGHUP);
        let running = threads.iter().filter(|thread| !(thread.has_ended)()).count();
        let seen = Seen { now: start.elapsed(), signal, drain, running, threads: threads.len() };
        match course.step(seen) {
            Step::Wait => {}
            Step::Stop => {
                told_why(signal, drain, threads);
                stopping();
                desk.stop();
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

fn told_why(signal: Option<Signal>, drain: bool, threads: &[Watched<'_>]) {
    if let Some(signal) = signal {
        tracing::info!(%signal, "stopping in good order; a second signal ends at once");
        return;
    }
    if drain {
        tracing::info!("stopping in good order, as ordered; a signal ends at once");
        return;
    }
    for thread in threads.iter().filter(|thread| (thread.has_ended)()) {
        tracing::error!(thread = thread.name, "the thread ended before its time: stopping");
    }
}
