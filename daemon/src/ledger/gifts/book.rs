//! The decisions on gifts, and the booking of what was decided: by the running ledger, and by the replay of its journal.

use std::collections::VecDeque;

use hongbao_protocol::wire::{GiftClosed, GiftRefusal, Recipients};
use hongbao_protocol::{Cents, GiftId, ServerId, UserId};
use thiserror::Error;

use super::due::Due;
use super::purse::{Purses, plus};
use super::store::{Gift, NONE, Store};
use crate::cells::GiftTotals;
use crate::ledger::journal::{GiftOpenedRecord, GiftRefundedRecord, GiftSentRecord};
use crate::limits::{
    GIFT_CENTS_MAX, GIFT_LIFE_US, GIFT_LIST_STEPS_MAX, GIFT_REQUESTS_REMEMBERED, GIFTS_FINISHED_KEPT_MAX,
    GIFTS_PENDING_MAX, HOUSE_CENTS_MAX,
};
use crate::seed::from_key;
use crate::seed::split::Split;

/// What holds for all gifts at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GiftRules {
    /// The house pays for gifts, and gets back what nobody opens.
    pub house_pays: bool,
    /// No gift is sent for now; those sent are opened and refunded as ever.
    pub paused: bool,
    /// Gifts that may wait to be opened, all together.
    pub pending_max: u64,
}

/// What the operator says of gifts.
#[derive(Clone, Copy, Debug)]
pub struct GiftOptions {
    /// The house pays for gifts, and gets back what nobody opens: for tests and campaigns.
    pub house_pays: bool,
    /// How long a gift can be opened, in microseconds.
    pub life_us: u64,
    /// Gifts that may wait to be opened, all together.
    pub pending_max: u64,
    /// No gift may be sent for now.
    pub paused: bool,
}

impl Default for GiftOptions {
    fn default() -> Self {
        Self { house_pays: false, life_us: GIFT_LIFE_US, pending_max: GIFTS_PENDING_MAX, paused: false }
    }
}

impl GiftOptions {
    /// What holds now.
    pub fn rules(&self) -> GiftRules {
        GiftRules { house_pays: self.house_pays, paused: self.paused, pending_max: self.pending_max }
    }
}

/// What a sender asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Who.
    pub sender: UserId,
    /// Their number for it.
    pub request: u64,
    /// What is to be in it.
    pub total: Cents,
    /// Over how many shares.
    pub shares: u16,
    /// For whom.
    pub recipients: Recipients,
}

/// An order that is granted, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// It becomes this gift.
    New(GiftId),
    /// It became this gift when it was asked for the first time.
    Again(GiftId),
}

/// What an open comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// This share is the user's, once it is booked.
    Share(Cents),
    /// The user has opened before.
    Again,
    /// No share.
    Closed(GiftClosed),
}

/// What is told of an opened gift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The user's share.
    pub share: Cents,
    /// The largest share so far.
    pub luckiest: Cents,
    /// Shares of the gift.
    pub shares: u8,
    /// Shares nobody has opened yet.
    pub remaining: u8,
}

/// A gift that waits for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// Which.
    pub gift: GiftId,
    /// Who sent it.
    pub sender: UserId,
    /// When it is over, in microseconds since 1970.
    pub expires_us: u64,
}

/// How a record of a gift contradicts those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GiftContradiction {
    /// Numbers have no gaps.
    #[error("sends a gift that does not follow the one before")]
    Number,
    /// What no decision would have granted.
    #[error("sends a gift that may not be sent: {0:?}")]
    Order(GiftRefusal),
    /// A request that was granted before.
    #[error("sends a gift a second time")]
    SentTwice,
    /// Not sent, or long over.
    #[error("is about a gift that is not there")]
    NoGift,
    /// The opener is not a recipient, or has a share.
    #[error("gives a share to a user who may not have it")]
    Opener,
    /// Not a cent too many, and one for every share to come.
    #[error("opens a share of an amount that it cannot have")]
    Share,
    /// What goes back is what is left.
    #[error("refunds another amount than is left")]
    Refund,
}

/// All gifts, and everybody's balance.
#[derive(Debug)]
pub struct Gifts {
    server: ServerId,
    /// What shares are drawn by, with the gift's number and the shares left.
    key: [u8; 16],
    store: Store,
    purses: Purses,
    due: Due,
    /// Those over or all opened, in the order that they became so.
    finished: VecDeque<u64>,
    /// How many of those are remembered.
    finished_max: usize,
    totals: GiftTotals,
    newest_us: u64,
}

impl Default for Gifts {
    fn default() -> Self {
        Self::new()
    }
}

