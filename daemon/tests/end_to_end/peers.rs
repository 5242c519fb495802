//! Peers that do what they should not, or too much of what they may.

use std::io::{ErrorKind, Write};

use hongbao_protocol::wire::{ClientFrame, ErrorCode, GoAwayReason, ServerFrame};

use crate::client::{Client, hello};
use crate::daemon::{Campaign, Daemon, until};

#[test]
fn a_peer_that_never_logs_in_is_told_and_closed() {
    let campaign = Campaign::new();
    let mut serve = campaign.serve();
    serve.args(["--login-timeout", "200ms"]);
    let daemon = Daemon::start(serve);
    let mut silent = Client::connect(daemon.listen);
    let mut slow = Client::connect(daemon.listen);
    slow.write(&hello(1).encode().as_bytes()[..15]);
    for client in [&mut silent, &mut slow] {
        assert_eq!(client.frame(), ServerFrame::Error { code: ErrorCode::LoginTimeout, kind: 0 });
        client.is_closed();
    }
    daemon.wait_for_metric("hongbao_connections_closed_total{reason=\"login_timeout\"}", |closed| closed == 2);
    daemon.stop();
}

#[test]
fn a_peer_that_falls_silent_is_sent_away() {
    let campaign = Campaign::new();
    let mut serve = campaign.serve();
    serve.args(["--idle-timeout", "300ms"]);
    let daemon = Daemon::start(serve);
    let (mut client, _) = Client::login(daemon.listen, 1);
    client.is_served();
    assert!(matches!(client.frame(), ServerFrame::GoAway { reason: GoAwayReason::Idle, .. }));
    client.is_closed();
    daemon.wait_for_metric("hongbao_connections_closed_total{reason=\"idle_timeout\"}", |closed| closed == 1);
    daemon.stop();
}

#[test]
fn a_peer_that_never_reads_is_cut_and_costs_nobody_else() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve());
    let (mut bystander, _) = Client::login(daemon.listen, 1);
    let (deaf, _) = Client::login(daemon.listen, 2);
    deaf.stream.set_nonblocking(true).expect("nonblocking");
    let pings: Vec<u8> = (0..512).flat_map(|nonce| ClientFrame::Ping { nonce }.encode().as_bytes().to_vec()).collect();
    // Answers twice as long as the questions, and nobody takes them: the daemon has to give up at some point.
    until("the cut", || match (&deaf.stream).write(&pings) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => Some(()),
        _ => None,
    });
    bystander.is_served();
    daemon.wait_for_metric("hongbao_connections_closed_total{reason=\"slow_reader\"}", |closed| closed == 1);
    daemon.wait_for_metric("hongbao_connections_open{set=\"0\"}", |open| open == 1);
    daemon.stop();
}

#[test]
fn one_connection_too_many_is_sent_away_with_a_word_and_a_place_is_given_again() {
    let campaign = Campaign::new();
    let mut serve = campaign.serve();
    serve.args(["--connections-per-set", "8"]);
    let daemon = Daemon::start(serve);
    let mut clients: Vec<Client> = (0..8).map(|user| Client::login(daemon.listen, user).0).collect();
    for _ in 0..20 {
        let mut refused = Client::connect(daemon.listen);
        assert!(matches!(refused.frame(), ServerFrame::GoAway { reason: GoAwayReason::Full, .. }));
        refused.is_closed();
    }
    clients.iter_mut().for_each(Client::is_served);
    drop(clients.pop());
    daemon.wait_for_metric("hongbao_connections_open{set=\"0\"}", |open| open == 7);
    let (mut late, _) = Client::login(daemon.listen, 99);
    late.is_served();
    daemon.stop();
}

#[test]
fn a_win_is_shown_again_after_a_reconnect_and_not_issued_again() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve());
    let (mut client, earlier) = Client::login(daemon.listen, 7);
    assert_eq!(earlier, []);
    let won = client.win();
    drop(client);
    let (_client, earlier) = Client::login(daemon.listen, 7);
    assert_eq!(earlier, [won]);
    let (_other, earlier) = Client::login(daemon.listen, 8);
    assert_eq!(earlier, [], "another user's win is nobody else's");
    daemon.stop();
    assert_eq!(campaign.exported().len(), 1);
}

#[test]
fn caps_hold_through_reconnects_and_many_connections_of_one_user() {
    let campaign = Campaign::new();
    let mut serve = campaign.serve();
    serve.args(["--cap-per-user", "2", "--sets", "2"]);
    let daemon = Daemon::start(serve);
    let mut won = Vec::new();
    for _ in 0..6 {
        let (mut client, earlier) = Client::login(daemon.listen, 7);
        assert_eq!(earlier, won);
        let mut sequence = 0;
        let end = until("a win or the cap", || {
            sequence += 1;
            match client.shake(sequence) {
                ServerFrame::Envelope { envelope, .. } => Some(Some(envelope)),
                ServerFrame::UserLimit { .. } => Some(None),
                _ => None,
            }
        });
        won.extend(end);
    }
    assert_eq!(won.len(), 2);
    assert_ne!(won[0].sponsor, won[1].sponsor, "one of each sponsor");
    daemon.stop();
}
