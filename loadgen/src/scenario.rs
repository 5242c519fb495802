//! What a run is to do, as data: stages, one after the other, and what is expected of them. Made of a file, of the built-in ones (which
//! are files too), or of flags.

mod builtin;
mod flags;
mod typed;

use serde::{Deserialize, Serialize};

use crate::arguments::ScheduleChoice;
use crate::exit::Failure;
use crate::expect::Expectation;
use crate::gifts::load::GiftLoad;
use crate::limits::{STAGES_MAX, TICK_MAX_US, TICK_MIN_US};

pub use builtin::{Builtin, builtin, find};
pub use typed::{Count, Percentage, RateRange, Time};

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name, as in `hongbao-loadgen scenario NAME`.
    pub name: String,
    /// One line for the list.
    #[serde(default)]
    pub description: String,
    /// When users shake.
    #[serde(default)]
    pub schedule: ScheduleChoice,
    /// Between two turns of a thread; by the number of threads where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick: Option<Time>,
    /// One after the other, over the same connections.
    pub stages: Vec<Stage>,
    /// Expectations of the whole run.
    #[serde(default)]
    pub expect: Vec<Expectation>,
}

/// One stage: brings the connections to a number, then puts a load on them. Without a rate the connections are held for the duration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Its name in the report.
    pub name: String,
    /// Connections from here on; as many as before where it is left out. There can only be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Count>,
    /// Shakes a second: `30k`, or `10k..60k` for a rate that goes evenly from one to the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateRange>,
    /// Instead of a rate: a closed loop with so many shakes of each connection under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// Instead of a rate: finds the highest one at which the expectations hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
    /// Gifts from users to users, besides shakes or alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gifts: Option<GiftLoad>,
    /// The server is restarted at the begin of the stage; it is over when every connection has been made again, or with the duration.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restart: bool,
    /// Between two turns of a thread while it shakes; the scenario's where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick: Option<Time>,
    /// Load before the measurement.
    #[serde(default, skip_serializing_if = "Time::is_zero")]
    pub warm_up: Time,
    /// How long to measure, hold, search one rate for, or wait for connections.
    #[serde(default, skip_serializing_if = "Time::is_zero")]
    pub duration: Time,
    /// Expectations of the stage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<Expectation>,
}

/// A search for the highest rate that holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// The first rate that is tried, in shakes a second.
    pub from: Count,
    /// The highest.
    pub to: Count,
    /// How exact the answer is to be.
    #[serde(default = "Search::resolution")]
    pub resolution: Percentage,
    /// Rates tried at most.
    #[serde(default = "Search::trials")]
    pub trials: u32,
    /// How often the rate found has to hold once more.
    #[serde(default = "Search::confirmations")]
    pub confirmations: u32,
}

impl Search {
    /// Where none is given.
    pub const fn resolution() -> Percentage {
        Percentage(0.05)
    }

    /// Where none are given.
    pub const fn trials() -> u32 {
        20
    }

    /// Where none are given.
    pub const fn confirmations() -> u32 {
        1
    }
}

impl Scenario {
    /// Reads one from JSON and checks it.
    pub fn parse(json: &str, from: &str) -> Result<Self, Failure> {
        let scenario: Self = serde_json::from_str(json).map_err(|error| {
            Failure::usage(format!(
                "the scenario of {from}: {error}; `hongbao-loadgen scenario phase-2 --print` shows one"
            ))
        })?;
        scenario.check().map_err(|problem| Failure::usage(format!("the scenario of {from}: {problem}")))?;
        Ok(scenario)
    }

    /// A built-in one by its name, or one from a file.
    pub fn find(name: &str) -> Result<Self, Failure> {
        if let Some(found) = find(name) {
            return Self::parse(found.json, found.name);
        }
        let text = std::fs::read_to_string(name).map_err(|error| {
            Failure::usage(format!(
                "`{name}` is no scenario (`hongbao-loadgen scenario list` names them) and no file that can be read: {error}"
            ))
        })?;
        Self::parse(&text, name)
    }

