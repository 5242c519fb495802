//! What a history is like, drawn from its seed: sizes, how often each part gets its turn, and which faults there are.
//!
//! Sizes are small, so that queues are full, blocks and segments end, and tables overflow in most histories and not in one of a
//! million. Each history has only some of the faults, as some bugs show only where others do not interfere.

use hongbao_uring::WritePath;
use hongbaod::ledger::accounts::Caps;
use hongbaod::limits::ISSUE_RATE_UNLIMITED;

use crate::dice::Dice;
use crate::fault::{Fault, FaultSet};

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Set,
    Ledger,
    Feeder,
    SeedRead,
    Disk,
    SegmentMaker,
    Client,
    Clock,
    Fault,
}

impl Part {
    pub(crate) const ALL: [Self; 9] = [
        Self::Set,
        Self::Ledger,
        Self::Feeder,
        Self::SeedRead,
        Self::Disk,
        Self::SegmentMaker,
        Self::Client,
        Self::Clock,
        Self::Fault,
    ];
}

/// A history to be.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) steps: usize,
    pub(crate) faults: FaultSet,
    /// Shares of the turns, in the order of [`Part::ALL`].
    pub(crate) turns: [usize; Part::ALL.len()],

    pub(crate) sets: usize,
    pub(crate) places: usize,
    pub(crate) clients: usize,
    pub(crate) users: usize,
    pub(crate) receive_buffers: usize,
    pub(crate) receive_buffer_bytes: usize,
    pub(crate) send_slots: usize,
    pub(crate) stock: usize,
    pub(crate) requests: usize,
    pub(crate) shake_interval_ms: usize,
    pub(crate) idle_timeout_ms: usize,
    pub(crate) issue_rate: u64,

    pub(crate) seed_files: usize,
    pub(crate) envelopes: usize,
    pub(crate) sponsors: usize,
    pub(crate) caps: Caps,

    pub(crate) write_path: WritePath,
    pub(crate) segment_pages: usize,
    pub(crate) block_pages: usize,
    pub(crate) logins_waiting: usize,
}

impl Plan {
    /// The history of this seed.
    pub(crate) fn of_seed(seed: u64) -> Self {
        let dice = &mut Dice::new(seed, 1);
        let clients = dice.between(1, 6);
        let block_pages = dice.one_of(&[1, 1, 1, 2, 3]);
        let all = FaultSet::of_bits(u64::MAX);
        let faults = if dice.chance(100) { all } else { FaultSet::of_bits(dice.any() | dice.any()) };
        Self {
            seed,
            steps: dice.one_of(&[100, 300, 600, 1200, 2000]),
            faults: Self::without_most_corruption(faults, dice),
            turns: Self::draw_turns(dice),
            sets: dice.between(1, 3),
            places: if dice.chance(200) { dice.between(1, clients) } else { clients + 1 },
            clients,
            users: dice.between(1, clients),
            receive_buffers: dice.between(1, 8),
            receive_buffer_bytes: dice.one_of(&[3, 8, 16, 64]),
            send_slots: dice.one_of(&[16, 24, 64]),
            stock: dice.one_of(&[1, 2, 4, 16]),
            requests: dice.one_of(&[1, 2, 3, 8, 32]),
            shake_interval_ms: dice.one_of(&[0, 0, 0, 0, 0, 5, 300]),
            idle_timeout_ms: dice.one_of(&[2_000, 60_000]),
            issue_rate: dice.one_of(&[20, 1_000, ISSUE_RATE_UNLIMITED, ISSUE_RATE_UNLIMITED]),
            seed_files: dice.between(1, 2),
            envelopes: dice.one_of(&[1, 5, 30, 120, 300]),
            sponsors: dice.between(1, 6),
            caps: Caps { per_user: dice.one_of(&[0, 0, 0, 1, 3, 10]), per_sponsor: dice.one_of(&[0, 0, 0, 1, 2]) },
            write_path: dice.one_of(&[WritePath::Direct, WritePath::Linked]),
            segment_pages: dice.between(block_pages, 12),
            block_pages,
            logins_waiting: dice.between(1, 5),
        }
    }

    /// Where the disk corrupts, the daemon must refuse to start and the history is mostly about that: only some are.
    fn without_most_corruption(faults: FaultSet, dice: &mut Dice) -> FaultSet {
        let corrupting = [Fault::BitFlip, Fault::Misdirected, Fault::LostWrite];
        if dice.chance(250) {
            let kept = dice.one_of(&corrupting);
            return corrupting.into_iter().filter(|fault| *fault != kept).fold(faults, FaultSet::without).with(kept);
        }
        corrupting.into_iter().fold(faults, FaultSet::without)
    }

    fn draw_turns(dice: &mut Dice) -> [usize; Part::ALL.len()] {
        Part::ALL.map(|part| {
            let usual = match part {
                Part::Set => 120,
                Part::Client => 80,
                Part::Ledger | Part::Disk | Part::Feeder => 50,
                Part::Clock => 15,
                Part::SegmentMaker => 10,
                Part::SeedRead => 30,
                Part::Fault => return dice.one_of(&[2, 5, 10, 20]),
            };
            // Some parts are slow in some histories.
            if dice.chance(200) { usual / 6 } else { usual }
        })
    }
}
