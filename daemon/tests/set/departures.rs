//! How connections come and go: full houses, broken peers, half-closed ones, places used again.

use hongbao_protocol::wire::{ClientFrame, GoAwayReason, ServerFrame};
use hongbao_uring::Errno;
use hongbao_uring::simulated::SimulatedOptions;
use hongbaod::cells::CloseReason;
use hongbaod::limits::REFUSED_AT_ONCE;

use crate::stand::{RULES, Stand};

#[test]
fn a_newcomer_to_a_full_house_is_told_when_to_come_back() {
    let mut stand = Stand::with(RULES, 2, 16, SimulatedOptions::default());
    let (first, _second) = (stand.online(1), stand.online(2));
    let third = stand.connect();
    let heard = stand.heard(third);
    let [ServerFrame::GoAway { reason: GoAwayReason::Full, retry_after_ms }] = heard[..] else { panic!("{heard:?}") };
    assert!((5000..10_000).contains(&retry_after_ms));
    stand.set.network().peer_close(third);
    stand.settle();
    assert!(!stand.set.network().is_open(third));
    // A place that becomes free is given to the next.
    stand.set.network().peer_close(first);
    stand.settle();
    stand.online(3);
    assert_eq!(stand.cells.connections_closed[CloseReason::Full as usize].get(), 1);
}

#[test]
fn when_even_the_refusals_have_no_place_newcomers_wait_in_the_backlog() {
    let mut stand = Stand::with(RULES, 1, 16, SimulatedOptions::default());
    stand.online(1);
    let mut flood: Vec<_> = (0..REFUSED_AT_ONCE).map(|_| stand.set.network().peer_connect()).collect();
    stand.settle();
    flood.extend((0..10).map(|_| stand.set.network().peer_connect()));
    stand.settle();
    assert!(!stand.set.network().is_accepting());
    assert_eq!(stand.set.network().open_connections(), 1 + REFUSED_AT_ONCE as usize);
    // They do not close: the linger time makes room, and those who waited are told likewise.
    stand.pass_ms(4000);
    for peer in flood {
        assert!(matches!(stand.heard(peer)[..], [ServerFrame::GoAway { reason: GoAwayReason::Full, .. }]));
    }
    assert!(stand.set.network().is_accepting());
}

#[test]
fn an_accept_that_failed_for_want_of_descriptors_is_tried_again() {
    let mut stand = Stand::new();
    stand.set.network().fail_accept(Errno::ENFILE);
    let peer = stand.connect();
    assert_eq!(stand.cells.accepts_failed.get(), 1);
    assert_eq!(stand.cells.connections_opened.get(), 0);
    stand.pass_ms(1000);
    assert_eq!(stand.cells.connections_opened.get(), 1);
    stand.hello(peer, 7);
    stand.grant_login(&[]);
    assert_eq!(stand.heard(peer).len(), 1);
}

#[test]
fn a_peer_that_has_said_its_last_is_still_answered() {
    let mut stand = Stand::new();
    let peer = stand.online(7);
    stand.set.network().peer_write(peer, ClientFrame::Shake { sequence: 1 }.encode().as_bytes());
    stand.set.network().peer_shutdown_write(peer);
    stand.settle();
    assert!(matches!(stand.heard(peer)[..], [ServerFrame::None { sequence: 1, .. }]));
    assert!(!stand.set.network().is_open(peer));
    assert_eq!(stand.cells.connections_closed[CloseReason::Peer as usize].get(), 1);
}

#[test]
fn a_broken_connection_frees_its_place() {
    let mut stand = Stand::new();
    let peer = stand.online(7);
    stand.set.network().peer_reset(peer);
    stand.settle();
    assert!(!stand.set.network().is_open(peer));
    assert_eq!(stand.cells.connections_closed[CloseReason::Broken as usize].get(), 1);
    assert_eq!((stand.cells.connections_open.get(), stand.cells.users_online.get()), (0, 0));
}

#[test]
fn a_peer_that_breaks_while_it_is_owed_answers_leaves_nothing_behind() {
    let mut stand = Stand::new();
    let peer = stand.online(7);
    stand.set.network().peer_takes(peer, 4);
    stand.say(peer, &ClientFrame::Ping { nonce: 1 });
    assert_ne!(stand.set.network().send_slots_used(), 0, "the pong waits for the peer");
    stand.set.network().peer_reset(peer);
    stand.settle();
    assert!(!stand.set.network().is_open(peer));
    assert_eq!(stand.set.network().send_slots_used(), 0);
}

#[test]
fn a_slow_reader_gets_everything_in_order_once_it_reads() {
    let mut stand = Stand::new();
    let peer = stand.online(7);
    stand.set.network().peer_takes(peer, 5);
    for nonce in 0..5 {
        stand.say(peer, &ClientFrame::Ping { nonce });
    }
    stand.set.network().peer_takes(peer, usize::MAX);
    stand.settle();
    let nonces: Vec<u32> = stand
        .heard(peer)
        .iter()
        .map(|frame| match frame {
            ServerFrame::Pong { nonce, .. } => *nonce,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(nonces, [0, 1, 2, 3, 4]);
}

#[test]
fn a_place_that_is_used_again_has_nothing_of_its_last_bearer() {
    let mut stand = Stand::new();
    for user in 0..200 {
        let peer = stand.online(user);
        // Half a frame is left behind in some, an unread answer in others.
        stand.set.network().peer_write(peer, &[8, 0, 2][..(user % 4).min(3) as usize]);
        stand.settle();
        if user % 2 == 0 {
            stand.set.network().peer_reset(peer);
        } else {
            stand.set.network().peer_close(peer);
        }
        stand.settle();
        assert!(!stand.set.network().is_open(peer));
    }
    assert_eq!(stand.set.network().send_slots_used(), 0);
    assert_eq!(stand.cells.connections_open.get(), 0);
}
