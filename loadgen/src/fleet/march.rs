//! From the order to connect to the end of the last agent's load: waits until all stand, gives the begin, watches, and passes commands on.

use std::time::{Duration, Instant};

use super::crew::{Crew, failed};
use super::protocol::{self, Reply, Request};
use super::session::unix_us;
use super::split;
use crate::control::{self, Command, ControlSocket, Phase, Status};
use crate::exit::Failure;
use crate::limits::{FLEET_GRACE_MS, FLEET_LEAD_MS};
use crate::progress::Progress;
use crate::scenario::Scenario;
use crate::signals::Interrupts;

/// How often commands and signals are looked for.
const LOOK: Duration = Duration::from_millis(100);

/// How often the agents are asked how far they are.
const ASK: Duration = Duration::from_secs(1);

/// See the module's text.
pub(super) struct March<'a> {
    crew: &'a mut Crew,
    scenario: &'a Scenario,
    control: Option<ControlSocket>,
    interrupts: &'a Interrupts,
    progress: &'a mut Progress,
    begin: Instant,
    begun: Option<Instant>,
    stopping: bool,
    /// What the agents last said, joined.
    last: Option<Status>,
}

impl<'a> March<'a> {
    pub(super) fn new(
        crew: &'a mut Crew,
        scenario: &'a Scenario,
        control: Option<ControlSocket>,
        interrupts: &'a Interrupts,
        progress: &'a mut Progress,
    ) -> Self {
        let begin = Instant::now();
        Self { crew, scenario, control, interrupts, progress, begin, begun: None, stopping: false, last: None }
    }

    /// Returns when every agent's load has ended with a report.
    pub(super) fn march(&mut self) -> Result<(), Failure> {
        let stages = self.scenario.stages.iter().map(|stage| stage.warm_up.0 + stage.duration.0);
        let deadline = stages.sum::<Duration>() + 2 * Duration::from_millis(FLEET_GRACE_MS);
        let mut awaits_begin = split::has_load(self.scenario);
        loop {
            let progress = self.ask()?;
            if progress.iter().all(|one| one.ended.is_some()) {
                return Ok(());
            }
            self.tell(&progress);
            if awaits_begin && progress.iter().all(|one| phase(one) == Some(Phase::Held)) {
                awaits_begin = false;
                self.give_begin()?;
            } else if awaits_begin && progress.iter().any(|one| one.ended.is_some()) {
                // One could not connect at all, or was stopped by hand: the others would wait for ever.
                awaits_begin = false;
                self.stop();
            } else if awaits_begin && self.begin.elapsed() > Duration::from_millis(FLEET_GRACE_MS) {
                return Err(Failure::error("the agents did not all have their connections in time"));
            }
            if self.begin.elapsed() > deadline {
                return Err(Failure::error("the agents did not end in time"));
            }
            self.look(ASK)?;
        }
    }

    /// Asks every agent. One whose load ended without a report is a failure.
    fn ask(&mut self) -> Result<Vec<protocol::Progress>, Failure> {
        let replies = self.crew.ask(|_, _| Request::Status)?;
        let names = self.crew.0.iter().map(|member| &member.name);
        replies
            .into_iter()
            .zip(names)
            .map(|(reply, name)| match reply {
                Reply::Status(progress) => match &progress.ended {
                    Some(ended) if !ended.reported => Err(failed(name, &format!("its load failed: {}", ended.words))),
                    _ => Ok(progress),
                },
                other => Err(failed(name, &format!("it answers with {other:?}"))),
            })
            .collect()
    }

    /// The same begin for all, each by its own clock: a whole second, in which the shakes of all lie between each other.
    fn give_begin(&mut self) -> Result<(), Failure> {
        let begin_us = (unix_us() + FLEET_LEAD_MS * 1_000).next_multiple_of(1_000_000);
        let scenario = self.scenario;
        self.crew.ask(|place, member| Request::Begin {
            unix_us: member.offset.to_agent_us(begin_us + split::stagger_us(scenario, place as u64)),
        })?;
        self.begun = Some(Instant::now() + Duration::from_micros(begin_us.saturating_sub(unix_us())));
        let connections = self.last.as_ref().map_or(0, |last| last.connections);
        self.progress.say(&format!(
            "all {} agents stand, with {connections} connections in {:.1} s; they begin together",
            self.crew.0.len(),
            self.begin.elapsed().as_secs_f64()
        ));
        let load: Duration = scenario.stages.iter().map(|stage| stage.warm_up.0 + stage.duration.0).sum();
        self.progress.begin_load(&scenario.name, load.as_secs());
        Ok(())
    }

