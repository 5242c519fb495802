//! A real coordinator and real agents, each with its load in a process of its own, against one server.

#[allow(dead_code, reason = "other tests use more of it")]
mod server;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use server::{Reply, Server, envelope, none, win};

/// Machines that run tests are busy, and their scheduler makes a ping long: what is tested is not whether this one keeps up.
const PATIENT: &str = "--lateness-max 5s --clock-offset-max 5s --cap-per-user 0 --cap-per-sponsor 0";

/// Longest wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

fn loadgen(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hongbao-loadgen"));
    command.args(words.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

struct Agent {
    process: Child,
    address: SocketAddr,
    /// For its files: one that is killed leaves them.
    _folder: tempfile::TempDir,
}

impl Agent {
    fn start(server: &Server, flags: &str) -> Self {
        let words = format!("agent --listen 127.0.0.1:0 --target {} {flags}", server.address);
        let folder = tempfile::tempdir().unwrap();
        let mut process = loadgen(&words).env("TMPDIR", folder.path()).spawn().expect("the binary starts");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let first = lines.next().expect("it says where it waits").unwrap();
        let address = first.split_whitespace().find_map(|word| word.parse().ok());
        // Read on, so that it never waits for room.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address: address.unwrap_or_else(|| panic!("no address in {first}")), _folder: folder }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // An orderly end takes the load with it. One that is waited for already has no id any more.
        if self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM).unwrap();
            drop(self.process.wait());
        }
    }
}

fn coordinator(agents: &[&Agent], flags: &str) -> Command {
    let names: Vec<String> = agents.iter().map(|agent| agent.address.to_string()).collect();
    loadgen(&format!("coordinator --agents {} {PATIENT} {flags}", names.join(",")))
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("standard output is one JSON object: {error}\n{}", words(output)))
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

/// Whether some process has this on its command line.
fn is_running(words: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(words)
    })
}

#[test]
fn three_agents_are_one_load_whose_parts_begin_together() {
    let server = Server::start(|asked| match asked.number % 10 {
        0 => Reply::Frame(win(asked, envelope(asked.number, (asked.number % 1000) as u32))),
        _ => none(asked),
    });
    let agents = [(); 3].map(|()| Agent::start(&server, ""));
    let folder = tempfile::tempdir().unwrap();
    let claims = folder.path().join("claims");
    let flags = format!(
        "--connections 20 --rate 1000 --duration 2s --users 100..120 --expect errors==0 --expect established==20 --expect p99<1us --json - --claims {}",
        claims.display()
    );
    let output = coordinator(&agents.each_ref(), &flags).output().unwrap();
    let report = report(&output);
    assert_eq!(output.status.code(), Some(99), "one expectation cannot hold: {}", words(&output));
    for (pointer, count) in [
        ("/connections/target", 20),
        ("/connections/established", 20),
        ("/requests/scheduled", 2_000),
        ("/requests/answered", 2_000),
        ("/latency_us/count", 2_000),
        ("/stages/0/rate_target_qps", 1_000),
        ("/requests/by_outcome/envelope", 200),
        ("/audit/envelopes", 200),
        ("/audit/duplicates", 0),
    ] {
        assert_eq!(report.pointer(pointer).unwrap(), count, "{pointer}: {}", words(&output));
    }
    let held: Vec<bool> =
        report["expectations"].as_array().unwrap().iter().map(|one| one["held"].as_bool().unwrap()).collect();
    assert_eq!(held, [true, true, false]);
    assert_eq!(server.seen.shakes.load(Ordering::Relaxed), 2_000, "the server agrees");
    assert_eq!(
        report["warnings"].as_array().unwrap().iter().filter(|one| one.as_str().unwrap().contains("apart")).count(),
        0
    );
    let users: HashSet<u64> = std::fs::read_to_string(claims)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["user"].as_u64().unwrap())
        .collect();
    assert!(users.len() > 5 && users.iter().all(|user| (100..120).contains(user)), "{users:?}");
    assert!(words(&output).contains("all 3 agents stand, with 20 connections"), "{}", words(&output));
}

#[test]
fn an_envelope_that_two_machines_won_is_found_by_the_coordinator() {
    // Every user's first shake wins envelope 7, and nothing after it.
    let server = Server::start(|asked| match asked.on_connection {
        0 => Reply::Frame(win(asked, envelope(7, 1))),
        _ => none(asked),
    });
    let agents = [(); 2].map(|()| Agent::start(&server, ""));
    let flags = "--connections 2 --rate 20 --duration 1s --json -";
    let output = coordinator(&agents.each_ref(), flags).output().unwrap();
    assert_eq!(output.status.code(), Some(99), "{}", words(&output));
    assert_eq!(report(&output)["audit"]["duplicates"], 1, "each machine saw it once");
}