impl Gifts {
    /// None yet.
    pub fn new() -> Self {
        Self {
            server: ServerId(0),
            key: [0; 16],
            store: Store::new(),
            purses: Purses::new(),
            due: Due::default(),
            finished: VecDeque::new(),
            finished_max: GIFTS_FINISHED_KEPT_MAX,
            totals: GiftTotals::default(),
            newest_us: 0,
        }
    }

    /// None yet, and no more than this many that are over will be remembered.
    #[cfg(test)]
    pub(super) fn remembering(finished_max: usize) -> Self {
        Self { finished_max, ..Self::new() }
    }

    /// The journal's first record told whose it is, and by what shares are drawn.
    pub fn bind(&mut self, server: ServerId, key: [u8; 16]) {
        (self.server, self.key) = (server, key);
    }

    /// A user has won an envelope.
    pub fn won(&mut self, user: UserId, amount: Cents) {
        self.totals.won_cents = plus(Cents(self.totals.won_cents), amount).0;
        self.purses.won(user, amount);
    }

    /// What a user has to spend, where gifts have touched it; otherwise it is the sum of the wins.
    pub fn balance(&self, user: UserId) -> Option<Cents> {
        self.purses.get(user).map(|purse| purse.balance)
    }

    /// Where the money is.
    pub fn totals(&self) -> GiftTotals {
        GiftTotals { balances_cents: self.purses.total.0, ..self.totals }
    }

    /// The latest time of a gift's record, in microseconds since 1970.
    pub fn newest_us(&self) -> u64 {
        self.newest_us
    }

    /// The number that the next gift will have; right after a flush of everything, the bound of those that are durable.
    pub fn next_number(&self) -> u64 {
        self.store.next_number()
    }

    /// Whether this gift may be sent by a user who has so much to spend. A repeated order is told first, whatever else holds by now.
    pub fn decide_send(&self, order: &Order, balance: Cents, rules: &GiftRules) -> Result<Sending, GiftRefusal> {
        if let Some(number) = self.sent_before(order.sender, order.request)? {
            return Ok(Sending::Again(GiftId::new(self.server, number)));
        }
        check(order)?;
        if rules.paused {
            return Err(GiftRefusal::Paused);
        }
        if self.totals.pending.0 >= rules.pending_max {
            return Err(GiftRefusal::Full);
        }
        if rules.house_pays {
            if self.totals.house_cents + order.total.0 > HOUSE_CENTS_MAX {
                return Err(GiftRefusal::TotalTooLarge);
            }
        } else if balance < order.total {
            return Err(GiftRefusal::Balance);
        }
        Ok(Sending::New(GiftId::new(self.server, self.store.next_number())))
    }

    /// The number of the gift that this request became.
    fn sent_before(&self, sender: UserId, request: u64) -> Result<Option<u64>, GiftRefusal> {
        let Some(purse) = self.purses.get(sender).filter(|purse| purse.latest != 0 && request <= purse.request) else {
            return Ok(None);
        };
        let mut number = purse.latest;
        for _ in 0..GIFT_REQUESTS_REMEMBERED {
            let Some(gift) = self.store.get(number) else { break };
            if gift.request == request {
                return Ok(Some(number));
            }
            if gift.previous == 0 {
                break;
            }
            number -= u64::from(gift.previous);
        }
        Err(GiftRefusal::StaleRequest)
    }

    /// Books a gift that was decided, or read from the journal. `won` tells what a user has won in all.
    pub fn send(&mut self, gift: &GiftSentRecord, won: &dyn Fn(UserId) -> Cents) -> Result<(), GiftContradiction> {
        let order = &gift.order;
        let number = gift.gift.number();
        if gift.gift != GiftId::new(self.server, self.store.next_number()) {
            return Err(GiftContradiction::Number);
        }
        check(order).map_err(GiftContradiction::Order)?;
        if !matches!(self.sent_before(order.sender, order.request), Ok(None)) {
            return Err(GiftContradiction::SentTwice);
        }
        let purse = self.purses.open(order.sender, || won(order.sender));
        if !gift.house_pays && purse.balance < order.total {
            return Err(GiftContradiction::Order(GiftRefusal::Balance));
        }
        let back = if purse.latest == 0 { 0 } else { u32::try_from(number - purse.latest).unwrap_or(0) };
        (purse.latest, purse.request) = (number, order.request);
        if gift.house_pays {
            self.totals.house_cents += order.total.0;
        } else {
            self.purses.debit(order.sender, order.total);
        }
        let early = self.due.file(number, gift.expires_us);
        let flags = if gift.house_pays { Gift::HOUSE } else { 0 } | if early { Gift::EARLY } else { 0 };
        self.store.insert(Gift::new(number, order, gift.expires_us, back, flags), order.recipients.as_slice());
        let stored = *self.store.get(number).expect("just taken in");
        for place in stored.places() {
            let user = self.store.recipient(&stored, place);
            let purse = self.purses.open(user, || won(user));
            purse.waiting_count += 1;
            self.store.link(&mut purse.waiting, Store::entry(&stored, place));
        }
        add(&mut self.totals.sent, order.total);
        add(&mut self.totals.pending, order.total);
        self.newest_us = self.newest_us.max(gift.time_us);
        Ok(())
    }

