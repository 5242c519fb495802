//! The ledger's loop: completions in, requests in, one batch out, verdicts out. Over any disk and any clock.
//!
//! One turn: reap -> answer what has become durable -> take requests, fairly -> launch the batch where the disk is free -> ring the
//! doorbells of those who got verdicts. The owner then enters the disk's ring and waits there.

use std::sync::Arc;

use hongbao_protocol::Cents;
use hongbao_uring::{Disk, DiskEvent, Wait};

use super::accounts::{Accounts, Caps, Durable};
use super::commit::{Answer, Batch, BatchBounds, CommitFailure, GroupCommit, Room, Waiting};
use super::desks::{Desks, Known, SetDesk};
use super::gifts::{GiftClock, GiftOptions, GiftRules};
use super::journal::{GIFT_SENT_BYTES_MAX, JournalWriter, SegmentSource, WinRecord};
use super::post::gift_verdict;
use super::receipt::Receipts;
use crate::cells::LedgerCells;
use crate::limits::{
    LEDGER_BLOCKED_WAIT_US, LEDGER_IDLE_WAIT_US, LEDGER_LIST_VERDICTS_MAX, LEDGER_LOGIN_VERDICTS_MAX,
    LEDGER_REQUESTS_PER_SET_AND_TURN,
};
use crate::messages::{LedgerCommand, LedgerSetEnds, Refusal, Request, Verdict, gift_entries};
use crate::planted::{Bug, is_planted};

/// The time of a turn.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Microseconds since 1970, for the records.
    pub unix_us: u64,
    /// Microseconds of a clock that never jumps, for durations.
    pub monotonic_us: u64,
}

/// What the ledger holds at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerSummary {
    /// Envelopes issued, in all runs.
    pub issued: u64,
    /// Cents in them.
    pub cents: Cents,
    /// Envelopes issued in this run.
    pub wins: u64,
}

/// Whether a request was taken from its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Yes,
    /// The queue is empty, or the forming batch is full: until the next completion.
    No,
    /// The verdict queue has no room.
    Blocked,
}

/// The single writer.
pub struct LedgerLoop<D: Disk, S> {
    disk: D,
    pub(super) accounts: Accounts,
    pub(super) commit: GroupCommit<D::File, S>,
    pub(super) desks: Desks,
    pub(super) cells: Arc<LedgerCells>,
    /// What is on the disk.
    durable: Durable,
    /// Whose turn is first.
    first: usize,
    receipts: Receipts,
    gifts: GiftOptions,
    clock: GiftClock,
    /// The time that gifts live by, in microseconds since 1970, as of this turn.
    time_us: u64,
}

impl<D: Disk, S: SegmentSource<File = D::File>> LedgerLoop<D, S> {
    /// A loop that goes on where the journal ends. All wins in `accounts` are durable.
    pub fn new(
        disk: D,
        accounts: Accounts,
        journal: (JournalWriter, D::File),
        segments: (S, Option<(D::File, u64)>),
        (bounds, gifts): (BatchBounds, GiftOptions),
        sets: Vec<LedgerSetEnds>,
        (cells, receipts): (Arc<LedgerCells>, Receipts),
    ) -> Self {
        assert!(u16::try_from(sets.len()).is_ok(), "a SET's index fits 16 bits");
        cells.issued.set(accounts.issued());
        cells.issued_cents.set(accounts.cents().0);
        cells.users.set(accounts.users());
        cells.journal_segments.set(u64::from(journal.0.point().segment.0));
        let durable = accounts.durable_when_flushed();
        cells.gifts.publish(&durable.totals);
        let newest_us = accounts.gifts().newest_us();
        Self {
            disk,
            durable,
            accounts,
            commit: GroupCommit::new(journal.0, journal.1, segments.0, segments.1, bounds),
            desks: Desks::new(sets),
            cells,
            first: 0,
            receipts,
            gifts,
            clock: GiftClock::new(newest_us),
            time_us: newest_us,
        }
    }

    /// One turn. An error ends the process: see [`CommitFailure`].
    pub fn turn(&mut self, now: Now) -> Result<(), CommitFailure> {
        self.time_us = self.clock.read(now);
        self.reap(now)?;
        self.desks.push_late();
        self.commit.tend_spare(now.monotonic_us, &self.cells);
        self.refund_what_is_over(self.time_us);
        self.take_requests(now);
        let durable = self.accounts.durable_when_flushed();
        if let Some(batch) = self.commit.launch(&mut self.disk, durable, now.monotonic_us, &self.cells) {
            let known = Known { durable: self.durable, time_us: self.time_us };
            deliver(batch, (&self.accounts, &self.receipts), known, &mut self.desks, &self.cells);
        }
        for set in self.desks.sets.iter_mut().filter(|set| set.answered) {
            set.answered = false;
            self.disk.ring_doorbell(&set.ends.doorbell);
        }
        Ok(())
    }

