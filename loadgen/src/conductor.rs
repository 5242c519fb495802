//! Walks through the stages of a scenario: tells the threads what to do when, and writes down what came of it. Runs on the main thread.

use std::process::Child;
use std::time::Duration;

use crate::control::{self, Command, ControlSocket, Phase, Status};
use crate::exit::Failure;
use crate::exporter::{Exporter, Live};
use crate::limits::{LAPS_OPEN_MAX, RESTART_NOTICE_S};
use crate::orders::Order;
use crate::outcome::{LapOutcome, StageOutcome};
use crate::packets::Packets;
use crate::progress::Progress;
use crate::record::Lap;
use crate::run::Run;
use crate::scenario::{Scenario, Search as Range, Stage};
use crate::search::{self, Search, Step, Verdict};
use crate::segment::{Law, Segment};
use crate::series::{Point, Span};
use crate::server::Watch;
use crate::signals::Interrupts;

/// How often the main thread looks at what the threads handed over.
const LOOK: Duration = Duration::from_millis(50);

/// From an order to what it orders: every thread sees it in time.
const LEAD_NS: u64 = 100_000_000;

/// The next stage is ordered this long before the one at hand ends.
const AHEAD_NS: u64 = 500_000_000;

const NS_PER_SECOND: u64 = 1_000_000_000;

/// What the conductor works with.
pub struct Desk<'a> {
    /// What is to be done.
    pub scenario: &'a Scenario,
    /// SIGINT and SIGTERM.
    pub interrupts: &'a Interrupts,
    /// For the person at the terminal.
    pub progress: &'a mut Progress,
    /// Commands from outside.
    pub control: Option<ControlSocket>,
    /// Wait for `begin` before the first load.
    pub hold: bool,
    /// Restarts the server.
    pub restart_command: Option<&'a str>,
    /// The run's own metrics.
    pub exporter: Option<Exporter>,
    /// Asks the server for its side.
    pub server: Option<Watch>,
}

/// See the module's text.
pub struct Conductor<'a> {
    desk: Desk<'a>,
    run: &'a mut Run,
    outcomes: Vec<StageOutcome>,
    /// The stage at hand; of a search, the rate that is tried.
    stage: String,
    connections: u32,
    laps: u32,
    laps_open: u32,
    segments: u32,
    /// The segment that the threads follow, or follow next; its law is what comes after a pause.
    live: Option<Segment>,
    paused: bool,
    phase: Phase,
    last: Point,
    interrupts_seen: u32,
    stopping: bool,
    search: Option<search::Answer>,
    packets: Packets,
    warnings: Vec<String>,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Conducted {
    /// Stage by stage.
    pub outcomes: Vec<StageOutcome>,
    /// Whether it was ended before its time.
    pub interrupted: bool,
    /// What a search found.
    pub search: Option<search::Answer>,
    /// What there is to know besides.
    pub warnings: Vec<String>,
}

impl<'a> Conductor<'a> {
    /// Nothing done yet.
    pub fn new(run: &'a mut Run, desk: Desk<'a>) -> Self {
        Self {
            desk,
            run,
            outcomes: Vec::new(),
            stage: String::new(),
            connections: 0,
            laps: 0,
            laps_open: 0,
            segments: 0,
            live: None,
            paused: false,
            phase: Phase::Connecting,
            last: Point::default(),
            interrupts_seen: 0,
            stopping: false,
            search: None,
            packets: Packets::default(),
            warnings: Vec::new(),
        }
    }

    /// Walks through all stages, and lets the threads end.
    pub fn conduct(mut self) -> Result<Conducted, Failure> {
        let walked = self.walk();
        if walked.is_err() {
            self.run.abandon();
        }
        self.phase = Phase::Draining;
        self.run.order(|| Order::Close)?;
        while !self.run.all_ended() {
            self.look()?;
        }
        walked?;
        self.hear_server();
        Ok(Conducted {
            outcomes: self.outcomes,
            interrupted: self.stopping,
            search: self.search,
            warnings: self.warnings,
        })
    }

