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

    /// Whole seconds of the wall clock that have begun since the run's first one.
    pub const fn second(&self, at_ns: u64) -> u32 {
        ((self.origin_unix_ns % 1_000_000_000 + at_ns) / 1_000_000_000) as u32
    }

    /// Begin of that first second on this clock: before its start, and so below 0.
    pub const fn first_second_ns(&self) -> i64 {
        -(self.origin_unix_ns % 1_000_000_000).cast_signed()
    }

    /// The wall clock's second that the run began in, since 1970 UTC.
    pub const fn first_unix_s(&self) -> u64 {
        self.origin_unix_ns / 1_000_000_000
    }

    /// The first time at or after `at_ns` that begins a second of the wall clock.
    pub const fn whole_second(&self, at_ns: u64) -> u64 {
        let unix_ns = self.unix_ns(at_ns);
        at_ns + (unix_ns.next_multiple_of(1_000_000_000) - unix_ns)
    }

    /// What this clock shows at a time of the wall clock, in nanoseconds since 1970 UTC; 0 where it had not started.
    pub const fn at_unix_ns(&self, unix_ns: u64) -> u64 {
        unix_ns.saturating_sub(self.origin_unix_ns)
    }

    /// A time of this clock as nanoseconds since 1970 UTC.
    pub const fn unix_ns(&self, at_ns: u64) -> u64 {
        self.origin_unix_ns + at_ns
    }
}
