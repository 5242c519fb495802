//! How many envelopes now, and to which SETs. Pure: the time, the demand and the room are arguments.

use std::time::Duration;

use crate::limits::{DEALT_PER_TICK_MAX, ISSUE_BURST_MS, ISSUE_LATENESS_MS};

const NANOSECONDS: u128 = 1_000_000_000;

/// A token bucket: never more than the rate and one burst over any time, and no fraction lost.
#[derive(Clone, Debug)]
struct Bucket {
    /// Envelopes a second.
    rate: u64,
    /// Nanoseconds times envelopes a second; 10^9 of them are one envelope.
    level: u128,
    /// When the level was right.
    settled_at: Duration,
}

impl Bucket {
    /// What the bucket holds at most, in units of the level.
    fn ceiling(rate: u64) -> u128 {
        if rate == 0 {
            return 0;
        }
        let of_ms = |ms: u64| u128::from(rate) * u128::from(ms) * (NANOSECONDS / 1000);
        of_ms(ISSUE_BURST_MS).max(NANOSECONDS + of_ms(ISSUE_LATENESS_MS))
    }

    fn settle(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.settled_at);
        self.level = (self.level + u128::from(self.rate) * elapsed.as_nanos()).min(Self::ceiling(self.rate));
        self.settled_at = now;
    }

    fn whole(&self) -> u64 {
        (self.level / NANOSECONDS) as u64
    }
}

/// A SET's share of the shakes, smoothed over some ticks.
#[derive(Clone, Debug, Default)]
struct Share {
    /// The SET's total at the last tick.
    shakes: u64,
    /// Shakes of late, in units of 1 / `ONE_SHAKE`.
    weight: u64,
    /// What is owed to the SET (or was given ahead, where negative): a fraction of an envelope that is carried to the next tick.
    credit: f64,
}

impl Share {
    const ONE_SHAKE: u64 = 1 << 16;
    /// Ticks over which the weight fades to 1/e.
    const FADING: u64 = 32;

    fn observe(&mut self, shakes: u64) {
        let fresh = shakes.wrapping_sub(self.shakes).min(1 << 32);
        self.shakes = shakes;
        self.weight += fresh * Self::ONE_SHAKE;
        self.weight -= self.weight / Self::FADING;
        // A shake long ago is no demand: without an end, the last SET that was shaken on would be dealt everything.
        if self.weight < Self::ONE_SHAKE / 64 {
            self.weight = 0;
        }
    }
}

/// Deals by demand from a token bucket. Each tick: [`observe`](Self::observe), [`offer`](Self::offer),
/// [`split`](Self::split).
#[derive(Clone, Debug)]
pub(super) struct Dealer {
    bucket: Bucket,
    shares: Vec<Share>,
    plan: Vec<usize>,
}

impl Dealer {
    /// An empty bucket at `now`, and SETs that have counted `shakes` so far.
    pub(super) fn new(now: Duration, rate: u64, shakes: impl Iterator<Item = u64>) -> Self {
        let sets: Vec<_> = shakes.map(|shakes| Share { shakes, ..Share::default() }).collect();
        Self { bucket: Bucket { rate, level: 0, settled_at: now }, plan: vec![0; sets.len()], shares: sets }
    }

    /// From `now` on, this many envelopes a second. What was earned at the old rate stays, within the new burst.
    pub(super) fn set_rate(&mut self, now: Duration, rate: u64) {
        self.bucket.settle(now);
        self.bucket.rate = rate;
        self.bucket.settle(now);
    }

    /// The rate in force.
    pub(super) fn rate(&self) -> u64 {
        self.bucket.rate
    }

    /// A tick begins: `shakes` is each SET's total so far.
    pub(super) fn observe(&mut self, now: Duration, shakes: impl Iterator<Item = u64>) {
        self.bucket.settle(now);
        for (share, shakes) in self.shares.iter_mut().zip(shakes) {
            share.observe(shakes);
        }
    }

    /// How many envelopes a SET may hold: as many as it was shaken on lately (in about a third of a second), so that one SET does not
    /// hoard what the others are shaken on for; at least one.
    pub(super) fn appetite(&self, set: usize) -> usize {
        (self.shares[set].weight / Share::ONE_SHAKE).max(1) as usize
    }

    /// How many envelopes may be dealt now: `room` is how many each SET takes.
    pub(super) fn offer(&mut self, room: &[usize]) -> usize {
        assert_eq!(room.len(), self.shares.len(), "one room for each SET");
        let wanting = self.shares.iter().zip(room).filter(|(share, _)| share.weight > 0);
        let demanded = wanting.fold(0_usize, |sum, (_, room)| sum.saturating_add(*room));
        demanded.min(DEALT_PER_TICK_MAX).min(usize::try_from(self.bucket.whole()).unwrap_or(usize::MAX))
    }

    /// Takes `count` envelopes out of the bucket, at most what was just offered, and says how many each SET gets: by its share of
    /// the demand, with the fractions carried, and what finds no room passed on to the others.
    pub(super) fn split(&mut self, count: usize, room: &[usize]) -> &[usize] {
        self.bucket.level =
            self.bucket.level.checked_sub(count as u128 * NANOSECONDS).expect("no more is dealt than was offered");
        self.plan.fill(0);
        let mut left = count;
        let mut spread = count as f64;
        // Each round either closes a SET or is the last.
        for _ in 0..=self.shares.len() {
            self.credit(spread, room);
            spread = self.give_whole(&mut left, room);
            if spread <= 0.0 {
                break;
            }
        }
        while left > 0 {
            let next = self.neediest(room).expect("the offer was within the room");
            self.plan[next] += 1;
            self.shares[next].credit -= 1.0;
            left -= 1;
        }
        &self.plan
    }

    fn is_open(&self, set: usize, room: &[usize]) -> bool {
        self.shares[set].weight > 0 && self.plan[set] < room[set]
    }

    /// Owes `amount` to the open SETs, by weight.
    fn credit(&mut self, amount: f64, room: &[usize]) {
        let weights: u64 =
            (0..room.len()).filter(|set| self.is_open(*set, room)).map(|set| self.shares[set].weight).sum();
        for set in 0..room.len() {
            if self.is_open(set, room) {
                self.shares[set].credit += amount * (self.shares[set].weight as f64 / weights as f64);
            }
        }
    }

    /// Gives each open SET the whole envelopes it is owed. What is owed to a SET that is full now is taken from it and is the result.
    fn give_whole(&mut self, left: &mut usize, room: &[usize]) -> f64 {
        let mut forfeited = 0.0;
        for set in 0..room.len() {
            if !self.is_open(set, room) {
                continue;
            }
            let owed = self.shares[set].credit.max(0.0) as usize;
            let given = owed.min(room[set] - self.plan[set]).min(*left);
            self.plan[set] += given;
            *left -= given;
            let share = &mut self.shares[set];
            share.credit -= given as f64;
            if self.plan[set] == room[set] && share.credit > 0.0 {
                forfeited += share.credit;
                share.credit = 0.0;
            }
        }
        forfeited
    }

    /// The open SET that is owed most.
    fn neediest(&self, room: &[usize]) -> Option<usize> {
        let open = (0..room.len()).filter(|set| self.is_open(*set, room));
        open.max_by(|a, b| self.shares[*a].credit.total_cmp(&self.shares[*b].credit))
    }
}
