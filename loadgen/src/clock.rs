//! One clock for all threads: monotonic nanoseconds since it was made, anchored once to the wall clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Copied to each thread. Steps of the wall clock after the start do not reach the run.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    origin_unix_ns: u64,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: Instant::now(), origin_unix_ns: since_epoch.as_nanos() as u64 }
    }

    /// Nanoseconds since the start.
    pub fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// A time of this clock as nanoseconds since 1970 UTC.
    pub const fn unix_ns(&self, at_ns: u64) -> u64 {
        self.origin_unix_ns + at_ns
    }
}
