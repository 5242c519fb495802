//! Durable writes on a ring of their own.

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use io_uring::opcode;
use io_uring::squeue::Flags;
use io_uring::types::{Fd, FsyncFlags};
use nix::errno::Errno;
use nix::libc::RWF_DSYNC;

use crate::core::{Reaped, RingCore};
use crate::disk::{Disk, DiskBuffer, DiskEvent, DiskStage, WriteFailure, WritePath, assert_write_fits};
use crate::operation::{Kind, kind_of, token_of, user_data};
use crate::set_up::{Features, Sizes};
use crate::{Doorbell, Generation, Token, Unavailable, Wait};

/// A write, its flush, and a wake-up for each of many SETs; more wake-ups are submitted on the way.
const SIZES: Sizes = Sizes { submissions: 128, completions: 512 };

/// Completions that one enter may reap without an allocation: each SET rings at most once while this thread sleeps.
const REAPED_MAX: usize = 1024;

/// Files on a ring. Belongs to the thread that made it.
pub struct DiskRing {
    core: RingCore,
    path: WritePath,
    generation: Generation,
    flight: Option<Flight>,
}

/// The write that is in the kernel's hands, and all that it needs to stay there.
struct Flight {
    buffer: DiskBuffer,
    /// Keeps the descriptor open until the write has ended.
    _file: Arc<File>,
    length: usize,
}

impl DiskRing {
    /// Makes a ring on the calling thread and tells `doorbell` of it.
    pub fn open(path: WritePath, doorbell: &Doorbell) -> Result<Self, Unavailable> {
        let core = RingCore::open(SIZES, REAPED_MAX)?;
        let refused =
            |error: io::Error| Unavailable::refused("dup", Errno::from_raw(error.raw_os_error().unwrap_or(0)));
        core.attach(doorbell).map_err(refused)?;
        Ok(Self { core, path, generation: Generation::default(), flight: None })
    }

    /// What the kernel gave.
    pub fn features(&self) -> Features {
        self.core.features()
    }

    /// One completion ends the write: its own where it is the only part or failed, else that of the flush linked to it. (A failed
    /// or short write cancels its flush, which then has no completion, as the write was to have none.)
    fn ended(&mut self, kind: Kind, reaped: Reaped) -> DiskEvent {
        assert!(token_of(reaped.user_data).generation == self.generation, "a completion of the write in flight");
        let flight = self.flight.take().expect("a completion belongs to a write in flight");
        let outcome = match (kind, reaped.outcome()) {
            (Kind::Write, Err(errno)) => Err(WriteFailure { stage: DiskStage::Write, errno: Some(errno) }),
            (Kind::Write, Ok(bytes)) if bytes as usize != flight.length => {
                Err(WriteFailure { stage: DiskStage::Write, errno: None })
            }
            (_, Err(errno)) => Err(WriteFailure { stage: DiskStage::Flush, errno: Some(errno) }),
            (_, Ok(_)) => Ok(()),
        };
        DiskEvent::Written { buffer: flight.buffer, outcome }
    }
}

impl Disk for DiskRing {
    type File = Arc<File>;

    fn write_durable(&mut self, file: &Arc<File>, offset: u64, buffer: DiskBuffer, length: usize) {
        assert!(self.flight.is_none(), "one write is in flight at a time");
        assert_write_fits(offset, &buffer, length);
        self.generation = self.generation.next();
        let token = Token { slot: 0, generation: self.generation };
        let descriptor = Fd(file.as_raw_fd());
        let write = opcode::Write::new(descriptor, buffer.bytes().as_ptr(), length as u32).offset(offset);
        // From here on the buffer and the descriptor live in `flight`, until the completion came or, should `self` be dropped
        // before, for ever.
        self.flight = Some(Flight { buffer, _file: Arc::clone(file), length });
        let written = user_data(Kind::Write, token);
        match self.path {
            WritePath::Direct => {
                let write = write.rw_flags(RWF_DSYNC).build().user_data(written);
                // SAFETY: the entry points to `length` bytes of the buffer, as asserted above. Moving a `DiskBuffer` does not move
                // its memory; `flight` keeps it, lends it to nobody, and gives it out only in `ended`, after the write's
                // completion; `drop` leaks it.
                unsafe { self.core.push(&write) };
            }
            WritePath::Linked => {
                let write = write.build().flags(Flags::IO_LINK | Flags::SKIP_SUCCESS).user_data(written);
                let flush = opcode::Fsync::new(descriptor).flags(FsyncFlags::DATASYNC).build();
                let flush = flush.user_data(user_data(Kind::Flush, token));
                // SAFETY: as above for the write; the flush points to no memory, and `flight` keeps its descriptor open.
                unsafe { self.core.push_together(&[write, flush]) };
            }
        }
    }

