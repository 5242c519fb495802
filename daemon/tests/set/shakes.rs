//! Shakes, claims and verdicts: what the money does.

use hongbao_protocol::wire::ServerFrame;
use hongbao_uring::simulated::SimulatedOptions;
use hongbaod::messages::{Refusal, Request, SetCommand, Verdict};
use hongbaod::set::{Rules, Turn};

use crate::stand::{RECEIPT, RULES, Stand, envelope};

/// Takes the claim that must be next in the ledger's queue.
fn claim(stand: &mut Stand) -> (hongbao_uring::Token, u32, hongbao_protocol::Envelope) {
    match stand.requests.pop() {
        Ok(Request::Claim { caller, sequence, envelope, .. }) => (caller, sequence, envelope),
        other => panic!("a claim was to come: {other:?}"),
    }
}

#[test]
fn nothing_is_won_before_the_ledger_says_so() {
    let mut stand = Stand::new();
    let peer = stand.online(7);
    stand.stock.push(envelope(1)).unwrap();
    stand.shake(peer, 42);
    assert_eq!(stand.heard(peer), [], "the claim is at the ledger");
    assert_eq!(stand.cells.claims_pending.get(), 1);
    let (caller, sequence, claimed) = claim(&mut stand);
    assert_eq!((sequence, claimed), (42, envelope(1)));
    stand.verdicts.push(Verdict::Won { caller, sequence, envelope: claimed, wins: 1, receipt: RECEIPT }).unwrap();
    stand.settle();
    assert_eq!(
        stand.heard(peer),
        [ServerFrame::Envelope { sequence: 42, envelope: envelope(1), shown_again: false, receipt: RECEIPT }]
    );
    assert_eq!(stand.cells.claims_pending.get(), 0);
}

#[test]
fn an_empty_stock_is_an_explicit_none_with_a_spread_time() {
    let mut stand = Stand::new();
    let peer = stand.online(7);
    stand.shake(peer, 1);
    let heard = stand.heard(peer);
    let [ServerFrame::None { sequence: 1, retry_after_ms }] = heard[..] else { panic!("{heard:?}") };
    assert!((5000..10_000).contains(&retry_after_ms));
    assert!(stand.requests.is_empty(), "the ledger is not asked");
}

#[test]
fn a_shake_before_its_time_is_answered_and_wins_nothing() {
    let mut stand = Stand::new();
    let peer = stand.online(7);
    stand.shake(peer, 1);
    stand.heard(peer);
    stand.pass_ms(3000);
    stand.stock.push(envelope(1)).unwrap();
    stand.shake(peer, 2);
    assert_eq!(stand.heard(peer), [ServerFrame::None { sequence: 2, retry_after_ms: 2000 }]);
    assert_eq!(stand.cells.answered_too_early.get(), 1);
    // It did not count: the third comes after the interval of the first.
    stand.pass_ms(2000);
    stand.stock.push(envelope(2)).unwrap();
    stand.shake(peer, 3);
    assert_eq!(claim(&mut stand).1, 3);
}

#[test]
fn an_envelope_whose_claim_is_refused_goes_to_the_next_who_shakes() {
    let mut stand = Stand::new();
    let (first, second) = (stand.online(7), stand.online(8));
    stand.stock.push(envelope(1)).unwrap();
    stand.shake(first, 1);
    let (caller, sequence, refused) = claim(&mut stand);
    let refusal = Refusal::SponsorLimit;
    stand.verdicts.push(Verdict::Refused { caller, sequence, envelope: refused, refusal }).unwrap();
    stand.settle();
    assert!(matches!(stand.heard(first)[..], [ServerFrame::SponsorLimit { sequence: 1, .. }]));
    stand.shake(second, 9);
    assert_eq!(claim(&mut stand).2, envelope(1));
}

#[test]
fn an_envelope_that_was_issued_before_never_comes_back_into_the_stock() {
    let mut stand = Stand::new();
    let peer = stand.online(7);
    stand.stock.push(envelope(1)).unwrap();
    stand.shake(peer, 1);
    let (caller, sequence, envelope) = claim(&mut stand);
    let refusal = Refusal::AlreadyIssued;
    stand.verdicts.push(Verdict::Refused { caller, sequence, envelope, refusal }).unwrap();
    stand.settle();
    assert!(matches!(stand.heard(peer)[..], [ServerFrame::None { sequence: 1, .. }]));
    assert_eq!(stand.cells.stock.get(), 0);
}

