//! Time as an argument: read once a turn, at the edge, and passed down.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Microseconds since the SET started; never goes back.
    pub elapsed_us: u64,
    /// Microseconds since 1970 UTC, as told to clients; may be set.
    pub unix_us: u64,
}

impl Moment {
    /// Now, for a SET that started at `start`.
    pub fn now(start: Instant) -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { elapsed_us: start.elapsed().as_micros() as u64, unix_us: unix.as_micros() as u64 }
    }

    /// Milliseconds since the SET started, modulo 2^32: enough to compare times less than 24 days apart.
    pub const fn elapsed_ms(self) -> u32 {
        (self.elapsed_us / 1000) as u32
    }
}
