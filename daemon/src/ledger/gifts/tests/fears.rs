//! Single fears.

use hongbao_protocol::wire::{GiftClosed, GiftRefusal, Recipients};
use hongbao_protocol::{Cents, GiftId, ServerId, UserId};

use crate::ledger::gifts::{GiftContradiction, GiftRules, Gifts, Opening, Order};
use crate::ledger::journal::{GiftOpenedRecord, GiftRefundedRecord, GiftSentRecord};

const SERVER: ServerId = ServerId(1);
const HOUSE: GiftRules = GiftRules { house_pays: true, paused: false, pending_max: u64::MAX };

fn book(key: [u8; 16]) -> Gifts {
    let mut gifts = Gifts::new();
    gifts.bind(SERVER, key);
    gifts
}

fn order(request: u64, total: u64, shares: u16, users: std::ops::RangeInclusive<u64>) -> Order {
    let users: Vec<_> = users.map(UserId).collect();
    let recipients = Recipients::new(&users).expect("as many as there may be");
    Order { sender: UserId(0), request, total: Cents(total), shares, recipients }
}

fn sent(number: u64, order: &Order, expires_us: u64) -> GiftSentRecord {
    GiftSentRecord { gift: GiftId::new(SERVER, number), order: *order, house_pays: true, expires_us, time_us: 1 }
}

/// Opens by all the recipients, in this order.
fn open_all(gifts: &mut Gifts, gift: GiftId, users: impl Iterator<Item = u64>) -> Vec<u64> {
    users
        .map(|user| {
            let Opening::Share(share) = gifts.decide_open(UserId(user), gift, 1) else { panic!("user {user}") };
            gifts.open(&GiftOpenedRecord { gift, user: UserId(user), share, time_us: 1 }).expect("decided");
            share.0
        })
        .collect()
}

/// The first to open must fare no better than the last, over many gifts of one journal.
#[test]
fn no_place_in_the_order_of_opening_is_worth_more() {
    const GIFTS: u64 = 20_000;
    for (total, shares) in [(15_u64, 10_u64), (1_003, 7), (888, 3)] {
        let mut gifts = book(*b"a fixed key here");
        let (mut sums, mut squares) = (vec![0_f64; shares as usize], vec![0_f64; shares as usize]);
        for number in 1..=GIFTS {
            let record = sent(number, &order(number, total, shares as u16, 1..=shares), u64::MAX);
            gifts.send(&record, &|_| Cents::ZERO).expect("good");
            let opened = open_all(&mut gifts, record.gift, 1..=shares);
            assert_eq!(opened.iter().sum::<u64>(), total);
            for (place, share) in opened.into_iter().enumerate() {
                sums[place] += share as f64;
                squares[place] += (share * share) as f64;
            }
        }
        let (count, fair) = (GIFTS as f64, total as f64 / shares as f64);
        for (place, (sum, square)) in sums.iter().zip(&squares).enumerate() {
            let mean = sum / count;
            let deviation = ((square / count - mean * mean) / count).sqrt();
            assert!(
                (mean - fair).abs() < 4.5 * deviation,
                "{total} over {shares}: place {place} gets {mean}, not {fair}"
            );
        }
    }
}

/// Knowing the shares of one journal must tell nothing of another's.
#[test]
fn shares_depend_on_the_key_of_the_journal() {
    let shares = |key| {
        let mut gifts = book(key);
        let record = sent(1, &order(1, 1 << 30, 8, 1..=8), u64::MAX);
        gifts.send(&record, &|_| Cents::ZERO).expect("good");
        open_all(&mut gifts, record.gift, 1..=8)
    };
    assert_eq!(shares([1; 16]), shares([1; 16]));
    assert_ne!(shares([1; 16]), shares([2; 16]));
}

#[test]
fn an_open_at_the_moment_of_expiry_comes_too_late_and_the_refund_comes_once() {
    let mut gifts = book([0; 16]);
    let record = sent(1, &order(1, 10, 2, 1..=2), 1000);
    gifts.send(&record, &|_| Cents::ZERO).expect("good");
    assert!(matches!(gifts.decide_open(UserId(1), record.gift, 999), Opening::Share(_)));
    assert_eq!(gifts.decide_open(UserId(1), record.gift, 1000), Opening::Closed(GiftClosed::Expired));
    assert_eq!(gifts.due(999), None);
    assert_eq!(gifts.due(1000), Some((record.gift, Cents(10))));
    let refund = GiftRefundedRecord { gift: record.gift, amount: Cents(10), time_us: 1000 };
    gifts.refund(&refund).expect("due");
    assert_eq!(gifts.due(u64::MAX), None);
    assert_eq!(gifts.refund(&refund), Err(GiftContradiction::NoGift));
    assert_eq!(
        gifts.decide_open(UserId(1), record.gift, 1),
        Opening::Closed(GiftClosed::Expired),
        "whatever the clock says"
    );
}

#[test]
fn a_gift_that_lives_shorter_than_an_earlier_one_is_not_kept_waiting_behind_it() {
    let mut gifts = book([0; 16]);
    for (number, expires_us) in [(1, 9000), (2, 500), (3, 9500), (4, 400)] {
        gifts.send(&sent(number, &order(number, 10, 1, 1..=1), expires_us), &|_| Cents::ZERO).expect("good");
    }
    let mut over = Vec::new();
    while let Some((gift, amount)) = gifts.due(10_000) {
        over.push(gift.number());
        gifts.refund(&GiftRefundedRecord { gift, amount, time_us: 10_000 }).expect("due");
    }
    assert_eq!(over, [4, 2, 1, 3]);
}

#[test]
fn the_house_cannot_promise_more_money_than_can_be_counted() {
    let mut gifts = book([0; 16]);
    let too_much = order(1, (1 << 40) + 1, 1, 1..=1);
    assert_eq!(gifts.decide_send(&too_much, Cents::ZERO, &HOUSE), Err(GiftRefusal::TotalTooLarge));
    for (number, total) in [(1, u64::MAX), (2, 1 << 63)] {
        assert_eq!(
            gifts.decide_send(&order(number, total, 1, 1..=1), Cents(u64::MAX), &HOUSE),
            Err(GiftRefusal::TotalTooLarge)
        );
    }
    let record = sent(1, &order(1, 1 << 40, 1, 1..=1), u64::MAX);
    gifts.send(&record, &|_| Cents::ZERO).expect("the largest gift there is");
}

/// What one pending gift for three takes, held against the figure that is promised: counted by the allocator, with users who are known.
#[test]
fn a_pending_gift_for_three_takes_no_more_than_128_bytes() {
    const GIFTS: u64 = 100_000;
    let users = 1000;
    let mut gifts = book([0; 16]);
    let to = |number: u64| {
        let first = 1 + number * 3 % (users - 3);
        order(number, 30, 3, first..=first + 2)
    };
    // The users' purses are theirs and not the gifts'.
    for number in 1..=1000 {
        gifts.send(&sent(number, &to(number), u64::MAX), &|_| Cents::ZERO).expect("good");
    }
    let before = gifts.bytes();
    for number in 1001..=1000 + GIFTS {
        gifts.send(&sent(number, &to(number), u64::MAX), &|_| Cents::ZERO).expect("good");
    }
    let each = (gifts.bytes() - before) as f64 / GIFTS as f64;
    assert!(each <= 128.0, "{each} bytes for a pending gift with three recipients");
}
