//! The issue of one round, smoothed: never ahead of an even line, and no faster than it takes to be even to the end. Pure.

use std::time::Duration;

use crate::limits::FEEDER_TICK_MS;
use crate::messages::RoundOrder;

/// A round that runs, or the one that ran last.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoundPlan {
    order: RoundOrder,
    /// Left over by the round before.
    carried: u64,
    begun: Duration,
    ends: Duration,
    /// Envelopes that were out (dealt and not returned) when it began.
    out_before: u64,
}

impl RoundPlan {
    /// Begins a round; `out` is how many envelopes are dealt and not returned, `before` the round that ran last.
    pub(super) fn begin(order: RoundOrder, now: Duration, out: u64, before: Option<&Self>) -> Self {
        let carried = before.filter(|before| before.order.carries).map_or(0, |before| before.left_over(out));
        Self { order, carried, begun: now.saturating_sub(order.elapsed), ends: now + order.left, out_before: out }
    }

    /// The same round, with another end or another plan.
    pub(super) fn amend(&mut self, order: RoundOrder, now: Duration) {
        self.order = order;
        self.begun = now.saturating_sub(order.elapsed);
        self.ends = now + order.left;
    }

    pub(super) fn number(&self) -> u32 {
        self.order.number
    }

    pub(super) fn carried(&self) -> u64 {
        self.carried
    }

    /// Envelopes it is to issue, those carried over included; `None` for no limit.
    pub(super) fn target(&self) -> Option<u64> {
        self.order.envelopes.map(|planned| planned.saturating_add(self.carried))
    }

    /// Envelopes it has put out.
    pub(super) fn issued(&self, out: u64) -> u64 {
        out.saturating_sub(self.out_before)
    }

    /// What it was to issue and did not.
    pub(super) fn left_over(&self, out: u64) -> u64 {
        self.target().map_or(0, |target| target.saturating_sub(self.issued(out)))
    }

    /// How many more may go out now, so that it is not ahead of the even line.
    pub(super) fn allowance(&self, now: Duration, out: u64) -> u64 {
        let Some(target) = self.target() else { return u64::MAX };
        // One and a tick ahead, so that the first comes at the beginning and the last before the end.
        let ahead = Duration::from_millis(FEEDER_TICK_MS);
        let elapsed = (now.saturating_sub(self.begun) + ahead).as_nanos();
        let line = u128::from(target) * elapsed / self.whole_ns() + 1;
        u64::try_from(line).unwrap_or(u64::MAX).min(target).saturating_sub(self.issued(out))
    }

    /// The rate for the token bucket, in envelopes a second; `None` for no limit.
    pub(super) fn rate(&self, now: Duration, out: u64) -> Option<u64> {
        const SECOND_NS: u128 = 1_000_000_000;
        let target = self.target()?;
        let left_ns = self.ends.saturating_sub(now).as_nanos();
        if left_ns == 0 {
            return Some(0);
        }
        let per_second = |envelopes: u64, ns: u128| (u128::from(envelopes) * SECOND_NS).div_ceil(ns);
        let needed = per_second(target.saturating_sub(self.issued(out)), left_ns);
        // Where lost time is not made up for, it goes no faster than planned.
        let most = if self.order.makes_up { u128::MAX } else { per_second(target, self.whole_ns()) };
        Some(u64::try_from(needed.min(most)).unwrap_or(u64::MAX))
    }

    fn whole_ns(&self) -> u128 {
        self.ends.saturating_sub(self.begun).as_nanos().max(1)
    }
}

/// The round that runs, and the one before.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    running: Option<RoundPlan>,
    before: Option<RoundPlan>,
    /// An operator's rate goes before the round's.
    pub(super) ignored: bool,
}

impl Rounds {
    /// Begins a round, goes on with it by another plan, or ends it. `out` is how many envelopes are dealt and not returned.
    pub(super) fn begin(&mut self, order: Option<RoundOrder>, now: Duration, out: u64) {
        if let (Some(round), Some(order)) = (&mut self.running, order)
            && round.number() == order.number
        {
            return round.amend(order, now);
        }
        self.before = self.running.take().or(self.before);
        self.running = order.map(|order| RoundPlan::begin(order, now, out, self.before.as_ref()));
    }

