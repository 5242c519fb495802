use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use super::*;

const SCRAPE: &str = "\
# HELP hongbao_set_shakes_total Shakes received by each SET.
# TYPE hongbao_set_shakes_total counter
hongbao_set_shakes_total{set=\"0\"} 1000
hongbao_set_shakes_total{set=\"10\"} 3000

hongbao_set_envelopes_issued_total{set=\"0\"} 10
hongbao_set_envelopes_issued_total{ host=\"a,b\", set=\"10\" } 30
hongbao_set_shakes_total{set=\"4000000000\"} 1
hongbao_turn_duration_seconds_bucket{set=\"0\",le=\"+Inf\"} 7
hongbao_ring_enters_total 40 1700000000000
process_cpu_seconds_total 0.5
process_resident_memory_bytes 1.048576e+06
process_start_time_seconds 1700000000.25
hongbao_issue_rate_envelopes +Inf
half a line
hongbao_ring_enters_total
}{
";

/// Answers one request with these bytes, and hands back what was asked.
fn endpoint(answer: String) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        let mut piece = [0; 512];
        while !asked.ends_with(b"\r\n\r\n") {
            let length = stream.read(&mut piece).unwrap();
            asked.extend_from_slice(&piece[..length]);
        }
        // The client may hang up on too long an answer.
        drop(stream.write_all(answer.as_bytes()));
        String::from_utf8(asked).unwrap()
    });
    (address, thread)
}

fn target(address: SocketAddr) -> Target {
    address.to_string().parse().unwrap()
}

fn sample(at: Instant, started_s: f64, cpu_s: f64, enters: u64, shakes: &[u64], envelopes: &[u64]) -> Sample {
    let by_set = |counts: &[u64]| (0..).zip(counts.iter().copied()).collect();
    let (shakes_by_set, envelopes_by_set) = (by_set(shakes), by_set(envelopes));
    let figures = Figures { started_s, cpu_s, resident_bytes: 5_000, enters, shakes_by_set, envelopes_by_set };
    Sample { at, figures }
}

#[test]
fn an_address_and_a_url_name_the_same_metrics() {
    for text in ["127.0.0.1:9866", "http://127.0.0.1:9866", "http://127.0.0.1:9866/", "http://127.0.0.1:9866/metrics"] {
        assert_eq!(text.parse::<Target>().unwrap().to_string(), "http://127.0.0.1:9866/metrics");
    }
    assert_eq!("[::1]:80/a?b=c".parse::<Target>().unwrap().to_string(), "http://[::1]:80/a?b=c");
    for wrong in ["", "9866", "127.0.0.1", "https://127.0.0.1:9866", "ftp://a:1/", "http://:9866", "a b:1", "http://"] {
        let error = wrong.parse::<Target>().expect_err(wrong).to_string();
        assert!(error.contains("write it like 127.0.0.1:9866"), "{error}");
    }
}

#[test]
fn what_is_known_is_read_and_the_rest_passed_over() {
    let figures = parse(SCRAPE).unwrap();
    assert_eq!(figures.shakes_by_set, BTreeMap::from([(0, 1000), (10, 3000)]), "no scrape makes a report huge");
    assert_eq!(figures.envelopes_by_set, BTreeMap::from([(0, 10), (10, 30)]));
    assert_eq!((figures.enters, figures.resident_bytes), (40, 1 << 20));
    assert!((figures.cpu_s - 0.5).abs() < 1e-9 && (figures.started_s - 1_700_000_000.25).abs() < 1e-3);
    assert_eq!(parse("node_cpu_seconds_total{cpu=\"0\"} 1\n"), None);
    assert_eq!(parse(""), None);
}

#[test]
fn a_stage_is_the_difference_of_two_samples() {
    let begin = Instant::now();
    let end = begin + Duration::from_secs(10);
    let before = sample(begin, 100.0, 1.0, 50, &[1_000, 0, 0], &[10, 0, 0]);
    let after = sample(end, 100.2, 6.0, 150, &[5_000, 4_000, 0], &[50, 40, 0]);
    let report = between(&before, &after);
    assert!((report.cpu_cores - 0.5).abs() < 1e-9);
    assert!((report.cpu_us_per_request - 625.0).abs() < 1e-9);
    assert!((report.enters_per_request - 0.0125).abs() < 1e-9);
    assert_eq!((report.shakes_by_set, report.envelopes_by_set), (vec![4_000, 4_000, 0], vec![40, 40, 0]));
    assert_eq!(report.resident_bytes, 5_000);
    assert!((report.fairness - 1.0).abs() < 1e-9, "a SET that nobody shook on is treated fairly with nothing");
}

#[test]
fn a_daemon_that_was_started_again_counts_from_its_start() {
    let begin = Instant::now();
    let before = sample(begin, 100.0, 9.0, 900, &[9_000, 9_000], &[90, 90]);
    let after = sample(begin + Duration::from_secs(2), 200.0, 1.0, 100, &[500, 500], &[5, 5]);
    let report = between(&before, &after);
    assert_eq!((report.shakes_by_set, report.envelopes_by_set), (vec![500, 500], vec![5, 5]));
    assert!((report.cpu_us_per_request - 1_000.0).abs() < 1e-9);
    let idle = between(&after, &after);
    assert_eq!((idle.cpu_cores, idle.cpu_us_per_request, idle.enters_per_request), (0.0, 0.0, 0.0));
}

#[test]
fn fairness_is_one_when_even_and_one_by_sets_when_one_gets_all() {
    assert!((fairness(&[100, 300], &[10, 30]) - 1.0).abs() < 1e-9, "by demand, not by head");
    assert!((fairness(&[100, 100, 100, 100], &[7, 0, 0, 0]) - 0.25).abs() < 1e-9);
    assert!((fairness(&[100, 100], &[7]) - 0.5).abs() < 1e-9, "a SET without a counter has issued nothing");
    assert_eq!((fairness(&[], &[]), fairness(&[5, 5], &[0, 0])), (1.0, 1.0));
}

#[test]
fn a_scrape_comes_over_a_real_socket() {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{SCRAPE}", SCRAPE.len());
    let (address, thread) = endpoint(answer);
    let sample = fetch(&target(address)).unwrap();
    assert_eq!(sample.figures, parse(SCRAPE).unwrap());
    let asked = thread.join().unwrap();
    assert!(asked.starts_with("GET /metrics HTTP/1.1\r\n"), "{asked}");
}

#[test]
fn a_server_that_cannot_be_asked_is_an_error_in_words() {
    let said = |answer: String| {
        let (address, thread) = endpoint(answer);
        let error = fetch(&target(address)).expect_err("no figures").to_string();
        thread.join().unwrap();
        assert!(error.contains(&address.to_string()), "{error}");
        error
    };
    assert!(said("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n".to_owned()).contains("500"));
    assert!(
        said("HTTP/1.1 302 There\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_owned())
            .contains("--metrics-listen")
    );
    assert!(said("SSH-2.0-x\r\n\r\n".to_owned()).contains("asking"));
    assert!(said("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi\n".to_owned()).contains("--metrics-listen"));
    let endless = "x".repeat(SERVER_METRICS_BYTES_MAX as usize + 2);
    assert!(said(format!("HTTP/1.1 200 OK\r\n\r\n{endless}")).contains("limit"));

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(fetch(&target(closed)).unwrap_err().to_string().contains("refused"));
}

#[test]
fn a_server_that_never_answers_holds_nobody_up_for_ever() {
    // Accepted by the kernel's backlog, and never read.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = fetch(&target(listener.local_addr().unwrap())).unwrap_err();
    assert!(matches!(error, ServerError::Unreachable { .. }), "{error}");
}
