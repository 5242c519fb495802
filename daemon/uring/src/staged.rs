//! What the kernel reads of this process's memory while it takes a submission over, and not afterwards: the lists of pieces of the
//! sends that have several, and the addresses of connects. Both are free again once an enter has submitted everything
//! (`IORING_FEAT_SUBMIT_STABLE`, without which no ring is opened).

use nix::libc::{self, iovec, msghdr};
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

use crate::outbox::{Departure, Outboxes, SLOTS_PER_SEND_MAX};

/// Sends of several pieces that one turn may stage; more are submitted in between.
const GATHERS_MAX: usize = 64;

/// Connects that one turn may stage; more are submitted in between.
const ADDRESSES_MAX: usize = 256;

/// A message of several pieces.
struct Gather {
    header: msghdr,
    pieces: [iovec; SLOTS_PER_SEND_MAX],
}

/// Both, in memory that does not move: the vectors never grow beyond their first capacity.
pub(crate) struct Staged {
    gathers: Vec<Gather>,
    addresses: Vec<SockaddrStorage>,
}

impl Staged {
    pub(crate) fn new() -> Self {
        Self { gathers: Vec::with_capacity(GATHERS_MAX), addresses: Vec::with_capacity(ADDRESSES_MAX) }
    }

    /// Whether all is used up, so that what was staged must be submitted first.
    pub(crate) fn is_full(&self) -> bool {
        self.gathers.len() == GATHERS_MAX || self.addresses.len() == ADDRESSES_MAX
    }

    /// Everything staged was submitted.
    pub(crate) fn clear(&mut self) {
        self.gathers.clear();
        self.addresses.clear();
    }

    /// The message that sends a departing chain. Valid until `clear`.
    pub(crate) fn gather(&mut self, outboxes: &Outboxes, departure: Departure) -> *const msghdr {
        assert!(self.gathers.len() < GATHERS_MAX, "a staging place is asked for when all are used");
        let mut pieces = [iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; SLOTS_PER_SEND_MAX];
        let mut number = departure.first;
        for piece in &mut pieces[..departure.slots] {
            let (start, length, next) = outboxes.piece(number);
            *piece = iovec { iov_base: start.cast_mut().cast(), iov_len: length };
            number = next;
        }
        // SAFETY: a message header is made of integers and pointers, for all of which zero is a value.
        let header: msghdr = unsafe { std::mem::zeroed() };
        self.gathers.push(Gather { header, pieces });
        let index = self.gathers.len() - 1;
        let gather = &mut self.gathers[index];
        gather.header.msg_iov = gather.pieces.as_mut_ptr();
        gather.header.msg_iovlen = departure.slots;
        &raw const gather.header
    }

    /// An address in the kernel's form. Valid until `clear`.
    pub(crate) fn address(&mut self, address: std::net::SocketAddr) -> (*const libc::sockaddr, libc::socklen_t) {
        assert!(self.addresses.len() < ADDRESSES_MAX, "a staging place is asked for when all are used");
        self.addresses.push(SockaddrStorage::from(address));
        let staged = &self.addresses[self.addresses.len() - 1];
        (staged.as_ptr(), staged.len())
    }
}
