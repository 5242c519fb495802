//! Who connects when: the ramp's rate and width, time limits of attempts, and retries. Pure: time is an argument.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use hongbao_uring::Generation;

use crate::limits::{BACK_OFF_FIRST_MS, BACK_OFF_MAX_MS};
use crate::plan::Connecting;

const NS_PER_MS: u64 = 1_000_000;
/// Connects that were not begun in time are caught up with for this long.
const BURST_NS: u64 = 10 * NS_PER_MS;

/// What became of a user whose attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Tried again later.
    Again,
    /// No attempt is left.
    GivenUp,
}

/// The ramp of one thread, and its retries.
#[derive(Debug)]
pub struct Connector {
    /// Users to be connected, so far.
    users: u32,
    attempts_max: u8,
    /// Next user that was never tried.
    fresh: u32,
    retries: BinaryHeap<Reverse<(u64, u32)>>,
    under_way: u32,
    concurrency: u32,
    /// In the order of their begin; entries of attempts that ended are stale and dropped when they come to the front.
    deadlines: VecDeque<(u64, u32, Generation)>,
    timeout_ns: u64,
    gap_ns: u64,
    next_ns: u64,
}

impl Connector {
    /// Nobody is to be connected yet.
    pub fn new(connecting: &Connecting) -> Self {
        Self {
            users: 0,
            attempts_max: connecting.attempts_max,
            fresh: 0,
            retries: BinaryHeap::new(),
            under_way: 0,
            concurrency: connecting.concurrency,
            deadlines: VecDeque::new(),
            timeout_ns: connecting.timeout.as_nanos() as u64,
            gap_ns: Duration::from_secs(1).as_nanos() as u64 / connecting.rate,
            next_ns: 0,
        }
    }

    /// The first `users` are to be connected; those that were asked for before stay so.
    pub fn grow(&mut self, users: u32) {
        self.users = self.users.max(users);
    }

    /// The next user to connect, if one may begin now. Each one given out must be told to `began`, then `ended` or `failed`.
    pub fn take(&mut self, now_ns: u64) -> Option<u32> {
        if self.under_way >= self.concurrency || self.next_ns > now_ns {
            return None;
        }
        let user = match self.retries.peek() {
            Some(Reverse((due_ns, user))) if *due_ns <= now_ns => {
                let user = *user;
                self.retries.pop();
                user
            }
            _ if self.fresh < self.users => {
                self.fresh += 1;
                self.fresh - 1
            }
            _ => return None,
        };
        self.next_ns = self.next_ns.max(now_ns.saturating_sub(BURST_NS)) + self.gap_ns;
        self.under_way += 1;
        Some(user)
    }

    /// The attempt of a user that was taken has this generation.
    pub fn began(&mut self, user: u32, generation: Generation, now_ns: u64) {
        self.deadlines.push_back((now_ns + self.timeout_ns, user, generation));
    }

    /// An attempt ended well.
    pub fn ended(&mut self) {
        self.under_way -= 1;
    }

    /// An attempt failed. `attempts` counts this one; `wait_ms` is what the server asked for, at least.
    pub fn failed(&mut self, user: u32, attempts: u8, wait_ms: u64, now_ns: u64) -> Fate {
        self.under_way -= 1;
        if attempts >= self.attempts_max {
            return Fate::GivenUp;
        }
        self.again(user, attempts, wait_ms, now_ns);
        Fate::Again
    }

    /// A connection broke and is to be made again.
    pub fn again(&mut self, user: u32, attempts: u8, wait_ms: u64, now_ns: u64) {
        let wait_ms = back_off_ms(attempts, user).max(wait_ms);
        self.retries.push(Reverse((now_ns + wait_ms * NS_PER_MS, user)));
    }

    /// An attempt that has taken too long, or had: the caller knows whether this generation is still at it.
    pub fn overdue(&mut self, now_ns: u64) -> Option<(u32, Generation)> {
        let (deadline_ns, user, generation) = *self.deadlines.front()?;
        if deadline_ns > now_ns {
            return None;
        }
        self.deadlines.pop_front();
        Some((user, generation))
    }

    /// Whether every user was connected or given up.
    pub fn is_settled(&self) -> bool {
        self.fresh == self.users && self.retries.is_empty() && self.under_way == 0
    }
}

/// Doubles with each attempt; spread by half, so that users who failed together do not return together.
fn back_off_ms(attempts: u8, user: u32) -> u64 {
    let full = (BACK_OFF_FIRST_MS << attempts.clamp(1, 16).saturating_sub(1)).min(BACK_OFF_MAX_MS);
    let spread = u64::from(user.wrapping_mul(0x9E37_79B9) >> 16);
    full / 2 + full * spread / (2 * 0xFFFF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CONNECT_ATTEMPTS;

    fn connector(users: u32, rate: u64, concurrency: u32) -> Connector {
        let timeout = Duration::from_secs(5);
        let connecting = Connecting { rate, concurrency, timeout, reconnect: false, attempts_max: CONNECT_ATTEMPTS };
        let mut connector = Connector::new(&connecting);
        connector.grow(users);
        connector
    }

    #[test]
    fn the_ramp_keeps_its_rate_and_its_width() {
        let mut ramp = connector(10_000, 1_000, 50);
        let mut begun = 0;
        for ms in 0..1_000u64 {
            while let Some(user) = ramp.take(ms * NS_PER_MS) {
                assert!(ramp.under_way <= 50);
                ramp.began(user, Generation::default(), ms * NS_PER_MS);
                begun += 1;
                if user % 2 == 0 {
                    ramp.ended();
                }
            }
            if ms % 10 == 0 {
                while ramp.under_way > 0 {
                    ramp.ended();
                }
            }
        }
        assert!((990..=1_011).contains(&begun), "{begun} connects in a second");
        let mut ramp = connector(100, 1_000_000, 7);
        assert_eq!(std::iter::from_fn(|| ramp.take(NS_PER_MS)).count(), 7, "the width holds");
    }

    #[test]
    fn a_user_is_given_up_after_the_last_attempt_and_the_ramp_settles() {
        let mut ramp = connector(1, 1_000_000, 1);
        let mut now_ns = 0;
        for attempt in 1..=CONNECT_ATTEMPTS {
            assert_eq!(ramp.take(now_ns), Some(0));
            let fate = ramp.failed(0, attempt, 0, now_ns);
            assert_eq!(fate, if attempt == CONNECT_ATTEMPTS { Fate::GivenUp } else { Fate::Again });
            assert_eq!(ramp.take(now_ns), None, "it backs off");
            now_ns += BACK_OFF_MAX_MS * NS_PER_MS;
        }
        assert!(ramp.is_settled());
    }

    #[test]
    fn what_the_server_asks_for_is_waited_for() {
        let mut ramp = connector(1, 1_000_000, 1);
        ramp.take(0);
        ramp.failed(0, 1, 9_000, 0);
        assert_eq!(ramp.take(8_999 * NS_PER_MS), None);
        assert_eq!(ramp.take(9_000 * NS_PER_MS), Some(0));
    }

    #[test]
    fn an_attempt_is_overdue_after_its_time() {
        let mut ramp = connector(1, 1_000_000, 1);
        ramp.take(0);
        ramp.began(0, Generation::new(3), 7);
        assert_eq!(ramp.overdue(5_000_000_006), None);
        assert_eq!(ramp.overdue(5_000_000_007), Some((0, Generation::new(3))));
        assert_eq!(ramp.overdue(u64::MAX), None);
    }
}
