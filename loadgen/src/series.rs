//! The threads' records of each second, joined over the threads.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::distribution;
use crate::limits::SERIES_SECONDS_MAX;
use crate::record::Second;

/// One second of the whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Seconds since the run began; each begins with a second of the wall clock.
    pub second: u32,
    /// Place of the stage in the report's `stages` whose load this second belongs to; none in ramps and between stages.
    pub stage: Option<u32>,
    /// Whether the second began in a warm-up, which the other figures leave out.
    pub warm_up: bool,
    /// Connections logged in at its end.
    pub connections: u64,
    /// Shakes due.
    pub scheduled: u64,
    /// Shakes sent.
    pub sent: u64,
    /// Answers in time.
    pub answered: u64,
    /// Of them envelopes.
    pub envelopes: u64,
    /// Timed out or lost.
    pub failed: u64,
    /// Median from the intended time, in microseconds.
    pub p50_us: u64,
    /// 99th percentile from the intended time, in microseconds.
    pub p99_us: u64,
    /// 99.9th percentile from the intended time, in microseconds.
    pub p99_9_us: u64,
    /// Longest, in microseconds.
    pub max_us: u64,
    /// TCP segments received in this second in the load generator's network namespace; on loopback both ends count.
    pub segments_in: u64,
    /// TCP segments sent.
    pub segments_out: u64,
    /// The histogram from the intended time, two digits, as in [`Distribution`](crate::distribution::Distribution); empty where nothing
    /// was answered.
    pub histogram: String,
}

struct Joined {
    point: Point,
    latency: Histogram<u64>,
}

/// Seconds that are complete, and those that some thread has not passed yet.
pub struct Series {
    warm_up_seconds: f64,
    /// The next second that each thread may still report.
    reached: Vec<u32>,
    pending: BTreeMap<u32, Joined>,
    points: Vec<Point>,
}

impl Series {
    /// No second yet.
    pub fn new(threads: u32, warm_up_seconds: f64) -> Self {
        Self { warm_up_seconds, reached: vec![0; threads as usize], pending: BTreeMap::new(), points: Vec::new() }
    }

    /// Takes a thread's record.
    pub fn take(&mut self, thread: u32, record: &Second) {
        let joined = self.pending.entry(record.second).or_insert_with(|| Joined {
            point: Point {
                second: record.second,
                stage: Some(0),
                warm_up: f64::from(record.second) < self.warm_up_seconds,
                connections: 0,
                scheduled: 0,
                sent: 0,
                answered: 0,
                envelopes: 0,
                failed: 0,
                p50_us: 0,
                p99_us: 0,
                p99_9_us: 0,
                max_us: 0,
                segments_in: 0,
                segments_out: 0,
                histogram: String::new(),
            },
            latency: Histogram::new_from(&Histogram::<u64>::new_from(&record.latency)),
        });
        let point = &mut joined.point;
        point.scheduled += u64::from(record.scheduled);
        point.sent += u64::from(record.sent);
        point.answered += u64::from(record.answered);
        point.envelopes += u64::from(record.envelopes);
        point.failed += u64::from(record.failed);
        for recorded in record.latency.iter_recorded() {
            joined.latency.saturating_record_n(recorded.value_iterated_to(), u64::from(recorded.count_at_value()));
        }
        self.reached[thread as usize] = record.second + 1;
    }

    /// The latest second that every thread has passed, once.
    pub fn complete(&mut self) -> Option<&Point> {
        let reached = self.reached.iter().copied().min().unwrap_or(0);
        let first = self.pending.first_entry().filter(|first| *first.key() < reached)?;
        let joined = first.remove();
        self.keep(joined)
    }

    /// All seconds, the last ones included.
    pub fn finish(mut self) -> Vec<Point> {
        while let Some((_, joined)) = self.pending.pop_first() {
            self.keep(joined);
        }
        self.points
    }

    fn keep(&mut self, Joined { mut point, latency }: Joined) -> Option<&Point> {
        point.p50_us = latency.value_at_quantile(0.5);
        point.p99_us = latency.value_at_quantile(0.99);
        point.p99_9_us = latency.value_at_quantile(0.999);
        point.max_us = latency.max();
        if !latency.is_empty() {
            point.histogram = distribution::encode(&latency);
        }
        if self.points.len() >= SERIES_SECONDS_MAX {
            self.points.pop();
        }
        self.points.push(point);
        self.points.last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(number: u32, answered: u32, latency_us: u64) -> Second {
        let mut second = *Second::new();
        (second.second, second.answered) = (number, answered);
        second.latency.saturating_record_n(latency_us, answered);
        second
    }

    #[test]
    fn a_second_is_complete_when_every_thread_has_passed_it() {
        let mut series = Series::new(2, 1.0);
        series.take(0, &second(0, 10, 100));
        assert_eq!(series.complete(), None, "the other thread may still report it");
        series.take(1, &second(0, 30, 1_000));
        let point = series.complete().unwrap().clone();
        assert_eq!((point.second, point.answered, point.warm_up), (0, 40, true));
        assert!((95..=105).contains(&point.p50_us) || (950..=1_050).contains(&point.p50_us));
        assert!((950..=1_050).contains(&point.p99_us));
        series.take(0, &second(1, 1, 1));
        let points = series.finish();
        assert_eq!(
            points.iter().map(|point| (point.second, point.warm_up)).collect::<Vec<_>>(),
            [(0, true), (1, false)]
        );
    }
}
