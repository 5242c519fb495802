//! Reports for tests: small, complete, and right in themselves.

pub(crate) mod million;

use hdrhistogram::Histogram;

use crate::audit::Findings;
use crate::distribution::Distribution;
use crate::limits::HISTOGRAM_HIGHEST_US;
use crate::record::{Outcomes, Requests};
use crate::report::{
    Connections, CpuReport, HostReport, Report, RingReport, SCHEMA, ServerReport, StageReport, Steadiness,
};

/// A histogram of these values.
pub(crate) fn histogram(values_us: &[u64]) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, HISTOGRAM_HIGHEST_US, 3).expect("the bounds are sound");
    for us in values_us {
        histogram.saturating_record(*us);
    }
    histogram
}

/// The distribution of these values.
pub(crate) fn distribution(values_us: &[u64]) -> Distribution {
    Distribution::from(&histogram(values_us))
}

/// So many shakes, all answered with none.
pub(crate) fn answered(count: u64) -> Requests {
    let by_outcome = Outcomes { none: count, ..Outcomes::default() };
    Requests { scheduled: count, sent: count, answered: count, by_outcome, ..Requests::default() }
}

/// The daemon's side of a stage.
pub(crate) fn server() -> ServerReport {
    ServerReport {
        cpu_cores: 0.75,
        cpu_us_per_request: 12.5,
        resident_bytes: 96 << 20,
        enters_per_request: 0.1,
        shakes_by_set: vec![500, 500],
        envelopes_by_set: vec![10, 10],
        fairness: 1.0,
    }
}

/// A stage of ten seconds at 100 a second over 20 connections.
pub(crate) fn stage(name: &str) -> StageReport {
    let latencies: Vec<u64> = (1..=1_000).map(|n| n * 10).collect();
    StageReport {
        name: name.to_owned(),
        trial: None,
        begun_s: 2.0,
        warm_up_s: 1.0,
        duration_s: 10.0,
        connections: 20,
        establish_ms: Some(150),
        rate_from_qps: Some(100),
        rate_target_qps: Some(100),
        requests: answered(1_000),
        rate_qps: 100.0,
        latency_us: distribution(&latencies),
        service_us: distribution(&latencies),
        lateness_us: distribution(&vec![100; 1_000]),
        steadiness: Steadiness {
            qps_deviation_max: Some(0.01),
            envelopes_per_s: 0.0,
            envelopes_per_s_lowest: Some(0.0),
            envelopes_per_s_highest: Some(0.0),
        },
        cpu: CpuReport { user_s: 1.0, system_s: 4.0, cores: 0.5, ..CpuReport::default() },
        ring: RingReport { enters: 100, completions: 2_000, sends: 1_000, ..RingReport::default() },
        gifts: None,
        server: None,
        expectations: Vec::new(),
        invalid_reasons: Vec::new(),
    }
}

/// A valid run of one stage.
pub(crate) fn report() -> Report {
    let stage = stage("load");
    Report {
        schema: SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: vec!["hongbao-loadgen".to_owned(), "run".to_owned()],
        scenario: "run".to_owned(),
        host: HostReport::default(),
        started_unix_s: 1_700_000_000,
        begun_unix_us: 1_700_000_002_000_000,
        valid: true,
        invalid_reasons: Vec::new(),
        warnings: Vec::new(),
        passed: true,
        expectations: Vec::new(),
        loop_kind: "open".to_owned(),
        schedule: "uniform".to_owned(),
        rate_target_qps: Some(100),
        depth: None,
        duration_s: stage.duration_s,
        warm_up_s: stage.warm_up_s,
        threads: 1,
        tick_us: 1_000,
        connections: Connections {
            target: 20,
            established: 20,
            failed: 0,
            dropped: 0,
            reconnected: 0,
            rounds_told: 0,
            attempts: 20,
            attempts_failed: [].into(),
            dropped_by_reason: [].into(),
            establish_ms: 150,
        },
        requests: stage.requests,
        rate_qps: stage.rate_qps,
        latency_us: stage.latency_us.clone(),
        service_us: stage.service_us.clone(),
        lateness_us: stage.lateness_us.clone(),
        lateness_p99_us_max: 10_000,
        gifts: None,
        audit: Findings::default(),
        gift_audit: None,
        unknown_answers: 0,
        cpu: stage.cpu,
        resident_bytes_max: 64 << 20,
        ring: stage.ring,
        search: None,
        stages: vec![stage],
        seconds: Vec::new(),
    }
}
