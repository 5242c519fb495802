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
fn start_script(folder: &Path, program: &Path, address: &str) -> PathBuf {
    let (folder_text, program) = (folder.display(), program.display());
    let script = folder.join("start");
    let text = format!(
        "set -eu\ncd '{folder_text}'\n\
         if [ -s pid ]; then kill \"$(cat pid)\"; while kill -0 \"$(cat pid)\" 2>/dev/null; do sleep 0.05; done; fi\n\
         '{program}' serve --listen {address} --metrics-listen 127.0.0.1:0 --seed-dir seeds/server-01 --data-dir data \
         --sets 2 --connections-per-set 6000 --issue-rate 200/s --log-format text </dev/null >>log 2>&1 &\n\
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
    let script = start_script(folder, &program, &address);
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
