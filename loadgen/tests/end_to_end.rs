//! The real binary against a small server that speaks the protocol and misbehaves as told.

mod gifts;
mod server;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use hongbao_protocol::wire::ServerFrame;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use server::{Reply, Server, envelope, none, stalling, win};

fn command(server: &Server, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hongbao-loadgen"));
    command.args(["run", "--target", &server.address.to_string(), "--json", "-"]).args(line.split_whitespace());
    command
}

struct Ran {
    exit: Option<i32>,
    report: Value,
    stderr: String,
}

fn finished(output: &Output) -> Ran {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("standard output is one JSON object: {error}\n{stderr}"));
    Ran { exit: output.status.code(), report, stderr }
}

fn run(server: &Server, line: &str) -> Ran {
    finished(&command(server, line).output().expect("the binary starts"))
}

impl Ran {
    fn number(&self, pointer: &str) -> u64 {
        let value = self.report.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {}", self.report));
        value.as_u64().unwrap_or_else(|| panic!("{pointer} is {value}"))
    }

    fn expect_exit(&self, code: i32) {
        assert_eq!(self.exit, Some(code), "{}\n{}", self.stderr, self.report);
    }
}

/// Machines that run tests are busy: what is tested is not whether this one keeps up.
const PATIENT: &str = "--lateness-max 5s --timeout 5s";

#[test]
fn every_shake_is_sent_answered_and_accounted_for() {
    let server = Server::start(|asked| match asked.number % 10 {
        0 => Reply::Frame(win(asked, envelope(asked.number, (asked.number % 1000) as u32))),
        1 => Reply::Frame(ServerFrame::UserLimit { sequence: asked.sequence }),
        2 => Reply::Frame(ServerFrame::SponsorLimit { sequence: asked.sequence, retry_after_ms: 1 }),
        3 => Reply::Frame(ServerFrame::Overloaded { sequence: asked.sequence, retry_after_ms: 1 }),
        _ => none(asked),
    });
    let claims = tempfile::NamedTempFile::new().unwrap();
    let line = format!(
        "--connections 20 --rate 1000 --duration 1s --cap-per-user 0 --cap-per-sponsor 0 {PATIENT} --claims {}",
        claims.path().display()
    );
    let ran = run(&server, &line);
    ran.expect_exit(0);
    assert_eq!(ran.report["valid"], true);
    for (pointer, count) in [
        ("/connections/established", 20),
        ("/connections/dropped", 0),
        ("/requests/scheduled", 1000),
        ("/requests/sent", 1000),
        ("/requests/answered", 1000),
        ("/requests/by_outcome/envelope", 100),
        ("/requests/by_outcome/none", 600),
        ("/requests/by_outcome/user_limit", 100),
        ("/requests/by_outcome/sponsor_limit", 100),
        ("/requests/by_outcome/overloaded", 100),
        ("/latency_us/count", 1000),
        ("/audit/envelopes", 100),
        ("/audit/duplicates", 0),
    ] {
        assert_eq!(ran.number(pointer), count, "{pointer}");
    }
    let mut claimed: Vec<(u64, u64, u64)> = std::fs::read_to_string(claims.path())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|claim| ["envelope", "user", "amount_cents"].map(|key| claim[key].as_u64().unwrap()).into())
        .collect();
    let mut won: Vec<(u64, u64, u64)> =
        server.seen.wins.lock().unwrap().iter().map(|(user, won)| (won.id.0, user.0, won.amount.0)).collect();
    claimed.sort_unstable();
    won.sort_unstable();
    assert_eq!(claimed, won, "the claims are what the server gave");
    assert_eq!(ran.number("/audit/amount_cents"), won.iter().map(|(_, _, cents)| cents).sum::<u64>());
}

#[test]
fn a_stall_of_the_server_is_felt_by_every_shake_that_was_due_in_it() {
    let server = Server::start(stalling(300, Duration::from_millis(500)));
    let ran = run(&server, &format!("--connections 10 --rate 1000 --duration 1s {PATIENT}"));
    ran.expect_exit(0);
    assert_eq!(ran.number("/requests/answered"), 1000);
    assert!(ran.number("/latency_us/max") >= 490_000, "{}", ran.report["latency_us"]);
    // 400 of 1,000 shakes were due in the first 400 ms of the stall. A closed loop would have sent, and counted, ten.
    assert!(ran.number("/latency_us/p90") >= 100_000, "coordinated omission: {}", ran.report["latency_us"]);
}