    fn walk(&mut self) -> Result<(), Failure> {
        let scenario = self.desk.scenario;
        let mut held = self.desk.hold;
        for stage in &scenario.stages {
            self.stage.clone_from(&stage.name);
            let mut outcome = StageOutcome::new(&stage.name, &stage.expect, self.now_ns());
            self.connect(stage, &mut outcome)?;
            let has_load = stage.rate.is_some() || stage.depth.is_some() || stage.search.is_some();
            let begin_ns = if has_load && std::mem::take(&mut held) { self.await_begin()? } else { None };
            if !self.goes_on() {
                self.outcomes.push(outcome);
                break;
            }
            self.phase = Phase::Load;
            if let Some(law) = self.law(stage) {
                self.load(stage, law, outcome, begin_ns)?;
            } else if let Some(range) = &stage.search {
                self.search(stage, range, &outcome)?;
            } else if stage.restart {
                self.restart(stage, &mut outcome)?;
                self.outcomes.push(outcome);
            } else {
                self.hold(stage, &mut outcome)?;
                self.outcomes.push(outcome);
            }
        }
        self.await_laps(0)
    }

    fn law(&self, stage: &Stage) -> Option<Law> {
        let arrivals = self.run.plan().arrivals;
        let open = stage.rate.map(|rate| Law::Open { from: rate.from, to: rate.to, arrivals });
        open.or(stage.depth.map(|depth| Law::Closed { depth }))
    }

    /// Brings the connections to the stage's number.
    fn connect(&mut self, stage: &Stage, outcome: &mut StageOutcome) -> Result<(), Failure> {
        let Some(wanted) = stage.connections.map(|count| count.0 as u32).filter(|wanted| *wanted > self.connections)
        else {
            return Ok(());
        };
        // The last answers of the load before come before the commotion.
        self.await_end_of_load()?;
        self.await_laps(0)?;
        self.phase = Phase::Connecting;
        let begun_ns = self.now_ns();
        self.connections = wanted;
        self.run.order(|| Order::Connect { connections: wanted })?;
        loop {
            self.look()?;
            let elapsed = Duration::from_nanos(self.now_ns() - begun_ns);
            self.desk.progress.ramp(self.run.established(), u64::from(wanted), elapsed);
            if self.run.is_settled(wanted) || !self.goes_on() {
                break;
            }
        }
        let established = self.run.established();
        let took_ns = self.now_ns() - begun_ns;
        outcome.begun_ns = begun_ns;
        outcome.establish_ms = Some(took_ns / 1_000_000);
        outcome.connections = established;
        self.desk.progress.say(&format!("{established} of {wanted} connections in {:.1} s", took_ns as f64 / 1e9));
        if established == 0 && self.run.given_up() > 0 {
            // There is nobody to shake, and the report says why.
            self.stopping = true;
        }
        Ok(())
    }

    fn await_begin(&mut self) -> Result<Option<u64>, Failure> {
        self.phase = Phase::Held;
        self.desk.progress.say("holding the connections until `begin` on the control socket");
        self.live = None;
        while self.phase == Phase::Held && self.goes_on() {
            self.look()?;
        }
        Ok(self.live.take().map(|segment| segment.begin_ns))
    }

