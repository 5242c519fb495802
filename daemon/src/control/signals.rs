//! The signals that ask for an end, as a descriptor: nothing runs in a handler.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Takes SIGTERM and SIGINT of the whole process from here on.
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
        wanted.thread_block()?;
        let descriptor = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { descriptor })
    }

    /// The next signal; `None` where none came within `patience`.
    pub fn wait(&self, patience: Duration) -> io::Result<Option<Signal>> {
        let mut ready = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
        let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        match poll(&mut ready, patience) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let Some(info) = self.descriptor.read_signal()? else { return Ok(None) };
        Ok(Signal::try_from(info.ssi_signo.cast_signed()).ok())
    }
}
