//! Gifts from user to user, through the whole daemon: what each side is told, and where every cent is afterwards.

use std::process::Command;

use hongbao_protocol::wire::{ClientFrame, GiftClosed, GiftRefusal, GoAwayReason, Recipients, ServerFrame};
use hongbao_protocol::{Cents, GiftId, UserId};
use nix::sys::signal::Signal;

use crate::client::{Client, hello};
use crate::daemon::{BINARY, Campaign, Daemon, PATIENCE, until};

/// A daemon whose house pays for gifts.
fn house(campaign: &Campaign, more: &[&str]) -> Daemon {
    let mut command = campaign.serve();
    command.args(["--gift-funding", "house"]).args(more);
    Daemon::start(command)
}

fn send(request: u64, total: u64, shares: u16, users: &[u64]) -> ClientFrame {
    let users: Vec<_> = users.iter().copied().map(UserId).collect();
    let recipients = Recipients::new(&users).expect("1 to 32");
    ClientFrame::GiftSend { request, total: Cents(total), shares, recipients }
}

/// Sends a gift that is granted.
fn sent(sender: &mut Client, request: u64, total: u64, shares: u16, users: &[u64]) -> GiftId {
    sender.send(&send(request, total, shares, users));
    match sender.frame() {
        ServerFrame::GiftSent { request: answered, gift, again: false, .. } if answered == request => gift,
        other => panic!("{other:?}"),
    }
}

fn noticed(recipient: &mut Client) -> GiftId {
    match recipient.frame() {
        ServerFrame::GiftNotice { gift, listed: false, .. } => gift,
        other => panic!("{other:?} is no notice"),
    }
}

fn open(client: &mut Client, gift: GiftId) -> ServerFrame {
    client.send(&ClientFrame::GiftOpen { gift });
    client.frame()
}

fn share(client: &mut Client, gift: GiftId) -> u64 {
    match open(client, gift) {
        ServerFrame::GiftOpened { gift: answered, share, .. } if answered == gift => share.0,
        other => panic!("{other:?} brings no share"),
    }
}

fn closed(client: &mut Client, gift: GiftId) -> GiftClosed {
    match open(client, gift) {
        ServerFrame::GiftClosed { gift: answered, reason, .. } if answered == gift => reason,
        other => panic!("{other:?}"),
    }
}

fn refused(client: &mut Client, frame: &ClientFrame) -> GiftRefusal {
    client.send(frame);
    match client.frame() {
        ServerFrame::GiftRefused { reason, .. } => reason,
        other => panic!("{other:?} to {frame:?}"),
    }
}

/// The records of a kind that the ledger exports.
fn records(campaign: &Campaign, kind: &str) -> Vec<serde_json::Value> {
    let output = Command::new(BINARY).args(["ledger", "export"]).arg(campaign.data_dir()).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("JSON is text");
    let records = lines.lines().map(|line| serde_json::from_str(line).expect("one JSON object a line"));
    records.filter(|record: &serde_json::Value| record["kind"] == kind).collect()
}

fn cents(records: &[serde_json::Value]) -> u64 {
    records.iter().map(|record| record["amount_cents"].as_u64().expect("a number")).sum()
}

