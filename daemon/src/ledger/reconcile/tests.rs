//! Judgements on single envelopes.

use hongbao_protocol::{CampaignId, Cents, Envelope, EnvelopeId, ServerId, ShardId, SponsorId, UserId};

use super::books::{Books, Claim, over_caps};
use super::finding::{Finding, Findings, Kind, Source};
use crate::ledger::accounts::Caps;
use crate::ledger::journal::{Sequence, WinRecord};

fn envelope(server: u16, shard: u16, index: u32) -> Envelope {
    let id = EnvelopeId::new(ServerId(server), ShardId(shard), index);
    Envelope { id, sponsor: SponsorId(3), amount: Cents(100) }
}

/// Ten envelopes in shard 2, the first `issued` of them users 0, 1, 2, ...
fn books(issued: u32, findings: &mut Findings) -> Books {
    let mut books = Books::new(CampaignId(7), ServerId(1), None);
    (0..10).for_each(|index| books.seed(&envelope(1, 2, index)));
    for index in 0..issued {
        issue(&mut books, u64::from(index), envelope(1, 2, index), findings);
    }
    books
}

fn issue(books: &mut Books, user: u64, envelope: Envelope, findings: &mut Findings) {
    books.issue(Sequence(2), &WinRecord { user: UserId(user), envelope, time_us: 1 }, findings);
}

fn claim(books: &Books, user: u64, envelope: Envelope, shown_again: bool) -> Option<Finding> {
    let claim = Claim { user: UserId(user), envelope, shown_again, receipt: None };
    books.claim(&claim, Source::Claims { file: 0, offset: 0 })
}

#[test]
fn an_envelope_shown_twice_as_new_is_issued_twice_and_shown_again_it_is_not() {
    let mut books = books(2, &mut Findings::default());
    books.close();
    assert_eq!(claim(&books, 0, envelope(1, 2, 0), false), None);
    assert_eq!(claim(&books, 0, envelope(1, 2, 0), true), None);
    assert_eq!(claim(&books, 0, envelope(1, 2, 0), true), None);
    let found = claim(&books, 0, envelope(1, 2, 0), false).expect("a second new win");
    assert_eq!(found.kind, Kind::IssuedTwice);
    let found = claim(&books, 5, envelope(1, 2, 1), true).expect("another's");
    assert_eq!((found.kind, found.other_user), (Kind::IssuedTwice, Some(UserId(1))));
    assert_eq!(books.never_shown().collect::<Vec<_>>(), [(UserId(1), envelope(1, 2, 1))]);
}

#[test]
fn a_fault_of_the_journal_is_not_told_again_of_the_claim_that_shows_it() {
    let mut findings = Findings::default();
    let mut books = books(1, &mut findings);
    let dearer = Envelope { amount: Cents(101), ..envelope(1, 2, 5) };
    let strays =
        [(7, envelope(1, 2, 0)), (7, envelope(9, 2, 0)), (7, envelope(1, 5, 0)), (7, envelope(1, 2, 10)), (8, dearer)];
    for (user, envelope) in strays {
        issue(&mut books, user, envelope, &mut findings);
    }
    let counts = Kind::ALL.map(|kind| findings.count(kind).count);
    assert_eq!(counts, [1, 0, 0, 0, 1, 1, 2, 0]);
    books.close();
    for (user, envelope) in strays {
        assert_eq!(claim(&books, user, envelope, false), None, "{envelope:?}");
    }
    // Without the journal's word they are found.
    for (envelope, kind) in [
        (envelope(9, 2, 1), Kind::Foreign),
        (envelope(1, 5, 1), Kind::Unknown),
        (envelope(1, 2, 11), Kind::Unknown),
        (envelope(1, 2, 9), Kind::ClaimedNotIssued),
    ] {
        assert_eq!(claim(&books, 7, envelope, false).map(|found| found.kind), Some(kind));
    }
}

#[test]
fn both_caps_are_held_against_all_wins() {
    let wins = [(5, 1), (5, 1), (5, 2), (6, 1), (6, 2), (6, 3), (6, 4), (7, 1)];
    let wins = wins.map(|(user, sponsor)| (UserId(user), SponsorId(sponsor))).to_vec();
    let found = over_caps(Caps { per_user: 3, per_sponsor: 1 }, wins.clone());
    let expected = [Finding::over_cap(UserId(5), Some(SponsorId(1)), 2), Finding::over_cap(UserId(6), None, 4)];
    assert_eq!(found, expected);
    assert_eq!(over_caps(Caps::UNLIMITED, wins), []);
}

#[test]
fn what_is_beyond_the_list_is_counted() {
    let mut findings = Findings::default();
    for user in 0..150_000 {
        findings.add_never_shown(UserId(user), &envelope(1, 2, 0));
    }
    assert!(!findings.cost_money());
    findings.add(Finding::over_cap(UserId(1), None, 4));
    assert!(findings.cost_money());
    assert_eq!(findings.count(Kind::IssuedNeverShown).count, 150_000);
    assert_eq!(findings.sorted().len(), 100_001);
}
