//! Steering a run from outside: a unix socket, one command a line in, one JSON object a line out.
//!
//! | command | what it does |
//! |---|---|
//! | `status` | says how far the run is |
//! | `rate N` | the stage goes on at N shakes a second, until its end |
//! | `pause`, `resume` | nobody shakes; the stage's time goes on |
//! | `stop` | ends the run in order, with a report |
//! | `begin [UNIX_MICROSECONDS]` | a run started with `--hold` begins its load: now, or then |
//!
//! The main thread looks at the socket about twenty times a second; nobody who talks to it can hold the run up.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arguments::ControlArguments;
use crate::exit::{Exit, Failure};
use crate::limits::{CONTROL_CLIENTS_MAX, CONTROL_LINE_MAX};
use crate::parse;

/// How long `hongbao-loadgen control` waits for its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// See the module's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `status`
    Status,
    /// `rate N`
    Rate(u64),
    /// `pause`
    Pause,
    /// `resume`
    Resume,
    /// `stop`
    Stop,
    /// `begin`, in microseconds since 1970 UTC.
    Begin(Option<u64>),
}

impl FromStr for Command {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["status"] => Ok(Self::Status),
            ["rate", rate] => parse::rate(rate).map(Self::Rate),
            ["pause"] => Ok(Self::Pause),
            ["resume"] => Ok(Self::Resume),
            ["stop"] => Ok(Self::Stop),
            ["begin"] => Ok(Self::Begin(None)),
            ["begin", at] => at
                .parse()
                .map(|at| Self::Begin(Some(at)))
                .map_err(|_| format!("`{at}` is no time: begin takes microseconds since 1970 UTC")),
            _ => Err(format!(
                "`{line}` is no command; there are status, rate N, pause, resume, stop, begin [UNIX_MICROSECONDS]"
            )),
        }
    }
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Connections are being made.
    Connecting,
    /// All is ready; waits for `begin`.
    Held,
    /// Under load, or holding connections for the time of a stage.
    Load,
    /// Last answers are awaited, connections closed.
    Draining,
}

/// The answer to `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// What the run is doing.
    pub phase: Phase,
    /// The stage.
    pub stage: String,
    /// Connections logged in.
    pub connections: u64,
    /// Connections asked for.
    pub connections_target: u64,
    /// Shakes a second asked for; none in a closed loop.
    pub rate_target_qps: Option<u64>,
    /// Answers in the last whole second.
    pub answered_last_s: u64,
    /// 99th percentile from the intended time in that second, in microseconds.
    pub p99_us_last_s: u64,
}

/// One line back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was done.
    pub ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// To `status`.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

impl From<Result<Option<Status>, String>> for Answer {
    fn from(result: Result<Option<Status>, String>) -> Self {
        match result {
            Ok(status) => Self { ok: true, error: None, status },
            Err(error) => Self { ok: false, error: Some(error), status: None },
        }
    }
}

struct Client {
    stream: UnixStream,
    line: Vec<u8>,
}

/// The run's end. The socket is removed with it.
pub struct ControlSocket {
    path: PathBuf,
    listener: UnixListener,
    clients: Vec<Client>,
}

