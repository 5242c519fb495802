//! Waking a thread that sleeps in its ring, at no cost while it is awake.
//!
//! Consumer: mark asleep, look at the queues once more, then wait. Producer: push, then signal only where the mark is set.
//! A sequentially consistent fence on both sides closes the gap between the two.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use std::os::fd::OwnedFd;

/// One a consumer thread; shared with all who push to its queues.
#[derive(Debug, Default)]
pub struct Doorbell {
    asleep: AtomicBool,
    /// A duplicate of the consumer's ring descriptor, set once that thread has made its ring.
    ring: OnceLock<OwnedFd>,
}

impl Doorbell {
    /// Consumer: call before the last look at the queues that precedes a wait.
    pub fn going_to_sleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Consumer: call after the wait.
    pub fn woke_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Producer: call after a push. True where the consumer sleeps and it is this caller's turn to wake it.
    pub fn must_signal(&self) -> bool {
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
    }

    /// Where to send the wake-up; `None` while the consumer has no ring yet, and in simulations.
    pub fn ring(&self) -> Option<&OwnedFd> {
        self.ring.get()
    }

    /// The consumer's ring, told by the ring layer. The first call counts.
    pub fn attach(&self, ring: OwnedFd) {
        drop(self.ring.set(ring));
    }
}
