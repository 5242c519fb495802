//! The ledger's loop: completions in, requests in, one batch out, verdicts out. Over any disk and any clock.
//!
//! One turn: reap -> answer what has become durable -> take requests, fairly -> launch the batch where the disk is free -> ring the
//! doorbells of those who got verdicts. The owner then enters the disk's ring and waits there.

use std::sync::Arc;

use hongbao_protocol::{Cents, Envelope, UserId};
use hongbao_uring::{Disk, DiskEvent, Token, Wait};

use super::accounts::{Accounts, Caps, WinIndex};
use super::commit::{Answer, Batch, BatchBounds, CommitFailure, GroupCommit, Room, Waiting};
use super::journal::{JournalWriter, SegmentSource, WinRecord};
use super::receipt::Receipts;
use crate::cells::LedgerCells;
use crate::limits::{
    EARLIER_WINS_SHOWN_MAX, LEDGER_BLOCKED_WAIT_US, LEDGER_IDLE_WAIT_US, LEDGER_LOGIN_VERDICTS_MAX,
    LEDGER_REQUESTS_PER_SET_AND_TURN,
};
use crate::messages::{LedgerCommand, LedgerSetEnds, Refusal, Request, Verdict};
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

/// One SET, seen from the ledger.
struct SetDesk {
    ends: LedgerSetEnds,
    /// Verdict slots promised to answers that wait for the disk.
    reserved: usize,
    /// Its first request waits for room in its verdict queue.
    blocked: bool,
    /// It got verdicts in this turn.
    answered: bool,
}

impl SetDesk {
    /// Verdict slots not promised to anyone. A SET that is gone takes everything: nobody reads it.
    fn free(&self) -> usize {
        if self.ends.verdicts.is_abandoned() {
            return usize::MAX;
        }
        self.ends.verdicts.slots() - self.reserved
    }

    fn answer(&mut self, verdict: Verdict) {
        let pushed = self.ends.verdicts.push(verdict);
        assert!(pushed.is_ok() || self.ends.verdicts.is_abandoned(), "room was kept for every verdict");
        self.answered = true;
    }

    fn answer_login(&mut self, caller: Token, (user, wins): (UserId, u32), shown: &[Envelope], receipts: &Receipts) {
        self.answer(Verdict::Account { caller, wins, shown: shown.len() as u32 });
        for envelope in shown {
            self.answer(Verdict::Earlier { caller, envelope: *envelope, receipt: receipts.of(user, envelope) });
        }
    }
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
    accounts: Accounts,
    commit: GroupCommit<D::File, S>,
    sets: Vec<SetDesk>,
    cells: Arc<LedgerCells>,
    /// Wins before it are on the disk.
    durable: WinIndex,
    /// Whose turn is first.
    first: usize,
    shown: Vec<Envelope>,
    receipts: Receipts,
}

impl<D: Disk, S: SegmentSource<File = D::File>> LedgerLoop<D, S> {
    /// A loop that goes on where the journal ends. All wins in `accounts` are durable.
    pub fn new(
        disk: D,
        accounts: Accounts,
        journal: (JournalWriter, D::File),
        segments: (S, Option<(D::File, u64)>),
        bounds: BatchBounds,
        sets: Vec<LedgerSetEnds>,
        (cells, receipts): (Arc<LedgerCells>, Receipts),
    ) -> Self {
        assert!(u16::try_from(sets.len()).is_ok(), "a SET's index fits 16 bits");
        cells.issued.set(accounts.issued());
        cells.issued_cents.set(accounts.cents().0);
        cells.users.set(accounts.users());
        cells.journal_segments.set(u64::from(journal.0.point().segment.0));
        Self {
            disk,
            durable: accounts.next_index(),
            accounts,
            commit: GroupCommit::new(journal.0, journal.1, segments.0, segments.1, bounds),
            sets: sets.into_iter().map(|ends| SetDesk { ends, reserved: 0, blocked: false, answered: false }).collect(),
            cells,
            first: 0,
            shown: Vec::with_capacity(EARLIER_WINS_SHOWN_MAX as usize),
            receipts,
        }
    }

