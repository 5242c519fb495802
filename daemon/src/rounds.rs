//! Rounds: the periods of the live show, each with its own issue, as the configuration plans them. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::ROUNDS_MAX;
use crate::units::{Cap, Period, Rate};

/// A moment of the wall clock, in microseconds since 1970 UTC; written as in `2027-02-05T20:00:00+08:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// So much later.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))
    }

    /// From `earlier` until this; nothing where it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).ok_or_else(|| {
            format!("`{text}` is no time: write date, time and zone, as in 2027-02-05T20:00:00+08:00 or ...T12:00:00Z")
        })
    }
}

fn parse(text: &str) -> Option<Moment> {
    if !text.is_ascii() {
        return None;
    }
    let (utc, ahead_s) = if let Some(utc) = text.strip_suffix('Z') {
        (utc, 0)
    } else {
        let (local, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
        let [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] = *zone.as_bytes() else { return None };
        let digit = |byte: u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
        let (hours, minutes) = (digit(h1)? * 10 + digit(h2)?, digit(m1)? * 10 + digit(m2)?);
        let ahead = (hours * 60 + minutes) * 60;
        (local, if sign == b'+' { ahead } else { -ahead })
    };
    let time = humantime::parse_rfc3339(&format!("{utc}Z")).ok()?;
    let local_us = i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()?;
    u64::try_from(local_us - ahead_s * 1_000_000).ok().map(Moment)
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        let time = (UNIX_EPOCH + Duration::from_micros(self.0)).min(last);
        if self.0.is_multiple_of(1_000_000) {
            humantime::format_rfc3339_seconds(time).fmt(f)
        } else {
            humantime::format_rfc3339_micros(time).fmt(f)
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What becomes of envelopes that a round was to issue and did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Leftover {
    /// They stay unissued, for whoever comes by the rates of later.
    #[default]
    Return,
    /// The next round issues them beside its own.
    Carry,
}

/// One round, as planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// What operators call it.
    pub name: String,
    /// When it begins; without it, on cue (`ctl round NAME start-at ...`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Moment>,
    /// When it ends; this or the duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Moment>,
    /// How long it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Period>,
    /// Envelopes a second, and no more at any time; this or the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Envelopes in all, spread evenly; what was not asked for early is spread over what is left of the round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelopes: Option<u64>,
    /// Envelopes that a user may have in all while it runs; without it, as outside of rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap_per_user: Option<Cap>,
    /// Envelopes of one sponsor that a user may have while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap_per_sponsor: Option<Cap>,
    /// What becomes of what it does not issue.
    #[serde(default)]
    pub leftover: Leftover,
    /// For the operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Round {
    /// How long it is. Zero for one that [`problems`] refuses.
    pub fn length(&self) -> Duration {
        match (self.duration, self.start, self.end) {
            (Some(duration), _, _) => duration.0,
            (None, Some(start), Some(end)) => end.since(start),
            (None, _, _) => Duration::ZERO,
        }
    }

    /// How many envelopes are planned for `part` of its length; `None` for as many as are asked for.
    pub fn planned_in(&self, part: Duration, whole: Duration) -> Option<u64> {
        let share = |count: u128, of: u128| u64::try_from(count * part.as_micros() / of.max(1)).unwrap_or(u64::MAX);
        match (self.envelopes, self.rate) {
            (Some(envelopes), _) => Some(share(envelopes.into(), whole.as_micros())),
            (None, Some(Rate::PerSecond(rate))) => Some(share(rate.into(), 1_000_000)),
            (None, _) => None,
        }
    }
}

/// What is wrong with a plan, each with what to do about it.
pub fn problems(rounds: &[Round]) -> Vec<String> {
    let mut problems = Vec::new();
    if rounds.len() > ROUNDS_MAX {
        problems.push(format!("rounds: there are {}, and at most {ROUNDS_MAX} may be", rounds.len()));
    }
    for (index, round) in rounds.iter().enumerate() {
        let mut wrong = |problem: &str| problems.push(format!("rounds: `{}`: {problem}", round.name));
        if !is_name(&round.name) {
            wrong("a name is 1 to 32 of a-z, 0-9, - and _");
        }
        if rounds[..index].iter().any(|earlier| earlier.name == round.name) {
            wrong("there are two of this name");
        }
        if round.end.is_some() == round.duration.is_some() {
            wrong("give it either an end or a duration");
        } else if round.end.is_some() && round.start.is_none() {
            wrong("it has an end and no start: one that waits for its cue has a duration");
        } else if !(Duration::from_millis(100)..=Duration::from_secs(24 * 3600)).contains(&round.length()) {
            wrong("it must last between 100ms and 24h");
        }
        if round.rate.is_some() == round.envelopes.is_some() {
            wrong("give it either a rate or a number of envelopes");
        }
    }
    let mut timed: Vec<(Moment, Moment, &str)> = rounds
        .iter()
        .filter_map(|round| round.start.map(|start| (start, start.plus(round.length()), round.name.as_str())))
        .collect();
    timed.sort_unstable();
    for pair in timed.windows(2) {
        if pair[1].0 < pair[0].1 {
            problems.push(format!("rounds: `{}` begins before `{}` ends: one at a time", pair[1].2, pair[0].2));
        }
    }
    problems
}

/// What a round or a playbook may be called: one word of a command line.
pub fn is_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    (1..=32).contains(&name.len()) && name.bytes().all(good) && !name.starts_with('-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rounds(json: &str) -> Vec<Round> {
        serde_json::from_str(json).expect("rounds")
    }

    #[test]
    fn a_time_means_the_same_in_every_zone() {
        let noon: Moment = "2027-02-05T12:00:00Z".parse().expect("a time");
        assert_eq!("2027-02-05T20:00:00+08:00".parse(), Ok(noon));
        assert_eq!("2027-02-05T06:30:00-05:30".parse(), Ok(noon));
        assert_eq!("2027-02-05T12:00:00.25Z".parse(), Ok(noon.plus(Duration::from_millis(250))));
        assert_eq!(noon.to_string(), "2027-02-05T12:00:00Z");
        for text in
            ["", "Z", "2027-02-05", "2027-02-05T12:00:00", "20:00", "2027-02-05T12:00:00+8:00", "2027-13-05T12:00:00Z"]
        {
            assert!(text.parse::<Moment>().expect_err(text).contains("+08:00"), "{text}");
        }
    }

    #[test]
    fn a_plan_that_contradicts_itself_is_told_where() {
        let wrong = rounds(
            r#"[{"name": "one", "start": "2027-02-05T12:00:00Z", "duration": "3m", "rate": "5/s"},
                {"name": "one", "start": "2027-02-05T12:02:59Z", "end": "2027-02-05T12:03:59Z", "envelopes": 7},
                {"name": "Two", "duration": "1h", "rate": "5/s", "envelopes": 5},
                {"name": "three", "end": "2027-02-05T12:03:59Z", "rate": "5/s"},
                {"name": "four", "duration": "25h", "rate": "5/s"}]"#,
        );
        let told = problems(&wrong).join("\n");
        for part in ["two of this name", "before `one` ends", "a-z", "either a rate", "no start", "24h"] {
            assert!(told.contains(part), "{part} is missing in\n{told}");
        }
        assert_eq!(problems(&wrong).len(), 6, "{told}");
        assert_eq!(problems(&wrong[..1]), [] as [&str; 0]);
    }

    #[test]
    fn what_is_planned_for_a_part_is_its_share() {
        let rounds = rounds(
            r#"[{"name": "a", "duration": "100s", "rate": "7/s"}, {"name": "b", "duration": "100s", "envelopes": 10},
                {"name": "c", "duration": "100s", "rate": "unlimited"}]"#,
        );
        for (seconds, planned) in [(100, [Some(700), Some(10), None]), (25, [Some(175), Some(2), None])] {
            let part = Duration::from_secs(seconds);
            let found: Vec<_> = rounds.iter().map(|round| round.planned_in(part, round.length())).collect();
            assert_eq!(found, planned);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back(us in 0_u64..253_402_300_799_000_000) {
            prop_assert_eq!(Moment(us).to_string().parse(), Ok(Moment(us)));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = text.parse::<Moment>();
        }
    }
}
