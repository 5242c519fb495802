//! A stretch of load with one law, as the main thread orders it and every thread follows it.

use std::time::Duration;

use crate::clock::Clock;
use crate::gifts::load::GiftLaw;
use crate::plan::Arrivals;
use crate::scenario::RateRange;
use crate::schedule::{Poisson, Ramp, Rotation, Schedule, Share, Slope};
use crate::window::LapTag;

/// When shakes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// At their intended times, at a rate that goes evenly from one value to the other.
    Open {
        /// Shakes a second over all threads at the begin.
        from: u64,
        /// ... and at the end.
        to: u64,
        /// Which times.
        arrivals: Arrivals,
    },
    /// A connection shakes again when it was answered.
    Closed {
        /// Shakes of a connection under way at once.
        depth: u32,
    },
    /// Nobody shakes.
    Pause,
}

/// See the module's text. Times are nanoseconds of the run's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Whose figures it is part of.
    pub lap: u32,
    /// Which segment of the run it is: makes the arrivals of each one others.
    pub number: u32,
    /// Who shakes: the first so many users.
    pub connections: u32,
    /// When.
    pub law: Law,
    /// Between two turns of a thread.
    pub tick: Duration,
    /// From then on, and not the segment before any more.
    pub begin_ns: u64,
    /// Until then, unless the next segment begins before.
    pub end_ns: u64,
    /// Shakes intended before belong to a warm-up.
    pub measured_ns: u64,
    /// Slots of the lap before this segment: the turns go on where they were.
    pub first_slot: u64,
    /// Gifts besides; none are sent in a pause.
    pub gifts: Option<GiftLaw>,
}

/// Makes the arrivals of gifts others than those of shakes.
const GIFTS_STREAM: u64 = 0x6769_6674;

impl Segment {
    /// Slots that pass until `at_ns`.
    pub fn slots_until(&self, at_ns: u64) -> u64 {
        let Law::Open { from, to, .. } = self.law else { return 0 };
        match self.slope(RateRange { from, to }) {
            Some(slope) => slope.slots(at_ns.saturating_sub(self.begin_ns)).ceil() as u64,
            None => 0,
        }
    }

    /// Intended times of one thread, counted from the segment's begin; `None` where it has none.
    pub fn schedule(&self, share: Share, first_user: u64, clock: &Clock) -> Option<Schedule> {
        let share = Share { connections: self.connections, ..share };
        let Law::Open { from, to, arrivals } = self.law else { return None };
        let slope = self.slope(RateRange { from, to })?;
        if share.is_empty() {
            return None;
        }
        Some(match arrivals {
            Arrivals::Wallclock if from == to => {
                Schedule::Rotation(Rotation::wallclock(share, to, first_user, clock.unix_ns(self.begin_ns)))
            }
            Arrivals::Poisson { seed } => self.poisson(share, slope, seed),
            Arrivals::Wallclock | Arrivals::Uniform => uniform(share, slope, RateRange { from, to }, self.first_slot),
        })
    }

    /// Intended times of one thread's gifts, likewise. `wallclock` is a law of shakes: gifts then follow `uniform`.
    pub fn gift_schedule(&self, share: Share, arrivals: Arrivals) -> Option<Schedule> {
        let share = Share { connections: self.connections, ..share };
        let gifts = self.gifts.filter(|_| self.law != Law::Pause && !share.is_empty())?;
        let slope = self.slope(gifts.rate)?;
        Some(match arrivals {
            Arrivals::Poisson { seed } => self.poisson(share, slope, seed ^ GIFTS_STREAM),
            Arrivals::Wallclock | Arrivals::Uniform => uniform(share, slope, gifts.rate, gifts.first_slot),
        })
    }

