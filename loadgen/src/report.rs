//! The report: one JSON object, and a table for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hdrhistogram::Histogram;
use hongbao_uring::NetworkCounters;
use serde::Serialize;

use crate::audit::Findings;
use crate::record::Requests;
use crate::series::Point;

/// Bumped when a field changes its meaning or goes.
pub const SCHEMA: &str = "hongbao-loadgen/run/1";

/// Everything a run found. Times are in the unit that their name ends with.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Format of this object.
    pub schema: &'static str,
    /// Version of the load generator.
    pub version: &'static str,
    /// The command line.
    pub command: Vec<String>,
    /// When the load began, in microseconds since 1970 UTC.
    pub begun_unix_us: u64,
    /// Whether the figures may be believed.
    pub valid: bool,
    /// Why not.
    pub invalid_reasons: Vec<String>,
    /// What to know all the same.
    pub warnings: Vec<String>,
    /// `open`: shakes left at intended times. `closed`: connections waited for answers; latency then hides slowness.
    #[serde(rename = "loop")]
    pub loop_kind: &'static str,
    /// `wallclock`, `uniform`, `poisson` or `closed`.
    pub schedule: &'static str,
    /// Rate asked for; none in the closed loop.
    pub rate_target_qps: Option<u64>,
    /// Shakes under way at once, a connection; closed loop only.
    pub depth: Option<u32>,
    /// Seconds measured, warm-up left out.
    pub duration_s: f64,
    /// Seconds of warm-up.
    pub warm_up_s: f64,
    /// Threads, each with a ring.
    pub threads: u32,
    /// Between two turns of a thread: received answers wait up to this long before they are seen.
    pub tick_us: u64,
    /// The connections.
    pub connections: Connections,
    /// The shakes.
    pub requests: Requests,
    /// Answers a second.
    pub rate_qps: f64,
    /// From the intended time to the answer. What timed out or was lost counts with its age when it was given up.
    pub latency_us: Quantiles,
    /// From the send to the answer.
    pub service_us: Quantiles,
    /// From the intended time to the send: the load generator's own.
    pub lateness_us: Quantiles,
    /// Bound of the 99th percentile of `lateness_us`.
    pub lateness_p99_us_max: u64,
    /// The money.
    pub audit: Findings,
    /// Answers that fitted no shake of their connection.
    pub unknown_answers: u64,
    /// What the load generator itself used.
    pub cpu: CpuReport,
    /// What its rings did.
    pub ring: RingReport,
    /// Second by second, warm-up included.
    pub seconds: Vec<Point>,
}

/// The connections of a run.
#[derive(Debug, Serialize)]
pub struct Connections {
    /// Asked for.
    pub target: u64,
    /// Logged in when the load began.
    pub established: u64,
    /// Given up: every attempt failed.
    pub failed: u64,
    /// Broken after the login.
    pub dropped: u64,
    /// Made again after they broke.
    pub reconnected: u64,
    /// Connects begun.
    pub attempts: u64,
    /// Attempts that failed, by reason.
    pub attempts_failed: BTreeMap<&'static str, u64>,
    /// Connections that broke, by reason.
    pub dropped_by_reason: BTreeMap<&'static str, u64>,
    /// Time until the last one was logged in or given up, in milliseconds.
    pub establish_ms: u64,
}

/// CPU of all threads over the load, warm-up included.
#[derive(Debug, Serialize)]
pub struct CpuReport {
    /// Seconds in user space.
    pub user_s: f64,
    /// Seconds in the kernel.
    pub system_s: f64,
    /// Seconds in which threads were ready to run and had to wait for a core.
    pub waited_s: f64,
    /// Cores used on average.
    pub cores: f64,
    /// Share of a core that the busiest thread used.
    pub busiest_thread_share: f64,
    /// Microseconds for each shake sent.
    pub us_per_request: f64,
}

/// Rings of all threads over the load, warm-up included.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct RingReport {
    /// Calls of `io_uring_enter`.
    pub enters: u64,
    /// Completions reaped.
    pub completions: u64,
    /// Sends submitted.
    pub sends: u64,
    /// Sends not finished within the enter.
    pub sends_deferred: u64,
    /// Receives that found no buffer.
    pub buffers_exhausted: u64,
    /// Overflows of the completion queue.
    pub completion_overflows: u64,
}

