//! The rounds as they stand: what the configuration plans, and what operators moved. Pure.

use std::time::Duration;

use crate::admin::{Cue, RoundMove, RoundState, RoundStatus};
use crate::exit::{Exit, Failure};
use crate::messages::{RoundOrder, RoundTimes};
use crate::rounds::{Leftover, Moment, Round};

#[derive(Clone, Debug)]
struct Standing {
    round: Round,
    /// When it begins and ends; `None` where it waits for its cue.
    times: Option<(Moment, Moment)>,
    moved: bool,
    /// Since when this daemon knows of it: what was due before is not issued late.
    known_since: Moment,
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub(super) struct Schedule(Vec<Standing>);

/// A round that runs, for the feeder. Equal where there is nothing new to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Running {
    number: u32,
    from: Moment,
    to: Moment,
    envelopes: Option<u64>,
    makes_up: bool,
    carries: bool,
}

impl Running {
    pub(super) fn order(&self, now: Moment) -> RoundOrder {
        RoundOrder {
            number: self.number,
            envelopes: self.envelopes,
            elapsed: now.since(self.from),
            left: self.to.since(now),
            makes_up: self.makes_up,
            carries: self.carries,
        }
    }
}

impl Schedule {
    pub(super) fn new(rounds: &[Round], now: Moment) -> Self {
        Self(rounds.iter().map(|round| Standing::planned(round.clone(), now)).collect())
    }

    /// Another plan. Rounds that are planned as before keep the times that operators gave them.
    pub(super) fn plan_anew(&mut self, rounds: &[Round], now: Moment) {
        let before = std::mem::take(&mut self.0);
        self.0 = rounds
            .iter()
            .map(|round| {
                let same = before.iter().find(|standing| standing.round == *round);
                same.cloned().unwrap_or_else(|| Standing::planned(round.clone(), now))
            })
            .collect();
    }

    fn running(&self, now: Moment) -> Option<(usize, &Standing, Moment, Moment)> {
        self.0.iter().enumerate().find_map(|(index, standing)| {
            let (start, end) = standing.times.filter(|(start, end)| *start <= now && now < *end)?;
            Some((index, standing, start, end))
        })
    }

    /// The round that runs, for the feeder.
    pub(super) fn now(&self, now: Moment) -> Option<Running> {
        let (index, standing, start, end) = self.running(now)?;
        let from = start.max(standing.known_since);
        let whole = if standing.moved { end.since(start) } else { standing.round.length() };
        Some(Running {
            number: index as u32 + 1,
            from,
            to: end,
            envelopes: standing.round.planned_in(end.since(from), whole),
            makes_up: standing.round.envelopes.is_some(),
            carries: standing.round.leftover == Leftover::Carry,
        })
    }

    /// What clients are told: the round that runs, or the next one.
    pub(super) fn times(&self, now: Moment) -> Option<RoundTimes> {
        let all = self.0.iter().enumerate().filter_map(|(index, standing)| Some((index, standing.times?)));
        let next = all.filter(|(_, (_, end))| now < *end).min_by_key(|(_, (start, _))| *start);
        next.map(|(index, (start, end))| RoundTimes { number: index as u16 + 1, start_us: start.0, end_us: end.0 })
    }

    /// The caps of the round that runs, where it has some: in all, and of one sponsor; 0 for none.
    pub(super) fn caps(&self, now: Moment) -> (Option<u32>, Option<u32>) {
        let running = self.running(now).map(|(_, standing, ..)| &standing.round);
        let number = |cap: Option<crate::units::Cap>| cap.map(crate::units::Cap::number);
        (running.and_then(|round| number(round.cap_per_user)), running.and_then(|round| number(round.cap_per_sponsor)))
    }

    /// The caps in all of the rounds that are not over.
    pub(super) fn caps_to_come(&self, now: Moment) -> impl Iterator<Item = u32> {
        let to_come = self.0.iter().filter(move |standing| standing.times.is_none_or(|(_, end)| now < end));
        to_come.filter_map(|standing| standing.round.cap_per_user.map(crate::units::Cap::number))
    }

