//! The status: every thread's counters, read and put into an operator's terms.

use std::sync::Arc;
use std::time::Duration;

use super::meter::{Meter, Sample, SetSample, per_second, since};
use super::standing::{Now, Standing, as_rate};
use crate::admin::{
    Connections, Issue, Ledger, Money, Place, Requests, SetStatus, State, Status, Trouble, percentile_us, warnings,
};
use crate::cells::{Cell, FeederCells, HistogramCells, LedgerCells, SetCells};
use crate::limits::SET_STALLED_MS;
use crate::metrics::{Amount, Balance};

/// Rates are over at least so long.
const RATE_OVER: Duration = Duration::from_secs(1);

/// Percentiles are over at least so long, where it runs that long already.
const PERCENTILES_OVER: Duration = Duration::from_secs(10);

/// What does not change while it runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Where clients connect.
    pub listen: String,
    /// Which server of the campaign.
    pub server: u16,
    /// Places for connections in each SET.
    pub places_per_set: u32,
    /// What the ledger's replay found.
    pub issued_at_start: Amount,
}

/// The cells of all threads.
pub struct Survey {
    /// See [`Facts`].
    pub facts: Facts,
    /// The SETs'.
    pub sets: Vec<Arc<SetCells>>,
    /// The ledger's.
    pub ledger: Arc<LedgerCells>,
    /// The feeder's.
    pub feeder: Arc<FeederCells>,
}

fn buckets<const BUCKETS: usize>(histogram: &HistogramCells<BUCKETS>) -> Vec<u64> {
    (0..BUCKETS).map(|bucket| histogram.bucket(bucket)).collect()
}

impl Survey {
    fn total(&self, cell: impl Fn(&SetCells) -> &Cell) -> u64 {
        self.sets.iter().map(|set| cell(set).get()).sum()
    }

    pub(super) fn connections_open(&self) -> u64 {
        self.total(|set| &set.connections_open)
    }

    /// Connections ended so far for what operators said.
    pub(super) fn sent_away(&self) -> u64 {
        use crate::cells::CloseReason::{Barred, Dismissed};
        [Dismissed, Barred].map(|reason| self.total(|set| &set.connections_closed[reason as usize])).iter().sum()
    }

    /// The counters as of `at`.
    pub(super) fn sample(&self, at: Duration) -> Sample {
        let sets: Vec<SetSample> = self
            .sets
            .iter()
            .map(|set| SetSample {
                requests: set.hellos.get() + set.shakes.get() + set.pings.get(),
                enters: set.ring_enters.get(),
                turns: buckets(&set.turn_microseconds),
            })
            .collect();
        Sample {
            at,
            requests: sets.iter().map(|set| set.requests).sum(),
            shakes: self.total(|set| &set.shakes),
            overloaded: self.total(|set| &set.answered_overloaded),
            opened: self.total(|set| &set.connections_opened),
            wins: self.ledger.wins.get(),
            commits: self.ledger.commits.get(),
            commit_buckets: buckets(&self.ledger.commit_microseconds),
            sets,
        }
    }