    /// One turn. An error ends the process: see [`CommitFailure`].
    pub fn turn(&mut self, now: Now) -> Result<(), CommitFailure> {
        self.reap(now)?;
        self.commit.tend_spare(now.monotonic_us, &self.cells);
        self.take_requests(now);
        let durable = self.accounts.next_index();
        if let Some(batch) = self.commit.launch(&mut self.disk, durable, now.monotonic_us, &self.cells) {
            deliver(batch, (&self.accounts, &self.receipts), &mut self.sets, &mut self.shown, &self.cells);
        }
        for set in self.sets.iter_mut().filter(|set| set.answered) {
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
        deliver(batch, (&self.accounts, &self.receipts), &mut self.sets, &mut self.shown, &self.cells);
        self.cells.users.set(self.accounts.users());
        Ok(())
    }

    /// Takes requests from every SET in turn, a bounded number of each, beginning with another one every time.
    fn take_requests(&mut self, now: Now) {
        let count = self.sets.len();
        for step in 0..count {
            let set = (self.first + step) % count;
            self.sets[set].blocked = false;
            let mut free = self.sets[set].free();
            for _ in 0..LEDGER_REQUESTS_PER_SET_AND_TURN {
                match self.take(set, &mut free, now) {
                    Taken::Yes => {}
                    Taken::No => break,
                    Taken::Blocked => {
                        self.sets[set].blocked = true;
                        break;
                    }
                }
            }
        }
        self.first = if count == 0 { 0 } else { (self.first + 1) % count };
    }

    /// Takes the next request of a SET, unless there is none or no room for what it leads to.
    fn take(&mut self, set: usize, free: &mut usize, now: Now) -> Taken {
        let Ok(request) = self.sets[set].ends.requests.peek().copied() else { return Taken::No };
        let slots = match request {
            Request::Claim { .. } => 1,
            Request::Login { .. } => LEDGER_LOGIN_VERDICTS_MAX,
        };
        if *free < slots {
            return Taken::Blocked;
        }
        let used = match request {
            Request::Claim { .. } => self.claim(set, request, now),
            Request::Login { .. } => self.login(set, request),
        };
        let Some(used) = used else { return Taken::No };
        *free -= used;
        self.sets[set].ends.requests.pop().expect("the request was just looked at");
        Taken::Yes
    }

    /// Decides a claim. Returns the verdict slots used or reserved; `None` where the batch is full.
    fn claim(&mut self, set: usize, request: Request, now: Now) -> Option<usize> {
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
            self.sets[set].answer(Verdict::Refused { caller, sequence, envelope, refusal });
            return Some(1);
        }
        let wins = self.accounts.apply(user, &envelope).expect("just decided that it was not issued before");
        let answer = Answer::Won { sequence, user, envelope, wins };
        let win = WinRecord { user, envelope, time_us: now.unix_us };
        self.commit.stage_win(win, Waiting { set: set as u16, caller, answer });
        if is_planted(Bug::AnswerBeforeFlush) {
            let receipt = self.receipts.of(user, &envelope);
            self.sets[set].answer(Verdict::Won { caller, sequence, envelope, wins, receipt });
        } else {
            self.sets[set].reserved += 1;
        }
        Some(1)
    }

    /// Answers a login, or lets it wait for the disk: nobody is told of a win that could still be lost. Returns the verdict slots
    /// used or reserved; `None` where too many wait.
    fn login(&mut self, set: usize, request: Request) -> Option<usize> {
        let Request::Login { caller, user } = request else { unreachable!("the caller looked") };
        if self.accounts.is_settled(user, self.durable) {
            let limit = EARLIER_WINS_SHOWN_MAX as usize;
            let wins = self.accounts.settled(user, self.durable, limit, &mut self.shown);
            self.sets[set].answer_login(caller, (user, wins), &self.shown, &self.receipts);
            self.cells.logins.add(1);
            return Some(self.shown.len() + 1);
        }
        if !self.commit.room_for_login() {
            return None;
        }
        self.commit.stage_login(Waiting { set: set as u16, caller, answer: Answer::Login { user } });
        self.sets[set].reserved += LEDGER_LOGIN_VERDICTS_MAX;
        Some(LEDGER_LOGIN_VERDICTS_MAX)
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
        let LedgerCommand::Caps { per_user, per_sponsor } = command;
        self.accounts.set_caps(Caps { per_user, per_sponsor });
        self.cells.commands_obeyed.add(1);
    }

    /// How long the next enter may wait. Look after the doorbell was told that this thread goes to sleep.
    pub fn wait(&self) -> Wait {
        let mut timeout_us = LEDGER_IDLE_WAIT_US;
        for set in &self.sets {
            if set.blocked {
                timeout_us = timeout_us.min(LEDGER_BLOCKED_WAIT_US);
            } else if !set.ends.requests.is_empty() && self.takes_more() {
                return Wait { want: 0, min_wait_us: 0, timeout_us: 0 };
            }
        }
        Wait { want: 1, min_wait_us: 0, timeout_us }
    }

    fn takes_more(&self) -> bool {
        self.commit.room_for_win() != Room::Later && self.commit.room_for_login()
    }

    /// Whether every SET has ended and all is flushed and answered.
    pub fn is_finished(&self) -> bool {
        let ended = |set: &SetDesk| set.ends.requests.is_abandoned() && set.ends.requests.is_empty();
        self.commit.is_idle() && self.sets.iter().all(ended)
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
    sets: &mut [SetDesk],
    shown: &mut Vec<Envelope>,
    cells: &LedgerCells,
) {
    for waiting in &batch.waiting {
        let set = &mut sets[usize::from(waiting.set)];
        let caller = waiting.caller;
        match waiting.answer {
            Answer::Won { .. } if is_planted(Bug::AnswerBeforeFlush) => {}
            Answer::Won { sequence, user, envelope, wins } => {
                set.reserved -= 1;
                let receipt = receipts.of(user, &envelope);
                set.answer(Verdict::Won { caller, sequence, envelope, wins, receipt });
            }
            Answer::Login { user } => {
                set.reserved -= LEDGER_LOGIN_VERDICTS_MAX;
                let wins = accounts.settled(user, batch.durable, EARLIER_WINS_SHOWN_MAX as usize, shown);
                set.answer_login(caller, (user, wins), shown, receipts);
                cells.logins.add(1);
            }
        }
    }
    batch.clear();
}
