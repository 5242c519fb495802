//! What the threads hand back, added up, judged, and put into a report.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::audit::Findings;
use crate::book::Oddities;
use crate::cpu::Cpu;
use crate::distribution::Distribution;
use crate::driver::ThreadReport;
use crate::exit::Failure;
use crate::health;
use crate::plan::{Arrivals, Load, Plan};
use crate::record::{self, Requests};
use crate::report::{Connections, CpuReport, HostReport, Report, RingReport, SCHEMA, StageReport, Steadiness};
use crate::series::Point;
use crate::sessions::Tally;

/// When things happened.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Begin of the load, in microseconds since 1970 UTC; 0 where there was none.
    pub begun_unix_us: u64,
    /// How long the ramp took, in milliseconds.
    pub establish_ms: u64,
    /// How long was measured, the warm-up left out.
    pub measured: Duration,
    /// Whether a signal ended the run.
    pub interrupted: bool,
}

/// All threads together.
pub struct Total {
    requests: Requests,
    answered_in_load: u64,
    latency: Histogram<u64>,
    service: Histogram<u64>,
    lateness: Histogram<u64>,
    tally: Tally,
    established: u64,
    /// What did not fit.
    pub oddities: Oddities,
    cpu: Cpu,
    busiest_thread_share: f64,
    ring: RingReport,
}

impl Total {
    /// Adds up. Fails where the shakes do not balance.
    pub fn of(threads: &[ThreadReport]) -> Result<Self, Failure> {
        let empty = || Histogram::new_from(&Histogram::<u64>::new_from(&record::histogram()));
        let mut total = Self {
            requests: Requests::default(),
            answered_in_load: 0,
            latency: empty(),
            service: empty(),
            lateness: empty(),
            tally: Tally::default(),
            established: 0,
            oddities: Oddities::default(),
            cpu: Cpu::default(),
            busiest_thread_share: 0.0,
            ring: RingReport::default(),
        };
        for thread in threads {
            total.requests += thread.requests;
            total.answered_in_load += thread.answered_in_load;
            add(&mut total.latency, &thread.latencies.latency);
            add(&mut total.service, &thread.latencies.service);
            add(&mut total.lateness, &thread.latencies.lateness);
            total.tally.add(&thread.tally);
            total.established += u64::from(thread.established);
            total.oddities.unknown_answers += thread.oddities.unknown_answers;
            total.oddities.unaudited += thread.oddities.unaudited;
            total.cpu.user += thread.cpu.user;
            total.cpu.system += thread.cpu.system;
            total.cpu.waited += thread.cpu.waited;
            total.cpu.wall = total.cpu.wall.max(thread.cpu.wall);
            total.busiest_thread_share = total.busiest_thread_share.max(thread.cpu.share());
            total.ring.add(&thread.ring);
        }
        if total.requests.balance() {
            Ok(total)
        } else {
            Err(Failure::error(format!(
                "the shakes do not add up, which is a defect of this program: {:?}",
                total.requests
            )))
        }
    }

    /// The report of a run with this plan.
    pub fn report(&self, plan: &Plan, timing: &Timing, audit: Findings, points: Vec<Point>) -> Report {
        let facts = self.facts(plan, timing, &audit);
        let invalid_reasons = health::reasons(&facts, &plan.bounds);
        let (schedule, rate_target_qps, depth) = describe(&plan.load);
        Report {
            schema: SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: std::env::args().collect(),
            scenario: "run".to_owned(),
            host: HostReport::default(),
            started_unix_s: timing.begun_unix_us / 1_000_000,
            begun_unix_us: timing.begun_unix_us,
            valid: invalid_reasons.is_empty(),
            invalid_reasons,
            warnings: health::warnings(&facts),
            passed: true,
            expectations: Vec::new(),
            loop_kind: if facts.closed_loop { "closed" } else { "open" }.to_owned(),
            schedule: schedule.to_owned(),
            rate_target_qps,
            depth,
            duration_s: timing.measured.as_secs_f64(),
            warm_up_s: plan.warm_up.as_secs_f64(),
            threads: plan.threads,
            tick_us: plan.tick.as_micros() as u64,
            connections: self.connections(plan, timing),
            rate_qps: self.rate_qps(facts.closed_loop, timing.measured),
            requests: self.requests,
            latency_us: Distribution::from(&self.latency),
            service_us: Distribution::from(&self.service),
            lateness_us: Distribution::from(&self.lateness),
            lateness_p99_us_max: plan.bounds.lateness_p99_us_max,
            audit,
            unknown_answers: self.oddities.unknown_answers,
            cpu: self.cpu_report(&points),
            resident_bytes_max: 0,
            ring: self.ring,
            stages: vec![StageReport {
                name: "run".to_owned(),
                begun_s: 0.0,
                warm_up_s: plan.warm_up.as_secs_f64(),
                duration_s: timing.measured.as_secs_f64(),
                connections: self.established,
                establish_ms: Some(timing.establish_ms),
                rate_from_qps: rate_target_qps,
                rate_target_qps,
                requests: self.requests,
                rate_qps: self.rate_qps(facts.closed_loop, timing.measured),
                latency_us: Distribution::from(&self.latency),
                service_us: Distribution::from(&self.service),
                lateness_us: Distribution::from(&self.lateness),
                steadiness: Steadiness::default(),
                cpu: self.cpu_report(&points),
                ring: self.ring,
                server: None,
                expectations: Vec::new(),
                invalid_reasons: Vec::new(),
            }],
            seconds: points,
        }
    }

