//! The SETs, seen from the ledger: what each is owed, and notices on their way to any of them.

use std::collections::VecDeque;

use hongbao_protocol::{Envelope, GiftId, UserId};
use hongbao_uring::Token;

use super::accounts::Accounts;
use super::directory::Directory;
use super::gifts::Waits;
use super::receipt::Receipts;
use crate::cells::LedgerCells;
use crate::limits::{EARLIER_WINS_SHOWN_MAX, GIFTS_SHOWN_MAX, LEDGER_LOGIN_VERDICTS_MAX, NOTICES_WAITING_MAX};
use crate::messages::{LedgerSetEnds, Verdict};

/// One SET.
pub(super) struct SetDesk {
    pub(super) ends: LedgerSetEnds,
    /// Verdict slots promised to answers that wait for the disk.
    pub(super) reserved: usize,
    /// Its first request waits for room in its verdict queue.
    pub(super) blocked: bool,
    /// It got verdicts in this turn.
    pub(super) answered: bool,
}

impl SetDesk {
    /// Verdict slots not promised to anyone. A SET that is gone takes everything: nobody reads it.
    pub(super) fn free(&self) -> usize {
        if self.ends.verdicts.is_abandoned() {
            return usize::MAX;
        }
        self.ends.verdicts.slots() - self.reserved
    }

    pub(super) fn answer(&mut self, verdict: Verdict) {
        let pushed = self.ends.verdicts.push(verdict);
        assert!(pushed.is_ok() || self.ends.verdicts.is_abandoned(), "room was kept for every verdict");
        self.answered = true;
    }
}

/// All SETs, and who is where.
pub(super) struct Desks {
    pub(super) sets: Vec<SetDesk>,
    directory: Directory,
    /// What found no room: SETs and notices.
    late: VecDeque<(usize, Verdict)>,
    wins: Vec<Envelope>,
    gifts: Vec<Waits>,
}

impl Desks {
    pub(super) fn new(sets: Vec<LedgerSetEnds>) -> Self {
        Self {
            directory: Directory::new(sets.len()),
            sets: sets.into_iter().map(|ends| SetDesk { ends, reserved: 0, blocked: false, answered: false }).collect(),
            late: VecDeque::new(),
            wins: Vec::with_capacity(EARLIER_WINS_SHOWN_MAX as usize),
            gifts: Vec::with_capacity(GIFTS_SHOWN_MAX),
        }
    }

    /// Whether notices wait for room.
    pub(super) fn has_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// The connection of a user who logs in; an older one of the same user is told to go.
    pub(super) fn login(&mut self, user: UserId, set: usize, caller: Token, cells: &LedgerCells) {
        if let Some((older, caller)) = self.directory.login(user, set, caller) {
            self.push_or_keep(older, Verdict::Replaced { caller }, cells);
        }
    }

    /// Tells a login what the user has won and which gifts wait. The caller has kept room.
    pub(super) fn answer_login(
        &mut self,
        (set, caller): (usize, Token),
        user: UserId,
        (accounts, receipts): (&Accounts, &Receipts),
        known: Known,
        cells: &LedgerCells,
    ) {
        let wins = accounts.settled(user, known.durable.wins, EARLIER_WINS_SHOWN_MAX as usize, &mut self.wins);
        let desk = &mut self.sets[set];
        desk.answer(Verdict::Account { caller, wins, shown: self.wins.len() as u32 });
        for envelope in &self.wins {
            desk.answer(Verdict::Earlier { caller, envelope: *envelope, receipt: receipts.of(user, envelope) });
        }
        cells.logins.add(1);
        if accounts.gifts().waiting_count(user) > 0 {
            self.list((set, caller), user, (0, GiftId(0)), accounts, known);
        }
    }

    /// Lists the gifts that wait for a user. The caller has kept room.
    pub(super) fn list(
        &mut self,
        (set, caller): (usize, Token),
        user: UserId,
        (request, after): (u32, GiftId),
        accounts: &Accounts,
        known: Known,
    ) {
        let next_gift = known.durable.next_gift;
        let pending = accounts.gifts().waiting(user, after, next_gift, known.time_us, &mut self.gifts);
        let desk = &mut self.sets[set];
        for waits in &self.gifts {
            let expires_in_s = seconds_until(waits.expires_us, known.time_us);
            let (gift, sender) = (waits.gift, waits.sender);
            desk.answer(Verdict::GiftNotice { caller, gift, sender, expires_in_s, listed: true });
        }
        let shown = self.gifts.len() as u32;
        desk.answer(Verdict::GiftListed { caller, request, shown, pending });
    }

    /// Tells the recipients of a gift, which is durable, wherever they are. Nobody waits for it, and whoever is not here is told at the
    /// next login.
    pub(super) fn notify(&mut self, gift: GiftId, accounts: &Accounts, time_us: u64, cells: &LedgerCells) {
        let Some((sender, expires_us)) = accounts.gifts().sent(gift) else { return };
        let expires_in_s = seconds_until(expires_us, time_us);
        for user in accounts.gifts().waited_for(gift) {
            let Some((set, caller)) = self.directory.find(user) else {
                cells.notices_absent.add(1);
                continue;
            };
            cells.notices_sent.add(1);
            self.push_or_keep(set, Verdict::GiftNotice { caller, gift, sender, expires_in_s, listed: false }, cells);
        }
    }

    /// Pushes what nobody kept room for, unless that would take the room of a login; then it waits, and where too many wait it is dropped.
    fn push_or_keep(&mut self, set: usize, verdict: Verdict, cells: &LedgerCells) {
        if self.late.is_empty() && self.sets[set].free() > LEDGER_LOGIN_VERDICTS_MAX {
            self.sets[set].answer(verdict);
        } else if self.late.len() < NOTICES_WAITING_MAX {
            self.late.push_back((set, verdict));
        } else {
            cells.notices_dropped.add(1);
        }
    }

    /// Pushes what waited, as far as there is room.
    pub(super) fn push_late(&mut self) {
        while let Some((set, _)) = self.late.front() {
            let desk = &mut self.sets[*set];
            if desk.free() <= LEDGER_LOGIN_VERDICTS_MAX {
                break;
            }
            let (_, verdict) = self.late.pop_front().expect("just looked at");
            desk.answer(verdict);
        }
    }
}

/// What may be told, and when it is.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// What is on the disk.
    pub(super) durable: super::accounts::Durable,
    /// The time that gifts live by, in microseconds since 1970.
    pub(super) time_us: u64,
}

/// Whole seconds until a time, the last one begun counted.
pub(super) fn seconds_until(end_us: u64, now_us: u64) -> u32 {
    u32::try_from(end_us.saturating_sub(now_us).div_ceil(1_000_000)).unwrap_or(u32::MAX)
}