    /// Puts a load on the connections; returns shortly before it ends, so that the next stage can follow without a gap.
    fn load(
        &mut self,
        stage: &Stage,
        law: Law,
        mut outcome: StageOutcome,
        begin_ns: Option<u64>,
    ) -> Result<(), Failure> {
        let closed = matches!(law, Law::Closed { .. });
        self.await_laps(if closed { 0 } else { LAPS_OPEN_MAX as u32 - 1 })?;
        let warm_up_ns = stage.warm_up.0.as_nanos() as u64;
        let duration_ns = stage.duration.0.as_nanos() as u64;
        let begin_ns = begin_ns.unwrap_or_else(|| self.next_begin_ns());
        let segment = Segment {
            lap: self.laps,
            number: self.segments,
            connections: self.connections,
            law,
            tick: self.run.plan().tick_of(stage.tick.map(|tick| tick.0)),
            begin_ns,
            end_ns: begin_ns + warm_up_ns + duration_ns,
            measured_ns: begin_ns + warm_up_ns,
            first_slot: 0,
        };
        let number = self.laps;
        self.laps += 1;
        self.laps_open += 1;
        self.run.order(|| Order::Lap(Lap::new(number)))?;
        self.follow(segment)?;
        let clock = self.run.clock();
        self.run.series.expect(Span {
            stage: self.outcomes.len() as u32,
            first: clock.second(segment.begin_ns),
            measured: clock.second(segment.measured_ns + NS_PER_SECOND - 1),
            end: clock.second(segment.end_ns + NS_PER_SECOND - 1),
        });
        if let Some(server) = &mut self.desk.server {
            server.expect(self.outcomes.len() as u32, segment.measured_ns, segment.end_ns);
        }
        outcome.lap = Some(LapOutcome::ordered(&segment, self.run.established()));
        self.desk.progress.begin_load(&stage.name, (stage.warm_up.0 + stage.duration.0).as_secs());
        self.outcomes.push(outcome);
        while self.goes_on() && self.now_ns() + AHEAD_NS < segment.end_ns {
            self.look()?;
        }
        self.note_connections();
        Ok(())
    }

    /// When the next load begins: with the end of the one at hand, or with the next second of the wall clock.
    fn next_begin_ns(&self) -> u64 {
        let now_ns = self.now_ns();
        match self.live {
            Some(live) if live.end_ns > now_ns + LEAD_NS => live.end_ns,
            _ => self.run.clock().whole_second(now_ns + LEAD_NS),
        }
    }

    /// Has the threads follow a segment, and the ones before no longer when it begins.
    fn follow(&mut self, segment: Segment) -> Result<(), Failure> {
        self.segments += 1;
        self.live = Some(segment);
        self.paused = false;
        self.run.order(|| Order::Segment(segment))
    }

    fn hold(&mut self, stage: &Stage, outcome: &mut StageOutcome) -> Result<(), Failure> {
        self.await_end_of_load()?;
        let begin_ns = self.now_ns();
        let end_ns = begin_ns + stage.duration.0.as_nanos() as u64;
        if let Some(server) = &mut self.desk.server {
            server.expect(self.outcomes.len() as u32, begin_ns, end_ns);
        }
        while self.goes_on() && self.now_ns() < end_ns {
            self.look()?;
        }
        outcome.connections = self.run.established();
        Ok(())
    }

    /// Has the server restarted, and waits until every connection has been made again.
    fn restart(&mut self, stage: &Stage, outcome: &mut StageOutcome) -> Result<(), Failure> {
        self.await_end_of_load()?;
        self.await_laps(0)?;
        let target = u64::from(self.connections);
        let before = self.run.established();
        let mut child = self.desk.restart_command.map(shell).transpose()?;
        if child.is_none() {
            self.desk.progress.say("restart the server now (--restart-command does it for you)");
        }
        let begun_ns = self.now_ns();
        let end_ns = begun_ns + stage.duration.0.as_nanos() as u64;
        let mut broke_ns = None;
        let mut told_s = 0;
        loop {
            self.look()?;
            let (now_ns, established) = (self.now_ns(), self.run.established());
            if broke_ns.is_none() && established < before {
                broke_ns = Some(now_ns);
                outcome.begun_ns = now_ns;
                self.phase = Phase::Connecting;
            }
            if broke_ns.is_some() {
                self.desk.progress.ramp(established, target, Duration::from_nanos(now_ns - begun_ns));
            } else if self.desk.restart_command.is_none()
                && (now_ns - begun_ns) / NS_PER_SECOND >= told_s + RESTART_NOTICE_S
            {
                told_s += RESTART_NOTICE_S;
                self.desk.progress.say(&format!("{told_s} s: no connection has broken yet; restart the server"));
            }
            let all_back = broke_ns.is_some() && established >= target && self.run.is_settled(self.connections);
            if all_back || now_ns >= end_ns || !self.goes_on() {
                break;
            }
        }
        if let Some(child) = &mut child {
            check_ended(child, self.desk.progress);
        }
        let took_ns = self.now_ns() - broke_ns.unwrap_or(begun_ns);
        outcome.connections = self.run.established();
        outcome.establish_ms = Some(took_ns / 1_000_000);
        self.desk.progress.say(&if broke_ns.is_some() {
            format!("{} of {target} connections again after {:.1} s", outcome.connections, took_ns as f64 / 1e9)
        } else {
            outcome.problem = Some("restart: no connection broke, so the server was not restarted".to_owned());
            "no connection broke: the server was not restarted".to_owned()
        });
        Ok(())
    }

