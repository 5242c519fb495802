//! When each connection is to shake. Pure: nothing that happens in the run moves an intended time.
//!
//! | schedule | intended times |
//! |---|---|
//! | `wallclock` | the wall clock counts ticks of 1/rate; a user shakes when `tick % connections == user % connections` |
//! | `uniform` | the same rotation, begun when the load begins; in a ramp the distances shrink or grow |
//! | `poisson` | exponential gaps from a seeded generator; the connections take turns, so that each gets its share |
//! | `closed` | none: a connection shakes again when it was answered |
//!
//! A rotation gives every connection its own place of the period `connections / rate`. A thread has every `threads`-th
//! connection, so the threads are equally busy at every instant.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

const NS_PER_SECOND: u64 = 1_000_000_000;

/// A thread's part of the connections: global connection `thread + threads * n` is its local connection `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// This thread.
    pub thread: u32,
    /// All threads.
    pub threads: u32,
    /// All connections.
    pub connections: u32,
}

impl Share {
    /// How many connections this thread has.
    pub const fn len(&self) -> u32 {
        self.connections.saturating_sub(self.thread).div_ceil(self.threads)
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The global number of a local connection.
    pub const fn global(&self, local: u32) -> u32 {
        self.thread + local * self.threads
    }
}

/// A shake to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Intended time, in nanoseconds since the schedule began.
    pub at_ns: u64,
    /// Local connection.
    pub connection: u32,
}

/// The intended times of one thread, in order. O(1) a shake, no allocation.
#[derive(Debug)]
pub enum Schedule {
    /// `wallclock` and `uniform`.
    Rotation(Rotation),
    /// `uniform`, while the rate changes.
    Ramp(Ramp),
    /// `poisson`.
    Poisson(Poisson),
}

impl Schedule {
    /// The next shake that is due at `now_ns` and intended before `end_ns`.
    pub fn due(&mut self, now_ns: u64, end_ns: u64) -> Option<Due> {
        let next_ns = self.next_ns();
        if next_ns > now_ns || next_ns >= end_ns {
            return None;
        }
        Some(match self {
            Self::Rotation(rotation) => rotation.take(),
            Self::Ramp(ramp) => ramp.take(),
            Self::Poisson(poisson) => poisson.take(),
        })
    }

    /// When the next shake is intended.
    pub fn next_ns(&self) -> u64 {
        match self {
            Self::Rotation(rotation) => rotation.at.whole,
            Self::Ramp(ramp) => ramp.at_ns,
            Self::Poisson(poisson) => poisson.at_ns,
        }
    }
}

/// A time or a distance as whole nanoseconds and a rest in units of 1/rate nanoseconds: sums of it never drift.
#[derive(Clone, Copy, Debug)]
struct Exact {
    whole: u64,
    rest: u64,
}

impl Exact {
    /// `ticks / rate` seconds, less `origin_ns`, which is not later.
    fn of_ticks(ticks: u128, rate: u64, origin_ns: u64) -> Self {
        let ns = ticks * u128::from(NS_PER_SECOND);
        Self { whole: (ns / u128::from(rate) - u128::from(origin_ns)) as u64, rest: (ns % u128::from(rate)) as u64 }
    }

    fn add(&mut self, other: Self, rate: u64) {
        self.whole += other.whole;
        self.rest += other.rest;
        if self.rest >= rate {
            self.rest -= rate;
            self.whole += 1;
        }
    }
}

/// Every connection in turn, at equal distances.
#[derive(Debug)]
pub struct Rotation {
    rate: u64,
    at: Exact,
    connection: u32,
    length: u32,
    /// From one connection of this thread to the next.
    step: Exact,
    /// From its last one to its first one of the next round.
    step_round: Exact,
}

impl Rotation {
    /// Slot `s` is global connection `s % connections`' turn. The one that begins the schedule is `first_slot`; each slot after it
    /// comes 1/rate seconds after the one before, so that a connection shakes every `connections / rate` seconds.
    pub fn uniform(share: Share, rate: u64, first_slot: u64) -> Self {
        Self::from_slot(share, rate, u128::from(first_slot), 0u128.wrapping_sub(u128::from(first_slot)), 0)
    }

