//! What is ordered, by configuration and operators, and what follows from it: pure, time is an argument.
//!
//! Nothing here speaks to a thread. A command changes what stands; [`in_force`](Standing::in_force) says what each thread is to hold to
//! then, and [`orders`](super::orders) tells them the difference.

use std::collections::BTreeMap;
use std::time::Duration;

use hongbao_protocol::UserId;

use super::schedule::{Running, Schedule};
use crate::admin::{Command, GiftsOrder, IntervalOrder, Playbook, RateOrder, RoundState, RoundStatus, Target};
use crate::exit::{Exit, Failure};
use crate::limits::{AWAY_MS, BARRED_USERS_MAX, ISSUE_RATE_UNLIMITED};
use crate::messages::{RoundTimes, Rules, SetCommand, Whom};
use crate::rounds::{Moment, Round};
use crate::units::{Period, Rate};

/// What the configuration says of what can change while the daemon runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Envelopes a second; [`ISSUE_RATE_UNLIMITED`] for no limit.
    pub issue_rate: u64,
    /// Envelopes a user may have of one sponsor; 0 for no limit. Those in all are among the rules.
    pub wins_per_sponsor: u32,
    /// What clients are held to.
    pub rules: Rules,
    /// The schedule of the show.
    pub rounds: Vec<Round>,
    /// Rehearsed sets of orders, by name.
    pub playbooks: BTreeMap<String, Playbook>,
}

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Now {
    /// Since the start; never goes back.
    pub(super) elapsed: Duration,
    /// By the wall clock, which rounds go by.
    pub(super) wall: Moment,
}

/// What the threads hold to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, and all combinations occur")]
pub(super) struct InForce {
    /// Envelopes a second that the feeder deals while it is not paused.
    pub(super) rate: u64,
    /// The feeder deals nothing.
    pub(super) paused: bool,
    /// The SETs hand out nothing and give their stock back.
    pub(super) held: bool,
    /// What the SETs hold clients to.
    pub(super) rules: Rules,
    /// The ledger grants no gift.
    pub(super) gifts_paused: bool,
    /// Caps of the ledger: in all, and of one sponsor.
    pub(super) caps: (u32, u32),
    /// The round that the feeder follows, unless an operator set the rate.
    pub(super) running: Option<Running>,
    pub(super) follows_rounds: bool,
    /// What clients are told of.
    pub(super) told: Option<RoundTimes>,
}

impl InForce {
    /// What threads that were started with this plan hold to, before they are told anything.
    pub(super) fn at_start(plan: &Plan) -> Self {
        Self {
            rate: plan.issue_rate,
            paused: false,
            held: false,
            rules: plan.rules,
            caps: (plan.rules.wins_per_user, plan.wins_per_sponsor),
            running: None,
            follows_rounds: true,
            told: None,
            gifts_paused: false,
        }
    }
}

/// To be sent to SETs, beside what follows from [`InForce`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// To all of them.
    All(SetCommand),
    /// To one.
    One(u32, SetCommand),
}

/// A playbook that was carried out.
#[derive(Clone, Debug)]
struct Played {
    name: String,
    /// What takes it back, in this order.
    undo: Vec<Command>,
}

/// What came of several orders.
struct AllDone {
    after: Standing,
    told: Vec<String>,
    errands: Vec<Errand>,
    /// What takes them back, in this order.
    undo: Vec<Command>,
}

/// What came of an order: what to tell the operator, and what errands follow.
type Done = (String, Vec<Errand>);

/// See the module's text.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    plan: Plan,
    /// Set by an operator, over the plan's.
    rate: Option<u64>,
    /// Set by an operator, over the plan's, in milliseconds.
    interval_ms: Option<u32>,
    paused: bool,
    schedule: Schedule,
    /// Playbooks in force, the latest last.
    played: Vec<Played>,
    gifts_paused: bool,
    /// Until when, where they are not barred for good.
    barred: BTreeMap<u64, Option<Duration>>,
    sets: u32,
    places_per_set: u32,
}

impl Standing {
    pub(super) fn new(plan: Plan, sets: u32, places_per_set: u32, now: Moment) -> Self {
        Self {
            schedule: Schedule::new(&plan.rounds, now),
            plan,
            rate: None,
            interval_ms: None,
            paused: false,
            gifts_paused: false,
            played: Vec::new(),
            barred: BTreeMap::new(),
            sets,
            places_per_set,
        }
    }

