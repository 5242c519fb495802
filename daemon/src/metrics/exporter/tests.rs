use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::cells::{FeederCells, LedgerCells, SetCells};
use crate::limits;
use crate::metrics::catalogue::ALL;
use crate::metrics::{Amount, Registry, serve};

/// An endpoint over made-up cells, on a runtime of its own.
struct Endpoint {
    address: SocketAddr,
    sets: Vec<Arc<SetCells>>,
    ledger: Arc<LedgerCells>,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Endpoint {
    fn start() -> Self {
        Self::of(2)
    }

    fn of(sets: usize) -> Self {
        let sets: Vec<Arc<SetCells>> = (0..sets).map(|_| Arc::new(SetCells::default())).collect();
        let (ledger, feeder) = (Arc::new(LedgerCells::default()), Arc::new(FeederCells::default()));
        for (number, set) in sets.iter().enumerate() {
            set.shakes.set(10 + number as u64);
            set.turn_microseconds.record(300);
        }
        ledger.commit_records.record(7);
        feeder.seeded_cents.set(100);
        feeder.unissued_cents.set(99);
        let registry = Registry::new(
            sets.clone(),
            Arc::clone(&ledger),
            feeder,
            Arc::default(),
            1000,
            Amount::default(),
            "/".into(),
        );
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (shutdown, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(serve(listener, registry, async { drop(stopped.await) }));
        });
        Self { address, sets, ledger, shutdown: Some(shutdown), thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        stream
    }

    /// Status line and headers, and the body.
    fn request(&self, method: &str, path: &str) -> (String, String) {
        let mut stream = self.connect();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: test\r\n\r\n").expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the endpoint answers and closes");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        (head.to_owned(), body.to_owned())
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        drop(self.shutdown.take());
        self.thread.take().expect("one thread").join().expect("the endpoint ends cleanly");
    }
}

/// Name to (kind, label names), as the scrape has them.
fn families(scrape: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut families = BTreeMap::new();
    for line in scrape.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a kind");
            let known = families.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
            assert!(known.is_none(), "{name} has two TYPE lines");
        } else if !line.starts_with('#') && !line.is_empty() {
            let name = line.split(['{', ' ']).next().expect("a name");
            let suffixed = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let name = suffixed.filter(|name| families.contains_key(*name)).unwrap_or(name);
            let labels = &mut families.get_mut(name).unwrap_or_else(|| panic!("{name} has no TYPE line")).1;
            let braces =
                line.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(inside, _)| inside);
            labels.extend(braces.split(',').filter_map(|pair| pair.split_once('=')).map(|(label, _)| label.to_owned()));
            labels.remove("le");
        }
    }
    families
}

#[test]
fn the_catalogue_the_document_and_a_live_scrape_agree() {
    let endpoint = Endpoint::start();
    let (head, scrape) = endpoint.request("GET", "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let families = families(&scrape);
    for metric in ALL {
        let (kind, labels) = families.get(metric.name).unwrap_or_else(|| panic!("{} is not scraped", metric.name));
        assert_eq!(kind, metric.kind.label(), "{}", metric.name);
        assert_eq!(*labels, metric.labels.iter().map(ToString::to_string).collect(), "{}", metric.name);
        assert!(scrape.contains(&format!("# HELP {} {}\n", metric.name, metric.help)), "{}", metric.name);
    }
    assert_eq!(families.len(), ALL.len(), "the scrape has metrics that the catalogue does not know");

    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/METRICS.md")).expect("METRICS.md");
    let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> = ALL
        .iter()
        .map(|metric| {
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, kind, labels) = (metric.name, metric.kind.label(), labels.join(", "));
            format!("| `{name}` | {kind} | {} | {labels} | {} |", metric.unit, metric.help)
        })
        .collect();
    assert_eq!(rows, expected, "METRICS.md's table must be:\n{}", expected.join("\n"));
}

#[test]
fn the_scrape_tells_what_the_cells_hold() {
    let endpoint = Endpoint::start();
    let (_, scrape) = endpoint.request("GET", "/metrics");
    for line in [
        "hongbao_requests_total{kind=\"shake\"} 21",
        "hongbao_set_shakes_total{set=\"1\"} 11",
        "hongbao_turn_duration_seconds_bucket{le=\"0.000256\"} 0",
        "hongbao_turn_duration_seconds_bucket{le=\"0.000512\"} 2",
        "hongbao_journal_commit_records_count 1",
        "hongbao_balance_difference_cents 1",
        "hongbao_connections_capacity{set=\"0\"} 1000",
    ] {
        assert!(scrape.lines().any(|scraped| scraped == line), "{line} is missing in\n{scrape}");
    }
    endpoint.sets[0].shakes.set(1000);
    assert!(endpoint.request("GET", "/metrics").1.contains("hongbao_requests_total{kind=\"shake\"} 1011"));
}

