//! Gifts of one lap on one thread: counts and histograms. A lap without gifts has none.

use std::ops::AddAssign;

use hdrhistogram::Histogram;
use hongbao_protocol::wire::{GiftClosed, GiftRefusal};

use crate::record;

/// Sends and opens of the figures; those of a warm-up are left out. When a lap has ended, `scheduled` = `sent` + `disconnected` +
/// `overdue`, `sent` = `granted` + refused + `timed_out` + `lost`, and `opens` = `opened` + closed + `opens_timed_out` + `opens_lost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GiftCounts {
    /// Gifts due by the schedule.
    pub scheduled: u64,
    /// Handed to the kernel.
    pub sent: u64,
    /// Due, and the sender was not logged in.
    pub disconnected: u64,
    /// Due, and the load generator was so far behind that the run was over.
    pub overdue: u64,
    /// Answered *sent*.
    pub granted: u64,
    /// Answered *refused*, by reason.
    pub refused: [u64; GiftRefusal::ALL.len()],
    /// Not answered within the timeout.
    pub timed_out: u64,
    /// Their connection broke before the answer.
    pub lost: u64,
    /// Of those that timed out or were lost: granted after all, most of them when they were asked again.
    pub granted_late: u64,
    /// Opens sent, repeated ones left out.
    pub opens: u64,
    /// Answered *opened*.
    pub opened: u64,
    /// Answered *closed*, for good, by reason.
    pub closed: [u64; GiftClosed::ALL.len()],
    /// Opens not answered within the timeout.
    pub opens_timed_out: u64,
    /// Opens whose connection broke before the answer.
    pub opens_lost: u64,
    /// Of those that timed out or were lost: opened after all.
    pub opened_late: u64,
    /// Sends and opens that were sent once more, on purpose or for want of an answer.
    pub repeated: u64,
}

impl AddAssign for GiftCounts {
    fn add_assign(&mut self, other: Self) {
        self.scheduled += other.scheduled;
        self.sent += other.sent;
        self.disconnected += other.disconnected;
        self.overdue += other.overdue;
        self.granted += other.granted;
        self.timed_out += other.timed_out;
        self.lost += other.lost;
        self.granted_late += other.granted_late;
        self.opens += other.opens;
        self.opened += other.opened;
        self.opens_timed_out += other.opens_timed_out;
        self.opens_lost += other.opens_lost;
        self.opened_late += other.opened_late;
        self.repeated += other.repeated;
        for (sum, part) in self.refused.iter_mut().zip(other.refused) {
            *sum += part;
        }
        for (sum, part) in self.closed.iter_mut().zip(other.closed) {
            *sum += part;
        }
    }
}

impl GiftCounts {
    /// Sends and opens neither answered nor given up yet.
    pub fn under_way(&self) -> u64 {
        let sends = self.sent - self.granted - self.refused.iter().sum::<u64>() - self.timed_out - self.lost;
        let ended = self.opened + self.closed.iter().sum::<u64>() + self.opens_timed_out + self.opens_lost;
        sends + (self.opens - ended)
    }

    /// Whether every gift is accounted for; holds when nothing is under way.
    pub fn balance(&self) -> bool {
        self.scheduled == self.sent + self.disconnected + self.overdue && self.under_way() == 0
    }
}

/// Histograms of microseconds. What timed out or was lost counts with its age when it was given up.
#[derive(Clone, Debug)]
pub struct GiftLap {
    /// What happened.
    pub counts: GiftCounts,
    /// From the intended time of a send to its answer.
    pub send: Histogram<u32>,
    /// From the intended time of a send to the send.
    pub lateness: Histogram<u32>,
    /// From an open to its answer; what the server put off counts from its first open.
    pub open: Histogram<u32>,
}

impl Default for GiftLap {
    fn default() -> Self {
        let empty = record::histogram;
        Self { counts: GiftCounts::default(), send: empty(), lateness: empty(), open: empty() }
    }
}
