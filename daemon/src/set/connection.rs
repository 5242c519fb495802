//! What a connection is to its SET, kept small: a million of them are mostly this.

use hongbao_protocol::UserId;
use hongbao_protocol::wire::CLIENT_SHORT_FRAME_BYTES_MAX;
use hongbao_uring::{Generation, Outbox, Socket, Token};
use slab::Slab;

use super::wheel::{Links, Tick, Timed};
use crate::limits::CONNECTION_BYTES_MAX;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Accepted; hello is to come.
    AwaitingHello,
    /// Hello came; the ledger is asked for the user's wins.
    LoggingIn,
    /// Welcomed.
    Online,
    /// Sent away: its last frame goes out, input is thrown away, and it closes when the peer does or the linger time is over.
    Leaving,
    /// The descriptor goes as soon as the receive has ended and no send is in flight.
    Closing,
}

/// The start of a frame whose rest has not arrived.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Partial {
    bytes: [u8; CLIENT_SHORT_FRAME_BYTES_MAX - 1],
    length: u8,
}

impl Partial {
    /// The length that stands for a frame kept elsewhere.
    const ELSEWHERE: u8 = u8::MAX;

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Keeps `rest`, the start of a frame; false where it is too long.
    #[must_use]
    pub(super) fn keep(&mut self, rest: &[u8]) -> bool {
        let Some(place) = self.bytes.get_mut(..rest.len()) else { return false };
        place.copy_from_slice(rest);
        self.length = rest.len() as u8;
        true
    }

    /// Notes where the start of a long frame is kept.
    pub(super) fn keep_elsewhere(&mut self, place: u8) {
        self.bytes[0] = place;
        self.length = Self::ELSEWHERE;
    }

    /// Where the start of a long frame is kept.
    pub(super) fn elsewhere(&self) -> Option<u8> {
        (self.length == Self::ELSEWHERE).then_some(self.bytes[0])
    }
}

/// A connection: one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Connection {
    pub(super) user: UserId,
    pub(super) outbox: Outbox,
    pub(super) socket: Socket,
    /// Which life of its place it is, below the user's known wins: three bytes and one.
    generation_and_wins: u32,
    pub(super) links: Links,
    /// When the last shake that counted came, in milliseconds of the SET's clock.
    last_shake_ms: u32,
    /// When it is closed unless something moves this.
    pub(super) deadline_tick: Tick,
    pub(super) state: State,
    pub(super) flags: Flags,
    pub(super) partial: Partial,
}

/// The yes-or-no facts, in one byte.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags(u8);

impl Flags {
    /// The connection is being received from, so the terminal completion is still to come.
    pub(super) const RECEIVING: u8 = 1;
    /// In the list of those to flush.
    pub(super) const DIRTY: u8 = 2;
    /// In the list of those whose receive is to be armed again.
    pub(super) const REARM: u8 = 4;
    /// At least one shake counted, so that `last_shake_ms` means something.
    const SHAKEN: u8 = 8;
    /// The sending direction was shut.
    pub(super) const WRITE_SHUT: u8 = 16;
    /// Was welcomed, and so counts as a user online.
    pub(super) const WELCOMED: u8 = 32;

    pub(super) fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    pub(super) fn set(&mut self, flag: u8) {
        self.0 |= flag;
    }

    pub(super) fn clear(&mut self, flag: u8) {
        self.0 &= !flag;
    }

    /// Sets the flag; true where it was not set.
    pub(super) fn raise(&mut self, flag: u8) -> bool {
        let raised = !self.has(flag);
        self.set(flag);
        raised
    }
}

impl Connection {
    pub(super) fn new(socket: Socket, generation: Generation, deadline_tick: Tick) -> Self {
        Self {
            user: UserId(0),
            outbox: Outbox::default(),
            socket,
            generation_and_wins: generation.get() << 8,
            links: Links::default(),
            last_shake_ms: 0,
            deadline_tick,
            state: State::AwaitingHello,
            flags: Flags::default(),
            partial: Partial::default(),
        }
    }

    /// The token of its operations, standing in `slot`.
    pub(super) fn token(&self, slot: u32) -> Token {
        Token { slot, generation: Generation::new(self.generation_and_wins >> 8) }
    }

    /// Envelopes the user is known to have; stops at 255.
    pub(super) fn wins(&self) -> u32 {
        self.generation_and_wins & 0xFF
    }

    /// The ledger told how many envelopes the user has. It never gets fewer.
    pub(super) fn know_wins(&mut self, wins: u32) {
        let wins = wins.min(0xFF).max(self.wins());
        self.generation_and_wins = self.generation_and_wins & !0xFF | wins;
    }

    /// Milliseconds since the last shake that counted.
    pub(super) fn since_last_shake_ms(&self, now_ms: u32) -> Option<u32> {
        self.flags.has(Flags::SHAKEN).then(|| now_ms.wrapping_sub(self.last_shake_ms))
    }

    /// Counts a shake for the interval.
    pub(super) fn shaken(&mut self, now_ms: u32) {
        self.last_shake_ms = now_ms;
        self.flags.set(Flags::SHAKEN);
    }

    /// Whether its input still counts.
    pub(super) fn listens(&self) -> bool {
        matches!(self.state, State::AwaitingHello | State::LoggingIn | State::Online)
    }
}

impl Timed for Slab<Connection> {
    fn links(&mut self, slot: u32) -> &mut Links {
        &mut self[slot as usize].links
    }

    fn deadline_tick(&self, slot: u32) -> Tick {
        self[slot as usize].deadline_tick
    }
}

/// What the slab stores a place: the same shape as its private entry type.
#[allow(dead_code)]
enum SlabEntry {
    Vacant(usize),
    Occupied(Connection),
}

/// Bytes of user-space memory an idle connection takes: its place in the slab. (The lists of a turn's work are touched only as deep as
/// one turn's work goes.)
pub(super) const IDLE_BYTES: usize = size_of::<SlabEntry>();

const _: () = assert!(IDLE_BYTES <= CONNECTION_BYTES_MAX);