#[test]
fn planted_duplicates_and_greed_are_found_and_fail_the_run() {
    // Envelope 7 goes to everyone; and each user wins as often as it shakes, always from sponsor 1.
    let server = Server::start(|asked| {
        let id = if asked.on_connection == 0 { 7 } else { 1_000 + asked.number };
        Reply::Frame(win(asked, envelope(id, 1)))
    });
    let ran = run(&server, &format!("--connections 5 --rate 100 --duration 200ms {PATIENT}"));
    ran.expect_exit(99);
    assert_eq!(ran.report["valid"], true, "the run is sound, the server is not");
    assert_eq!(ran.number("/requests/answered"), 20);
    assert_eq!(ran.number("/audit/duplicates"), 4);
    // Four users took 3 fresh envelopes each, one took 4: all but the first of each count against the sponsor's cap.
    assert_eq!(ran.number("/audit/envelopes"), 16);
    assert_eq!(ran.number("/audit/over_cap"), 16 - 5);
    assert!(ran.stderr.contains("envelope 7 went to user"), "{}", ran.stderr);
}

#[test]
fn earlier_wins_shown_again_are_no_answers() {
    let server = Server::start_with_earlier_wins(vec![envelope(1, 1), envelope(2, 2)], none);
    let ran = run(&server, &format!("--connections 1 --rate 50 --duration 200ms {PATIENT}"));
    ran.expect_exit(0);
    assert_eq!((ran.number("/requests/answered"), ran.number("/requests/by_outcome/envelope")), (10, 0));
    assert_eq!((ran.number("/audit/envelopes"), ran.number("/audit/envelopes_only_shown_again")), (2, 2));
}

#[test]
fn frames_in_pieces_are_put_together() {
    let server = Server::start(|asked| Reply::Trickle(win(asked, envelope(asked.number, asked.number as u32))));
    let ran = run(&server, &format!("--connections 4 --rate 100 --duration 200ms --cap-per-user 0 {PATIENT}"));
    ran.expect_exit(0);
    assert_eq!((ran.number("/requests/answered"), ran.number("/audit/envelopes")), (20, 20));
}

#[test]
fn what_is_never_answered_times_out_and_is_counted() {
    let server = Server::start(|asked| if asked.number % 5 == 0 { Reply::Silence } else { none(asked) });
    let ran = run(&server, "--connections 10 --rate 100 --duration 500ms --lateness-max 5s --timeout 300ms");
    ran.expect_exit(0);
    assert_eq!(ran.number("/requests/timed_out") + ran.number("/requests/answered"), 50);
    assert!(ran.number("/requests/timed_out") >= 10);
    assert!(ran.number("/latency_us/max") >= 300_000, "what timed out raises the percentiles");
}

#[test]
fn broken_connections_are_counted_by_reason_and_spoil_the_run() {
    let server = Server::start(|asked| match (asked.user.0, asked.on_connection) {
        (1 | 2, 2) => Reply::Close,
        (3, 2) => Reply::Garbage(vec![0xFF; 8]),
        _ => none(asked),
    });
    let ran = run(&server, &format!("--connections 10 --users 1..11 --rate 200 --duration 500ms {PATIENT}"));
    ran.expect_exit(3);
    assert_eq!(ran.number("/connections/dropped"), 3);
    assert_eq!(ran.number("/connections/dropped_by_reason/bad_frame"), 1);
    assert!(ran.number("/requests/not_sent/disconnected") > 0);
    assert!(ran.number("/requests/lost") >= 3);
}

#[test]
fn broken_connections_are_made_again_where_that_is_asked() {
    let server = Server::start(|asked| if asked.on_connection == 3 { Reply::Close } else { none(asked) });
    let ran = run(&server, &format!("--connections 5 --rate 50 --duration 2s --reconnect on {PATIENT}"));
    assert!(ran.number("/connections/reconnected") >= 5, "{}", ran.report["connections"]);
    assert_eq!(server.seen.logins.load(Ordering::Relaxed), 5 + ran.number("/connections/reconnected"));
}

#[test]
fn a_server_that_is_not_there_is_told_with_the_reason() {
    let server = Server::start(none);
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = Server { address: unused, seen: server.seen };
    let ran = run(&nowhere, "--connections 3 --rate 10 --duration 1s");
    ran.expect_exit(3);
    assert_eq!((ran.number("/connections/established"), ran.number("/connections/failed")), (0, 3));
    assert!(ran.number("/connections/attempts_failed/refused") > 3, "each is tried more than once");
    assert_eq!(ran.report["valid"], false);
}