impl ControlSocket {
    /// Listens. A socket that a dead run left behind is replaced, one of a living run is not.
    pub fn bind(path: &Path) -> Result<Self, Failure> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::error(format!("the control socket {}: {error}", path.display()));
        if UnixStream::connect(path).is_ok() {
            return Err(failed(&"another run listens there"));
        }
        match fs::symlink_metadata(path) {
            Ok(found) if !std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
                return Err(failed(&"there is a file that is no socket"));
            }
            Ok(_) => fs::remove_file(path).map_err(|error| failed(&error))?,
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(|error| failed(&error))?;
        listener.set_nonblocking(true).map_err(|error| failed(&error))?;
        Ok(Self { path: path.to_owned(), listener, clients: Vec::new() })
    }

    /// The commands that have come.
    pub fn poll(&mut self) -> Vec<(Result<Command, String>, UnixStream)> {
        while self.clients.len() < CONTROL_CLIENTS_MAX {
            let Ok((stream, _)) = self.listener.accept() else { break };
            if stream.set_nonblocking(true).is_ok() {
                self.clients.push(Client { stream, line: Vec::new() });
            }
        }
        let mut commands = Vec::new();
        self.clients.retain_mut(|client| {
            let stays = client.read();
            while let Some(end) = client.line.iter().position(|byte| *byte == b'\n') {
                let rest = client.line.split_off(end + 1);
                let line = std::mem::replace(&mut client.line, rest);
                if let Ok(stream) = client.stream.try_clone() {
                    commands.push((String::from_utf8_lossy(&line).trim().parse(), stream));
                }
            }
            stays && client.line.len() < CONTROL_LINE_MAX
        });
        commands
    }
}

/// Answers a command. Who does not read its answer does not get it.
pub fn answer(mut stream: UnixStream, result: Result<Option<Status>, String>) {
    let mut line = serde_json::to_vec(&Answer::from(result)).unwrap_or_default();
    line.push(b'\n');
    drop(stream.write_all(&line));
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

impl Client {
    /// Reads what is there. Whether there may be more later.
    fn read(&mut self) -> bool {
        let mut bytes = [0; CONTROL_LINE_MAX];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(length) => {
                self.line.extend_from_slice(&bytes[..length]);
                true
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }
}

/// `hongbao-loadgen control`: one command, one answer on standard output.
pub fn run(arguments: &ControlArguments) -> Result<Exit, Failure> {
    let line = arguments.command.join(" ");
    line.parse::<Command>().map_err(Failure::usage)?;
    let answer = ask(&arguments.socket, &line)
        .map_err(|error| Failure::error(format!("asking the run at {}: {error}", arguments.socket.display())))?;
    print!("{answer}");
    let ok = serde_json::from_str(&answer).is_ok_and(|answer: Answer| answer.ok);
    Ok(if ok { Exit::Good } else { Exit::Error })
}

/// Sends one command to the run that listens there, and waits for its answer.
pub fn ask(socket: &Path, line: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    writeln!(stream, "{line}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    if answer.is_empty() { Err(io::Error::other("it closed the connection without an answer")) } else { Ok(answer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_understood_and_nonsense_is_refused() {
        assert_eq!("rate 80k".parse(), Ok(Command::Rate(80_000)));
        assert_eq!(" begin 5 ".parse(), Ok(Command::Begin(Some(5))));
        for line in ["", "rate", "rate fast", "rate 0", "stop now", "begin soon", "\0"] {
            assert!(line.parse::<Command>().is_err(), "{line}");
        }
    }

    #[test]
    fn a_client_that_never_ends_its_line_is_dropped_and_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let mut socket = ControlSocket::bind(&path).unwrap();
        assert!(ControlSocket::bind(&path).is_err(), "a living run is not pushed aside");
        let mut endless = UnixStream::connect(&path).unwrap();
        endless.write_all(&[b'x'; 2 * CONTROL_LINE_MAX]).unwrap();
        let mut good = UnixStream::connect(&path).unwrap();
        good.write_all(b"pause\nnonsense\n").unwrap();
        let mut seen = Vec::new();
        for _ in 0..10 {
            for (command, stream) in socket.poll() {
                seen.push(command.clone());
                answer(stream, command.map(|_| None));
            }
        }
        assert_eq!(seen[0], Ok(Command::Pause));
        assert!(seen[1].is_err() && seen.len() == 2);
        assert_eq!(socket.clients.len(), 1);
        let mut lines = BufReader::new(good).lines();
        assert_eq!(lines.next().unwrap().unwrap(), r#"{"ok":true}"#);
        assert!(lines.next().unwrap().unwrap().contains(r#""ok":false"#));
        drop(socket);
        assert!(!path.exists());
    }
}
