//! The threads: started in an order that lets each fail, joined in the order of their ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use hongbao_uring::{Descriptors, RingError, Waker};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::prepare::Prepared;
use super::queues::Queues;
use crate::cells::{ControlCells, FeederCells, LedgerCells, SetCells};
use crate::config::{self, Config, Pin};
use crate::control::{Commands, Facts, Plan, Signals, Survey, Watched};
use crate::exit::{Exit, Failure};
use crate::feeder::{Feeder, FeederOptions, FeederSummary};
use crate::ledger::{LedgerError, LedgerSummary};
use crate::messages::SetEnds;
use crate::metrics::{self, Amount, Balance, Registry};
use crate::service::{Heartbeat, Manager};
use crate::set::{self, SetOptions, SetSummary, SetThread, Started};

/// What a thread tells when it has started, or could not.
enum Report {
    Set(usize, Result<Started, RingError>),
    Feeder(Result<FeederSummary, Failure>),
}

/// What all of them told.
pub(super) struct AllStarted {
    /// The rings' features.
    pub(super) ring: String,
    /// User-space bytes of an idle connection.
    pub(super) idle_connection_bytes: usize,
    /// Envelopes that can still be issued.
    pub(super) envelopes_left: u64,
}

/// The running threads.
pub(super) struct Threads {
    sets: Vec<SetThread>,
    ledger: JoinHandle<Result<LedgerSummary, LedgerError>>,
    feeder: JoinHandle<FeederSummary>,
    reports: Receiver<Report>,
    set_cells: Vec<Arc<SetCells>>,
    ledger_cells: Arc<LedgerCells>,
    feeder_cells: Arc<FeederCells>,
    control_cells: Arc<ControlCells>,
    issued_at_start: Amount,
}

impl Threads {
    /// Starts them all. A thread that the system refuses is told after those before it have been stopped.
    pub(super) fn start(config: &Config, plan: &Plan, prepared: Prepared) -> Result<(Self, Commands), Failure> {
        let Prepared { scan, ledger, issued, listeners, metrics: metrics_listener, data_dir, .. } = prepared;
        let waker = Waker::open().map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
        let queues = Queues::new(listeners.len(), plan.issue_rate);
        let (ledger_cells, feeder_cells) = (Arc::new(LedgerCells::default()), Arc::new(FeederCells::default()));
        let issued_at_start = Amount { envelopes: issued.envelopes.len() as u64, cents: issued.total().0 };
        ledger_cells.issued.set(issued_at_start.envelopes);
        ledger_cells.issued_cents.set(issued_at_start.cents);
        let (set_cells, control_cells) = (queues.cells, Arc::new(ControlCells::default()));
        let registry = Registry::new(
            set_cells.clone(),
            Arc::clone(&ledger_cells),
            Arc::clone(&feeder_cells),
            Arc::clone(&control_cells),
            config.connections_per_set,
            issued_at_start,
            data_dir,
        );
        // Each thread reports once, so that no report ever waits for its reader.
        let (report, reports) = sync_channel(listeners.len() + 1);

        let to_sets = queues.control_sets.into_iter().zip(&set_cells);
        let commands = Commands::new(
            to_sets.map(|((queue, doorbell), cells)| (queue, doorbell, Arc::clone(cells))),
            (queues.control_feeder, Arc::clone(&feeder_cells)),
            (queues.control_ledger, Arc::clone(&queues.ledger_doorbell), Arc::clone(&ledger_cells)),
            waker,
        );
        let (ends, doorbell, cells) = (queues.ledger, queues.ledger_doorbell, Arc::clone(&ledger_cells));
        let ledger_commands = queues.ledger_commands;
        let ledger = Builder::new()
            .name("ledger".to_owned())
            .spawn(move || ledger.run(ends, ledger_commands, &doorbell, cells))
            .map_err(|error| refused_thread("ledger", &error))?;

        let options = FeederOptions { scan, server: config.server_id, issue_rate: plan.issue_rate };
        let feeder = Feeder::new(options, issued, queues.feeder, Arc::clone(&feeder_cells), queues.feeder_commands);
        let feeder = spawn_feeder(feeder, metrics_listener, registry, report.clone())?;

        let allowed = allowed_cores();
        let cores = pinned_cores(&config.pin, listeners.len(), &allowed);
        let mut shares: Vec<Vec<(SetOptions, SetEnds)>> = Vec::new();
        shares.resize_with(
            set_threads(listeners.len(), config.set_threads, cores.as_deref().unwrap_or(&allowed)),
            Vec::new,
        );
        for (index, (listener, ends)) in listeners.into_iter().zip(queues.sets).enumerate() {
            let options = SetOptions {
                index,
                listener,
                connections: config.connections_per_set,
                descriptors: descriptors(config.descriptors),
                receive_buffers_max: hongbao_uring::receive_buffers_max(config.sets),
                rules: plan.rules,
                latency_budget_us: config.latency_budget.as_micros_u32(),
                drain_timeout_ms: config.drain_timeout.as_millis_u32(),
                pin_to_core: cores.as_ref().map(|cores| cores[index % cores.len()]),
            };
            let share = index % shares.len();
            shares[share].push((options, ends));
        }
        let mut sets = Vec::with_capacity(shares.len());
        for (index, share) in shares.into_iter().enumerate() {
            let report = report.clone();
            // The ends of the SETs that are not started are dropped on return, and with them go the ledger and the feeder.
            let told = move |set, started| drop(report.send(Report::Set(set, started)));
            sets.push(set::spawn(set_thread(index), share, told).map_err(|error| refused_thread("set", &error))?);
        }
        let threads = Self {
            sets,
            ledger,
            feeder,
            reports,
            set_cells,
            ledger_cells,
            feeder_cells,
            control_cells,
            issued_at_start,
        };
        Ok((threads, commands))
    }

