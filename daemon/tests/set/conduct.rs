//! How clients behave, well and badly: framing, order, silence, greed. None of it may cost another client anything.

use hongbao_protocol::UserId;
use hongbao_protocol::wire::{ClientFrame, ErrorCode, GoAwayReason, ServerFrame};
use hongbao_uring::simulated::{PeerEnd, PeerId, SimulatedOptions};
use hongbaod::cells::CloseReason;
use hongbaod::set::Rules;

use crate::stand::{RULES, Stand};

fn closed(stand: &Stand, reason: CloseReason) -> u64 {
    stand.cells.connections_closed[reason as usize].get()
}

/// The peer hears this error, then the end of file, and the place is free once it has closed.
fn is_sent_away_with(stand: &mut Stand, peer: PeerId, code: ErrorCode, kind: u8) {
    assert_eq!(stand.heard(peer), [ServerFrame::Error { code, kind }]);
    assert_eq!(stand.set.network().peer_end(peer), Some(PeerEnd::EndOfFile));
    stand.set.network().peer_close(peer);
    stand.settle();
    assert!(!stand.set.network().is_open(peer));
    assert_eq!(closed(stand, CloseReason::Protocol), 1);
}

#[test]
fn frames_one_byte_at_a_time_are_frames() {
    let mut stand = Stand::new();
    let peer = stand.connect();
    let hello = ClientFrame::Hello { version_min: 1, version_max: 3, user: UserId(7) };
    for byte in hello.encode().as_bytes() {
        stand.write(peer, &[*byte]);
    }
    stand.grant_login(&[]);
    assert!(matches!(stand.heard(peer)[..], [ServerFrame::Welcome { .. }]));
    let ping = ClientFrame::Ping { nonce: 5 };
    for byte in ping.encode().as_bytes() {
        stand.write(peer, &[*byte]);
    }
    assert!(matches!(stand.heard(peer)[..], [ServerFrame::Pong { nonce: 5, .. }]));
}

#[test]
fn thousands_of_frames_in_one_write_are_all_answered_in_order() {
    let mut stand = Stand::new();
    let peer = stand.online(7);
    let bytes: Vec<u8> = (0..3000).flat_map(|nonce| ClientFrame::Ping { nonce }.encode().as_bytes().to_vec()).collect();
    stand.write(peer, &bytes);
    let heard: Vec<u32> = (0..200)
        .flat_map(|_| {
            stand.settle();
            stand.heard(peer)
        })
        .map(|frame| match frame {
            ServerFrame::Pong { nonce, .. } => nonce,
            other => panic!("{other:?}"),
        })
        .collect();
    let reasons = CloseReason::ALL.map(|reason| closed(&stand, reason));
    assert!(heard.iter().copied().eq(0..3000), "{} answers, closed by reason {reasons:?}", heard.len());
}

#[test]
fn an_oversized_frame_is_refused_from_its_header_alone() {
    let mut stand = Stand::new();
    let peer = stand.online(7);
    stand.write(peer, &[0xFF, 0xFF, 0x02, 0]);
    is_sent_away_with(&mut stand, peer, ErrorCode::BadLength, 2);
}

#[test]
fn a_frame_shorter_than_its_kind_is_refused() {
    let mut stand = Stand::new();
    let peer = stand.online(7);
    stand.write(peer, &[4, 0, 0x02, 0]);
    is_sent_away_with(&mut stand, peer, ErrorCode::BadLength, 2);
}

#[test]
fn an_unknown_kind_is_refused() {
    let mut stand = Stand::new();
    let peer = stand.connect();
    stand.write(peer, b"GET / HTTP/1.1\r\n\r\n");
    is_sent_away_with(&mut stand, peer, ErrorCode::UnknownKind, b'T');
}

#[test]
fn reserved_bits_are_refused() {
    let mut stand = Stand::new();
    let peer = stand.online(7);
    stand.write(peer, &[8, 0, 0x02, 1, 0, 0, 0, 0]);
    is_sent_away_with(&mut stand, peer, ErrorCode::ReservedBits, 2);
}

#[test]
fn a_shake_before_hello_is_out_of_order() {
    let mut stand = Stand::new();
    let peer = stand.connect();
    stand.shake(peer, 1);
    is_sent_away_with(&mut stand, peer, ErrorCode::OutOfOrder, 2);
}

#[test]
fn a_second_hello_is_out_of_order() {
    let mut stand = Stand::new();
    let peer = stand.online(7);
    stand.hello(peer, 8);
    is_sent_away_with(&mut stand, peer, ErrorCode::OutOfOrder, 1);
    assert_eq!(stand.cells.users_online.get(), 0);
}