#[test]
fn an_agent_that_dies_ends_the_run_and_is_named_and_the_others_are_free_again() {
    let server = Server::start(none);
    let survivor = Agent::start(&server, "");
    let mut victim = Agent::start(&server, "");
    let running = coordinator(&[&survivor, &victim], "--connections 20 --rate 200 --duration 10m").spawn().unwrap();
    wait_until("the load begins", || server.seen.shakes.load(Ordering::Relaxed) > 20);
    victim.process.kill().unwrap();
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    assert!(words(&output).contains(&format!("the agent {}", victim.address)), "{}", words(&output));
    let again = coordinator(&[&survivor], "--connections 5 --rate 100 --duration 1s --json -").output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{}", words(&again));
    assert_eq!(report(&again)["requests"]["answered"], 100);
    // The victim's own load lost its agent, and ends with it.
    drop(victim.process.wait());
    let lost = victim.process.id().to_string();
    wait_until("the load of the victim ends", || !is_running(&format!("hongbao-agent-{lost}-")));
}

#[test]
fn commands_reach_every_agent_and_an_early_stop_has_a_report() {
    let server = Server::start(none);
    let agents = [(); 2].map(|()| Agent::start(&server, ""));
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control");
    let flags = format!("--connections 10 --rate 2000 --duration 10m --json - --control-socket {}", socket.display());
    let running = coordinator(&agents.each_ref(), &flags).spawn().unwrap();
    wait_until("the load begins", || server.seen.shakes.load(Ordering::Relaxed) > 100);
    let control = |command: &str| {
        let output = loadgen(&format!("control {} {command}", socket.display())).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    wait_until("the agents tell of the load", || control("status").1.contains(r#""phase":"load""#));
    let (code, answer) = control("rate 4000");
    assert_eq!((code, answer.trim()), (Some(0), r#"{"ok":true}"#));
    let status = || -> Value { serde_json::from_str(&control("status").1).unwrap() };
    wait_until("both go at half of the new rate", || status()["rate_target_qps"] == 4_000);
    assert_eq!(status()["connections"], 10);
    assert!(control("rate 1").1.contains("too few for 2 agents"));
    assert!(control("begin").1.contains(r#""ok":false"#));
    assert_eq!(control("stop").0, Some(0));
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "an interrupted run is not valid: {}", words(&output));
    let report = report(&output);
    assert!(report["requests"]["answered"].as_u64().unwrap() > 100);
    assert!(report["invalid_reasons"][0].as_str().unwrap().starts_with(&agents[0].address.to_string()));
}

#[test]
fn what_an_agent_may_not_or_cannot_do_is_said_before_any_load() {
    let server = Server::start(none);
    let agent = Agent::start(&server, "--connections-max 10 --rate-max 100");
    for (flags, code, word) in [
        ("--connections 11 --rate 50", 1, "--connections-max"),
        ("--connections 5 --rate 101", 1, "--rate-max"),
        ("--connections 5 --schedule closed", 1, "--rate-max"),
        ("--connections 5", 2, "--rate"),
        ("--scenario peak-10k", 2, "search"),
        ("--scenario no-such", 2, "no-such"),
        ("--connections 5 --rate 50 --json /nowhere/x", 1, "/nowhere/x"),
    ] {
        let output = coordinator(&[&agent], flags).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{flags}: {}", words(&output));
        assert!(words(&output).contains(word), "{flags}: {}", words(&output));
    }
    let names = format!("coordinator --agents {0} --connections 5 --rate 50 --clock-offset-max 0s", agent.address);
    let output = loadgen(&names).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "no clock is that good: {}", words(&output));
    assert!(words(&output).contains("round trip"), "{}", words(&output));
    assert_eq!(server.seen.logins.load(Ordering::Relaxed), 0);
}

#[test]
fn an_agent_has_one_coordinator_at_a_time_and_bears_nonsense() {
    let server = Server::start(none);
    let agent = Agent::start(&server, "");
    let ask = |stream: &mut TcpStream, line: &str| {
        stream.write_all(line.as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut answer).unwrap();
        answer
    };
    let hello = "{\"request\":\"hello\",\"protocol\":\"hongbao-loadgen/fleet/1\",\"version\":\"x\"}\n";
    let mut first = TcpStream::connect(agent.address).unwrap();
    assert!(ask(&mut first, "{\"request\":\"status\"}\n").contains("the first request is `hello`"));
    assert!(ask(&mut first, &hello.replace("/1", "/9")).contains("same version"));
    assert!(ask(&mut first, hello).contains(&server.address.to_string()), "it says what it loads");
    let mut second = TcpStream::connect(agent.address).unwrap();
    assert!(ask(&mut second, hello).contains("another coordinator"));
    // Nonsense ends the session, and the next one is let in.
    first.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    wait_until("the next coordinator is let in", || {
        let mut next = TcpStream::connect(agent.address).unwrap();
        ask(&mut next, hello).contains("welcome")
    });
    let output = coordinator(&[&agent], "--connections 5 --rate 100 --duration 1s --json -").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
}
