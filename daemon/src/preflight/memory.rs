//! What a connection takes of the memory, by kind: the figures that were measured, and what follows for so many.
//!
//! The kernel's are object sizes of Linux 6.18, as `/proc/slabinfo` tells them; `cargo bench` holds the sum against what the kernel's
//! slabs grow by. They are of the server's end: the client's is about as large, and on the same host where it runs there.

use serde::Serialize;

use super::Wishes;
use crate::limits::{self, CONNECTION_BYTES_MAX};

/// Whose memory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// The kernel's, not part of the daemon's resident memory.
    Kernel,
    /// The daemon's.
    Daemon,
}

impl Owner {
    /// As printed.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Daemon => "daemon",
        }
    }
}

/// One kind of memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kind {
    /// Whose.
    pub owner: Owner,
    /// What it is.
    pub what: &'static str,
    /// Bytes of one.
    pub bytes: u64,
    /// What there is one of for each of these.
    pub per: &'static str,
    /// How many.
    pub count: u64,
}

impl Kind {
    /// Bytes of all.
    pub fn total(&self) -> u64 {
        self.bytes * self.count
    }
}

/// What the kernel keeps of one connection, whatever the descriptors.
const SOCKET: [(&str, u64); 5] = [
    ("TCP socket (slab TCP)", 2368),
    ("socket's inode (sock_inode_cache)", 832),
    ("file (filp)", 192),
    ("name (dentry)", 192),
    ("security labels (lsm_inode_cache, lsm_file_cache)", 56),
];

/// What a multishot poll takes: its request.
const POLL_BYTES: u64 = 256;
/// A slot in a ring's table, and its node.
const DIRECT_DESCRIPTOR_BYTES: u64 = 8 + 32;
/// A slot in the process's table, with its bits.
const PLAIN_DESCRIPTOR_BYTES: u64 = 9;

/// Where a user is connected, for notices of gifts; a test of the directory holds the bound.
const DIRECTORY_BYTES: u64 = 24;

/// Bytes of a request to the ledger, and of its answer.
const REQUEST_AND_VERDICT_BYTES: u64 =
    (size_of::<crate::messages::Request>() + size_of::<crate::messages::Verdict>()) as u64;
/// What a SET touches besides: its thread's stack, its wheel, its cells, send slots for a turn's answers.
const SET_BESIDES_BYTES: u64 = 144 << 10;
/// Program, libraries, ledger, feeder, metrics.
const PROCESS_BYTES: u64 = 11 << 20;

/// Bytes of the kernel's memory for the server's end of one connection.
pub fn kernel_bytes(direct: bool) -> u64 {
    let descriptor = if direct { DIRECT_DESCRIPTOR_BYTES } else { PLAIN_DESCRIPTOR_BYTES };
    SOCKET.iter().map(|(_, bytes)| bytes).sum::<u64>() + POLL_BYTES + descriptor
}

/// All kinds, for these connections.
pub fn table(wishes: &Wishes) -> Vec<Kind> {
    let connections = |owner, what, bytes| Kind { owner, what, bytes, per: "connection", count: wishes.connections };
    let sets = |what, bytes| Kind { owner: Owner::Daemon, what, bytes, per: "SET", count: wishes.sets.into() };
    let mut kinds: Vec<Kind> = SOCKET.iter().map(|(what, bytes)| connections(Owner::Kernel, *what, *bytes)).collect();
    kinds.push(connections(Owner::Kernel, "multishot poll (slab io_kiocb)", POLL_BYTES));
    kinds.push(if wishes.direct {
        connections(Owner::Kernel, "direct descriptor: slot and node", DIRECT_DESCRIPTOR_BYTES)
    } else {
        connections(Owner::Kernel, "plain descriptor", PLAIN_DESCRIPTOR_BYTES)
    });
    let requests = limits::ledger_requests_per_set(wishes.sets as usize) as u64;
    kinds.extend([
        connections(
            Owner::Daemon,
            "place in the slab: user, outbox, deadline links, partial frame",
            CONNECTION_BYTES_MAX as u64,
        ),
        connections(Owner::Daemon, "descriptor's state, and its receive's", 9),
        connections(Owner::Daemon, "user's entry in the ledger's directory, at most", DIRECTORY_BYTES),
        sets("ring: queues and ring of buffers", wishes.ring.locked_bytes),
        sets("receive buffers", wishes.ring.receive_buffer_bytes),
        sets("queues to and from the ledger", requests * REQUEST_AND_VERDICT_BYTES),
        sets("stack, wheel, cells, a turn's answers", SET_BESIDES_BYTES),
        Kind {
            owner: Owner::Daemon,
            what: "program, libraries, ledger, feeder, metrics",
            bytes: PROCESS_BYTES,
            per: "process",
            count: 1,
        },
    ]);
    kinds
}

/// Bytes of all kinds of one owner.
pub fn total(kinds: &[Kind], owner: Owner) -> u64 {
    kinds.iter().filter(|kind| kind.owner == owner).map(Kind::total).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::judge::tests::wishes;

    #[test]
    fn the_table_sums_to_what_is_told_of_a_connection() {
        let wishes = wishes(1_000_000, 52);
        let kinds = table(&wishes);
        assert_eq!(total(&kinds, Owner::Kernel), wishes.connections * kernel_bytes(true));
        let daemon = total(&kinds, Owner::Daemon);
        assert!((90_000_000..135_000_000).contains(&daemon), "{daemon} bytes for a million");
    }
}
