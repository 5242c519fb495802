//! What may be ordered. One grammar for `hongbaod ctl`, for the lines of the admin socket and for the playbooks of the configuration.

// The comments are help texts, in which backticks would only stand about.
#![allow(clippy::doc_markdown)]

use std::fmt;
use std::str::FromStr;

use clap::{Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use super::Cue;
use crate::units::{Period, Rate, as_text};

/// An order, or a question.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// How the daemon stands. `ctl` has flags of its own for it.
    #[command(skip)]
    Status,
    /// Issue so many envelopes a second from now on, whatever is planned; "planned" goes back to the plan
    #[command(after_help = "\
Examples:
  hongbaod ctl rate 50/s
  hongbaod ctl rate unlimited
  hongbaod ctl rate planned      back to what the configuration says")]
    Rate {
        /// A number as in 200/s, unlimited, or planned
        rate: RateOrder,
    },
    /// Issue nothing until resume: shakes are answered "none", the stock goes back
    #[command(after_help = "\
Examples:
  hongbaod ctl pause")]
    Pause,
    /// Issue again, at the rate that is due now
    #[command(after_help = "\
Examples:
  hongbaod ctl resume")]
    Resume,
    /// Send no gifts, or send them again; those sent are opened and refunded as ever
    #[command(after_help = "\
Examples:
  hongbaod ctl gifts pause     until resume, or a restart: sends are refused \"paused\"
  hongbaod ctl gifts resume")]
    Gifts {
        /// What to do
        order: GiftsOrder,
    },
    /// Stop in good order: accept nobody, answer what is asked, send everyone away, flush, end
    #[command(after_help = "\
Examples:
  hongbaod ctl drain")]
    Drain,
    /// Read the configuration file again; all of it comes into force or nothing
    #[command(after_help = "\
Examples:
  hongbaod config check /etc/hongbao/hongbaod.json && hongbaod ctl reload")]
    Reload,
    /// Send a user's connections away, or one connection; they may come back
    #[command(after_help = "\
Examples:
  hongbaod ctl kick 10023        all connections of user 10023
  hongbaod ctl kick 3/511        the connection in place 511 of SET 3")]
    Kick {
        /// A user's number, or a connection as SET/PLACE
        whom: Target,
    },
    /// Send a user away and refuse their logins
    #[command(after_help = "\
Examples:
  hongbaod ctl bar 10023                 until unbar, or a restart
  hongbaod ctl bar 10023 --for 30m")]
    Bar {
        /// The user's number
        user: u64,
        /// For how long [default: until unbar]
        #[arg(long = "for", value_name = "TIME")]
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        time: Option<Period>,
    },
    /// Serve a user again
    #[command(after_help = "\
Examples:
  hongbaod ctl unbar 10023")]
    Unbar {
        /// The user's number
        user: u64,
    },
    /// Let so much time pass between two shakes that can win, at least; "planned" goes back to the plan
    #[command(after_help = "\
Examples:
  hongbaod ctl interval 20s
  hongbaod ctl interval planned")]
    Interval {
        /// A time as in 20s, or planned
        interval: IntervalOrder,
    },
    /// Tell the rounds of the show, and how each stands
    #[command(after_help = "\
Examples:
  hongbaod ctl rounds
  hongbaod ctl rounds --json | jq '.rounds[0].seconds'")]
    Rounds,
    /// Move a round's begin or end; every client is told
    #[command(after_help = "\
Examples:
  hongbaod ctl round first start-at +5s
  hongbaod ctl round first start-at 2027-02-05T20:00:30+08:00
  hongbaod ctl round first end-at now")]
    Round {
        /// The round's name
        name: String,
        /// What to move
        #[command(subcommand)]
        order: RoundMove,
    },
    /// Tell the playbooks, and which are in force
    #[command(after_help = "\
Examples:
  hongbaod ctl playbooks")]
    Playbooks,
    /// Carry out a playbook: all of its orders or none; --undo takes them back, the last one first
    #[command(after_help = "\
Examples:
  hongbaod ctl playbook calm --dry-run
  hongbaod ctl playbook calm
  hongbaod ctl playbook calm --undo")]
    Playbook {
        /// Its name
        name: String,
        /// Tell what each order would do, and do nothing
        #[arg(long)]
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
        /// Take it back
        #[arg(long)]
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        undo: bool,
    },
}