    /// Tries rates until the highest that holds is found. Each is a stage of the report.
    fn search(&mut self, stage: &Stage, range: &Range, begun: &StageOutcome) -> Result<(), Failure> {
        let bounds = search::Bounds {
            low: range.from.0,
            high: range.to.0,
            resolution: range.resolution.0,
            trials_max: range.trials,
            confirmations: range.confirmations,
        };
        bounds.check()?;
        let mut search = Search::new(bounds);
        let arrivals = self.run.plan().arrivals;
        while self.goes_on() {
            let (rate, word) = match search.step() {
                Step::Trial(rate) => (rate, "trying"),
                Step::Confirm(rate) => (rate, "confirming"),
                Step::Found(answer) => {
                    let sure = if answer.confirmed { "" } else { ", not confirmed: the trials were used up" };
                    self.desk.progress.say(&format!(
                        "found: {}/s holds{sure}; the limit is {}",
                        answer.rate,
                        answer.limit.words()
                    ));
                    self.search = Some(answer);
                    return Ok(());
                }
                Step::NothingHolds(limit) => {
                    self.desk.progress.say(&format!("not even {}/s holds; the limit is {}", bounds.low, limit.words()));
                    self.search = Some(search::Answer { rate: 0, confirmed: false, limit });
                    return Ok(());
                }
            };
            self.desk.progress.say(&format!("{word} {rate}/s"));
            let mut outcome = begun.clone();
            outcome.name = format!("{} {rate}/s", stage.name);
            outcome.trial = Some(false);
            self.stage.clone_from(&outcome.name);
            self.load(stage, Law::Open { from: rate, to: rate, arrivals }, outcome, None)?;
            self.await_end_of_load()?;
            self.await_laps(0)?;
            let verdict = self.judge();
            if let Some(last) = self.outcomes.last_mut() {
                last.trial = Some(verdict == Verdict::Held);
            }
            search.take(verdict);
        }
        Ok(())
    }

    /// How the last stage went, as a trial.
    fn judge(&mut self) -> Verdict {
        self.hear_server();
        let points = self.run.series.points().to_vec();
        let Some(outcome) = self.outcomes.last() else { return Verdict::Invalid };
        let since_ns = self.run.clock().first_second_ns();
        let report = outcome.report(self.outcomes.len() as u32 - 1, self.run.plan(), since_ns, &points);
        let missed: Vec<String> = report
            .expectations
            .iter()
            .filter(|expected| !expected.held)
            .map(|expected| format!("{} was {}", expected.expectation, expected.measured))
            .collect();
        let verdict = if !report.invalid_reasons.is_empty() {
            Verdict::Invalid
        } else if missed.is_empty() {
            Verdict::Held
        } else {
            Verdict::Missed
        };
        let why = [missed, report.invalid_reasons].concat().join("; ");
        self.desk.progress.say(&format!("  {verdict:?}{}{why}", if why.is_empty() { "" } else { ": " }));
        verdict
    }

    /// Waits until the load at hand is over.
    fn await_end_of_load(&mut self) -> Result<(), Failure> {
        while self.goes_on() && self.live.is_some_and(|live| self.now_ns() < live.end_ns) {
            self.look()?;
        }
        Ok(())
    }

    /// Waits until at most so many laps are still open.
    fn await_laps(&mut self, open_max: u32) -> Result<(), Failure> {
        while self.laps_open > open_max && !self.run.any_ended() {
            self.look()?;
        }
        Ok(())
    }