    /// The gifts of a segment that takes over at this time.
    pub fn gifts_from(&self, at_ns: u64) -> Option<GiftLaw> {
        let gifts = self.gifts?;
        let Some(slope) = self.slope(gifts.rate).filter(|_| self.law != Law::Pause) else { return Some(gifts) };
        let passed_ns = at_ns.saturating_sub(self.begin_ns);
        let now = slope.rate(passed_ns).round() as u64;
        let rate = RateRange { from: now.max(1), to: gifts.rate.to };
        Some(GiftLaw { rate, first_slot: gifts.first_slot + slope.slots(passed_ns).ceil() as u64, ..gifts })
    }

    fn poisson(&self, share: Share, slope: Slope, seed: u64) -> Schedule {
        Schedule::Poisson(Poisson::new(share, slope, seed.wrapping_add(u64::from(self.number) << 48)))
    }

    /// The lap of something that is intended then; none in a warm-up.
    pub fn lap_at(&self, at_ns: u64) -> Option<u32> {
        (at_ns >= self.measured_ns).then_some(self.lap)
    }

    /// Which lap a shake belongs to that is intended then.
    pub fn tag(&self, at_ns: u64) -> LapTag {
        if at_ns < self.measured_ns { LapTag::NONE } else { LapTag::of(self.lap) }
    }

    /// Milliseconds between two shakes of one connection at the lower rate; `None` where that is not fixed.
    pub fn period_ms(&self) -> Option<u64> {
        match self.law {
            Law::Open { from, to, .. } => Some(u64::from(self.connections) * 1_000 / from.min(to).max(1)),
            Law::Closed { .. } => None,
            Law::Pause => Some(u64::MAX),
        }
    }

    fn slope(&self, RateRange { from, to }: RateRange) -> Option<Slope> {
        let length_s = self.end_ns.saturating_sub(self.begin_ns) as f64 / 1e9;
        (from + to > 0 && length_s > 0.0).then(|| Slope {
            // A ramp from or to nothing begins or ends at one a second.
            from: from.max(1) as f64,
            to: to.max(1) as f64,
            length_s,
        })
    }
}

/// Every connection in turn, at distances that are the same or go evenly from one to another.
fn uniform(share: Share, slope: Slope, rate: RateRange, first_slot: u64) -> Schedule {
    if rate.from == rate.to {
        Schedule::Rotation(Rotation::uniform(share, rate.to, first_slot))
    } else {
        Schedule::Ramp(Ramp::new(share, slope, first_slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(from: u64, to: u64) -> Segment {
        Segment {
            lap: 0,
            number: 0,
            connections: 10,
            law: Law::Open { from, to, arrivals: Arrivals::Uniform },
            tick: Duration::from_millis(1),
            begin_ns: 1_000_000_000,
            end_ns: 3_000_000_000,
            measured_ns: 1_000_000_000,
            first_slot: 0,
            gifts: None,
        }
    }

    #[test]
    fn the_turns_go_on_after_a_change_of_rate() {
        let share = Share { thread: 0, threads: 1, connections: 10 };
        let clock = Clock::start();
        let first = segment(5, 5);
        assert_eq!(first.slots_until(2_500_000_000), 8);
        let next = Segment { first_slot: 8, begin_ns: 2_500_000_000, ..first };
        let due = next.schedule(share, 0, &clock).unwrap().due(0, u64::MAX).unwrap();
        assert_eq!((due.connection, due.at_ns), (8, 0));
    }

    #[test]
    fn a_thread_without_users_or_a_pause_has_no_schedule() {
        let clock = Clock::start();
        let share = Share { thread: 10, threads: 11, connections: 11 };
        assert!(segment(5, 5).schedule(share, 0, &clock).is_none());
        let share = Share { thread: 0, threads: 11, connections: 11 };
        assert!(Segment { law: Law::Pause, ..segment(5, 5) }.schedule(share, 0, &clock).is_none());
        assert!(segment(0, 0).schedule(share, 0, &clock).is_none());
        assert!(segment(0, 5).schedule(share, 0, &clock).is_some());
    }
}
