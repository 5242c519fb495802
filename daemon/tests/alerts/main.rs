//! Every alert fires: each fault is made to happen to a real daemon under a real Prometheus, all at once, beside a daemon that is well and
//! about which no alert may say anything. The dashboard's queries are asked of the same Prometheus: no panel is empty.
//!
//! Apart from the other end-to-end tests, because alerts tell of a machine that is too busy as well.

#[path = "../end_to_end/client.rs"]
#[expect(dead_code, reason = "the end-to-end tests use the rest of it")]
mod client;
#[path = "../end_to_end/daemon.rs"]
#[expect(dead_code, reason = "the end-to-end tests use the rest of it")]
mod daemon;
#[path = "../end_to_end/frozen.rs"]
mod frozen;
mod prometheus;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hongbao_protocol::wire::ClientFrame;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::Value;

use crate::client::Client;
use crate::daemon::{Campaign, Daemon, output_of, until};
use crate::frozen::Frozen;
use crate::prometheus::{Prometheus, shipped};

/// Envelopes enough for hours at the rates of this test.
const PLENTY: u64 = 1_000_000;

/// Wins so often; the cents in all of it.
fn wins(client: &mut Client, count: u32) -> u64 {
    (0..count).map(|_| client.win().amount.0).sum()
}

/// Users who shake without waiting for answers, until this is dropped.
struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    fn on(listen: SocketAddr, first_user: u64, users: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut clients: Vec<TcpStream> =
                (first_user..first_user + users).map(|user| Client::login(listen, user).0.stream).collect();
            let mut answers = [0; 4096];
            for sequence in 1.. {
                for client in &mut clients {
                    client.set_nonblocking(true).expect("a socket");
                    let shake = ClientFrame::Shake { sequence };
                    match client.write_all(shake.encode().as_bytes()).and_then(|()| client.read(&mut answers)) {
                        Err(error) if error.kind() != ErrorKind::WouldBlock => return,
                        _ => {}
                    }
                }
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                // The pace of the load; nothing is waited for.
                thread::sleep(Duration::from_millis(1));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// A file system of a few megabytes for a ledger; goes when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(path: PathBuf) -> Self {
        fs::create_dir(&path).expect("a folder of our own");
        output_of(Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "hongbao-test"]).arg(&path));
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

fn daemon(campaign: &Campaign, more: &[&str]) -> Daemon {
    let mut serve = campaign.serve();
    serve.args(["--cap-per-user", "unlimited", "--cap-per-sponsor", "unlimited"]).args(more);
    Daemon::start(serve)
}

/// What a bit that flips in memory does: wherever the daemon's memory holds these numbers side by side, the last becomes another.
fn flip(process: u32, found: &[u64], becomes: u64) {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).expect("it runs");
    let memory = OpenOptions::new().read(true).write(true).open(format!("/proc/{process}/mem")).expect("our child");
    let wanted: Vec<u8> = found.iter().flat_map(|number| number.to_ne_bytes()).collect();
    let mut flips = 0;
    for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
        let Some((from, to)) = line.split(' ').next().and_then(|range| range.split_once('-')) else { continue };
        let (from, to) = (u64::from_str_radix(from, 16).expect("hex"), u64::from_str_radix(to, 16).expect("hex"));
        // Cells are small parts of the heap; the ledger's reserve of address space is not read.
        if to - from > 64 << 20 {
            continue;
        }
        flips += flip_in(&memory, from, (to - from) as usize, &wanted, becomes);
    }
    assert!(flips > 0, "{found:?} is nowhere in the daemon's memory");
}

fn flip_in(memory: &File, from: u64, length: usize, wanted: &[u8], becomes: u64) -> usize {
    let mut bytes = vec![0; length];
    if memory.read_exact_at(&mut bytes, from).is_err() {
        return 0;
    }
    let places = (0..=length - wanted.len()).step_by(8).filter(|place| bytes[*place..].starts_with(wanted));
    let last = wanted.len() as u64 - 8;
    let places: Vec<usize> = places.collect();
    for place in &places {
        memory.write_all_at(&becomes.to_ne_bytes(), from + *place as u64 + last).expect("writable");
    }
    places.len()
}

