//! What a run came to: its stages and threads together, judged, and put into a report.

use crate::audit::Findings;
use crate::book::Oddities;
use crate::conductor::Conducted;
use crate::distribution::Distribution;
use crate::exit::Failure;
use crate::expect::Expectation;
use crate::gifts::audit::GiftFindings;
use crate::health;
use crate::host::Host;
use crate::lap::JoinedLap;
use crate::orders::ThreadReport;
use crate::outcome::{LapOutcome, StageOutcome, gift_report, lateness_p99_us};
use crate::plan::Plan;
use crate::report::{Connections, Report, SCHEMA, StageReport};
use crate::run::Run;
use crate::scenario::Scenario;
use crate::segment::Law;
use crate::series::Point;
use crate::sessions::Tally;

/// See the module's text.
pub struct Total<'a> {
    scenario: &'a Scenario,
    plan: Plan,
    conducted: Conducted,
    figures: JoinedLap,
    tally: Tally,
    oddities: Oddities,
    audit: Findings,
    gift_audit: Option<GiftFindings>,
    points: Vec<Point>,
    started_unix_s: u64,
    /// Begin of the report's second 0 on the run's clock: before the run began, as it is a whole second.
    since_ns: i64,
    begun_unix_us: u64,
}

impl<'a> Total<'a> {
    /// Adds up. Fails where the shakes do not balance.
    pub fn new(
        scenario: &'a Scenario,
        run: &mut Run,
        mut conducted: Conducted,
        threads: &[ThreadReport],
    ) -> Result<Self, Failure> {
        let (mut tally, mut oddities, mut gifts_unaudited) = (Tally::default(), Oddities::default(), 0);
        for thread in threads {
            tally.add(&thread.tally);
            oddities.unknown_answers += thread.oddities.unknown_answers;
            oddities.unaudited += thread.oddities.unaudited;
            oddities.unknown_answers += thread.gifts.unknown_answers;
            gifts_unaudited += thread.gifts.unaudited;
        }
        for lap in conducted.outcomes.iter_mut().filter_map(|outcome| outcome.lap.as_mut()) {
            if let Some(gifts) = lap.joined.as_mut().and_then(|joined| joined.gifts.as_mut())
                && let Some(notice) = run.take_notices(lap.number)
            {
                gifts.notice = notice;
            }
        }
        run.audit.lost(oddities.unaudited);
        let mut figures = JoinedLap::empty(0);
        for joined in counted(&conducted.outcomes).filter_map(|lap| lap.joined.as_ref()) {
            if !joined.requests.balance() {
                return Err(unbalanced("shakes", &joined.requests));
            }
            if let Some(gifts) = joined.gifts.as_ref().filter(|gifts| !gifts.counts.balance()) {
                return Err(unbalanced("gifts", &gifts.counts));
            }
            figures.follow(joined);
        }
        let clock = run.clock();
        let first = conducted.outcomes.iter().find_map(|outcome| outcome.lap.as_ref());
        Ok(Self {
            scenario,
            plan: run.plan().clone(),
            figures,
            tally,
            oddities,
            audit: run.audit.findings().clone(),
            gift_audit: run.gift_findings(gifts_unaudited),
            points: run.series.finish(),
            started_unix_s: clock.first_unix_s(),
            since_ns: clock.first_second_ns(),
            begun_unix_us: first.map_or(0, |lap| clock.unix_ns(lap.begin_ns) / 1_000),
            conducted,
        })
    }

    /// The report.
    pub fn report(&self, host: &Host) -> Report {
        let stages = self.stages();
        let facts = self.facts();
        // Of several loads the one with the longest tick was allowed to be the latest.
        let tick = counted(&self.conducted.outcomes).map(|lap| lap.tick).max().unwrap_or(self.plan.tick);
        let bounds = self.plan.bounds(tick);
        let mut invalid_reasons = health::reasons(&facts, &bounds);
        for (outcome, stage) in self.conducted.outcomes.iter().zip(&stages) {
            // A rate that a search tried in vain says what the limit is, and spoils nothing.
            if outcome.trial.is_none() {
                let reasons = stage.invalid_reasons.iter().map(|reason| format!("stage `{}`: {reason}", stage.name));
                invalid_reasons.extend(reasons.filter(|_| stages.len() > 1));
            }
        }
        let laps: Vec<&LapOutcome> = counted(&self.conducted.outcomes).collect();
        let seconds = |of: fn(&LapOutcome) -> f64| laps.iter().map(|lap| of(lap)).sum::<f64>();
        let duration_s = seconds(|lap| lap.measured().as_secs_f64());
        let depth = laps.iter().find_map(|lap| if let Law::Closed { depth } = lap.law { Some(depth) } else { None });
        let held = stages
            .iter()
            .zip(&self.conducted.outcomes)
            .all(|(stage, outcome)| outcome.trial.is_some() || stage.expectations.iter().all(|expected| expected.held));
        let mut report = Report {
            schema: SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: std::env::args().collect(),
            scenario: self.scenario.name.clone(),
            host: host.report(),
            started_unix_s: self.started_unix_s,
            begun_unix_us: self.begun_unix_us,
            valid: invalid_reasons.is_empty(),
            invalid_reasons,
            warnings: [health::warnings(&facts), self.conducted.warnings.clone()].concat(),
            passed: held && self.conducted.search.is_none_or(|answer| answer.rate > 0),
            expectations: Vec::new(),
            loop_kind: if depth.is_some() { "closed" } else { "open" }.to_owned(),
            schedule: if depth.is_some() { "closed" } else { self.plan.arrivals.name() }.to_owned(),
            rate_target_qps: laps.iter().filter_map(|lap| lap.rates().1.max(lap.rates().0)).max(),
            depth,
            duration_s,
            warm_up_s: seconds(|lap| lap.warm_up().as_secs_f64()),
            threads: self.plan.threads,
            tick_us: tick.as_micros() as u64,
            connections: self.connections(),
            requests: self.figures.requests,
            rate_qps: self.rate_qps(&laps, &stages, duration_s),
            latency_us: Distribution::from(&self.figures.latency),
            service_us: Distribution::from(&self.figures.service),
            lateness_us: Distribution::from(&self.figures.lateness),
            lateness_p99_us_max: bounds.lateness_p99_us_max,
            gifts: gift_report(
                laps.iter().filter_map(|lap| lap.gifts_target).max(),
                self.figures.gifts.as_ref(),
                laps.iter().filter(|lap| lap.gifts_target.is_some()).map(|lap| lap.measured()).sum(),
            ),
            audit: self.audit.clone(),
            gift_audit: self.gift_audit.clone(),
            unknown_answers: self.oddities.unknown_answers,
            cpu: self.figures.cpu_report(),
            resident_bytes_max: Host::resident_bytes_max(),
            ring: self.figures.ring,
            search: self.conducted.search,
            stages,
            seconds: self.points.clone(),
        };
        report.expectations =
            self.scenario.expect.iter().map(|expected: &Expectation| expected.of_run(&report)).collect();
        report.passed &= report.expectations.iter().all(|expected| expected.held);
        report
    }

