use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;
use crate::sample_reports::million;

fn exporter() -> Exporter {
    Exporter::start("127.0.0.1:0".parse().unwrap()).expect("a free port")
}

fn ask(exporter: &Exporter, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(exporter.address()).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    write!(stream, "{request} HTTP/1.1\r\nHost: test\r\n\r\n").expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the endpoint answers and closes");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.to_owned(), body.to_owned())
}

fn scrape(exporter: &Exporter) -> String {
    let (head, body) = ask(exporter, "GET /metrics");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/plain; version=0.0.4"), "{head}");
    body
}

#[test]
fn the_catalogue_the_document_and_a_live_scrape_agree() {
    let scrape = scrape(&exporter());
    for metric in catalogue::ALL {
        let (name, kind) = (metric.name, kind(metric));
        assert!(scrape.contains(&format!("# HELP {name} {}\n# TYPE {name} {kind}\n", metric.help)), "{name}");
        let series = scrape.lines().find(|line| line.split(['{', ' ']).next() == Some(name)).expect(name);
        for label in metric.labels {
            assert!(series.contains(&format!("{label}=\"")), "{series}");
        }
        assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
    }
    let types = scrape.lines().filter(|line| line.starts_with("# TYPE")).collect::<BTreeSet<_>>();
    assert_eq!(types.len(), catalogue::ALL.len(), "the scrape has metrics that the catalogue does not know");

    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/METRICS.md")).expect("METRICS.md");
    let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
    let row = |metric: &&Metric| {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} |", metric.name, kind(metric), labels.join(", "), metric.help)
    };
    let expected: Vec<String> = catalogue::ALL.iter().map(row).collect();
    assert_eq!(rows, expected, "METRICS.md's table must be:\n{}", expected.join("\n"));
}

fn kind(metric: &Metric) -> &'static str {
    match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    }
}

#[test]
fn seconds_add_up_and_the_last_one_tells_its_latency() {
    let mut exporter = exporter();
    let report = million::report();
    let live = Live { stage: 2, rate_qps: 60_000, connections_target: 1_000_000, connections: 999_999, given_up: 1 };
    let points: Vec<_> = report.seconds.iter().filter(|point| point.stage == Some(1)).collect();
    for point in &points {
        exporter.second(point, live);
    }
    exporter.stage(&report.stages[0].requests, 1_500);
    exporter.stage(&report.stages[1].requests, 2_500);
    let scrape = scrape(&exporter);
    let sum = |of: fn(&Point) -> u64| points.iter().map(|point| of(point)).sum::<u64>();
    for line in [
        "hongbao_loadgen_stage 2".to_owned(),
        "hongbao_loadgen_connections 999999".to_owned(),
        "hongbao_loadgen_rate_target_shakes_per_second 60000".to_owned(),
        format!("hongbao_loadgen_shakes_answered_total {}", sum(|point| point.answered)),
        format!("hongbao_loadgen_shakes_failed_total {}", sum(|point| point.failed)),
        format!("hongbao_loadgen_tcp_segments_total{{direction=\"in\"}} {}", sum(|point| point.segments_in)),
        format!(
            "hongbao_loadgen_latency_seconds{{percentile=\"99\"}} {}",
            points[points.len() - 1].p99_us as f64 / 1e6
        ),
        format!("hongbao_loadgen_stage_answers_total{{outcome=\"none\"}} {}", report.requests.by_outcome.none),
        "hongbao_loadgen_stage_unanswered_total{reason=\"timed_out\"} 180".to_owned(),
        "hongbao_loadgen_stage_lateness_p99_seconds 0.0025".to_owned(),
    ] {
        assert!(scrape.lines().any(|scraped| scraped == line), "{line} is missing in\n{scrape}");
    }
}

#[test]
fn what_is_no_scrape_is_refused_and_the_next_one_is_answered() {
    let exporter = exporter();
    assert!(ask(&exporter, "GET /").0.starts_with("HTTP/1.1 404"));
    assert!(ask(&exporter, "POST /metrics").0.starts_with("HTTP/1.1 405"));
    assert!(ask(&exporter, "nonsense").0.starts_with("HTTP/1.1 400"));
    // One who says nothing and goes, and one who says nothing and stays, cost the next one some time at most.
    drop(TcpStream::connect(exporter.address()).unwrap());
    let _silent = TcpStream::connect(exporter.address()).unwrap();
    scrape(&exporter);
}

#[test]
fn an_address_in_use_is_an_error_and_an_exporter_that_ends_gives_it_back() {
    let exporter = exporter();
    let address = exporter.address();
    assert!(Exporter::start(address).is_err());
    drop(exporter);
    // A process that another test is just starting may hold a copy of the socket for a moment.
    let is_free = || {
        std::thread::sleep(Duration::from_millis(10));
        TcpStream::connect(address).is_err()
    };
    assert!((0..1_000).any(|_| is_free()), "{address} still answers");
}

#[test]
fn prometheus_own_checker_finds_no_fault() {
    let scrape = scrape(&exporter());
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
