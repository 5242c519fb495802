//! What may be ordered. One grammar for `hongbaod ctl`, for the lines of the admin socket and for the playbooks of the configuration.

// The comments are help texts, in which backticks would only stand about.
#![allow(clippy::doc_markdown)]

use std::fmt;
use std::str::FromStr;

use clap::Subcommand;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::units::{Period, Rate};

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
}

impl Command {
    /// Every name, for the counters.
    pub const NAMES: [&'static str; 9] =
        ["status", "rate", "pause", "resume", "drain", "reload", "kick", "bar", "unbar"];

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
        }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        Self::NAMES[self.number()]
    }

    /// Whether it only asks.
    pub const fn is_question(&self) -> bool {
        matches!(self, Self::Status)
    }
}

/// As it is typed.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Rate { rate } => write!(f, " {rate}"),
            Self::Kick { whom } => write!(f, " {whom}"),
            Self::Bar { user, time: None } | Self::Unbar { user } => write!(f, " {user}"),
            Self::Bar { user, time: Some(time) } => write!(f, " {user} --for {time}"),
            Self::Status | Self::Pause | Self::Resume | Self::Drain | Self::Reload => Ok(()),
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

macro_rules! as_text {
    ($($type:ty),*) => { $(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )* };
}

as_text!(RateOrder, Target);

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