    /// What the user's open of this gift comes to at this time, in microseconds since 1970.
    pub fn decide_open(&self, user: UserId, gift: GiftId, time_us: u64) -> Opening {
        let number = gift.number();
        if gift.server() != self.server || number == 0 || number >= self.store.next_number() {
            return Opening::Closed(GiftClosed::NotYours);
        }
        let Some(gift) = self.store.get(number) else { return Opening::Closed(GiftClosed::Gone) };
        let Some(place) = self.store.place_of(gift, user) else { return Opening::Closed(GiftClosed::NotYours) };
        if gift.has_opened(place) {
            Opening::Again
        } else if gift.shares_left == 0 {
            Opening::Closed(GiftClosed::Gone)
        } else if gift.flags & Gift::REFUNDED != 0 || time_us >= gift.expires_us {
            Opening::Closed(GiftClosed::Expired)
        } else {
            Opening::Share(self.draw(gift))
        }
    }

    /// The next share of a gift that has one: the same whenever it is asked for.
    fn draw(&self, gift: &Gift) -> Cents {
        let mut key = [0; 25];
        key[..16].copy_from_slice(&self.key);
        key[16..24].copy_from_slice(&gift.number.to_le_bytes());
        key[24] = gift.shares_left;
        let mut split = Split::new(gift.left, u64::from(gift.shares_left)).expect("a cent for each share to come");
        split.next(&mut from_key("hongbao 2026 gift share", &key)).expect("a share is left")
    }

    /// What is told of a gift to a recipient who has opened it.
    pub fn opened(&self, user: UserId, gift: GiftId) -> Option<Opened> {
        let gift = self.store.get(gift.number())?;
        let place = self.store.place_of(gift, user).filter(|place| gift.has_opened(*place))?;
        Some(Opened {
            share: self.store.share(gift, place),
            luckiest: self.store.luckiest(gift),
            shares: gift.shares,
            remaining: gift.shares_left,
        })
    }

    /// Who sent a gift and when it is over, in microseconds since 1970.
    pub fn sent(&self, gift: GiftId) -> Option<(UserId, u64)> {
        self.store.get(gift.number()).map(|gift| (gift.sender, gift.expires_us))
    }

    /// The recipients for whom a gift still waits.
    pub fn waited_for(&self, gift: GiftId) -> impl Iterator<Item = UserId> {
        let pending = self.store.get(gift.number()).filter(|gift| gift.is_pending());
        pending.into_iter().flat_map(|gift| {
            gift.places().filter(|place| !gift.has_opened(*place)).map(|place| self.store.recipient(gift, place))
        })
    }

    /// Books a share.
    pub fn open(&mut self, opened: &GiftOpenedRecord) -> Result<(), GiftContradiction> {
        let number = opened.gift.number();
        let Some(gift) = self.store.get(number).copied().filter(Gift::is_pending) else {
            return Err(GiftContradiction::NoGift);
        };
        let place = self.store.place_of(&gift, opened.user).filter(|place| !gift.has_opened(*place));
        let Some(place) = place else { return Err(GiftContradiction::Opener) };
        let to_come = u64::from(gift.shares_left - 1);
        let left = gift.left.checked_sub(opened.share).filter(|left| left.0 >= to_come);
        let Some(left) = left.filter(|left| opened.share.0 > 0 && (to_come > 0 || left.0 == 0)) else {
            return Err(GiftContradiction::Share);
        };
        let entry = Store::entry(&gift, place);
        self.stop_waiting(opened.user, entry);
        self.store.set_share(entry, opened.share);
        let gift = self.store.get_mut(number).expect("just looked at");
        gift.left = left;
        gift.shares_left -= 1;
        gift.opened |= 1 << place;
        let over = gift.shares_left == 0;
        self.purses.credit(opened.user, opened.share);
        add(&mut self.totals.opened, opened.share);
        self.totals.pending.1 -= opened.share.0;
        self.newest_us = self.newest_us.max(opened.time_us);
        if over {
            self.finish(number);
        }
        Ok(())
    }

