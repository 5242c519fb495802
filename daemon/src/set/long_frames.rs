//! Unfinished frames that are too long for a connection's own memory: gifts on their way in, which TCP cut in two.
//!
//! A connection keeps up to 15 bytes itself, as a million of them are mostly that; a gift may be 280. It is rarely cut, and its rest is
//! rarely far behind, so a few places serve a whole SET. Where all are taken, the connection that has had one longest gives way and is
//! closed: whoever sends halves of gifts and leaves it at that holds up nobody but the like.

use hongbao_protocol::wire::CLIENT_FRAME_BYTES_MAX;
use hongbao_uring::Token;

use crate::limits::LONG_FRAMES_PER_SET;

/// The start of one connection's frame.
#[derive(Debug)]
struct Place {
    owner: Option<Token>,
    length: u16,
    bytes: [u8; CLIENT_FRAME_BYTES_MAX],
}

/// All of a SET.
#[derive(Debug)]
pub(super) struct LongFrames {
    places: Box<[Place]>,
    /// The place that was taken longest ago.
    oldest: usize,
}

impl LongFrames {
    pub(super) fn new() -> Self {
        let place = |_| Place { owner: None, length: 0, bytes: [0; CLIENT_FRAME_BYTES_MAX] };
        Self { places: (0..LONG_FRAMES_PER_SET).map(place).collect(), oldest: 0 }
    }

    /// Keeps the start of a frame. Returns its place, and the connection that had to give way.
    pub(super) fn keep(&mut self, owner: Token, start: &[u8]) -> (u8, Option<Token>) {
        let index = self.places.iter().position(|place| place.owner.is_none()).unwrap_or(self.oldest);
        if self.places[index].owner.is_some() {
            self.oldest = (self.oldest + 1) % self.places.len();
        }
        let place = &mut self.places[index];
        let given_way = place.owner.replace(owner);
        place.length = start.len() as u16;
        place.bytes[..start.len()].copy_from_slice(start);
        (index as u8, given_way)
    }

    /// Takes the start of this connection's frame out of a place, into `joined`; its length, or `None` where it had to give way.
    pub(super) fn take(&mut self, index: u8, owner: Token, joined: &mut [u8; CLIENT_FRAME_BYTES_MAX]) -> Option<usize> {
        let place = &mut self.places[usize::from(index)];
        if place.owner != Some(owner) {
            return None;
        }
        place.owner = None;
        let length = usize::from(place.length);
        joined[..length].copy_from_slice(&place.bytes[..length]);
        Some(length)
    }
}

#[cfg(test)]
mod tests {
    use hongbao_uring::Generation;

    use super::*;

    fn token(slot: u32) -> Token {
        Token { slot, generation: Generation::new(1) }
    }

    #[test]
    fn whoever_never_finishes_gives_way_and_is_named() {
        let mut frames = LongFrames::new();
        let mut joined = [0; CLIENT_FRAME_BYTES_MAX];
        for slot in 0..LONG_FRAMES_PER_SET as u32 {
            assert_eq!(frames.keep(token(slot), &[slot as u8; 100]).1, None);
        }
        let (place, given_way) = frames.keep(token(900), &[9; 279]);
        assert_eq!(given_way, Some(token(0)));
        assert_eq!(frames.take(place, token(0), &mut joined), None);
        assert_eq!(frames.take(place, token(900), &mut joined), Some(279));
        assert_eq!(joined[..279], [9; 279]);
        assert_eq!(frames.keep(token(901), &[1; 20]), (place, None), "a place that is free is taken first");
    }
}
