//! A virtual user: one connection and what is known of it. Shakes under way are the [`window`](crate::window)'s.

use hongbao_uring::{Generation, Outbox, Socket, Token};

use crate::parting::Parting;

/// Where a user stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No connection: never had one, waits for the next attempt, or has given up.
    Away,
    /// Connecting.
    Connecting,
    /// Connected; the hello is on its way or answered by nothing yet.
    LoggingIn,
    /// Logged in: may shake.
    Ready,
    /// Told by the server to go: answers may still come, nothing more is sent.
    Dismissed,
    /// Both directions are shut; waiting for the ring to let go of the connection.
    Leaving,
}

/// See the module's text.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, one byte each; a million of them are kept")]
#[derive(Debug)]
pub struct User {
    /// Bytes to be sent.
    pub outbox: Outbox,
    /// The connection, but in phase `Away`.
    pub socket: Option<Socket>,
    /// Which connection of this user it is.
    pub generation: Generation,
    /// The user waits until this time, in milliseconds of the run's clock; 0: need not wait. Only with `--obey-retry on`.
    pub held_until_ms: u32,
    /// Last send, in milliseconds of the run's clock.
    pub sent_ms: u32,
    /// Place of the partial frame in the thread's store; [`User::NO_PARTIAL`]: none.
    pub partial: u32,
    /// What the server asked to wait before the next attempt to connect, in milliseconds.
    pub retry_after_ms: u32,
    /// Where the user stands.
    pub phase: Phase,
    /// Attempts to connect since the user was last logged in.
    pub attempts: u8,
    /// What the server gave as the reason to go.
    pub dismissal: Option<Parting>,
    /// Whether this connection was logged in.
    pub established: bool,
    /// Whether one of this user's connections was.
    pub known: bool,
    /// Whether the receive is armed.
    pub receiving: bool,
    /// Whether the user is on this turn's list of outboxes to flush.
    pub dirty: bool,
}

const _: () = assert!(size_of::<User>() <= 64, "a user fits a cache line");

impl User {
    /// No partial frame.
    pub const NO_PARTIAL: u32 = u32::MAX;

    /// The token of this user's operations.
    pub const fn token(&self, local: u32) -> Token {
        Token { slot: local, generation: self.generation }
    }
}

impl Default for User {
    /// A user who has no connection yet.
    fn default() -> Self {
        Self {
            outbox: Outbox::default(),
            socket: None,
            generation: Generation::default(),
            held_until_ms: 0,
            sent_ms: 0,
            partial: Self::NO_PARTIAL,
            retry_after_ms: 0,
            phase: Phase::Away,
            attempts: 0,
            dismissal: None,
            established: false,
            known: false,
            receiving: false,
            dirty: false,
        }
    }
}