#[test]
fn a_gift_reaches_its_recipients_on_any_set_share_by_share_and_to_the_cent() {
    let campaign = Campaign::new();
    let usual = campaign.serve();
    let mut arguments: Vec<_> = usual.get_args().map(std::ffi::OsStr::to_owned).collect();
    let sets = arguments.iter().position(|argument| argument == "--sets").expect("a number of SETs is given") + 1;
    arguments[sets] = "4".into();
    let mut command = Command::new(usual.get_program());
    command.args(arguments).args(["--gift-funding", "house"]);
    let daemon = Daemon::start(command);
    let (mut sender, _) = Client::login(daemon.listen, 1);
    let mut recipients: Vec<_> = (10..22).map(|user| Client::login(daemon.listen, user).0).collect();
    let users: Vec<u64> = (10..22).collect();
    let gift = sent(&mut sender, 1, 1_000, 11, &users);
    let mut shares = Vec::new();
    for (place, client) in recipients.iter_mut().enumerate() {
        assert_eq!(noticed(client), gift);
        if place == 11 {
            assert_eq!(closed(client, gift), GiftClosed::Gone, "eleven shares for twelve");
            continue;
        }
        let ServerFrame::GiftOpened { share, luckiest, shares: of, remaining, again: false, .. } = open(client, gift)
        else {
            panic!("no share")
        };
        shares.push(share.0);
        assert_eq!((luckiest.0, of, usize::from(remaining)), (*shares.iter().max().expect("one"), 11, 10 - place));
    }
    assert!(shares.iter().all(|share| *share >= 1) && shares.iter().sum::<u64>() == 1_000, "{shares:?}");
    assert_eq!(share(&mut recipients[0], gift), shares[0], "the same share, told again");
    assert_eq!(closed(&mut sender, gift), GiftClosed::NotYours);
    daemon.wait_for_metric("hongbao_gift_cents{state=\"opened\"}", |cents| cents == 1_000);
    assert_eq!(daemon.metric("hongbao_gifts{state=\"pending\"}"), 0);
    assert_eq!(daemon.metric("hongbao_balance_difference_cents"), 0);
    let log = daemon.stop();
    assert!(
        log.contains("gifts sent 10.00 (1 gifts) = opened 10.00 (11 shares)") && !log.contains("DIFFERENCE"),
        "{log}"
    );
    assert_eq!((records(&campaign, "gift_sent").len(), cents(&records(&campaign, "gift_opened"))), (1, 1_000));
}

#[test]
fn every_gift_that_cannot_be_is_refused_by_name_and_costs_nothing() {
    let campaign = Campaign::new();
    let daemon = house(&campaign, &["--gifts-pending", "1"]);
    let (mut client, _) = Client::login(daemon.listen, 1);
    for (frame, reason) in [
        (send(1, 100, 0, &[2]), GiftRefusal::NoShares),
        (send(1, 2, 3, &[2, 3, 4]), GiftRefusal::TooFewCents),
        (send(1, 100, 3, &[2, 3]), GiftRefusal::TooManyShares),
        (send(1, 100, 1, &[2, 1]), GiftRefusal::SenderNamed),
        (send(1, 100, 1, &[2, 3, 2]), GiftRefusal::RecipientTwice),
        (send(1, u64::MAX, 1, &[2]), GiftRefusal::TotalTooLarge),
        (send(1, (1 << 40) + 1, 1, &[2]), GiftRefusal::TotalTooLarge),
    ] {
        assert_eq!(refused(&mut client, &frame), reason);
    }
    let gift = sent(&mut client, 7, 100, 1, &[2]);
    assert_eq!(refused(&mut client, &send(8, 100, 1, &[2])), GiftRefusal::Full);
    assert_eq!(refused(&mut client, &send(6, 100, 1, &[2])), GiftRefusal::StaleRequest);
    client.send(&send(7, 999, 1, &[3]));
    assert!(
        matches!(client.frame(), ServerFrame::GiftSent { request: 7, gift: same, again: true, .. } if same == gift)
    );
    assert_eq!(closed(&mut client, GiftId(gift.0 + 1)), GiftClosed::NotYours, "no such gift, and that is not told");
    client.is_served();
    daemon.stop();
    assert_eq!(cents(&records(&campaign, "gift_sent")), 100);
}

