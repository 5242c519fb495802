//! Power cuts and changed bits: what is cut, what is refused, and that nothing told is ever lost.

use super::machine::{Machine, Running, claim, envelope, recover};
use crate::ledger::accounts::Caps;
use crate::ledger::journal::{BlockError, BlockHeader};
use crate::ledger::recovery::{Damage, DamageReason, Tail};
use crate::limits::JOURNAL_PAGE_BYTES;
use crate::messages::{Refusal, Verdict};

const SECTOR: usize = 512;

/// A machine whose journal holds this many acknowledged wins, in one block behind the binding's.
fn with_wins(wins: u32) -> (Machine, Running) {
    let mut machine = Machine::new(Caps::UNLIMITED);
    let mut running = machine.boot(1, 8192).expect("an empty journal is whole");
    let verdicts = running.settle(0, (0..wins).map(|index| claim(1, envelope(index, 0))));
    assert_eq!(verdicts.len(), wins as usize);
    (machine, running)
}

/// Starts a commit of this many more wins and leaves it in flight.
fn in_flight(machine: &Machine, running: &mut Running, from: u32, wins: u32) {
    machine.storage.hold(true);
    assert_eq!(running.settle(0, (from..from + wins).map(|index| claim(1, envelope(index, 0)))), []);
}

#[test]
fn whatever_sectors_of_the_last_write_arrive_nothing_acknowledged_is_lost_and_the_ledger_goes_on() {
    // One page, and two; every subset of the sectors that hold anything.
    for (wins, sectors) in [(1, 1), (60, 5), (105, 9)] {
        for subset in 0..1_u32 << sectors {
            let (mut machine, mut running) = with_wins(10);
            in_flight(&machine, &mut running, 10, wins);
            machine.storage.crash(|sector| sector < sectors && subset & 1 << sector != 0);
            drop(running);
            machine.storage.hold(false);
            let whole = subset == (1 << sectors) - 1;
            let (replayed, accounts) = machine.recover().expect("a torn tail is no damage");
            assert_eq!(accounts.issued(), if whole { 10 + u64::from(wins) } else { 10 }, "subset {subset:#b}");
            let clean = whole || subset == 0;
            assert_eq!(replayed.tail == Tail::Clean, clean, "subset {subset:#b}: {:?}", replayed.tail);

            let mut again = machine.boot(1, 8192).expect("a torn tail is no damage");
            let verdicts = again.settle(0, [claim(2, envelope(500, 0))]);
            assert!(matches!(verdicts[..], [Verdict::Won { .. }]), "{verdicts:?}");
            let (replayed, accounts) = machine.recover().expect("whole");
            let issued = if whole { 11 + u64::from(wins) } else { 11 };
            assert_eq!((accounts.issued(), &replayed.tail), (issued, &Tail::Clean));
        }
    }
}

#[test]
fn a_power_cut_while_the_torn_tail_is_being_cut_leaves_a_torn_tail() {
    let (sectors, wins) = (9, 105);
    for torn in 0..1_u32 << sectors {
        let (machine, mut running) = with_wins(10);
        in_flight(&machine, &mut running, 10, wins);
        machine.storage.crash(|sector| torn & 1 << sector != 0);
        let Tail::Torn(range) = machine.recover().expect("no damage").0.tail else { continue };
        // Zeros arrive for one sector only, each in turn.
        for zeroed in 0..sectors {
            let before = machine.segments();
            let start = range.start as usize + zeroed * SECTOR;
            machine.change(0, |bytes| bytes[start..start + SECTOR].fill(0));
            let (_, accounts) = machine.recover().expect("no damage");
            assert_eq!(accounts.issued(), 10);
            machine.change(0, |bytes| bytes.copy_from_slice(&before[0]));
        }
    }
}

