//! Counters that one thread writes and any thread reads: plain loads and stores, no read-modify-write, no lock. Each thread's
//! cells stand on cache lines of their own.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use hongbao_protocol::wire::{GiftClosed, GiftRefusal};

use crate::admin::Command;

/// One number with one writer.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// The value, as of some recent moment.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Writer only.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Writer only: a load and a store, since nobody else writes.
    pub fn add(&self, amount: u64) {
        self.set(self.get().wrapping_add(amount));
    }
}

/// A histogram with fixed upper bounds and one writer. The bounds are powers of two times `FIRST`.
#[derive(Debug)]
pub struct HistogramCells<const BUCKETS: usize> {
    buckets: [Cell; BUCKETS],
    sum: Cell,
}

impl<const BUCKETS: usize> Default for HistogramCells<BUCKETS> {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| Cell::default()), sum: Cell::default() }
    }
}

impl<const BUCKETS: usize> HistogramCells<BUCKETS> {
    /// Counts `value` in the bucket of the smallest power of two that holds it: bucket `n` holds values up to `2^n`, the last one
    /// all that are larger.
    pub fn record(&self, value: u64) {
        let bucket = if value <= 1 { 0 } else { (u64::BITS - (value - 1).leading_zeros()) as usize };
        self.buckets[bucket.min(BUCKETS - 1)].add(1);
        self.sum.add(value);
    }

    /// How many values fell into bucket `n`: those above `2^(n-1)` and up to `2^n`.
    pub fn bucket(&self, n: usize) -> u64 {
        self.buckets[n].get()
    }

    /// Sum of all values.
    pub fn sum(&self) -> u64 {
        self.sum.get()
    }
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum CloseReason {
    /// The peer closed.
    Peer,
    /// The connection broke.
    Broken,
    /// The peer broke the protocol.
    Protocol,
    /// No hello in time.
    LoginTimeout,
    /// Silent for too long.
    IdleTimeout,
    /// The peer did not read its answers.
    SlowReader,
    /// Every place was taken.
    Full,
    /// The daemon stops.
    Stopping,
    /// An operator ended it.
    Dismissed,
    /// An operator barred its user.
    Barred,
    /// The user logged in on another connection.
    Replaced,
    /// It left a long frame unfinished for so long that others needed the room.
    Unfinished,
}

impl CloseReason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Peer,
        Self::Broken,
        Self::Protocol,
        Self::LoginTimeout,
        Self::IdleTimeout,
        Self::SlowReader,
        Self::Full,
        Self::Stopping,
        Self::Dismissed,
        Self::Barred,
        Self::Replaced,
        Self::Unfinished,
    ];

    /// Its label value in the metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Broken => "broken",
            Self::Protocol => "protocol",
            Self::LoginTimeout => "login_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::SlowReader => "slow_reader",
            Self::Full => "full",
            Self::Stopping => "stopping",
            Self::Dismissed => "dismissed",
            Self::Barred => "barred",
            Self::Replaced => "replaced",
            Self::Unfinished => "unfinished",
        }
    }
}