    /// The gift whose time is over and of which something is left, and what that is.
    pub fn due(&mut self, time_us: u64) -> Option<(GiftId, Cents)> {
        let number = self.due.first(&self.store, time_us)?;
        let left = self.store.get(number).expect("what is due is there").left;
        Some((GiftId::new(self.server, number), left))
    }

    /// Books what goes back.
    pub fn refund(&mut self, refund: &GiftRefundedRecord) -> Result<(), GiftContradiction> {
        let number = refund.gift.number();
        let Some(gift) = self.store.get_mut(number).filter(|gift| gift.is_pending()) else {
            return Err(GiftContradiction::NoGift);
        };
        if gift.left != refund.amount {
            return Err(GiftContradiction::Refund);
        }
        gift.flags |= Gift::REFUNDED;
        let (sender, house) = (gift.sender, gift.flags & Gift::HOUSE != 0);
        if house {
            self.totals.house_cents -= refund.amount.0;
        } else {
            self.purses.credit(sender, refund.amount);
        }
        add(&mut self.totals.refunded, refund.amount);
        self.totals.pending.1 -= refund.amount.0;
        self.newest_us = self.newest_us.max(refund.time_us);
        self.finish(number);
        Ok(())
    }

    /// A gift is all opened or over: nobody waits for it any more, and some time it is forgotten.
    fn finish(&mut self, number: u64) {
        let gift = *self.store.get(number).expect("it was just booked");
        for place in gift.places().filter(|place| !gift.has_opened(*place)) {
            self.stop_waiting(self.store.recipient(&gift, place), Store::entry(&gift, place));
        }
        self.totals.pending.0 -= 1;
        self.finished.push_back(number);
        if self.finished.len() > self.finished_max {
            let oldest = self.finished.pop_front().expect("there are many");
            self.store.forget(oldest);
        }
    }

    fn stop_waiting(&mut self, user: UserId, entry: u32) {
        let purse = self.purses.get_mut(user);
        purse.waiting_count -= 1;
        self.store.unlink(&mut purse.waiting, entry);
    }

    /// The gifts with numbers below `durable` that wait for a user and are not over at this time: the oldest ones behind `after`, as many as
    /// `shown` has room for, which is cleared first. Returns how many wait in all, whatever their time.
    ///
    /// The walk is bounded: where it does not get to `after`, the list goes on from where it got to.
    pub fn waiting(&self, user: UserId, after: GiftId, durable: u64, time_us: u64, shown: &mut Vec<Waits>) -> u32 {
        shown.clear();
        let Some(purse) = self.purses.get(user).filter(|purse| purse.waiting != NONE) else { return 0 };
        let mut entry = purse.waiting;
        for step in 0..purse.waiting_count {
            let gift = self.store.gift_of(entry);
            if shown.len() == shown.capacity() || gift.number >= durable {
                break;
            }
            let wanted = gift.number > after.number() || step >= GIFT_LIST_STEPS_MAX;
            if wanted && gift.expires_us > time_us {
                let id = GiftId::new(self.server, gift.number);
                shown.push(Waits { gift: id, sender: gift.sender, expires_us: gift.expires_us });
            }
            entry = self.store.next_of(entry);
        }
        purse.waiting_count
    }

    /// Bytes in use for gifts and their recipients; users apart. What the tables have room for beyond is address space.
    pub fn bytes(&self) -> usize {
        self.store.bytes() + self.finished.len() * size_of::<u64>()
    }

    /// How many gifts wait for a user.
    pub fn waiting_count(&self, user: UserId) -> u32 {
        self.purses.get(user).map_or(0, |purse| purse.waiting_count)
    }
}

/// What is wrong with an order whoever sends it, and whenever.
fn check(order: &Order) -> Result<(), GiftRefusal> {
    let recipients = order.recipients.as_slice();
    if order.shares == 0 {
        Err(GiftRefusal::NoShares)
    } else if usize::from(order.shares) > recipients.len() {
        Err(GiftRefusal::TooManyShares)
    } else if order.total.0 < u64::from(order.shares) {
        Err(GiftRefusal::TooFewCents)
    } else if order.total.0 > GIFT_CENTS_MAX {
        Err(GiftRefusal::TotalTooLarge)
    } else if recipients.contains(&order.sender) {
        Err(GiftRefusal::SenderNamed)
    } else if (1..recipients.len()).any(|at| recipients[..at].contains(&recipients[at])) {
        Err(GiftRefusal::RecipientTwice)
    } else {
        Ok(())
    }
}

fn add(total: &mut (u64, u64), amount: Cents) {
    total.0 += 1;
    total.1 = plus(Cents(total.1), amount).0;
}