    fn reap(&mut self, now: Now) -> Result<(), CommitFailure> {
        let mut written = None;
        while let Some(event) = self.disk.next() {
            match event {
                DiskEvent::Written { buffer, outcome } => written = Some((buffer, outcome)),
                DiskEvent::Wake => {}
            }
        }
        let Some((buffer, outcome)) = written else { return Ok(()) };
        let batch = self.commit.land(buffer, outcome, now.monotonic_us, &self.cells)?;
        self.durable = batch.durable;
        self.cells.gifts.publish(&self.durable.totals);
        let known = Known { durable: self.durable, time_us: self.time_us };
        deliver(batch, (&self.accounts, &self.receipts), known, &mut self.desks, &self.cells);
        self.cells.users.set(self.accounts.users());
        Ok(())
    }

    /// What may be told, and when it is.
    pub(super) fn known(&self) -> Known {
        Known { durable: self.durable, time_us: self.time_us }
    }

    /// What holds for gifts now.
    pub(super) fn gift_rules(&self) -> GiftRules {
        self.gifts.rules()
    }

    /// How long a gift that is sent now can be opened, in microseconds.
    pub(super) fn gift_life_us(&self) -> u64 {
        self.gifts.life_us
    }

    /// Takes requests from every SET in turn, a bounded number of each, beginning with another one every time.
    fn take_requests(&mut self, now: Now) {
        let count = self.desks.sets.len();
        for step in 0..count {
            let set = (self.first + step) % count;
            self.desks.sets[set].blocked = false;
            for _ in 0..LEDGER_REQUESTS_PER_SET_AND_TURN {
                match self.take(set, now) {
                    Taken::Yes => {}
                    Taken::No => break,
                    Taken::Blocked => {
                        self.desks.sets[set].blocked = true;
                        break;
                    }
                }
            }
        }
        self.first = if count == 0 { 0 } else { (self.first + 1) % count };
    }

    /// Takes the next request of a SET, unless there is none or no room for what it leads to.
    fn take(&mut self, set: usize, now: Now) -> Taken {
        let Ok(request) = self.desks.sets[set].ends.requests.peek().copied() else { return Taken::No };
        let (slots, entries) = match request {
            Request::Login { .. } => (LEDGER_LOGIN_VERDICTS_MAX, 1),
            Request::GiftList { .. } => (LEDGER_LIST_VERDICTS_MAX, 1),
            Request::GiftSend { recipients, .. } => (1, gift_entries(recipients.into())),
            Request::Claim { .. } | Request::GiftOpen { .. } => (1, 1),
            Request::GiftTo { .. } => unreachable!("recipients are taken with their gift"),
        };
        if self.desks.sets[set].free() < slots {
            return Taken::Blocked;
        }
        let taken = match request {
            Request::Claim { .. } => self.claim(set, request, now),
            Request::Login { .. } => self.login(set, request),
            Request::GiftSend { .. } => self.send_gift(set, request, self.time_us),
            Request::GiftOpen { caller, user, gift } => self.open_gift(set, caller, (user, gift), self.time_us),
            Request::GiftList { caller, user, request, after } => {
                let known = self.known();
                self.desks.list((set, caller), user, (request, after), &self.accounts, known);
                Some(())
            }
            Request::GiftTo { .. } => None,
        };
        if taken.is_none() {
            return Taken::No;
        }
        let requests = &mut self.desks.sets[set].ends.requests;
        requests.read_chunk(entries).expect("they were just looked at").commit_all();
        Taken::Yes
    }