    /// Takes in what the server said of the stages that are over.
    fn hear_server(&mut self) {
        let now_ns = self.now_ns();
        let Some(server) = &mut self.desk.server else { return };
        for (place, said) in server.take(now_ns) {
            match (said, self.outcomes.get_mut(place as usize)) {
                (Ok(report), Some(outcome)) => outcome.server = Some(report),
                (Err(error), _) if !self.warnings.contains(&error.to_string()) => self.warnings.push(error.to_string()),
                _ => {}
            }
        }
    }

    fn note_connections(&mut self) {
        let established = self.run.established();
        if let Some(last) = self.outcomes.last_mut() {
            last.connections = established;
        }
    }

    fn now_ns(&self) -> u64 {
        self.run.clock().now_ns()
    }

    fn goes_on(&self) -> bool {
        !self.stopping && !self.run.any_ended()
    }

    /// What the main thread does all the time: sleeps a little, takes in what the threads handed over, and listens.
    fn look(&mut self) -> Result<(), Failure> {
        if self.desk.interrupts.sleep(LOOK) {
            self.interrupts_seen += 1;
            if self.interrupts_seen == 1 { self.stop()? } else { self.run.abandon() }
        }
        self.run.take_in()?;
        self.take_laps();
        if let Some(server) = &mut self.desk.server {
            server.turn(self.run.clock().now_ns());
        }
        let live = self.live();
        let packets = &mut self.packets;
        let mut more = |point: &mut Point| {
            let segments = packets.since_last();
            point.connections = live.connections;
            (point.segments_in, point.segments_out) = (segments.received, segments.sent);
        };
        while let Some(point) = self.run.series.complete(&mut more) {
            self.last = point.clone();
            if point.stage.is_some() || point.answered > 0 {
                self.desk.progress.second(point);
            }
            if let Some(exporter) = &mut self.desk.exporter {
                exporter.second(point, live);
            }
        }
        for (command, stream) in self.desk.control.as_mut().map(ControlSocket::poll).unwrap_or_default() {
            let done = match command {
                Ok(command) => self.command(command)?,
                Err(error) => Err(error),
            };
            control::answer(stream, done);
        }
        Ok(())
    }

    fn take_laps(&mut self) {
        for outcome in &mut self.outcomes {
            let Some(lap) = &mut outcome.lap else { continue };
            if lap.joined.is_none()
                && let Some(joined) = self.run.take_lap(lap.number)
            {
                self.laps_open -= 1;
                if let Some(exporter) = &mut self.desk.exporter {
                    exporter.stage(&joined.requests, joined.lateness.value_at_quantile(0.99));
                }
                lap.joined = Some(joined);
            }
        }
    }

    /// Ends the load early, in order.
    fn stop(&mut self) -> Result<(), Failure> {
        self.stopping = true;
        let at_ns = self.now_ns() + LEAD_NS;
        let Some(live) = self.live.filter(|live| live.end_ns > at_ns) else { return Ok(()) };
        let begin_ns = at_ns.max(live.begin_ns);
        self.follow(Segment { law: Law::Pause, begin_ns, end_ns: begin_ns, number: self.segments, ..live })?;
        self.run.series.cut(self.run.clock().second(begin_ns));
        if let Some(server) = &mut self.desk.server {
            server.cut(begin_ns);
        }
        if let Some(lap) = self.outcomes.last_mut().and_then(|last| last.lap.as_mut()) {
            lap.end_ns = begin_ns;
        }
        Ok(())
    }

    fn command(&mut self, command: Command) -> Result<Result<Option<Status>, String>, Failure> {
        Ok(match command {
            Command::Status => Ok(Some(self.status())),
            Command::Stop => {
                self.stop()?;
                Ok(None)
            }
            Command::Begin(at_unix_us) => self.begin(at_unix_us),
            Command::Pause if self.paused => Err("it is paused already".to_owned()),
            Command::Pause => self.change(Law::Pause)?,
            Command::Resume if !self.paused => Err("it is not paused".to_owned()),
            Command::Resume => match self.outcomes.last().and_then(|last| last.lap.as_ref()).map(|lap| lap.law) {
                Some(law) => self.change(law)?,
                None => Err("there is no load".to_owned()),
            },
            Command::Rate(rate) if rate > self.run.plan().live_rate_max() => Err(format!(
                "{rate}/s is above {}/s, for which this run has room: start one with a higher rate",
                self.run.plan().live_rate_max()
            )),
            Command::Rate(rate) => {
                let law = Law::Open { from: rate, to: rate, arrivals: self.run.plan().arrivals };
                self.change(law)?
            }
        })
    }

