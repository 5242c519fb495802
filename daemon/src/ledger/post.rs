//! Gifts in the ledger's loop: requests decided, records staged, answers told once they are durable, refunds when their time comes.

use hongbao_protocol::wire::{GIFT_RECIPIENTS_MAX, GiftClosed, GiftRefusal, Recipients};
use hongbao_protocol::{GiftId, UserId};
use hongbao_uring::{Disk, Token};

use super::commit::{Answer, Room, Waiting};
use super::desks::{Known, seconds_until};
use super::gifts::{Opening, Order, Sending};
use super::journal::{
    GIFT_SENT_BYTES_MAX, GiftOpenedRecord, GiftRefundedRecord, GiftSentRecord, Record, SegmentSource, WIN_BYTES,
};
use super::turn::LedgerLoop;
use crate::limits::REFUNDS_PER_TURN;
use crate::messages::{GIFT_USERS_PER_ENTRY, Request, Verdict, gift_entries};

/// Recipients, rounded up to whole entries of the queue.
const USERS_MAX: usize = GIFT_RECIPIENTS_MAX.next_multiple_of(GIFT_USERS_PER_ENTRY);

impl<D: Disk, S: SegmentSource<File = D::File>> LedgerLoop<D, S> {
    /// Stages the refunds of the gifts that are over, as many as this turn may.
    pub(super) fn refund_what_is_over(&mut self, time_us: u64) {
        for _ in 0..REFUNDS_PER_TURN {
            if self.commit.room_for(WIN_BYTES) != Room::Yes {
                return;
            }
            let Some((gift, amount)) = self.accounts.gifts_mut().due(time_us) else { return };
            let refund = GiftRefundedRecord { gift, amount, time_us };
            self.accounts.gifts_mut().refund(&refund).expect("it is due");
            self.commit.stage(&Record::GiftRefunded(refund), None);
        }
    }

    /// The order that the first request of a SET's queue and the entries behind it make. They were pushed all at once.
    fn order(&mut self, set: usize, request: Request) -> Order {
        let Request::GiftSend { user: sender, request, total, shares, recipients, .. } = request else {
            unreachable!("the caller looked")
        };
        let count = usize::from(recipients);
        let entries =
            self.desks.sets[set].ends.requests.read_chunk(gift_entries(count)).expect("a gift is pushed whole");
        let mut users = [UserId(0); USERS_MAX];
        let (first, second) = entries.as_slices();
        for (index, entry) in first.iter().chain(second).skip(1).enumerate() {
            let Request::GiftTo { users: these } = entry else { unreachable!("recipients follow their gift") };
            users[index * GIFT_USERS_PER_ENTRY..][..GIFT_USERS_PER_ENTRY].copy_from_slice(these);
        }
        let recipients = Recipients::new(&users[..count]).expect("the frame had 1 to 32");
        Order { sender, request, total, shares, recipients }
    }

    /// Decides a send; `None` where the batch is full.
    pub(super) fn send_gift(&mut self, set: usize, asked: Request, time_us: u64) -> Option<()> {
        let Request::GiftSend { caller, request, .. } = asked else { unreachable!("the caller looked") };
        let order = self.order(set, asked);
        let rules = self.gift_rules();
        let balance = self.accounts.balance(order.sender);
        let decided = match self.accounts.gifts().decide_send(&order, balance, &rules) {
            Ok(Sending::New(gift)) => match self.commit.room_for(GIFT_SENT_BYTES_MAX) {
                Room::Yes => Ok(Sending::New(gift)),
                Room::Later => return None,
                Room::Halted => Err(GiftRefusal::Halted),
            },
            decided => decided,
        };
        match decided {
            Err(reason) => {
                self.desks.sets[set].answer(Verdict::GiftRefused { caller, request, reason });
            }
            Ok(Sending::Again(gift)) => {
                return self.tell_again(set, caller, Answer::GiftSent { request, gift, again: true });
            }
            Ok(Sending::New(gift)) => {
                let expires_us = time_us.saturating_add(self.gift_life_us());
                let record = GiftSentRecord { gift, order, house_pays: rules.house_pays, expires_us, time_us };
                self.accounts.send_gift(&record).expect("just decided");
                let answer = Answer::GiftSent { request, gift, again: false };
                self.commit.stage(&Record::GiftSent(record), Some(Waiting { set: set as u16, caller, answer }));
                self.desks.sets[set].reserved += 1;
            }
        }
        Some(())
    }

    /// Decides an open; `None` where the batch is full.
    pub(super) fn open_gift(
        &mut self,
        set: usize,
        caller: Token,
        (user, gift): (UserId, GiftId),
        time_us: u64,
    ) -> Option<()> {
        let closed = match self.accounts.gifts().decide_open(user, gift, time_us) {
            Opening::Closed(reason) => reason,
            Opening::Again => {
                let opened = self.accounts.gifts().opened(user, gift).expect("just decided");
                return self.tell_again(set, caller, Answer::GiftOpened { gift, opened, again: true });
            }
            Opening::Share(share) => match self.commit.room_for(WIN_BYTES) {
                Room::Later => return None,
                Room::Halted => GiftClosed::Halted,
                Room::Yes => {
                    let record = GiftOpenedRecord { gift, user, share, time_us };
                    self.accounts.gifts_mut().open(&record).expect("just decided");
                    let opened = self.accounts.gifts().opened(user, gift).expect("just booked");
                    let answer = Answer::GiftOpened { gift, opened, again: false };
                    self.commit.stage(&Record::GiftOpened(record), Some(Waiting { set: set as u16, caller, answer }));
                    self.desks.sets[set].reserved += 1;
                    return Some(());
                }
            },
        };
        self.desks.sets[set].answer(Verdict::GiftClosed { caller, gift, reason: closed });
        Some(())
    }

    /// Tells again what was granted earlier: at once where every record is on the disk, and else with the batch that is forming, as nobody
    /// is told of what could still be lost.
    fn tell_again(&mut self, set: usize, caller: Token, answer: Answer) -> Option<()> {
        if !self.commit.is_settled() {
            if !self.commit.room_for_login() {
                return None;
            }
            self.commit.stage_login(Waiting { set: set as u16, caller, answer });
            self.desks.sets[set].reserved += 1;
            return Some(());
        }
        let known = self.known();
        let verdict = gift_verdict(caller, answer, &self.accounts, known).expect("an answer about gifts");
        self.desks.sets[set].answer(verdict);
        Some(())
    }
}

/// What to say of a gift that was granted.
pub(super) fn gift_verdict(
    caller: Token,
    answer: Answer,
    accounts: &super::accounts::Accounts,
    known: Known,
) -> Option<Verdict> {
    match answer {
        Answer::GiftSent { request, gift, again } => {
            let expires_us = accounts.gifts().sent(gift).map_or(0, |(_, expires_us)| expires_us);
            let expires_in_s = seconds_until(expires_us, known.time_us);
            Some(Verdict::GiftSent { caller, request, gift, expires_in_s, again })
        }
        Answer::GiftOpened { gift, opened, again } => {
            let super::gifts::Opened { share, luckiest, shares, remaining } = opened;
            Some(Verdict::GiftOpened { caller, gift, share, luckiest, shares, remaining, again })
        }
        Answer::Won { .. } | Answer::Login { .. } => None,
    }
}