    /// The configuration's plan.
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Another configuration. What operators ordered stands on.
    pub(super) fn plan_anew(&mut self, plan: Plan, now: Moment) {
        self.schedule.plan_anew(&plan.rounds, now);
        self.plan = plan;
    }

    /// How each round stands.
    pub(super) fn rounds(&self, now: Moment) -> Vec<RoundStatus> {
        self.schedule.list(now)
    }

    /// The round that runs, or the next one.
    pub(super) fn round(&self, now: Moment) -> Option<RoundStatus> {
        let mut list = self.schedule.list(now);
        list.retain(|round| matches!(round.state, RoundState::Running | RoundState::Scheduled));
        list.into_iter().min_by_key(|round| round.start)
    }

    /// Playbooks in force, the latest last.
    pub(super) fn playbooks(&self) -> Vec<String> {
        self.played.iter().map(|played| played.name.clone()).collect()
    }

    /// What the threads are to hold to.
    pub(super) fn in_force(&self, now: Moment) -> InForce {
        let rate = self.rate.unwrap_or(self.plan.issue_rate);
        let running = self.schedule.now(now);
        let follows_rounds = self.rate.is_none();
        let (per_user, per_sponsor) = self.schedule.caps(now);
        let per_user = per_user.unwrap_or(self.plan.rules.wins_per_user);
        let ever = self.schedule.caps_to_come(now).chain([self.plan.rules.wins_per_user, per_user]);
        // 0 is no cap, and so the highest.
        let ever = ever.map(|cap| cap.wrapping_sub(1)).max().map_or(0, |cap| cap.wrapping_add(1));
        InForce {
            rate,
            paused: self.paused,
            held: self.paused || (rate == 0 && !(follows_rounds && running.is_some())),
            rules: Rules {
                shake_interval_ms: self.interval_ms.unwrap_or(self.plan.rules.shake_interval_ms),
                wins_per_user: per_user,
                wins_per_user_ever: ever,
                ..self.plan.rules
            },
            caps: (per_user, per_sponsor.unwrap_or(self.plan.wins_per_sponsor)),
            running,
            follows_rounds,
            told: self.schedule.times(now),
            gifts_paused: self.gifts_paused,
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether an operator set the rate.
    pub(super) fn rate_is_ordered(&self) -> bool {
        self.rate.is_some()
    }

    pub(super) fn barred(&self) -> usize {
        self.barred.len()
    }

    /// Carries out an order that changes what stands. A failure changes nothing.
    pub(super) fn carry_out(&mut self, command: &Command, now: Now) -> Result<Done, Failure> {
        let only = |message: String| Ok((message, Vec::new()));
        match command {
            Command::Rate { rate } => only(self.set_rate(*rate)),
            Command::Interval { interval } => only(self.set_interval(*interval)),
            Command::Pause if self.paused => only("it was paused already".to_owned()),
            Command::Pause => {
                self.paused = true;
                only("paused: nothing is issued until `ctl resume`; shakes are answered \"none\"".to_owned())
            }
            Command::Resume if !self.paused => only("it was not paused".to_owned()),
            Command::Resume => {
                self.paused = false;
                only(format!("resumed at {}", self.rate_in_words(now.wall)))
            }
            Command::Gifts { order } => {
                let pause = *order == GiftsOrder::Pause;
                let told = match (std::mem::replace(&mut self.gifts_paused, pause), pause) {
                    (false, true) => {
                        "gifts are paused until `ctl gifts resume` or a restart; those sent are opened and refunded"
                    }
                    (true, true) => "gifts were paused already",
                    (true, false) => "gifts are sent again",
                    (false, false) => "gifts were not paused",
                };
                only(told.to_owned())
            }
            Command::Kick { whom } => self.kick(*whom),
            Command::Bar { user, time } => self.bar(*user, *time, now.elapsed),
            Command::Unbar { user } => match self.barred.remove(user) {
                Some(_) => {
                    let errand = Errand::All(SetCommand::Unbar(UserId(*user)));
                    Ok((format!("user {user} is served again"), vec![errand]))
                }
                None => only(format!("user {user} was not barred")),
            },
            Command::Round { name, order } => only(self.schedule.shift(name, *order, now.wall)?),
            Command::Playbook { name, dry_run: true, undo } => only(self.rehearse(name, *undo, now)?),
            Command::Playbook { name, undo: false, .. } => self.play(name, now),
            Command::Playbook { name, undo: true, .. } => self.undo(name, now),
            Command::Rounds => only(self.list_rounds(now.wall)),
            Command::Playbooks => only(self.list_playbooks()),
            Command::Status | Command::Drain | Command::Reload => unreachable!("the desk sees to these"),
        }
    }

    /// Bars whose time is over: the next one, lifted.
    pub(super) fn lift_bar(&mut self, now: Duration) -> Option<(u64, Errand)> {
        let over = self.barred.iter().find(|(_, until)| until.is_some_and(|until| until <= now));
        let user = *over?.0;
        self.barred.remove(&user);
        Some((user, Errand::All(SetCommand::Unbar(UserId(user)))))
    }

    /// The rate that is due while nothing is paused.
    fn rate_in_words(&self, now: Moment) -> String {
        match self.round(now).filter(|round| round.state == RoundState::Running) {
            Some(round) if self.rate.is_none() => format!("the pace of round `{}`", round.name),
            _ => as_rate(self.rate.unwrap_or(self.plan.issue_rate)).to_string(),
        }
    }

    fn set_rate(&mut self, order: RateOrder) -> String {
        let planned = as_rate(self.plan.issue_rate);
        let mut said = match order {
            RateOrder::Planned => {
                self.rate = None;
                format!("the rate is as planned: {planned}, and in rounds theirs")
            }
            RateOrder::At(rate) => {
                let number = match rate {
                    Rate::PerSecond(number) => number,
                    Rate::Unlimited => ISSUE_RATE_UNLIMITED,
                };
                self.rate = Some(number);
                format!("the rate is {rate}, in rounds too, until `ctl rate planned` or a restart (planned: {planned})")
            }
        };
        if self.paused {
            said.push_str("; it is PAUSED, and nothing is issued before `ctl resume`");
        }
        said
    }

    fn set_interval(&mut self, order: IntervalOrder) -> String {
        let planned = Period::millis(self.plan.rules.shake_interval_ms.into());
        match order {
            IntervalOrder::Planned => {
                self.interval_ms = None;
                format!("a client may shake every {planned}, as planned")
            }
            IntervalOrder::At(period) => {
                self.interval_ms = Some(period.as_millis_u32());
                format!(
                    "a client may shake every {period} until `ctl interval planned` or a restart (planned: {planned})"
                )
            }
        }
    }

    fn playbook(&self, name: &str) -> Result<&Playbook, Failure> {
        self.plan.playbooks.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.plan.playbooks.keys().map(String::as_str).collect();
            let known = if names.is_empty() { "none is configured".to_owned() } else { names.join(", ") };
            Failure::new(Exit::Usage, format!("there is no playbook `{name}`: {known}"))
        })
    }

