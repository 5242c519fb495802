//! Rates: what the counters were a while ago, against what they are now. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits::{SAMPLE_EVERY_MS, SAMPLES_KEPT};

/// The counters of one SET at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SetSample {
    pub(super) requests: u64,
    pub(super) enters: u64,
    pub(super) turns: Vec<u64>,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) requests: u64,
    pub(super) shakes: u64,
    pub(super) overloaded: u64,
    pub(super) opened: u64,
    pub(super) wins: u64,
    pub(super) commits: u64,
    pub(super) commit_buckets: Vec<u64>,
    pub(super) sets: Vec<SetSample>,
}

/// The samples of the last seconds, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Meter {
    samples: VecDeque<Sample>,
}

impl Meter {
    /// Whether it is time for the next one.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        let last = self.samples.back().map(|sample| sample.at);
        last.is_none_or(|last| now.saturating_sub(last) >= Duration::from_millis(SAMPLE_EVERY_MS))
    }

    pub(super) fn take(&mut self, sample: Sample) {
        if self.samples.len() == SAMPLES_KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The latest sample at least so long ago; where there is none, the oldest.
    pub(super) fn ago(&self, now: Duration, age: Duration) -> Option<&Sample> {
        let old = self.samples.iter().rev().find(|sample| now.saturating_sub(sample.at) >= age);
        old.or(self.samples.front())
    }
}

/// How many a second, from a count then to one now.
pub(super) fn per_second(then: (Duration, u64), now: (Duration, u64)) -> f64 {
    let seconds = now.0.saturating_sub(then.0).as_secs_f64();
    if seconds <= 0.0 { 0.0 } else { (now.1.saturating_sub(then.1) as f64 / seconds * 10.0).round() / 10.0 }
}

/// What came into each bucket since.
pub(super) fn since(then: &[u64], now: &[u64]) -> Vec<u64> {
    now.iter().zip(then).map(|(now, then)| now.saturating_sub(*then)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_over_the_time_that_really_passed() {
        let mut meter = Meter::default();
        assert!(meter.is_due(Duration::ZERO) && meter.ago(Duration::ZERO, Duration::ZERO).is_none());
        for second in 0..30 {
            let at = Duration::from_secs(second);
            assert!(meter.is_due(at));
            meter.take(Sample { at, requests: second * 100, ..Sample::default() });
            assert!(!meter.is_due(at + Duration::from_millis(999)));
        }
        let now = Duration::from_millis(29_500);
        let then = meter.ago(now, Duration::from_secs(1)).expect("sampled");
        assert_eq!(then.at, Duration::from_secs(28));
        assert!((per_second((then.at, then.requests), (now, 2950)) - 100.0).abs() < 1e-9);
        assert_eq!(
            meter.ago(now, Duration::from_secs(60)).expect("sampled").at,
            Duration::from_secs(19),
            "the oldest kept"
        );
        assert!(per_second((now, 1), (now, 2)).abs() < 1e-9, "no time, no rate");
    }
}
