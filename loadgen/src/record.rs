//! What one thread writes down: counts, three histograms, and a small record a second for the live line and the series.

use std::ops::AddAssign;

use hdrhistogram::Histogram;
use rtrb::{Consumer, Producer};
use serde::{Deserialize, Serialize};

use crate::limits::HISTOGRAM_HIGHEST_US;
use crate::window::Shake;

/// How a shake was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Won.
    Envelope,
    /// Won nothing.
    None,
    /// The user has all that one user may have.
    UserLimit,
    /// The user has all that one user may have of this sponsor.
    SponsorLimit,
    /// The server had too much to do.
    Overloaded,
}

/// Answers by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Wins.
    pub envelope: u64,
    /// Won nothing.
    pub none: u64,
    /// User limit reached.
    pub user_limit: u64,
    /// Sponsor limit reached.
    pub sponsor_limit: u64,
    /// Overloaded.
    pub overloaded: u64,
}

impl Outcomes {
    fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Envelope => &mut self.envelope,
            Outcome::None => &mut self.none,
            Outcome::UserLimit => &mut self.user_limit,
            Outcome::SponsorLimit => &mut self.sponsor_limit,
            Outcome::Overloaded => &mut self.overloaded,
        } += 1;
    }

    fn total(&self) -> u64 {
        self.envelope + self.none + self.user_limit + self.sponsor_limit + self.overloaded
    }
}

impl AddAssign for Outcomes {
    fn add_assign(&mut self, other: Self) {
        self.envelope += other.envelope;
        self.none += other.none;
        self.user_limit += other.user_limit;
        self.sponsor_limit += other.sponsor_limit;
        self.overloaded += other.overloaded;
    }
}

/// Shakes that were due and not sent, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotSent {
    /// The connection was not there, or not logged in.
    pub disconnected: u64,
    /// The user obeyed the server's retry time (`--obey-retry on`).
    pub held_back: u64,
    /// The load generator was so far behind that the run was over.
    pub overdue: u64,
}

impl NotSent {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.disconnected + self.held_back + self.overdue
    }
}

impl AddAssign for NotSent {
    fn add_assign(&mut self, other: Self) {
        self.disconnected += other.disconnected;
        self.held_back += other.held_back;
        self.overdue += other.overdue;
    }
}

/// Shakes of the figures; those of the warm-up are left out. When a run has ended, `scheduled = sent + not_sent` and
/// `sent = answered + timed_out + lost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Due by the schedule.
    pub scheduled: u64,
    /// Handed to the kernel.
    pub sent: u64,
    /// Due and not sent.
    pub not_sent: NotSent,
    /// Answered within the timeout.
    pub answered: u64,
    /// Not answered within the timeout.
    pub timed_out: u64,
    /// Their connection broke before the answer.
    pub lost: u64,
    /// Of those that timed out: answered after all.
    pub answered_late: u64,
    /// Answers in time, by outcome.
    pub by_outcome: Outcomes,
}

impl AddAssign for Requests {
    fn add_assign(&mut self, other: Self) {
        self.scheduled += other.scheduled;
        self.sent += other.sent;
        self.not_sent += other.not_sent;
        self.answered += other.answered;
        self.timed_out += other.timed_out;
        self.lost += other.lost;
        self.answered_late += other.answered_late;
        self.by_outcome += other.by_outcome;
    }
}

impl Requests {
    /// Whether every shake is accounted for; holds when nothing is under way.
    pub fn balance(&self) -> bool {
        self.scheduled == self.sent + self.not_sent.total()
            && self.sent == self.answered + self.timed_out + self.lost
            && self.answered == self.by_outcome.total()
    }
}

/// A histogram of microseconds with three digits.
pub fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, HISTOGRAM_HIGHEST_US, 3).expect("the bounds are sound")
}

/// The three histograms of the figures. A shake that timed out or was lost counts with its age when it was given up, so that
/// it raises the percentiles instead of vanishing from them.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// Intended time to answer, in microseconds.
    pub latency: Histogram<u32>,
    /// Sent to answer, in microseconds.
    pub service: Histogram<u32>,
    /// Intended time to sent, in microseconds: the load generator's own lateness.
    pub lateness: Histogram<u32>,
}

