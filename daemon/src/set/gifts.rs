//! Gifts: questions on their way to the ledger, and its answers on their way to the clients. Nothing is decided here.

use hongbao_protocol::wire::{GiftClosed, GiftRefusal, Recipients, ServerFrame};
use hongbao_protocol::{Cents, GiftId, UserId};
use hongbao_uring::{Network, Token};

use super::reactor::{Phase, Reactor};
use super::shake::retry_after_ms;
use crate::cells::CloseReason;
use crate::limits::LEDGER_REQUESTS_KEPT_SHARE;
use crate::messages::{GIFT_USERS_PER_ENTRY, Request, Verdict, gift_entries};

/// A gift as its sender describes it.
pub(super) struct GiftOrder {
    pub(super) request: u64,
    pub(super) total: Cents,
    pub(super) shares: u16,
    pub(super) recipients: Recipients,
}

impl<N: Network> Reactor<N> {
    /// Whether the ledger's queue has room for so many entries about gifts. A part of it is kept for claims and logins, so that no
    /// flood of gifts holds them up.
    fn takes_gifts(&self, entries: usize) -> bool {
        let kept = self.ends.requests.buffer().capacity() / LEDGER_REQUESTS_KEPT_SHARE;
        self.phase == Phase::Running && self.ends.requests.slots() >= kept + entries
    }

    /// Pushes entries for which there is room, all at once, so that the ledger never sees a part of them.
    fn push_gift(&mut self, entries: usize, requests: impl Iterator<Item = Request>) {
        let chunk =
            self.ends.requests.write_chunk_uninit(entries).expect("there is room, and only this end fills the queue");
        let pushed = chunk.fill_from_iter(requests);
        assert_eq!(pushed, entries, "as many as were counted");
        self.ledger_asked = true;
    }

    pub(super) fn gift_send(&mut self, slot: u32, order: &GiftOrder) {
        self.ends.cells.gift_sends.add(1);
        let connection = &self.connections[slot as usize];
        let (caller, user) = (connection.token(slot), connection.user);
        let recipients = order.recipients.as_slice();
        let entries = gift_entries(recipients.len());
        let GiftOrder { request, total, shares, .. } = *order;
        if !self.takes_gifts(entries) {
            return self.gift_refused(slot, request, GiftRefusal::Overloaded);
        }
        let count = recipients.len() as u8;
        let send = Request::GiftSend { caller, user, request, total, shares, recipients: count };
        let to = recipients.chunks(GIFT_USERS_PER_ENTRY).map(|some| {
            let mut users = [UserId(0); GIFT_USERS_PER_ENTRY];
            users[..some.len()].copy_from_slice(some);
            Request::GiftTo { users }
        });
        self.push_gift(entries, std::iter::once(send).chain(to));
        self.gifts_pending += 1;
    }

    pub(super) fn gift_open(&mut self, slot: u32, gift: GiftId) {
        self.ends.cells.gift_opens.add(1);
        let connection = &self.connections[slot as usize];
        let (caller, user) = (connection.token(slot), connection.user);
        if !self.takes_gifts(1) {
            return self.gift_closed(slot, gift, GiftClosed::Overloaded);
        }
        self.push_gift(1, std::iter::once(Request::GiftOpen { caller, user, gift }));
        self.gifts_pending += 1;
    }

    pub(super) fn gift_list(&mut self, slot: u32, request: u32, after: GiftId) {
        self.ends.cells.gift_lists.add(1);
        let connection = &self.connections[slot as usize];
        let (caller, user) = (connection.token(slot), connection.user);
        if !self.takes_gifts(1) {
            let retry_after_ms = retry_after_ms(&self.rules, user, request).max(1);
            return self.answer(slot, ServerFrame::GiftListed { request, shown: 0, pending: 0, retry_after_ms });
        }
        self.push_gift(1, std::iter::once(Request::GiftList { caller, user, request, after }));
    }