    /// Connections of the stage that has the most.
    pub fn connections_max(&self) -> u64 {
        self.stages.iter().filter_map(|stage| stage.connections).map(|count| count.0).max().unwrap_or(0)
    }

    /// The highest rate that some stage asks for or may search.
    pub fn rate_max(&self) -> u64 {
        let of = |stage: &Stage| match (stage.rate, stage.search) {
            (Some(rate), _) => rate.from.max(rate.to),
            (None, Some(search)) => search.to.0,
            (None, None) => 0,
        };
        self.stages.iter().map(of).max().unwrap_or(0)
    }

    /// The highest rate of gifts that some stage asks for, in gifts a second, and the most recipients; none where there are no gifts.
    pub fn gifts_max(&self) -> Option<(u64, u64)> {
        let gifts = || self.stages.iter().filter_map(|stage| stage.gifts);
        let rate = gifts().map(|gifts| gifts.rate.from.max(gifts.rate.to)).max()?;
        Some((rate, gifts().map(|gifts| gifts.recipients).max()?))
    }

    /// Shakes of a connection under way in a closed loop; 0 where there is none.
    pub fn depth_max(&self) -> u32 {
        self.stages.iter().filter_map(|stage| stage.depth).max().unwrap_or(0)
    }

    /// Whether some stage restarts the server.
    pub fn restarts(&self) -> bool {
        self.stages.iter().any(|stage| stage.restart)
    }

    /// Checks the stages against each other: what is wrong with it, if anything.
    pub fn check(&self) -> Result<(), String> {
        if self.stages.is_empty() || self.stages.len() > STAGES_MAX {
            return Err(format!("it has {} stages; 1 to {STAGES_MAX} make sense", self.stages.len()));
        }
        if self.schedule == ScheduleChoice::Closed {
            return Err("a closed loop is a matter of a stage: give it a `depth` instead of a `rate`".to_owned());
        }
        let mut connections = 0;
        for (number, stage) in self.stages.iter().enumerate() {
            stage.check(connections).map_err(|problem| format!("stage {number} (`{}`): {problem}", stage.name))?;
            connections = stage.connections.map_or(connections, |count| count.0);
        }
        Ok(())
    }
}

impl Stage {
    /// Whether something is sent in it.
    pub const fn has_load(&self) -> bool {
        self.rate.is_some() || self.depth.is_some() || self.search.is_some() || self.gifts.is_some()
    }

