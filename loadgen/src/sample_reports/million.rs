//! A larger one: two stages with a ramp before each, a stall in the second, nothing random.

use hdrhistogram::Histogram;

use crate::audit::Findings;
use crate::distribution::{self, Distribution};
use crate::record::{Outcomes, Requests};
use crate::report::{Connections, CpuReport, Expected, HostReport, Report, ServerReport, StageReport, Steadiness};
use crate::series::Point;

/// The second of the stall, from the begin of the run.
const STALL: u32 = 150;

/// Shakes a second of the two stages.
const RATES: [u64; 2] = [30_000, 60_000];

/// First second of each stage's load; both last 60 s, 5 of them warm-up.
const BEGINS: [u32; 2] = [20, 100];
const SECONDS: u32 = 60;
const WARM_UP: u32 = 5;

/// A report of a good run.
pub(crate) fn report() -> Report {
    let seconds: Vec<Point> = (0..BEGINS[1] + SECONDS).map(point).collect();
    let stages: Vec<StageReport> = (0..2).map(|number| stage(number, &seconds)).collect();
    let mut requests = stages[0].requests;
    requests += stages[1].requests;
    let (latency_us, service_us, lateness_us) = distributions(&seconds, None);
    let small = super::report();
    Report {
        scenario: "phase-3".to_owned(),
        host: HostReport { kernel: "6.18.0".to_owned(), cores: 2, memory_bytes: 24 << 30 },
        expectations: vec![Expected { expectation: "duplicates==0".to_owned(), measured: "0".to_owned(), held: true }],
        rate_target_qps: Some(RATES[1]),
        duration_s: 110.0,
        warm_up_s: 10.0,
        threads: 54,
        tick_us: 10_000,
        connections: Connections {
            target: 1_000_000,
            established: 1_000_000,
            attempts: 1_000_000,
            establish_ms: 19_400,
            ..small.connections
        },
        rate_qps: requests.answered as f64 / 110.0,
        audit: Findings {
            envelopes: requests.by_outcome.envelope,
            amount_cents: requests.by_outcome.envelope * 520,
            ..Findings::default()
        },
        requests,
        latency_us,
        service_us,
        lateness_us,
        resident_bytes_max: 130_000_000,
        stages,
        seconds,
        ..small
    }
}

fn stage(number: u32, seconds: &[Point]) -> StageReport {
    let rate = RATES[number as usize];
    let measured = || seconds.iter().filter(|point| point.stage == Some(number) && !point.warm_up);
    let sum = |of: fn(&Point) -> u64| measured().map(of).sum::<u64>();
    let (answered, envelope, timed_out) = (sum(|p| p.answered), sum(|p| p.envelopes), sum(|p| p.failed));
    let sent = answered + timed_out;
    let (latency_us, service_us, lateness_us) = distributions(seconds, Some(number));
    StageReport {
        name: ["phase-2", "phase-3"][number as usize].to_owned(),
        trial: None,
        begun_s: f64::from(BEGINS[number as usize]),
        warm_up_s: f64::from(WARM_UP),
        duration_s: f64::from(SECONDS - WARM_UP),
        connections: 1_000_000,
        establish_ms: (number == 0).then_some(19_400),
        rate_from_qps: Some(rate),
        rate_target_qps: Some(rate),
        requests: Requests {
            scheduled: sent,
            sent,
            answered,
            timed_out,
            by_outcome: Outcomes { envelope, none: answered - envelope, ..Outcomes::default() },
            ..Requests::default()
        },
        rate_qps: answered as f64 / f64::from(SECONDS - WARM_UP),
        latency_us,
        service_us,
        lateness_us,
        steadiness: Steadiness {
            qps_deviation_max: Some(0.021),
            envelopes_per_s: 200.0,
            envelopes_per_s_lowest: Some(199.1),
            envelopes_per_s_highest: Some(200.7),
        },
        server: Some(ServerReport {
            cpu_cores: 0.62,
            cpu_us_per_request: 10.4,
            resident_bytes: 151_000_000,
            enters_per_request: 0.017,
            ..super::server()
        }),
        expectations: vec![
            Expected { expectation: "p99<20ms".to_owned(), measured: "9.3ms".to_owned(), held: true },
            Expected { expectation: "errors==0".to_owned(), measured: timed_out.to_string(), held: timed_out == 0 },
        ],
        cpu: CpuReport { cores: 0.55, us_per_request: 9.2, ..CpuReport::default() },
        ..super::stage("")
    }
}

fn point(second: u32) -> Point {
    let stage = (0..2u32).find(|stage| (BEGINS[*stage as usize]..BEGINS[*stage as usize] + SECONDS).contains(&second));
    let rate = stage.map_or(0, |stage| RATES[stage as usize]);
    let wave = u64::from(second * 7_919 % 101);
    let stalled = second == STALL;
    let latency = stage.map(|_| latency(second));
    let at = |quantile| latency.as_ref().map_or(0, |latency: &Histogram<u64>| latency.value_at_quantile(quantile));
    Point {
        second,
        stage,
        warm_up: stage.is_some_and(|stage| second < BEGINS[stage as usize] + WARM_UP),
        connections: (u64::from(second) * 52_000).min(1_000_000),
        scheduled: rate,
        sent: rate,
        answered: if stalled { rate * 98 / 100 } else { rate - rate.min(wave) + rate.min(50) },
        envelopes: if stage.is_some() { 190 + wave / 5 } else { 0 },
        failed: if stalled { 180 } else { 0 },
        gifts: 0,
        gifts_opened: 0,
        gifts_failed: 0,
        p50_us: at(0.5),
        p99_us: at(0.99),
        p99_9_us: at(0.999),
        max_us: at(1.0),
        segments_in: 2 * rate + 90 + wave,
        segments_out: 2 * rate + wave,
        histogram: latency.map(|latency| distribution::encode(&latency)).unwrap_or_default(),
    }
}

fn latency(second: u32) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 600_000_000, 2).unwrap();
    let factor = if second == STALL { 40 } else { 1 + u64::from(second * 31 % 7) / 3 };
    for step in 1..=2_000u64 {
        histogram.record(factor * (700 + 2_400_000 / (2_010 - step))).unwrap();
    }
    histogram
}

/// Latency, service and lateness of the measured seconds of one stage, or of all.
fn distributions(seconds: &[Point], stage: Option<u32>) -> (Distribution, Distribution, Distribution) {
    let mut histograms = [3, 3, 3].map(|digits| Histogram::<u64>::new_with_bounds(1, 600_000_000, digits).unwrap());
    for point in seconds.iter().filter(|point| !point.warm_up && (stage.is_none() || point.stage == stage)) {
        let Some(latency) = distribution::decode(&point.histogram) else { continue };
        for recorded in latency.iter_recorded() {
            let us = recorded.value_iterated_to();
            let lateness = 300 + us % 5_000;
            for (histogram, us) in histograms.iter_mut().zip([us + lateness, us, lateness]) {
                histogram.record_n(us, recorded.count_at_value()).unwrap();
            }
        }
    }
    let [latency, service, lateness] = histograms.each_ref().map(Distribution::from);
    (latency, service, lateness)
}
