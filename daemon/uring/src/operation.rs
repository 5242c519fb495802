//! The closed set of operations, and how each is named in `user_data`: kind 8 bits, generation 24, slot 32.

use crate::{Generation, Token};

/// What kind of operation a completion belongs to. The number stands in the top byte of `user_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Multishot accept.
    Accept = 1,
    /// Multishot poll of a connection; its slot is the descriptor, as for all that a receive is made of.
    Poll,
    /// Removal of such a poll; completes only where it fails.
    PollRemove,
    /// A read that does not wait.
    Read,
    /// A send that may wait for the peer; always completes.
    Send,
    /// A send that ends within the submitting enter; completes only where it fails.
    SendAtOnce,
    /// Connect.
    Connect,
    /// Shutdown; its slot is the descriptor, not a connection.
    Shutdown,
    /// Close; completes only where it fails.
    Close,
    /// Cancellation of other operations.
    Cancel,
    /// A wake-up that another ring sent here.
    Wake,
    /// A wake-up sent to another ring; completes only where it fails.
    WakeSent,
    /// Write to a file.
    Write,
    /// Flush of a file's data.
    Flush,
}

impl Kind {
    const ALL: [Self; 14] = [
        Self::Accept,
        Self::Poll,
        Self::PollRemove,
        Self::Read,
        Self::Send,
        Self::SendAtOnce,
        Self::Connect,
        Self::Shutdown,
        Self::Close,
        Self::Cancel,
        Self::Wake,
        Self::WakeSent,
        Self::Write,
        Self::Flush,
    ];
}

const SLOT_BITS: u32 = 32;
const GENERATION_BITS: u32 = 24;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;
const _: () = assert!(SLOT_BITS + GENERATION_BITS + u8::BITS == u64::BITS);

/// The `user_data` of an operation.
pub(crate) fn user_data(kind: Kind, token: Token) -> u64 {
    (kind as u64) << (SLOT_BITS + GENERATION_BITS)
        | u64::from(token.generation.get()) << SLOT_BITS
        | u64::from(token.slot)
}

/// The kind that a `user_data` names. The kernel hands back only what was submitted, and only rings of this process hold
/// the descriptor that a wake-up is sent to; so another kind is a defect of this crate.
pub(crate) fn kind_of(user_data: u64) -> Kind {
    let number = (user_data >> (SLOT_BITS + GENERATION_BITS)) as usize;
    *Kind::ALL.get(number.wrapping_sub(1)).unwrap_or_else(|| panic!("a completion of unknown kind {number}"))
}

/// The token that a `user_data` names.
pub(crate) fn token_of(user_data: u64) -> Token {
    let generation = Generation::new((user_data >> SLOT_BITS & GENERATION_MASK) as u32);
    Token { slot: user_data as u32, generation }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_kinds_share_a_number_and_tokens_survive_the_round_trip() {
        let tokens = [(0, 0), (u32::MAX, 0x00FF_FFFF), (7, 1)];
        for kind in Kind::ALL {
            for (slot, generation) in tokens {
                let token = Token { slot, generation: Generation::new(generation) };
                let packed = user_data(kind, token);
                assert_eq!((kind_of(packed), token_of(packed)), (kind, token));
            }
        }
    }
}