    /// What would take this order back, as things stand.
    fn inverse(&self, command: &Command) -> Option<Command> {
        Some(match command {
            Command::Rate { .. } => {
                Command::Rate { rate: self.rate.map_or(RateOrder::Planned, |rate| RateOrder::At(as_rate(rate))) }
            }
            Command::Interval { .. } => {
                let period = |ms: u32| IntervalOrder::At(Period::millis(ms.into()));
                Command::Interval { interval: self.interval_ms.map_or(IntervalOrder::Planned, period) }
            }
            Command::Pause if !self.paused => Command::Resume,
            Command::Resume if self.paused => Command::Pause,
            Command::Gifts { order: GiftsOrder::Pause } if !self.gifts_paused => {
                Command::Gifts { order: GiftsOrder::Resume }
            }
            Command::Gifts { order: GiftsOrder::Resume } if self.gifts_paused => {
                Command::Gifts { order: GiftsOrder::Pause }
            }
            Command::Bar { user, .. } if !self.barred.contains_key(user) => Command::Unbar { user: *user },
            Command::Unbar { user } if self.barred.contains_key(user) => Command::Bar { user: *user, time: None },
            _ => return None,
        })
    }

    /// Carries out orders in their order, all or none: what each did, the errands, and what takes them back.
    fn carry_out_all(&self, actions: &[Command], now: Now) -> Result<AllDone, Failure> {
        let mut after = self.clone();
        let (mut told, mut errands, mut undo) = (Vec::new(), Vec::new(), Vec::new());
        for action in actions {
            undo.extend(after.inverse(action));
            let (message, more) = after.carry_out(action, now).map_err(|failure| {
                Failure::new(
                    failure.exit,
                    format!("`{action}` cannot be done, and so nothing was: {}", failure.message),
                )
            })?;
            told.push(format!("{action}: {}", message.replace("{}", "their connections")));
            errands.extend(more);
        }
        undo.reverse();
        Ok(AllDone { after, told, errands, undo })
    }

