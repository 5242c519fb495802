use hongbao_protocol::wire::GiftRefusal;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

use super::*;

const USERS: u32 = 20;
const FIRST: u64 = 100;
const EXPIRES_S: u32 = 60;

type Found = fn(&GiftFindings) -> u64;

fn sent(number: u64, total: u64, shares: u16) -> Sent {
    let sender = (number % u64::from(USERS)) as u32;
    let named = Named::draw(sender, shares as u8, USERS, &mut Pcg64Mcg::seed_from_u64(number));
    Sent {
        gift: GiftId(number),
        sender: UserId(FIRST + u64::from(sender)),
        request: 1_000 + number,
        total: Cents(total),
        shares,
        named,
        again: false,
        before: None,
        sent_ns: 1_000_000,
        told_ns: 2_000_000,
        expires_in_s: EXPIRES_S,
        lap: Some(0),
    }
}

fn opened(sent: &Sent, place: usize, share: u64) -> Opened {
    let user = sent.named.users(FIRST).nth(place).expect("one of the named");
    Opened {
        gift: sent.gift,
        user,
        share: Cents(share),
        luckiest: Cents(share),
        shares: sent.shares,
        again: false,
        noticed_ns: 4_000_000,
        told_ns: 5_000_000,
    }
}

fn audited(told: &[Told]) -> GiftFindings {
    let mut audit = GiftAudit::new(FIRST);
    for told in told {
        audit.take(told);
    }
    audit.finish(6_000_000)
}

#[test]
fn every_cent_is_opened_or_waits_or_is_over() {
    let gifts = [sent(1, 100, 3), sent(2, 50, 2), sent(3, 70, 1)];
    let over = Told::Closed {
        gift: GiftId(3),
        user: gifts[2].named.users(FIRST).next().unwrap(),
        reason: GiftClosed::Expired,
        had_share: false,
        noticed_ns: 0,
    };
    // The first share is told before its gift: the two come from two threads.
    let told = [
        Told::Opened(opened(&gifts[0], 0, 20)),
        Told::Sent(gifts[0]),
        Told::Sent(gifts[1]),
        Told::Sent(gifts[2]),
        Told::Opened(opened(&gifts[0], 1, 30)),
        Told::Opened(opened(&gifts[0], 2, 50)),
        Told::Opened(opened(&gifts[1], 1, 49)),
        over,
    ];
    let found = audited(&told);
    assert!(found.is_clean(), "{found:?}");
    assert_eq!((found.sent, found.sent_cents, found.opened, found.opened_cents), (3, 220, 4, 149));
    assert_eq!((found.pending_cents, found.over_cents, found.others_opened), (1, 70, 0));
    let mut audit = GiftAudit::new(FIRST);
    for told in &told {
        audit.take(told);
    }
    assert_eq!(audit.notices(0).unwrap().len(), 4, "from the send to the notice, known of each share");
    let late = audit.finish(2_000_000 + u64::from(EXPIRES_S) * 1_000_000_000);
    assert_eq!((late.pending_cents, late.over_cents), (0, 71), "its time is over");
}