    fn stages(&self) -> Vec<StageReport> {
        let outcomes = self.conducted.outcomes.iter().enumerate();
        outcomes.map(|(place, outcome)| outcome.report(place as u32, &self.plan, self.since_ns, &self.points)).collect()
    }

    /// Answers a second over all that was measured.
    fn rate_qps(&self, laps: &[&LapOutcome], stages: &[StageReport], duration_s: f64) -> f64 {
        match (laps, stages) {
            // In the closed loop the stage knows what came in time.
            ([_], _) => stages.iter().map(|stage| stage.rate_qps).fold(0.0, f64::max),
            _ if duration_s == 0.0 => 0.0,
            _ => (self.figures.requests.answered as f64 / duration_s * 10.0).round() / 10.0,
        }
    }

    /// What the whole run is judged by: what its stages do not know.
    fn facts(&self) -> health::Facts {
        let laps: Vec<&LapOutcome> = counted(&self.conducted.outcomes).collect();
        let not_sent = &self.figures.requests.not_sent;
        let highest =
            laps.iter().filter(|lap| !lap.is_closed()).filter_map(|lap| lap.rates().1.max(lap.rates().0)).max();
        health::Facts {
            interrupted: self.conducted.interrupted && !self.has_nobody(),
            closed_loop: laps.iter().any(|lap| lap.is_closed()),
            connections_target: u64::from(self.plan.connections),
            connections_established: self.connections().established,
            scheduled: self.figures.requests.scheduled,
            not_sent: not_sent.disconnected + not_sent.overdue,
            period_ms: highest.map(|rate| u64::from(self.plan.connections) * 1_000 / rate.max(1)),
            shake_interval_ms: self.tally.shake_interval_ms,
            lateness_p99_us: lateness_p99_us(&self.figures),
            busiest_thread_share: self.figures.busiest_thread_share,
            unaudited: self.audit.unaudited + self.gift_audit.as_ref().map_or(0, |gifts| gifts.unaudited),
            unknown_answers: self.oddities.unknown_answers,
        }
    }

    /// Whether the run ended because no connection could be made.
    fn has_nobody(&self) -> bool {
        self.tally.established == 0 && self.tally.given_up > 0
    }

    fn connections(&self) -> Connections {
        let outcomes = &self.conducted.outcomes;
        let laps: Vec<&LapOutcome> = counted(outcomes).collect();
        // Without a load: those that the last stage ended with.
        let established = laps
            .iter()
            .map(|lap| lap.established)
            .min_by_key(|established| u64::from(self.plan.connections).abs_diff(*established))
            .unwrap_or_else(|| outcomes.last().map_or(0, |outcome| outcome.connections));
        Connections {
            target: u64::from(self.plan.connections),
            established,
            failed: u64::from(self.tally.given_up),
            dropped: self.tally.dropped.total(),
            reconnected: self.tally.reconnected,
            rounds_told: self.tally.rounds_told,
            attempts: self.tally.attempts,
            attempts_failed: self.tally.attempts_failed.by_name(),
            dropped_by_reason: self.tally.dropped.by_name(),
            establish_ms: outcomes.iter().find_map(|outcome| outcome.establish_ms).unwrap_or_default(),
        }
    }
}

fn unbalanced(what: &str, counts: &dyn std::fmt::Debug) -> Failure {
    Failure::error(format!("the {what} do not add up, which is a defect of this program: {counts:?}"))
}

/// Loads that count in the figures of the whole: all, but of a search those that held.
fn counted(outcomes: &[StageOutcome]) -> impl Iterator<Item = &LapOutcome> {
    outcomes.iter().filter(|outcome| outcome.trial != Some(false)).filter_map(|outcome| outcome.lap.as_ref())
}
