//! What Prometheus sees of a daemon under load.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::client::Client;
use crate::daemon::{Campaign, Daemon, ENVELOPES, TOTAL_CENTS};

#[test]
fn the_scrape_of_a_loaded_daemon_is_good_and_its_money_adds_up() {
    let campaign = Campaign::new();
    let mut serve = campaign.serve();
    serve.args(["--sets", "2"]);
    let daemon = Daemon::start(serve);
    let mut clients: Vec<Client> = (1..=10).map(|user| Client::login(daemon.listen, user).0).collect();
    let won: u64 = clients.iter_mut().map(|client| client.win().amount.0).sum();
    let scrape = daemon.http("/metrics").1;
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

    assert_eq!(daemon.metric("hongbao_issued_cents_total"), won.cast_signed());
    assert_eq!(daemon.metric("hongbao_requests_total{kind=\"hello\"}"), 10);
    assert_eq!(daemon.metric("hongbao_shake_answers_total{outcome=\"envelope\"}"), 10);
    assert_eq!(daemon.metric("hongbao_users_online"), 10);
    assert_eq!(daemon.metric("hongbao_balance_difference_cents"), 0);
    assert_eq!(daemon.metric("hongbao_seeded_envelopes"), ENVELOPES.cast_signed());
    assert_eq!(daemon.metric("hongbao_seeded_cents"), TOTAL_CENTS.cast_signed());
    // In one scrape, while the daemon deals on.
    let scrape = daemon.http("/metrics").1;
    let places = scrape.lines().filter_map(|line| line.strip_prefix("hongbao_balance_envelopes{")?.split_once("} "));
    let sum: u64 = places.map(|(_, value)| value.parse::<u64>().expect("a whole number")).sum();
    assert_eq!(sum, ENVELOPES, "every envelope is somewhere");
    let (head, health) = daemon.http("/healthz");
    assert!(head.starts_with("HTTP/1.1 200 ") && health.contains("\"status\":\"ok\""), "{head} {health}");
    daemon.stop();
}
