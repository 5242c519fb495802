//! The report: one JSON object, and a table for people. What reads reports (`merge`, `compare`, the HTML page) reads these types.

mod table;

use std::collections::BTreeMap;

use hongbao_uring::NetworkCounters;
use serde::{Deserialize, Serialize};

use crate::audit::Findings;
use crate::distribution::Distribution;
use crate::gifts::audit::GiftFindings;
use crate::gifts::report::GiftReport;
use crate::record::Requests;
use crate::search;
use crate::series::Point;

/// Bumped when a field changes its meaning or goes.
pub const SCHEMA: &str = "hongbao-loadgen/run/2";

/// Everything a run found. Times are in the unit that their name ends with. The figures of the whole are those of all stages together,
/// warm-ups left out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Format of this object: [`SCHEMA`].
    pub schema: String,
    /// Version of the load generator.
    pub version: String,
    /// The command line; of a merged report, those of all its parts.
    pub command: Vec<String>,
    /// The scenario's name; `run` for one made of flags.
    pub scenario: String,
    /// Where and with what: kernel, cores, memory.
    pub host: HostReport,
    /// When the run began, which is second 0 of `seconds`: a whole second, in seconds since 1970 UTC.
    pub started_unix_s: u64,
    /// When the load began, in microseconds since 1970 UTC; 0 where none did.
    pub begun_unix_us: u64,
    /// Whether the figures may be believed.
    pub valid: bool,
    /// Why not.
    pub invalid_reasons: Vec<String>,
    /// What to know all the same.
    pub warnings: Vec<String>,
    /// Whether every expectation held.
    pub passed: bool,
    /// Expectations of the whole run; those of a stage are in `stages`.
    pub expectations: Vec<Expected>,
    /// `open`: shakes left at intended times. `closed`: connections waited for answers; latency then hides slowness.
    #[serde(rename = "loop")]
    pub loop_kind: String,
    /// `wallclock`, `uniform`, `poisson` or `closed`.
    pub schedule: String,
    /// Rate asked for: of several stages, the highest; none in the closed loop.
    pub rate_target_qps: Option<u64>,
    /// Shakes under way at once, a connection; closed loop only.
    pub depth: Option<u32>,
    /// Seconds measured, warm-up left out.
    pub duration_s: f64,
    /// Seconds of warm-up.
    pub warm_up_s: f64,
    /// Threads.
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
    pub latency_us: Distribution,
    /// From the send to the answer.
    pub service_us: Distribution,
    /// From the intended time to the send: the load generator's own.
    pub lateness_us: Distribution,
    /// Bound of the 99th percentile of `lateness_us`.
    pub lateness_p99_us_max: u64,
    /// Gifts, where there were some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gifts: Option<GiftReport>,
    /// The money.
    pub audit: Findings,
    /// The money in gifts, where there were some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gift_audit: Option<GiftFindings>,
    /// Answers that fitted no shake of their connection.
    pub unknown_answers: u64,
    /// What the load generator itself used.
    pub cpu: CpuReport,
    /// Most memory that the load generator had resident, in bytes.
    pub resident_bytes_max: u64,
    /// What its rings did.
    pub ring: RingReport,
    /// What a search found.
    pub search: Option<search::Answer>,
    /// One after the other; each rate that a search tried is one.
    pub stages: Vec<StageReport>,
    /// Second by second, ramps and warm-ups included.
    pub seconds: Vec<Point>,
}

/// One stage: connections are brought to a number, then a load is put on them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageReport {
    /// Its name in the scenario.
    pub name: String,
    /// Of a rate that a search tried: whether it held. None of any other stage.
    pub trial: Option<bool>,
    /// When its load (or, where it has none, its ramp) began, in seconds since `started_unix_s`.
    pub begun_s: f64,
    /// Seconds of warm-up.
    pub warm_up_s: f64,
    /// Seconds measured.
    pub duration_s: f64,
    /// Connections logged in at its end.
    pub connections: u64,
    /// From the first connect (after a restart: from the first that broke) to the last login, in milliseconds; none where the stage
    /// connected nothing.
    pub establish_ms: Option<u64>,
    /// Rate at the begin and at the end, which differ in a ramp; none where there was no load, and in the closed loop.
    pub rate_from_qps: Option<u64>,
    /// See `rate_from_qps`.
    pub rate_target_qps: Option<u64>,
    /// The shakes.
    pub requests: Requests,
    /// Answers a second.
    pub rate_qps: f64,
    /// As in [`Report`].
    pub latency_us: Distribution,
    /// As in [`Report`].
    pub service_us: Distribution,
    /// As in [`Report`].
    pub lateness_us: Distribution,
    /// How even it was.
    pub steadiness: Steadiness,
    /// What the load generator itself used.
    pub cpu: CpuReport,
    /// What its rings did.
    pub ring: RingReport,
    /// Gifts, where there were some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gifts: Option<GiftReport>,
    /// The daemon's side, where `--server-metrics` said where to ask.
    pub server: Option<ServerReport>,
    /// What was asked of it.
    pub expectations: Vec<Expected>,
    /// Why its figures may not be believed; empty: they may.
    pub invalid_reasons: Vec<String>,
}

/// How even the load and the envelopes were over the measured seconds of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Steadiness {
    /// Largest distance of a whole second's answers from the rate asked for, as a share of it. None in a closed loop or a ramp.
    pub qps_deviation_max: Option<f64>,
    /// Envelopes a second, on average.
    pub envelopes_per_s: f64,
    /// ... in the poorest ten seconds in a row; none where fewer than ten were measured.
    pub envelopes_per_s_lowest: Option<f64>,
    /// ... in the richest.
    pub envelopes_per_s_highest: Option<f64>,
}

/// The daemon over the measured part of a stage, by its own metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerReport {
    /// Cores used on average.
    pub cpu_cores: f64,
    /// Microseconds of CPU a shake.
    pub cpu_us_per_request: f64,
    /// Resident at the end, in bytes.
    pub resident_bytes: u64,
    /// Calls of `io_uring_enter`, a shake.
    pub enters_per_request: f64,
    /// Shakes that each SET answered.
    pub shakes_by_set: Vec<u64>,
    /// Envelopes that each SET issued.
    pub envelopes_by_set: Vec<u64>,
    /// Jain's index of envelopes by shakes over the SETs: 1 is perfectly fair, 1/SETs is all to one.
    pub fairness: f64,
}

/// An expectation, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// As written: `p99<20ms`.
    pub expectation: String,
    /// What was measured, in the expectation's unit: `12.4ms`; `-` where there was nothing to measure.
    pub measured: String,
    /// Whether it held.
    pub held: bool,
}

/// The machine of the load generator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// Release of the kernel.
    pub kernel: String,
    /// Cores this process may use.
    pub cores: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// The connections of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// Frames that told a user of a round.
    #[serde(default)]
    pub rounds_told: u64,
    /// Connects begun.
    pub attempts: u64,
    /// Attempts that failed, by reason.
    pub attempts_failed: BTreeMap<String, u64>,
    /// Connections that broke, by reason.
    pub dropped_by_reason: BTreeMap<String, u64>,
    /// Time until the last one was logged in or given up, in milliseconds.
    pub establish_ms: u64,
}

/// CPU of all threads over the load, warm-up included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

    /// Adds another report's.
    pub fn join(&mut self, other: &Self) {
        self.enters += other.enters;
        self.completions += other.completions;
        self.sends += other.sends;
        self.sends_deferred += other.sends_deferred;
        self.buffers_exhausted += other.buffers_exhausted;
        self.completion_overflows += other.completion_overflows;
    }
}
