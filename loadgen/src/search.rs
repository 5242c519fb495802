//! The search for the highest rate that holds: which rate to try next, given how the earlier ones went. No clock, no socket: whoever
//! asks for a [`Step`] makes the trial and tells its [`Verdict`].
//!
//! Upwards from the lowest rate by doubling until one does not hold; then halving the gap until it is within the resolution; then the
//! highest that held must hold again, several times in a row. Where it does not, the next lower rate must. Trials are bounded: what they
//! did not suffice to confirm is said to be unconfirmed.

use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::limits::{SEARCH_RESOLUTION_MAX, SEARCH_RESOLUTION_MIN, SEARCH_TRIALS_MAX};

/// Where to search, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// The first rate tried, a second.
    pub low: u64,
    /// The highest, a second.
    pub high: u64,
    /// How close to the limit is close enough, as a share of the rate.
    pub resolution: f64,
    /// Trials, confirmations among them.
    pub trials_max: u32,
    /// How often in a row the answer must hold again.
    pub confirmations: u32,
}

impl Bounds {
    /// Says what is wrong with them.
    pub fn check(&self) -> Result<(), Failure> {
        let wrong = if self.low == 0 || self.high < self.low {
            format!("rates to search are from 1/s upwards, not {}/s to {}/s", self.low, self.high)
        } else if !(SEARCH_RESOLUTION_MIN..=SEARCH_RESOLUTION_MAX).contains(&self.resolution) {
            format!(
                "the resolution is {}% to {}%, not {}%",
                SEARCH_RESOLUTION_MIN * 100.0,
                SEARCH_RESOLUTION_MAX * 100.0,
                self.resolution * 100.0
            )
        } else if self.trials_max > SEARCH_TRIALS_MAX || self.trials_max <= self.confirmations {
            format!("trials are more than the confirmations ({}) and at most {SEARCH_TRIALS_MAX}", self.confirmations)
        } else {
            return Ok(());
        };
        Err(Failure::usage(wrong))
    }
}

/// How a trial went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every expectation held.
    Held,
    /// One did not: the server's limit.
    Missed,
    /// The run was not valid: the load generator's limit. It counts as not held.
    Invalid,
}

/// A trial that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Shakes a second.
    pub rate: u64,
    /// How it went.
    pub verdict: Verdict,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Try this rate.
    Trial(u64),
    /// Try this rate, which held before, again.
    Confirm(u64),
    /// The end.
    Found(Answer),
    /// The end: not even the lowest rate held, for this reason.
    NothingHolds(Limit),
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The highest rate that holds, a second.
    pub rate: u64,
    /// Whether it held again as often as was asked for; otherwise the trials did not suffice.
    pub confirmed: bool,
    /// What kept it from being higher.
    pub limit: Limit,
}

/// What the limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The server missed an expectation at the next higher rate.
    Server,
    /// The load generator could not make the next higher rate: the server may do more.
    LoadGenerator,
    /// The search was not asked to go higher, or its trials were used up before anything failed.
    Search,
}

impl Limit {
    /// In words.
    pub const fn words(&self) -> &'static str {
        match self {
            Self::Server => "the server",
            Self::LoadGenerator => "the load generator: the server may do more",
            Self::Search => "what was asked for: the server may do more",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Ascent,
    Confirmation { rate: u64, held_in_a_row: u32 },
    Nothing,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Search {
    bounds: Bounds,
    trials: Vec<Trial>,
    /// The highest rate that held before anything was confirmed.
    held: Option<u64>,
    /// The lowest that did not.
    missed: Option<u64>,
    phase: Phase,
}

impl Search {
    /// Nothing tried yet. The bounds are sound.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, trials: Vec::new(), held: None, missed: None, phase: Phase::Ascent }
    }

    /// The trials made.
    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }

    /// What to do next.
    pub fn step(&self) -> Step {
        let used_up = self.trials.len() >= self.bounds.trials_max as usize;
        match self.phase {
            Phase::Ascent => Step::Trial(self.next_rate().unwrap_or(self.bounds.low)),
            Phase::Nothing => Step::NothingHolds(self.limit_above(0)),
            Phase::Confirmation { rate, held_in_a_row } => {
                let confirmed = held_in_a_row >= self.bounds.confirmations;
                if confirmed || used_up {
                    Step::Found(Answer { rate, confirmed, limit: self.limit_above(rate) })
                } else {
                    Step::Confirm(rate)
                }
            }
        }
    }

    /// Takes the verdict on the trial that [`step`](Self::step) asked for. Asserts that it asked for one.
    pub fn take(&mut self, verdict: Verdict) {
        let (Step::Trial(rate) | Step::Confirm(rate)) = self.step() else { panic!("the search is over") };
        self.trials.push(Trial { rate, verdict });
        let held = verdict == Verdict::Held;
        match &mut self.phase {
            Phase::Ascent => {
                *(if held { &mut self.held } else { &mut self.missed }) = Some(rate);
                self.end_ascent();
            }
            Phase::Confirmation { held_in_a_row, .. } if held => *held_in_a_row += 1,
            Phase::Confirmation { .. } => self.step_down(rate),
            Phase::Nothing => {}
        }
    }