    fn check(&self, connections_before: u64) -> Result<(), String> {
        let connections = self.connections.map_or(connections_before, |count| count.0);
        if connections == 0 {
            return Err("it has no connections: the first stage needs `connections`".to_owned());
        }
        if connections < connections_before {
            return Err(format!("{connections} connections after {connections_before}: a stage cannot have fewer"));
        }
        let laws = [self.rate.is_some(), self.depth.is_some(), self.search.is_some(), self.restart];
        if laws.iter().filter(|law| **law).count() > 1 {
            return Err("of `rate`, `depth`, `search` and `restart` it can have one".to_owned());
        }
        if let Some(whole) = self.expect.iter().find(|expected| expected.is_of_whole_run()) {
            return Err(format!("`{whole}` is known of the whole run only: write it into the scenario's `expect`"));
        }
        if (laws.contains(&true) || self.gifts.is_some()) && self.duration.is_zero() {
            return Err("it needs a `duration`".to_owned());
        }
        if let Some(gifts) = &self.gifts {
            gifts.check(connections)?;
            if self.restart {
                return Err(
                    "while the server is restarted nobody sends gifts: give `gifts` to another stage".to_owned()
                );
            }
        }
        if self.tick.is_some_and(|tick| !(TICK_MIN_US..=TICK_MAX_US).contains(&(tick.0.as_micros() as u64))) {
            return Err(format!("a `tick` is {TICK_MIN_US}us to {TICK_MAX_US}us"));
        }
        if let Some(search) = &self.search {
            if search.from.0 == 0 || search.from.0 > search.to.0 {
                return Err("the search goes `from` at least 1/s `to` no less".to_owned());
            }
            if self.expect.is_empty() {
                return Err("a search needs expectations: they say which rate holds".to_owned());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> String {
        Scenario::parse(json, "here").unwrap_err().message
    }

    #[test]
    fn a_scenario_that_cannot_be_run_is_refused_with_its_stage() {
        for (stages, word) in [
            ("", "0 stages"),
            (r#"{"name": "a", "rate": 5, "duration": "1s"}"#, "no connections"),
            (r#"{"name": "a", "connections": 5, "rate": 5}"#, "duration"),
            (r#"{"name": "a", "connections": 5, "rate": 5, "depth": 2, "duration": 1}"#, "it can have one"),
            (r#"{"name": "a", "connections": 5}, {"name": "b", "connections": 4}"#, "stage 1 (`b`)"),
            (r#"{"name": "a", "connections": 5, "duration": 1, "search": {"from": 1, "to": 2}}"#, "expectations"),
            (r#"{"name": "a", "connections": 5, "colour": 1}"#, "colour"),
            (r#"{"name": "a", "connections": "many"}"#, "many"),
            (r#"{"name": "a", "connections": 3, "duration": 1, "gifts": {"rate": 5}}"#, "more than 3 connections"),
            (r#"{"name": "a", "connections": 9, "duration": 1, "gifts": {"rate": 5, "recipients": 33}}"#, "1 to 32"),
            (r#"{"name": "a", "connections": 9, "duration": 1, "gifts": {"rate": 5, "shares": 4}}"#, "1 to 3 shares"),
            (r#"{"name": "a", "connections": 9, "duration": 1, "gifts": {"rate": 5, "total_cents": 2}}"#, "not 2"),
            (r#"{"name": "a", "connections": 9, "gifts": {"rate": 5}}"#, "duration"),
            (r#"{"name": "a", "connections": 5, "expect": ["p99<<2"]}"#, "p99<<2"),
        ] {
            let message = refused(&format!(r#"{{"name": "x", "stages": [{stages}]}}"#));
            assert!(message.contains(word), "{stages}: {message}");
        }
    }

    #[test]
    fn what_was_read_is_what_is_written() {
        for built_in in builtin() {
            let scenario = Scenario::parse(built_in.json, built_in.name).unwrap();
            let again = Scenario::parse(&serde_json::to_string(&scenario).unwrap(), built_in.name).unwrap();
            assert_eq!(scenario, again);
        }
    }

    #[test]
    fn the_example_of_the_readme_is_a_scenario() {
        let readme = include_str!("../README.md");
        let json = readme.split("```json").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        assert_eq!(Scenario::parse(json, "the README").unwrap().stages.len(), 5);
    }

    #[test]
    fn every_scenario_has_a_small_twin_that_does_the_same() {
        for large in builtin().iter().filter(|one| !one.name.ends_with("-10k")) {
            let small = find(&format!("{}-10k", large.name.trim_end_matches("-1m"))).expect(large.name);
            let [large, small] = [*large, small].map(|one| Scenario::parse(one.json, one.name).unwrap());
            let shape = |scenario: &Scenario| -> Vec<_> {
                scenario
                    .stages
                    .iter()
                    .map(|stage| {
                        let (rate, gifts) = (stage.rate.is_some(), stage.gifts.is_some());
                        (stage.name.clone(), rate, gifts, stage.search.is_some(), stage.restart)
                    })
                    .collect()
            };
            assert_eq!(shape(&large), shape(&small));
            assert_eq!((large.connections_max(), small.connections_max()), (1_000_000, 10_000));
        }
    }
}