    /// How each round stands.
    pub(super) fn list(&self, now: Moment) -> Vec<RoundStatus> {
        let status = |standing: &Standing| {
            let state = match standing.times {
                None => RoundState::Waiting,
                Some((start, _)) if now < start => RoundState::Scheduled,
                Some((_, end)) if now < end => RoundState::Running,
                Some(_) => RoundState::Over,
            };
            let seconds = standing.times.and_then(|(start, end)| match state {
                RoundState::Scheduled => Some(start.since(now).as_secs_f64()),
                RoundState::Running => Some(end.since(now).as_secs_f64()),
                RoundState::Waiting | RoundState::Over => None,
            });
            RoundStatus {
                name: standing.round.name.clone(),
                state,
                start: standing.times.map(|(start, _)| start),
                end: standing.times.map(|(_, end)| end),
                seconds: seconds.map(|seconds| (seconds * 10.0).round() / 10.0),
                moved: standing.moved,
                note: standing.round.note.clone(),
            }
        };
        self.0.iter().map(status).collect()
    }

    /// Moves a round's begin or end, and says what it did.
    pub(super) fn shift(&mut self, name: &str, order: RoundMove, now: Moment) -> Result<String, Failure> {
        let refuse = |message: String| Err(Failure::new(Exit::Usage, message));
        let Some(place) = self.0.iter().position(|standing| standing.round.name == name) else {
            let names: Vec<&str> = self.0.iter().map(|standing| standing.round.name.as_str()).collect();
            let known = if names.is_empty() { "none is configured".to_owned() } else { names.join(", ") };
            return refuse(format!("there is no round `{name}`: {known}"));
        };
        let standing = &self.0[place];
        let times = match (order, standing.times) {
            (_, Some((_, end))) if end <= now => {
                return refuse(format!("round `{name}` is over since {end}: configure another one and reload"));
            }
            (RoundMove::StartAt { .. }, Some((start, _))) if start <= now => {
                return refuse(format!("round `{name}` runs since {start}: only its end can move (`end-at`)"));
            }
            (RoundMove::StartAt { when }, times) => {
                let start = when.moment(now);
                let length = times.map_or(standing.round.length(), |(start, end)| end.since(start));
                (start, start.plus(length))
            }
            (RoundMove::EndAt { .. }, None) => {
                return refuse(format!("round `{name}` waits for its cue: give it a start first (`start-at`)"));
            }
            (RoundMove::EndAt { when }, Some((start, _))) => (start, when.moment(now)),
        };
        let (start, end) = times;
        if end <= start {
            return refuse(format!("round `{name}` would end at {end}, which is not after its start at {start}"));
        }
        // A start that has just passed is a cue; one of long ago is a mistake.
        if matches!(order, RoundMove::StartAt { .. }) && now.since(start) > Duration::from_secs(1) {
            return refuse(format!("{start} is past; the time is {now}"));
        }
        let other = self.0.iter().enumerate().find(|(other, standing)| {
            *other != place
                && standing.times.is_some_and(|(other_start, other_end)| start < other_end && other_start < end)
        });
        if let Some((_, other)) = other {
            let (other_start, other_end) = other.times.unwrap_or((start, end));
            let other = &other.round.name;
            return refuse(format!(
                "round `{name}` from {start} to {end} would overlap `{other}` from {other_start} to {other_end}: move that one first"
            ));
        }
        let standing = &mut self.0[place];
        standing.times = Some(times);
        standing.moved = true;
        let until = start.since(now).as_secs_f64();
        let begins = if start <= now { "runs".to_owned() } else { format!("begins in {until:.1} s, at {start},") };
        Ok(format!("round `{name}` {begins} and ends at {end}; until a restart, or until its plan changes"))
    }
}

impl Standing {
    fn planned(round: Round, now: Moment) -> Self {
        let times = round.start.map(|start| (start, start.plus(round.length())));
        Self { round, times, moved: false, known_since: now }
    }
}