    /// The next rate of the ascent; `None` where the gap is small enough.
    fn next_rate(&self) -> Option<u64> {
        let Bounds { low, high, resolution, .. } = self.bounds;
        match (self.held, self.missed) {
            (None, None) => Some(low),
            (None, Some(_)) => None,
            (Some(held), None) => (held < high).then(|| held.saturating_mul(2).min(high)),
            (Some(held), Some(missed)) => {
                let gap = missed - held;
                (gap > 1 && gap as f64 > held as f64 * resolution).then(|| held + gap / 2)
            }
        }
    }

    fn end_ascent(&mut self) {
        // The last trials are kept for the confirmation.
        let used_up = self.trials.len() + self.bounds.confirmations as usize >= self.bounds.trials_max as usize;
        if let Some(rate) = self.held {
            if used_up || self.next_rate().is_none() {
                self.phase = Phase::Confirmation { rate, held_in_a_row: 0 };
            }
        } else {
            self.phase = Phase::Nothing;
        }
    }

    fn step_down(&mut self, rate: u64) {
        let lower = if self.trials.len() >= self.bounds.trials_max as usize {
            // Nothing is left to try a lower rate with: what held before, if anything below did, is the answer, unconfirmed.
            let below = self.trials.iter().filter(|trial| trial.rate < rate && trial.verdict == Verdict::Held);
            below.map(|trial| trial.rate).max()
        } else if rate > self.bounds.low {
            let lower = (rate as f64 / (1.0 + self.bounds.resolution)) as u64;
            Some(lower.min(rate - 1).max(self.bounds.low))
        } else {
            None
        };
        self.phase = match lower {
            Some(rate) => Phase::Confirmation { rate, held_in_a_row: 0 },
            None => Phase::Nothing,
        };
    }

