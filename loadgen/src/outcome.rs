//! What came of one stage, and its report.

use std::time::Duration;

use crate::distribution::Distribution;
use crate::expect::Expectation;
use crate::gifts::report::{GiftReport, GiftRequests};
use crate::health;
use crate::lap::{JoinedGifts, JoinedLap};
use crate::plan::Plan;
use crate::report::{ServerReport, StageReport};
use crate::segment::{Law, Segment};
use crate::series::Point;
use crate::steadiness;

/// See the module's text. Times are nanoseconds of the run's clock.
#[derive(Clone, Debug)]
pub struct StageOutcome {
    /// Its name.
    pub name: String,
    /// What is asked of it.
    pub expect: Vec<Expectation>,
    /// When it began: its ramp, or what it did instead.
    pub begun_ns: u64,
    /// Connections logged in at its end.
    pub connections: u64,
    /// How long its connections took, in milliseconds.
    pub establish_ms: Option<u64>,
    /// Its load.
    pub lap: Option<LapOutcome>,
    /// The daemon's side.
    pub server: Option<ServerReport>,
    /// Of a rate that a search tried: whether it held; only then does it count in the figures of the whole.
    pub trial: Option<bool>,
    /// Why its figures say nothing, whatever they are.
    pub problem: Option<String>,
}

/// The load of a stage.
#[derive(Clone, Debug)]
pub struct LapOutcome {
    /// Which lap.
    pub number: u32,
    /// What was ordered, or asked for last while it ran; a pause is not kept.
    pub law: Law,
    /// Whether the rate was changed while it ran.
    pub altered: bool,
    /// Between two turns of a thread.
    pub tick: Duration,
    /// Begin of the load.
    pub begin_ns: u64,
    /// Begin of the measurement.
    pub measured_ns: u64,
    /// Its end.
    pub end_ns: u64,
    /// Connections that were asked for.
    pub connections_target: u64,
    /// Connections logged in when it began.
    pub established: u64,
    /// Gifts a second that were asked for, at the end.
    pub gifts_target: Option<u64>,
    /// Its figures, when every thread has given them back.
    pub joined: Option<JoinedLap>,
}

impl LapOutcome {
    /// Ordered, and not over.
    pub fn ordered(segment: &Segment, established: u64) -> Self {
        Self {
            number: segment.lap,
            law: segment.law,
            altered: false,
            tick: segment.tick,
            begin_ns: segment.begin_ns,
            measured_ns: segment.measured_ns,
            end_ns: segment.end_ns,
            connections_target: u64::from(segment.connections),
            established,
            gifts_target: segment.gifts.map(|gifts| gifts.rate.from.max(gifts.rate.to)),
            joined: None,
        }
    }

    /// It goes on by another law.
    pub fn changed(&mut self, law: Law) {
        self.altered = true;
        if law != Law::Pause {
            self.law = law;
        }
    }

    /// How long was measured.
    pub fn measured(&self) -> Duration {
        Duration::from_nanos(self.end_ns.saturating_sub(self.measured_ns))
    }

    /// How long the warm-up was.
    pub fn warm_up(&self) -> Duration {
        Duration::from_nanos(self.measured_ns.min(self.end_ns).saturating_sub(self.begin_ns))
    }

    /// Whether connections waited for answers.
    pub const fn is_closed(&self) -> bool {
        matches!(self.law, Law::Closed { .. })
    }

    /// Rates at the begin and at the end, in shakes a second.
    pub const fn rates(&self) -> (Option<u64>, Option<u64>) {
        match self.law {
            // Of gifts alone.
            Law::Open { from: 0, to: 0, .. } | Law::Closed { .. } | Law::Pause => (None, None),
            Law::Open { from, to, .. } => (Some(from), Some(to)),
        }
    }

    /// The rate that each second should have had; none where it changed.
    fn even_rate(&self) -> Option<u64> {
        let (from, to) = self.rates();
        if self.altered || from != to { None } else { to }
    }

    /// Answers a second. In the closed loop what is answered after the end is left out: there the load would have gone on.
    fn rate_qps(&self, figures: &JoinedLap) -> f64 {
        let answered = if self.is_closed() { figures.answered_at_end } else { figures.requests.answered };
        let seconds = self.measured().as_secs_f64();
        if seconds == 0.0 { 0.0 } else { (answered as f64 / seconds * 10.0).round() / 10.0 }
    }

