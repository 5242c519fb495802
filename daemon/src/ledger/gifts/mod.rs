//! Gifts from user to user: who sent what to whom, who has which share, and what everybody's balance is. Pure: time is an argument,
//! and what looks like chance is computed from a key that the journal holds.
//!
//! | file | noun |
//! |---|---|
//! | `book` | the decisions, and the booking of what was decided |
//! | `store` | the memory of gifts and shares: 56 bytes a gift, 20 a recipient, 4 for its number |
//! | `purse` | a user's balance, and the gifts that wait for them |
//! | `due` | which gift expires next |
//! | `clock` | the time that gifts live by |

mod book;
mod clock;
mod due;
mod purse;
mod store;
#[cfg(test)]
mod tests;

pub use book::{GiftContradiction, GiftOptions, GiftRules, Gifts, Opened, Opening, Order, Sending, Waits};
pub(super) use clock::GiftClock;