/// Takes the daemon's descriptors away. The limit counts from when the accept is armed anew: first every place is taken, the accept rests, and
/// those who came go again.
fn starve(ill: &Daemon) -> Vec<TcpStream> {
    let connect = |count| -> Vec<TcpStream> {
        (0..count).map(|_| TcpStream::connect(ill.listen).expect("the backlog takes it")).collect()
    };
    let crowd = connect(100);
    let open = ill.wait_for_metric("hongbao_connections_open{set=\"0\"}", |open| open >= 69);
    let files = fs::read_dir(format!("/proc/{}/fd", ill.process())).expect("it runs").count();
    let limit = format!("--nofile={}", files + 3 - usize::try_from(open).expect("a count"));
    output_of(Command::new("prlimit").arg(limit).args(["--pid", &ill.process().to_string()]));
    drop(crowd);
    connect(8)
}

fn raise_open_files() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard one");
}

/// The alerts that the rules have.
fn shipped_alerts() -> BTreeSet<String> {
    let rules = fs::read_to_string(shipped("deploy/prometheus/alerts.yml")).expect("the alerts");
    rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(ToOwned::to_owned).collect()
}

#[test]
fn every_alert_fires_at_its_fault_and_none_without() {
    raise_open_files();
    let is_root = nix::unistd::geteuid().is_root();

    let campaign = Campaign::of(PLENTY, PLENTY * 100, 10);
    let well = daemon(&campaign, &["--sets", "2", "--issue-rate", "100/s"]);
    let _shaking = Load::on(well.listen, 1, 20);

    let gone = Campaign::new();
    let gone_daemon = daemon(&gone, &[]);
    let gone_metrics = gone_daemon.metrics;
    gone_daemon.stop();

    let stuck = Campaign::new();
    let stuck_daemon = daemon(&stuck, &["--sets", "2"]);

    let stalled = Campaign::of(PLENTY, PLENTY * 100, 10);
    let stalled_daemon = daemon(&stalled, &[]);
    let _waiting = Load::on(stalled_daemon.listen, 1, 5);

    let full = Campaign::of(PLENTY, PLENTY * 100, 10);
    let disk = is_root.then(|| SmallDisk::at(full.data_dir()));
    let full_daemon = daemon(&full, &["--journal-write", "fdatasync"]);
    let _filling = disk.is_some().then(|| Load::on(full_daemon.listen, 1, 5));

    let capped = Campaign::of(100, 10_000, 10);
    let before = daemon(&capped, &[]);
    let mut winner = Client::login(before.listen, 1).0;
    wins(&mut winner, 3);
    drop(winner);
    before.stop();
    let mut serve = capped.serve();
    serve.args(["--cap-per-user", "1"]);
    let capped_daemon = Daemon::start(serve);

    // Numbers that are found nowhere else.
    let flipped = Campaign::of(7919, 1_299_709, 10);
    let flipped_daemon = daemon(&flipped, &[]);
    let mut winner = Client::login(flipped_daemon.listen, 1).0;
    let won = wins(&mut winner, 9);

    let ending = Campaign::of(20, 2000, 10);
    fs::write(ending.seed_dir().join("torn.hbs"), b"no seed file").expect("a folder of our own");
    let ending_daemon = daemon(&ending, &[]);
    let mut last = Client::login(ending_daemon.listen, 1).0;
    wins(&mut last, 20);

    let scarce = Campaign::of(5000, 500_000, 10);
    let crowded_daemon = daemon(&scarce, &["--connections-per-set", "10", "--issue-rate", "50/s"]);
    let _crowd = Load::on(crowded_daemon.listen, 1, 10);

    let starved = Campaign::new();
    let starved_daemon =
        daemon(&starved, &["--descriptors", "plain", "--connections-per-set", "5", "--login-timeout", "1s"]);

    let prometheus = Prometheus::start(&[
        ("well", well.metrics),
        ("gone", gone_metrics),
        ("stuck", stuck_daemon.metrics),
        ("stalled", stalled_daemon.metrics),
        ("full", full_daemon.metrics),
        ("capped", capped_daemon.metrics),
        ("flipped", flipped_daemon.metrics),
        ("ending", ending_daemon.metrics),
        ("crowded", crowded_daemon.metrics),
        ("starved", starved_daemon.metrics),
    ]);
    // Counters that grow are seen to grow from their values before.
    until("every daemon is scraped", || (prometheus.query("up == 1").len() >= 9).then_some(()));

    let _set = Frozen::thread(stuck_daemon.process(), "set-01");
    let _ledger = Frozen::thread(stalled_daemon.process(), "ledger");
    // The counter of envelopes that came up twice is the third after these.
    flip(flipped_daemon.process(), &[9, won, 9, 0, 0, 0], 1);
    flip(flipped_daemon.process(), &[9, won], won + 1);
    let _refused = starve(&starved_daemon);
    all_fire(&prometheus, is_root);
    no_panel_is_empty(&prometheus);
}

