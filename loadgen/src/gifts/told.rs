//! What a thread tells the main thread of gifts: what the audit needs, and the file of claims.

use hongbao_protocol::wire::{GiftClosed, GiftRefusal};
use hongbao_protocol::{Cents, GiftId, UserId};

use super::named::Named;

/// One event. Times are nanoseconds of the run's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A gift was granted.
    Sent(Sent),
    /// A share was told.
    Opened(Opened),
    /// A request that had been granted was refused when it was repeated.
    Denied {
        /// What it had been granted as.
        gift: GiftId,
        /// Who sent it.
        sender: UserId,
        /// The sender's number for it.
        request: u64,
        /// Why.
        reason: GiftRefusal,
    },
    /// An open came to nothing, for good.
    Closed {
        /// Which gift.
        gift: GiftId,
        /// Who tried.
        user: UserId,
        /// Why.
        reason: GiftClosed,
        /// Whether this user had been told a share of it before.
        had_share: bool,
        /// As in [`Opened`].
        noticed_ns: u64,
    },
}

/// A gift that was granted, or told of again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its id.
    pub gift: GiftId,
    /// Who sent it.
    pub sender: UserId,
    /// The sender's number for it.
    pub request: u64,
    /// What is in it.
    pub total: Cents,
    /// Its shares.
    pub shares: u16,
    /// Whom it is for.
    pub named: Named,
    /// Whether the server marked its answer as a repeated one.
    pub again: bool,
    /// What an answer to the same request named before.
    pub before: Option<GiftId>,
    /// When it was handed to the kernel.
    pub sent_ns: u64,
    /// When the answer was read.
    pub told_ns: u64,
    /// What the server said: over in so many seconds.
    pub expires_in_s: u32,
    /// The lap whose figures it belongs to; none of a warm-up.
    pub lap: Option<u32>,
}

/// A share, as its user was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Of which gift.
    pub gift: GiftId,
    /// Who has it.
    pub user: UserId,
    /// How much.
    pub share: Cents,
    /// The largest share so far.
    pub luckiest: Cents,
    /// Shares of the gift.
    pub shares: u16,
    /// Whether the server marked it as told before.
    pub again: bool,
    /// When the notice that led to it was read; 0 where it came in a list or is not known.
    pub noticed_ns: u64,
    /// When it was told.
    pub told_ns: u64,
}