    fn ring_doorbell(&mut self, doorbell: &Doorbell) {
        self.core.wake(doorbell);
    }

    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        self.core.enter(wait)
    }

    fn next(&mut self) -> Option<DiskEvent> {
        loop {
            let reaped = self.core.next()?;
            match kind_of(reaped.user_data) {
                kind @ (Kind::Write | Kind::Flush) => return Some(self.ended(kind, reaped)),
                Kind::Wake => return Some(DiskEvent::Wake),
                // Only failed ones complete: that thread's ring is gone.
                Kind::WakeSent => {}
                kind => unreachable!("no {kind:?} is ever submitted here"),
            }
        }
    }
}

impl Drop for DiskRing {
    /// The kernel may still read the buffer of a write that has not ended, even after the ring is closed: it is leaked.
    fn drop(&mut self) {
        if let Some(flight) = self.flight.take() {
            mem::forget(flight);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    use super::*;
    use crate::disk::DISK_PAGE_BYTES;

    const SECOND: Wait = Wait { want: 1, min_wait_us: 0, timeout_us: 1_000_000 };

    fn open_file(path: &Path, write_path: WritePath, writable: bool) -> Arc<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(writable).custom_flags(write_path.open_flags());
        Arc::new(options.open(path).expect("the file is there"))
    }

    fn finish(ring: &mut DiskRing) -> (DiskBuffer, Result<(), WriteFailure>) {
        for _ in 0..30 {
            ring.enter(SECOND).expect("enter");
            if let Some(DiskEvent::Written { buffer, outcome }) = ring.next() {
                return (buffer, outcome);
            }
        }
        panic!("not written within 30 s");
    }

    #[test]
    fn both_paths_write_what_was_asked_where_it_was_asked() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.as_file().set_len(64 * 1024).expect("grown");
        for (path, fill) in [(WritePath::Linked, 0xA1), (WritePath::Direct, 0xB2)] {
            let mut ring = DiskRing::open(path, &Doorbell::default()).expect("io_uring works here");
            let target = open_file(file.path(), path, true);
            let mut buffer = DiskBuffer::new(4 * DISK_PAGE_BYTES);
            for round in 1..4_usize {
                buffer.bytes_mut().fill(fill + round as u8);
                ring.write_durable(&target, (round * DISK_PAGE_BYTES) as u64, buffer, DISK_PAGE_BYTES);
                let outcome;
                (buffer, outcome) = finish(&mut ring);
                assert_eq!(outcome, Ok(()), "{}", path.label());
            }
            let bytes = std::fs::read(file.path()).expect("read");
            for (page, bytes) in bytes.chunks(DISK_PAGE_BYTES).enumerate() {
                let expected = if (1..4).contains(&page) { fill + page as u8 } else { 0 };
                assert!(bytes.iter().all(|byte| *byte == expected), "{} page {page}", path.label());
            }
        }
    }

    #[test]
    fn a_write_that_fails_is_told_as_such_and_not_as_its_cancelled_flush() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        for path in [WritePath::Linked, WritePath::Direct] {
            let mut ring = DiskRing::open(path, &Doorbell::default()).expect("io_uring works here");
            let read_only = open_file(file.path(), path, false);
            ring.write_durable(&read_only, 0, DiskBuffer::new(DISK_PAGE_BYTES), DISK_PAGE_BYTES);
            let (_, outcome) = finish(&mut ring);
            assert_eq!(outcome, Err(WriteFailure { stage: DiskStage::Write, errno: Some(Errno::EBADF) }));
        }
    }

    #[test]
    fn dropping_the_ring_with_a_write_in_flight_frees_nothing_the_kernel_may_read() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let target = open_file(file.path(), WritePath::Linked, true);
        let mut ring = DiskRing::open(WritePath::Linked, &Doorbell::default()).expect("io_uring works here");
        ring.write_durable(&target, 0, DiskBuffer::new(DISK_PAGE_BYTES), DISK_PAGE_BYTES);
        ring.enter(Wait { want: 0, min_wait_us: 0, timeout_us: 0 }).expect("enter");
        drop(ring);
        assert!(Arc::strong_count(&target) == 2, "the descriptor stays open as well");
    }

    #[test]
    #[should_panic(expected = "one write is in flight")]
    fn a_second_write_in_flight_is_a_defect_of_the_caller() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let target = open_file(file.path(), WritePath::Linked, true);
        let mut ring = DiskRing::open(WritePath::Linked, &Doorbell::default()).expect("io_uring works here");
        for _ in 0..2 {
            ring.write_durable(&target, 0, DiskBuffer::new(DISK_PAGE_BYTES), DISK_PAGE_BYTES);
        }
    }
}
