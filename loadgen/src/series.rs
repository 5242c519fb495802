//! The threads' records of each second, joined over the threads.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::distribution;
use crate::limits::SERIES_SECONDS_MAX;
use crate::record::Second;

/// One second of the whole run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// Gifts granted.
    #[serde(default)]
    pub gifts: u64,
    /// Shares of gifts opened.
    #[serde(default)]
    pub gifts_opened: u64,
    /// Sends and opens of gifts that timed out, were lost or refused.
    #[serde(default)]
    pub gifts_failed: u64,
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

/// The seconds of the load of one stage, counted as points are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Place of the stage in the report.
    pub stage: u32,
    /// The first second of its load.
    pub first: u32,
    /// The first that is measured.
    pub measured: u32,
    /// The first after it.
    pub end: u32,
}

struct Joined {
    point: Point,
    latency: Histogram<u64>,
}

/// Seconds that are complete, and those that some thread has not passed yet.
pub struct Series {
    spans: Vec<Span>,
    /// The next second that each thread may still report.
    reached: Vec<u32>,
    pending: BTreeMap<u32, Joined>,
    points: Vec<Point>,
}

impl Series {
    /// No second yet.
    pub fn new(threads: u32) -> Self {
        Self { spans: Vec::new(), reached: vec![0; threads as usize], pending: BTreeMap::new(), points: Vec::new() }
    }

    /// The load of a stage is going to be in these seconds. They come in order.
    pub fn expect(&mut self, span: Span) {
        self.spans.push(span);
    }

    /// The load of the last stage ends before its time.
    pub fn cut(&mut self, end: u32) {
        if let Some(span) = self.spans.last_mut() {
            span.end = span.end.min(end);
        }
    }

    /// Takes a thread's record.
    pub fn take(&mut self, thread: u32, record: &Second) {
        let joined = self.pending.entry(record.second).or_insert_with(|| Joined {
            point: Point { second: record.second, ..Point::default() },
            latency: Histogram::new_from(&Histogram::<u64>::new_from(&record.latency)),
        });
        let point = &mut joined.point;
        point.scheduled += u64::from(record.scheduled);
        point.sent += u64::from(record.sent);
        point.answered += u64::from(record.answered);
        point.envelopes += u64::from(record.envelopes);
        point.failed += u64::from(record.failed);
        point.gifts += u64::from(record.gifts);
        point.gifts_opened += u64::from(record.gifts_opened);
        point.gifts_failed += u64::from(record.gifts_failed);
        for recorded in record.latency.iter_recorded() {
            joined.latency.saturating_record_n(recorded.value_iterated_to(), u64::from(recorded.count_at_value()));
        }
        self.reached[thread as usize] = record.second + 1;
    }

    /// The latest second that every thread has passed, once; `more` adds what the threads do not know.
    pub fn complete(&mut self, more: impl FnOnce(&mut Point)) -> Option<&Point> {
        let reached = self.reached.iter().copied().min().unwrap_or(0);
        let first = self.pending.first_entry().filter(|first| *first.key() < reached)?;
        let joined = first.remove();
        self.keep(joined, more)
    }

    /// Seconds that are complete.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// All seconds, the last ones included.
    pub fn finish(&mut self) -> Vec<Point> {
        while let Some((_, joined)) = self.pending.pop_first() {
            self.keep(joined, |_| {});
        }
        std::mem::take(&mut self.points)
    }

    fn keep(&mut self, Joined { mut point, latency }: Joined, more: impl FnOnce(&mut Point)) -> Option<&Point> {
        let span = self.spans.iter().rev().find(|span| (span.first..span.end).contains(&point.second));
        point.stage = span.map(|span| span.stage);
        point.warm_up = span.is_some_and(|span| point.second < span.measured);
        if !latency.is_empty() {
            point.p50_us = latency.value_at_quantile(0.5);
            point.p99_us = latency.value_at_quantile(0.99);
            point.p99_9_us = latency.value_at_quantile(0.999);
            point.max_us = latency.max();
            point.histogram = distribution::encode(&latency);
        }
        more(&mut point);
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
        let mut series = Series::new(2);
        series.expect(Span { stage: 0, first: 0, measured: 1, end: 2 });
        series.take(0, &second(0, 10, 100));
        assert_eq!(series.complete(|_| {}), None, "the other thread may still report it");
        series.take(1, &second(0, 30, 1_000));
        let point = series.complete(|point| point.connections = 7).unwrap().clone();
        assert_eq!((point.second, point.answered, point.warm_up, point.connections), (0, 40, true, 7));
        assert!((95..=105).contains(&point.p50_us) || (950..=1_050).contains(&point.p50_us));
        assert!((950..=1_050).contains(&point.p99_us));
        series.take(0, &second(1, 1, 1));
        series.take(0, &second(2, 1, 1));
        let points = series.finish();
        assert_eq!(
            points.iter().map(|point| (point.second, point.stage, point.warm_up)).collect::<Vec<_>>(),
            [(0, Some(0), true), (1, Some(0), false), (2, None, false)]
        );
    }
}