    /// Follows the wall clock: the user `first_user + i` of connection `i` shakes in each tick of 1/rate second, counted from
    /// 1970 UTC, where `tick % connections == user % connections`. The load begins at `begin_unix_ns`.
    pub fn wallclock(share: Share, rate: u64, first_user: u64, begin_unix_ns: u64) -> Self {
        let connections = u128::from(share.connections);
        let first_tick = (u128::from(begin_unix_ns) * u128::from(rate)).div_ceil(u128::from(NS_PER_SECOND));
        let shift = u128::from(first_user % u64::from(share.connections));
        // Slots are ticks moved so that slot s belongs to connection s % connections. One round more keeps them positive.
        let slot = first_tick + connections - shift;
        Self::from_slot(share, rate, slot, shift.wrapping_sub(connections), begin_unix_ns)
    }

    /// The first slot of this thread at or after `slot`, where slot `s` belongs to connection `s % connections` and its time is
    /// `(s + shift) / rate` seconds, less the origin.
    fn from_slot(share: Share, rate: u64, slot: u128, shift: u128, origin_ns: u64) -> Self {
        assert!(rate > 0 && !share.is_empty(), "a thread without connections or rate has no schedule");
        let connections = u128::from(share.connections);
        let (round, place) = (slot / connections, (slot % connections) as u32);
        let local = place.saturating_sub(share.thread).div_ceil(share.threads);
        let (round, connection) = if local < share.len() { (round, local) } else { (round + 1, 0) };
        let tick = (round * connections + u128::from(share.global(connection))).wrapping_add(shift);
        let last_to_first = share.connections - share.global(share.len() - 1) + share.thread;
        Self {
            rate,
            at: Exact::of_ticks(tick, rate, origin_ns),
            connection,
            length: share.len(),
            step: Exact::of_ticks(u128::from(share.threads), rate, 0),
            step_round: Exact::of_ticks(u128::from(last_to_first), rate, 0),
        }
    }

    fn take(&mut self) -> Due {
        let due = Due { at_ns: self.at.whole, connection: self.connection };
        self.connection += 1;
        if self.connection == self.length {
            self.connection = 0;
            self.at.add(self.step_round, self.rate);
        } else {
            self.at.add(self.step, self.rate);
        }
        due
    }
}

/// A rate that goes evenly from one value to another: how long until so many slots have passed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slope {
    /// Slots a second at the begin, above 0.
    pub from: f64,
    /// Slots a second when `length_s` have passed, above 0.
    pub to: f64,
    /// In seconds, above 0.
    pub length_s: f64,
}

impl Slope {
    /// Nanoseconds until `slots` have passed. With the rate r(t) = from + (to - from) t / length, n(t) is its integral, and this its inverse,
    /// in the form that loses no digits where both rates are almost the same. Beyond the end the last rate goes on.
    pub fn time_ns(&self, slots: f64) -> f64 {
        let Self { from, to, length_s } = *self;
        let within = f64::midpoint(from, to) * length_s;
        let seconds = if slots > within {
            length_s + (slots - within) / to
        } else {
            let steepness = (to - from) / length_s;
            2.0 * slots / (from + 2.0f64.mul_add(steepness * slots, from * from).max(0.0).sqrt())
        };
        seconds * NS_PER_SECOND as f64
    }

    /// The rate after so many nanoseconds.
    pub fn rate(&self, ns: u64) -> f64 {
        let seconds = (ns as f64 / NS_PER_SECOND as f64).min(self.length_s);
        self.from + (self.to - self.from) * seconds / self.length_s
    }

    /// Slots that have passed after so many nanoseconds, at most `length_s`.
    pub fn slots(&self, ns: u64) -> f64 {
        let seconds = (ns as f64 / NS_PER_SECOND as f64).min(self.length_s);
        (self.to - self.from) / self.length_s / 2.0 * seconds * seconds + self.from * seconds
    }
}

/// Every connection in turn, at distances that follow a slope.
#[derive(Debug)]
pub struct Ramp {
    slope: Slope,
    /// Slots since the begin, of all threads.
    slot: u64,
    connection: u32,
    length: u32,
    step: u64,
    step_round: u64,
    at_ns: u64,
}

impl Ramp {
    /// Slot `first_slot`, which is that of global connection `first_slot % connections`, begins it.
    pub fn new(share: Share, slope: Slope, first_slot: u64) -> Self {
        assert!(!share.is_empty(), "a thread without connections has no schedule");
        let connections = u64::from(share.connections);
        let place = (first_slot % connections) as u32;
        let local = place.saturating_sub(share.thread).div_ceil(share.threads);
        let (connection, round) = if local < share.len() { (local, 0) } else { (0, connections) };
        let mut ramp = Self {
            slope,
            slot: round + u64::from(share.global(connection)) - u64::from(place),
            connection,
            length: share.len(),
            step: u64::from(share.threads),
            step_round: u64::from(share.connections - share.global(share.len() - 1) + share.thread),
            at_ns: 0,
        };
        ramp.at_ns = slope.time_ns(ramp.slot as f64) as u64;
        ramp
    }

