//! How the daemon stands: the numbers an operator asks for first, and what of them is not well, in words.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::rounds::Moment;
use crate::units::Rate;

/// What the daemon is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Serving and issuing.
    Serving,
    /// Serving; nothing is issued, as an operator said.
    Paused,
    /// On its way out.
    Stopping,
}

/// One look. Rates are those of the last seconds; all else is as of now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// The build.
    pub version: String,
    /// Its process.
    pub process: u32,
    /// Seconds since its start.
    pub uptime_s: f64,
    /// Where clients connect.
    pub listen: String,
    /// Which server of the campaign.
    pub server: u16,
    /// What is not well, worst first, each with what to do. Empty where all is.
    pub warnings: Vec<String>,
    /// Who is here.
    pub connections: Connections,
    /// What they ask.
    pub requests: Requests,
    /// What is given away.
    pub issue: Issue,
    /// The round that runs, or the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<RoundStatus>,
    /// Playbooks in force, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub playbooks: Vec<String>,
    /// How the ledger keeps up.
    pub ledger: Ledger,
    /// Where the money is.
    pub money: Money,
    /// What should be 0.
    pub trouble: Trouble,
    /// Each SET.
    pub sets: Vec<SetStatus>,
}

/// Who is here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Connections {
    /// Open now.
    pub open: u64,
    /// As many as there may be.
    pub capacity: u64,
    /// Logged in.
    pub users_online: u64,
    /// Accepted a second.
    pub opened_per_s: f64,
    /// Users who are barred.
    pub barred: u64,
}

/// What they ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Requests {
    /// Requests of all kinds a second.
    pub qps: f64,
    /// Shakes a second.
    pub shakes_per_s: f64,
    /// Answered "overloaded" a second.
    pub overloaded_per_s: f64,
    /// Requests since the start.
    pub total: u64,
}

/// What is given away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Issue {
    /// In force now, with the pause counted as 0/s.
    pub rate: Rate,
    /// What the configuration says.
    pub planned: Rate,
    /// Whether an operator set the rate.
    pub by_operator: bool,
    /// Envelopes won a second.
    pub issued_per_s: f64,
    /// Envelopes won in all runs.
    pub issued: u64,
    /// Envelopes not dealt yet.
    pub unissued: u64,
    /// Envelopes that the SETs hold ready.
    pub stock: u64,
}

/// How the ledger keeps up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// Commits a second.
    pub commits_per_s: f64,
    /// Half of the commits took no longer, in microseconds; 0 where there was none.
    pub commit_p50_us: u64,
    /// 99 of 100 took no longer.
    pub commit_p99_us: u64,
    /// Claims that wait for their verdict.
    pub claims_pending: u64,
    /// The journal takes no records now.
    pub halted: bool,
}

/// Where the money is, in cents and envelopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// In the seed files.
    pub seeded: Place,
    /// Won.
    pub issued: Place,
    /// Dealt to SETs and not won yet.
    pub with_sets: Place,
    /// Not dealt yet.
    pub unissued: Place,
    /// In blocks that are damaged.
    pub damaged: Place,
    /// Seeded less all the others: 0, or there is a defect.
    pub difference_cents: i64,
}

/// One place of money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// How many.
    pub envelopes: u64,
    /// Their sum.
    pub cents: u64,
}

/// What should be 0; all but the last since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Answered "overloaded".
    pub overloaded: u64,
    /// Receives that found no buffer.
    pub buffers_exhausted: u64,
    /// Overflows of a completion queue.
    pub completion_overflows: u64,
    /// Accepts that failed.
    pub accepts_failed: u64,
    /// Bytes that were no frame.
    pub bad_frames: u64,
    /// Tries to make the next journal file that failed.
    pub journal_files_failed: u64,
    /// Claims of envelopes that were issued before.
    pub already_issued: u64,
    /// SETs that do not turn.
    pub sets_stalled: u64,
}

/// One SET.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SetStatus {
    /// Connections open.
    pub connections: u64,
    /// Requests a second.
    pub qps: f64,
    /// Envelopes held ready.
    pub stock: u64,
    /// 99 of 100 turns took no longer, in microseconds.
    pub turn_p99_us: u64,
    /// It did not enter its ring for two seconds.
    pub stalled: bool,
}

/// The bound that this share of the values does not pass, of a histogram whose bucket `n` holds those up to `2^n`; 0 where it is empty.
pub fn percentile_us(buckets: &[u64], share: f64) -> u64 {
    let total: u64 = buckets.iter().sum();
    let wanted = (total as f64 * share).ceil() as u64;
    let mut seen = 0;
    for (bucket, count) in buckets.iter().enumerate() {
        seen += count;
        if seen >= wanted && total > 0 {
            return 1 << bucket;
        }
    }
    0
}

/// How far a round is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoundState {
    /// It waits for its cue.
    Waiting,
    /// It begins at its time.
    Scheduled,
    /// It runs.
    Running,
    /// It is over.
    Over,
}

