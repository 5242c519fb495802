//! The watchdog's food and the status line, from a small thread of its own: whatever keeps the others busy, the service manager hears of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::Manager;
use super::liveness::Liveness;
use crate::cells::{LedgerCells, SetCells};
use crate::exit::{Exit, Failure};
use crate::limits;

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub struct Heartbeat {
    stopping: Arc<AtomicBool>,
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// Starts it; it does nothing where there is no service manager.
    pub fn start(manager: Manager, sets: Vec<Arc<SetCells>>, ledger: Arc<LedgerCells>) -> Result<Self, Failure> {
        let stopping = Arc::new(AtomicBool::new(false));
        if !manager.is_there() {
            return Ok(Self { stopping, end: None, thread: None });
        }
        let (end, ended) = channel();
        let is_stopping = Arc::clone(&stopping);
        let run = move || {
            let mut beat = Beat::new(manager, sets, ledger);
            while ended.recv_timeout(beat.period) == Err(RecvTimeoutError::Timeout) {
                beat.look(is_stopping.load(Ordering::Relaxed));
            }
        };
        let thread = Builder::new()
            .name("heartbeat".to_owned())
            .spawn(run)
            .map_err(|error| Failure::new(Exit::Os, format!("starting the thread heartbeat: {error}")))?;
        Ok(Self { stopping, end: Some(end), thread: Some(thread) })
    }

    /// From now on SETs end one after the other, and a silent one is no longer stuck. How long the stop may take is bounded elsewhere.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// What the thread does.
struct Beat {
    manager: Manager,
    sets: Vec<Arc<SetCells>>,
    ledger: Arc<LedgerCells>,
    liveness: Liveness,
    start: Instant,
    period: Duration,
    status_at: Duration,
    last: Totals,
}

impl Beat {
    fn new(manager: Manager, sets: Vec<Arc<SetCells>>, ledger: Arc<LedgerCells>) -> Self {
        let status_every = Duration::from_millis(limits::STATUS_EVERY_MS);
        // Four times as often as is asked for: two signs may come late, and the third is still in time.
        let period = manager.watchdog().map_or(status_every, |watchdog| (watchdog / 4).min(status_every));
        let patience = Duration::from_millis(limits::SET_STALLED_MS);
        let liveness = Liveness::new(sets.len(), patience, Duration::ZERO);
        let last = Totals::of(&sets, &ledger);
        let period = period.max(Duration::from_millis(limits::HEARTBEAT_EVERY_MS_MIN));
        Self { manager, sets, ledger, liveness, start: Instant::now(), period, status_at: Duration::ZERO, last }
    }

    fn look(&mut self, is_stopping: bool) {
        let now = self.start.elapsed();
        let found = self.liveness.look(now, self.sets.iter().map(|set| set.ring_enters.get()));
        if !is_stopping {
            for set in &found.newly_stuck {
                tracing::error!(set, "the SET does not turn: the watchdog gets no sign of life until it does");
            }
            for set in &found.recovered {
                tracing::warn!(set, "the SET turns again");
            }
        }
        if self.manager.watchdog().is_some() && (found.stuck == 0 || is_stopping) {
            self.manager.alive();
        }
        let since = now.saturating_sub(self.status_at);
        if since >= Duration::from_millis(limits::STATUS_EVERY_MS) && !is_stopping {
            let totals = Totals::of(&self.sets, &self.ledger);
            let status = Status { totals, last: self.last, since, sets: self.sets.len(), stuck: found.stuck };
            self.manager.status(&status.to_string());
            (self.status_at, self.last) = (now, totals);
        }
    }
}

/// What the status line is made of.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    connections: u64,
    requests: u64,
    issued: u64,
    halted: bool,
}

impl Totals {
    fn of(sets: &[Arc<SetCells>], ledger: &LedgerCells) -> Self {
        let sum = |value: fn(&SetCells) -> u64| sets.iter().map(|set| value(set)).sum();
        Self {
            connections: sum(|set| set.connections_open.get()),
            requests: sum(|set| set.hellos.get() + set.shakes.get() + set.pings.get()),
            issued: ledger.issued.get(),
            halted: ledger.halted.get() != 0,
        }
    }
}

struct Status {
    totals: Totals,
    last: Totals,
    since: Duration,
    sets: usize,
    stuck: usize,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / self.since.as_secs_f64().max(1e-3);
        let Totals { connections, requests, issued, halted } = self.totals;
        write!(f, "{connections} connections on {} SETs, ", self.sets)?;
        write!(f, "{:.0} QPS, ", rate(requests, self.last.requests))?;
        write!(f, "{:.1} envelopes/s, {issued} issued", rate(issued, self.last.issued))?;
        if halted {
            write!(f, "; THE JOURNAL IS HALTED, nothing is issued")?;
        }
        if self.stuck > 0 {
            write!(f, "; {} SETs ARE STUCK", self.stuck)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_line_tells_rates_and_what_is_wrong() {
        let last = Totals { connections: 1, requests: 1000, issued: 10, halted: false };
        let totals = Totals { connections: 7, requests: 61_000, issued: 12, halted: false };
        let well = Status { totals, last, since: Duration::from_secs(2), sets: 4, stuck: 0 };
        assert_eq!(well.to_string(), "7 connections on 4 SETs, 30000 QPS, 1.0 envelopes/s, 12 issued");
        let ill = Status { totals: Totals { halted: true, ..totals }, stuck: 1, ..well };
        assert!(ill.to_string().contains("HALTED") && ill.to_string().contains("1 SETs ARE STUCK"));
    }
}
