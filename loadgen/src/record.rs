//! What one thread writes down: counts and three histograms a lap, and a small record a second for the live line and the series.
//!
//! A lap is a stretch of load whose figures are kept apart: a stage has one, a capacity search many.

use std::collections::VecDeque;
use std::ops::AddAssign;

use hdrhistogram::Histogram;
use hongbao_uring::NetworkCounters;
use rtrb::{Consumer, Producer};
use serde::{Deserialize, Serialize};

use crate::cpu::Cpu;
use crate::gifts::record::GiftLap;
use crate::limits::{HISTOGRAM_HIGHEST_US, LAPS_OPEN_MAX};
use crate::window::{LapTag, Shake};

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

/// Shakes of the figures; those of a warm-up are left out. When a lap has ended, `scheduled = sent + not_sent` and
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
    /// Sent, and neither answered nor given up yet.
    pub fn under_way(&self) -> u64 {
        self.sent - self.answered - self.timed_out - self.lost
    }

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

/// The figures of one lap on one thread: made by the main thread, filled by the other, and given back.
#[derive(Debug)]
pub struct Lap {
    /// Which.
    pub number: u32,
    /// Shakes.
    pub requests: Requests,
    /// Answered when the lap ended; what was under way then came later.
    pub answered_at_end: u64,
    /// Their times.
    pub latencies: Latencies,
    /// CPU from the lap's begin to its end, warm-up included.
    pub cpu: Cpu,
    /// What the ring did meanwhile.
    pub ring: NetworkCounters,
    /// Shakes sent meanwhile, those of the warm-up included.
    pub sent_in_all: u64,
    /// Gifts, where the stage has some.
    pub gifts: Option<Box<GiftLap>>,
    /// The lap is not given back before, on the run's clock in nanoseconds: a gift may still be noticed.
    pub kept_until_ns: u64,
}

impl Lap {
    /// Nothing recorded yet.
    pub fn new(number: u32) -> Box<Self> {
        Box::new(Self {
            number,
            requests: Requests::default(),
            answered_at_end: 0,
            latencies: Latencies::new(),
            cpu: Cpu::default(),
            ring: NetworkCounters::default(),
            sent_in_all: 0,
            gifts: None,
            kept_until_ns: 0,
        })
    }

    /// The same with room for gifts.
    pub fn with_gifts(number: u32) -> Box<Self> {
        Box::new(Self { gifts: Some(Box::default()), ..*Self::new(number) })
    }

    fn is_under_way(&self) -> bool {
        self.requests.under_way() > 0 || self.gifts.as_ref().is_some_and(|gifts| gifts.counts.under_way() > 0)
    }
}

/// What happened in one second of the run.
#[derive(Debug)]
pub struct Second {
    /// Seconds since the run began, counted by the wall clock.
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
    /// Gifts granted.
    pub gifts: u32,
    /// Shares opened.
    pub gifts_opened: u32,
    /// Sends and opens that timed out, were lost or refused.
    pub gifts_failed: u32,
    /// Intended time to answer, in microseconds, two digits.
    pub latency: Histogram<u32>,
}

impl Second {
    /// An empty record.
    pub fn new() -> Box<Self> {
        let latency = Histogram::new_with_bounds(1, HISTOGRAM_HIGHEST_US, 2).expect("the bounds are sound");
        Box::new(Self {
            second: 0,
            scheduled: 0,
            sent: 0,
            answered: 0,
            envelopes: 0,
            failed: 0,
            gifts: 0,
            gifts_opened: 0,
            gifts_failed: 0,
            latency,
        })
    }

    fn clear(&mut self, second: u32) {
        (self.second, self.scheduled, self.sent) = (second, 0, 0);
        (self.answered, self.envelopes, self.failed) = (0, 0, 0);
        (self.gifts, self.gifts_opened, self.gifts_failed) = (0, 0, 0);
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
    /// The laps that are under way: the last one, and the one before until its last shake has ended.
    laps: VecDeque<Box<Lap>>,
    second: Box<Second>,
    seconds: SecondsEnds,
    sent: u64,
}

impl Recorder {
    /// Nothing recorded yet.
    pub fn new(seconds: SecondsEnds) -> Self {
        let laps = VecDeque::with_capacity(LAPS_OPEN_MAX);
        Self { laps, second: Second::new(), seconds, sent: 0 }
    }

    /// Shakes sent since the run began, those of warm-ups included.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// A lap begins. The one before the last has ended by then: the main thread begins none before it has that one's figures.
    pub fn begin_lap(&mut self, lap: Box<Lap>) {
        assert!(self.laps.len() < LAPS_OPEN_MAX, "the main thread waits for the lap before the last");
        self.laps.push_back(lap);
    }

    /// The lap with this number.
    pub fn lap(&mut self, number: u32) -> Option<&mut Lap> {
        self.laps.iter_mut().find(|lap| lap.number == number).map(Box::as_mut)
    }

    /// Gives the oldest lap out, if its number is below this one, nothing of it is under way, and it need not be kept for gifts.
    pub fn end_lap(&mut self, below: u32, now_ns: u64) -> Option<Box<Lap>> {
        let first = self.laps.front()?;
        if first.number >= below || first.is_under_way() || now_ns < first.kept_until_ns {
            return None;
        }
        self.laps.pop_front()
    }

    /// Counts in the second at hand.
    pub fn second(&mut self, count: impl FnOnce(&mut Second)) {
        count(&mut self.second);
    }