    fn gift_refused(&mut self, slot: u32, request: u64, reason: GiftRefusal) {
        self.ends.cells.gifts_refused[reason as usize - 1].add(1);
        let passing =
            matches!(reason, GiftRefusal::Paused | GiftRefusal::Full | GiftRefusal::Halted | GiftRefusal::Overloaded);
        let retry_after_ms = if passing { self.gift_retry_ms(slot, request) } else { 0 };
        self.answer(slot, ServerFrame::GiftRefused { request, reason, retry_after_ms });
    }

    fn gift_closed(&mut self, slot: u32, gift: GiftId, reason: GiftClosed) {
        self.ends.cells.gifts_closed[reason as usize - 1].add(1);
        let passing = matches!(reason, GiftClosed::Halted | GiftClosed::Overloaded);
        let retry_after_ms = if passing { self.gift_retry_ms(slot, gift.0) } else { 0 };
        self.answer(slot, ServerFrame::GiftClosed { gift, reason, retry_after_ms });
    }

    fn gift_retry_ms(&self, slot: u32, number: u64) -> u32 {
        retry_after_ms(&self.rules, self.connections[slot as usize].user, number as u32).max(1)
    }

    /// Acts on the ledger's word on gifts. The connection may be gone: what is durable stands, and the client asks again.
    pub(super) fn take_gift_verdict(&mut self, verdict: Verdict) {
        let (caller, answers) = match verdict {
            Verdict::GiftSent { caller, .. }
            | Verdict::GiftRefused { caller, .. }
            | Verdict::GiftOpened { caller, .. }
            | Verdict::GiftClosed { caller, .. } => (caller, true),
            Verdict::GiftNotice { caller, .. } | Verdict::GiftListed { caller, .. } | Verdict::Replaced { caller } => {
                (caller, false)
            }
            _ => unreachable!("the caller looked"),
        };
        self.gifts_pending -= u32::from(answers);
        if !self.is_reachable(caller) {
            let is_notice = matches!(verdict, Verdict::GiftNotice { listed: false, .. });
            self.ends.cells.notices_missed.add(u64::from(is_notice));
            return;
        }
        self.tell_of_gift(caller, verdict);
    }

    fn tell_of_gift(&mut self, caller: Token, verdict: Verdict) {
        let cells = &self.ends.cells;
        let frame = match verdict {
            Verdict::GiftSent { request, gift, expires_in_s, again, .. } => {
                if again { &cells.gifts_sent_again } else { &cells.gifts_sent }.add(1);
                ServerFrame::GiftSent { request, gift, expires_in_s, again }
            }
            Verdict::GiftRefused { request, reason, .. } => return self.gift_refused(caller.slot, request, reason),
            Verdict::GiftNotice { gift, sender, expires_in_s, listed, .. } => {
                if listed { &cells.notices_listed } else { &cells.notices_delivered }.add(1);
                ServerFrame::GiftNotice { gift, sender, expires_in_s, listed }
            }
            Verdict::GiftOpened { gift, share, luckiest, shares, remaining, again, .. } => {
                if again { &cells.gifts_opened_again } else { &cells.gifts_opened }.add(1);
                let (shares, remaining) = (shares.into(), remaining.into());
                ServerFrame::GiftOpened { gift, share, luckiest, shares, remaining, again }
            }
            Verdict::GiftClosed { gift, reason, .. } => return self.gift_closed(caller.slot, gift, reason),
            Verdict::GiftListed { request, shown, pending, .. } => {
                ServerFrame::GiftListed { request, shown, pending, retry_after_ms: 0 }
            }
            Verdict::Replaced { .. } => return self.replaced(caller.slot),
            _ => unreachable!("the caller looked"),
        };
        self.answer(caller.slot, frame);
    }

    /// A frame that would not end was dropped to make room for another's.
    pub(super) fn gave_way(&mut self, token: Token) {
        if self.is_reachable(token) {
            self.close_now(token.slot, CloseReason::Unfinished);
        }
    }
}
