//! From the start to the end in good order.

use hongbao_protocol::wire::{GoAwayReason, ServerFrame};
use nix::sys::signal::Signal;

use crate::client::Client;
use crate::daemon::{BINARY, Campaign, Daemon, ENVELOPES};

#[test]
fn sigterm_sends_clients_away_flushes_takes_the_stock_back_and_ends_well() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let campaign = Campaign::new();
        let daemon = Daemon::start(campaign.serve());
        let (mut client, _) = Client::login(daemon.listen, 7);
        let won = client.win();
        daemon.wait_for_metric("hongbao_stock_envelopes{set=\"0\"}", |stock| stock > 0);
        daemon.signal(signal);
        assert!(matches!(client.frame(), ServerFrame::GoAway { reason: GoAwayReason::Stopping, .. }));
        client.is_closed();
        let (code, log) = daemon.end();
        assert_eq!(code, Some(0), "{log}");
        let balance = log.lines().find(|line| line.contains("seeded ")).expect("the balance is told");
        assert!(balance.contains("with sets 0.00 (0 envelopes)"), "{balance}");
        assert!(balance.contains(&format!("({} envelopes)", ENVELOPES - 1)), "all but the one that was won: {balance}");
        assert!(!balance.contains("DIFFERENCE"), "{balance}");
        let exported = campaign.exported();
        assert_eq!(exported.len(), 1);
        assert_eq!(exported[0]["envelope"].as_u64(), Some(won.id.0));
    }
}

#[test]
fn a_client_that_will_not_go_cannot_hold_up_the_stop() {
    let campaign = Campaign::new();
    let mut serve = campaign.serve();
    serve.args(["--drain-timeout", "200ms"]);
    let daemon = Daemon::start(serve);
    let (_stays, _) = Client::login(daemon.listen, 7);
    daemon.stop();
}

#[test]
fn a_second_signal_ends_at_once() {
    let campaign = Campaign::new();
    let mut serve = campaign.serve();
    serve.args(["--drain-timeout", "1h"]);
    let mut daemon = Daemon::start(serve);
    let (_stays, _) = Client::login(daemon.listen, 7);
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_line("stopping in good order");
    daemon.signal(Signal::SIGINT);
    let (code, log) = daemon.end();
    assert_eq!(code, Some(128 + Signal::SIGINT as i32), "{log}");
}

#[test]
fn a_restart_goes_on_where_it_stopped() {
    let campaign = Campaign::of(3, 300, 3);
    let mut all = Vec::new();
    for user in 1..=3 {
        let daemon = Daemon::start(campaign.serve());
        all.push(Client::login(daemon.listen, user).0.win());
        daemon.stop();
    }
    all.sort_by_key(|envelope| envelope.id);
    all.dedup_by_key(|envelope| envelope.id);
    assert_eq!(all.len(), 3, "each envelope once");
    let daemon = Daemon::start(campaign.serve());
    let (mut late, _) = Client::login(daemon.listen, 4);
    assert!(matches!(late.shake(1), ServerFrame::None { .. }), "nothing is left");
    assert!(late.shake(2) != late.shake(3), "and shakes are still answered");
    daemon.stop();
}

#[test]
fn serve_without_a_word_runs_a_demo_and_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut serve = std::process::Command::new(BINARY);
    serve.args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]).env("TMPDIR", folder.path());
    let daemon = Daemon::start(serve);
    let (mut client, _) = Client::login(daemon.listen, 1);
    client.is_served();
    let log = daemon.stop();
    assert!(log.contains("demo"), "{log}");
}
