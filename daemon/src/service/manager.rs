//! What the service manager is told.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use sd_notify::NotifyState;

use super::inherited::STORED_NAME;

/// Descriptors in one message: the kernel passes at most 253 at once.
const DESCRIPTORS_PER_MESSAGE: usize = 128;

/// The way to the service manager. A message that cannot be sent is told in the log and changes nothing else: a daemon that serves
/// does not fail for want of somebody to tell.
#[derive(Clone, Copy, Debug)]
pub struct Manager {
    is_there: bool,
    watchdog: Option<Duration>,
}

impl Manager {
    /// Looks for it in the environment.
    pub fn find() -> Self {
        let is_there = std::env::var_os("NOTIFY_SOCKET").is_some();
        Self { is_there, watchdog: sd_notify::watchdog_enabled().filter(|_| is_there) }
    }

    /// Whether somebody listens.
    pub fn is_there(self) -> bool {
        self.is_there
    }

    /// How often it wants a sign of life, at the latest; `None` where it wants none.
    pub fn watchdog(self) -> Option<Duration> {
        self.watchdog
    }

    /// Every SET listens: what was ordered after the daemon may start.
    pub fn ready(self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The configuration is read again; [`Manager::ready`] follows, whether it was taken or not.
    pub fn reloading(self) {
        let states = [NotifyState::Reloading, NotifyState::Status("reading the configuration again")];
        match NotifyState::monotonic_usec_now() {
            // From systemd 253 on a reload without its time counts as failed.
            Ok(now) => self.tell(&[&states[..], &[now]].concat()),
            Err(_) => self.tell(&states),
        }
    }

    /// The orderly stop has begun.
    pub fn stopping(self, status: &str) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// What `systemctl status` shows.
    pub fn status(self, status: &str) {
        self.tell(&[NotifyState::Status(status)]);
    }

    /// A sign of life.
    pub fn alive(self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    /// Gives it the listeners to keep: the next start gets them back, and who connects in between waits in their backlogs. Those it has
    /// already are not kept twice.
    pub fn keep(self, listeners: &[BorrowedFd<'_>]) {
        for listeners in listeners.chunks(DESCRIPTORS_PER_MESSAGE) {
            if self.is_there {
                let states = [NotifyState::FdStore, NotifyState::FdName(STORED_NAME)];
                told(sd_notify::notify_with_fds(&states, listeners));
            }
        }
    }

    /// Lets it close all listeners that it keeps.
    pub fn forget_listeners(self) {
        self.tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(STORED_NAME)]);
    }

    fn tell(self, states: &[NotifyState<'_>]) {
        if self.is_there {
            told(sd_notify::notify(states));
        }
    }
}

fn told(outcome: std::io::Result<()>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "the service manager cannot be told (NOTIFY_SOCKET): it may take the daemon for stuck");
    }
}