#[test]
fn a_server_that_hangs_up_at_once_is_told_and_nobody_waits_for_ever() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server { address: listener.local_addr().unwrap(), seen: Server::start(none).seen };
    // The end of file is there before the hello has left.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let ran = run(&server, "--connections 40 --rate 10 --duration 1s");
    ran.expect_exit(3);
    assert_eq!((ran.number("/connections/established"), ran.number("/connections/failed")), (0, 40));
    assert_eq!(ran.number("/connections/attempts"), 40 * 6, "{}", ran.report["connections"]);
}

#[test]
fn a_late_load_generator_does_not_pass_for_a_slow_server() {
    let server = Server::start(none);
    let ran = run(&server, "--connections 5 --rate 500 --duration 300ms --tick 20ms --lateness-max 1us");
    ran.expect_exit(3);
    assert!(
        ran.report["invalid_reasons"][0].as_str().unwrap().starts_with("late"),
        "{}",
        ran.report["invalid_reasons"]
    );
}

#[test]
fn users_who_obey_hold_back_and_are_counted() {
    let server = Server::start(none);
    let ran = run(&server, &format!("--connections 10 --rate 100 --duration 500ms --obey-retry on {PATIENT}"));
    ran.expect_exit(0);
    assert_eq!(ran.number("/requests/sent"), 10, "each shakes once and is told to wait for 5 s");
    assert_eq!(ran.number("/requests/not_sent/held_back"), 40);
}

#[test]
fn a_closed_loop_says_that_it_is_one() {
    let server = Server::start(none);
    let ran = run(&server, "--connections 4 --schedule closed --depth 2 --duration 300ms --timeout 5s");
    ran.expect_exit(0);
    assert_eq!((&ran.report["loop"], &ran.report["schedule"]), (&Value::from("closed"), &Value::from("closed")));
    assert!(ran.number("/requests/answered") > 8, "each connection went on after its first answers");
    assert_eq!(ran.number("/requests/answered"), server.seen.shakes.load(Ordering::Relaxed));
    assert!(ran.report["warnings"][0].as_str().unwrap().starts_with("closed loop"));
}

#[test]
fn the_warm_up_is_sent_and_left_out() {
    let server = Server::start(none);
    let ran = run(
        &server,
        &format!("--connections 5 --rate 100 --duration 500ms --warm-up 500ms --schedule poisson {PATIENT}"),
    );
    ran.expect_exit(0);
    assert!(server.seen.shakes.load(Ordering::Relaxed) > ran.number("/requests/sent"));
    assert_eq!(ran.number("/latency_us/count"), ran.number("/requests/answered"));
}

#[test]
fn several_threads_are_one_run() {
    let server = Server::start(none);
    let line = "--connections 23 --threads 3 --rate 1000 --duration 1s --schedule wallclock --source-addresses 127.1.0.1-127.1.0.5 --close finish";
    let ran = run(&server, &format!("{line} {PATIENT}"));
    ran.expect_exit(0);
    assert!(ran.number("/requests/sent").abs_diff(1000) <= 1, "the wall clock's ticks fall where they fall");
    assert_eq!(ran.number("/requests/sent"), server.seen.shakes.load(Ordering::Relaxed));
    assert_eq!(server.seen.logins.load(Ordering::Relaxed), 23);
}

#[test]
fn a_thread_drives_as_many_rings_as_its_connections_need() {
    let server =
        Server::start(|asked| if asked.number == 100 { Reply::Frame(win(asked, envelope(1, 1))) } else { none(asked) });
    let run = command(&server, &format!("--connections 300 --threads 2 --rate 2000 --duration 1s {PATIENT}"));
    // A ring's table is bounded by the limit of open files: three rings for these, two on one thread.
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 128 && exec \"$0\" \"$@\""]).arg(run.get_program()).args(run.get_args());
    let ran = finished(&limited.output().expect("a shell"));
    ran.expect_exit(0);
    assert_eq!((ran.number("/connections/established"), ran.number("/threads")), (300, 2));
    assert_eq!((ran.number("/requests/answered"), ran.number("/audit/envelopes")), (2000, 1));
}