/// One round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundStatus {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: RoundState,
    /// Its begin.
    pub start: Option<Moment>,
    /// Its end.
    pub end: Option<Moment>,
    /// Until it begins, or until it ends where it runs.
    pub seconds: Option<f64>,
    /// An operator moved it.
    pub moved: bool,
    /// For the operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl fmt::Display for RoundStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds.unwrap_or_default();
        let state = match self.state {
            RoundState::Waiting => "waits for its cue".to_owned(),
            RoundState::Scheduled => format!("begins in {seconds:.1} s"),
            RoundState::Running => format!("RUNS, {seconds:.1} s left"),
            RoundState::Over => "is over".to_owned(),
        };
        write!(f, "{:<16} {state:<24}", self.name)?;
        if let Some((start, end)) = self.start.zip(self.end) {
            write!(f, " {start} to {end}")?;
        }
        let moved = if self.moved { " (moved)" } else { "" };
        let note = self.note.as_deref().map(|note| format!("  {note}")).unwrap_or_default();
        write!(f, "{moved}{note}")
    }
}

/// What of a status is not well, worst first, in words that say what to do.
pub fn warnings(status: &Status) -> Vec<String> {
    let Status { money, ledger, trouble, connections, requests, issue, .. } = status;
    let mut warnings = Vec::new();
    let mut warn = |wrong: bool, say: &dyn Fn() -> String| {
        if wrong {
            warnings.push(say());
        }
    };
    warn(money.difference_cents != 0, &|| {
        format!(
            "MONEY: {} cents are not where they should be. Pause (`ctl pause`), keep data and seeds, run `hongbaod ledger verify`",
            money.difference_cents
        )
    });
    warn(trouble.already_issued > 0, &|| {
        format!(
            "MONEY: {} claims of envelopes issued before were refused: a defect; keep the log",
            trouble.already_issued
        )
    });
    warn(ledger.halted, &|| {
        "LEDGER HALTED: nothing can be won. Make room on the disk of the data folder; it goes on by itself".to_owned()
    });
    warn(!ledger.halted && trouble.journal_files_failed > 0, &|| {
        "DISK: the next journal file could not be made; issue stops when this one is full. Make room on the disk"
            .to_owned()
    });
    warn(trouble.sets_stalled > 0, &|| {
        let stalled = status.sets.iter().enumerate().filter(|(_, set)| set.stalled);
        let names: Vec<String> = stalled.map(|(number, _)| format!("set-{number:02}")).collect();
        format!("STALLED: {} did not turn for 2 s. Look at the CPUs (`top -H`) and at the log", names.join(" "))
    });
    warn(requests.overloaded_per_s > 0.0, &|| {
        format!(
            "OVERLOADED: {:.0} answers a second tell clients to come later; the ledger's queue is full. Look at its latency",
            requests.overloaded_per_s
        )
    });
    warn(connections.open * 100 >= connections.capacity * 95, &|| {
        format!("FULL: {} of {} places are taken; newcomers are sent away", connections.open, connections.capacity)
    });
    warn(issue.unissued == 0 && status.state != State::Stopping, &|| {
        "SEEDS: every envelope is dealt. Add seed files and start again to go on".to_owned()
    });
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_bound_of_its_bucket() {
        assert_eq!(percentile_us(&[0, 0, 0], 0.99), 0);
        assert_eq!(percentile_us(&[98, 0, 1, 1], 0.5), 1);
        assert_eq!(percentile_us(&[98, 0, 1, 1], 0.99), 4);
        assert_eq!(percentile_us(&[98, 0, 1, 1], 1.0), 8);
    }

    #[test]
    fn money_that_is_missing_is_told_before_all_else() {
        let mut status = Status {
            state: State::Serving,
            version: String::new(),
            process: 1,
            uptime_s: 1.0,
            listen: String::new(),
            server: 1,
            warnings: Vec::new(),
            connections: Connections { capacity: 100, ..Connections::default() },
            requests: Requests::default(),
            issue: Issue {
                rate: Rate::PerSecond(1),
                planned: Rate::PerSecond(1),
                by_operator: false,
                issued_per_s: 0.0,
                issued: 0,
                unissued: 1,
                stock: 0,
            },
            round: None,
            playbooks: Vec::new(),
            ledger: Ledger::default(),
            money: Money::default(),
            trouble: Trouble::default(),
            sets: vec![SetStatus::default(); 2],
        };
        assert_eq!(warnings(&status), [] as [&str; 0]);
        status.connections.open = 96;
        status.ledger.halted = true;
        status.sets[1].stalled = true;
        status.trouble.sets_stalled = 1;
        status.money.difference_cents = -5;
        let told = warnings(&status);
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told[0].starts_with("MONEY: -5 cents"), "{told:?}");
        assert!(told[2].contains("set-01") && told[3].starts_with("FULL"), "{told:?}");
    }
}
