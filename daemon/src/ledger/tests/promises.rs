//! The loop's promises, one at a time, on a disk that does as it is told.

use hongbao_uring::{DiskStage, Errno};

use super::machine::{CAPS, Machine, Running, SEGMENT_BYTES, claim, envelope, login};
use crate::ledger::accounts::Caps;
use crate::limits::{EARLIER_WINS_SHOWN_MAX, LEDGER_LOGIN_VERDICTS_MAX, LEDGER_SPARE_RETRY_US};
use crate::messages::{Refusal, Verdict};

fn booted(caps: Caps, sets: usize) -> (Machine, Running) {
    let mut machine = Machine::new(caps);
    let running = machine.boot(sets, 4096).expect("an empty journal is whole");
    (machine, running)
}

fn won(verdicts: &[Verdict]) -> usize {
    verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Won { .. })).count()
}

fn refusals(verdicts: &[Verdict]) -> Vec<Refusal> {
    let refusal = |verdict: &Verdict| match verdict {
        Verdict::Refused { refusal, .. } => Some(*refusal),
        _ => None,
    };
    verdicts.iter().filter_map(refusal).collect()
}

#[test]
fn a_verdict_never_comes_before_the_flush() {
    let (machine, mut running) = booted(CAPS, 1);
    machine.storage.hold(true);
    assert_eq!(running.settle(0, [claim(1, envelope(0, 0))]), []);
    machine.storage.hold(false);
    assert_eq!(won(&running.settle(0, [])), 1);
}

#[test]
fn the_next_batch_forms_while_one_flies_and_leaves_as_one() {
    let (machine, mut running) = booted(CAPS, 1);
    machine.storage.hold(true);
    assert_eq!(running.settle(0, [claim(1, envelope(0, 0))]), []);
    for index in 1..100 {
        assert_eq!(running.settle(0, [claim(u64::from(index) + 1, envelope(index, 0))]), []);
    }
    machine.storage.hold(false);
    assert_eq!(won(&running.settle(0, [])), 100);
    assert_eq!((machine.storage.writes(), running.cells.commits.get(), running.cells.wins.get()), (2, 2, 100));
}

#[test]
fn an_envelope_claimed_twice_in_one_batch_is_issued_once() {
    let (machine, mut running) = booted(CAPS, 2);
    machine.storage.hold(true);
    running.ask(0, [claim(1, envelope(0, 0))]);
    running.ask(1, [claim(2, envelope(0, 0))]);
    let early = running.settle(1, []);
    machine.storage.hold(false);
    let first = running.settle(0, []);
    let all = [early, first, running.clients[1].answers()].concat();
    assert_eq!((won(&all), refusals(&all)), (1, vec![Refusal::AlreadyIssued]));
}

#[test]
fn a_user_cannot_pass_the_caps_by_asking_faster_than_the_disk() {
    let (machine, mut running) = booted(CAPS, 2);
    machine.storage.hold(true);
    running.ask(0, (0..3).map(|index| claim(1, envelope(index, index))));
    running.ask(1, [claim(1, envelope(10, 10)), claim(2, envelope(11, 1)), claim(2, envelope(12, 1))]);
    running.settle(0, []);
    let early = running.clients[1].answers();
    machine.storage.hold(false);
    let mut all = running.settle(0, []);
    all.extend(early);
    all.extend(running.clients[1].answers());
    assert_eq!(won(&all), 4);
    assert_eq!(refusals(&all), [Refusal::UserLimit, Refusal::SponsorLimit]);
}

#[test]
fn a_login_is_not_told_of_a_win_that_could_still_be_lost() {
    let (machine, mut running) = booted(CAPS, 1);
    running.settle(0, [claim(1, envelope(0, 0))]);
    machine.storage.hold(true);
    let early = running.settle(0, [claim(1, envelope(1, 1)), login(1), login(2)]);
    assert!(matches!(early[..], [Verdict::Account { wins: 0, shown: 0, .. }]), "only user 2's: {early:?}");
    machine.storage.hold(false);
    let late = running.settle(0, []);
    assert!(
        matches!(
            late[..],
            [
                Verdict::Won { wins: 2, .. },
                Verdict::Account { wins: 2, shown: 2, .. },
                Verdict::Earlier { envelope: first, .. },
                Verdict::Earlier { envelope: second, .. }
            ] if first == envelope(0, 0) && second == envelope(1, 1)
        ),
        "{late:?}"
    );
}

