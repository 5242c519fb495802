//! How a run ends: one exit code, and for a failure one message.

use std::fmt;
use std::process::ExitCode;

/// Exit codes of the load generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, and valid.
    Good = 0,
    /// Something failed.
    Error = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The run is not valid: its figures say nothing about the server.
    Invalid = 3,
    /// The run is valid, and what was measured is not good enough: the audit found something.
    Threshold = 99,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why there is no report: what went wrong, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    /// For the process.
    pub exit: Exit,
    /// For the person.
    pub message: String,
}

impl Failure {
    /// Something failed.
    pub fn error(message: impl Into<String>) -> Self {
        Self { exit: Exit::Error, message: message.into() }
    }

    /// The command line asks for what cannot be.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
