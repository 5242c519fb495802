//! What a ring takes of the machine, known before it is made: for those who ask whether a machine can hold so many.

use crate::options::{RESERVE_ENTRIES, sizes};
use crate::set_up::{SIZES_FLOOR, Sizes};

/// Bytes of a page: what the kernel counts in.
const PAGE_BYTES: u64 = 4096;
/// Bytes of a submission, of a completion, and of a buffer's entry in its ring; and of the queues' head, rounded up.
const SUBMISSION_BYTES: u64 = 64;
const COMPLETION_BYTES: u64 = 16;
const BUFFER_ENTRY_BYTES: u64 = 16;
const HEAD_BYTES: u64 = 512;

/// One ring's needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Entries of its table of direct descriptors.
    pub table_entries: u32,
    /// Bytes that count against `RLIMIT_MEMLOCK` where the kernel counts rings (6.14): both queues and the ring of buffers.
    pub locked_bytes: u64,
    /// The same for the smallest ring that is made where memory lacks.
    pub locked_bytes_min: u64,
    /// Bytes of the receive buffers themselves.
    pub receive_buffer_bytes: u64,
}

impl Footprint {
    /// Of a ring for so many connections, with these [`RingOptions`](crate::RingOptions).
    pub fn of(connections: u32, receive_buffers_max: u16, receive_buffer_bytes: u16) -> Self {
        let sizes = sizes(connections, receive_buffers_max);
        Self {
            table_entries: connections + RESERVE_ENTRIES,
            locked_bytes: locked_bytes(sizes.queues, sizes.receive_buffers.into()),
            locked_bytes_min: locked_bytes(SIZES_FLOOR, crate::buffers::BUFFERS_MIN.into()),
            receive_buffer_bytes: u64::from(sizes.receive_buffers) * u64::from(receive_buffer_bytes),
        }
    }
}

fn locked_bytes(queues: Sizes, buffers: u64) -> u64 {
    let regions = [
        u64::from(queues.submissions) * SUBMISSION_BYTES,
        u64::from(queues.completions) * COMPLETION_BYTES + HEAD_BYTES,
        buffers * BUFFER_ENTRY_BYTES,
    ];
    regions.iter().map(|bytes| bytes.next_multiple_of(PAGE_BYTES)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RingOptions;

    #[test]
    fn a_ring_becomes_as_large_as_was_said_before_it_was_made() {
        for (connections, receive_buffers_max) in [(4, u16::MAX), (900, u16::MAX), (900, 300)] {
            let options = RingOptions { receive_buffers_max, ..RingOptions::connecting(connections) };
            let features = options.open().expect("io_uring works here").features();
            let queues = Sizes { submissions: features.ring.submissions, completions: features.ring.completions };
            let said = Footprint::of(connections, receive_buffers_max, 64);
            assert_eq!(said.locked_bytes, locked_bytes(queues, features.receive_buffers.into()));
            let buffers = features.receive_buffer_bytes as u64 * u64::from(features.receive_buffers);
            assert_eq!(said.receive_buffer_bytes, buffers);
            assert!(said.locked_bytes_min <= said.locked_bytes);
        }
    }
}
