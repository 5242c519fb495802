//! What control does next: pure, so that every order of signals, ends and delays can be tried.

use std::time::Duration;

use nix::sys::signal::Signal;

/// From serving to the end.
#[derive(Debug)]
pub(super) struct Course {
    /// When the stop began; `None` while serving.
    stopping_since: Option<Duration>,
    stop_time_max: Duration,
}

/// What control sees at one look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Since the start.
    pub(super) now: Duration,
    /// That came since the last look.
    pub(super) signal: Option<Signal>,
    /// An operator ordered the end.
    pub(super) drain: bool,
    /// Threads that run.
    pub(super) running: usize,
    /// Threads that were started.
    pub(super) threads: usize,
}

/// What control does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Look again.
    Wait,
    /// Tell the SETs to stop.
    Stop,
    /// Every thread has ended.
    Done,
    /// Somebody is in a hurry.
    EndNow(Signal),
    /// The stop does not come to its end.
    TookTooLong,
}

impl Course {
    pub(super) fn new(stop_time_max: Duration) -> Self {
        Self { stopping_since: None, stop_time_max }
    }

    /// The stop has begun.
    pub(super) fn stop(&mut self, now: Duration) {
        self.stopping_since = Some(now);
    }

    /// How long to wait for a signal before the next look at the threads: seldom while serving, and often while they end.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_millis(if self.stopping_since.is_none() { 200 } else { 5 })
    }

    pub(super) fn step(&mut self, seen: Seen) -> Step {
        match (self.stopping_since, seen.signal) {
            (_, None) if seen.running == 0 => Step::Done,
            (None, None) if seen.running == seen.threads && !seen.drain => Step::Wait,
            (None, _) => {
                self.stop(seen.now);
                Step::Stop
            }
            (Some(_), Some(signal)) => Step::EndNow(signal),
            (Some(since), None) if seen.now.saturating_sub(since) > self.stop_time_max => Step::TookTooLong,
            (Some(_), None) => Step::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(now_ms: u64, signal: Option<Signal>, running: usize) -> Seen {
        Seen { now: Duration::from_millis(now_ms), signal, drain: false, running, threads: 4 }
    }

    fn course() -> Course {
        Course::new(Duration::from_secs(10))
    }

    #[test]
    fn a_signal_stops_once_and_a_second_one_ends() {
        let mut course = course();
        assert_eq!(course.step(seen(0, None, 4)), Step::Wait);
        assert_eq!(course.step(seen(5, Some(Signal::SIGTERM), 4)), Step::Stop);
        assert_eq!(course.step(seen(6, None, 3)), Step::Wait, "threads end one after the other");
        assert_eq!(course.step(seen(7, Some(Signal::SIGINT), 2)), Step::EndNow(Signal::SIGINT));
    }

    #[test]
    fn an_order_to_drain_stops_once() {
        let mut course = course();
        assert_eq!(course.step(Seen { drain: true, ..seen(5, None, 4) }), Step::Stop);
        assert_eq!(course.step(Seen { drain: true, ..seen(6, None, 4) }), Step::Wait);
        assert_eq!(course.step(seen(7, Some(Signal::SIGTERM), 4)), Step::EndNow(Signal::SIGTERM));
    }

    #[test]
    fn a_thread_that_dies_stops_the_others() {
        let mut course = course();
        assert_eq!(course.step(seen(0, None, 3)), Step::Stop);
        assert_eq!(course.step(seen(1, None, 2)), Step::Wait);
        assert_eq!(course.step(seen(2, None, 0)), Step::Done);
    }

    #[test]
    fn all_threads_dead_at_one_look_is_an_end_and_no_endless_wait() {
        assert_eq!(course().step(seen(0, None, 0)), Step::Done);
    }

    #[test]
    fn a_stop_that_hangs_is_bounded_from_its_beginning() {
        let mut course = course();
        assert_eq!(course.step(seen(60_000, Some(Signal::SIGTERM), 4)), Step::Stop);
        assert_eq!(course.step(seen(70_000, None, 1)), Step::Wait);
        assert_eq!(course.step(seen(70_001, None, 1)), Step::TookTooLong);
    }
}