/// What one SET counts. All are totals since the start unless they say "now".
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct SetCells {
    /// Commands of control that are in force.
    pub commands_obeyed: Cell,
    /// Frames that told a client of a round.
    pub rounds_told: Cell,
    /// Connections accepted.
    pub connections_opened: Cell,
    /// Connections open now.
    pub connections_open: Cell,
    /// Users logged in now.
    pub users_online: Cell,
    /// Connections closed, by [`CloseReason`].
    pub connections_closed: [Cell; CloseReason::ALL.len()],
    /// Accepts that failed.
    pub accepts_failed: Cell,
    /// Hellos received.
    pub hellos: Cell,
    /// Shakes received. Also the demand that the feeder follows.
    pub shakes: Cell,
    /// Pings received.
    pub pings: Cell,
    /// Frames that were none.
    pub bad_frames: Cell,
    /// Wins that the ledger granted to shakes of this SET, delivered or not.
    pub envelopes_issued: Cell,
    /// Shakes answered with an envelope.
    pub answered_envelope: Cell,
    /// Shakes answered with "none".
    pub answered_none: Cell,
    /// Shakes answered with "none" because they came before the interval was over.
    pub answered_too_early: Cell,
    /// Shakes answered with the user limit.
    pub answered_user_limit: Cell,
    /// Shakes answered with the sponsor limit.
    pub answered_sponsor_limit: Cell,
    /// Shakes and hellos answered with "overloaded".
    pub answered_overloaded: Cell,
    /// Wins whose connection was gone when the verdict came: shown at the next login.
    pub wins_undelivered: Cell,
    /// Earlier wins shown again after a login.
    pub wins_shown_again: Cell,
    /// Sends of gifts received.
    pub gift_sends: Cell,
    /// Opens of gifts received.
    pub gift_opens: Cell,
    /// Questions for waiting gifts received.
    pub gift_lists: Cell,
    /// Sends answered with a new gift.
    pub gifts_sent: Cell,
    /// Sends answered with a gift sent before.
    pub gifts_sent_again: Cell,
    /// Sends answered with a refusal, by its code less 1.
    pub gifts_refused: [Cell; GiftRefusal::ALL.len()],
    /// Opens answered with a share.
    pub gifts_opened: Cell,
    /// Opens answered with a share told before.
    pub gifts_opened_again: Cell,
    /// Opens answered with no share, by the code less 1.
    pub gifts_closed: [Cell; GiftClosed::ALL.len()],
    /// Notices of new gifts sent to their recipients.
    pub notices_delivered: Cell,
    /// Notices of new gifts whose recipient's connection was gone.
    pub notices_missed: Cell,
    /// Notices in lists.
    pub notices_listed: Cell,
    /// Cents in the envelopes answered.
    pub cents_answered: Cell,
    /// Envelopes held now.
    pub stock: Cell,
    /// Cents in them.
    pub stock_cents: Cell,
    /// Envelopes given back to the feeder.
    pub stock_returned: Cell,
    /// Claims at the ledger now.
    pub claims_pending: Cell,
    /// Bytes received.
    pub bytes_received: Cell,
    /// Bytes handed to sends.
    pub bytes_sent: Cell,
    /// `io_uring_enter` calls.
    pub ring_enters: Cell,
    /// Completions reaped.
    pub ring_completions: Cell,
    /// Sends submitted.
    pub ring_sends: Cell,
    /// Sends not finished within the enter.
    pub ring_sends_deferred: Cell,
    /// Receives that found no buffer.
    pub ring_buffers_exhausted: Cell,
    /// Overflows of the completion queue.
    pub ring_completion_overflows: Cell,
    /// Wake-ups sent to other threads.
    pub ring_wakes_sent: Cell,
    /// Time from reap to the end of handling, in microseconds, a turn.
    pub turn_microseconds: HistogramCells<20>,
    /// Completions a turn.
    pub turn_completions: HistogramCells<16>,
}

/// Where the money of gifts has gone. Sent = opened + refunded + pending; won + paid by the house = balances + pending. Pairs are a
/// number and the cents in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GiftTotals {
    /// Gifts sent.
    pub sent: (u64, u64),
    /// Shares opened.
    pub opened: (u64, u64),
    /// Gifts of which something went back.
    pub refunded: (u64, u64),
    /// Gifts that wait to be opened or refunded, and cents left in them.
    pub pending: (u64, u64),
    /// Cents that the house paid, less what it got back.
    pub house_cents: u64,
    /// Cents in the balances of all users.
    pub balances_cents: u64,
    /// Cents in all wins.
    pub won_cents: u64,
}

/// [`GiftTotals`] that are read as they were at one moment, though other threads read while they change: a reader that meets a change
/// looks again.
#[derive(Debug, Default)]
pub struct GiftCells {
    /// Odd during a change.
    version: AtomicU64,
    values: [Cell; 11],
}

impl GiftCells {
    /// Writer only.
    pub fn publish(&self, totals: &GiftTotals) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        let GiftTotals { sent, opened, refunded, pending, house_cents, balances_cents, won_cents } = *totals;
        let pairs = [sent, opened, refunded, pending];
        let single = [house_cents, balances_cents, won_cents];
        let values = pairs.into_iter().flat_map(|(number, cents)| [number, cents]).chain(single);
        for (cell, value) in self.values.iter().zip(values) {
            cell.set(value);
        }
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// All of one moment; of a recent one, where the writer did nothing but change them meanwhile.
    pub fn read(&self) -> GiftTotals {
        const LOOKS_MAX: u32 = 10_000;
        let mut totals = GiftTotals::default();
        for _ in 0..LOOKS_MAX {
            let before = self.version.load(Ordering::Acquire);
            let value = |index: usize| self.values[index].get();
            totals = GiftTotals {
                sent: (value(0), value(1)),
                opened: (value(2), value(3)),
                refunded: (value(4), value(5)),
                pending: (value(6), value(7)),
                house_cents: value(8),
                balances_cents: value(9),
                won_cents: value(10),
            };
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before {
                break;
            }
            std::hint::spin_loop();
        }
        totals
    }
}