/// The way of a cent: won by one, sent to another, and sent on by that one.
#[test]
fn a_user_can_send_what_was_won_and_opened_and_not_a_cent_more() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve());
    let (mut winner, _) = Client::login(daemon.listen, 1);
    let won = winner.win().amount.0;
    assert_eq!(refused(&mut winner, &send(1, won + 1, 1, &[2])), GiftRefusal::Balance);
    let first = sent(&mut winner, 1, won, 1, &[2]);
    assert_eq!(refused(&mut winner, &send(2, 1, 1, &[2])), GiftRefusal::Balance);
    let (mut friend, _) = Client::login(daemon.listen, 2);
    assert!(matches!(friend.frame(), ServerFrame::GiftNotice { gift, listed: true, .. } if gift == first));
    assert!(matches!(friend.frame(), ServerFrame::GiftListed { request: 0, shown: 1, pending: 1, .. }));
    assert_eq!(
        refused(&mut friend, &send(1, 1, 1, &[1])),
        GiftRefusal::Balance,
        "a gift is nobody's until it is opened"
    );
    assert_eq!(share(&mut friend, first), won);
    sent(&mut friend, 1, won, 1, &[1]);
    assert_eq!(daemon.wait_for_metric("hongbao_gifts{state=\"sent\"}", |sent| sent == 2), 2);
    assert_eq!(daemon.metric("hongbao_user_balances_cents"), 0);
    assert_eq!(daemon.metric("hongbao_balance_difference_cents"), 0);
    daemon.stop();
}

#[test]
fn whoever_was_away_is_told_at_the_next_login_page_by_page() {
    let campaign = Campaign::new();
    let daemon = house(&campaign, &[]);
    let (mut sender, _) = Client::login(daemon.listen, 1);
    let gifts: Vec<_> = (1..=20).map(|request| sent(&mut sender, request, 10, 1, &[2])).collect();
    drop(daemon.stop());
    let daemon = house(&campaign, &[]);
    let (mut client, _) = Client::login(daemon.listen, 2);
    let page = |client: &mut Client| {
        let mut shown = Vec::new();
        loop {
            match client.frame() {
                ServerFrame::GiftNotice { gift, sender: UserId(1), listed: true, .. } => shown.push(gift),
                ServerFrame::GiftListed { request, shown: count, pending, retry_after_ms: 0 } => {
                    assert_eq!(count as usize, shown.len());
                    return (shown, request, pending);
                }
                other => panic!("{other:?} in a list"),
            }
        }
    };
    assert_eq!(page(&mut client), (gifts[..16].to_vec(), 0, 20));
    client.send(&ClientFrame::GiftList { request: 9, after: gifts[15] });
    assert_eq!(page(&mut client), (gifts[16..].to_vec(), 9, 20));
    assert_eq!(share(&mut client, gifts[0]), 10);
    client.send(&ClientFrame::GiftList { request: 10, after: GiftId(0) });
    assert_eq!(page(&mut client), (gifts[1..17].to_vec(), 10, 19));
    daemon.stop();
}

#[test]
fn the_newest_connection_of_a_user_counts_and_the_older_one_is_sent_away() {
    let campaign = Campaign::new();
    let daemon = house(&campaign, &[]);
    let (mut older, _) = Client::login(daemon.listen, 2);
    let (mut newer, _) = Client::login(daemon.listen, 2);
    assert!(matches!(older.frame(), ServerFrame::GoAway { reason: GoAwayReason::Replaced, .. }));
    older.is_closed();
    let (mut sender, _) = Client::login(daemon.listen, 1);
    let gift = sent(&mut sender, 1, 10, 1, &[2]);
    assert_eq!(noticed(&mut newer), gift);
    newer.is_served();
    daemon.stop();
}

