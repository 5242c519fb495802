//! What the report says of gifts, of a stage and of the whole run.

use std::collections::BTreeMap;

use hongbao_protocol::wire::{GiftClosed, GiftRefusal};
use serde::{Deserialize, Serialize};

use super::record::GiftCounts;
use crate::distribution::Distribution;

/// Gifts of a stage or of the run, warm-ups left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GiftReport {
    /// Gifts a second that were asked for at the end of the stage; of several stages the highest.
    pub rate_target: u64,
    /// Gifts granted a second.
    pub rate: f64,
    /// What happened.
    pub requests: GiftRequests,
    /// From the intended time of a send to its answer. What timed out or was lost counts with its age when it was given up.
    pub send_us: Distribution,
    /// From the intended time of a send to the send: the load generator's own.
    pub lateness_us: Distribution,
    /// From the send to the notice on a recipient's connection.
    pub notice_us: Distribution,
    /// From an open to its answer.
    pub open_us: Distribution,
}

/// See [`GiftCounts`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the counts that they come from")]
pub struct GiftRequests {
    pub scheduled: u64,
    pub sent: u64,
    pub disconnected: u64,
    pub overdue: u64,
    pub granted: u64,
    pub refused: u64,
    pub refused_by_reason: BTreeMap<String, u64>,
    pub timed_out: u64,
    pub lost: u64,
    pub granted_late: u64,
    pub opens: u64,
    pub opened: u64,
    pub closed: u64,
    pub closed_by_reason: BTreeMap<String, u64>,
    pub opens_timed_out: u64,
    pub opens_lost: u64,
    pub opened_late: u64,
    pub repeated: u64,
}

impl From<&GiftCounts> for GiftRequests {
    fn from(counts: &GiftCounts) -> Self {
        Self {
            scheduled: counts.scheduled,
            sent: counts.sent,
            disconnected: counts.disconnected,
            overdue: counts.overdue,
            granted: counts.granted,
            refused: counts.refused.iter().sum(),
            refused_by_reason: by_name(GiftRefusal::ALL, &counts.refused),
            timed_out: counts.timed_out,
            lost: counts.lost,
            granted_late: counts.granted_late,
            opens: counts.opens,
            opened: counts.opened,
            closed: counts.closed.iter().sum(),
            closed_by_reason: by_name(GiftClosed::ALL, &counts.closed),
            opens_timed_out: counts.opens_timed_out,
            opens_lost: counts.opens_lost,
            opened_late: counts.opened_late,
            repeated: counts.repeated,
        }
    }
}

impl GiftRequests {
    /// Sends and opens that came to nothing where they should have come to something: a refusal tells of the sender's money or of the
    /// server's, and a share that others took is gone.
    pub fn errors(&self) -> u64 {
        let overloaded = ["overloaded", "halted", "full"];
        let passing = |by: &BTreeMap<String, u64>| overloaded.iter().filter_map(|name| by.get(*name)).sum::<u64>();
        self.disconnected
            + self.overdue
            + self.timed_out
            + self.lost
            + self.opens_timed_out
            + self.opens_lost
            + passing(&self.refused_by_reason)
            + passing(&self.closed_by_reason)
    }

    /// Adds another machine's or another stage's.
    pub fn join(&mut self, other: &Self) {
        for (sum, part) in [
            (&mut self.scheduled, other.scheduled),
            (&mut self.sent, other.sent),
            (&mut self.disconnected, other.disconnected),
            (&mut self.overdue, other.overdue),
            (&mut self.granted, other.granted),
            (&mut self.refused, other.refused),
            (&mut self.timed_out, other.timed_out),
            (&mut self.lost, other.lost),
            (&mut self.granted_late, other.granted_late),
            (&mut self.opens, other.opens),
            (&mut self.opened, other.opened),
            (&mut self.closed, other.closed),
            (&mut self.opens_timed_out, other.opens_timed_out),
            (&mut self.opens_lost, other.opens_lost),
            (&mut self.opened_late, other.opened_late),
            (&mut self.repeated, other.repeated),
        ] {
            *sum += part;
        }
        for (sum, part) in [
            (&mut self.refused_by_reason, &other.refused_by_reason),
            (&mut self.closed_by_reason, &other.closed_by_reason),
        ] {
            for (reason, count) in part {
                *sum.entry(reason.clone()).or_default() += count;
            }
        }
    }
}

/// Those that happened, by the protocol's own names.
fn by_name<R: Serialize, const N: usize>(reasons: [R; N], counts: &[u64; N]) -> BTreeMap<String, u64> {
    let name = |reason: R| serde_json::to_value(reason).ok().and_then(|name| name.as_str().map(str::to_owned));
    let happened = reasons.into_iter().zip(*counts).filter(|(_, count)| *count > 0);
    happened.map(|(reason, count)| (name(reason).expect("a reason is a word"), count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_took_first_is_no_error_and_what_the_server_put_off_for_good_is() {
        let mut counts = GiftCounts { refused: [1; 12], closed: [1; 5], ..GiftCounts::default() };
        assert_eq!(GiftRequests::from(&counts).errors(), 3 + 2);
        (counts.timed_out, counts.opens_lost) = (10, 20);
        let mut twice = GiftRequests::from(&counts);
        twice.join(&GiftRequests::from(&counts));
        assert_eq!((twice.errors(), twice.refused), (70, 24));
    }
}