    /// How it stands.
    pub(super) fn status(&self, standing: &Standing, stopping: bool, meter: &Meter, now: Now) -> Status {
        let Now { elapsed: now, wall } = now;
        let present = self.sample(now);
        let then = meter.ago(now, RATE_OVER).unwrap_or(&present);
        let long_ago = meter.ago(now, PERCENTILES_OVER).unwrap_or(&present);
        let rate = |count: fn(&Sample) -> u64| per_second((then.at, count(then)), (now, count(&present)));
        let commits = since(&long_ago.commit_buckets, &present.commit_buckets);
        let money = self.money();
        let sets = self.sets(&present, meter, now);
        let mut status = Status {
            state: match (stopping, standing.is_paused()) {
                (true, _) => State::Stopping,
                (false, true) => State::Paused,
                (false, false) => State::Serving,
            },
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            uptime_s: (now.as_secs_f64() * 10.0).round() / 10.0,
            listen: self.facts.listen.clone(),
            server: self.facts.server,
            warnings: Vec::new(),
            connections: Connections {
                open: self.connections_open(),
                capacity: self.sets.len() as u64 * u64::from(self.facts.places_per_set),
                users_online: self.total(|set| &set.users_online),
                opened_per_s: rate(|sample| sample.opened),
                barred: standing.barred() as u64,
            },
            requests: Requests {
                qps: rate(|sample| sample.requests),
                shakes_per_s: rate(|sample| sample.shakes),
                overloaded_per_s: rate(|sample| sample.overloaded),
                total: present.requests,
            },
            issue: Issue {
                rate: as_rate(self.feeder.issue_rate.get()),
                planned: as_rate(standing.plan().issue_rate),
                by_operator: standing.rate_is_ordered(),
                issued_per_s: rate(|sample| sample.wins),
                issued: money.issued.envelopes,
                unissued: money.unissued.envelopes,
                stock: self.total(|set| &set.stock),
            },
            round: standing.round(wall),
            playbooks: standing.playbooks(),
            ledger: Ledger {
                commits_per_s: rate(|sample| sample.commits),
                commit_p50_us: percentile_us(&commits, 0.5),
                commit_p99_us: percentile_us(&commits, 0.99),
                claims_pending: self.total(|set| &set.claims_pending),
                halted: self.ledger.halted.get() != 0,
            },
            trouble: self.trouble(&sets),
            money,
            sets,
        };
        status.warnings = warnings(&status);
        status
    }

    fn sets(&self, present: &Sample, meter: &Meter, now: Duration) -> Vec<SetStatus> {
        let stalled_after = Duration::from_millis(SET_STALLED_MS);
        let nothing = SetSample::default();
        let of = |sample: &Sample, number: usize| sample.sets.get(number).unwrap_or(&nothing).clone();
        let each = self.sets.iter().zip(&present.sets).enumerate().map(|(number, (cells, now_there))| {
            let then = meter.ago(now, RATE_OVER).map(|sample| (sample.at, of(sample, number).requests));
            let turns = meter.ago(now, PERCENTILES_OVER).map(|sample| of(sample, number).turns);
            let old = meter.ago(now, stalled_after).filter(|old| now.saturating_sub(old.at) >= stalled_after);
            SetStatus {
                connections: cells.connections_open.get(),
                qps: then.map_or(0.0, |then| per_second(then, (now, now_there.requests))),
                stock: cells.stock.get(),
                turn_p99_us: percentile_us(&since(&turns.unwrap_or_default(), &now_there.turns), 0.99),
                stalled: old.is_some_and(|old| of(old, number).enters == now_there.enters),
            }
        });
        each.collect()
    }

    /// The feeder may be amid a deal, and then its cells contradict each other for some microseconds; a defect lasts.
    fn money(&self) -> Money {
        const LOOKS: u32 = 50;
        let read = || Balance::read(&self.ledger, &self.feeder, self.facts.issued_at_start);
        let mut balance = read();
        for _ in 0..LOOKS {
            if balance.difference_cents == 0 {
                break;
            }
            std::thread::sleep(Duration::from_micros(100));
            balance = read();
        }
        let place = |amount: Amount| Place { envelopes: amount.envelopes, cents: amount.cents };
        Money {
            seeded: place(balance.seeded),
            issued: place(balance.issued),
            with_sets: place(balance.with_sets),
            unissued: place(balance.unissued),
            damaged: place(balance.damaged),
            difference_cents: i64::try_from(balance.difference_cents).unwrap_or(i64::MAX),
        }
    }

    fn trouble(&self, sets: &[SetStatus]) -> Trouble {
        Trouble {
            overloaded: self.total(|set| &set.answered_overloaded),
            buffers_exhausted: self.total(|set| &set.ring_buffers_exhausted),
            completion_overflows: self.total(|set| &set.ring_completion_overflows),
            accepts_failed: self.total(|set| &set.accepts_failed),
            bad_frames: self.total(|set| &set.bad_frames),
            journal_files_failed: self.ledger.spares_failed.get(),
            already_issued: self.ledger.refused_already_issued.get(),
            sets_stalled: sets.iter().filter(|set| set.stalled).count() as u64,
        }
    }
}