#[test]
fn prometheus_own_checker_finds_no_fault() {
    let endpoint = Endpoint::start();
    let (_, scrape) = endpoint.request("GET", "/metrics");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool must be installed: apt-get install prometheus (make test does it)");
    promtool.stdin.take().expect("piped").write_all(scrape.as_bytes()).expect("promtool reads");
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

/// 148 kB they were while each SET had histograms of its own.
#[test]
fn a_scrape_of_54_sets_stays_small() {
    let endpoint = Endpoint::of(54);
    let (_, scrape) = endpoint.request("GET", "/metrics");
    assert!(scrape.len() < 50_000, "{} bytes", scrape.len());
}

#[test]
fn a_wrong_path_or_method_is_told_what_there_is() {
    let endpoint = Endpoint::start();
    let (head, body) = endpoint.request("GET", "/metric");
    assert!(head.starts_with("HTTP/1.1 404 ") && body.contains("/metrics"), "{head} {body}");
    let (head, body) = endpoint.request("GET", "/");
    assert!(head.starts_with("HTTP/1.1 200 ") && body.starts_with("<!doctype html>"), "{head} {body}");
    let (head, _) = endpoint.request("POST", "/metrics");
    assert!(head.starts_with("HTTP/1.1 405 ") && head.contains("allow: GET, HEAD"), "{head}");
    let (head, body) = endpoint.request("HEAD", "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 ") && body.is_empty(), "{head} {body}");
}

#[test]
fn a_set_that_stopped_turning_is_told_as_stalled() {
    let endpoint = Endpoint::start();
    endpoint.sets[0].ring_enters.add(1);
    // The first SET turns, the second one hangs.
    let (turning, sets) = (Arc::clone(&endpoint.sets[0]), oneshot::channel::<()>());
    let (stop, mut stopped) = sets;
    let turner = thread::spawn(move || {
        while matches!(stopped.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
            turning.ring_enters.add(1);
            thread::yield_now();
        }
    });
    let (head, body) = endpoint.request("GET", "/healthz");
    drop(stop);
    turner.join().expect("ends");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    let health: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(health["status"], "stalled");
    assert_eq!((&health["sets"][0]["alive"], &health["sets"][1]["alive"]), (&true.into(), &false.into()), "{body}");
}

#[test]
fn health_is_ok_where_every_set_turns() {
    let endpoint = Endpoint::start();
    endpoint.ledger.halted.set(1);
    let sets = endpoint.sets.clone();
    let (stop, mut stopped) = oneshot::channel::<()>();
    let turner = thread::spawn(move || {
        while matches!(stopped.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
            for set in &sets {
                set.ring_enters.add(1);
            }
            thread::yield_now();
        }
    });
    let (head, body) = endpoint.request("GET", "/healthz");
    drop(stop);
    turner.join().expect("ends");
    assert!(head.starts_with("HTTP/1.1 200 ") && body.contains("\"journal_halted\":true"), "{head} {body}");
}

#[test]
fn scrapers_that_hang_give_way_to_one_that_works() {
    let endpoint = Endpoint::start();
    let hanging: Vec<TcpStream> = (0..limits::SCRAPES_MAX * 2)
        .map(|_| {
            let mut stream = endpoint.connect();
            stream.write_all(b"GET /metrics HTT").expect("sends");
            stream
        })
        .collect();
    let (head, _) = endpoint.request("GET", "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    // The oldest had to go, and nobody else: it was not time that freed the place.
    let (mut oldest, mut newest) = (&hanging[0], hanging.last().expect("some"));
    assert!(matches!(oldest.read(&mut [0]), Ok(0) | Err(_)), "the oldest is still served");
    newest.set_nonblocking(true).expect("nonblocking");
    assert_eq!(newest.read(&mut [0]).expect_err("nothing was answered").kind(), ErrorKind::WouldBlock);
}

#[test]
fn an_endless_request_is_cut_off() {
    let endpoint = Endpoint::start();
    let mut stream = endpoint.connect();
    let mut sent = 0;
    let head = b"GET /metrics HTTP/1.1\r\nX: ".iter().copied().chain(std::iter::repeat(b'x'));
    let bytes: Vec<u8> = head.take(64 << 10).collect();
    let refused = loop {
        match stream.write(&bytes) {
            Ok(count) => sent += count,
            Err(error) => break error.kind(),
        }
        assert!(sent < 64 << 20, "the endpoint swallows everything");
    };
    assert!(matches!(refused, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{refused:?}");
    // And the endpoint goes on.
    assert!(endpoint.request("GET", "/metrics").0.starts_with("HTTP/1.1 200 "));
}