fn all_fire(prometheus: &Prometheus, is_root: bool) {
    let mut expected: BTreeSet<(&str, &str)> = BTreeSet::from([
        ("HongbaoDown", "gone"),
        ("HongbaoSetStuck", "stuck"),
        ("HongbaoMoneyNotBalanced", "flipped"),
        ("HongbaoCapsBreached", "capped"),
        ("HongbaoSeedsExhausted", "ending"),
        ("HongbaoSeedsRefused", "ending"),
        ("HongbaoSeedsRunningOut", "crowded"),
        ("HongbaoConnectionsNearLimit", "crowded"),
        ("HongbaoAcceptsFail", "starved"),
        ("HongbaoEnvelopeTwice", "flipped"),
        ("HongbaoLedgerStalled", "stalled"),
        ("HongbaoNothingIssued", "stalled"),
        ("HongbaoOverload", "stalled"),
    ]);
    if is_root {
        expected.extend([
            ("HongbaoDiskLow", "full"),
            ("HongbaoJournalHalted", "full"),
            ("HongbaoNothingIssued", "full"),
        ]);
    } else {
        println!("skipped: a full disk needs root, for a small file system");
    }
    let mut missing = expected.clone();
    until(&format!("firing of {expected:?}"), || {
        let firing = prometheus.query("ALERTS{alertstate=\"firing\"}");
        let name = |alert: &Value, label: &str| alert["metric"][label].as_str().unwrap_or_default().to_owned();
        let firing: BTreeSet<(String, String)> =
            firing.iter().map(|alert| (name(alert, "alertname"), name(alert, "instance"))).collect();
        let wrong: Vec<_> = firing.iter().filter(|(_, instance)| instance == "well").collect();
        assert!(wrong.is_empty(), "nothing is wrong there: {wrong:?}");
        let before = missing.len();
        // Once is enough: what lasts a moment is over when the next one begins.
        missing.retain(|(alert, instance)| !firing.contains(&((*alert).to_owned(), (*instance).to_owned())));
        if missing.len() < before {
            println!("still to fire: {missing:?}");
        }
        thread::sleep(Duration::from_millis(100));
        missing.is_empty().then_some(())
    });
    // A ring asks for no more reads than it has buffers, and no burst of 5,000 connections made it run out: its rule is tested alone.
    let mut silent = shipped_alerts();
    silent.retain(|alert| alert != "HongbaoBuffersExhausted" && !expected.iter().any(|(fired, _)| fired == alert));
    assert!(silent.is_empty() || !is_root, "no fault here makes these fire: {silent:?}");
}

/// Of the dashboard, as a browser would ask.
fn no_panel_is_empty(prometheus: &Prometheus) {
    let dashboard = fs::read_to_string(shipped("grafana/dashboard.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let mut empty = Vec::new();
    for panel in dashboard["panels"].as_array().expect("a list") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().expect("a query");
            let asked = query.replace("$__rate_interval", "5s").replace("$job", "hongbao").replace("$instance", "well");
            if prometheus.query(&asked).is_empty() {
                empty.push(format!("{}: {asked}", panel["title"]));
            }
        }
    }
    assert!(empty.is_empty(), "empty panels:\n{}", empty.join("\n"));
}

/// Whoever is woken by an alert finds its entry.
#[test]
fn every_alert_has_an_entry_in_the_runbook_and_a_test_of_its_rule() {
    let runbook = fs::read_to_string(shipped("deploy/RUNBOOK.md")).expect("the runbook");
    let tests = fs::read_to_string(shipped("deploy/prometheus/alerts.test.yml")).expect("the rules' tests");
    for alert in shipped_alerts() {
        assert!(runbook.contains(&format!("## {alert}\n")), "{alert}");
        assert!(tests.contains(&format!("- name: {alert}\n")), "{alert}");
    }
}

#[test]
fn the_rules_decide_as_they_should() {
    let tests: &Path = &shipped("deploy/prometheus/alerts.test.yml");
    output_of(Command::new("promtool").args(["test", "rules"]).arg(tests));
}
