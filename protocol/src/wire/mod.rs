//! The wire format, version 1. `protocol/SPEC.md` is the specification; this is its one implementation.
//!
//! Every frame starts with the same four bytes: total length (u16), kind (u8), flags (u8). All integers are little-endian.

mod client;
mod codec;
mod gift;
mod server;

pub use client::ClientFrame;
pub use codec::{Decoded, Encoded, WireError};
pub use gift::{GiftClosed, GiftRefusal, Recipients};
pub use server::{ErrorCode, GoAwayReason, ServerFrame};

/// The version this code speaks. A hello names the range the client speaks; the welcome names the one chosen.
pub const VERSION: u8 = 1;
/// Bytes of the header that every frame starts with.
pub const HEADER_BYTES: usize = 4;
/// The longest frame a client may send in version 1: a gift for as many recipients as there may be.
pub const CLIENT_FRAME_BYTES_MAX: usize = 24 + 8 * GIFT_RECIPIENTS_MAX;
/// The longest frame of a client that is not a gift it sends.
pub const CLIENT_SHORT_FRAME_BYTES_MAX: usize = 16;
/// Recipients of one gift, at most.
pub const GIFT_RECIPIENTS_MAX: usize = 32;
/// The longest frame a server may send in version 1.
pub const SERVER_FRAME_BYTES_MAX: usize = 48;

/// The version both sides speak, the highest one; `None` where the ranges do not meet.
pub const fn negotiate(version_min: u8, version_max: u8) -> Option<u8> {
    if version_min <= VERSION && VERSION <= version_max { Some(VERSION) } else { None }
}