    /// What the load is judged by.
    fn facts(&self, figures: &JoinedLap) -> health::Facts {
        let not_sent = &figures.requests.not_sent;
        health::Facts {
            closed_loop: self.is_closed(),
            connections_target: self.connections_target,
            connections_established: self.established,
            scheduled: figures.requests.scheduled,
            not_sent: not_sent.disconnected + not_sent.overdue,
            lateness_p99_us: lateness_p99_us(figures),
            busiest_thread_share: figures.busiest_thread_share,
            ..health::Facts::default()
        }
    }
}

/// Of shakes, or of gifts where those were sent later.
pub fn lateness_p99_us(figures: &JoinedLap) -> u64 {
    let gifts = figures.gifts.as_ref().map_or(0, |gifts| gifts.lateness.value_at_quantile(0.99));
    figures.lateness.value_at_quantile(0.99).max(gifts)
}

/// The report's part about gifts, of a lap or of several.
pub fn gift_report(target: Option<u64>, gifts: Option<&JoinedGifts>, measured: Duration) -> Option<GiftReport> {
    let (rate_target, gifts) = (target?, gifts?);
    let seconds = measured.as_secs_f64();
    let rate = if seconds == 0.0 { 0.0 } else { (gifts.counts.granted as f64 / seconds * 10.0).round() / 10.0 };
    Some(GiftReport {
        rate_target,
        rate,
        requests: GiftRequests::from(&gifts.counts),
        send_us: Distribution::from(&gifts.send),
        lateness_us: Distribution::from(&gifts.lateness),
        notice_us: Distribution::from(&gifts.notice),
        open_us: Distribution::from(&gifts.open),
    })
}

impl StageOutcome {
    /// Nothing has come of it yet.
    pub fn new(name: &str, expect: &[Expectation], begun_ns: u64) -> Self {
        Self {
            name: name.to_owned(),
            expect: expect.to_vec(),
            begun_ns,
            connections: 0,
            establish_ms: None,
            lap: None,
            server: None,
            trial: None,
            problem: None,
        }
    }

    /// Its report. `place` is its own in the report's stages, `since_ns` what its seconds are counted from.
    pub fn report(&self, place: u32, plan: &Plan, since_ns: i64, points: &[Point]) -> StageReport {
        let nothing = JoinedLap::empty(0);
        let lap = self.lap.as_ref();
        let figures = lap.and_then(|lap| lap.joined.as_ref()).unwrap_or(&nothing);
        let mut invalid_reasons: Vec<String> = self.problem.iter().cloned().collect();
        if let Some(lap) = lap {
            invalid_reasons.extend(health::reasons(&lap.facts(figures), &plan.bounds(lap.tick)));
        }
        let seconds = |of: fn(&LapOutcome) -> Duration| lap.map_or(0.0, |lap| of(lap).as_secs_f64());
        let (rate_from_qps, rate_target_qps) = lap.map_or((None, None), LapOutcome::rates);
        let begun_ns = lap.map_or(self.begun_ns, |lap| lap.begin_ns);
        let mut report = StageReport {
            name: self.name.clone(),
            trial: self.trial,
            begun_s: (begun_ns.cast_signed() - since_ns) as f64 / 1e9,
            warm_up_s: seconds(LapOutcome::warm_up),
            duration_s: seconds(LapOutcome::measured),
            connections: self.connections,
            establish_ms: self.establish_ms,
            rate_from_qps,
            rate_target_qps,
            requests: figures.requests,
            rate_qps: lap.map_or(0.0, |lap| lap.rate_qps(figures)),
            latency_us: Distribution::from(&figures.latency),
            service_us: Distribution::from(&figures.service),
            lateness_us: Distribution::from(&figures.lateness),
            steadiness: steadiness::of(points, place, lap.and_then(LapOutcome::even_rate)),
            cpu: figures.cpu_report(),
            ring: figures.ring,
            gifts: lap.and_then(|lap| gift_report(lap.gifts_target, figures.gifts.as_ref(), lap.measured())),
            server: self.server.clone(),
            expectations: Vec::new(),
            invalid_reasons,
        };
        report.expectations = self.expect.iter().map(|expected| expected.of_stage(&report)).collect();
        report
    }
}