    fn take(&mut self) -> Due {
        let due = Due { at_ns: self.at_ns, connection: self.connection };
        self.connection += 1;
        if self.connection == self.length {
            self.connection = 0;
            self.slot += self.step_round;
        } else {
            self.slot += self.step;
        }
        self.at_ns = self.slope.time_ns(self.slot as f64) as u64;
        due
    }
}

/// Arrivals of a Poisson process with this thread's part of a rate that may change.
#[derive(Debug)]
pub struct Poisson {
    generator: Pcg64Mcg,
    slope: Slope,
    /// Slots of this thread that have passed, in units of the process: its gaps are exponential with the mean 1.
    passed: f64,
    at_ns: u64,
    connection: u32,
    length: u32,
}

impl Poisson {
    /// The same `seed` gives the same times. `slope` is that of all threads.
    pub fn new(share: Share, slope: Slope, seed: u64) -> Self {
        assert!(!share.is_empty(), "a thread without connections has no schedule");
        let part = f64::from(share.len()) / f64::from(share.connections);
        let slope = Slope { from: slope.from * part, to: slope.to * part, ..slope };
        let mut poisson = Self {
            generator: Pcg64Mcg::seed_from_u64(seed ^ (u64::from(share.thread) << 32)),
            slope,
            passed: 0.0,
            at_ns: 0,
            connection: 0,
            length: share.len(),
        };
        poisson.pass();
        poisson
    }

    fn pass(&mut self) {
        let uniform: f64 = self.generator.random();
        self.passed -= (1.0 - uniform).ln();
        self.at_ns = self.slope.time_ns(self.passed) as u64;
    }

    fn take(&mut self) -> Due {
        let due = Due { at_ns: self.at_ns, connection: self.connection };
        self.pass();
        self.connection = if self.connection + 1 == self.length { 0 } else { self.connection + 1 };
        due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(schedule: &mut Schedule, end_ns: u64) -> Vec<Due> {
        std::iter::from_fn(|| schedule.due(u64::MAX, end_ns)).collect()
    }

    fn shares(connections: u32, threads: u32) -> impl Iterator<Item = Share> {
        (0..threads).map(move |thread| Share { thread, threads, connections })
    }

    /// (time, global connection) of all threads together, in order.
    fn together(connections: u32, threads: u32, end_ns: u64, make: impl Fn(Share) -> Schedule) -> Vec<(u64, u32)> {
        let mut all: Vec<_> = shares(connections, threads)
            .flat_map(|share| {
                drain(&mut make(share), end_ns).into_iter().map(move |due| (due.at_ns, share.global(due.connection)))
            })
            .collect();
        all.sort_unstable();
        all
    }

    fn even(rate: f64) -> Slope {
        Slope { from: rate, to: rate, length_s: 1e9 }
    }

    proptest! {
        #[test]
        fn a_ramp_brings_the_mean_of_its_rates_and_keeps_the_turns(
            connections in 1u32..3000, threads in 1u32..8, from in 1u32..20_000, to in 1u32..20_000, first_slot in 0u64..100_000,
        ) {
            let threads = threads.min(connections);
            let slope = Slope { from: f64::from(from), to: f64::from(to), length_s: 2.0 };
            let all = together(connections, threads, 2 * NS_PER_SECOND, |share| Schedule::Ramp(Ramp::new(share, slope, first_slot)));
            prop_assert!(all.len().abs_diff(from as usize + to as usize) <= 1, "{} of {}", all.len(), from + to);
            let first_half = all.iter().filter(|(at, _)| *at < NS_PER_SECOND).count() as f64;
            prop_assert!((first_half - slope.slots(NS_PER_SECOND)).abs() <= 1.0);
            for (number, (_, connection)) in all.iter().enumerate() {
                prop_assert_eq!((first_slot + number as u64) % u64::from(connections), u64::from(*connection));
            }
        }

        #[test]
        fn the_threads_share_every_connection_once(connections in 1u32..5000, threads in 1u32..64) {
            let threads = threads.min(connections);
            let mut seen: Vec<u32> =
                shares(connections, threads).flat_map(|share| (0..share.len()).map(move |local| share.global(local))).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..connections).collect::<Vec<_>>());
        }