    /// Tells the time, in whole seconds since the run began: a second that has passed is handed on. Where the main thread
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
    pub fn scheduled(&mut self, lap: LapTag) {
        self.second.scheduled += 1;
        if let Some(lap) = self.tagged(lap) {
            lap.requests.scheduled += 1;
        }
    }

    /// A shake that was due was not sent.
    pub fn not_sent(&mut self, lap: LapTag, reason: impl FnOnce(&mut NotSent) -> &mut u64) {
        if let Some(lap) = self.tagged(lap) {
            *reason(&mut lap.requests.not_sent) += 1;
        }
    }

    /// A shake was handed to the kernel.
    pub fn sent_one(&mut self, shake: &Shake) {
        self.second.sent += 1;
        self.sent += 1;
        if let Some(lap) = self.tagged(shake.lap) {
            lap.requests.sent += 1;
            lap.latencies.lateness.saturating_record(u64::from(shake.sent_us.wrapping_sub(shake.intended_us)));
        }
    }

    /// A shake was answered in time.
    pub fn answered_one(&mut self, shake: &Shake, now_us: u32, outcome: Outcome) {
        self.second.answered += 1;
        self.second.envelopes += u32::from(outcome == Outcome::Envelope);
        if let Some(lap) = self.tagged(shake.lap) {
            lap.requests.answered += 1;
            lap.requests.by_outcome.count(outcome);
        }
        self.ended(shake, now_us);
    }

    /// A shake was answered after it had been given up.
    pub fn answered_late(&mut self, shake: &Shake) {
        if let Some(lap) = self.tagged(shake.lap) {
            lap.requests.answered_late += 1;
        }
    }

    /// A shake was given up: timed out, or its connection broke.
    pub fn given_up(&mut self, shake: &Shake, now_us: u32, connection_broke: bool) {
        self.second.failed += 1;
        if let Some(lap) = self.tagged(shake.lap) {
            if connection_broke { lap.requests.lost += 1 } else { lap.requests.timed_out += 1 }
        }
        self.ended(shake, now_us);
    }

    fn ended(&mut self, shake: &Shake, now_us: u32) {
        let latency_us = u64::from(now_us.wrapping_sub(shake.intended_us));
        self.second.latency.saturating_record(latency_us);
        if let Some(lap) = self.tagged(shake.lap) {
            lap.latencies.latency.saturating_record(latency_us);
            lap.latencies.service.saturating_record(u64::from(now_us.wrapping_sub(shake.sent_us)));
        }
    }

    fn tagged(&mut self, tag: LapTag) -> Option<&mut Lap> {
        self.laps.iter_mut().rev().find(|lap| LapTag::of(lap.number) == tag).map(Box::as_mut)
    }

    /// The end: hands the last second on if there is room. Where there is none the series lacks it; the figures do not depend on it.
    pub fn finish(mut self) {
        drop(self.seconds.full.push(self.second));
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

    fn shake(intended_us: u32, sent_us: u32, lap: LapTag) -> Shake {
        Shake { intended_us, sent_us, connection: 0, lap }
    }

    #[test]
    fn the_warm_up_is_left_out_of_every_figure() {
        let (mut recorder, _full, _empty) = recorder();
        recorder.begin_lap(Lap::new(0));
        for lap in [LapTag::NONE, LapTag::of(0)] {
            let shake = shake(1_000, 1_500, lap);
            recorder.scheduled(lap);
            recorder.sent_one(&shake);
            recorder.answered_one(&shake, 3_000, Outcome::None);
        }
        let Lap { requests, latencies, .. } = *recorder.end_lap(1, 0).unwrap();
        assert_eq!((requests.scheduled, requests.sent, requests.answered, requests.by_outcome.none), (1, 1, 1, 1));
        assert_eq!(latencies.latency.len() + latencies.service.len() + latencies.lateness.len(), 3);
        assert!(requests.balance());
    }

    #[test]
    fn an_answer_counts_in_the_lap_that_its_shake_was_intended_in() {
        let (mut recorder, _full, _empty) = recorder();
        recorder.begin_lap(Lap::new(255));
        let early = shake(10, 20, LapTag::of(255));
        recorder.scheduled(early.lap);
        recorder.sent_one(&early);
        recorder.begin_lap(Lap::new(256));
        assert!(recorder.end_lap(256, 0).is_none(), "a shake of it is under way");
        recorder.answered_one(&early, 30, Outcome::None);
        assert_eq!(recorder.end_lap(256, 0).unwrap().requests.answered, 1);
        assert_eq!(recorder.end_lap(257, 0).unwrap().requests, Requests::default());
    }

    #[test]
    fn latency_counts_from_the_intended_time_and_service_from_the_real_one() {
        let (mut recorder, _full, _empty) = recorder();
        recorder.begin_lap(Lap::new(0));
        let shake = shake(u32::MAX - 9, 990, LapTag::of(0));
        recorder.sent_one(&shake);
        recorder.answered_one(&shake, 1_490, Outcome::Envelope);
        let latencies = recorder.end_lap(1, 0).unwrap().latencies;
        assert_eq!((latencies.lateness.max(), latencies.latency.max(), latencies.service.max()), (1_000, 1_500, 500));
    }

    #[test]
    fn what_timed_out_raises_the_percentiles() {
        let (mut recorder, _full, _empty) = recorder();
        recorder.begin_lap(Lap::new(0));
        let shake = shake(0, 0, LapTag::of(0));
        recorder.scheduled(shake.lap);
        recorder.sent_one(&shake);
        recorder.given_up(&shake, 5_000_000, false);
        let Lap { requests, latencies, .. } = *recorder.end_lap(1, 0).unwrap();
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
            recorder.scheduled(LapTag::NONE);
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
