//! The client's end of the admin socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Reply, Request};
use crate::exit::{Exit, Failure};
use crate::limits::ADMIN_ANSWER_BYTES_MAX;

/// A connection to a daemon.
pub struct Admin {
    path: PathBuf,
    lines: BufReader<UnixStream>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens, or this user may not.
    #[error("connecting to {path}: {error}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It broke off.
    #[error("the daemon at {path} did not answer: {error}")]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl Admin {
    /// Connects; each answer may take `patience`.
    pub fn connect(path: &Path, patience: Duration) -> Result<Self, AskError> {
        let connected = UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(patience))?;
            stream.set_write_timeout(Some(patience))?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => Ok(Self { path: path.to_owned(), lines: BufReader::new(stream) }),
            Err(error) => Err(AskError::Connect { path: path.to_owned(), error }),
        }
    }

    /// Sends one request and waits for its answer.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, AskError> {
        self.exchange(request).map_err(|error| AskError::Broken { path: self.path.clone(), error })
    }

    fn exchange(&mut self, request: &Request) -> io::Result<Reply> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        // A daemon that has no place for one more says so before it reads, and closes.
        let written = self.lines.get_mut().write_all(&line);
        let mut answer = String::new();
        let read = (&mut self.lines).take(ADMIN_ANSWER_BYTES_MAX as u64).read_line(&mut answer);
        if answer.is_empty() {
            written?;
            read?;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_str(&answer).map_err(io::Error::from)
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        use io::ErrorKind;
        let message = error.to_string();
        let AskError::Connect { path, error } = error else {
            let hint = "it may be ending, or hang: look at its log (`journalctl -u hongbaod`)";
            return Self::new(Exit::Unavailable, format!("{message}; {hint}"));
        };
        let path = path.display();
        let (exit, hint) = match error.kind() {
            ErrorKind::NotFound => (
                Exit::Unavailable,
                "no daemon listens there: name the socket of one that runs with --socket PATH (its log and its ready line name \
                 it), or start one with --admin-socket PATH"
                    .to_owned(),
            ),
            ErrorKind::ConnectionRefused => (
                Exit::Unavailable,
                "the daemon that made this socket has ended: `systemctl status hongbaod` tells how; start it, and it makes the \
                 socket anew"
                    .to_owned(),
            ),
            ErrorKind::PermissionDenied => (
                Exit::Permission,
                format!("be root, the daemon's user, or in the group of the socket (`ls -l {path}`; `adduser YOU hongbao`)"),
            ),
            _ => (Exit::Unavailable, "is that the admin socket of a daemon?".to_owned()),
        };
        Self::new(exit, format!("{message}; {hint}"))
    }
}
