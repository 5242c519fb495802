//! Every metric of the load generator, in one table. `loadgen/METRICS.md` shows the same table to people; a test holds the two and a live
//! scrape against each other.

/// What a metric does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
}

/// One metric.
#[derive(Debug)]
pub(super) struct Metric {
    /// Full name, as scraped.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Label names, in the order of their values.
    pub(super) labels: &'static [&'static str],
    /// One sentence.
    pub(super) help: &'static str,
}

macro_rules! catalogue {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) static $id: Metric = Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*

        /// All of them, in the order of the table.
        pub(super) static ALL: &[&Metric] = &[$(&$id),*];
    };
}

catalogue! {
    BUILD_INFO = Gauge "hongbao_loadgen_build_info" ["version"] "Always 1; the label tells which build this is.";
    STAGE = Gauge "hongbao_loadgen_stage" [] "Stages of the scenario that have begun.";
    RATE_TARGET = Gauge "hongbao_loadgen_rate_target_shakes_per_second" []
        "Shakes a second asked for now; 0 without a load and in the closed loop.";
    CONNECTIONS_TARGET = Gauge "hongbao_loadgen_connections_target" [] "Connections asked for.";
    CONNECTIONS = Gauge "hongbao_loadgen_connections" [] "Connections logged in.";
    GIVEN_UP = Gauge "hongbao_loadgen_connections_given_up" [] "Connections of which every attempt failed.";
    SCHEDULED = Counter "hongbao_loadgen_shakes_scheduled_total" [] "Shakes that were due.";
    SENT = Counter "hongbao_loadgen_shakes_sent_total" [] "Shakes handed to the kernel.";
    ANSWERED = Counter "hongbao_loadgen_shakes_answered_total" [] "Shakes answered in time.";
    ENVELOPES = Counter "hongbao_loadgen_envelopes_total" [] "Shakes answered with an envelope.";
    FAILED = Counter "hongbao_loadgen_shakes_failed_total" [] "Shakes that timed out, or whose connection broke before the answer.";
    GIFTS = Counter "hongbao_loadgen_gifts_granted_total" [] "Gifts that the server granted.";
    GIFTS_OPENED = Counter "hongbao_loadgen_gift_shares_opened_total" [] "Shares of gifts that were opened.";
    GIFTS_FAILED = Counter "hongbao_loadgen_gifts_failed_total" []
        "Sends and opens of gifts that timed out, were refused or put off for good, or whose connection broke before the answer.";
    LATENCY = Gauge "hongbao_loadgen_latency_seconds" ["percentile"]
        "Latency of the last second from the intended time of a shake to its answer; percentile 100 is the longest.";
    STAGE_ANSWERS = Counter "hongbao_loadgen_stage_answers_total" ["outcome"]
        "Answers of the stages that are over, warm-ups left out, by outcome.";
    STAGE_UNANSWERED = Counter "hongbao_loadgen_stage_unanswered_total" ["reason"]
        "Shakes of the stages that are over, warm-ups left out, that were not sent or not answered in time, by reason.";
    STAGE_LATENESS = Gauge "hongbao_loadgen_stage_lateness_p99_seconds" []
        "Of the last stage that is over: 99th percentile from the intended time to the send.";
    STAGE_GIFTS = Gauge "hongbao_loadgen_stage_gift_p99_seconds" ["of"]
        "Of the last stage with gifts that is over: 99th percentile of a send from its intended time, and of an open.";
    SEGMENTS = Counter "hongbao_loadgen_tcp_segments_total" ["direction"]
        "TCP segments of the network namespace since the run began, of all processes; loopback counts both ends.";
    PROCESS_CPU = Gauge "hongbao_loadgen_cpu_seconds" [] "User and system CPU time of the load generator so far.";
    PROCESS_RESIDENT_MAX = Gauge "hongbao_loadgen_resident_max_bytes" [] "Most memory that the load generator had resident.";
}
