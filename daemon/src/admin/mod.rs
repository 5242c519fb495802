//! What an operator and a running daemon say to each other over the admin socket: one JSON object a line each way.
//!
//! ```text
//! {"command":"rate","rate":"50/s"}
//! {"ok":true,"message":"the rate is 50/s ...","in_force_ms":8.1}
//! ```
//!
//! | file | what |
//! |---|---|
//! | `command` | what may be ordered: the words of `hongbaod ctl`, of the socket and of playbooks |
//! | `cue` | a moment as operators say it |
//! | `playbook` | a rehearsed set of orders, and what undoes it |
//! | `status` | how the daemon stands, in numbers and in words |
//! | `ask` | the client's end of the socket |

mod ask;
mod command;
mod cue;
mod playbook;
mod status;

use serde::{Deserialize, Serialize};

pub use ask::{Admin, AskError};
pub use command::{Command, GiftsOrder, IntervalOrder, RateOrder, RoundMove, Target};
pub use cue::Cue;
pub use playbook::{Playbook, playbook_problems};
pub use status::{
    Connections, Issue, Ledger, Money, Place, Requests, RoundState, RoundStatus, SetStatus, State, Status, Trouble,
    percentile_us, warnings,
};

use crate::exit::{Exit, Failure};

/// A line to the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What to do.
    #[serde(flatten)]
    pub command: Command,
    /// Who asks, by their own word (`SUDO_USER`): for the log, beside what the kernel says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
}

/// A line from the daemon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Whether it was done.
    pub ok: bool,
    /// What was done, or why it was not and what to do about it.
    pub message: String,
    /// Where it was not: the exit code for a program that asked, as `sysexits.h` numbers them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<u8>,
    /// How long it took until every thread had obeyed, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force_ms: Option<f64>,
    /// Answers `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Box<Status>>,
    /// Answers `rounds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounds: Option<Vec<RoundStatus>>,
    /// Answers `reload`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reloaded: Option<Keys>,
}

/// Which keys of the configuration a reload found changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// Those in force now.
    pub changed: Vec<String>,
    /// Those that take a restart, and are not in force.
    pub after_restart: Vec<String>,
}

impl Reply {
    /// It was done.
    pub fn done(message: impl Into<String>) -> Self {
        Self { ok: true, message: message.into(), ..Self::default() }
    }

    /// It was not.
    pub fn refused(failure: &Failure) -> Self {
        Self { ok: false, message: failure.message.clone(), exit: Some(failure.exit as u8), ..Self::default() }
    }

    /// The words, or the failure with its exit code.
    pub fn outcome(self) -> Result<Self, Failure> {
        if self.ok {
            return Ok(self);
        }
        let exit = self.exit.and_then(Exit::from_code).unwrap_or(Exit::Unavailable);
        Err(Failure::new(exit, self.message))
    }
}
