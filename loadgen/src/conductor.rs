//! Walks through the stages of a scenario: tells the threads what to do when, and writes down what came of it. Runs on the main thread.

mod restart;
mod search;
mod steering;

use std::time::Duration;

use crate::control::{self, ControlSocket, Phase};
use crate::exit::Failure;
use crate::exporter::Exporter;
use crate::gifts::load::GiftLaw;
use crate::limits::LAPS_OPEN_MAX;
use crate::orders::Order;
use crate::outcome::{LapOutcome, StageOutcome};
use crate::packets::Packets;
use crate::progress::Progress;
use crate::record::Lap;
use crate::run::Run;
use crate::scenario::{Scenario, Stage};
use crate::search::Answer;
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
    /// When the load begins, as `begin` said.
    begin_ns: Option<u64>,
    phase: Phase,
    last: Point,
    interrupts_seen: u32,
    stopping: bool,
    search: Option<Answer>,
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
    pub search: Option<Answer>,
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
            begin_ns: None,
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
            let begin_ns = if stage.has_load() && std::mem::take(&mut held) { self.await_begin()? } else { None };
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
        let closed = stage.depth.map(|depth| Law::Closed { depth });
        // Gifts alone: nobody shakes.
        let gifts = stage.gifts.filter(|_| stage.search.is_none()).map(|_| Law::Open { from: 0, to: 0, arrivals });
        open.or(closed).or(gifts)
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
        while self.phase == Phase::Held && self.goes_on() {
            self.look()?;
        }
        Ok(self.begin_ns.take())
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
            gifts: stage.gifts.as_ref().map(GiftLaw::from),
        };
        let number = self.laps;
        self.laps += 1;
        self.laps_open += 1;
        self.run
            .order(|| Order::Lap(if segment.gifts.is_some() { Lap::with_gifts(number) } else { Lap::new(number) }))?;
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
            if point.stage.is_some() || point.answered + point.gifts > 0 {
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
                    if let Some(gifts) = &joined.gifts {
                        exporter.stage_of_gifts(gifts);
                    }
                }
                lap.joined = Some(joined);
            }
        }
    }
}
