//! What is ordered, by configuration and operators, and what follows from it: pure, time is an argument.
//!
//! Nothing here speaks to a thread. A command changes what stands; [`in_force`](Standing::in_force) says what each thread is to hold to
//! then, and [`orders`](super::orders) tells them the difference.

use std::collections::BTreeMap;
use std::time::Duration;

use hongbao_protocol::UserId;

use crate::admin::{Command, RateOrder, Target};
use crate::exit::{Exit, Failure};
use crate::limits::{AWAY_MS, BARRED_USERS_MAX, ISSUE_RATE_UNLIMITED};
use crate::messages::{Rules, SetCommand, Whom};
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
}

/// What the threads hold to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InForce {
    /// Envelopes a second that the feeder deals while it is not paused.
    pub(super) rate: u64,
    /// The feeder deals nothing.
    pub(super) paused: bool,
    /// The SETs hand out nothing and give their stock back.
    pub(super) held: bool,
    /// What the SETs hold clients to.
    pub(super) rules: Rules,
    /// Caps of the ledger: in all, and of one sponsor.
    pub(super) caps: (u32, u32),
}

/// To be sent to SETs, beside what follows from [`InForce`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// To all of them.
    All(SetCommand),
    /// To one.
    One(u32, SetCommand),
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Standing {
    plan: Plan,
    /// Set by an operator, over the plan's.
    rate: Option<u64>,
    paused: bool,
    /// Until when, where they are not barred for good.
    barred: BTreeMap<u64, Option<Duration>>,
    sets: u32,
    places_per_set: u32,
}

impl Standing {
    pub(super) fn new(plan: Plan, sets: u32, places_per_set: u32) -> Self {
        Self { plan, rate: None, paused: false, barred: BTreeMap::new(), sets, places_per_set }
    }

    /// The configuration's plan.
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Another configuration. What operators ordered stands on.
    pub(super) fn plan_anew(&mut self, plan: Plan) {
        self.plan = plan;
    }