impl Cue {
    /// The moment that is meant at `now`.
    fn moment(self, now: Moment) -> Moment {
        match self {
            Self::In(time) => now.plus(time.0),
            Self::At(moment) => moment,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUNDS: &str = r#"[
        {"name": "one", "start": "2027-02-05T12:00:00Z", "duration": "100s", "rate": "10/s", "leftover": "carry"},
        {"name": "two", "start": "2027-02-05T12:05:00Z", "duration": "100s", "envelopes": 500, "cap_per_user": 5},
        {"name": "cued", "duration": "50s", "rate": "10/s", "cap_per_user": 1}]"#;

    fn at(second: u64) -> Moment {
        let noon: Moment = "2027-02-05T12:00:00Z".parse().expect("a time");
        Moment(noon.0 + second * 1_000_000)
    }

    fn schedule(known_at: Moment) -> Schedule {
        let rounds: Vec<Round> = serde_json::from_str(ROUNDS).expect("rounds");
        assert_eq!(crate::rounds::problems(&rounds), [] as [&str; 0]);
        Schedule::new(&rounds, known_at)
    }

    fn start_at(second: u64) -> RoundMove {
        RoundMove::StartAt { when: Cue::At(at(second)) }
    }

    const LONG_AGO: Moment = Moment(0);

    #[test]
    fn clients_are_told_of_the_round_that_runs_or_the_next() {
        let schedule = schedule(LONG_AGO);
        let told = |second| schedule.times(at(second)).map(|times| times.number);
        assert_eq!([0, 99, 100, 399, 400].map(told), [Some(1), Some(1), Some(2), Some(2), None]);
        assert_eq!(schedule.now(at(100)), None);
        assert_eq!(schedule.now(at(50)).expect("runs").order(at(50)).elapsed, Duration::from_secs(50));
        assert_eq!(schedule.caps(at(350)), (Some(5), None));
        assert_eq!(schedule.caps_to_come(at(350)).max(), Some(5));
        assert_eq!(schedule.caps_to_come(at(400)).max(), Some(1), "what waits for its cue may still come");
    }

    #[test]
    fn a_daemon_that_starts_amid_a_round_issues_the_rest_of_it() {
        let order = schedule(at(75)).now(at(80)).expect("runs").order(at(80));
        assert_eq!(
            (order.envelopes, order.elapsed, order.left),
            (Some(250), Duration::from_secs(5), Duration::from_secs(20))
        );
        assert_eq!(schedule(at(350)).now(at(350)).expect("runs").order(at(350)).envelopes, Some(250));
    }

    #[test]
    fn a_round_moves_on_cue_and_not_into_another() {
        let mut schedule = schedule(LONG_AGO);
        let cue = RoundMove::StartAt { when: "+5".parse().expect("a cue") };
        assert!(schedule.shift("cued", cue, at(0)).is_err_and(|why| why.message.contains("overlap `one`")));
        assert!(schedule.shift("cued", cue, at(195)).is_ok());
        assert_eq!(schedule.times(at(195)), Some(RoundTimes { number: 3, start_us: at(200).0, end_us: at(250).0 }));
        assert!(schedule.shift("two", start_at(240), at(195)).is_err());
        assert!(schedule.shift("two", start_at(260), at(195)).is_ok());
        assert_eq!(schedule.now(at(300)).expect("runs").order(at(300)).left, Duration::from_secs(60));
    }

    #[test]
    fn a_round_that_runs_can_only_end_and_one_that_is_over_is_over() {
        let mut schedule = schedule(LONG_AGO);
        assert!(schedule.shift("one", start_at(60), at(50)).is_err_and(|why| why.message.contains("end-at")));
        let end = RoundMove::EndAt { when: Cue::At(at(60)) };
        assert!(schedule.shift("one", end, at(50)).is_ok());
        assert!(schedule.shift("one", end, at(61)).is_err_and(|why| why.message.contains("over")));
        assert!(schedule.shift("cued", end, at(61)).is_err_and(|why| why.message.contains("start-at")));
        assert!(schedule.shift("two", start_at(61), at(70)).is_err_and(|why| why.message.contains("past")));
        assert!(schedule.shift("three", end, at(61)).is_err_and(|why| why.message.contains("one, two, cued")));
    }

    #[test]
    fn a_new_plan_leaves_moved_rounds_where_they_are_planned_as_before() {
        let mut schedule = schedule(LONG_AGO);
        assert!(schedule.shift("two", start_at(1000), at(150)).is_ok());
        let mut rounds: Vec<Round> = serde_json::from_str(ROUNDS).expect("rounds");
        rounds[0].note = Some("late".to_owned());
        schedule.plan_anew(&rounds, at(160));
        let list = schedule.list(at(160));
        assert_eq!((list[1].start, list[1].moved), (Some(at(1000)), true));
        rounds[1].envelopes = Some(1);
        schedule.plan_anew(&rounds, at(160));
        assert_eq!(schedule.list(at(160))[1].start, Some(at(300)));
    }
}
