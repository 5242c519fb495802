//! The seconds of several machines, joined by the wall clock: each begins with a second of it.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::join::Part;
use crate::distribution;
use crate::limits::SERIES_SECONDS_MAX;
use crate::series::Point;

struct Joined {
    point: Point,
    latency: Option<Histogram<u64>>,
}

/// Second 0 of the result is `started_unix_s`, the earliest of all.
pub(super) fn join(parts: &[Part], started_unix_s: u64) -> Result<Vec<Point>, String> {
    let mut seconds: BTreeMap<u64, Joined> = BTreeMap::new();
    for Part { name, report } in parts {
        let shift = report.started_unix_s - started_unix_s;
        for point in &report.seconds {
            let second = shift + u64::from(point.second);
            if second >= SERIES_SECONDS_MAX as u64 {
                return Err(format!("{name} was started {shift} s after the first: they are not of one run"));
            }
            let latency = decoded(point).map_err(|why| format!("{name}, second {}: {why}", point.second))?;
            match seconds.get_mut(&second) {
                None => {
                    let point = Point { second: second as u32, ..point.clone() };
                    seconds.insert(second, Joined { point, latency });
                }
                Some(joined) => joined.add(point, latency).map_err(|why| format!("{name}: {why}"))?,
            }
        }
    }
    Ok(seconds.into_values().map(Joined::point).collect())
}

fn decoded(point: &Point) -> Result<Option<Histogram<u64>>, &'static str> {
    if point.histogram.is_empty() {
        return Ok(None);
    }
    distribution::decode(&point.histogram).map(Some).ok_or("its histogram is damaged")
}

impl Joined {
    fn add(&mut self, other: &Point, latency: Option<Histogram<u64>>) -> Result<(), String> {
        let point = &mut self.point;
        // A second in which one machine is in another stage is no whole second of either.
        if point.stage != other.stage {
            point.stage = None;
        }
        point.warm_up |= other.warm_up;
        point.connections += other.connections;
        point.scheduled += other.scheduled;
        point.sent += other.sent;
        point.answered += other.answered;
        point.envelopes += other.envelopes;
        point.failed += other.failed;
        point.gifts += other.gifts;
        point.gifts_opened += other.gifts_opened;
        point.gifts_failed += other.gifts_failed;
        point.segments_in += other.segments_in;
        point.segments_out += other.segments_out;
        match (&mut self.latency, latency) {
            (Some(sum), Some(latency)) => {
                sum.add(&latency).map_err(|error| format!("histograms do not fit together: {error:?}"))
            }
            (None, Some(latency)) => {
                self.latency = Some(latency);
                Ok(())
            }
            (_, None) => Ok(()),
        }
    }

    fn point(self) -> Point {
        let Self { mut point, latency } = self;
        if let Some(latency) = latency {
            point.p50_us = latency.value_at_quantile(0.5);
            point.p99_us = latency.value_at_quantile(0.99);
            point.p99_9_us = latency.value_at_quantile(0.999);
            point.max_us = latency.max();
            point.histogram = distribution::encode(&latency);
        }
        point
    }
}