#[test]
fn a_gift_opened_at_once_from_two_connections_is_opened_once() {
    let campaign = Campaign::new();
    let daemon = house(&campaign, &[]);
    let (mut sender, _) = Client::login(daemon.listen, 1);
    for round in 0..20 {
        let user = 100 + round;
        let (mut older, _) = Client::login(daemon.listen, user);
        let gift = sent(&mut sender, round + 1, 500, 2, &[user, 99]);
        assert_eq!(noticed(&mut older), gift);
        let mut newer = Client::connect(daemon.listen);
        let both = [hello(user).encode().as_bytes(), ClientFrame::GiftOpen { gift }.encode().as_bytes()].concat();
        older.send(&ClientFrame::GiftOpen { gift });
        newer.write(&both);
        let first_share = |client: &mut Client| {
            while let Some(frame) = client.next() {
                match frame {
                    ServerFrame::GiftOpened { share, .. } => return Some(share.0),
                    ServerFrame::GoAway { .. } => return None,
                    _ => {}
                }
            }
            None
        };
        let newest = first_share(&mut newer).expect("the newest connection is answered");
        assert!(first_share(&mut older).is_none_or(|share| share == newest));
    }
    daemon.stop();
    assert_eq!(records(&campaign, "gift_opened").len(), 20, "one share of each gift");
}

#[test]
fn what_nobody_opened_goes_back_once_through_restarts() {
    let campaign = Campaign::new();
    let daemon = house(&campaign, &["--gift-life", "1s"]);
    let (mut sender, _) = Client::login(daemon.listen, 1);
    let (mut friend, _) = Client::login(daemon.listen, 2);
    let gift = sent(&mut sender, 1, 100, 2, &[2, 3]);
    assert_eq!(noticed(&mut friend), gift);
    let opened = share(&mut friend, gift);
    daemon.wait_for_metric("hongbao_gifts{state=\"refunded\"}", |refunded| refunded == 1);
    assert_eq!(daemon.metric("hongbao_gift_cents{state=\"refunded\"}") as u64, 100 - opened);
    let (mut late, _) = Client::login(daemon.listen, 3);
    late.is_served();
    assert_eq!(closed(&mut late, gift), GiftClosed::Expired);
    assert_eq!(share(&mut friend, gift), opened, "who has opened is still told so");
    daemon.signal(Signal::SIGKILL);
    assert_eq!(daemon.end().0, None);
    let daemon = house(&campaign, &["--gift-life", "1s"]);
    let (mut late, _) = Client::login(daemon.listen, 3);
    assert_eq!(closed(&mut late, gift), GiftClosed::Expired);
    assert_eq!(daemon.metric("hongbao_gifts{state=\"refunded\"}"), 1);
    assert_eq!(daemon.metric("hongbao_balance_difference_cents"), 0);
    daemon.stop();
    assert_eq!(records(&campaign, "gift_refunded").len(), 1);
}

/// Kills in the midst of sends and opens: whatever was answered stands, and asking again brings the same.
#[test]
fn nothing_that_was_told_of_a_gift_is_lost_by_a_kill() {
    let campaign = Campaign::new();
    let (mut gifts, mut shares) = (Vec::new(), Vec::new());
    for round in 0..4_u64 {
        let daemon = house(&campaign, &[]);
        let (mut sender, _) = Client::login(daemon.listen, 1);
        for (request, gift) in gifts.iter().rev().take(4) {
            sender.send(&send(*request, 1, 1, &[9]));
            let answer = sender.frame();
            assert!(
                matches!(answer, ServerFrame::GiftSent { gift: same, again: true, .. } if same == *gift),
                "{answer:?}"
            );
        }
        let (mut friend, _) = Client::login(daemon.listen, 2);
        friend.send(&ClientFrame::Ping { nonce: 1 });
        while !matches!(friend.frame(), ServerFrame::Pong { .. }) {}
        for (gift, amount) in &shares {
            friend.send(&ClientFrame::GiftOpen { gift: *gift });
            let told = until("the share", || match friend.frame() {
                ServerFrame::GiftOpened { share, again: true, .. } => Some(share.0),
                _ => None,
            });
            assert_eq!(told, *amount);
        }
        // Both at once, without waiting; the kill comes while answers are still on their way.
        let requests = round * 100 + 1..round * 100 + 73;
        let frames: Vec<u8> =
            requests.clone().flat_map(|request| send(request, 60, 2, &[2, 3]).encode().as_bytes().to_vec()).collect();
        sender.write(&frames);
        for request in requests.clone().take(60) {
            let ServerFrame::GiftSent { request: answered, gift, .. } = sender.frame() else { panic!("not sent") };
            assert_eq!(answered, request);
            gifts.push((request, gift));
            friend.send(&ClientFrame::GiftOpen { gift });
        }
        let mut opened = 0;
        while opened < 30 {
            if let ServerFrame::GiftOpened { gift, share, .. } = friend.frame() {
                shares.push((gift, share.0));
                opened += 1;
            }
        }
        daemon.signal(Signal::SIGKILL);
        assert_eq!(daemon.end().0, None);
    }
    let daemon = house(&campaign, &[]);
    assert_eq!(daemon.metric("hongbao_balance_difference_cents"), 0);
    daemon.stop();
    let (sent, opened) = (records(&campaign, "gift_sent"), records(&campaign, "gift_opened"));
    assert!(sent.len() >= gifts.len() && opened.len() >= shares.len());
    for (gift, amount) in shares {
        let of = opened.iter().filter(|record| record["gift"] == gift.0 && record["user"] == 2);
        assert!(of.clone().count() == 1 && of.clone().all(|record| record["amount_cents"] == amount), "{gift:?}");
    }
}