    /// Why the lowest rate above this one that did not hold did not.
    fn limit_above(&self, rate: u64) -> Limit {
        let failed = || self.trials.iter().filter(|trial| trial.rate > rate && trial.verdict != Verdict::Held);
        let Some(lowest) = failed().map(|trial| trial.rate).min() else { return Limit::Search };
        if failed().any(|trial| trial.rate == lowest && trial.verdict == Verdict::Missed) {
            Limit::Server
        } else {
            Limit::LoadGenerator
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { low: 1_000, high: 1_000_000, resolution: 0.05, trials_max: 40, confirmations: 2 };

    /// Lets a server answer until the search ends; the trials it took, and the end.
    fn searched(bounds: Bounds, mut server: impl FnMut(u64) -> Verdict) -> (Vec<Trial>, Step) {
        bounds.check().unwrap();
        let mut search = Search::new(bounds);
        loop {
            match search.step() {
                Step::Trial(rate) | Step::Confirm(rate) => search.take(server(rate)),
                end => return (search.trials().to_vec(), end),
            }
        }
    }

    fn up_to(capacity: u64) -> impl Fn(u64) -> Verdict {
        move |rate| if rate <= capacity { Verdict::Held } else { Verdict::Missed }
    }

    fn rates(trials: &[Trial]) -> Vec<u64> {
        trials.iter().map(|trial| trial.rate).collect()
    }

    #[test]
    fn it_doubles_then_halves_the_gap_then_confirms() {
        let bounds = Bounds { resolution: 0.1, ..BOUNDS };
        let (trials, end) = searched(bounds, up_to(11_000));
        assert_eq!(
            rates(&trials),
            [1_000, 2_000, 4_000, 8_000, 16_000, 12_000, 10_000, 11_000, 11_000, 11_000],
            "{trials:?}"
        );
        assert_eq!(end, Step::Found(Answer { rate: 11_000, confirmed: true, limit: Limit::Server }));
    }

    #[test]
    fn a_server_that_does_all_that_is_asked_is_limited_by_the_search() {
        let (trials, end) = searched(Bounds { high: 5_000, ..BOUNDS }, up_to(u64::MAX));
        assert_eq!(rates(&trials), [1_000, 2_000, 4_000, 5_000, 5_000, 5_000]);
        assert_eq!(end, Step::Found(Answer { rate: 5_000, confirmed: true, limit: Limit::Search }));
    }

    #[test]
    fn a_server_that_does_nothing_is_found_out_at_once() {
        assert_eq!(searched(BOUNDS, up_to(0)).1, Step::NothingHolds(Limit::Server));
        assert_eq!(searched(BOUNDS, |_| Verdict::Invalid).1, Step::NothingHolds(Limit::LoadGenerator));
    }

    #[test]
    fn a_load_generator_at_its_limit_is_not_taken_for_the_server_s() {
        let verdict = |rate| if rate <= 30_000 { Verdict::Held } else { Verdict::Invalid };
        let Step::Found(answer) = searched(BOUNDS, verdict).1 else { panic!("something holds") };
        assert_eq!((answer.limit, answer.confirmed), (Limit::LoadGenerator, true));
        assert!((28_500..=30_000).contains(&answer.rate), "{answer:?}");
        // The load generator fails far above, the server right above the answer: it is the server.
        let verdict = |rate| match rate {
            0..=30_000 => Verdict::Held,
            30_001..=40_000 => Verdict::Missed,
            _ => Verdict::Invalid,
        };
        let Step::Found(answer) = searched(BOUNDS, verdict).1 else { panic!("something holds") };
        assert_eq!(answer.limit, Limit::Server);
    }

    #[test]
    fn what_held_once_by_luck_is_not_the_answer() {
        let mut lucky = true;
        let (trials, end) = searched(Bounds { low: 1_000, high: 2_000, ..BOUNDS }, |rate| match rate {
            2_000 if lucky => {
                lucky = false;
                Verdict::Held
            }
            0..1_900 => Verdict::Held,
            _ => Verdict::Missed,
        });
        assert_eq!(rates(&trials), [1_000, 2_000, 2_000, 1_904, 1_813, 1_813]);
        assert_eq!(end, Step::Found(Answer { rate: 1_813, confirmed: true, limit: Limit::Server }));
    }

    #[test]
    fn an_answer_that_the_trials_did_not_suffice_to_confirm_says_so() {
        let bounds = Bounds { low: 1_000, high: 2_000, trials_max: 4, confirmations: 2, ..BOUNDS };
        let mut trials = 0;
        let (_, end) = searched(bounds, |_| {
            trials += 1;
            if trials == 3 { Verdict::Missed } else { Verdict::Held }
        });
        assert_eq!(end, Step::Found(Answer { rate: 1_904, confirmed: false, limit: Limit::Server }));
        // The very last trial fails: what held below it is all there is.
        let bounds = Bounds { trials_max: 3, confirmations: 1, ..bounds };
        let mut trials = 0;
        let (_, end) = searched(bounds, |_| {
            trials += 1;
            if trials == 3 { Verdict::Missed } else { Verdict::Held }
        });
        assert_eq!(end, Step::Found(Answer { rate: 1_000, confirmed: false, limit: Limit::Server }));
    }

    #[test]
    fn bounds_that_cannot_be_are_refused() {
        for bounds in [
            Bounds { low: 0, ..BOUNDS },
            Bounds { high: 999, ..BOUNDS },
            Bounds { resolution: 0.0, ..BOUNDS },
            Bounds { resolution: f64::NAN, ..BOUNDS },
            Bounds { resolution: 2.0, ..BOUNDS },
            Bounds { trials_max: 2, ..BOUNDS },
            Bounds { trials_max: u32::MAX, ..BOUNDS },
        ] {
            assert!(bounds.check().is_err(), "{bounds:?}");
        }
    }

    proptest! {
        #[test]
        fn a_steady_server_s_limit_is_found_within_the_resolution(
            capacity in 100u64..2_000_000, low in 100u64..5_000, resolution in 0.01..0.3f64, confirmations in 0u32..4,
        ) {
            let bounds = Bounds { low, high: 1_000_000, resolution, trials_max: 60, confirmations };
            let (trials, end) = searched(bounds, up_to(capacity));
            let reachable = capacity.min(bounds.high);
            match end {
                Step::Found(answer) => {
                    prop_assert!(answer.confirmed && answer.rate <= capacity);
                    prop_assert!(answer.rate as f64 * (1.0 + resolution) + 1.0 >= reachable as f64, "{answer:?} of {capacity}: {trials:?}");
                }
                _ => prop_assert!(capacity < low),
            }
        }

        #[test]
        fn a_moody_server_is_done_with_after_the_trials_and_never_asked_for_more_than_the_bounds(
            moods in prop::collection::vec(0u8..3, 64), low in 1u64..5_000, factor in 1u64..1_000,
            resolution in 0.001..0.5f64, confirmations in 0u32..5, more in 1u32..40,
        ) {
            let bounds = Bounds { low, high: low * factor, resolution, trials_max: confirmations + more, confirmations };
            let mut moods = moods.into_iter().cycle();
            let (trials, end) = searched(bounds, |_| match moods.next() {
                Some(0) => Verdict::Held,
                Some(1) => Verdict::Missed,
                _ => Verdict::Invalid,
            });
            prop_assert!(trials.len() <= bounds.trials_max as usize);
            prop_assert!(trials.iter().all(|trial| (bounds.low..=bounds.high).contains(&trial.rate)), "{trials:?}");
            if let Step::Found(answer) = end && answer.confirmed {
                let last = &trials[trials.len() - confirmations as usize..];
                let expected = Trial { rate: answer.rate, verdict: Verdict::Held };
                prop_assert!(last.iter().all(|trial| *trial == expected));
            }
        }
    }
}