    /// What the threads are to hold to.
    pub(super) fn in_force(&self) -> InForce {
        let rate = self.rate.unwrap_or(self.plan.issue_rate);
        InForce {
            rate,
            paused: self.paused,
            held: self.paused || rate == 0,
            rules: self.plan.rules,
            caps: (self.plan.rules.wins_per_user, self.plan.wins_per_sponsor),
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

    /// Carries out an order that changes what stands: what to tell the operator, and what errands follow. A failure changes nothing.
    pub(super) fn carry_out(&mut self, command: &Command, now: Duration) -> Result<(String, Option<Errand>), Failure> {
        match command {
            Command::Rate { rate } => Ok((self.set_rate(*rate), None)),
            Command::Pause if self.paused => Ok(("it was paused already".to_owned(), None)),
            Command::Pause => {
                self.paused = true;
                Ok(("paused: nothing is issued until `ctl resume`; shakes are answered \"none\"".to_owned(), None))
            }
            Command::Resume if !self.paused => Ok(("it was not paused".to_owned(), None)),
            Command::Resume => {
                self.paused = false;
                Ok((format!("resumed at {}", as_rate(self.in_force().rate)), None))
            }
            Command::Kick { whom } => self.kick(*whom),
            Command::Bar { user, time } => self.bar(*user, *time, now),
            Command::Unbar { user } => match self.barred.remove(user) {
                Some(_) => {
                    let errand = Errand::All(SetCommand::Unbar(UserId(*user)));
                    Ok((format!("user {user} is served again"), Some(errand)))
                }
                None => Ok((format!("user {user} was not barred"), None)),
            },
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

    fn set_rate(&mut self, order: RateOrder) -> String {
        let planned = as_rate(self.plan.issue_rate);
        let mut said = match order {
            RateOrder::Planned => {
                self.rate = None;
                format!("the rate is {planned}, as planned")
            }
            RateOrder::At(rate) => {
                let number = match rate {
                    Rate::PerSecond(number) => number,
                    Rate::Unlimited => ISSUE_RATE_UNLIMITED,
                };
                self.rate = Some(number);
                format!("the rate is {rate} until `ctl rate planned` or a restart (planned: {planned})")
            }
        };
        if self.paused {
            said.push_str("; it is PAUSED, and nothing is issued before `ctl resume`");
        }
        said
    }

    fn kick(&self, whom: Target) -> Result<(String, Option<Errand>), Failure> {
        let usage = |message| Err(Failure::new(Exit::Usage, message));
        match whom {
            Target::User(user) => {
                let errand = Errand::All(SetCommand::Dismiss(Whom::User(UserId(user))));
                Ok((format!("user {user}: sent away from {{}}; they may come back"), Some(errand)))
            }
            Target::Place { set, .. } if set >= self.sets => {
                usage(format!("there is no SET {set}: they are numbered 0 to {}", self.sets - 1))
            }
            Target::Place { set, slot } if slot >= self.places_per_set => {
                usage(format!("SET {set} has no place {slot}: they are numbered 0 to {}", self.places_per_set - 1))
            }
            Target::Place { set, slot } => {
                let errand = Errand::One(set, SetCommand::Dismiss(Whom::Slot(slot)));
                Ok((format!("place {slot} of SET {set}: {{}} sent away"), Some(errand)))
            }
        }
    }

    fn bar(&mut self, user: u64, time: Option<Period>, now: Duration) -> Result<(String, Option<Errand>), Failure> {
        if self.barred.len() >= BARRED_USERS_MAX && !self.barred.contains_key(&user) {
            let said = format!("{BARRED_USERS_MAX} users are barred, and no more may be: unbar some");
            return Err(Failure::new(Exit::Unavailable, said));
        }
        self.barred.insert(user, time.map(|time| now + time.0));
        let retry_after_ms = time.map_or(BARRED_AWAY_MS, |time| time.as_millis_u32().max(AWAY_MS));
        let until = time.map_or("until `ctl unbar`, or a restart".to_owned(), |time| format!("for {time}"));
        let errand = Errand::All(SetCommand::Bar { user: UserId(user), retry_after_ms });
        Ok((format!("user {user} is barred {until}: sent away from {{}}"), Some(errand)))
    }
}

/// How long somebody who is barred for good is told to stay away, in milliseconds: an hour.
const BARRED_AWAY_MS: u32 = 60 * 60 * 1000;

/// A number of a message as the unit that people read.
pub(super) fn as_rate(number: u64) -> Rate {
    if number == ISSUE_RATE_UNLIMITED { Rate::Unlimited } else { Rate::PerSecond(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules =
        Rules { shake_interval_ms: 5000, login_timeout_ms: 5000, idle_timeout_ms: 60_000, wins_per_user: 3 };

    fn standing() -> Standing {
        Standing::new(Plan { issue_rate: 200, wins_per_sponsor: 1, rules: RULES }, 2, 100)
    }

    fn order(standing: &mut Standing, words: &str) -> Result<(String, Option<Errand>), Failure> {
        standing.carry_out(&words.parse().expect("an order"), Duration::from_secs(100))
    }

    #[test]
    fn a_pause_outlives_every_change_of_the_rate() {
        let mut standing = standing();
        order(&mut standing, "pause").expect("done");
        assert!(order(&mut standing, "rate 70/s").expect("done").0.contains("PAUSED"));
        assert!(standing.in_force().paused && standing.in_force().held);
        standing.plan_anew(Plan { issue_rate: 300, ..standing.plan().clone() });
        assert!(standing.in_force().paused);
        order(&mut standing, "resume").expect("done");
        assert_eq!(
            (standing.in_force().rate, standing.in_force().held),
            (70, false),
            "the operator's, over the plan's"
        );
        order(&mut standing, "rate planned").expect("done");
        assert_eq!(standing.in_force().rate, 300);
    }

    #[test]
    fn at_a_rate_of_nothing_no_set_keeps_its_stock() {
        let mut standing = standing();
        order(&mut standing, "rate 0/s").expect("done");
        assert!(standing.in_force().held);
        order(&mut standing, "rate unlimited").expect("done");
        assert_eq!((standing.in_force().rate, standing.in_force().held), (ISSUE_RATE_UNLIMITED, false));
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