#[test]
fn every_flipped_bit_of_an_acknowledged_block_is_refused_and_every_one_behind_it_is_told() {
    let (machine, mut running) = with_wins(50);
    running.settle(0, (50..160).map(|index| claim(1, envelope(index, 0))));
    running.settle(0, [claim(1, envelope(160, 0))]);
    let end = machine.recover().expect("whole").0.point.offset as usize;
    assert_eq!(end, 5 * JOURNAL_PAGE_BYTES);
    let whole = machine.recover().expect("whole").1.issued();
    let mut bytes = machine.segments()[0][..end + JOURNAL_PAGE_BYTES].to_vec();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        match recover(Caps::UNLIMITED, &[&bytes]) {
            Err(damage) => assert_eq!(damage.segment.0, 1),
            Ok((replayed, accounts)) => {
                assert!(bit / 8 >= end, "bit {bit} was not found");
                assert!(matches!(replayed.tail, Tail::Torn(_)), "bit {bit} was not told");
                assert_eq!(accounts.issued(), whole);
            }
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn caps_lowered_over_a_restart_refuse_no_journal_and_every_further_win() {
    let (mut machine, running) = with_wins(4);
    drop(running);
    machine.caps = Caps { per_user: 3, per_sponsor: 2 };
    let (replayed, accounts) = machine.recover().expect("no damage");
    assert_eq!((accounts.issued(), replayed.wins_over_cap), (4, 2));
    let mut again = machine.boot(1, 64).expect("no damage");
    let verdicts = again.settle(0, [claim(1, envelope(9, 9))]);
    assert!(matches!(verdicts[..], [Verdict::Refused { refusal: Refusal::UserLimit, .. }]), "{verdicts:?}");
}

fn damage(machine: &Machine) -> Damage {
    machine.recover().map(|(replayed, _)| replayed.tail).expect_err("damage")
}

/// Three acknowledged blocks of a page each: the binding's and two of a win.
fn three_blocks() -> Machine {
    let (machine, mut running) = with_wins(1);
    running.settle(0, [claim(1, envelope(1, 0))]);
    machine
}

#[test]
fn a_torn_tail_is_told_from_corruption() {
    let page = JOURNAL_PAGE_BYTES;
    let machine = three_blocks();
    machine.change(0, |bytes| bytes[page..page + SECTOR].fill(0));
    let found = damage(&machine);
    assert_eq!((found.offset, found.block), (page as u64, 2), "a sector lost before a later block");
    assert!(matches!(found.reason, DamageReason::LaterBlock { later: 3, offset, .. } if offset == 2 * page as u64));

    let machine = three_blocks();
    machine.change(0, |bytes| bytes[2 * page + BlockHeader::BYTES] ^= 1);
    let found = damage(&machine);
    assert_eq!(
        (found.offset, found.block),
        (2 * page as u64, 3),
        "a bit of the last block, of which no sector is missing"
    );
    assert_eq!(found.reason, DamageReason::Changed(BlockError::PayloadChecksum));

    let machine = three_blocks();
    machine.change(0, |bytes| bytes[2 * page..2 * page + SECTOR].fill(0));
    let (replayed, accounts) = machine.recover().expect("as a write that did not arrive leaves it");
    assert_eq!((accounts.issued(), replayed.tail), (1, Tail::Clean), "which is why no disk may lie about a flush");

    let machine = three_blocks();
    machine.change(0, |bytes| bytes[400 * 1024] = 1);
    assert!(matches!(damage(&machine).reason, DamageReason::TooFar { last, .. } if last == 400 * 1024));
}

#[test]
fn a_block_in_the_wrong_place_is_refused() {
    let page = JOURNAL_PAGE_BYTES;
    let machine = three_blocks();
    machine.change(0, |bytes| bytes.copy_within(page..2 * page, 3 * page));
    assert!(matches!(damage(&machine).reason, DamageReason::Foreign(_)), "an old block behind the end");

    let machine = three_blocks();
    machine.change(0, |bytes| bytes.copy_within(2 * page..3 * page, page));
    assert!(matches!(damage(&machine).reason, DamageReason::Foreign(_)), "one block over another");
}

#[test]
fn anything_in_a_later_segment_means_that_what_came_before_was_durable() {
    let machine = three_blocks();
    machine.change(0, |bytes| bytes[2 * JOURNAL_PAGE_BYTES + SECTOR..3 * JOURNAL_PAGE_BYTES].fill(0));
    machine.change(0, |bytes| bytes[2 * JOURNAL_PAGE_BYTES + BlockHeader::BYTES..][..SECTOR].fill(0));
    let segment = machine.segments()[0].clone();
    machine.change(1, |bytes| bytes[..JOURNAL_PAGE_BYTES].copy_from_slice(&segment[..JOURNAL_PAGE_BYTES]));
    let found = damage(&machine);
    assert!(found.segment.0 >= 1 && !matches!(found.reason, DamageReason::Record(_)), "{found}");
}
