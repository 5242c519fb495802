//! The records of gifts from user to user.
//!
//! | at | bytes | a gift sent (kind 3, 56 bytes and 8 a recipient) | | at | bytes | a share opened (kind 4, 40 bytes) |
//! |---|---|---|---|---|---|---|
//! | 4 | 2 | shares | | 4 | 4 | zero |
//! | 6 | 2 | 1 where the house paid, else 0 | | 8 | 8 | gift |
//! | 8 | 8 | gift | | 16 | 8 | user |
//! | 16 | 8 | sender | | 24 | 8 | share in cents |
//! | 24 | 8 | request | | 32 | 8 | time |
//! | 32 | 8 | total in cents | | | | **a refund (kind 5, 32 bytes)** |
//! | 40 | 8 | when it is over | | 4 | 4 | zero |
//! | 48 | 8 each | recipients, 1 to 32 | | 8 | 8 | gift |
//! | last 8 | 8 | time | | 16 | 8 | cents that went back |
//! | | | | | 24 | 8 | time |
//!
//! The times are those that gifts live by: they never go back, and so may be ahead of the clock on the wall (`ledger::gifts`).

use hongbao_protocol::wire::{GIFT_RECIPIENTS_MAX, Recipients};
use hongbao_protocol::{Cents, GiftId, UserId};

use super::record::RecordError;
use crate::ledger::gifts::Order;

pub(super) const KIND_SENT: u8 = 3;
pub(super) const KIND_OPENED: u8 = 4;
pub(super) const KIND_REFUNDED: u8 = 5;

const SENT_BYTES: usize = 56;
/// Bytes of the longest gift.
pub const GIFT_SENT_BYTES_MAX: usize = SENT_BYTES + 8 * GIFT_RECIPIENTS_MAX;
const OPENED_BYTES: usize = 40;
const REFUNDED_BYTES: usize = 32;

/// A gift was sent, and paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GiftSentRecord {
    /// Its id.
    pub gift: GiftId,
    /// What was asked for.
    pub order: Order,
    /// Whether the house paid, and not the sender.
    pub house_pays: bool,
    /// When it is over, in microseconds since 1970.
    pub expires_us: u64,
    /// When it was decided, in microseconds since 1970.
    pub time_us: u64,
}

/// A recipient got a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GiftOpenedRecord {
    /// Of which gift.
    pub gift: GiftId,
    /// Who.
    pub user: UserId,
    /// How much.
    pub share: Cents,
    /// When it was decided, in microseconds since 1970.
    pub time_us: u64,
}

/// A gift was over, and what nobody had opened went back to whoever paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GiftRefundedRecord {
    /// Which.
    pub gift: GiftId,
    /// How much.
    pub amount: Cents,
    /// When it was decided, in microseconds since 1970.
    pub time_us: u64,
}

/// Bytes of a gift for so many recipients.
pub(super) const fn sent_bytes(recipients: usize) -> usize {
    SENT_BYTES + 8 * recipients
}

/// Whether a record of a gift may be so long; `None` of another kind.
pub(super) fn fits(kind: u8, bytes: usize) -> Option<bool> {
    match kind {
        KIND_SENT => Some((1..=GIFT_RECIPIENTS_MAX).any(|recipients| bytes == sent_bytes(recipients))),
        KIND_OPENED => Some(bytes == OPENED_BYTES),
        KIND_REFUNDED => Some(bytes == REFUNDED_BYTES),
        _ => None,
    }
}

fn put(place: &mut [u8], at: usize, number: u64) {
    place[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

impl GiftSentRecord {
    pub(super) const fn bytes(&self) -> usize {
        sent_bytes(self.order.recipients.count())
    }

    pub(super) fn encode(&self, place: &mut [u8]) {
        place[4..6].copy_from_slice(&self.order.shares.to_le_bytes());
        place[6..8].copy_from_slice(&u16::from(self.house_pays).to_le_bytes());
        let fixed = [self.gift.0, self.order.sender.0, self.order.request, self.order.total.0, self.expires_us];
        let recipients = self.order.recipients.as_slice().iter().map(|user| user.0);
        for (index, field) in fixed.into_iter().chain(recipients).enumerate() {
            put(place, 8 + 8 * index, field);
        }
    }

    /// Of a record whose length was checked.
    pub(super) fn decode(bytes: &[u8], time_us: u64) -> Result<Self, RecordError> {
        let house_pays = match u16::from_le_bytes([bytes[6], bytes[7]]) {
            0 => false,
            1 => true,
            _ => return Err(RecordError::Field("bits set that must be zero")),
        };
        let mut users = [UserId(0); GIFT_RECIPIENTS_MAX];
        let users = &mut users[..(bytes.len() - SENT_BYTES) / 8];
        for (index, user) in users.iter_mut().enumerate() {
            *user = UserId(number(bytes, 48 + 8 * index));
        }
        let order = Order {
            sender: UserId(number(bytes, 16)),
            request: number(bytes, 24),
            total: Cents(number(bytes, 32)),
            shares: u16::from_le_bytes([bytes[4], bytes[5]]),
            recipients: Recipients::new(users).ok_or(RecordError::Field("no recipient"))?,
        };
        Ok(Self { gift: GiftId(number(bytes, 8)), order, house_pays, expires_us: number(bytes, 40), time_us })
    }
}

impl GiftOpenedRecord {
    pub(super) const BYTES: usize = OPENED_BYTES;

    pub(super) fn encode(&self, place: &mut [u8]) {
        place[4..8].fill(0);
        put(place, 8, self.gift.0);
        put(place, 16, self.user.0);
        put(place, 24, self.share.0);
    }

    pub(super) fn decode(bytes: &[u8], time_us: u64) -> Result<Self, RecordError> {
        zero(&bytes[4..8])?;
        let (gift, user, share) = (GiftId(number(bytes, 8)), UserId(number(bytes, 16)), Cents(number(bytes, 24)));
        Ok(Self { gift, user, share, time_us })
    }
}

impl GiftRefundedRecord {
    pub(super) const BYTES: usize = REFUNDED_BYTES;

    pub(super) fn encode(&self, place: &mut [u8]) {
        place[4..8].fill(0);
        put(place, 8, self.gift.0);
        put(place, 16, self.amount.0);
    }

    pub(super) fn decode(bytes: &[u8], time_us: u64) -> Result<Self, RecordError> {
        zero(&bytes[4..8])?;
        Ok(Self { gift: GiftId(number(bytes, 8)), amount: Cents(number(bytes, 16)), time_us })
    }
}

fn zero(reserved: &[u8]) -> Result<(), RecordError> {
    if reserved.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(RecordError::Field("bits set that must be zero")) }
}