    fn rehearse(&self, name: &str, undo: bool, now: Now) -> Result<String, Failure> {
        let actions = if undo { &self.played(name)?.undo } else { &self.playbook(name)?.actions };
        let told = self.carry_out_all(actions, now)?.told;
        Ok(format!("nothing was done; this would be:\n  {}", told.join("\n  ")))
    }

    fn played(&self, name: &str) -> Result<&Played, Failure> {
        self.played.iter().rev().find(|played| played.name == name).ok_or_else(|| {
            let names = self.playbooks();
            let known = if names.is_empty() { "none is".to_owned() } else { format!("in force: {}", names.join(", ")) };
            Failure::new(Exit::Usage, format!("playbook `{name}` is not in force: {known}"))
        })
    }

    fn play(&mut self, name: &str, now: Now) -> Result<Done, Failure> {
        if self.played.iter().any(|played| played.name == name) {
            return Err(Failure::new(
                Exit::Usage,
                format!("playbook `{name}` is in force already; --undo takes it back"),
            ));
        }
        let actions = self.playbook(name)?.actions.clone();
        let AllDone { after, told, errands, undo } = self.carry_out_all(&actions, now)?;
        *self = after;
        self.played.push(Played { name: name.to_owned(), undo });
        Ok((format!("playbook `{name}` is carried out (--undo takes it back):\n  {}", told.join("\n  ")), errands))
    }

    fn undo(&mut self, name: &str, now: Now) -> Result<Done, Failure> {
        let undo = self.played(name)?.undo.clone();
        let AllDone { after, told, errands, .. } = self.carry_out_all(&undo, now)?;
        *self = after;
        self.played.retain(|played| played.name != name);
        Ok((format!("playbook `{name}` is undone:\n  {}", told.join("\n  ")), errands))
    }

    fn list_rounds(&self, now: Moment) -> String {
        let lines: Vec<String> = self.rounds(now).iter().map(ToString::to_string).collect();
        if lines.is_empty() { "no rounds are configured".to_owned() } else { lines.join("\n") }
    }

    fn list_playbooks(&self) -> String {
        let mut lines = Vec::new();
        for (name, Playbook { note, actions }) in &self.plan.playbooks {
            let in_force = if self.played.iter().any(|played| played.name == *name) { " IN FORCE" } else { "" };
            let note = note.as_deref().map(|note| format!("  {note}")).unwrap_or_default();
            let actions: Vec<String> = actions.iter().map(Command::to_string).collect();
            lines.push(format!("{name}{in_force}: {}{note}", actions.join("; ")));
        }
        if lines.is_empty() { "no playbooks are configured".to_owned() } else { lines.join("\n") }
    }

    fn kick(&self, whom: Target) -> Result<Done, Failure> {
        let usage = |message| Err(Failure::new(Exit::Usage, message));
        match whom {
            Target::User(user) => {
                let errand = Errand::All(SetCommand::Dismiss(Whom::User(UserId(user))));
                Ok((format!("user {user}: sent away from {{}}; they may come back"), vec![errand]))
            }
            Target::Place { set, .. } if set >= self.sets => {
                usage(format!("there is no SET {set}: they are numbered 0 to {}", self.sets - 1))
            }
            Target::Place { set, slot } if slot >= self.places_per_set => {
                usage(format!("SET {set} has no place {slot}: they are numbered 0 to {}", self.places_per_set - 1))
            }
            Target::Place { set, slot } => {
                let errand = Errand::One(set, SetCommand::Dismiss(Whom::Slot(slot)));
                Ok((format!("place {slot} of SET {set}: {{}} sent away"), vec![errand]))
            }
        }
    }

