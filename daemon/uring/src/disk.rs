//! The closed set of operations on files, as a trait: [`DiskRing`](crate::DiskRing) is the real one,
//! [`SimulatedDisk`](crate::SimulatedDisk) the one of the tests.
//!
//! One durable write is in flight at a time: a power cut can tear one block at most, which is what lets recovery tell a torn
//! tail from damage.

use std::fmt;
use std::io;

use nix::errno::Errno;

use crate::{Doorbell, Wait};

/// Alignment of a buffer's memory, and the unit that offsets and lengths of writes are multiples of.
pub const DISK_PAGE_BYTES: usize = 4096;

/// How a durable write is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WritePath {
    /// A write to the page cache, linked to an fdatasync. Works on every file system.
    Linked,
    /// `O_DIRECT` and `RWF_DSYNC`: one operation, past the page cache.
    Direct,
}

impl WritePath {
    /// Flags that a file for this path is opened with, besides write access.
    pub const fn open_flags(self) -> i32 {
        match self {
            Self::Linked => 0,
            Self::Direct => nix::libc::O_DIRECT,
        }
    }

    /// Its name in logs and figures.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Linked => "write+fdatasync",
            Self::Direct => "O_DIRECT+RWF_DSYNC",
        }
    }
}

/// Page-aligned memory, zeros at first. It belongs to the disk from [`Disk::write_durable`] until the event that gives it back.
#[derive(Debug)]
pub struct DiskBuffer {
    /// Longer than asked for by up to a page, and never grown, so that it stays where it is.
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl DiskBuffer {
    /// A buffer of this length.
    pub fn new(length: usize) -> Self {
        let memory = vec![0; length + DISK_PAGE_BYTES];
        let start = memory.as_ptr().align_offset(DISK_PAGE_BYTES);
        assert!(start < DISK_PAGE_BYTES, "an offset to the next page exists");
        Self { memory, start, length }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    /// Its bytes, to be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

/// What a durable write was at when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskStage {
    /// Writing.
    Write,
    /// Flushing what was written.
    Flush,
}

/// A durable write failed. What the file holds there is not known; a flush is not to be tried again, since the kernel may have
/// dropped the pages and would then report success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteFailure {
    /// At what.
    pub stage: DiskStage,
    /// Why; `None` where the kernel wrote only a part.
    pub errno: Option<Errno>,
}

impl fmt::Display for WriteFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            DiskStage::Write => "write",
            DiskStage::Flush => "flush",
        };
        match self.errno {
            Some(errno) => write!(f, "the {stage} failed: {errno}"),
            None => write!(f, "the {stage} ended short"),
        }
    }
}

impl std::error::Error for WriteFailure {}

/// What happened.
#[derive(Debug)]
pub enum DiskEvent {
    /// The durable write ended.
    Written {
        /// The buffer, given back.
        buffer: DiskBuffer,
        /// Whether the bytes are on the disk.
        outcome: Result<(), WriteFailure>,
    },
    /// Another thread rang this ring's doorbell.
    Wake,
}

/// The files of one thread. One turn of its loop: `enter` -> `next` until `None` -> work -> `enter`.
pub trait Disk {
    /// A file that can be written to.
    type File: Clone;

    /// Writes the first `length` bytes of `buffer` at `offset` and makes them durable; ends with [`DiskEvent::Written`]. Begins at the
    /// next enter. Panics where a write is in flight, or where `offset` or `length` is no multiple of [`DISK_PAGE_BYTES`].
    fn write_durable(&mut self, file: &Self::File, offset: u64, buffer: DiskBuffer, length: usize);
    /// Wakes the owner of `doorbell` where it sleeps; rides on the next enter.
    fn ring_doorbell(&mut self, doorbell: &Doorbell);
    /// Submits what was prepared, waits, and reaps every completion that is there. An error is fatal to the ring.
    fn enter(&mut self, wait: Wait) -> io::Result<()>;
    /// The next reaped event.
    fn next(&mut self) -> Option<DiskEvent>;
}

/// What [`Disk::write_durable`] asks of its arguments.
pub(crate) fn assert_write_fits(offset: u64, buffer: &DiskBuffer, length: usize) {
    assert!(length > 0 && length <= buffer.length, "a write lies within its buffer");
    assert!(length.is_multiple_of(DISK_PAGE_BYTES) && offset.is_multiple_of(DISK_PAGE_BYTES as u64), "whole pages");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_starts_on_a_page_wherever_it_is_moved() {
        let mut buffers: Vec<_> = (1..9).map(|pages| DiskBuffer::new(pages * DISK_PAGE_BYTES)).collect();
        buffers.reverse();
        for mut buffer in buffers {
            assert!(buffer.bytes().as_ptr().addr().is_multiple_of(DISK_PAGE_BYTES));
            assert!(buffer.bytes_mut().iter().all(|byte| *byte == 0));
        }
    }
}