    /// Decides a claim; `None` where the batch is full.
    fn claim(&mut self, set: usize, request: Request, now: Now) -> Option<()> {
        let Request::Claim { caller, sequence, user, envelope } = request else { unreachable!("the caller looked") };
        let decision = match self.accounts.decide(user, &envelope) {
            Ok(()) => match self.commit.room_for_win() {
                Room::Yes => Ok(()),
                Room::Later => return None,
                Room::Halted => Err(Refusal::Halted),
            },
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = decision {
            self.count_refusal(refusal);
            self.desks.sets[set].answer(Verdict::Refused { caller, sequence, envelope, refusal });
            return Some(());
        }
        let wins = self.accounts.apply(user, &envelope).expect("just decided that it was not issued before");
        let answer = Answer::Won { sequence, user, envelope, wins };
        let win = WinRecord { user, envelope, time_us: now.unix_us };
        self.commit.stage_win(win, Waiting { set: set as u16, caller, answer });
        if is_planted(Bug::AnswerBeforeFlush) {
            let receipt = self.receipts.of(user, &envelope);
            self.desks.sets[set].answer(Verdict::Won { caller, sequence, envelope, wins, receipt });
        } else {
            self.desks.sets[set].reserved += 1;
        }
        Some(())
    }

    /// Answers a login, or lets it wait for the disk: nobody is told of a win that could still be lost. `None` where too many wait.
    fn login(&mut self, set: usize, request: Request) -> Option<()> {
        let Request::Login { caller, user } = request else { unreachable!("the caller looked") };
        self.desks.login(user, set, caller, &self.cells);
        if self.accounts.is_settled(user, self.durable.wins) {
            let known = self.known();
            self.desks.answer_login((set, caller), user, (&self.accounts, &self.receipts), known, &self.cells);
            return Some(());
        }
        if !self.commit.room_for_login() {
            return None;
        }
        self.commit.stage_login(Waiting { set: set as u16, caller, answer: Answer::Login { user } });
        self.desks.sets[set].reserved += LEDGER_LOGIN_VERDICTS_MAX;
        Some(())
    }

    fn count_refusal(&self, refusal: Refusal) {
        match refusal {
            Refusal::UserLimit => self.cells.refused_user_limit.add(1),
            Refusal::SponsorLimit => self.cells.refused_sponsor_limit.add(1),
            Refusal::AlreadyIssued => self.cells.refused_already_issued.add(1),
            Refusal::Halted => self.cells.refused_halted.add(1),
        }
    }

    /// Does what control says.
    pub fn obey(&mut self, command: LedgerCommand) {
        match command {
            LedgerCommand::Caps { per_user, per_sponsor } => self.accounts.set_caps(Caps { per_user, per_sponsor }),
            LedgerCommand::PauseGifts(paused) => self.gifts.paused = paused,
        }
        self.cells.commands_obeyed.add(1);
    }

    /// How long the next enter may wait. Look after the doorbell was told that this thread goes to sleep.
    pub fn wait(&self) -> Wait {
        let mut timeout_us = if self.desks.has_late() { LEDGER_BLOCKED_WAIT_US } else { LEDGER_IDLE_WAIT_US };
        for set in &self.desks.sets {
            if set.blocked {
                timeout_us = timeout_us.min(LEDGER_BLOCKED_WAIT_US);
            } else if !set.ends.requests.is_empty() && self.takes_more() {
                return Wait { want: 0, min_wait_us: 0, timeout_us: 0 };
            }
        }
        Wait { want: 1, min_wait_us: 0, timeout_us }
    }

    fn takes_more(&self) -> bool {
        self.commit.room_for(GIFT_SENT_BYTES_MAX) != Room::Later && self.commit.room_for_login()
    }

    /// Whether every SET has ended and all is flushed and answered.
    pub fn is_finished(&self) -> bool {
        let ended = |set: &SetDesk| set.ends.requests.is_abandoned() && set.ends.requests.is_empty();
        self.commit.is_idle() && self.desks.sets.iter().all(ended)
    }

    /// The disk, for its enter.
    pub fn disk(&mut self) -> &mut D {
        &mut self.disk
    }

    /// What the ledger holds.
    pub fn summary(&self) -> LedgerSummary {
        LedgerSummary { issued: self.accounts.issued(), cents: self.accounts.cents(), wins: self.cells.wins.get() }
    }
}

/// Answers all that waited for a batch, which is durable, and empties it.
fn deliver(
    batch: &mut Batch,
    (accounts, receipts): (&Accounts, &Receipts),
    known: Known,
    desks: &mut Desks,
    cells: &LedgerCells,
) {
    let known = Known { durable: batch.durable, ..known };
    for waiting in &batch.waiting {
        let (set, caller) = (usize::from(waiting.set), waiting.caller);
        match waiting.answer {
            Answer::Won { .. } if is_planted(Bug::AnswerBeforeFlush) => {}
            Answer::Won { sequence, user, envelope, wins } => {
                let desk = &mut desks.sets[set];
                desk.reserved -= 1;
                let receipt = receipts.of(user, &envelope);
                desk.answer(Verdict::Won { caller, sequence, envelope, wins, receipt });
            }
            Answer::Login { user } => {
                desks.sets[set].reserved -= LEDGER_LOGIN_VERDICTS_MAX;
                desks.answer_login((set, caller), user, (accounts, receipts), known, cells);
            }
            answer @ (Answer::GiftSent { .. } | Answer::GiftOpened { .. }) => {
                let desk = &mut desks.sets[set];
                desk.reserved -= 1;
                desk.answer(gift_verdict(caller, answer, accounts, known).expect("an answer about gifts"));
            }
        }
    }
    // Notices last: they take the room that nobody was promised.
    for waiting in &batch.waiting {
        if let Answer::GiftSent { gift, again: false, .. } = waiting.answer {
            desks.notify(gift, accounts, known.time_us, cells);
        }
    }
    batch.clear();
}
