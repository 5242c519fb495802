//! CPU that a thread has used, and how long it had to wait for it.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// Readings of one thread, or differences of two.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// In user space.
    pub user: Duration,
    /// In the kernel.
    pub system: Duration,
    /// Ready to run, but not running.
    pub waited: Duration,
    /// Since the earlier reading.
    pub wall: Duration,
    at: Option<Instant>,
}

impl Cpu {
    /// Of the calling thread, now.
    pub fn of_this_thread() -> Self {
        let usage = getrusage(UsageWho::RUSAGE_THREAD).ok();
        let time = |value: Option<TimeVal>| value.map_or(Duration::ZERO, duration);
        Self {
            user: time(usage.map(|usage| usage.user_time())),
            system: time(usage.map(|usage| usage.system_time())),
            waited: fs::read_to_string("/proc/thread-self/schedstat")
                .ok()
                .and_then(|text| waited(&text))
                .unwrap_or_default(),
            wall: Duration::ZERO,
            at: Some(Instant::now()),
        }
    }

    /// What was used since an earlier reading of the same thread.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let wall = match (self.at, earlier.at) {
            (Some(now), Some(then)) => now - then,
            _ => Duration::ZERO,
        };
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
            waited: self.waited.saturating_sub(earlier.waited),
            wall,
            at: None,
        }
    }

    /// Share of a core that a difference stands for.
    pub fn share(&self) -> f64 {
        if self.wall.is_zero() { 0.0 } else { (self.user + self.system).as_secs_f64() / self.wall.as_secs_f64() }
    }
}

fn duration(time: TimeVal) -> Duration {
    Duration::from_secs(time.tv_sec() as u64) + Duration::from_micros(time.tv_usec() as u64)
}

/// The second number of a schedstat line: nanoseconds on the run queue.
fn waited(schedstat: &str) -> Option<Duration> {
    schedstat.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_queue_wait_is_read_as_the_kernel_writes_it() {
        assert_eq!(waited("123 456 7\n"), Some(Duration::from_nanos(456)));
        assert_eq!(waited(""), None);
    }
}
