//! A run that is steered while it lasts: over its control socket, and by signals.

#[expect(dead_code, reason = "the other tests use the rest of it")]
mod server;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use server::{Server, none};

/// Nothing here takes as long on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Steered {
    child: Child,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Steered {
    fn start(server: &Server, line: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("control");
        let child = Command::new(env!("CARGO_BIN_EXE_hongbao-loadgen"))
            .args([
                "run",
                "--target",
                &server.address.to_string(),
                "--json",
                "-",
                "--lateness-max",
                "30s",
                "--control-socket",
            ])
            .arg(&socket)
            .args(line.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        Self { child, socket, _folder: folder }
    }

    fn say(&self, line: &str) -> Value {
        say(&self.socket, line)
    }

    /// Asks for the status until it is as wanted.
    fn await_status(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            if self.socket.exists() {
                let status = self.say("status");
                if wanted(&status) {
                    return status;
                }
            }
            assert!(begun.elapsed() < PATIENCE, "the run does not come to it");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(self) -> (Option<i32>, Value) {
        let output = self.child.wait_with_output().expect("its end");
        let said = String::from_utf8_lossy(&output.stderr);
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        assert!(!self.socket.exists(), "the socket goes with the run");
        (output.status.code(), report)
    }
}

fn say(socket: &Path, line: &str) -> Value {
    let mut stream = UnixStream::connect(socket).expect("the run listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    writeln!(stream, "{line}").expect("the run reads");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("the run answers");
    serde_json::from_str(&answer).expect("one JSON object a line")
}

fn in_load(status: &Value) -> bool {
    status["phase"] == "load" && status["answered_last_s"].as_u64() > Some(0)
}

#[test]
fn a_rate_is_changed_paused_and_resumed_and_no_shake_goes_missing() {
    let server = Server::start(none);
    let run = Steered::start(&server, "--connections 10 --rate 200 --duration 60s");
    run.await_status(in_load);
    assert_eq!(run.say("rate 700")["ok"], true);
    run.await_status(|status| status["rate_target_qps"] == 700 && status["answered_last_s"].as_u64() > Some(300));
    assert_eq!(run.say("pause")["ok"], true);
    assert_eq!(run.say("pause")["ok"], false, "once is enough");
    run.await_status(|status| status["answered_last_s"] == 0);
    assert_eq!(run.say("resume")["ok"], true);
    run.await_status(|status| status["rate_target_qps"] == 700 && status["answered_last_s"].as_u64() > Some(300));
    for (line, word) in [("rate 1M", "room"), ("dance", "no command"), ("begin", "does not wait")] {
        let refused = run.say(line);
        assert!(refused["error"].as_str().is_some_and(|error| error.contains(word)), "{line}: {refused}");
    }
    assert_eq!(run.say("stop")["ok"], true);
    let (exit, report) = run.end();
    assert_eq!(exit, Some(3), "a run that was cut short says so");
    assert!(report["invalid_reasons"][0].as_str().is_some_and(|reason| reason.starts_with("interrupted")), "{report}");
    assert_eq!(report["requests"]["scheduled"], report["requests"]["answered"]);
    assert!(report["stages"][0]["steadiness"]["qps_deviation_max"].is_null(), "there was no one rate to keep");
}

#[test]
fn who_holds_begins_when_it_is_told_to_and_not_before() {
    let server = Server::start(none);
    let run = Steered::start(&server, "--connections 10 --rate 100 --duration 1s --hold");
    let status = run.await_status(|status| status["phase"] == "held");
    assert_eq!(status["connections"], 10);
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64;
    assert_eq!(run.say(&format!("begin {}", now_us - 1_000_000))["ok"], false, "that has passed");
    let begin_us = now_us + 1_500_000;
    assert_eq!(run.say(&format!("begin {begin_us}"))["ok"], true);
    let (exit, report) = run.end();
    assert_eq!(exit, Some(0), "{report}");
    assert!(report["begun_unix_us"].as_u64().is_some_and(|begun_us| begun_us.abs_diff(begin_us) <= 1), "{report}");
    assert_eq!(report["requests"]["answered"], 100);
}

#[test]
fn a_ramp_brings_the_mean_of_its_rates() {
    let server = Server::start(none);
    let output = Command::new(env!("CARGO_BIN_EXE_hongbao-loadgen"))
        .args(["run", "--target", &server.address.to_string(), "--json", "-", "--lateness-max", "30s", "--quiet"])
        .args([
            "--connections",
            "10",
            "--rate",
            "100..500",
            "--duration",
            "2s",
            "--expect",
            "errors==0",
            "--expect",
            "p50<1us",
        ])
        .output()
        .expect("the binary starts");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert!(report["requests"]["answered"].as_u64().is_some_and(|answered| answered.abs_diff(600) <= 1), "{report}");
    assert_eq!(output.status.code(), Some(99), "no server answers within a microsecond");
    assert_eq!((&report["expectations"][0]["held"], &report["expectations"][1]["held"]), (&true.into(), &false.into()));
}
