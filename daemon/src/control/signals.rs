//! The signals that ask for an end or for another look at the configuration, as a descriptor: nothing runs in a handler.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Takes SIGTERM, SIGINT and SIGHUP of the whole process from here on.
#[derive(Debug)]
pub struct Signals {
    descriptor: SignalFd,
}

impl Signals {
    /// Blocks the signals in the calling thread and in all that it starts afterwards: call it before the first thread.
    pub fn take() -> io::Result<Self> {
        let mut wanted = SigSet::empty();
        wanted.add(Signal::SIGTERM);
        wanted.add(Signal::SIGINT);
        wanted.add(Signal::SIGHUP);
        wanted.thread_block()?;
        let descriptor = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { descriptor })
    }

    /// The next signal; `None` where none came within `patience`, or one of `others` has something to read before.
    pub fn wait<'a>(
        &'a self,
        patience: Duration,
        others: impl Iterator<Item = BorrowedFd<'a>>,
    ) -> io::Result<Option<Signal>> {
        let all = std::iter::once(self.descriptor.as_fd()).chain(others);
        let mut ready: Vec<PollFd<'_>> = all.map(|one| PollFd::new(one, PollFlags::POLLIN)).collect();
        let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        match poll(&mut ready, patience) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let Some(info) = self.descriptor.read_signal()? else { return Ok(None) };
        Ok(Signal::try_from(info.ssi_signo.cast_signed()).ok())
    }
}