/// What to move of a round.
#[derive(Subcommand, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum RoundMove {
    /// Begin it at this time; its length stays
    #[command(after_help = "\
Examples:
  hongbaod ctl round first start-at +5s")]
    StartAt {
        /// now, a time from now as in +5s, or a time as in 2027-02-05T20:00:30+08:00
        when: Cue,
    },
    /// End it at this time
    #[command(after_help = "\
Examples:
  hongbaod ctl round first end-at +30s")]
    EndAt {
        /// As for start-at
        when: Cue,
    },
}

impl Command {
    /// Every name, for the counters.
    pub const NAMES: [&'static str; 15] = [
        "status",
        "rate",
        "pause",
        "resume",
        "drain",
        "reload",
        "kick",
        "bar",
        "unbar",
        "interval",
        "rounds",
        "round",
        "playbooks",
        "playbook",
        "gifts",
    ];

    /// Its place among the names.
    pub const fn number(&self) -> usize {
        match self {
            Self::Status => 0,
            Self::Rate { .. } => 1,
            Self::Pause => 2,
            Self::Resume => 3,
            Self::Drain => 4,
            Self::Reload => 5,
            Self::Kick { .. } => 6,
            Self::Bar { .. } => 7,
            Self::Unbar { .. } => 8,
            Self::Interval { .. } => 9,
            Self::Rounds => 10,
            Self::Round { .. } => 11,
            Self::Playbooks => 12,
            Self::Playbook { .. } => 13,
            Self::Gifts { .. } => 14,
        }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        Self::NAMES[self.number()]
    }

    /// Whether it only asks.
    pub const fn is_question(&self) -> bool {
        matches!(self, Self::Status | Self::Rounds | Self::Playbooks | Self::Playbook { dry_run: true, .. })
    }
}

/// As it is typed.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Rate { rate } => write!(f, " {rate}"),
            Self::Kick { whom } => write!(f, " {whom}"),
            Self::Gifts { order } => f.write_str(order.words()),
            Self::Bar { user, time: None } | Self::Unbar { user } => write!(f, " {user}"),
            Self::Bar { user, time: Some(time) } => write!(f, " {user} --for {time}"),
            Self::Interval { interval } => write!(f, " {interval}"),
            Self::Round { name, order: RoundMove::StartAt { when } } => write!(f, " {name} start-at {when}"),
            Self::Round { name, order: RoundMove::EndAt { when } } => write!(f, " {name} end-at {when}"),
            Self::Playbook { name, dry_run, undo } => {
                let (dry_run, undo) = (if *dry_run { " --dry-run" } else { "" }, if *undo { " --undo" } else { "" });
                write!(f, " {name}{dry_run}{undo}")
            }
            Self::Status | Self::Pause | Self::Resume | Self::Drain | Self::Reload | Self::Rounds | Self::Playbooks => {
                Ok(())
            }
        }
    }
}

/// Whether gifts are sent.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GiftsOrder {
    /// Send none
    Pause,
    /// Send them again
    Resume,
}

impl GiftsOrder {
    /// As it is typed behind the command.
    const fn words(self) -> &'static str {
        match self {
            Self::Pause => " pause",
            Self::Resume => " resume",
        }
    }
}

/// A rate, or the one that is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateOrder {
    /// What the configuration says.
    Planned,
    /// This one.
    At(Rate),
}

impl FromStr for RateOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "planned" {
            return Ok(Self::Planned);
        }
        text.parse().map(Self::At).map_err(|error| format!("{error}, or planned"))
    }
}

impl fmt::Display for RateOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Planned => f.write_str("planned"),
            Self::At(rate) => rate.fmt(f),
        }
    }
}

/// A time between two shakes, or the one that is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntervalOrder {
    /// What the configuration says.
    Planned,
    /// This one, at most an hour.
    At(Period),
}

