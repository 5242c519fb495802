//! The receive buffers: lent to the kernel through a ring that both sides share, lent on to the caller with what arrived.
//!
//! A buffer is with the kernel, or lent to the caller (its entry in `lent` is the length of what arrived). The kernel writes to
//! those that were published to it and not handed back in a completion; so a lent one does not change.

use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use nix::errno::Errno;

use crate::core::errno_of;
use crate::driver::Received;
use crate::pages::Pages;

/// The one group of buffers of a ring.
pub(crate) const BUFFER_GROUP: u16 = 0;

/// Fewer buffers are not worth having: below it, want of memory is an error.
pub(crate) const BUFFERS_MIN: u16 = 64;

pub(crate) struct ReceiveBuffers {
    /// The ring of free buffers, shared with the kernel; page-aligned, as it demands.
    ring: Pages,
    data: Pages,
    buffers: u16,
    buffer_bytes: usize,
    /// Buffers given to the kernel so far, modulo 2^16; it learns of those up to here when it is published.
    tail: u16,
    /// By buffer: bytes that the caller holds; 0 where the kernel has it.
    lent: Vec<u16>,
}

impl ReceiveBuffers {
    /// Registers `buffers` (a power of two) of `buffer_bytes` with a ring; half as many, and so on, where memory lacks.
    pub(crate) fn register(submitter: &Submitter<'_>, buffers: u16, buffer_bytes: usize) -> Result<Self, Errno> {
        assert!(buffers.is_power_of_two() && buffers >= BUFFERS_MIN, "{buffers} buffers");
        assert!((1..=usize::from(u16::MAX)).contains(&buffer_bytes), "a length is kept in 16 bits");
        let mut buffers = buffers;
        loop {
            let map = |bytes| Pages::map(bytes).map_err(|error| errno_of(&error));
            let ring = map(usize::from(buffers) * size_of::<BufRingEntry>())?;
            let data = map(usize::from(buffers) * buffer_bytes)?;
            // SAFETY: the ring's pages are mapped until `Pages` is dropped, which is after `unregister`, or after the io_uring
            // is gone, by the order in which the owner drops them.
            let registered =
                unsafe { submitter.register_buf_ring_with_flags(ring.at(0) as u64, buffers, BUFFER_GROUP, 0) };
            match registered.map_err(|error| errno_of(&error)) {
                Ok(()) => {
                    let lent = vec![0; usize::from(buffers)];
                    let mut all = Self { ring, data, buffers, buffer_bytes, tail: 0, lent };
                    (0..buffers).for_each(|buffer| all.put(buffer));
                    all.publish();
                    return Ok(all);
                }
                Err(Errno::ENOMEM) if buffers > BUFFERS_MIN => buffers /= 2,
                Err(errno) => return Err(errno),
            }
        }
    }

    /// The kernel takes no more buffers.
    pub(crate) fn unregister(submitter: &Submitter<'_>) {
        // It fails only where the ring of buffers is not registered, and then nothing is to be undone.
        drop(submitter.unregister_buf_ring(BUFFER_GROUP));
    }

    /// How many there are, and of how many bytes.
    pub(crate) fn size(&self) -> (u16, usize) {
        (self.buffers, self.buffer_bytes)
    }

    fn entry(&self, index: u16) -> *mut BufRingEntry {
        self.ring.at(usize::from(index) * size_of::<BufRingEntry>()).cast()
    }

    /// Writes a buffer's entry behind the last; the kernel does not look there before `publish`.
    fn put(&mut self, buffer: u16) {
        let entry = self.entry(self.tail & (self.buffers - 1));
        // SAFETY: the entry is inside the ring's pages and aligned, since these start at a page and the index is below their
        // number; the kernel reads entries between its head and the published tail only, and this one is behind that; only
        // this thread writes. The tail, which shares the first entry's memory, is read by the kernel and not written.
        let entry = unsafe { &mut *entry };
        entry.set_addr(self.data.at(usize::from(buffer) * self.buffer_bytes) as u64);
        entry.set_len(self.buffer_bytes as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Lets the kernel see the buffers that were given back; once a batch.
    pub(crate) fn publish(&mut self) {
        // SAFETY: the address is that of the ring's first entry, which is mapped and initialised.
        let tail = unsafe { BufRingEntry::tail(self.entry(0)) };
        // SAFETY: the tail is two aligned bytes inside the ring's pages, written by this thread only, and always through this.
        let tail = unsafe { &*tail.cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }

    /// A completion handed a buffer over, with `length` bytes in it. With none in it, it goes straight back.
    pub(crate) fn lend(&mut self, buffer: u16, length: u32) -> Option<Received> {
        assert_eq!(self.lent[usize::from(buffer)], 0, "the kernel filled buffer {buffer}, which it did not have");
        assert!(length as usize <= self.buffer_bytes, "{length} bytes in buffer {buffer}");
        if length == 0 {
            self.put(buffer);
            return None;
        }
        self.lent[usize::from(buffer)] = length as u16;
        Some(Received { buffer, length })
    }

    /// What is in a lent buffer.
    pub(crate) fn bytes(&self, received: &Received) -> &[u8] {
        let length = self.lent[usize::from(received.buffer)];
        assert_eq!(u32::from(length), received.length, "buffer {} was lent by another ring", received.buffer);
        // SAFETY: a lent buffer is not with the kernel, and nothing else writes to the data; it can be given back only through
        // `&mut self`, when this slice is no more. A length of 0, for a buffer not lent, gives an empty slice.
        unsafe { self.data.slice(usize::from(received.buffer) * self.buffer_bytes, usize::from(length)) }
    }

    /// The caller is done with a buffer.
    pub(crate) fn give_back(&mut self, received: &Received) {
        let length = std::mem::replace(&mut self.lent[usize::from(received.buffer)], 0);
        assert_ne!(length, 0, "buffer {} was lent by another ring", received.buffer);
        self.put(received.buffer);
    }

    /// The kernel may still write to the buffers: they stay mapped for good.
    pub(crate) fn keep(&mut self) {
        self.ring.keep();
        self.data.keep();
    }
}
