//! One limit of the host, held against what is asked for.

use serde::Serialize;

use crate::exit::Exit;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Enough; or nobody can know.
    Ok,
    /// It works, but worse or with fewer connections.
    Short,
    /// It cannot work.
    Impossible,
}

impl Level {
    /// As printed.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Short => "short",
            Self::Impossible => "impossible",
        }
    }
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which limit, as printed.
    pub item: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What the host has left for this; `None` where it has no such limit, or does not tell.
    pub have: Option<u64>,
    /// What is asked of it; `None` where there is no number.
    pub need: Option<u64>,
    /// What both are counted in, and of what.
    pub unit: &'static str,
    /// What happens where it is short, or what is worth knowing; a sentence.
    pub says: String,
    /// The command or setting that raises it.
    pub fix: Option<String>,
    /// With which code the daemon refuses to start; set where it is impossible.
    #[serde(skip)]
    pub exit: Option<Exit>,
}

impl Finding {
    /// Enough of it.
    pub(super) fn ok(item: &'static str, unit: &'static str, have: Option<u64>, need: Option<u64>) -> Self {
        Self { item, level: Level::Ok, have, need, unit, says: String::new(), fix: None, exit: None }
    }

    /// Too little of it: `says` is what follows, `fix` what to do.
    pub(super) fn short(self, says: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Short, says: says.into(), fix: Some(fix.into()), ..self }
    }

    /// It cannot work: `says` is the whole message.
    pub(super) fn impossible(self, exit: Exit, says: impl Into<String>) -> Self {
        Self { level: Level::Impossible, says: says.into(), exit: Some(exit), ..self }
    }

    /// Worth knowing.
    pub(super) fn note(self, says: impl Into<String>) -> Self {
        Self { says: says.into(), ..self }
    }
}