/// What the ledger counts.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct LedgerCells {
    /// Commands of control that are in force.
    pub commands_obeyed: Cell,
    /// Envelopes issued, those of earlier runs included.
    pub issued: Cell,
    /// Cents in them.
    pub issued_cents: Cell,
    /// Envelopes issued since the start.
    pub wins: Cell,
    /// Claims refused for the user's cap.
    pub refused_user_limit: Cell,
    /// Claims refused for the sponsor's cap.
    pub refused_sponsor_limit: Cell,
    /// Claims refused because the envelope had been issued: a defect upstream, worth an alarm.
    pub refused_already_issued: Cell,
    /// Claims refused because the journal could not take them.
    pub refused_halted: Cell,
    /// Logins answered.
    pub logins: Cell,
    /// Where the money of gifts is.
    pub gifts: GiftCells,
    /// Notices of new gifts handed to the SET of the recipient's connection.
    pub notices_sent: Cell,
    /// Notices of new gifts for users who have not logged in since the start.
    pub notices_absent: Cell,
    /// Notices dropped because too many waited for room.
    pub notices_dropped: Cell,
    /// Users with at least one win.
    pub users: Cell,
    /// Commits to the journal.
    pub commits: Cell,
    /// Bytes written to it.
    pub journal_bytes: Cell,
    /// Segments in use now.
    pub journal_segments: Cell,
    /// Tries to make the next segment that failed: the disk is full or failing, and issue will stop when this one is full.
    pub spares_failed: Cell,
    /// Wins found in the journal at the start that are beyond the caps now in force.
    pub wins_over_cap: Cell,
    /// Snapshots of the journal that were made.
    pub snapshots: Cell,
    /// Snapshots that could not be made: the journal grows meanwhile.
    pub snapshots_failed: Cell,
    /// 1 while the journal cannot take records, else 0.
    pub halted: Cell,
    /// Duration of a commit, in microseconds.
    pub commit_microseconds: HistogramCells<24>,
    /// Records in a commit.
    pub commit_records: HistogramCells<16>,
}

/// What the feeder counts.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct FeederCells {
    /// Commands of control that are in force.
    pub commands_obeyed: Cell,
    /// Seed files accepted.
    pub seed_files: Cell,
    /// Seed files refused.
    pub seed_files_refused: Cell,
    /// Envelopes in the accepted files.
    pub seeded: Cell,
    /// Cents in them.
    pub seeded_cents: Cell,
    /// Envelopes of theirs issued in earlier runs, and so not dealt.
    pub skipped: Cell,
    /// Cents in them.
    pub skipped_cents: Cell,
    /// Envelopes dealt to SETs.
    pub dealt: Cell,
    /// Cents in them.
    pub dealt_cents: Cell,
    /// Envelopes that came back from SETs.
    pub returned: Cell,
    /// Cents in them.
    pub returned_cents: Cell,
    /// Envelopes lost to damaged blocks: not dealt, and named in the log.
    pub damaged: Cell,
    /// Cents in them, where the header lets it be known; else 0.
    pub damaged_cents: Cell,
    /// Envelopes not dealt yet.
    pub unissued: Cell,
    /// Cents in them.
    pub unissued_cents: Cell,
    /// Issue rate in force, envelopes a second.
    pub issue_rate: Cell,
    /// The round that runs, by its place in the schedule from 1; 0 where none does.
    pub round: Cell,
    /// Envelopes it is to issue, those carried over included; `u64::MAX` for no limit.
    pub round_planned: Cell,
    /// Those that the round before left to it.
    pub round_carried: Cell,
    /// Envelopes dealt in it, less those that came back.
    pub round_dealt: Cell,
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum CommandOutcome {
    /// It is in force.
    Done,
    /// It was wrong, or could not be done now.
    Refused,
    /// Some thread had not obeyed when the answer could wait no longer.
    Late,
}

impl CommandOutcome {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Done, Self::Refused, Self::Late];

    /// Its label value in the metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Late => "late",
        }
    }
}

/// What control counts.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ControlCells {
    /// Commands, by name and [`CommandOutcome`].
    pub commands: [[Cell; CommandOutcome::ALL.len()]; Command::NAMES.len()],
    /// Reloads of the configuration: those refused, and those done.
    pub reloads: [Cell; 2],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_falls_into_the_smallest_power_of_two_that_holds_it() {
        let cells = HistogramCells::<4>::default();
        for value in [0, 1, 2, 3, 4, 5, 8, 1000] {
            cells.record(value);
        }
        assert_eq!([0, 1, 2, 3].map(|bucket| cells.bucket(bucket)), [2, 1, 2, 3]);
        assert_eq!(cells.sum(), 1023);
    }
}