#[test]
fn each_way_to_lose_a_cent_is_found() {
    let gift = sent(1, 100, 2);
    let (one, two) = (opened(&gift, 0, 40), opened(&gift, 1, 60));
    let whole = [Told::Sent(gift), Told::Opened(one), Told::Opened(two)];
    let stranger = (FIRST..FIRST + 3).map(UserId).find(|user| *user != one.user && *user != two.user).unwrap();
    let with = |told: Told| [&whole[..], &[told]].concat();
    let cases: Vec<(&str, Vec<Told>, Found)> = vec![
        ("another share when asked again", with(Told::Opened(Opened { share: Cents(41), again: true, ..one })), |f| {
            f.altered
        }),
        ("another number of shares", with(Told::Opened(Opened { shares: 3, again: true, ..one })), |f| f.altered),
        ("a third share of two", with(Told::Opened(Opened { user: stranger, share: Cents(1), ..one })), |f| {
            f.unbalanced
        }),
        ("a share of a stranger", vec![Told::Sent(gift), Told::Opened(Opened { user: stranger, ..one })], |f| {
            f.strangers
        }),
        (
            "a rest that nobody has",
            vec![Told::Sent(gift), Told::Opened(one), Told::Opened(Opened { share: Cents(59), ..two })],
            |f| f.unbalanced,
        ),
        (
            "nothing left for the last one",
            vec![Told::Sent(gift), Told::Opened(Opened { share: Cents(100), luckiest: Cents(100), ..one })],
            |f| f.unbalanced,
        ),
        (
            "a request that made two gifts",
            with(Told::Sent(Sent { before: Some(gift.gift), ..Sent { gift: GiftId(2), ..gift } })),
            |f| f.duplicates,
        ),
        ("a gift of two requests", with(Told::Sent(Sent { request: 7, ..gift })), |f| f.duplicates),
        (
            "a granted request that is refused",
            with(Told::Denied { gift: gift.gift, sender: gift.sender, request: 1, reason: GiftRefusal::Balance }),
            |f| f.denied,
        ),
        (
            "a share that is gone",
            with(Told::Closed {
                gift: gift.gift,
                user: one.user,
                reason: GiftClosed::Gone,
                had_share: true,
                noticed_ns: 0,
            }),
            |f| f.denied,
        ),
        (
            "told of what is not theirs",
            with(Told::Closed {
                gift: gift.gift,
                user: stranger,
                reason: GiftClosed::NotYours,
                had_share: false,
                noticed_ns: 0,
            }),
            |f| f.strangers,
        ),
    ];
    for (name, told, of) in cases {
        let found = audited(&told);
        assert!(of(&found) >= 1 && !found.is_clean() && !found.findings.is_empty(), "{name}: {found:?}");
    }
    assert!(audited(&whole).is_clean());
}

#[test]
fn the_same_answer_again_is_no_fault_and_counts_no_cent_twice() {
    let gift = sent(1, 100, 2);
    let one = opened(&gift, 0, 40);
    let again = Told::Sent(Sent { again: true, before: Some(gift.gift), ..gift });
    let found = audited(&[
        Told::Sent(gift),
        again,
        Told::Opened(one),
        Told::Opened(Opened { again: true, luckiest: Cents(60), ..one }),
    ]);
    assert!(found.is_clean());
    assert_eq!((found.sent_cents, found.opened_cents, found.told_again), (100, 40, 2));
}

#[test]
fn gifts_of_an_earlier_run_are_counted_apart() {
    let gift = sent(9, 100, 2);
    let found = audited(&[Told::Opened(opened(&gift, 0, 40)), Told::Opened(opened(&gift, 1, 60))]);
    assert!(found.is_clean());
    assert_eq!((found.sent, found.opened, found.others_opened, found.others_opened_cents), (0, 0, 2, 100));
}

proptest! {
    #[test]
    fn the_sums_hold_whatever_order_the_threads_are_heard_in(
        gifts in prop::collection::vec((1u16..5, 0u64..50, 0usize..6), 1..40), seed in any::<u64>(),
    ) {
        let mut told = Vec::new();
        let (mut total, mut taken) = (0, 0);
        for (number, (shares, more, opens)) in gifts.iter().enumerate() {
            let gift = sent(number as u64, u64::from(*shares) + more, *shares);
            total += gift.total.0;
            told.push(Told::Sent(gift));
            for place in 0..usize::from(*shares).min(*opens) {
                // One cent each, and the rest for the last one.
                let share = if place + 1 == usize::from(*shares) { 1 + more } else { 1 };
                taken += share;
                told.push(Told::Opened(opened(&gift, place, share)));
            }
        }
        told.shuffle(&mut Pcg64Mcg::seed_from_u64(seed));
        let found = audited(&told);
        prop_assert!(found.is_clean(), "{:?}", found);
        prop_assert_eq!((found.sent_cents, found.opened_cents, found.pending_cents), (total, taken, total - taken));
    }
}
