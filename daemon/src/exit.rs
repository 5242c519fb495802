//! How a command ends badly: one error chain, one exit code of `sysexits.h`.

use std::fmt;
use std::process::ExitCode;

/// Exit codes, as `sysexits.h` numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command line is wrong.
    Usage = 64,
    /// Data is damaged or contradicts itself.
    Data = 65,
    /// Something needed is missing or taken: a port, a lock, io_uring.
    Unavailable = 69,
    /// The operating system refused.
    Os = 71,
    /// Reading or writing failed.
    Io = 74,
    /// Permission denied.
    Permission = 77,
    /// The configuration is wrong, or does not fit what it configures.
    Config = 78,
}

impl Exit {
    /// The one with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        let all = [Self::Usage, Self::Data, Self::Unavailable, Self::Os, Self::Io, Self::Permission, Self::Config];
        all.into_iter().find(|exit| *exit as u8 == code)
    }
}

/// A command's failure: what went wrong, what to do about it, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// For the process.
    pub exit: Exit,
    /// For the person: one or more sentences, the last of which says what to do.
    pub message: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// A failed file operation: `doing` says what was tried and on which file. The exit code follows from the error.
    pub fn io(doing: impl fmt::Display, error: &std::io::Error) -> Self {
        let exit = match error.kind() {
            std::io::ErrorKind::PermissionDenied => Exit::Permission,
            std::io::ErrorKind::AddrInUse | std::io::ErrorKind::NotFound => Exit::Unavailable,
            _ => Exit::Io,
        };
        Self::new(exit, format!("{doing}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
