//! The closed set of operations on connections, as a trait: [`Ring`](crate::Ring) is the real one,
//! [`SimulatedNetwork`](crate::simulated::SimulatedNetwork) the one of the tests.
//!
//! One turn of a loop: `enter` (submit everything, wait, reap everything) -> `next` until `None`, handling each before the next
//! call of `next` -> `flush` each outbox that was written to -> `enter`. Nothing is submitted by the calls between two enters
//! (but for a full submission queue, which is pushed on without waiting).

use std::io;

use nix::errno::Errno;

use crate::{Doorbell, Outbox, Token, Wait};

/// A connection's descriptor: an entry of the ring's own table, or a plain file descriptor. Not clonable, and
/// consumed by `close`, so that it cannot be used afterwards.
#[derive(Debug, PartialEq, Eq)]
pub struct Socket(pub(crate) u32);

/// Bytes that arrived, in a buffer lent by the ring. Give it back with [`Network::give_back`], whatever comes.
#[derive(Debug)]
pub struct Received {
    pub(crate) buffer: u16,
    pub(crate) length: u32,
}

/// How one step of a receive went.
#[derive(Debug)]
pub enum Receive {
    /// Bytes, at least one.
    Data(Received),
    /// The peer sends no more.
    EndOfFile,
    /// No buffer was free: re-arm once some were given back.
    NoBuffers,
    /// The connection failed.
    Failed(Errno),
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The multishot accept. Its token is the one given to `accept`.
    Accept {
        /// The new connection.
        outcome: Result<Socket, Errno>,
        /// Whether the accept is still armed.
        more: bool,
    },
    /// The receive of a connection.
    Receive {
        /// What came.
        outcome: Receive,
        /// Whether the receive is still armed. False is the terminal completion.
        more: bool,
    },
    /// A send that the enter did not finish on the spot: hand the outcome to `sent`.
    Send {
        /// Bytes sent, or why none were.
        outcome: Result<u32, Errno>,
    },
    /// A connect ended. (Load generator.)
    Connect {
        /// How.
        outcome: Result<(), Errno>,
    },
    /// Another thread rang this ring's doorbell. Its token means nothing.
    Wake,
}

/// One completion: whose, and what.
#[derive(Debug)]
pub struct Completion {
    /// As given with the operation.
    pub token: Token,
    /// What happened.
    pub event: Event,
}

/// No room: the connection's bound or the ring's send slots are used up. Close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxFull;

/// Where an outbox stands after a send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All is sent.
    Empty,
    /// More waits: flush it again at the end of this turn.
    More,
    /// The connection is broken; the outbox was emptied.
    Failed(Errno),
}

/// What the ring has done since it was made; plain counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkCounters {
    /// Calls of `io_uring_enter`.
    pub enters: u64,
    /// Completions reaped.
    pub completions: u64,
    /// Sends submitted.
    pub sends: u64,
    /// Sends that could not be finished within the enter.
    pub sends_deferred: u64,
    /// Times a receive found no buffer.
    pub buffers_exhausted: u64,
    /// Times the completion queue overflowed (nothing is lost, but multishots end).
    pub completion_overflows: u64,
    /// Wake-ups sent to other rings.
    pub wakes_sent: u64,
}

impl NetworkCounters {
    /// Those of two rings together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.each_with(other, std::ops::Add::add)
    }

    /// What was done since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        self.each_with(earlier, std::ops::Sub::sub)
    }

    fn each_with(self, other: Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            enters: of(self.enters, other.enters),
            completions: of(self.completions, other.completions),
            sends: of(self.sends, other.sends),
            sends_deferred: of(self.sends_deferred, other.sends_deferred),
            buffers_exhausted: of(self.buffers_exhausted, other.buffers_exhausted),
            completion_overflows: of(self.completion_overflows, other.completion_overflows),
            wakes_sent: of(self.wakes_sent, other.wakes_sent),
        }
    }
}

/// The connections of one thread. See the module's text for the turn.
pub trait Network {
    /// Arms the multishot accept on this ring's listener.
    fn accept(&mut self, token: Token);
    /// Ends the multishot accept: its terminal completion (`more: false`) follows, with ECANCELED or a last connection.
    fn stop_accepting(&mut self);
    /// Receives from a connection from now on, until [`Event::Receive`] says that there is no more.
    fn receive(&mut self, socket: &Socket, token: Token);
    /// The bytes of a buffer that was lent.
    fn bytes(&self, received: &Received) -> &[u8];
    /// Gives a lent buffer back; the kernel may fill it from the next enter on.
    fn give_back(&mut self, received: Received);
    /// Adds bytes to what a connection is to be sent. Nothing moves before `flush`.
    fn append(&mut self, outbox: &mut Outbox, bytes: &[u8]) -> Result<(), OutboxFull>;
    /// Sends what the outbox holds, unless a send of this connection is in flight. At most once a connection and turn.
    fn flush(&mut self, socket: &Socket, token: Token, outbox: &mut Outbox);
    /// Takes the outcome of an [`Event::Send`] of this outbox, before the next call of `next`.
    fn sent(&mut self, outbox: &mut Outbox, outcome: Result<u32, Errno>) -> Sent;
    /// Whether everything appended has left: no byte waits and no send is in flight. False while it is not known yet: a send
    /// counts as in flight until `next` has returned `None` after the enter that made it.
    fn is_sent(&self, outbox: &Outbox) -> bool;
    /// Throws away what is not in flight; for a connection that is given up.
    fn discard(&mut self, outbox: &mut Outbox);
    /// Ends both directions: an armed receive ends with its terminal completion, a send in flight fails. No completion of its own.
    fn shutdown(&mut self, socket: &Socket);
    /// Ends the sending direction: the peer reads the end of file after what was sent. No completion of its own.
    /// Goes out after the sends flushed before it.
    fn shutdown_write(&mut self, socket: &Socket);
    /// Closes the descriptor. The receive has ended and no send is in flight. No completion of its own.
    fn close(&mut self, socket: Socket);
    /// Wakes the owner of `doorbell` where it sleeps; rides on the next enter.
    fn ring_doorbell(&mut self, doorbell: &Doorbell);
    /// Submits what was prepared, waits, and reaps every completion that is there.
    fn enter(&mut self, wait: Wait) -> io::Result<()>;
    /// Whether an enter that does not wait would do anything. A look at memory, without a system call.
    fn has_work(&mut self) -> bool;
    /// Submits what was prepared, without waiting and without reaping: for a thread that turns to another ring now.
    fn submit(&mut self);
    /// The next reaped completion. Handle all before the next enter.
    fn next(&mut self) -> Option<Completion>;
    /// Completions reaped by the last enter.
    fn reaped(&self) -> u32;
    /// What the ring has done so far.
    fn counters(&self) -> NetworkCounters;
}