impl Latencies {
    fn new() -> Self {
        Self { latency: histogram(), service: histogram(), lateness: histogram() }
    }
}

/// What happened in one second of the load, warm-up included.
#[derive(Debug)]
pub struct Second {
    /// Seconds since the load began.
    pub second: u32,
    /// Shakes due.
    pub scheduled: u32,
    /// Shakes sent.
    pub sent: u32,
    /// Answers in time.
    pub answered: u32,
    /// Of them envelopes.
    pub envelopes: u32,
    /// Timed out or lost.
    pub failed: u32,
    /// Intended time to answer, in microseconds, two digits.
    pub latency: Histogram<u32>,
}

impl Second {
    /// An empty record.
    pub fn new() -> Box<Self> {
        let latency = Histogram::new_with_bounds(1, HISTOGRAM_HIGHEST_US, 2).expect("the bounds are sound");
        Box::new(Self { second: 0, scheduled: 0, sent: 0, answered: 0, envelopes: 0, failed: 0, latency })
    }

    fn clear(&mut self, second: u32) {
        (self.second, self.scheduled, self.sent) = (second, 0, 0);
        (self.answered, self.envelopes, self.failed) = (0, 0, 0);
        self.latency.reset();
    }
}

/// A thread's ends of the two queues that pass its records of a second to the main thread and back.
pub struct SecondsEnds {
    /// Full ones.
    pub full: Producer<Box<Second>>,
    /// Empty ones.
    pub empty: Consumer<Box<Second>>,
}

/// See the module's text. Allocates nothing after `new`.
pub struct Recorder {
    requests: Requests,
    latencies: Latencies,
    second: Box<Second>,
    seconds: SecondsEnds,
}

impl Recorder {
    /// Nothing recorded yet.
    pub fn new(seconds: SecondsEnds) -> Self {
        Self { requests: Requests::default(), latencies: Latencies::new(), second: Second::new(), seconds }
    }

    /// Shakes so far.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Tells the time, in whole seconds since the load began: a second that has passed is handed on. Where the main thread
    /// has all records, the figures stay and join the next second's.
    pub fn turn_to(&mut self, second: u32) {
        if second <= self.second.second || self.seconds.full.is_full() {
            return;
        }
        let Ok(mut next) = self.seconds.empty.pop() else { return };
        next.clear(second);
        let full = std::mem::replace(&mut self.second, next);
        self.seconds.full.push(full).expect("the queue was seen to have room");
    }

    /// A shake became due.
    pub fn scheduled(&mut self, warm_up: bool) {
        self.second.scheduled += 1;
        self.requests.scheduled += u64::from(!warm_up);
    }

    /// A shake that was due was not sent.
    pub fn not_sent(&mut self, warm_up: bool, reason: impl FnOnce(&mut NotSent) -> &mut u64) {
        if !warm_up {
            *reason(&mut self.requests.not_sent) += 1;
        }
    }

    /// A shake was handed to the kernel.
    pub fn sent(&mut self, shake: &Shake) {
        self.second.sent += 1;
        if !shake.warm_up {
            self.requests.sent += 1;
            self.latencies.lateness.saturating_record(u64::from(shake.sent_us.wrapping_sub(shake.intended_us)));
        }
    }

    /// A shake was answered in time.
    pub fn answered(&mut self, shake: &Shake, now_us: u32, outcome: Outcome) {
        self.second.answered += 1;
        self.second.envelopes += u32::from(outcome == Outcome::Envelope);
        if !shake.warm_up {
            self.requests.answered += 1;
            self.requests.by_outcome.count(outcome);
        }
        self.ended(shake, now_us);
    }

    /// A shake was answered after it had been given up.
    pub fn answered_late(&mut self, shake: &Shake) {
        self.requests.answered_late += u64::from(!shake.warm_up);
    }

