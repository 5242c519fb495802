//! Reading the journal from its files: what every start and every `hongbaod ledger` command does.

use std::path::Path;

use super::accounts::{Accounts, AlreadyIssued};
use super::error::LedgerError;
use super::journal::{Binding, ChainPoint, Record, SegmentFile, SegmentFolder, SegmentNumber, Sequence};
use super::recovery::{Contradiction, Damage, Tail, Walk};

/// What the journal's blocks say besides the accounts.
#[derive(Clone, Debug)]
pub(super) struct Replayed {
    /// Whom the journal belongs to; `None` before its first block.
    pub(super) binding: Option<Binding>,
    /// Where the next block goes.
    pub(super) point: ChainPoint,
    /// What lies behind the last block.
    pub(super) tail: Tail,
    /// The segments there are.
    pub(super) segments: Vec<SegmentFile>,
    /// Whole blocks.
    pub(super) blocks: u64,
    /// Time of the last win, in microseconds since 1970; 0 without any.
    pub(super) last_win_us: u64,
    /// Wins beyond the caps given: they were within the caps of their time.
    pub(super) wins_over_cap: u64,
}

/// Walks these segments and books every win in `accounts`, showing each record to `visit`.
pub(super) fn replay(
    data_dir: &Path,
    segments: Vec<SegmentFile>,
    accounts: &mut Accounts,
    visit: &mut dyn FnMut(Sequence, &Record),
) -> Result<Replayed, LedgerError> {
    let first = segments.first().map_or(SegmentNumber::FIRST, |first| first.number);
    let mut replay = Replay::new(first, accounts);
    let mut bytes = Vec::new();
    for segment in &segments {
        segment.read(&mut bytes)?;
        let walked = replay.segment(segment.number, &bytes, visit);
        walked.map_err(|damage| LedgerError::damaged(data_dir, damage))?;
    }
    Ok(Replayed { segments, ..replay.finish() })
}

/// The walk, and what the records add up to. Pure over bytes.
pub(super) struct Replay<'a> {
    walk: Walk,
    book: Book<'a>,
}

impl<'a> Replay<'a> {
    /// A replay that begins at the start of this segment, with no block before it.
    pub(super) fn new(first: SegmentNumber, accounts: &'a mut Accounts) -> Self {
        let walk = Walk::new(ChainPoint { segment: first, ..ChainPoint::START });
        Self { walk, book: Book { accounts, binding: None, last_win_us: 0, wins_over_cap: 0 } }
    }

    /// Goes through the next segment.
    pub(super) fn segment(
        &mut self,
        number: SegmentNumber,
        bytes: &[u8],
        visit: &mut dyn FnMut(Sequence, &Record),
    ) -> Result<(), Damage> {
        let book = &mut self.book;
        self.walk.segment(number, bytes, &mut |sequence, record| {
            book.enter(record)?;
            visit(sequence, record);
            Ok(())
        })
    }

    /// What was found; the segments are for the caller to add.
    pub(super) fn finish(self) -> Replayed {
        Replayed {
            binding: self.book.binding,
            last_win_us: self.book.last_win_us,
            wins_over_cap: self.book.wins_over_cap,
            point: *self.walk.point(),
            tail: self.walk.tail().clone(),
            blocks: self.walk.blocks(),
            segments: Vec::new(),
        }
    }
}

struct Book<'a> {
    accounts: &'a mut Accounts,
    binding: Option<Binding>,
    last_win_us: u64,
    wins_over_cap: u64,
}

impl Book<'_> {
    fn enter(&mut self, record: &Record) -> Result<(), Contradiction> {
        match record {
            Record::Binding(_) if self.binding.is_some() => Err(Contradiction::BoundTwice),
            Record::Binding(binding) => {
                self.binding = Some(*binding);
                Ok(())
            }
            Record::Win(_) if self.binding.is_none() => Err(Contradiction::Unbound),
            Record::Win(win) => {
                let booked = self.accounts.apply(win.user, &win.envelope);
                let count = booked.map_err(|AlreadyIssued(id)| Contradiction::IssuedTwice(id))?;
                // A user's first win is within any cap: most users are looked up but once.
                let over = count > 1 && self.accounts.exceeds_caps(win.user, win.envelope.sponsor);
                self.wins_over_cap += u64::from(over);
                self.last_win_us = self.last_win_us.max(win.time_us);
                Ok(())
            }
        }
    }
}

/// Replays a journal that may be in use: only reads, and takes what a running daemon is just writing for the end. What looks like
/// damage is looked at again, as it may be the daemon that went on between two reads.
pub(super) fn replay_in_use(
    data_dir: &Path,
    accounts: impl Fn() -> Accounts,
) -> Result<(Replayed, Accounts), LedgerError> {
    const LOOKS_MAX: u32 = 5;
    let mut seen = None;
    for _ in 1..LOOKS_MAX {
        let mut fresh = accounts();
        match replay(data_dir, SegmentFolder::of(data_dir).list()?, &mut fresh, &mut |_, _| {}) {
            Ok(replayed) => return Ok((replayed, fresh)),
            Err(LedgerError::Damaged { damage, .. }) if seen != Some(damage) => seen = Some(damage),
            Err(error) => return Err(error),
        }
    }
    let mut fresh = accounts();
    replay(data_dir, SegmentFolder::of(data_dir).list()?, &mut fresh, &mut |_, _| {}).map(|replayed| (replayed, fresh))
}