#[test]
fn only_the_latest_wins_are_shown() {
    let (_machine, mut running) = booted(Caps::UNLIMITED, 1);
    running.settle(0, (0..40).map(|index| claim(1, envelope(index, 0))));
    let answers = running.settle(0, [login(1)]);
    let shown = EARLIER_WINS_SHOWN_MAX;
    assert!(matches!(answers[0], Verdict::Account { wins: 40, shown: told, .. } if told == shown), "{answers:?}");
    let expected = (40 - shown..40).map(|index| envelope(index, 0));
    let told = answers[1..].iter().map(|verdict| match verdict {
        Verdict::Earlier { envelope, .. } => *envelope,
        other => panic!("{other:?}"),
    });
    assert!(told.eq(expected));
}

#[test]
fn a_full_verdict_queue_delays_and_loses_nothing() {
    let mut machine = Machine::new(Caps::UNLIMITED);
    let mut running = machine.boot(1, LEDGER_LOGIN_VERDICTS_MAX).expect("whole");
    running.ask(0, (0..500).map(|index| claim(1, envelope(index, 0))));
    running.ask(0, (0..20).map(|_| login(1)));
    let mut answers = Vec::new();
    for _ in 0..2000 {
        running.turn().expect("the disk works");
        // A slow reader: one verdict a turn.
        answers.extend(running.clients[0].verdicts.pop().ok());
    }
    assert_eq!(won(&answers), 500);
    let accounts = answers.iter().filter(|verdict| matches!(verdict, Verdict::Account { .. })).count();
    assert_eq!((accounts, answers.len()), (20, 500 + 20 * LEDGER_LOGIN_VERDICTS_MAX));
}

#[test]
fn a_set_that_is_gone_blocks_nobody_and_its_wins_stay() {
    let mut machine = Machine::new(Caps::UNLIMITED);
    let mut running = machine.boot(2, LEDGER_LOGIN_VERDICTS_MAX).expect("whole");
    running.ask(0, (0..200).map(|index| claim(1, envelope(index, 0))));
    drop(running.clients.remove(0));
    assert_eq!(won(&running.settle(0, [claim(2, envelope(500, 0))])), 1);
    assert_eq!(running.ledger.summary().issued, 201);
    drop(running.clients);
    assert!(running.ledger.is_finished());
}

#[test]
fn one_busy_set_does_not_starve_the_others() {
    let (_machine, mut running) = booted(Caps::UNLIMITED, 3);
    running.ask(0, (0..8000).map(|index| claim(1, envelope(index, 0))));
    running.ask(2, [claim(2, envelope(9000, 0))]);
    for _ in 0..3 {
        running.turn().expect("the disk works");
    }
    assert_eq!(won(&running.clients[2].answers()), 1);
}

#[test]
fn a_full_disk_halts_the_issue_keeps_answering_and_resumes_by_itself() {
    let (machine, mut running) = booted(Caps::UNLIMITED, 1);
    machine.storage.limit(2 * SEGMENT_BYTES);
    let (mut next, mut issued) = (0, 0);
    let halted = loop {
        let verdicts = running.settle(0, (next..next + 2000).map(|index| claim(1, envelope(index, 0))));
        next += 2000;
        issued += won(&verdicts);
        assert_eq!(verdicts.len(), 2000, "every claim is answered");
        if won(&verdicts) < 2000 {
            break refusals(&verdicts);
        }
        assert!(next < 100_000, "two segments do not hold that many");
    };
    assert!(halted.iter().all(|refusal| *refusal == Refusal::Halted));
    assert_eq!(running.cells.halted.get(), 1);
    assert!(running.cells.spares_failed.get() > 0);
    let told = running.settle(0, [login(2), claim(1, envelope(0, 0))]);
    assert!(matches!(told[0], Verdict::Account { .. }) && refusals(&told) == [Refusal::AlreadyIssued], "{told:?}");

    machine.storage.limit(0);
    running.time_us += LEDGER_SPARE_RETRY_US;
    running.turn().expect("the disk works");
    assert_eq!(won(&running.settle(0, [claim(1, envelope(next, 0))])), 1);
    assert_eq!(running.cells.halted.get(), 0);
    let (_, accounts) = machine.recover().expect("whole");
    assert_eq!(accounts.issued(), issued as u64 + 1);
}

#[test]
fn a_failed_flush_ends_it_and_nobody_is_told() {
    for stage in [DiskStage::Write, DiskStage::Flush] {
        let (machine, mut running) = booted(CAPS, 1);
        running.settle(0, [claim(1, envelope(0, 0))]);
        machine.storage.fail_next(stage, Errno::EIO);
        running.ask(0, [claim(1, envelope(1, 1)), claim(2, envelope(2, 2))]);
        running.turn().expect("the failure is not known yet");
        let failure = running.turn().expect_err("never tried again");
        assert_eq!((failure.records, failure.failure.stage), (2, stage));
        assert_eq!(running.clients[0].answers(), []);
        assert_eq!(machine.storage.writes(), 1);
    }
}