impl RingReport {
    /// Adds a thread's ring.
    pub fn add(&mut self, ring: &NetworkCounters) {
        self.enters += ring.enters;
        self.completions += ring.completions;
        self.sends += ring.sends;
        self.sends_deferred += ring.sends_deferred;
        self.buffers_exhausted += ring.buffers_exhausted;
        self.completion_overflows += ring.completion_overflows;
    }
}

/// A distribution of microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// How many.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Smallest.
    pub min: u64,
    /// Median.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p99_9: u64,
    /// Largest.
    pub max: u64,
}

impl From<&Histogram<u64>> for Quantiles {
    fn from(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        let mean = if histogram.is_empty() { 0.0 } else { (histogram.mean() * 10.0).round() / 10.0 };
        Self {
            count: histogram.len(),
            mean,
            min: histogram.min(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: histogram.max(),
        }
    }
}

impl Report {
    /// The table for people, several lines.
    pub fn table(&self) -> String {
        let mut table = String::new();
        // Writing to a string does not fail.
        let _ = self.write_table(&mut table);
        table
    }

    fn write_table(&self, to: &mut String) -> std::fmt::Result {
        let (connections, requests) = (&self.connections, &self.requests);
        let asked = self.rate_target_qps.map_or_else(
            || format!("closed loop, depth {}", self.depth.unwrap_or_default()),
            |rate| format!("open loop, {} at {rate}/s", self.schedule),
        );
        writeln!(to, "load         {asked}, {:.1} s after {:.1} s of warm-up", self.duration_s, self.warm_up_s)?;
        writeln!(
            to,
            "connections  {} of {} established in {} ms, {} failed, {} dropped{}",
            connections.established,
            connections.target,
            connections.establish_ms,
            connections.failed,
            connections.dropped,
            list(connections.attempts_failed.iter().chain(&connections.dropped_by_reason)),
        )?;
        writeln!(
            to,
            "requests     {} scheduled, {} sent, {} answered ({:.1}/s), {} timed out, {} lost",
            requests.scheduled, requests.sent, requests.answered, self.rate_qps, requests.timed_out, requests.lost
        )?;
        let outcomes = &requests.by_outcome;
        writeln!(
            to,
            "outcomes     {} envelope, {} none, {} user limit, {} sponsor limit, {} overloaded",
            outcomes.envelope, outcomes.none, outcomes.user_limit, outcomes.sponsor_limit, outcomes.overloaded
        )?;
        writeln!(to, "{:<12} {:>10} {:>10} {:>10} {:>10} {:>10}", "ms", "p50", "p90", "p99", "p99.9", "max")?;
        for (name, of) in [("latency", self.latency_us), ("service", self.service_us), ("lateness", self.lateness_us)] {
            write!(to, "{name:<12}")?;
            for us in [of.p50, of.p90, of.p99, of.p99_9, of.max] {
                write!(to, " {:>10.3}", us as f64 / 1_000.0)?;
            }
            writeln!(to)?;
        }
        let audit = &self.audit;
        writeln!(
            to,
            "audit        {} envelopes, {} cents, {} duplicates, {} over a cap, {} altered",
            audit.envelopes, audit.amount_cents, audit.duplicates, audit.over_cap, audit.altered
        )?;
        audit.findings.iter().try_for_each(|finding| writeln!(to, "             {finding}"))?;
        writeln!(
            to,
            "own cost     {:.2} us a request, {:.2} cores, {:.3} enters a request",
            self.cpu.us_per_request,
            self.cpu.cores,
            self.ring.enters as f64 / (self.ring.sends.max(1)) as f64
        )?;
        self.warnings.iter().try_for_each(|warning| writeln!(to, "warning      {warning}"))?;
        writeln!(to, "valid        {}", if self.valid { "yes" } else { "NO" })?;
        self.invalid_reasons.iter().try_for_each(|reason| writeln!(to, "             {reason}"))
    }
}

fn list<'a>(reasons: impl Iterator<Item = (&'a &'static str, &'a u64)>) -> String {
    let words: Vec<String> = reasons.map(|(name, count)| format!("{count} {name}")).collect();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}
