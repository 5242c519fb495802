//! Waking from a thread that has no ring of its own to wait in: the smallest ring there is, entered for each wake-up.

use std::io;

use crate::core::RingCore;
use crate::set_up::Sizes;
use crate::{Doorbell, Unavailable, Wait};

/// Rings doorbells. Belongs to the thread that made it.
pub struct Waker {
    core: RingCore,
}

impl Waker {
    const SIZES: Sizes = Sizes { submissions: 32, completions: 128 };

    /// Makes the ring.
    pub fn open() -> Result<Self, Unavailable> {
        Ok(Self { core: RingCore::open(Self::SIZES, Self::SIZES.completions as usize)? })
    }

    /// Wakes the owner of `doorbell` where it sleeps; call after a push to one of its queues.
    pub fn wake(&mut self, doorbell: &Doorbell) -> io::Result<()> {
        self.core.wake(doorbell);
        self.core.enter(Wait::NOT)?;
        // A message to a ring that is gone fails; its owner needs no waking.
        while self.core.next().is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::{Event, ListenOptions, Listener, Network, RingOptions};

    #[test]
    fn a_sleeper_in_its_ring_is_woken_long_before_its_timeout() {
        let doorbell = Arc::new(Doorbell::default());
        let told = Arc::new(AtomicBool::new(false));
        let sleeper = {
            let (doorbell, told) = (Arc::clone(&doorbell), Arc::clone(&told));
            std::thread::spawn(move || {
                let listener = Listener::bind(&ListenOptions::at(([127, 0, 0, 1], 0).into())).unwrap();
                let mut ring = RingOptions::listening(4, listener).open().unwrap();
                ring.attach(&doorbell).unwrap();
                let mut wakes = 0;
                // Ten minutes: without the wake-up this test does not end in time.
                while !told.load(Ordering::Acquire) {
                    doorbell.going_to_sleep();
                    let wait = if told.load(Ordering::Acquire) { Wait::NOT } else { Wait::first(600_000_000) };
                    ring.enter(wait).unwrap();
                    doorbell.woke_up();
                    while let Some(completion) = ring.next() {
                        wakes += u32::from(matches!(completion.event, Event::Wake));
                    }
                }
                wakes
            })
        };
        let mut waker = Waker::open().unwrap();
        while doorbell.ring().is_none() {
            std::thread::yield_now();
        }
        told.store(true, Ordering::Release);
        waker.wake(&doorbell).unwrap();
        assert!(sleeper.join().unwrap() <= 1, "one wake-up is enough");
    }
}
