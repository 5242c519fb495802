//! SIGINT and SIGTERM as something that can be looked at: the first ends the load, the second the run.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::exit::Failure;

/// Where the signals of the process arrive.
pub struct Interrupts(SignalFd);

impl Interrupts {
    /// Takes both signals over. Call it before any thread is started: threads inherit what is blocked.
    pub fn take_over() -> Result<Self, Failure> {
        let failed = |errno| Failure::error(format!("taking over SIGINT and SIGTERM: {errno}"));
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block().map_err(failed)?;
        SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map(Self).map_err(failed)
    }

    /// Sleeps for this long, or until a signal comes: whether one came.
    pub fn sleep(&self, time: Duration) -> bool {
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        let mut descriptors = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        // An error, such as EINTR, is as good as time passed.
        poll(&mut descriptors, timeout).is_ok_and(|ready| ready > 0) && matches!(self.0.read_signal(), Ok(Some(_)))
    }
}