    pub(super) fn running(&self) -> Option<&RoundPlan> {
        self.running.as_ref()
    }

    /// The round whose plan goes before the rate.
    pub(super) fn followed(&self) -> Option<&RoundPlan> {
        self.running().filter(|_| !self.ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(number: u32, envelopes: u64, makes_up: bool, carries: bool) -> RoundOrder {
        let (elapsed, left) = (Duration::ZERO, Duration::from_secs(100));
        RoundOrder { number, envelopes: Some(envelopes), elapsed, left, makes_up, carries }
    }

    /// Plays a round tick by tick; `demand` says how many are asked for in the second. What went out in each second.
    fn play(plan: &RoundPlan, from: u64, mut out: u64, demand: impl Fn(u64) -> u64) -> Vec<u64> {
        let mut seconds = Vec::new();
        for second in from..from + 100 {
            let mut given = 0;
            for tick in 0..100 {
                let now = Duration::from_millis(second * 1000 + tick * 10);
                let room = demand(second) - given;
                // A bucket of this rate holds at least one.
                let bucket = plan.rate(now, out).unwrap_or(u64::MAX).div_ceil(100).max(1);
                let now_given = plan.allowance(now, out).min(room).min(bucket);
                given += now_given;
                out += now_given;
            }
            seconds.push(given);
        }
        seconds
    }

    #[test]
    fn a_round_is_even_from_its_first_second_to_its_last() {
        for envelopes in [7, 100, 12_345] {
            let plan = RoundPlan::begin(order(1, envelopes, true, false), Duration::from_secs(50), 1000, None);
            let seconds = play(&plan, 50, 1000, |_| u64::MAX);
            assert_eq!(seconds.iter().sum::<u64>(), envelopes);
            let even = envelopes / 100;
            assert!(seconds.iter().all(|given| given.abs_diff(even) <= 2), "{envelopes}: {seconds:?}");
        }
    }

    #[test]
    fn what_nobody_asked_for_early_is_made_up_for_evenly_or_left_over() {
        let quiet_half = |second: u64| if second < 50 { 0 } else { u64::MAX };
        let makes_up = RoundPlan::begin(order(1, 1000, true, true), Duration::ZERO, 0, None);
        assert_eq!(play(&makes_up, 0, 0, quiet_half).iter().sum::<u64>(), 1000);
        let steady = RoundPlan::begin(order(1, 1000, false, true), Duration::ZERO, 0, None);
        let seconds = play(&steady, 0, 0, quiet_half);
        assert!(seconds.iter().all(|given| *given <= 100), "{seconds:?}");
        assert_eq!(steady.rate(Duration::from_secs(60), 0), Some(10), "no faster than planned");
    }

    #[test]
    fn the_next_round_issues_what_was_carried_and_nothing_that_was_returned() {
        let first = RoundPlan::begin(order(1, 1000, false, true), Duration::ZERO, 0, None);
        let second = RoundPlan::begin(order(2, 500, false, false), Duration::from_secs(200), 400, Some(&first));
        assert_eq!((second.carried(), second.target()), (600, Some(1100)));
        let third = RoundPlan::begin(order(3, 500, false, false), Duration::from_secs(400), 450, Some(&second));
        assert_eq!(third.target(), Some(500));
    }

    #[test]
    fn an_end_that_moves_keeps_what_was_issued() {
        let mut plan = RoundPlan::begin(order(1, 1000, true, false), Duration::ZERO, 0, None);
        let shorter = RoundOrder {
            elapsed: Duration::from_secs(50),
            left: Duration::from_secs(10),
            ..order(1, 1000, true, false)
        };
        plan.amend(shorter, Duration::from_secs(50));
        assert_eq!(plan.issued(500), 500);
        assert_eq!(plan.rate(Duration::from_secs(50), 500), Some(50), "the rest in ten seconds");
        assert_eq!(plan.allowance(Duration::from_secs(70), 500), 500, "and no more than planned");
    }
}
