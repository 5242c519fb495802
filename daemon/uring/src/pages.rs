//! Memory that the kernel reads or writes on its own: whole pages, at an address that stays, given back when dropped.

use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::{self, NonNull};

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Zeroed, page-aligned, not resident until touched. Access goes through raw pointers, since the kernel may write at any time to
/// the parts that were lent to it.
pub(crate) struct Pages {
    start: NonNull<u8>,
    bytes: NonZeroUsize,
    kept: bool,
}

impl Pages {
    /// Maps at least `bytes`.
    pub(crate) fn map(bytes: usize) -> io::Result<Self> {
        let bytes = NonZeroUsize::new(bytes).ok_or(Errno::EINVAL)?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe { mmap_anonymous(None, bytes, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) }?;
        Ok(Self { start: start.cast(), bytes, kept: false })
    }

    /// Leaves the mapping in place for good: the kernel could not be brought to let go of it.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }

    /// The address of byte `offset`.
    pub(crate) fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.bytes.get(), "offset {offset} of {} mapped bytes", self.bytes);
        // SAFETY: the offset is within the mapping.
        unsafe { self.start.as_ptr().add(offset) }
    }

    /// Copies `bytes` in, from byte `offset` on.
    ///
    /// # Safety
    ///
    /// The kernel does not write there now, and no slice of that part is alive.
    pub(crate) unsafe fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(bytes.len() <= self.bytes.get() && offset <= self.bytes.get() - bytes.len());
        let target = self.at(offset.min(self.bytes.get() - 1));
        // SAFETY: the target is within the mapping by the assert; a slice the caller holds cannot overlap with it, since
        // no slice of that part is alive by this function's contract.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
    }

    /// The `length` bytes from byte `offset` on.
    ///
    /// # Safety
    ///
    /// While the slice is alive nobody writes there: not the kernel, and not [`Pages::write`].
    pub(crate) unsafe fn slice(&self, offset: usize, length: usize) -> &[u8] {
        assert!(length <= self.bytes.get() && offset <= self.bytes.get() - length);
        let start = self.at(offset.min(self.bytes.get() - 1));
        // SAFETY: within the mapping by the assert, initialised since mapped pages are zeroed, unchanged by the contract.
        unsafe { std::slice::from_raw_parts(start, length) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // SAFETY: this mapping was made by `map` and is unmapped once. Whoever lent parts of it to the kernel drops it only
        // after the kernel is done with them.
        let unmapped = unsafe { munmap(self.start.cast::<c_void>(), self.bytes.get()) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}
