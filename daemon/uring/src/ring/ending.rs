//! How a ring ends: what is in flight is ended first, then all is given back.

use std::os::fd::{FromRawFd, OwnedFd};

use io_uring::opcode;
use io_uring::types::CancelBuilder;
use nix::libc::SHUT_RDWR;

use super::Ring;
use crate::buffers::ReceiveBuffers;
use crate::driver::{Network, Socket};
use crate::operation::Kind;
use crate::{Token, Wait};

/// When a ring is dropped: enters in a row that end no operation, each of at most 10 ms, until it is given up.
const DROP_STALLS_MAX: u32 = 100;
const DROP_WAIT_US: u32 = 10_000;
/// Operations that one such enter waits for.
const DROP_WANT_MAX: u64 = 4096;

impl Ring {
    /// Ends every operation in flight. False where the kernel would not, in the time given.
    ///
    /// All of them belong to sockets, so shutting these down ends them, at a cost that grows with their number. One cancellation of
    /// everything would do as well, but searches past what it has cancelled already: a cost that grows with the square, 3 s
    /// for 15,000 connections. It is kept for what a shutdown does not end.
    fn end_all(&mut self) -> bool {
        self.handle_batch();
        self.stop_accepting();
        for number in 0..self.table.len() {
            // Before the shutdowns, which would make every poll speak.
            self.table.receivers.hush(number);
            self.remove_poll(number);
        }
        for number in 0..self.table.len() {
            if self.table.is_untouched(number) {
                self.shut_down(&Socket(number), SHUT_RDWR);
            }
        }
        let mut stalled = 0;
        while stalled < DROP_STALLS_MAX {
            // Also with nothing in flight: closes and sends at once may be in the submission queue.
            let want = self.in_flight.min(DROP_WANT_MAX) as u32;
            let before = self.in_flight;
            if self.core.enter(Wait { want, min_wait_us: 0, timeout_us: DROP_WAIT_US }).is_err() {
                return false;
            }
            let idle = self.core.batch().is_empty();
            self.handle_batch();
            if self.in_flight == 0 && idle {
                return true;
            }
            stalled = if self.in_flight < before { 0 } else { stalled + 1 };
            if stalled == DROP_STALLS_MAX / 2 {
                let entry = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
                self.push_counted(entry, Kind::Cancel, Token::default());
            }
        }
        false
    }

    fn handle_batch(&mut self) {
        while let Some(reaped) = self.core.next() {
            self.completion(reaped);
        }
    }
}

impl Drop for Ring {
    /// Ends what is in flight, then gives everything back. What is registered is unregistered by name, since a doorbell may hold a
    /// duplicate of the ring's descriptor, so that closing ours does not end the ring.
    fn drop(&mut self) {
        if !self.end_all() {
            self.buffers.keep();
            self.outboxes.keep();
        }
        let submitter = self.core.submitter();
        ReceiveBuffers::unregister(&submitter);
        if self.table.is_direct() {
            drop(submitter.unregister_files());
        } else {
            for number in self.table.open() {
                // SAFETY: the table holds descriptors that `accept` made or `adopt` took over; it lists each once, and those whose
                // close was submitted no more.
                drop(unsafe { OwnedFd::from_raw_fd(number.cast_signed()) });
            }
        }
    }
}
