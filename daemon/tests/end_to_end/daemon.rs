//! A daemon process of one test, with its folder.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// No wait of these tests is longer; a machine under load is given time, and a hang is found.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_hongbaod");

/// Asks again and again until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::yield_now();
    }
}

/// A campaign of one server in a folder of its own, removed at the end.
pub(crate) struct Campaign {
    pub(crate) folder: TempDir,
}

/// So much is in every test's campaign, unless it makes its own.
pub(crate) const ENVELOPES: u64 = 10_000;
pub(crate) const TOTAL_CENTS: u64 = 1_000_000;

impl Campaign {
    pub(crate) fn new() -> Self {
        Self::of(ENVELOPES, TOTAL_CENTS, 10)
    }

    pub(crate) fn of(envelopes: u64, cents: u64, sponsors: u32) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Tests that run the daemon as somebody else need to get here.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("own folder");
        let campaign = Self { folder };
        let seeds = campaign.path("seeds");
        let numbers = [envelopes.to_string(), cents.to_string(), sponsors.to_string()];
        let output = Command::new(BINARY)
            .args([
                "seed",
                "generate",
                "--servers",
                "1",
                "--rng-seed",
                "7",
                "--count",
                &numbers[0],
                "--total",
                &numbers[1],
            ])
            .args(["--sponsors", &numbers[2], "--output"])
            .arg(&seeds)
            .output()
            .expect("the binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        campaign
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn seed_dir(&self) -> PathBuf {
        self.path("seeds").join("server-01")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    /// `hongbaod serve` on this campaign, on free ports of loopback, with one SET and no wait between shakes.
    pub(crate) fn serve(&self) -> Command {
        let mut command = Command::new(BINARY);
        self.arguments(&mut command);
        command
    }

    /// Adds what [`serve`](Self::serve) passes to a command that runs the daemon in some other way.
    pub(crate) fn arguments(&self, command: &mut Command) {
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--log-format", "text"])
            .args([
                "--sets",
                "1",
                "--connections-per-set",
                "500",
                "--min-shake-interval",
                "0s",
                "--issue-rate",
                "unlimited",
            ])
            .args(["--journal-segment-size", "1MiB", "--seed-dir"])
            .arg(self.seed_dir())
            .arg("--data-dir")
            .arg(self.data_dir());
    }

    /// The wins that the ledger holds, by `hongbaod ledger export`.
    pub(crate) fn exported(&self) -> Vec<serde_json::Value> {
        let output = Command::new(BINARY)
            .args(["ledger", "export", "--format", "jsonl"])
            .arg(self.data_dir())
            .output()
            .expect("the binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).expect("JSON is text");
        let records = lines.lines().map(|line| serde_json::from_str(line).expect("each line is one JSON object"));
        records.filter(|record: &serde_json::Value| record["kind"] == "win").collect()
    }
}

/// A running daemon; killed when the test drops it.
pub(crate) struct Daemon {
    child: Child,
    lines: Receiver<String>,
    log: String,
    pub(crate) listen: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

impl Daemon {
    /// Starts it and waits for its ready line.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (line, lines) = channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|text| line.send(text)));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut daemon = Self { child, lines, log: String::new(), listen: nowhere, metrics: nowhere };
        let ready = daemon.wait_for_line("\"ready\":true");
        let ready: serde_json::Value = serde_json::from_str(&ready).expect("the ready line is JSON");
        let address = |key: &str| ready[key].as_str().and_then(|text| text.parse().ok()).expect("an address");
        (daemon.listen, daemon.metrics) = (address("listen"), address("metrics_listen"));
        daemon
    }

    /// The next line of the log that has this in it.
    pub(crate) fn wait_for_line(&mut self, part: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.log.push_str(&line);
                    self.log.push('\n');
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no line with {part} within {PATIENCE:?}; the log:\n{}", self.log)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the daemon ended without {part}; the log:\n{}", self.log)
                }
            }
        }
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process().cast_signed()), signal).expect("it is our child");
    }

    /// Waits for its end. Its exit code, or `None` where a signal ended it; and all it logged.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let child = &mut self.child;
        let status = until("the daemon's end", || child.try_wait().expect("it is our child"));
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.log.push_str(&line);
            self.log.push('\n');
        }
        (status.code(), std::mem::take(&mut self.log))
    }

    /// SIGTERM, and a good end; what was logged.
    pub(crate) fn stop(self) -> String {
        self.signal(Signal::SIGTERM);
        let (code, log) = self.end();
        assert_eq!(code, Some(0), "{log}");
        log
    }

    /// The value of one line of /metrics, as in `name{label="value"}`; whole in all that these tests look at.
    pub(crate) fn metric(&self, line: &str) -> i64 {
        let scrape = self.http("/metrics").1;
        let value = scrape.lines().find_map(|scraped| scraped.strip_prefix(line)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{line} is not in\n{scrape}")).parse().expect("a whole number")
    }

    /// Waits until a metric has a value.
    pub(crate) fn wait_for_metric(&self, line: &str, wanted: impl Fn(i64) -> bool) -> i64 {
        until(line, || Some(self.metric(line)).filter(|value| wanted(*value)))
    }

    /// Status line and headers, and the body.
    pub(crate) fn http(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.metrics).expect("the endpoint listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answers and closes");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        (head.to_owned(), body.to_owned())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Of a daemon that has ended already nothing is left to kill.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a daemon that must not start: its exit code, and what it said.
pub(crate) fn refusal(mut command: Command) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the command runs");
    let mut stderr = child.stderr.take().expect("piped");
    let reader = thread::spawn(move || {
        let mut said = String::new();
        stderr.read_to_string(&mut said).map(|_| said)
    });
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().expect("it is our child");
            panic!("it started, or hangs: {:?}", reader.join());
        }
        thread::yield_now();
    };
    (status.code(), reader.join().expect("the reader ends").expect("stderr is text"))
}

/// The same command, run through another program: `wrapper` and its arguments, then the daemon's.
pub(crate) fn through(wrapper: &[&str], command: &Command) -> Command {
    let mut whole = Command::new(wrapper[0]);
    whole.args(&wrapper[1..]).arg(command.get_program()).args(command.get_args());
    whole
}

/// What a helper program printed, where it ended well.
pub(crate) fn output_of(command: &mut Command) -> Output {
    let output = command.output().expect("the command runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The seed files of a folder.
pub(crate) fn seed_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "hbs")).collect();
    files.sort();
    files
}
