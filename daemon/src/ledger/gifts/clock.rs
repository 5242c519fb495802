//! The time that gifts live by: the clock on the wall when the ledger starts, and from then on one that nobody sets.

use super::super::turn::Now;

/// Never goes back: not when the clock is set, and not over a restart, since it starts no earlier than the last time in the journal.
/// So a clock set forward by an hour ends no gift early, one set back keeps none alive longer while the daemon runs, and the
/// order in which gifts were sent is the order of their times.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct GiftClock {
    /// The last time that the journal holds of a gift, in microseconds since 1970.
    journal_us: u64,
    /// What lies between this time and the monotonic clock; from the first reading on.
    ahead_us: Option<u64>,
}

impl GiftClock {
    /// Starts at the first reading, and no earlier than this.
    pub(in super::super) const fn new(journal_us: u64) -> Self {
        Self { journal_us, ahead_us: None }
    }

    /// Microseconds since 1970, as gifts see it.
    pub(in super::super) fn read(&mut self, now: Now) -> u64 {
        let start_us = now.unix_us.max(self.journal_us);
        let ahead_us = *self.ahead_us.get_or_insert(start_us.saturating_sub(now.monotonic_us));
        ahead_us + now.monotonic_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_US: u64 = 3_600_000_000;

    #[test]
    fn a_clock_set_by_an_hour_moves_no_gift() {
        let start = 1_800_000_000_000_000;
        let mut clock = GiftClock::new(0);
        assert_eq!(clock.read(Now { unix_us: start, monotonic_us: 5 }), start);
        for unix_us in [start + HOUR_US, start - HOUR_US, 0] {
            assert_eq!(clock.read(Now { unix_us, monotonic_us: 12 }), start + 7);
        }
    }

    #[test]
    fn a_start_with_a_clock_set_back_goes_on_where_the_journal_ends() {
        let start = 1_800_000_000_000_000;
        let mut clock = GiftClock::new(start);
        assert_eq!(clock.read(Now { unix_us: start - HOUR_US, monotonic_us: 0 }), start);
        assert_eq!(clock.read(Now { unix_us: start - HOUR_US, monotonic_us: 9 }), start + 9);
    }
}