    fn bar(&mut self, user: u64, time: Option<Period>, now: Duration) -> Result<Done, Failure> {
        if self.barred.len() >= BARRED_USERS_MAX && !self.barred.contains_key(&user) {
            let said = format!("{BARRED_USERS_MAX} users are barred, and no more may be: unbar some");
            return Err(Failure::new(Exit::Unavailable, said));
        }
        self.barred.insert(user, time.map(|time| now + time.0));
        let retry_after_ms = time.map_or(BARRED_AWAY_MS, |time| time.as_millis_u32().max(AWAY_MS));
        let until = time.map_or("until `ctl unbar`, or a restart".to_owned(), |time| format!("for {time}"));
        let errand = Errand::All(SetCommand::Bar { user: UserId(user), retry_after_ms });
        Ok((format!("user {user} is barred {until}: sent away from {{}}"), vec![errand]))
    }
}

/// How long somebody who is barred for good is told to stay away, in milliseconds: an hour.
const BARRED_AWAY_MS: u32 = 60 * 60 * 1000;

/// A number of a message as the unit that people read.
pub(super) fn as_rate(number: u64) -> Rate {
    if number == ISSUE_RATE_UNLIMITED { Rate::Unlimited } else { Rate::PerSecond(number) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::control) const RULES: Rules = Rules {
        shake_interval_ms: 5000,
        login_timeout_ms: 5000,
        idle_timeout_ms: 60_000,
        wins_per_user: 3,
        wins_per_user_ever: 3,
    };

    const NOON: Moment = Moment(1_800_000_000_000_000);
    const NOW: Now = Now { elapsed: Duration::from_secs(100), wall: NOON };

    fn plan() -> Plan {
        let playbooks = r#"{"calm": {"actions": ["rate 50/s", "interval 20s", "pause", "bar 7", "rate 40/s"]},
            "full": {"actions": ["pause", "bar 100000"]}}"#;
        let playbooks = serde_json::from_str(playbooks).expect("playbooks");
        Plan { issue_rate: 200, wins_per_sponsor: 1, rules: RULES, rounds: Vec::new(), playbooks }
    }

    fn standing() -> Standing {
        Standing::new(plan(), 2, 100, NOON)
    }

    fn order(standing: &mut Standing, words: &str) -> Result<Done, Failure> {
        standing.carry_out(&words.parse().expect("an order"), NOW)
    }

    #[test]
    fn an_undone_playbook_leaves_everything_as_it_was_before() {
        let mut standing = standing();
        order(&mut standing, "rate 70/s").expect("done");
        let before = standing.in_force(NOON);
        let rehearsed = order(&mut standing, "playbook calm --dry-run").expect("told").0;
        assert!(rehearsed.contains("nothing was done") && rehearsed.contains("interval 20s: "), "{rehearsed}");
        assert_eq!((standing.in_force(NOON), standing.barred()), (before, 0));
        let (_, errands) = order(&mut standing, "playbook calm").expect("done");
        assert_eq!(errands.len(), 1);
        let calm = standing.in_force(NOON);
        assert_eq!((calm.rate, calm.paused, calm.rules.shake_interval_ms), (40, true, 20_000));
        assert!(order(&mut standing, "playbook calm").is_err(), "once at a time");
        assert!(order(&mut standing, "playbooks").expect("told").0.contains("calm IN FORCE"));
        let (_, errands) = order(&mut standing, "playbook calm --undo").expect("done");
        assert_eq!(errands, [Errand::All(SetCommand::Unbar(UserId(7)))]);
        assert_eq!((standing.in_force(NOON), standing.barred()), (before, 0));
        assert!(order(&mut standing, "playbook calm --undo").is_err());
    }

    #[test]
    fn a_playbook_that_cannot_be_finished_is_not_begun() {
        let mut standing = standing();
        for user in 0..BARRED_USERS_MAX {
            order(&mut standing, &format!("bar {user}")).expect("room");
        }
        let refused = order(&mut standing, "playbook full").expect_err("no room for one more");
        assert!(refused.message.contains("`bar 100000` cannot be done"), "{refused}");
        assert!(!standing.is_paused() && standing.playbooks().is_empty());
        assert!(order(&mut standing, "playbook none").expect_err("no such").message.contains("calm, full"));
    }

    #[test]
    fn a_round_has_its_own_caps_and_nobody_gives_up_before_the_last() {
        let rounds = r#"[{"name": "one", "start": "2027-01-15T08:00:10Z", "duration": "10s", "rate": "5/s", "cap_per_user": 1},
            {"name": "two", "start": "2027-01-15T08:00:30Z", "duration": "10s", "rate": "5/s", "cap_per_user": 9}]"#;
        let rounds = serde_json::from_str(rounds).expect("rounds");
        let mut standing = Standing::new(Plan { rounds, issue_rate: 0, ..plan() }, 2, 100, NOON);
        let at = |standing: &Standing, second: u64| standing.in_force(NOON.plus(Duration::from_secs(second)));
        let caps = |force: InForce| (force.caps, force.rules.wins_per_user, force.rules.wins_per_user_ever);
        assert_eq!(caps(at(&standing, 0)), ((3, 1), 3, 9));
        assert_eq!(caps(at(&standing, 10)), ((1, 1), 1, 9));
        assert_eq!(caps(at(&standing, 35)), ((9, 1), 9, 9));
        assert_eq!(caps(at(&standing, 40)), ((3, 1), 3, 3));
        assert_eq!([0, 10, 20, 30].map(|second| at(&standing, second).held), [true, false, true, false]);
        order(&mut standing, "rate 0/s").expect("done");
        assert!(at(&standing, 10).held, "the operator's rate goes before the round's");
    }

    #[test]
    fn a_pause_outlives_every_change_of_the_rate() {
        let mut standing = standing();
        order(&mut standing, "pause").expect("done");
        assert!(order(&mut standing, "rate 70/s").expect("done").0.contains("PAUSED"));
        assert!(standing.in_force(NOON).paused && standing.in_force(NOON).held);
        standing.plan_anew(Plan { issue_rate: 300, ..plan() }, NOON);
        assert!(standing.in_force(NOON).paused);
        order(&mut standing, "resume").expect("done");
        assert_eq!(
            (standing.in_force(NOON).rate, standing.in_force(NOON).held),
            (70, false),
            "the operator's, over the plan's"
        );
        order(&mut standing, "rate planned").expect("done");
        assert_eq!(standing.in_force(NOON).rate, 300);
    }

    #[test]
    fn gifts_are_paused_apart_from_envelopes() {
        let mut standing = standing();
        order(&mut standing, "gifts pause").expect("done");
        assert!(standing.in_force(NOON).gifts_paused && !standing.in_force(NOON).paused);
        order(&mut standing, "pause").expect("done");
        order(&mut standing, "gifts resume").expect("done");
        assert!(!standing.in_force(NOON).gifts_paused && standing.in_force(NOON).paused);
    }

    #[test]
    fn at_a_rate_of_nothing_no_set_keeps_its_stock() {
        let mut standing = standing();
        order(&mut standing, "rate 0/s").expect("done");
        assert!(standing.in_force(NOON).held);
        order(&mut standing, "rate unlimited").expect("done");
        assert_eq!((standing.in_force(NOON).rate, standing.in_force(NOON).held), (ISSUE_RATE_UNLIMITED, false));
    }

    #[test]
    fn a_bar_is_lifted_when_its_time_is_over_and_not_before() {
        let mut standing = standing();
        order(&mut standing, "bar 7 --for 30s").expect("done");
        order(&mut standing, "bar 8").expect("done");
        assert_eq!(standing.lift_bar(Duration::from_secs(129)), None);
        let lifted = standing.lift_bar(Duration::from_secs(130));
        assert_eq!(lifted, Some((7, Errand::All(SetCommand::Unbar(UserId(7))))));
        assert_eq!((standing.lift_bar(Duration::MAX), standing.barred()), (None, 1));
    }

    #[test]
    fn more_users_than_a_set_can_keep_are_not_barred() {
        let mut standing = standing();
        for user in 0..BARRED_USERS_MAX {
            order(&mut standing, &format!("bar {user}")).expect("room");
        }
        assert!(order(&mut standing, "bar 5").is_ok(), "once more is no more");
        let refused = order(&mut standing, "bar 100000").expect_err("no room");
        assert!(refused.message.contains("unbar"), "{refused}");
        assert_eq!(standing.barred(), BARRED_USERS_MAX);
    }

    #[test]
    fn a_connection_that_cannot_be_is_told_so() {
        let mut standing = standing();
        assert!(order(&mut standing, "kick 2/0").expect_err("two SETs").message.contains("0 to 1"));
        assert!(order(&mut standing, "kick 1/100").expect_err("100 places").message.contains("0 to 99"));
        assert!(order(&mut standing, "kick 1/99").is_ok());
    }
}