/// Connections to this port that wait in `TIME_WAIT` on this machine.
fn waiting_ports(port: u16) -> usize {
    let remote_and_state = format!(":{port:04X} 06");
    std::fs::read_to_string("/proc/net/tcp").unwrap().lines().filter(|line| line.contains(&remote_and_state)).count()
}

#[test]
fn a_run_leaves_no_port_waiting() {
    let server = Server::start(none);
    let ran = run(&server, &format!("--connections 50 --rate 500 --duration 200ms {PATIENT}"));
    ran.expect_exit(0);
    assert_eq!(waiting_ports(server.address.port()), 0);
}

#[test]
fn an_interrupted_run_still_reports_and_is_not_valid() {
    let server = Server::start(none);
    let mut child = command(&server, &format!("--connections 5 --rate 100 --duration 100s {PATIENT}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // The first second of the load was told.
    let under_load = lines.by_ref().map_while(Result::ok).any(|line| line.contains("/s answered"));
    assert!(under_load);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let told: Vec<String> = lines.map_while(Result::ok).collect();
    let ran = finished(&child.wait_with_output().unwrap());
    ran.expect_exit(3);
    assert!(ran.report["invalid_reasons"][0].as_str().unwrap().starts_with("interrupted"), "{told:?}");
    assert!(ran.number("/requests/answered") > 0);
    assert!(told.iter().any(|line| line.starts_with("valid")), "the table is shown as well: {told:?}");
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let server = Server::start(none);
    let output = command(&server, "--connections 5").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--rate is needed"));
    assert!(output.stdout.is_empty());
}

#[test]
fn the_page_is_written_and_a_server_that_tells_no_metrics_is_a_warning_and_no_more() {
    let server = Server::start(none);
    let page = tempfile::NamedTempFile::new().unwrap();
    // The server of the shakes answers no HTTP: what speaks there is not understood, or not at all.
    let line = format!(
        "--connections 4 --rate 100 --duration 1s {PATIENT} --html {} --server-metrics {}",
        page.path().display(),
        server.address
    );
    let ran = run(&server, &line);
    ran.expect_exit(0);
    let warnings = ran.report["warnings"].to_string();
    assert!(warnings.contains("asking http://127.0.0.1"), "{warnings}");
    assert!(ran.report["stages"][0]["server"].is_null());
    let page = std::fs::read_to_string(page.path()).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("</svg>") && page.contains("asking http"), "{page}");
}

#[test]
fn a_report_compared_with_itself_is_not_worse_and_a_foreign_file_is_named() {
    let server = Server::start(none);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    let report = run(&server, &format!("--connections 4 --rate 100 --duration 200ms {PATIENT}")).report;
    std::fs::write(&path, report.to_string()).unwrap();
    let compare = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hongbao-loadgen"));
        command.arg("compare").args(arguments).output().expect("the binary starts")
    };
    let path = path.to_str().unwrap();
    let table = compare(&[path, path]);
    assert_eq!(table.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&table.stdout).contains("answers a second"));
    let object: Value = serde_json::from_slice(&compare(&[path, path, "--json"]).stdout).unwrap();
    assert_eq!(object["worse"], false);
    let foreign = folder.path().join("foreign.json");
    std::fs::write(&foreign, "{}").unwrap();
    let refused = compare(&[path, foreign.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("foreign.json"));
}

#[test]
fn a_run_tells_its_own_metrics_while_it_lasts() {
    let server = Server::start(none);
    let line = format!("--connections 4 --rate 100 --duration 30s {PATIENT} --metrics-listen 127.0.0.1:0");
    let mut child = command(&server, &line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    // Kept to the end: the load generator goes on talking.
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let told = lines.find_map(|line| line.split_once("metrics at http://").map(|(_, url)| url.to_owned()));
    let address = told.expect("the address is told").trim_end_matches("/metrics").to_owned();
    let scrape = || {
        let mut stream = std::net::TcpStream::connect(&address).expect("connects");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text).unwrap_or_default()
    };
    let answered = |scrape: &str| {
        let value = scrape.lines().find_map(|line| line.strip_prefix("hongbao_loadgen_shakes_answered_total "));
        value.and_then(|value| value.parse::<u64>().ok()).unwrap_or(0)
    };
    let seen = (0..300).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        let scrape = scrape();
        answered(&scrape) > 0 && scrape.contains("hongbao_loadgen_connections 4")
    });
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    child.wait().unwrap();
    assert!(seen, "the metrics move while the run lasts");
}