impl FromStr for IntervalOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "planned" {
            return Ok(Self::Planned);
        }
        let period: Period = text.parse().map_err(|error| format!("{error}, or planned"))?;
        if period > Period::seconds(3600) {
            return Err(format!("{period} is too long: it must be between 0s and 1h"));
        }
        Ok(Self::At(period))
    }
}

impl fmt::Display for IntervalOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Planned => f.write_str("planned"),
            Self::At(period) => period.fmt(f),
        }
    }
}

/// Whose connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// All of a user.
    User(u64),
    /// One place of a SET.
    Place {
        /// The SET's number.
        set: u32,
        /// The place in its slab.
        slot: u32,
    },
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = match text.split_once('/') {
            None => text.parse().ok().map(Self::User),
            Some((set, slot)) => set.parse().ok().zip(slot.parse().ok()).map(|(set, slot)| Self::Place { set, slot }),
        };
        parsed.ok_or_else(|| format!("`{text}` is neither a user's number, as in 10023, nor a connection, as in 3/511"))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Place { set, slot } => write!(f, "{set}/{slot}"),
        }
    }
}

as_text!(RateOrder, IntervalOrder, Target, Cue);

/// As the words of a command line, without the program's name.
#[derive(clap::Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_help_subcommand = true)]
struct Words {
    #[command(subcommand)]
    command: Command,
}

impl FromStr for Command {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = <Words as clap::Parser>::try_parse_from(text.split_whitespace());
        words.map(|words| words.command).map_err(|error| {
            let said = error.to_string();
            let first = said.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Request;
    use super::*;

    /// One of each.
    fn all() -> Vec<Command> {
        vec![
            Command::Status,
            Command::Rate { rate: RateOrder::At(Rate::PerSecond(50)) },
            Command::Pause,
            Command::Resume,
            Command::Drain,
            Command::Reload,
            Command::Kick { whom: Target::Place { set: 3, slot: 511 } },
            Command::Bar { user: 7, time: Some(Period::seconds(60)) },
            Command::Unbar { user: 7 },
            Command::Interval { interval: IntervalOrder::At(Period::seconds(20)) },
            Command::Rounds,
            Command::Round { name: "one".to_owned(), order: RoundMove::StartAt { when: Cue::In(Period::seconds(5)) } },
            Command::Playbooks,
            Command::Playbook { name: "calm".to_owned(), dry_run: false, undo: true },
            Command::Gifts { order: GiftsOrder::Pause },
        ]
    }

    #[test]
    fn every_command_is_the_same_as_words_and_as_a_line() {
        let commands = all();
        assert_eq!(commands.len(), Command::NAMES.len());
        for (number, command) in commands.into_iter().enumerate() {
            assert_eq!(command.number(), number);
            let request = Request { command: command.clone(), on_behalf_of: Some("ann".to_owned()) };
            let line = serde_json::to_string(&request).expect("serializes");
            assert_eq!(serde_json::from_str::<Request>(&line).expect("parses"), request, "{line}");
            if command != Command::Status {
                assert_eq!(command.to_string().parse(), Ok(command));
            }
        }
    }

    #[test]
    fn a_wrong_order_is_refused_and_told_how() {
        for (text, hint) in [
            ("rate 50", "200/s"),
            ("rate", "required"),
            ("pause now", "unexpected argument"),
            ("kick ann", "10023"),
            ("kick 3/", "3/511"),
            ("bar 7 --for 10", "10s"),
            ("fly", "unrecognized"),
            ("interval 2h", "1h"),
            ("round one start-at soon", "+5s"),
            ("round one", "requires a subcommand"),
        ] {
            let error = text.parse::<Command>().expect_err(text);
            assert!(error.contains(hint), "{text}: {error}");
        }
        for line in [r#"{"command":"bar","user":7,"fore":"1h"}"#, r#"{"command":"fly"}"#, "{}", "[]", "7"] {
            assert!(serde_json::from_str::<Request>(line).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = text.parse::<Command>();
            let _ = serde_json::from_str::<Request>(&text);
        }
    }
}