    fn facts(&self, plan: &Plan, timing: &Timing, audit: &Findings) -> health::Facts {
        let not_sent = &self.requests.not_sent;
        health::Facts {
            interrupted: timing.interrupted,
            closed_loop: matches!(plan.load, Load::Closed { .. }),
            connections_target: u64::from(plan.connections),
            connections_established: self.established,
            scheduled: self.requests.scheduled,
            not_sent: not_sent.disconnected + not_sent.overdue,
            period_ms: plan.period_ms(),
            shake_interval_ms: self.tally.shake_interval_ms,
            lateness_p99_us: self.lateness.value_at_quantile(0.99),
            busiest_thread_share: self.busiest_thread_share,
            unaudited: audit.unaudited,
            unknown_answers: self.oddities.unknown_answers,
        }
    }

    fn connections(&self, plan: &Plan, timing: &Timing) -> Connections {
        Connections {
            target: u64::from(plan.connections),
            established: self.established,
            failed: u64::from(self.tally.given_up),
            dropped: self.tally.dropped.total(),
            reconnected: self.tally.reconnected,
            attempts: self.tally.attempts,
            attempts_failed: self.tally.attempts_failed.by_name(),
            dropped_by_reason: self.tally.dropped.by_name(),
            establish_ms: timing.establish_ms,
        }
    }

    /// Answers a second. In the closed loop what is answered after the end is left out: there the load would have gone on.
    fn rate_qps(&self, closed_loop: bool, measured: Duration) -> f64 {
        let answered = if closed_loop { self.answered_in_load } else { self.requests.answered };
        if measured.is_zero() { 0.0 } else { (answered as f64 / measured.as_secs_f64() * 10.0).round() / 10.0 }
    }

    fn cpu_report(&self, points: &[Point]) -> CpuReport {
        let sent: u64 = points.iter().map(|point| point.sent).sum();
        let used = (self.cpu.user + self.cpu.system).as_secs_f64();
        CpuReport {
            user_s: self.cpu.user.as_secs_f64(),
            system_s: self.cpu.system.as_secs_f64(),
            waited_s: self.cpu.waited.as_secs_f64(),
            cores: self.cpu.share(),
            busiest_thread_share: self.busiest_thread_share,
            us_per_request: if sent == 0 { 0.0 } else { used * 1e6 / sent as f64 },
        }
    }
}

const fn describe(load: &Load) -> (&'static str, Option<u64>, Option<u32>) {
    match *load {
        Load::Open { rate, arrivals } => {
            let name = match arrivals {
                Arrivals::Wallclock => "wallclock",
                Arrivals::Uniform => "uniform",
                Arrivals::Poisson { .. } => "poisson",
            };
            (name, Some(rate), None)
        }
        Load::Closed { depth } => ("closed", None, Some(depth)),
    }
}

/// Counters of 32 bits into those of 64.
fn add(total: &mut Histogram<u64>, part: &Histogram<u32>) {
    for recorded in part.iter_recorded() {
        total.saturating_record_n(recorded.value_iterated_to(), u64::from(recorded.count_at_value()));
    }
}