/// TCP may cut a gift anywhere, and its sender may leave it at that.
#[test]
fn a_gift_cut_anywhere_arrives_and_half_gifts_hold_up_nobody() {
    let campaign = Campaign::new();
    let daemon = house(&campaign, &[]);
    let users: Vec<u64> = (100..132).collect();
    let mut idlers: Vec<_> = (0..40).map(|user| Client::login(daemon.listen, 1000 + user).0).collect();
    for idler in &mut idlers {
        idler.write(&send(1, 100, 3, &users).encode().as_bytes()[..200]);
    }
    let (mut sender, _) = Client::login(daemon.listen, 1);
    for request in 1..=25 {
        let frame = send(request, 100, 3, &users);
        let encoded = frame.encode();
        let (start, rest) = encoded.as_bytes().split_at(request as usize * 11);
        sender.write(start);
        // The answer to another connection's ping shows that a turn has passed.
        let (mut witness, _) = Client::login(daemon.listen, 2);
        witness.is_served();
        sender.write(rest);
        assert!(matches!(sender.frame(), ServerFrame::GiftSent { request: answered, .. } if answered == request));
    }
    daemon.wait_for_metric("hongbao_connections_closed_total{reason=\"unfinished\"}", |closed| closed >= 8);
    let last = idlers.last_mut().expect("there are some");
    last.write(&send(1, 100, 3, &users).encode().as_bytes()[200..]);
    last.stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    assert!(matches!(last.frame(), ServerFrame::GiftSent { request: 1, .. }), "a late rest is still in time");
    daemon.stop();
}

/// The switch for a bad hour: nothing new is sent, and what was sent is opened.
#[test]
fn paused_gifts_are_refused_while_those_sent_are_opened() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve_with(r#"{"gift_funding": "house"}"#));
    let (mut sender, _) = Client::login(daemon.listen, 1);
    let (mut friend, _) = Client::login(daemon.listen, 2);
    let gift = sent(&mut sender, 1, 10, 1, &[2]);
    assert_eq!(noticed(&mut friend), gift);
    assert!(campaign.order("gifts pause").contains("paused until"));
    assert_eq!(refused(&mut sender, &send(2, 10, 1, &[2])), GiftRefusal::Paused);
    assert_eq!(share(&mut friend, gift), 10);
    assert!(campaign.order("gifts resume").contains("sent again"));
    sent(&mut sender, 2, 10, 1, &[2]);
    assert_eq!(daemon.metric("hongbao_gift_sends_total{outcome=\"paused\"}"), 1);
    daemon.stop();
}
