//! Which SETs turn: pure.

use std::time::Duration;

/// Follows how often each SET entered its ring. An idle one enters with each tick of its wheel, four times a second, so that one which
/// does not is stuck in its own code or in the kernel.
#[derive(Debug)]
pub(super) struct Liveness {
    sets: Vec<Seen>,
    patience: Duration,
}

/// One SET, at the last look at which it had moved.
#[derive(Clone, Copy, Debug)]
struct Seen {
    enters: u64,
    moved_at: Duration,
    is_stuck: bool,
}

/// What one look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Finding {
    /// SETs that are stuck now.
    pub(super) stuck: usize,
    /// Those that got stuck since the last look.
    pub(super) newly_stuck: Vec<usize>,
    /// Those that turn again.
    pub(super) recovered: Vec<usize>,
}

impl Liveness {
    /// Of so many SETs, all just seen. One that has not moved for `patience` is stuck.
    pub(super) fn new(sets: usize, patience: Duration, now: Duration) -> Self {
        Self { sets: vec![Seen { enters: 0, moved_at: now, is_stuck: false }; sets], patience }
    }

    /// One look, at each SET's enters.
    pub(super) fn look(&mut self, now: Duration, enters: impl IntoIterator<Item = u64>) -> Finding {
        let mut finding = Finding::default();
        for (set, (seen, enters)) in self.sets.iter_mut().zip(enters).enumerate() {
            if seen.enters != enters {
                (seen.enters, seen.moved_at) = (enters, now);
            }
            let is_stuck = now.saturating_sub(seen.moved_at) >= self.patience;
            match (std::mem::replace(&mut seen.is_stuck, is_stuck), is_stuck) {
                (false, true) => finding.newly_stuck.push(set),
                (true, false) => finding.recovered.push(set),
                _ => {}
            }
            finding.stuck += usize::from(is_stuck);
        }
        finding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn an_idle_set_that_enters_four_times_a_second_is_alive_for_ever() {
        let mut liveness = Liveness::new(1, PATIENCE, at(0));
        for tick in 1..1000 {
            assert_eq!(liveness.look(at(tick * 250), [tick]), Finding::default());
        }
    }

    #[test]
    fn one_stuck_set_among_many_is_found_once_and_counted_until_it_turns() {
        let mut liveness = Liveness::new(3, PATIENCE, at(0));
        assert_eq!(liveness.look(at(100), [1, 1, 1]).stuck, 0);
        assert_eq!(liveness.look(at(2099), [2, 1, 2]).stuck, 0, "not yet");
        let found = liveness.look(at(2100), [3, 1, 3]);
        assert_eq!(found, Finding { stuck: 1, newly_stuck: vec![1], recovered: vec![] });
        assert_eq!(liveness.look(at(3000), [4, 1, 4]), Finding { stuck: 1, ..Finding::default() });
        assert_eq!(liveness.look(at(3001), [5, 2, 5]), Finding { recovered: vec![1], ..Finding::default() });
    }

    #[test]
    fn a_set_that_never_turned_at_all_is_stuck_as_well() {
        let mut liveness = Liveness::new(2, PATIENCE, at(500));
        assert_eq!(liveness.look(at(2600), [7, 0]).newly_stuck, [1]);
    }
}