    /// Waits until every SET listens and the feeder has audited the journal. `None` where a signal came first, or a thread died.
    pub(super) fn wait_until_ready(&self, signals: &Signals) -> Result<Option<AllStarted>, Failure> {
        const LOOK: Duration = Duration::from_millis(20);
        let mut all = AllStarted { ring: String::new(), idle_connection_bytes: 0, envelopes_left: 0 };
        for _ in 0..=self.set_cells.len() {
            let report = loop {
                match self.reports.recv_timeout(LOOK) {
                    Ok(report) => break report,
                    Err(RecvTimeoutError::Timeout) => {}
                    // All reporters are gone and some did not report: one died, and `join` tells how.
                    Err(RecvTimeoutError::Disconnected) => return Ok(None),
                }
                let signal = signals.wait(Duration::ZERO, std::iter::empty());
                // SIGHUP asks for the configuration that has just been read.
                if matches!(signal, Ok(Some(signal)) if signal != Signal::SIGHUP) || self.ledger.is_finished() {
                    return Ok(None);
                }
            };
            match report {
                Report::Set(_, Ok(started)) => {
                    all.ring = started.features.to_string();
                    all.idle_connection_bytes = started.idle_connection_bytes;
                }
                Report::Set(index, Err(error)) => {
                    return Err(Failure::new(Exit::Unavailable, format!("SET {index}: {error}")));
                }
                Report::Feeder(books) => {
                    let books = books?;
                    all.envelopes_left = books.unissued.envelopes;
                    tell_seeds(&books);
                }
            }
        }
        Ok(Some(all))
    }

    /// What control counts.
    pub(super) fn control_cells(&self) -> Arc<ControlCells> {
        Arc::clone(&self.control_cells)
    }

    /// What control is to tell of them.
    pub(super) fn survey(&self, config: &Config, listen: SocketAddr) -> Survey {
        Survey {
            facts: Facts {
                listen: listen.to_string(),
                server: config.server_id.0,
                places_per_set: config.connections_per_set,
                issued_at_start: self.issued_at_start,
            },
            sets: self.set_cells.clone(),
            ledger: Arc::clone(&self.ledger_cells),
            feeder: Arc::clone(&self.feeder_cells),
        }
    }

    /// Lets the service manager know from now on that the SETs turn.
    pub(super) fn heartbeat(&self, manager: Manager) -> Result<Heartbeat, Failure> {
        Heartbeat::start(manager, self.set_cells.clone(), Arc::clone(&self.ledger_cells))
    }

    /// For the watch over them.
    pub(super) fn watched(&self) -> Vec<Watched<'_>> {
        let sets = self
            .sets
            .iter()
            .enumerate()
            .map(|(index, set)| Watched { name: set_thread(index), has_ended: Box::new(|| set.is_finished()) });
        sets.chain([
            Watched { name: "ledger".to_owned(), has_ended: Box::new(|| self.ledger.is_finished()) },
            Watched { name: "feeder".to_owned(), has_ended: Box::new(|| self.feeder.is_finished()) },
        ])
        .collect()
    }

    /// Waits for the end of all, and tells how they ended and where the money is then.
    pub(super) fn join(self) -> (Balance, Result<(), Failure>) {
        let died = |name: &str| Failure::new(Exit::Os, format!("the thread {name} died; its last words are above"));
        let mut ended = Ok(());
        for (index, set) in self.sets.into_iter().enumerate() {
            match set.join() {
                Ok(Ok(summaries)) => summaries.into_iter().for_each(|(set, summary)| tell_end(set, summary)),
                Ok(Err(error)) => {
                    let message = format!("the thread {} failed: {error}", set_thread(index));
                    ended = ended.and(Err(Failure::new(Exit::Os, message)));
                }
                Err(_) => ended = ended.and(Err(died(&set_thread(index)))),
            }
        }
        // What the ledger says weighs more than what followed from it.
        match self.ledger.join() {
            Ok(Ok(summary)) => tracing::info!(
                issued = summary.issued,
                cents = summary.cents.0,
                wins = summary.wins,
                "the ledger is flushed and closed"
            ),
            Ok(Err(error)) => ended = Err(error.into()),
            Err(_) => ended = Err(died("ledger")),
        }
        if self.feeder.join().is_err() {
            ended = ended.and(Err(died("feeder")));
        }
        (Balance::read(&self.ledger_cells, &self.feeder_cells, self.issued_at_start), ended)
    }
}

