//! Bytes that no good client sends: each is answered with a code and a close, and costs nobody else anything.

use hongbao_protocol::wire::{ClientFrame, ErrorCode, ServerFrame};

use crate::client::{Client, hello};
use crate::daemon::{Campaign, Daemon};

/// Sends `bytes` after a hello (or instead of one) and expects the error and the close; then that others are served as before.
fn is_refused(daemon: &Daemon, logged_in: bool, bytes: &[u8], code: ErrorCode, kind: u8) {
    let (mut bystander, _) = Client::login(daemon.listen, 1);
    let mut client = if logged_in { Client::login(daemon.listen, 2).0 } else { Client::connect(daemon.listen) };
    client.write(bytes);
    assert_eq!(client.frame(), ServerFrame::Error { code, kind }, "{bytes:02x?}");
    client.is_closed();
    bystander.is_served();
}

#[test]
fn a_frame_of_a_wrong_length_is_an_error_and_a_close() {
    let (campaign, shake) = (Campaign::new(), 0x02);
    let daemon = Daemon::start(campaign.serve());
    for length in [0_u16, 3, 7, 9, 16, 65_535] {
        let [low, high] = length.to_le_bytes();
        // From the header alone: the body need not come.
        is_refused(&daemon, true, &[low, high, shake, 0], ErrorCode::BadLength, shake);
    }
    daemon.wait_for_metric("hongbao_connections_closed_total{reason=\"protocol\"}", |closed| closed == 6);
    daemon.stop();
}

#[test]
fn an_unknown_kind_and_reserved_bits_are_errors_and_a_close() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve());
    for kind in [0x00, 0x04, 0x7F, 0x81, 0xFF] {
        is_refused(&daemon, true, &[8, 0, kind, 0, 0, 0, 0, 0], ErrorCode::UnknownKind, kind);
    }
    is_refused(&daemon, true, &[8, 0, 0x02, 0x80, 1, 0, 0, 0], ErrorCode::ReservedBits, 0x02);
    daemon.stop();
}

#[test]
fn frames_out_of_order_are_errors_and_a_close() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve());
    is_refused(&daemon, false, ClientFrame::Shake { sequence: 1 }.encode().as_bytes(), ErrorCode::OutOfOrder, 0x02);
    is_refused(&daemon, false, ClientFrame::Ping { nonce: 1 }.encode().as_bytes(), ErrorCode::OutOfOrder, 0x03);
    is_refused(&daemon, true, hello(2).encode().as_bytes(), ErrorCode::OutOfOrder, 0x01);
    daemon.stop();
}

#[test]
fn a_client_of_another_version_is_told_so() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve());
    let other = ClientFrame::Hello { version_min: 2, version_max: 9, user: hongbao_protocol::UserId(1) };
    is_refused(&daemon, false, other.encode().as_bytes(), ErrorCode::Version, 0x01);
    daemon.stop();
}

#[test]
fn garbage_of_every_first_byte_never_stops_the_daemon() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve());
    let (mut bystander, _) = Client::login(daemon.listen, 1);
    for first in 0..=255_u8 {
        let mut client = Client::connect(daemon.listen);
        let garbage: Vec<u8> =
            (0..64).map(|index: u8| first.wrapping_mul(31).wrapping_add(index.wrapping_mul(7))).collect();
        client.write(&garbage);
        // Half a frame may yet turn out well, so that only the end of the connection settles it.
        client.stream.shutdown(std::net::Shutdown::Write).expect("open");
        while client.next().is_some() {}
    }
    bystander.is_served();
    daemon.stop();
}

#[test]
fn a_client_that_sends_one_byte_at_a_time_is_understood() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve());
    let mut client = Client::connect(daemon.listen);
    let frames = [hello(7), ClientFrame::Ping { nonce: 1 }, ClientFrame::Shake { sequence: 5 }];
    for byte in frames.iter().flat_map(|frame| frame.encode().as_bytes().to_vec()) {
        client.write(&[byte]);
    }
    // A welcome waits for the ledger and a pong does not: each answer comes once, in any order.
    let answers = [client.frame(), client.frame(), client.frame()];
    let of = |wanted: fn(&ServerFrame) -> bool| answers.iter().filter(|answer| wanted(answer)).count();
    assert_eq!(of(|answer| matches!(answer, ServerFrame::Welcome { .. })), 1, "{answers:?}");
    assert_eq!(of(|answer| matches!(answer, ServerFrame::Pong { nonce: 1, .. })), 1, "{answers:?}");
    let shaken = of(|answer| matches!(answer, ServerFrame::Envelope { sequence: 5, .. }))
        + of(|answer| matches!(answer, ServerFrame::None { sequence: 5, .. }));
    assert_eq!(shaken, 1, "{answers:?}");
    daemon.stop();
}

#[test]
fn thousands_of_frames_in_one_write_are_all_answered_in_order() {
    // Their answers are just below what the daemon holds for a connection that does not read (64 KiB).
    const FRAMES: u32 = 4_000;
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve());
    let (mut client, _) = Client::login(daemon.listen, 7);
    let bytes: Vec<u8> =
        (0..FRAMES).flat_map(|nonce| ClientFrame::Ping { nonce }.encode().as_bytes().to_vec()).collect();
    client.write(&bytes);
    for expected in 0..FRAMES {
        assert!(matches!(client.frame(), ServerFrame::Pong { nonce, .. } if nonce == expected));
    }
    daemon.stop();
}
