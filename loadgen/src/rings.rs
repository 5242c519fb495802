//! The rings of one thread: one, or as many as its connections need, since the limit of open files bounds the table of each.
//!
//! A thread with one ring waits in it. One with several sleeps by the clock, and looks at each ring when it wakes: what came
//! meanwhile is fetched with one wake-up for all of them.

use std::io;
use std::thread;
use std::time::Duration;

use hongbao_uring::{Completion, NetworkCounters, Wait};

use crate::network::Dial;

/// See the module's text. Users are dealt to rings in blocks, so that those who shake one after the other share a ring, and its enters.
pub struct Rings<N> {
    rings: Vec<N>,
    users_per_ring: u32,
}

impl<N: Dial> Rings<N> {
    /// At least one ring, for this many users together.
    pub fn new(rings: Vec<N>, users: u32) -> Self {
        let users_per_ring = users.div_ceil(rings.len() as u32).max(1);
        Self { rings, users_per_ring }
    }

    /// The ring of a user, by its number on this thread.
    pub fn of(&mut self, local: u32) -> &mut N {
        &mut self.rings[(local / self.users_per_ring) as usize]
    }

    /// Submits what was prepared, waits, reaps.
    pub fn enter(&mut self, wait: Wait) -> io::Result<()> {
        if let [ring] = self.rings.as_mut_slice() {
            return ring.enter(wait);
        }
        if wait.want > 0 {
            thread::sleep(Duration::from_micros(u64::from(wait.timeout_us)));
        }
        self.rings.iter_mut().filter_map(|ring| ring.has_work().then(|| ring.enter(Wait::NOT))).collect()
    }

    /// A turn is over: what was prepared goes out now where the next enter may be of another ring.
    pub fn submit(&mut self) {
        if self.rings.len() > 1 {
            self.rings.iter_mut().for_each(N::submit);
        }
    }

    /// The next reaped completion of any ring.
    pub fn next_completion(&mut self) -> Option<Completion> {
        self.rings.iter_mut().find_map(N::next)
    }

    /// What they did together.
    pub fn counters(&self) -> NetworkCounters {
        self.rings.iter().map(N::counters).fold(NetworkCounters::default(), NetworkCounters::plus)
    }
}
