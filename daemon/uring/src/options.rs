//! What a ring is to be like, what it has become, and why it cannot be.

use std::fmt;
use std::io;

use crate::listener::Listener;
use crate::set_up::{Features, Sizes};
use crate::{Descriptors, Ring, Unavailable};

/// Connections of one ring at most: the largest table that the kernel gives.
pub const CONNECTIONS_MAX: u32 = 1 << 20;

/// Entries of the table beyond the connections: those that are being refused or closed.
pub(crate) const RESERVE_ENTRIES: u32 = 64;

/// Receive buffers: one for each of the first 1,024 connections, so that a small ring whose clients all speak at once never arms a receive
/// again for want of one, and for many connections one for eight, since a turn that finds more is rare; between these bounds. What
/// does not fit waits in the sockets, for the price of arming a receive again.
const RECEIVE_BUFFERS_MIN: u32 = 256;
const RECEIVE_BUFFERS_MAX: u32 = 8192;

/// Receive buffers that all rings of a process have together, and the fewest of one of many. They are for what arrives while a thread does not
/// run, and the threads share the cores; all of a ring's become resident in turn, with entries of its queues for each: 54 rings of 4,096
/// took 30 MB.
const RECEIVE_BUFFERS_IN_ALL: u32 = 65_536;
const RECEIVE_BUFFERS_OF_MANY_MIN: u32 = 1024;

/// What `RingOptions::receive_buffers_max` is to be where a process has so many rings.
pub fn receive_buffers_max(rings: u32) -> u16 {
    let share = (RECEIVE_BUFFERS_IN_ALL / rings.max(1)).max(RECEIVE_BUFFERS_OF_MANY_MIN);
    u16::try_from(share).unwrap_or(u16::MAX)
}

/// Send slots: four for each connection, between these bounds. Memory is touched only as the need grows.
const SEND_SLOTS_MIN: usize = 1024;
const SEND_SLOTS_MAX: usize = 1 << 19;

/// What a ring is to be like.
#[derive(Debug)]
pub struct RingOptions {
    /// Connections that are open at once, at most.
    pub connections: u32,
    /// How they are named to the kernel.
    pub descriptors: Descriptors,
    /// Where they come from; `None` for a ring that only connects.
    pub listener: Option<Listener>,
    /// Bytes of a receive buffer. A client's messages have 16 bytes, so that 64 (one cache line) hold several; a longer read
    /// takes several buffers.
    pub receive_buffer_bytes: u16,
    /// Receive buffers at most, where there are other rings to share the memory with: all of them become resident in turn.
    pub receive_buffers_max: u16,
}

impl RingOptions {
    /// A ring that accepts.
    pub fn listening(connections: u32, listener: Listener) -> Self {
        Self { listener: Some(listener), ..Self::connecting(connections) }
    }

    /// A ring that only connects.
    pub fn connecting(connections: u32) -> Self {
        Self {
            connections,
            descriptors: Descriptors::Auto,
            listener: None,
            receive_buffer_bytes: 64,
            receive_buffers_max: u16::MAX,
        }
    }

    /// Makes the ring, for the calling thread.
    pub fn open(self) -> Result<Ring, RingError> {
        Ring::open(self)
    }
}

/// Why a ring cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// No io_uring, or not enough of it.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The number of connections is out of bounds.
    #[error("{connections} connections for one ring: ask for 1 to {CONNECTIONS_MAX}")]
    Connections {
        /// As asked for.
        connections: u32,
    },
    /// The file limit bounds the table of direct descriptors.
    #[error(
        "{connections} connections for one ring, but the file limit is {limit}: raise it (LimitNOFILE= in the systemd unit, \
         `ulimit -n` in a shell), or ask for fewer connections and more rings"
    )]
    FileLimit {
        /// As asked for.
        connections: u32,
        /// `RLIMIT_NOFILE`, soft.
        limit: u64,
    },
    /// No memory for the send slots.
    #[error("no memory for the send slots of one ring: {0}; free memory, or ask for fewer connections")]
    Memory(io::Error),
}

/// What a ring has become; for the start-up message.
#[derive(Clone, Copy, Debug)]
pub struct RingFeatures {
    /// Of the io_uring itself.
    pub ring: Features,
    /// Whether descriptors are direct.
    pub direct: bool,
    /// Receive buffers.
    pub receive_buffers: u16,
    /// Bytes of each.
    pub receive_buffer_bytes: usize,
}

impl fmt::Display for RingFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let descriptors = if self.direct { "direct" } else { "plain" };
        let Self { ring, receive_buffers, receive_buffer_bytes, .. } = self;
        let (submissions, completions) = (ring.submissions, ring.completions);
        write!(
            f,
            "{descriptors} descriptors, {ring}, {receive_buffers} buffers of {receive_buffer_bytes} bytes, {submissions} submissions, \
             {completions} completions"
        )
    }
}

/// The sizes that follow from the number of connections.
pub(crate) struct RingSizes {
    pub(crate) queues: Sizes,
    pub(crate) receive_buffers: u16,
    pub(crate) send_slots: usize,
    /// Completions that one turn may bring: each poll spoken, each read ended, each send failed, and as many overflown.
    pub(crate) reaped_max: usize,
}

pub(crate) fn sizes(connections: u32, receive_buffers_max: u16) -> RingSizes {
    let most = u32::from(receive_buffers_max).clamp(RECEIVE_BUFFERS_MIN, RECEIVE_BUFFERS_MAX);
    let buffers =
        (connections / 8).max(connections.min(1024)).next_power_of_two().clamp(RECEIVE_BUFFERS_MIN, 1 << most.ilog2());
    // A turn's completions are one for each poll that spoke, one for each buffer, and those of sends that failed.
    let queues = Sizes { submissions: (buffers / 2).min(2048), completions: buffers * 2 };
    RingSizes {
        queues,
        receive_buffers: buffers as u16,
        send_slots: (connections as usize * 4).clamp(SEND_SLOTS_MIN, SEND_SLOTS_MAX),
        reaped_max: (buffers + queues.completions) as usize + 3 * connections as usize,
    }
}