    /// A shake was given up: timed out, or its connection broke.
    pub fn given_up(&mut self, shake: &Shake, now_us: u32, connection_broke: bool) {
        self.second.failed += 1;
        if !shake.warm_up {
            if connection_broke { self.requests.lost += 1 } else { self.requests.timed_out += 1 }
        }
        self.ended(shake, now_us);
    }

    fn ended(&mut self, shake: &Shake, now_us: u32) {
        let latency_us = u64::from(now_us.wrapping_sub(shake.intended_us));
        self.second.latency.saturating_record(latency_us);
        if !shake.warm_up {
            self.latencies.latency.saturating_record(latency_us);
            self.latencies.service.saturating_record(u64::from(now_us.wrapping_sub(shake.sent_us)));
        }
    }

    /// The end: hands the last second on if there is room, and gives the rest out.
    pub fn finish(mut self) -> (Requests, Latencies) {
        // Where there is no room for the last second the series lacks it; the figures do not depend on it.
        drop(self.seconds.full.push(self.second));
        (self.requests, self.latencies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SECONDS_PER_THREAD;

    fn recorder() -> (Recorder, Consumer<Box<Second>>, Producer<Box<Second>>) {
        let (full, full_end) = rtrb::RingBuffer::new(SECONDS_PER_THREAD);
        let (empty_end, empty) = rtrb::RingBuffer::new(SECONDS_PER_THREAD);
        (Recorder::new(SecondsEnds { full, empty }), full_end, empty_end)
    }

    fn shake(intended_us: u32, sent_us: u32, warm_up: bool) -> Shake {
        Shake { intended_us, sent_us, connection: 0, warm_up }
    }

    #[test]
    fn the_warm_up_is_left_out_of_every_figure() {
        let (mut recorder, _full, _empty) = recorder();
        for warm_up in [true, false] {
            let shake = shake(1_000, 1_500, warm_up);
            recorder.scheduled(warm_up);
            recorder.sent(&shake);
            recorder.answered(&shake, 3_000, Outcome::None);
        }
        let (requests, latencies) = recorder.finish();
        assert_eq!((requests.scheduled, requests.sent, requests.answered, requests.by_outcome.none), (1, 1, 1, 1));
        assert_eq!(latencies.latency.len() + latencies.service.len() + latencies.lateness.len(), 3);
        assert!(requests.balance());
    }

    #[test]
    fn latency_counts_from_the_intended_time_and_service_from_the_real_one() {
        let (mut recorder, _full, _empty) = recorder();
        recorder.scheduled(false);
        let shake = shake(u32::MAX - 9, 990, false);
        recorder.sent(&shake);
        recorder.answered(&shake, 1_490, Outcome::Envelope);
        let (_, latencies) = recorder.finish();
        assert_eq!((latencies.lateness.max(), latencies.latency.max(), latencies.service.max()), (1_000, 1_500, 500));
    }

    #[test]
    fn what_timed_out_raises_the_percentiles() {
        let (mut recorder, _full, _empty) = recorder();
        let shake = shake(0, 0, false);
        recorder.scheduled(false);
        recorder.sent(&shake);
        recorder.given_up(&shake, 5_000_000, false);
        let (requests, latencies) = recorder.finish();
        assert_eq!((requests.timed_out, requests.lost, latencies.latency.len()), (1, 0, 1));
        assert!(latencies.latency.max() >= 5_000_000);
        assert!(requests.balance());
    }

    #[test]
    fn a_slow_main_thread_loses_no_second_but_gets_them_together() {
        let (mut recorder, mut full, mut empty) = recorder();
        empty.push(Second::new()).unwrap();
        for second in 0..5 {
            recorder.turn_to(second);
            recorder.scheduled(false);
        }
        let first = full.pop().unwrap();
        assert_eq!((first.second, first.scheduled), (0, 1));
        assert!(full.pop().is_err(), "there was only one empty record");
        empty.push(first).unwrap();
        recorder.turn_to(5);
        let joined = full.pop().unwrap();
        assert_eq!((joined.second, joined.scheduled), (1, 4));
    }
}