#[test]
fn a_win_whose_winner_has_gone_is_counted_and_not_sent_to_the_next_in_that_place() {
    let mut stand = Stand::new();
    let peer = stand.online(7);
    stand.stock.push(envelope(1)).unwrap();
    stand.shake(peer, 1);
    let (caller, sequence, envelope) = claim(&mut stand);
    stand.set.network().peer_close(peer);
    stand.settle();
    let next = stand.online(8);
    stand.verdicts.push(Verdict::Won { caller, sequence, envelope, wins: 1, receipt: RECEIPT }).unwrap();
    stand.settle();
    assert_eq!(stand.heard(next), [], "the place is the same, the user is not");
    assert_eq!(stand.cells.wins_undelivered.get(), 1);
    assert_eq!(stand.cells.envelopes_issued.get(), 1, "issued all the same");
    assert_eq!(stand.cells.answered_envelope.get(), 0);
}

#[test]
fn earlier_wins_follow_the_welcome() {
    let mut stand = Stand::new();
    let peer = stand.connect();
    stand.hello(peer, 7);
    stand.grant_login(&[envelope(4), envelope(5)]);
    let heard = stand.heard(peer);
    let [
        ServerFrame::Welcome { version: 1, earlier_wins_shown: 2, earlier_wins: 2, shake_interval_ms: 5000, .. },
        ServerFrame::Envelope { sequence: 0, envelope: first, shown_again: true, receipt: RECEIPT },
        ServerFrame::Envelope { sequence: 0, envelope: second, shown_again: true, receipt: RECEIPT },
    ] = heard[..]
    else {
        panic!("{heard:?}")
    };
    assert_eq!((first, second), (envelope(4), envelope(5)));
}

#[test]
fn a_user_with_all_they_may_have_costs_the_ledger_nothing() {
    let mut stand = Stand::new();
    let peer = stand.connect();
    stand.hello(peer, 7);
    stand.grant_login(&[envelope(4), envelope(5), envelope(6)]);
    stand.heard(peer);
    stand.stock.push(envelope(1)).unwrap();
    stand.shake(peer, 1);
    assert_eq!(stand.heard(peer), [ServerFrame::UserLimit { sequence: 1 }]);
    assert!(stand.requests.is_empty());
}

#[test]
fn a_full_ledger_queue_is_said_aloud_and_the_envelope_stays() {
    let mut stand = Stand::with(Rules { shake_interval_ms: 0, ..RULES }, 8, 1, SimulatedOptions::default());
    let (first, second) = (stand.online(7), stand.online(8));
    (1..=2).for_each(|index| stand.stock.push(envelope(index)).unwrap());
    stand.shake(first, 1);
    stand.shake(second, 1);
    assert_eq!(stand.heard(second), [ServerFrame::Overloaded { sequence: 1, retry_after_ms: 0 }]);
    assert_eq!(stand.cells.stock.get(), 1);
    // A hello is put off likewise, and may be said again.
    let third = stand.connect();
    stand.hello(third, 9);
    assert_eq!(stand.heard(third), [ServerFrame::Overloaded { sequence: 0, retry_after_ms: 0 }]);
    claim(&mut stand);
    stand.hello(third, 9);
    stand.grant_login(&[]);
    assert!(matches!(stand.heard(third)[..], [ServerFrame::Welcome { .. }]));
}

#[test]
fn a_set_nobody_shakes_on_gives_its_stock_back() {
    let mut stand = Stand::new();
    (1..=5).for_each(|index| stand.stock.push(envelope(index)).unwrap());
    stand.pass_ms(2000);
    assert_eq!(stand.returns.slots(), 5);
    assert_eq!((stand.cells.stock.get(), stand.cells.stock_returned.get()), (0, 5));
}

#[test]
fn the_way_out_waits_for_claims_sends_everyone_away_and_returns_the_stock() {
    let mut stand = Stand::new();
    let (winner, other) = (stand.online(7), stand.online(8));
    (1..=3).for_each(|index| stand.stock.push(envelope(index)).unwrap());
    stand.shake(winner, 1);
    let (caller, sequence, envelope) = claim(&mut stand);
    stand.commands.push(SetCommand::Stop).unwrap();
    stand.settle();
    assert!(!stand.set.network().is_accepting());
    assert_eq!(stand.heard(other), [], "nobody is sent away while a claim is out");
    stand.shake(other, 1);
    assert!(matches!(stand.heard(other)[..], [ServerFrame::None { .. }]), "still answered, but no new claim");
    stand.verdicts.push(Verdict::Won { caller, sequence, envelope, wins: 1, receipt: RECEIPT }).unwrap();
    stand.settle();
    assert!(matches!(stand.heard(winner)[..], [ServerFrame::Envelope { .. }, ServerFrame::GoAway { .. }]));
    assert!(matches!(stand.heard(other)[..], [ServerFrame::GoAway { .. }]));
    for peer in [winner, other] {
        assert!(stand.set.network().peer_end(peer).is_some(), "the end of file follows the farewell");
        stand.set.network().peer_close(peer);
    }
    let ended = (0..6).any(|_| stand.turn() == Turn::Ended);
    assert!(ended);
    assert_eq!(stand.returns.slots(), 2);
    assert_eq!(stand.set.summary().connections_cut, 0);
}
