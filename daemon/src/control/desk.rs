//! Where orders come in, from the admin socket and from SIGHUP, and where their answers go out once they are in force.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::meter::Meter;
use super::orders::{Commands, Mark};
use super::socket::{AdminSocket, ClientId, Peer};
use super::standing::{InForce, Now, Plan, Standing};
use super::survey::Survey;
use crate::admin::{Command, Keys, Reply, Request};
use crate::cells::{CommandOutcome, ControlCells};
use crate::exit::{Exit, Failure};
use crate::limits::{COMMAND_IN_FORCE_MS, COMMAND_LOOK_MS};
use crate::rounds::Moment;

/// Reads the configuration again; `launch` knows how.
pub trait Reload {
    /// The new configuration, whole and good; or what is wrong with it.
    fn reload(&mut self) -> Result<Reloaded, Failure>;
}

/// A configuration that was read again.
pub struct Reloaded {
    /// What changed.
    pub keys: Keys,
    /// What it says of what can change while the daemon runs.
    pub plan: Plan,
}

/// Who ordered.
#[derive(Clone, Debug)]
enum Sender {
    /// Over the socket.
    Operator { client: ClientId, peer: Peer, on_behalf_of: Option<String> },
    /// SIGHUP.
    Signal,
}

/// An order whose answer waits until it is in force.
struct Pending {
    sender: Sender,
    command: Command,
    since: Duration,
    mark: Mark,
    reply: Reply,
    /// Connections that had been sent away before; the reply's `{}` is how many since.
    sent_away_before: u64,
}

/// See the module's text.
pub struct Desk<'a> {
    socket: Option<AdminSocket>,
    standing: Standing,
    survey: Survey,
    reload: Box<dyn Reload + 'a>,
    cells: Arc<ControlCells>,
    meter: Meter,
    pending: Vec<Pending>,
    /// What the threads were told to hold to.
    in_force: InForce,
    stopping: bool,
}

impl<'a> Desk<'a> {
    /// Opens it. `plan` is what the threads were started with.
    pub fn new(
        socket: Option<AdminSocket>,
        plan: Plan,
        survey: Survey,
        reload: Box<dyn Reload + 'a>,
        cells: Arc<ControlCells>,
    ) -> Self {
        let started_with = InForce::at_start(&plan);
        let standing = Standing::new(plan, survey.sets.len() as u32, survey.facts.places_per_set, wall());
        let mut meter = Meter::default();
        meter.take(survey.sample(Duration::ZERO));
        Self {
            socket,
            standing,
            survey,
            reload,
            cells,
            meter,
            pending: Vec::new(),
            in_force: started_with,
            stopping: false,
        }
    }

    /// The socket, for whoever waits for what comes.
    pub(super) fn socket(&self) -> Option<&AdminSocket> {
        self.socket.as_ref()
    }

    /// How long nobody need look here, unless something comes.
    pub(super) fn patience(&self) -> Duration {
        if !self.pending.is_empty() {
            return Duration::from_millis(COMMAND_LOOK_MS);
        }
        let now = wall();
        // Until the next begin or end; a millisecond more, so that it is over then.
        let until = |at_us: u64| Moment(at_us).since(now) + Duration::from_millis(1);
        self.in_force
            .told
            .map_or(Duration::MAX, |round| until(if round.start_us > now.0 { round.start_us } else { round.end_us }))
    }

    /// The daemon is on its way out: questions are still answered.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    /// Takes what has come, and answers what is in force. True where somebody ordered the end.
    pub(super) fn look(&mut self, commands: &mut Commands, now: Duration) -> bool {
        if self.meter.is_due(now) {
            self.meter.take(self.survey.sample(now));
        }
        while let Some((user, errand)) = self.standing.lift_bar(now) {
            tracing::info!(user, "the bar's time is over");
            commands.run(errand);
        }
        // Rounds begin and end by themselves.
        self.bring_into_force(commands);
        let mut stop = false;
        let lines = self.socket.as_mut().map(|socket| socket.lines(now)).unwrap_or_default();
        for (client, peer, line) in lines {
            match serde_json::from_slice::<Request>(&line) {
                Ok(Request { command, on_behalf_of }) => {
                    stop |= command == Command::Drain;
                    self.take(Sender::Operator { client, peer, on_behalf_of }, command, commands, now);
                }
                Err(error) => {
                    tracing::warn!(uid = peer.user, pid = peer.process, %error, "an admin client sent no command");
                    let said = format!("no command: {error}. A line is as in {{\"command\":\"status\"}}");
                    self.answer(client, &Reply::refused(&Failure::new(Exit::Usage, said)), now);
                }
            }
        }
        commands.hand_over();
        self.answer_those_in_force(commands, now);
        stop && !self.stopping
    }

    /// SIGHUP.
    pub(super) fn hang_up(&mut self, commands: &mut Commands, now: Duration) {
        self.take(Sender::Signal, Command::Reload, commands, now);
    }