    fn tell(&mut self, progress: &[protocol::Progress]) {
        let said: Vec<&Status> = progress.iter().filter_map(|one| one.run.as_ref()).collect();
        let Some(status) = join(&said) else { return };
        match self.begun.and_then(|begun| Instant::now().checked_duration_since(begun)) {
            Some(since) if status.phase == Phase::Load => {
                let line = format!(
                    "{}: {}/s answered, p99 {:.2} ms on the slowest of {} agents, {} connections",
                    status.stage,
                    status.answered_last_s,
                    status.p99_us_last_s as f64 / 1e3,
                    said.len(),
                    status.connections
                );
                self.progress.line(since.as_secs(), line);
            }
            _ => self.progress.ramp(status.connections, status.connections_target, self.begin.elapsed()),
        }
        self.last = Some(status);
    }

    /// Sees to commands and signals for this long.
    fn look(&mut self, time: Duration) -> Result<(), Failure> {
        let begin = Instant::now();
        while begin.elapsed() < time {
            if self.interrupts.sleep(LOOK) {
                if self.stopping {
                    return Err(Failure::error("ended by a second signal: there is no report"));
                }
                self.progress.say("stopping all agents; a second signal ends without a report");
                self.stop();
            }
            let commands = self.control.as_mut().map(ControlSocket::poll).unwrap_or_default();
            for (command, client) in commands {
                let answer = match command {
                    Ok(command) => self.command(command).map_err(|failure| failure.message),
                    Err(error) => Err(error),
                };
                control::answer(client, answer);
            }
        }
        Ok(())
    }

    fn command(&mut self, command: Command) -> Result<Option<Status>, Failure> {
        let agents = self.crew.0.len() as u64;
        match command {
            Command::Status => {
                return self.last.clone().map(Some).ok_or_else(|| Failure::error("no agent has said anything yet"));
            }
            Command::Begin(_) => {
                return Err(Failure::error("the coordinator gives the begin, when all agents stand"));
            }
            Command::Stop => self.stop(),
            Command::Pause => drop(self.crew.ask(|_, _| Request::Pause)?),
            Command::Resume => drop(self.crew.ask(|_, _| Request::Resume)?),
            Command::Rate(rate) => {
                let parts: Vec<u64> = (0..agents)
                    .map(|agent| split::rate_part(rate, agent, agents))
                    .collect::<Result<_, _>>()
                    .map_err(Failure::error)?;
                self.crew.ask(|place, _| Request::Rate { qps: parts[place] })?;
            }
        }
        Ok(None)
    }

    fn stop(&mut self) {
        self.stopping = true;
        // One whose load has just ended refuses to stop it: that is no failure, and a lost agent shows at the next question.
        if let Err(failure) = self.crew.ask(|_, _| Request::Stop) {
            self.progress.say(&failure.message);
        }
    }
}

fn phase(progress: &protocol::Progress) -> Option<Phase> {
    progress.run.as_ref().map(|run| run.phase)
}

/// As one run would say it: sums, the slowest percentile, and the phase of the one that is furthest behind.
pub(super) fn join(all: &[&Status]) -> Option<Status> {
    let first = *all.first()?;
    let order = |phase: Phase| match phase {
        Phase::Connecting => 0,
        Phase::Held => 1,
        Phase::Load => 2,
        Phase::Draining => 3,
    };
    let phase = all.iter().map(|status| status.phase).min_by_key(|phase| order(*phase))?;
    let sum = |of: fn(&Status) -> u64| all.iter().map(|status| of(status)).sum();
    Some(Status {
        phase,
        stage: first.stage.clone(),
        connections: sum(|status| status.connections),
        connections_target: sum(|status| status.connections_target),
        rate_target_qps: first.rate_target_qps.map(|_| sum(|status| status.rate_target_qps.unwrap_or_default())),
        answered_last_s: sum(|status| status.answered_last_s),
        p99_us_last_s: all.iter().map(|status| status.p99_us_last_s).max().unwrap_or_default(),
    })
}
