//! What the journal's records add up to.

use std::path::Path;

use hongbao_protocol::UserId;

use super::accounts::{Accounts, AlreadyIssued};
use super::error::LedgerError;
use super::journal::{Binding, ChainPoint, Record, SegmentFolder, Sequence, SnapshotDamage};
use super::reading::{self, JournalEnd, JournalFiles};
use super::recovery::{Contradiction, Tail};
use crate::messages::Refusal;
use crate::planted::{Bug, is_planted};

/// What the journal's blocks say besides the accounts.
#[derive(Clone, Debug)]
pub(super) struct Replayed {
    /// Whom the journal belongs to; `None` before its first block.
    pub(super) binding: Option<Binding>,
    /// Where the next block goes.
    pub(super) point: ChainPoint,
    /// What lies behind the last block.
    pub(super) tail: Tail,
    /// The files there are.
    pub(super) files: JournalFiles,
    /// Bytes of the snapshot that was read; 0 without one.
    pub(super) snapshot_bytes: u64,
    /// Newer snapshots that were passed over, for what is wrong with them.
    pub(super) damaged: Vec<SnapshotDamage>,
    /// Time of the last win, in microseconds since 1970; 0 without any.
    pub(super) last_win_us: u64,
    /// Wins beyond the caps given: they were within the caps of their time.
    pub(super) wins_over_cap: u64,
}

/// Reads a journal and books every win in `accounts`, showing each record to `visit`.
pub(super) fn replay(
    files: JournalFiles,
    accounts: &mut Accounts,
    visit: &mut dyn FnMut(Sequence, &Record),
) -> Result<Replayed, LedgerError> {
    let mut book = Book { accounts, binding: None, last_win_us: 0, wins_over_cap: 0 };
    let mut enter = |sequence, record: &Record| {
        book.enter(record)?;
        visit(sequence, record);
        Ok(())
    };
    let mut damaged = Vec::new();
    let base = files.base(&mut damaged)?;
    let JournalEnd { point, tail } = reading::read(&files, base.as_ref(), &mut enter, &mut |_| {})?;
    Ok(Replayed {
        binding: book.binding,
        last_win_us: book.last_win_us,
        wins_over_cap: book.wins_over_cap,
        point,
        tail,
        snapshot_bytes: base.map_or(0, |base| base.file().bytes),
        damaged,
        files,
    })
}

/// What the records add up to.
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
                self.accounts.gifts_mut().bind(binding.server, binding.gift_key);
                self.binding = Some(*binding);
                Ok(())
            }
            _ if self.binding.is_none() => Err(Contradiction::Unbound),
            Record::Win(win) => {
                let refusal = self.accounts.over_cap(win.user, win.envelope.sponsor);
                self.wins_over_cap += u64::from(matches!(refusal, Some(Refusal::UserLimit | Refusal::SponsorLimit)));
                let user = if is_planted(Bug::WinnersForgotten) { UserId(1) } else { win.user };
                let booked = self.accounts.apply(user, &win.envelope);
                booked.map_err(|AlreadyIssued(id)| Contradiction::IssuedTwice(id))?;
                self.last_win_us = self.last_win_us.max(win.time_us);
                Ok(())
            }
            Record::GiftSent(sent) => Ok(self.accounts.send_gift(sent)?),
            Record::GiftOpened(opened) => Ok(self.accounts.gifts_mut().open(opened)?),
            Record::GiftRefunded(refunded) => Ok(self.accounts.gifts_mut().refund(refunded)?),
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
    let folder = SegmentFolder::of(data_dir);
    let look = || {
        let mut fresh = accounts();
        let replayed = replay(JournalFiles::list(&folder)?, &mut fresh, &mut |_, _| {})?;
        Ok((replayed, fresh))
    };
    let mut seen = None;
    for _ in 1..LOOKS_MAX {
        match look() {
            Err(LedgerError::Damaged { damage, .. }) if seen != Some(damage) => seen = Some(damage),
            // A compaction removed it between the listing and the reading.
            Err(error) if error.is_of_a_file_that_is_gone() => {}
            looked => return looked,
        }
    }
    look()
}
