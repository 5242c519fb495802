//! How long an enter may wait, and for how much: the one lever that decides CPU per request.

/// What one enter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Return at once when this many completions are there; 0: do not wait.
    pub want: u32,
    /// Return after this many microseconds if at least one completion is there; 0: return at the first.
    pub min_wait_us: u32,
    /// Return after this many microseconds in any case.
    pub timeout_us: u32,
}

impl Wait {
    /// Not at all: submit, and reap what is there.
    pub const NOT: Self = Self { want: 0, min_wait_us: 0, timeout_us: 0 };

    /// For the first completion, at most this long.
    pub const fn first(timeout_us: u32) -> Self {
        Self { want: 1, min_wait_us: 0, timeout_us }
    }
}

/// Chooses the next wait from how busy the ring was.
///
/// Every wake-up and every enter costs some microseconds, be it for one completion or for a hundred. While completions are rare, each
/// is handled at once. While they are frequent, an enter waits for as many as are likely to come within the latency budget, or until
/// that is over. As soon as that many are there it returns, so that a ring with more work than time never waits.
#[derive(Clone, Debug)]
pub struct Pace {
    latency_budget_us: u32,
    want_max: u32,
    /// Completions a microsecond, averaged over the last [`Self::MEMORY_US`].
    rate: f64,
    batching: bool,
}

impl Pace {
    /// Most completions that are worth waiting for: at 128 the enter and the wake-up are below 1 % of what the requests cost, and
    /// few enough that a turn stays short.
    pub const WANT_MAX: u32 = 128;

    /// Batching starts when this many completions are likely within the budget: a wake-up costs more than what one completion is
    /// woken for, so that it pays from the second on ...
    const STARTS_AT: f64 = 2.0;
    /// ... and ends below this many.
    const ENDS_BELOW: f64 = 1.0;
    /// How far back the average reaches.
    const MEMORY_US: f64 = 5_000.0;

    /// `latency_budget_us`: how much later an answer may be for the sake of batching; 0 turns batching off. `receive_buffers`: those of
    /// the ring, so that a batch never uses up more than half of them.
    pub fn new(latency_budget_us: u32, receive_buffers: u32) -> Self {
        let want_max = Self::WANT_MAX.min(receive_buffers / 2).max(1);
        Self { latency_budget_us, want_max, rate: 0.0, batching: false }
    }

    /// A turn is over: it reaped this many completions, and began this long after the one before.
    pub fn observe(&mut self, completions: u32, elapsed_us: u64) {
        let elapsed_us = elapsed_us.max(1) as f64;
        let weight = elapsed_us / (elapsed_us + Self::MEMORY_US);
        self.rate += weight * (f64::from(completions) / elapsed_us - self.rate);
        let bound = if self.batching { Self::ENDS_BELOW } else { Self::STARTS_AT };
        self.batching = self.likely() >= bound;
    }

    /// Completions likely within the budget.
    fn likely(&self) -> f64 {
        self.rate * f64::from(self.latency_budget_us)
    }

    /// The next wait, when the caller has something to do in `timeout_us` at the latest.
    pub fn wait(&self, timeout_us: u32) -> Wait {
        if !self.batching {
            return Wait::first(timeout_us);
        }
        let want = (self.likely().ceil() as u32).clamp(1, self.want_max);
        Wait { want, min_wait_us: self.latency_budget_us.min(timeout_us), timeout_us }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT_US: u32 = 50_000;

    fn pace() -> Pace {
        Pace::new(1000, 4096)
    }

    /// Turns of a ring that gets `rate` completions a second and wakes every `turn_us`.
    fn run(pace: &mut Pace, rate: u64, turn_us: u64, total_us: u64) {
        let mut carried = 0;
        for _ in 0..total_us / turn_us {
            carried += rate * turn_us;
            pace.observe((carried / 1_000_000) as u32, turn_us);
            carried %= 1_000_000;
        }
    }

    #[test]
    fn a_request_on_an_idle_server_is_answered_at_once() {
        let mut pace = pace();
        assert_eq!(pace.wait(TIMEOUT_US), Wait::first(TIMEOUT_US));
        for _ in 0..100 {
            pace.observe(1, 200_000);
            assert_eq!(pace.wait(TIMEOUT_US), Wait::first(TIMEOUT_US));
        }
        pace.observe(20, 1_000_000);
        assert_eq!(pace.wait(TIMEOUT_US), Wait::first(TIMEOUT_US), "a lonely burst is no load");
    }

    #[test]
    fn sixty_thousand_a_second_are_batched_within_milliseconds_and_one_window_holds_them() {
        let mut pace = pace();
        run(&mut pace, 60_000, 50, 3_000);
        assert!(pace.wait(TIMEOUT_US).min_wait_us == 1000);
        run(&mut pace, 60_000, 1000, 100_000);
        let wait = pace.wait(TIMEOUT_US);
        assert!((55..=65).contains(&wait.want), "{wait:?}");
        assert_eq!(
            pace.wait(300),
            Wait { want: wait.want, min_wait_us: 300, timeout_us: 300 },
            "no later than a deadline"
        );
    }

    #[test]
    fn when_the_load_stops_the_next_lonely_request_does_not_wait() {
        let mut pace = pace();
        run(&mut pace, 60_000, 1000, 100_000);
        pace.observe(1, 50_000);
        run(&mut pace, 20, 50_000, 200_000);
        assert_eq!(pace.wait(TIMEOUT_US), Wait::first(TIMEOUT_US));
    }

    #[test]
    fn a_load_between_the_bounds_keeps_what_it_found() {
        let (mut rising, mut falling) = (pace(), pace());
        run(&mut falling, 60_000, 1000, 100_000);
        run(&mut falling, 1_500, 1000, 100_000);
        run(&mut rising, 1_500, 1000, 100_000);
        assert_eq!((rising.wait(TIMEOUT_US).min_wait_us, falling.wait(TIMEOUT_US).min_wait_us), (0, 1000));
    }

    #[test]
    fn a_batch_is_bounded_by_the_buffers_and_by_what_batching_is_worth() {
        for (buffers, most) in [(4096, Pace::WANT_MAX), (64, 32)] {
            let mut pace = Pace::new(1000, buffers);
            run(&mut pace, 1_000_000, 1000, 100_000);
            assert_eq!(pace.wait(TIMEOUT_US).want, most);
        }
    }

    #[test]
    fn without_a_budget_nothing_ever_waits_for_company() {
        let mut pace = Pace::new(0, 4096);
        run(&mut pace, 1_000_000, 1000, 100_000);
        assert_eq!(pace.wait(TIMEOUT_US), Wait::first(TIMEOUT_US));
    }
}