#[test]
fn a_client_of_another_version_is_told_so() {
    let mut stand = Stand::new();
    let peer = stand.connect();
    stand.say(peer, &ClientFrame::Hello { version_min: 2, version_max: 9, user: UserId(1) });
    is_sent_away_with(&mut stand, peer, ErrorCode::Version, 1);
}

#[test]
fn what_follows_a_broken_frame_is_not_acted_on() {
    let mut stand = Stand::new();
    let peer = stand.online(7);
    let mut bytes = vec![9, 9, 0x70, 0];
    bytes.extend_from_slice(ClientFrame::Ping { nonce: 1 }.encode().as_bytes());
    stand.write(peer, &bytes);
    stand.say(peer, &ClientFrame::Ping { nonce: 2 });
    is_sent_away_with(&mut stand, peer, ErrorCode::UnknownKind, 0x70);
}

#[test]
fn a_peer_that_never_logs_in_is_told_and_closed() {
    let mut stand = Stand::new();
    let peer = stand.connect();
    stand.pass_ms(4000);
    assert_eq!(stand.heard(peer), []);
    stand.pass_ms(2000);
    assert_eq!(stand.heard(peer), [ServerFrame::Error { code: ErrorCode::LoginTimeout, kind: 0 }]);
    // It does not close either: the linger time ends that.
    stand.pass_ms(2000);
    assert!(!stand.set.network().is_open(peer));
    assert_eq!(closed(&stand, CloseReason::LoginTimeout), 1);
}

#[test]
fn a_silent_user_is_sent_away_and_a_pinging_one_stays() {
    let mut stand = Stand::new();
    let (silent, alive) = (stand.online(7), stand.online(8));
    for nonce in 0..4 {
        stand.pass_ms(20_000);
        stand.say(alive, &ClientFrame::Ping { nonce });
    }
    assert!(matches!(stand.heard(silent)[..], [ServerFrame::GoAway { reason: GoAwayReason::Idle, .. }]));
    assert_eq!(stand.heard(alive).len(), 4);
    assert!(!stand.set.network().is_open(silent));
    assert!(stand.set.network().is_open(alive));
    assert_eq!(closed(&stand, CloseReason::IdleTimeout), 1);
}

#[test]
fn a_peer_that_never_reads_is_closed_and_its_neighbour_notices_nothing() {
    let mut stand = Stand::with(Rules { shake_interval_ms: 0, ..RULES }, 8, 16, SimulatedOptions::default());
    let (greedy, neighbour) = (stand.online(7), stand.online(8));
    stand.set.network().peer_takes(greedy, 0);
    let shakes: Vec<u8> =
        (0..200).flat_map(|sequence| ClientFrame::Shake { sequence }.encode().as_bytes().to_vec()).collect();
    for _ in 0..40 {
        stand.write(greedy, &shakes);
        stand.shake(neighbour, 1);
        assert!(matches!(stand.heard(neighbour)[..], [ServerFrame::None { .. }]));
    }
    stand.pass_ms(2000);
    assert!(!stand.set.network().is_open(greedy));
    assert_eq!(closed(&stand, CloseReason::SlowReader), 1);
    assert_eq!(stand.set.network().send_slots_used(), 0);
}

#[test]
fn without_receive_buffers_nobody_is_lost() {
    let mut stand = Stand::new();
    let peers: Vec<_> = (0..6).map(|user| stand.online(user)).collect();
    stand.set.network().hold_buffers(2);
    for peer in &peers {
        stand.set.network().peer_write(*peer, ClientFrame::Ping { nonce: 1 }.encode().as_bytes());
    }
    for _ in 0..12 {
        stand.settle();
    }
    stand.set.network().return_buffers();
    stand.settle();
    for peer in peers {
        assert!(matches!(stand.heard(peer)[..], [ServerFrame::Pong { nonce: 1, .. }]));
    }
}

#[test]
fn multishots_that_an_overflow_ended_are_armed_again() {
    let mut stand = Stand::new();
    let peer = stand.online(7);
    stand.set.network().end_multishots();
    stand.say(peer, &ClientFrame::Ping { nonce: 1 });
    stand.say(peer, &ClientFrame::Ping { nonce: 2 });
    assert_eq!(stand.heard(peer).len(), 2);
    stand.set.network().end_multishots();
    stand.connect();
    stand.pass_ms(1000);
    stand.connect();
    assert_eq!(stand.cells.connections_opened.get(), 3);
}