    fn take(&mut self, sender: Sender, command: Command, commands: &mut Commands, now: Duration) {
        let sent_away_before = self.survey.sent_away();
        let reply = match &command {
            Command::Status => {
                let status =
                    self.survey.status(&self.standing, self.stopping, &self.meter, Now { elapsed: now, wall: wall() });
                Ok(Reply { status: Some(Box::new(status)), ..Reply::done("") })
            }
            _ if self.stopping && !command.is_question() => {
                Err(Failure::new(Exit::Unavailable, "the daemon is on its way out and takes no more orders"))
            }
            Command::Drain => Ok(Reply::done(format!(
                "draining: nobody new is let in, {} connections are answered and sent away, then the daemon ends",
                self.survey.connections_open()
            ))),
            Command::Reload => self.reload(),
            _ => self.standing.carry_out(&command, Now { elapsed: now, wall: wall() }).map(|(message, errands)| {
                for errand in errands {
                    commands.run(errand);
                }
                let rounds = (command == Command::Rounds).then(|| self.standing.rounds(wall()));
                Reply { rounds, ..Reply::done(message) }
            }),
        };
        self.bring_into_force(commands);
        let reply = reply.unwrap_or_else(|failure| Reply::refused(&failure));
        let pending = Pending { sender, command, since: now, mark: commands.mark(), reply, sent_away_before };
        if pending.command.is_question() || !pending.reply.ok {
            self.finish(pending, None, now);
        } else {
            self.pending.push(pending);
        }
    }

    /// Tells the threads what is new to them.
    fn bring_into_force(&mut self, commands: &mut Commands) {
        if self.stopping {
            return;
        }
        let now = wall();
        let after = self.standing.in_force(now);
        if after == self.in_force {
            return;
        }
        if after.running.is_some() != self.in_force.running.is_some() {
            let round = self.standing.round(now).map(|round| round.to_string());
            tracing::info!(runs = after.running.is_some(), round, "a round begins or ends");
        }
        commands.change(&self.in_force, &after, now);
        self.in_force = after;
    }

    fn reload(&mut self) -> Result<Reply, Failure> {
        let reloaded = self.reload.reload();
        self.cells.reloads[usize::from(reloaded.is_ok())].add(1);
        let Reloaded { keys, plan } = reloaded?;
        self.standing.plan_anew(plan, wall());
        let mut said = match keys.changed.as_slice() {
            [] => "reloaded: nothing changed that can change now".to_owned(),
            changed => format!("reloaded, in force now: {}", changed.join(", ")),
        };
        if !keys.after_restart.is_empty() {
            said = format!("{said}. NOT in force before a restart: {}", keys.after_restart.join(", "));
        }
        Ok(Reply { reloaded: Some(keys), ..Reply::done(said) })
    }

    fn answer_those_in_force(&mut self, commands: &Commands, now: Duration) {
        let mut place = 0;
        while place < self.pending.len() {
            let pending = &self.pending[place];
            let behind = commands.behind(&pending.mark);
            let is_late = now.saturating_sub(pending.since) > Duration::from_millis(COMMAND_IN_FORCE_MS);
            if behind.is_empty() || is_late {
                let pending = self.pending.remove(place);
                self.finish(pending, Some(&behind), now);
            } else {
                place += 1;
            }
        }
    }

    /// Answers and logs. `behind` are the threads that have not obeyed; `None` where there was nothing to obey.
    fn finish(&mut self, pending: Pending, behind: Option<&[String]>, now: Duration) {
        let Pending { sender, command, since, mut reply, sent_away_before, .. } = pending;
        if reply.message.contains("{}") {
            let count = self.survey.sent_away() - sent_away_before;
            let counted = format!("{count} connection{}", if count == 1 { "" } else { "s" });
            reply.message = reply.message.replace("{}", &counted);
        }
        let outcome = match behind {
            _ if !reply.ok => CommandOutcome::Refused,
            Some([]) => {
                reply.in_force_ms = Some((now.saturating_sub(since).as_secs_f64() * 1e5).round() / 100.0);
                CommandOutcome::Done
            }
            Some(behind) => {
                reply.message = format!(
                    "{}. NOT CONFIRMED within {COMMAND_IN_FORCE_MS} ms by {}: it is in their queues; look at `ctl status`",
                    reply.message,
                    behind.join(" ")
                );
                CommandOutcome::Late
            }
            None => CommandOutcome::Done,
        };
        self.cells.commands[command.number()][outcome as usize].add(1);
        log(&sender, &command, &reply, outcome);
        if let Sender::Operator { client, .. } = sender {
            self.answer(client, &reply, now);
        }
    }

    fn answer(&mut self, client: ClientId, reply: &Reply, now: Duration) {
        if let Some(socket) = &mut self.socket {
            socket.answer(client, reply, now);
        }
    }
}

/// The wall clock; one before 1970 reads as 1970.
fn wall() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// One line for each order, with who sent it.
fn log(sender: &Sender, command: &Command, reply: &Reply, outcome: CommandOutcome) {
    if command.is_question() {
        return;
    }
    let (outcome, in_force_ms, answer) = (outcome.label(), reply.in_force_ms, &reply.message);
    match sender {
        Sender::Operator { peer, on_behalf_of, .. } => tracing::info!(
            %command,
            uid = peer.user,
            gid = peer.group,
            pid = peer.process,
            on_behalf_of,
            outcome,
            in_force_ms,
            answer,
            "operator command"
        ),
        Sender::Signal => tracing::info!(%command, signal = "SIGHUP", outcome, in_force_ms, answer, "operator command"),
    }
}
