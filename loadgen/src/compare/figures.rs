//! Which figures are compared, and where they stand in a report.

use crate::distribution::Distribution;
use crate::gifts::report::GiftReport;
use crate::human;
use crate::record::Requests;
use crate::report::{Report, ServerReport, StageReport};

/// The part of a report that is compared: a stage, or the whole.
pub(super) struct Measured<'a> {
    rate_qps: f64,
    requests: &'a Requests,
    latency: &'a Distribution,
    service: &'a Distribution,
    own_us_per_request: f64,
    own_resident_bytes: Option<u64>,
    gifts: Option<&'a GiftReport>,
    server: Option<&'a ServerReport>,
}

impl<'a> Measured<'a> {
    pub(super) fn of_run(report: &'a Report) -> Self {
        Self {
            rate_qps: report.rate_qps,
            requests: &report.requests,
            latency: &report.latency_us,
            service: &report.service_us,
            own_us_per_request: report.cpu.us_per_request,
            own_resident_bytes: Some(report.resident_bytes_max),
            gifts: report.gifts.as_ref(),
            server: None,
        }
    }

    pub(super) fn of_stage(stage: &'a StageReport) -> Self {
        Self {
            rate_qps: stage.rate_qps,
            requests: &stage.requests,
            latency: &stage.latency_us,
            service: &stage.service_us,
            own_us_per_request: stage.cpu.us_per_request,
            own_resident_bytes: None,
            gifts: stage.gifts.as_ref(),
            server: stage.server.as_ref(),
        }
    }

    fn has_load(&self) -> bool {
        self.requests.scheduled > 0
    }

    fn errors(&self) -> f64 {
        let requests = self.requests;
        let not_sent = requests.not_sent.disconnected + requests.not_sent.overdue;
        (requests.timed_out + requests.lost + not_sent) as f64
    }
}

/// One figure: its name, whether more of it is better, whether it decides, how to read it and how to write it.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) more_is_better: bool,
    pub(super) decides: bool,
    pub(super) of: fn(&Measured<'_>) -> Option<f64>,
    pub(super) text: fn(f64) -> String,
}

const fn time(name: &'static str, of: fn(&Measured<'_>) -> Option<f64>) -> Figure {
    Figure { name, more_is_better: false, decides: false, of, text: human::time }
}

fn measured(of: &Distribution, us: u64) -> Option<f64> {
    (of.count > 0).then_some(us as f64)
}

pub(super) static FIGURES: [Figure; 24] = [
    Figure {
        name: "answers a second",
        more_is_better: true,
        decides: true,
        of: |of| of.has_load().then_some(of.rate_qps),
        text: |rate| human::exact(rate.round() as u64),
    },
    Figure {
        name: "errors",
        more_is_better: false,
        decides: true,
        of: |of| of.has_load().then(|| of.errors()),
        text: |count| human::exact(count as u64),
    },
    time("latency p50", |of| measured(of.latency, of.latency.p50)),
    time("latency p90", |of| measured(of.latency, of.latency.p90)),
    Figure { decides: true, ..time("latency p99", |of| measured(of.latency, of.latency.p99)) },
    time("latency p99.9", |of| measured(of.latency, of.latency.p99_9)),
    time("latency max", |of| measured(of.latency, of.latency.max)),
    time("service p50", |of| measured(of.service, of.service.p50)),
    time("service p90", |of| measured(of.service, of.service.p90)),
    time("service p99", |of| measured(of.service, of.service.p99)),
    time("service p99.9", |of| measured(of.service, of.service.p99_9)),
    time("service max", |of| measured(of.service, of.service.max)),
    Figure {
        name: "gifts a second",
        more_is_better: true,
        decides: true,
        of: |of| of.gifts.map(|gifts| gifts.rate),
        text: |rate| human::exact(rate.round() as u64),
    },
    Figure {
        name: "errors of gifts",
        more_is_better: false,
        decides: true,
        of: |of| of.gifts.map(|gifts| gifts.requests.errors() as f64),
        text: |count| human::exact(count as u64),
    },
    time("gift send p99", |of| of.gifts.and_then(|gifts| measured(&gifts.send_us, gifts.send_us.p99))),
    time("gift notice p99", |of| of.gifts.and_then(|gifts| measured(&gifts.notice_us, gifts.notice_us.p99))),
    Figure {
        decides: true,
        ..time("gift open p99", |of| of.gifts.and_then(|gifts| measured(&gifts.open_us, gifts.open_us.p99)))
    },
    time("own CPU a shake", |of| of.has_load().then_some(of.own_us_per_request)),
    Figure { text: human::bytes, ..time("own resident", |of| of.own_resident_bytes.map(|bytes| bytes as f64)) },
    time("server CPU a shake", |of| of.server.map(|server| server.cpu_us_per_request)),
    Figure { text: human::plain, ..time("server cores", |of| of.server.map(|server| server.cpu_cores)) },
    Figure { text: human::bytes, ..time("server resident", |of| of.server.map(|server| server.resident_bytes as f64)) },
    Figure {
        text: human::plain,
        ..time("server enters a shake", |of| of.server.map(|server| server.enters_per_request))
    },
    Figure {
        more_is_better: true,
        text: human::plain,
        ..time("server fairness", |of| of.server.map(|server| server.fairness))
    },
];
