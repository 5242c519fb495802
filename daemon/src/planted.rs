//! Bugs put in on purpose, one at a time, in a build with the feature `planted-bugs`: the simulation must find each of them, so that it is
//! known to look. Without the feature [`is_planted`] is `false` to the compiler, and nothing of this is in the program.

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// A win is answered when it is decided, before it is on the disk.
    AnswerBeforeFlush = 1,
    /// A failed write or flush counts as done.
    FailureIgnored,
    /// A start takes every win for that of one user.
    WinnersForgotten,
    /// A start leaves a torn block where it is.
    TornTailKept,
    /// A start does not make sure of the names of the segments it finds.
    NamesNotSynced,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::AnswerBeforeFlush,
        Self::FailureIgnored,
        Self::WinnersForgotten,
        Self::TornTailKept,
        Self::NamesNotSynced,
    ];
}

#[cfg(feature = "planted-bugs")]
mod chosen {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Bug;

    static CHOSEN: AtomicU8 = AtomicU8::new(0);

    /// Plants this bug in the whole process; `None` takes it out again.
    pub fn plant(bug: Option<Bug>) {
        CHOSEN.store(bug.map_or(0, |bug| bug as u8), Ordering::Relaxed);
    }

    /// Whether this bug is planted.
    pub fn is_planted(bug: Bug) -> bool {
        CHOSEN.load(Ordering::Relaxed) == bug as u8
    }
}

#[cfg(feature = "planted-bugs")]
pub use chosen::{is_planted, plant};

/// Whether this bug is planted.
#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn is_planted(_bug: Bug) -> bool {
    false
}
