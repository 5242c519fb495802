//! The small twin of the million: the real daemon, the real load generator, every stage, and the balance of the money.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const READY_TIME: Duration = Duration::from_secs(60);

/// The daemon, built beside the load generator. `cargo test --workspace` has built it; a test of this crate alone builds it here.
fn daemon() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_hongbao-loadgen")).with_file_name("hongbaod");
    if !program.exists() {
        let built = Command::new(env!("CARGO")).args(["build", "--locked", "-p", "hongbaod"]).status().expect("cargo");
        assert!(built.success(), "cargo build -p hongbaod: {built}");
    }
    program
}

fn run(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("a program that was built");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// A script that stops the daemon, where it runs, and starts it: what `--restart-command` is given.
fn start_script(folder: &Path, program: &Path, address: &str, more: &str) -> PathBuf {
    let (folder_text, program) = (folder.display(), program.display());
    let script = folder.join("start");
    let text = format!(
        "set -eu\ncd '{folder_text}'\n\
         if [ -s pid ]; then kill \"$(cat pid)\"; while kill -0 \"$(cat pid)\" 2>/dev/null; do sleep 0.05; done; fi\n\
         '{program}' serve --listen {address} --metrics-listen 127.0.0.1:0 --seed-dir seeds/server-01 --data-dir data \
         --sets 2 --connections-per-set 6000 --issue-rate 200/s {more} --log-format text </dev/null >>log 2>&1 &\n\
         echo $! >pid\n"
    );
    fs::write(&script, text).expect("a script");
    script
}

/// Ends the daemon whatever becomes of the test.
struct Daemon(PathBuf);

impl Daemon {
    fn pid(&self) -> Option<String> {
        fs::read_to_string(self.0.join("pid")).ok().map(|pid| pid.trim().to_owned())
    }

    fn signal(&self, signal: &str) -> bool {
        let Some(pid) = self.pid() else { return false };
        Command::new("kill").args([signal, &pid]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    fn stop(&self) {
        assert!(self.signal("-TERM"), "the daemon runs until the end");
        let begun = Instant::now();
        while self.signal("-0") {
            assert!(begun.elapsed() < READY_TIME, "the daemon does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.signal("-KILL");
    }
}

fn start(folder: &Path, script: &Path) {
    let started = Command::new("sh").arg(script).status().expect("a shell");
    assert!(started.success());
    let begun = Instant::now();
    while !fs::read_to_string(folder.join("log")).is_ok_and(|log| log.contains("\"ready\"")) {
        assert!(begun.elapsed() < READY_TIME, "{}", fs::read_to_string(folder.join("log")).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn load(folder: &Path, address: &str, script: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_hongbao-loadgen"))
        .args(["scenario", "million-10k", "--target", address, "--json", "report.json", "--claims", "claims.jsonl"])
        .args(["--restart-command", &format!("sh '{}'", script.display())])
        .current_dir(folder)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the load generator")
}

/// No time is asserted here: a shared machine may be slow, and the run then says that it is not valid, or that an expectation did not hold.
/// What must hold on any machine is that nobody is lost and that the money adds up.
#[test]
fn ten_thousand_users_are_served_through_every_stage_and_a_restart_and_no_cent_is_lost() {
    let program = daemon();
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let seeds = folder.join("seeds");
    let seeds = seeds.to_str().expect("a path of text");
    run(
        &program,
        &[
            "seed",
            "generate",
            "--count",
            "50000",
            "--total",
            "5000000",
            "--sponsors",
            "16",
            "--servers",
            "1",
            "--output",
            seeds,
        ],
    );
    // A port that was free a moment ago: the restarted daemon has to have the same one.
    let address =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").to_string();
    let script = start_script(folder, &program, &address, "");
    let daemon = Daemon(folder.to_owned());
    start(folder, &script);

    let output = load(folder, &address, &script).wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 3 | 99)), "{:?}: {said}", output.status);
    daemon.stop();

    let report: Value = serde_json::from_slice(&fs::read(folder.join("report.json")).expect("a report")).expect("JSON");
    let stages = report["stages"].as_array().expect("stages");
    let stage =
        |name: &str| stages.iter().find(|stage| stage["name"] == name).unwrap_or_else(|| panic!("{name}: {said}"));
    for name in ["connect", "hold", "restart"] {
        assert_eq!(stage(name)["connections"], 10_000, "{name}: {said}");
    }
    for name in ["phase-2", "phase-3", "after"] {
        let requests = &stage(name)["requests"];
        assert_eq!(requests["scheduled"], requests["answered"], "{name}: {requests}");
    }
    assert_eq!(
        (&report["connections"]["failed"], &report["connections"]["reconnected"]),
        (&0.into(), &10_000.into()),
        "{said}"
    );
    assert!(stages.iter().any(|stage| stage["name"].as_str().is_some_and(|name| name.starts_with("peak "))));
    for wrong in ["duplicates", "over_cap", "altered", "unaudited"] {
        assert_eq!(report["audit"][wrong], 0, "{}", report["audit"]);
    }

    let data = folder.join("data");
    let exported = run(&program, &["ledger", "export", data.to_str().expect("a path of text"), "--format", "jsonl"]);
    let issued = exported.lines().filter(|line| line.contains("\"kind\":\"win\"")).count();
    assert_eq!(report["audit"]["envelopes"], issued, "what the ledger issued is what the clients have");
    assert!(issued > 0);
}

/// What the clients were told of gifts, or what the ledger has of them, each once.
fn of_gifts(lines: &str, kind: &str, keys: &[&str]) -> Vec<Vec<Value>> {
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let mut all: Vec<Vec<Value>> = lines
        .filter(|line| line["kind"] == kind)
        .map(|line| keys.iter().map(|key| line[*key].clone()).collect())
        .collect();
    all.sort_by_key(|line| format!("{line:?}"));
    all.dedup();
    all
}

/// As above: whether this machine is fast enough is not asked, whether every cent of the gifts is where it belongs is.
#[test]
fn ten_thousand_users_shake_and_send_gifts_and_the_ledger_has_what_they_were_told_to_the_cent() {
    let program = daemon();
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let seeds = folder.join("seeds");
    let seeds = seeds.to_str().expect("a path of text");
    let envelopes = ["--count", "10000", "--total", "1000000", "--sponsors", "16", "--servers", "1"];
    run(&program, &[&["seed", "generate", "--output", seeds][..], &envelopes].concat());
    let script = start_script(folder, &program, "127.0.0.1:0", "--gift-funding house");
    let daemon = Daemon(folder.to_owned());
    start(folder, &script);
    let log = fs::read_to_string(folder.join("log")).expect("the daemon's log");
    let address = log.split("\"listen\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("where it listens");

    let output = Command::new(env!("CARGO_BIN_EXE_hongbao-loadgen"))
        .args(["scenario", "gala-10k", "--target", address, "--json", "report.json", "--gift-claims", "gifts.jsonl"])
        .current_dir(folder)
        .output()
        .expect("the load generator");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 3 | 99)), "{:?}: {said}", output.status);
    daemon.stop();

    let report: Value = serde_json::from_slice(&fs::read(folder.join("report.json")).expect("a report")).expect("JSON");
    let audit = &report["gift_audit"];
    for wrong in ["unbalanced", "altered", "strangers", "duplicates", "denied", "unaudited"] {
        assert_eq!(audit[wrong], 0, "{audit}");
    }
    let cents = |key: &str| audit[key].as_u64().expect("cents");
    assert!(cents("sent") >= 2_000 && cents("opened") > 0, "{audit}: {said}");
    assert_eq!(cents("sent_cents"), cents("opened_cents") + cents("pending_cents") + cents("over_cents"), "{audit}");

    let data = folder.join("data");
    let exported = run(&program, &["ledger", "export", data.to_str().expect("a path of text"), "--format", "jsonl"]);
    let told = fs::read_to_string(folder.join("gifts.jsonl")).expect("the claims of gifts");
    let opened = ["gift", "user", "amount_cents"];
    let sent = ["gift", "user", "request", "amount_cents", "shares", "recipients"];
    for (kind, keys) in [("gift_opened", &opened[..]), ("gift_sent", &sent[..])] {
        let (theirs, ours) = (of_gifts(&exported, kind, keys), of_gifts(&told, kind, keys));
        assert!(
            !ours.is_empty() && theirs == ours,
            "{kind}: the ledger has {}, the clients {}",
            theirs.len(),
            ours.len()
        );
    }
}