        #[test]
        fn a_rotation_has_the_exact_rate_in_every_second_and_never_drifts(
            connections in 1u32..3000, threads in 1u32..8, rate in 1u64..20_000, begin in 0u64..(1 << 61), user in any::<u64>(),
            wallclock in any::<bool>(),
        ) {
            let threads = threads.min(connections);
            let all = together(connections, threads, 3 * NS_PER_SECOND, |share| Schedule::Rotation(if wallclock {
                Rotation::wallclock(share, rate, user, begin)
            } else {
                Rotation::uniform(share, rate, user % 10_000)
            }));
            for second in 0..3 {
                let count = all.iter().filter(|(at, _)| at / NS_PER_SECOND == second).count() as u64;
                // Rounding down to nanoseconds moves a shake by less than one: a second can hold one more or one less.
                prop_assert!(count.abs_diff(rate) <= u64::from(wallclock), "second {second} has {count} of {rate}");
            }
            for (number, pair) in all.windows(2).enumerate() {
                let gap = pair[1].0 - pair[0].0;
                prop_assert!(gap.abs_diff(NS_PER_SECOND / rate) <= 1, "gap {gap} after number {number}");
                prop_assert_eq!((pair[0].1 + 1) % connections, pair[1].1, "the connections take turns");
            }
        }

        #[test]
        fn a_user_shakes_when_the_wall_clock_modulo_the_period_is_the_user_modulo_the_period(
            connections in 1u32..2000, threads in 1u32..8, rate in 1u64..5_000, begin in 0u64..(1 << 61), first_user in 0u64..(1 << 62),
        ) {
            let threads = threads.min(connections);
            let all = together(connections, threads, NS_PER_SECOND, |share| {
                Schedule::Rotation(Rotation::wallclock(share, rate, first_user, begin))
            });
            for (at_ns, connection) in all {
                let unix_ns = u128::from(begin + at_ns);
                // The time was rounded down to a nanosecond: the tick that begins within it.
                let tick = (unix_ns * u128::from(rate)).div_ceil(u128::from(NS_PER_SECOND));
                let period = u128::from(connections);
                prop_assert_eq!(tick % period, u128::from(first_user + u64::from(connection)) % period);
            }
        }

        #[test]
        fn poisson_is_replayed_by_its_seed_and_gives_each_connection_its_share(seed in any::<u64>(), threads in 1u32..4) {
            let make = |share| Schedule::Poisson(Poisson::new(share, even(20_000.0), seed));
            let all = together(100, threads, NS_PER_SECOND, make);
            prop_assert_eq!(&all, &together(100, threads, NS_PER_SECOND, make));
            // 20,000 arrivals have a standard deviation of 141: six of them.
            prop_assert!(all.len().abs_diff(20_000) < 850, "{} arrivals", all.len());
            let mut of_connection = [0usize; 100];
            for (_, connection) in &all {
                of_connection[*connection as usize] += 1;
            }
            let (least, most) = (of_connection.iter().min().unwrap(), of_connection.iter().max().unwrap());
            prop_assert!(most - least < 30, "from {least} to {most} shakes a connection");
        }
    }

    #[test]
    fn poisson_gaps_vary_as_exponential_ones_do() {
        let share = Share { thread: 0, threads: 1, connections: 10 };
        let all = drain(&mut Schedule::Poisson(Poisson::new(share, even(100_000.0), 7)), NS_PER_SECOND);
        let gaps: Vec<f64> = all.windows(2).map(|pair| (pair[1].at_ns - pair[0].at_ns) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((deviation / mean - 1.0).abs() < 0.02, "deviation {deviation} of mean {mean}: 1 for exponential gaps");
    }

    #[test]
    fn nothing_is_due_before_its_time_or_after_the_end() {
        let share = Share { thread: 0, threads: 1, connections: 2 };
        let mut schedule = Schedule::Rotation(Rotation::uniform(share, 10, 0));
        assert_eq!(schedule.due(0, u64::MAX), Some(Due { at_ns: 0, connection: 0 }));
        assert_eq!(schedule.due(99_999_999, u64::MAX), None);
        assert_eq!(schedule.due(100_000_000, 100_000_000), None);
        assert_eq!(schedule.due(100_000_000, u64::MAX), Some(Due { at_ns: 100_000_000, connection: 1 }));
    }
}
