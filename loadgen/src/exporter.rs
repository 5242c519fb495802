//! The load generator's own metrics for Prometheus, while it runs. The main thread tells them once a second; the threads that make the
//! load know nothing of it.

mod catalogue;
mod endpoint;

use std::io;
use std::net::{SocketAddr, TcpListener};

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::exit::Failure;
use crate::host::Host;
use crate::lap::JoinedGifts;
use crate::record::Requests;
use crate::series::Point;
use catalogue::{Kind, Metric};
use endpoint::Endpoint;

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// What is being done now, as far as a second's figures do not tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Stages that have begun.
    pub stage: u64,
    /// Shakes a second asked for now; 0 where there is no load, and in the closed loop.
    pub rate_qps: u64,
    /// Connections asked for.
    pub connections_target: u64,
    /// Connections logged in.
    pub connections: u64,
    /// Connections given up.
    pub given_up: u64,
}

/// Sums of all seconds so far.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    scheduled: u64,
    sent: u64,
    answered: u64,
    envelopes: u64,
    failed: u64,
    gifts: u64,
    gifts_opened: u64,
    gifts_failed: u64,
    segments_in: u64,
    segments_out: u64,
}

impl Sums {
    fn add(&mut self, point: &Point) {
        self.scheduled += point.scheduled;
        self.sent += point.sent;
        self.answered += point.answered;
        self.envelopes += point.envelopes;
        self.failed += point.failed;
        self.gifts += point.gifts;
        self.gifts_opened += point.gifts_opened;
        self.gifts_failed += point.gifts_failed;
        self.segments_in += point.segments_in;
        self.segments_out += point.segments_out;
    }
}

/// See the module's text. Its endpoint ends with it.
pub struct Exporter {
    recorder: PrometheusRecorder,
    endpoint: Endpoint,
    sums: Sums,
    of_stages: Requests,
}

impl Exporter {
    /// Listens at this address, and answers from a thread of its own.
    pub fn start(address: SocketAddr) -> Result<Self, Failure> {
        let failed =
            |error: io::Error| Failure::error(format!("listening for scrapes at --metrics-listen {address}: {error}"));
        let listener = TcpListener::bind(address).map_err(failed)?;
        let recorder = PrometheusBuilder::new().build_recorder();
        for metric in catalogue::ALL {
            match metric.kind {
                Kind::Counter => recorder.describe_counter(metric.name.into(), None, metric.help.into()),
                Kind::Gauge => recorder.describe_gauge(metric.name.into(), None, metric.help.into()),
            }
        }
        let endpoint = Endpoint::start(listener, recorder.handle()).map_err(failed)?;
        let exporter = Self { recorder, endpoint, sums: Sums::default(), of_stages: Requests::default() };
        exporter.publish(&Point::default(), Live::default());
        exporter.publish_stages(0);
        exporter.publish_gifts(0, 0);
        Ok(exporter)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// A second is complete.
    pub fn second(&mut self, point: &Point, live: Live) {
        self.sums.add(point);
        self.publish(point, live);
    }

    /// A stage's load is over: its shakes, warm-up left out, and the 99th percentile of its lateness.
    pub fn stage(&mut self, requests: &Requests, lateness_p99_us: u64) {
        self.of_stages += *requests;
        self.publish_stages(lateness_p99_us);
    }

    /// The same stage's gifts.
    pub fn stage_of_gifts(&self, gifts: &JoinedGifts) {
        self.publish_gifts(gifts.send.value_at_quantile(0.99), gifts.open.value_at_quantile(0.99));
    }

    fn publish_gifts(&self, send_p99_us: u64, open_p99_us: u64) {
        for (of, us) in [("send", send_p99_us), ("open", open_p99_us)] {
            self.gauge(&catalogue::STAGE_GIFTS, &[of], us as f64 / 1e6);
        }
    }

    fn publish(&self, point: &Point, live: Live) {
        let sums = &self.sums;
        self.gauge(&catalogue::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
        self.gauge(&catalogue::STAGE, &[], live.stage as f64);
        self.gauge(&catalogue::RATE_TARGET, &[], live.rate_qps as f64);
        self.gauge(&catalogue::CONNECTIONS_TARGET, &[], live.connections_target as f64);
        self.gauge(&catalogue::CONNECTIONS, &[], live.connections as f64);
        self.gauge(&catalogue::GIVEN_UP, &[], live.given_up as f64);
        self.counter(&catalogue::SCHEDULED, &[], sums.scheduled);
        self.counter(&catalogue::SENT, &[], sums.sent);
        self.counter(&catalogue::ANSWERED, &[], sums.answered);
        self.counter(&catalogue::ENVELOPES, &[], sums.envelopes);
        self.counter(&catalogue::FAILED, &[], sums.failed);
        self.counter(&catalogue::GIFTS, &[], sums.gifts);
        self.counter(&catalogue::GIFTS_OPENED, &[], sums.gifts_opened);
        self.counter(&catalogue::GIFTS_FAILED, &[], sums.gifts_failed);
        let percentiles = [("50", point.p50_us), ("99", point.p99_us), ("99.9", point.p99_9_us), ("100", point.max_us)];
        for (percentile, us) in percentiles {
            self.gauge(&catalogue::LATENCY, &[percentile], us as f64 / 1e6);
        }
        self.counter(&catalogue::SEGMENTS, &["in"], sums.segments_in);
        self.counter(&catalogue::SEGMENTS, &["out"], sums.segments_out);
        self.gauge(&catalogue::PROCESS_CPU, &[], cpu_seconds());
        self.gauge(&catalogue::PROCESS_RESIDENT_MAX, &[], Host::resident_bytes_max() as f64);
    }

    fn publish_stages(&self, lateness_p99_us: u64) {
        let (requests, outcomes) = (&self.of_stages, &self.of_stages.by_outcome);
        let by_outcome = [
            ("envelope", outcomes.envelope),
            ("none", outcomes.none),
            ("user_limit", outcomes.user_limit),
            ("sponsor_limit", outcomes.sponsor_limit),
            ("overloaded", outcomes.overloaded),
        ];
        for (outcome, count) in by_outcome {
            self.counter(&catalogue::STAGE_ANSWERS, &[outcome], count);
        }
        let by_reason = [
            ("timed_out", requests.timed_out),
            ("lost", requests.lost),
            ("disconnected", requests.not_sent.disconnected),
            ("held_back", requests.not_sent.held_back),
            ("overdue", requests.not_sent.overdue),
        ];
        for (reason, count) in by_reason {
            self.counter(&catalogue::STAGE_UNANSWERED, &[reason], count);
        }
        self.gauge(&catalogue::STAGE_LATENESS, &[], lateness_p99_us as f64 / 1e6);
    }

    fn counter(&self, metric: &'static Metric, labels: &[&'static str], value: u64) {
        self.recorder.register_counter(&key(metric, labels), &METADATA).absolute(value);
    }

    fn gauge(&self, metric: &'static Metric, labels: &[&'static str], value: f64) {
        self.recorder.register_gauge(&key(metric, labels), &METADATA).set(value);
    }
}

fn key(metric: &'static Metric, values: &[&'static str]) -> Key {
    assert_eq!(metric.labels.len(), values.len(), "{} has other labels", metric.name);
    let labels: Vec<Label> = metric.labels.iter().zip(values).map(|(name, value)| Label::new(*name, *value)).collect();
    Key::from_parts(metric.name, labels)
}

fn cpu_seconds() -> f64 {
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| seconds(usage.user_time()) + seconds(usage.system_time()))
}

#[cfg(test)]
mod tests;