    /// The load at hand goes on by another law, until its end.
    fn change(&mut self, law: Law) -> Result<Result<Option<Status>, String>, Failure> {
        let at_ns = self.now_ns() + LEAD_NS;
        let Some(live) = self.live.filter(|live| live.begin_ns <= at_ns && at_ns + LEAD_NS < live.end_ns) else {
            return Ok(Err("there is no load that could be changed".to_owned()));
        };
        if matches!(live.law, Law::Closed { .. }) {
            return Ok(Err("a closed loop has no rate".to_owned()));
        }
        let first_slot = live.first_slot + live.slots_until(at_ns);
        let number = self.segments;
        self.follow(Segment { law, begin_ns: at_ns, number, first_slot, ..live })?;
        self.paused = law == Law::Pause;
        if let Some(lap) = self.outcomes.last_mut().and_then(|last| last.lap.as_mut()) {
            lap.changed(law);
        }
        Ok(Ok(None))
    }

    fn begin(&mut self, at_unix_us: Option<u64>) -> Result<Option<Status>, String> {
        if self.phase != Phase::Held {
            return Err("it does not wait for `begin`".to_owned());
        }
        let clock = self.run.clock();
        let soonest_ns = self.now_ns() + LEAD_NS;
        let at_ns = match at_unix_us {
            None => clock.whole_second(soonest_ns),
            Some(unix_us) => {
                let at_ns = clock.at_unix_ns(unix_us.saturating_mul(1_000));
                if at_ns < soonest_ns {
                    return Err(format!("that is too soon: give it {} ms at least", LEAD_NS / 1_000_000));
                }
                at_ns
            }
        };
        self.phase = Phase::Load;
        // Nothing but the time of it matters: the load is ordered from there.
        self.live = Some(Segment {
            lap: 0,
            number: 0,
            connections: 0,
            law: Law::Pause,
            tick: self.run.plan().tick,
            begin_ns: at_ns,
            end_ns: at_ns,
            measured_ns: at_ns,
            first_slot: 0,
        });
        Ok(None)
    }

    /// What goes on now, as far as a second does not tell it.
    fn live(&self) -> Live {
        let loaded = self.live.is_some_and(|live| (live.begin_ns..live.end_ns).contains(&self.now_ns()));
        Live {
            stage: self.outcomes.len() as u64,
            rate_qps: self.rate_target().filter(|_| loaded).unwrap_or_default(),
            connections_target: u64::from(self.connections),
            connections: self.run.established(),
            given_up: self.run.given_up(),
        }
    }

    fn rate_target(&self) -> Option<u64> {
        self.live.and_then(|live| match live.law {
            Law::Open { to, .. } => Some(to),
            Law::Pause => Some(0),
            Law::Closed { .. } => None,
        })
    }

    fn status(&self) -> Status {
        Status {
            phase: self.phase,
            stage: self.stage.clone(),
            connections: self.run.established(),
            connections_target: u64::from(self.connections),
            rate_target_qps: self.rate_target(),
            answered_last_s: self.last.answered,
            p99_us_last_s: self.last.p99_us,
        }
    }
}

fn shell(command: &str) -> Result<Child, Failure> {
    std::process::Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(std::process::Stdio::null())
        .spawn()
        .map_err(|error| Failure::error(format!("running --restart-command `{command}`: {error}")))
}

fn check_ended(child: &mut Child, progress: &Progress) {
    match child.try_wait() {
        Ok(Some(status)) if !status.success() => progress.say(&format!("--restart-command ended with {status}")),
        Ok(None) => progress.say("--restart-command still runs; it is left alone"),
        Ok(Some(_)) | Err(_) => {}
    }
}