fn spawn_feeder(
    feeder: Feeder,
    metrics_listener: std::net::TcpListener,
    registry: Registry,
    report: SyncSender<Report>,
) -> Result<JoinHandle<FeederSummary>, Failure> {
    let run = move || {
        let ready = move |books| drop(report.send(Report::Feeder(books)));
        // The endpoint goes down with the feeder's runtime, when the last SET has ended.
        feeder.run(ready, move || metrics::serve(metrics_listener, registry, std::future::pending()))
    };
    Builder::new().name("feeder".to_owned()).spawn(run).map_err(|error| refused_thread("feeder", &error))
}

fn refused_thread(name: &str, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Os,
        format!("starting the thread {name}: {error}; look at the limits of threads (TasksMax=, ulimit -u)"),
    )
}

fn descriptors(wanted: config::Descriptors) -> Descriptors {
    match wanted {
        config::Descriptors::Auto => Descriptors::Auto,
        config::Descriptors::Direct => Descriptors::Direct,
        config::Descriptors::Plain => Descriptors::Plain,
    }
}

/// How many threads so many SETs get: as many as was said, or one a core, but none without a SET.
fn set_threads(sets: usize, asked: Option<u32>, cores: &[usize]) -> usize {
    sets.min(asked.map_or(cores.len(), |threads| threads as usize).max(1))
}

/// What the n-th thread of SETs is called.
fn set_thread(index: usize) -> String {
    format!("set-{index:02}")
}

/// The cores this process may run on.
fn allowed_cores() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false)).collect()
}

/// The cores that SETs are pinned to, the n-th SET to the n-th; `None` where none is pinned.
fn pinned_cores(pin: &Pin, sets: usize, allowed: &[usize]) -> Option<Vec<usize>> {
    match pin {
        Pin::Off => None,
        // Without a core left over, a pinned SET would share its own with the ledger, the feeder and whatever else runs.
        Pin::Auto => (sets < allowed.len()).then(|| allowed.to_vec()),
        Pin::Cores(cores) => Some(cores.clone()),
    }
}

fn tell_seeds(books: &FeederSummary) {
    tracing::info!(
        campaign = books.campaign.map(|campaign| campaign.0),
        files = books.files,
        files_refused = books.files_refused,
        seeded = books.seeded.envelopes,
        issued_before = books.skipped.envelopes,
        left = books.unissued.envelopes,
        cents_left = books.unissued.amount.0,
        "the seed files are scanned and agree with the journal"
    );
}

fn tell_end(index: usize, summary: SetSummary) {
    if summary.connections_cut > 0 || summary.claims_pending > 0 {
        tracing::warn!(
            set = index,
            connections_cut = summary.connections_cut,
            claims_pending = summary.claims_pending,
            "not everything ended within the drain timeout; wins that were granted are shown at the next login"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_pinned_only_where_a_core_is_left_for_the_others() {
        assert_eq!(pinned_cores(&Pin::Auto, 2, &[0, 1]), None);
        assert_eq!(pinned_cores(&Pin::Auto, 2, &[4, 5, 6]), Some(vec![4, 5, 6]));
        assert_eq!(pinned_cores(&Pin::Off, 1, &[0, 1]), None);
        assert_eq!(pinned_cores(&Pin::Cores(vec![3, 1]), 8, &[0, 1]), Some(vec![3, 1]));
        assert!(!allowed_cores().is_empty());
    }

    #[test]
    fn sets_share_a_thread_only_where_they_outnumber_the_cores_or_it_was_said() {
        assert_eq!([1, 2, 52].map(|sets| set_threads(sets, None, &[0, 1])), [1, 2, 2]);
        assert_eq!([1, 2, 52].map(|sets| set_threads(sets, Some(52), &[0, 1])), [1, 2, 52]);
        assert_eq!(set_threads(4, Some(1), &[0, 1]), 1);
    }
}
