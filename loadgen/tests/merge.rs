//! Two real load generators at the same time against one server, and their reports as one.

#[allow(dead_code, reason = "other tests use more of it")]
mod server;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;

use serde_json::Value;
use server::{Reply, Server, envelope, none, win};

fn loadgen() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hongbao-loadgen"));
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn client(server: &Server, users: &str, files: &Files) -> Child {
    let line = "run --connections 10 --rate 500 --duration 2s --schedule wallclock --lateness-max 5s --quiet --cap-per-user 0 --cap-per-sponsor 0";
    loadgen()
        .args(line.split_whitespace())
        .args(["--target", &server.address.to_string(), "--users", users])
        .arg("--json")
        .arg(&files.report)
        .arg("--claims")
        .arg(&files.claims)
        .spawn()
        .expect("the binary starts")
}

struct Files {
    report: PathBuf,
    claims: PathBuf,
}

impl Files {
    fn of(folder: &Path, name: &str) -> Self {
        Self { report: folder.join(format!("{name}.json")), claims: folder.join(format!("{name}.claims")) }
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// What both together have at this place.
fn sum(parts: &[Value], pointer: &str) -> u64 {
    parts.iter().map(|part| part.pointer(pointer).unwrap().as_u64().unwrap()).sum()
}

#[test]
fn two_machines_at_the_same_time_merged_are_what_the_server_saw() {
    let server = Server::start(|asked| match asked.number % 10 {
        0 => Reply::Frame(win(asked, envelope(asked.number, (asked.number % 1000) as u32))),
        _ => none(asked),
    });
    let folder = tempfile::tempdir().unwrap();
    let files = ["one", "two"].map(|name| Files::of(folder.path(), name));
    let clients = [client(&server, "0..10", &files[0]), client(&server, "10..20", &files[1])];
    for client in clients {
        let output = client.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let parts = files.each_ref().map(|files| json(&files.report));
    let merged_path = folder.path().join("merged.json");
    let output = loadgen()
        .arg("merge")
        .args(files.iter().map(|files| &files.report))
        .arg("--claims")
        .args(files.iter().map(|files| &files.claims))
        .args("--cap-per-user 0 --cap-per-sponsor 0 --json".split_whitespace())
        .arg(&merged_path)
        .output()
        .unwrap();
    let table = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{table}");
    let merged = json(&merged_path);
    for pointer in [
        "/connections/established",
        "/requests/scheduled",
        "/requests/sent",
        "/requests/answered",
        "/requests/by_outcome/envelope",
        "/latency_us/count",
        "/stages/0/requests/answered",
        "/audit/envelopes",
        "/audit/amount_cents",
        "/ring/sends",
    ] {
        assert_eq!(merged.pointer(pointer).unwrap().as_u64().unwrap(), sum(&parts, pointer), "{pointer}");
    }
    assert_eq!(merged["requests"]["answered"], 2_000);
    assert_eq!(server.seen.shakes.load(Ordering::Relaxed), 2_000, "the server agrees");
    assert_eq!(merged["audit"]["duplicates"], 0);
    let of_seconds = |report: &Value| -> u64 {
        report["seconds"].as_array().unwrap().iter().map(|second| second["answered"].as_u64().unwrap()).sum()
    };
    assert_eq!(of_seconds(&merged), parts.iter().map(of_seconds).sum::<u64>());
    assert!(table.contains("2000 answered"), "{table}");
}

#[test]
fn the_same_report_twice_is_noticed_by_its_claims() {
    let server = Server::start(|asked| Reply::Frame(win(asked, envelope(asked.number, 1))));
    let folder = tempfile::tempdir().unwrap();
    let files = Files::of(folder.path(), "one");
    assert!(client(&server, "0..10", &files).wait().unwrap().success());
    let status = loadgen()
        .arg("merge")
        .args([&files.report, &files.report])
        .arg("--claims")
        .args([&files.claims, &files.claims])
        .args(["--cap-per-user", "0", "--cap-per-sponsor", "0"])
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(99), "every envelope of it was won twice");
}
