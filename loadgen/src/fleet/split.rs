//! A scenario shared out over agents: connections, users and rates, none of them twice and none left out.

use crate::gifts::load::GiftLoad;
use crate::parse::Users;
use crate::scenario::{Count, RateRange, Scenario, Stage};

/// One agent's part.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Share {
    /// The stages with its connections and rates. Expectations are of the whole: it has none.
    pub(super) scenario: Scenario,
    /// No user of another agent.
    pub(super) users: Users,
}

/// Whether some stage puts a load on, which can be begun by all at the same time.
pub(super) fn has_load(scenario: &Scenario) -> bool {
    scenario.stages.iter().any(is_load)
}

const fn is_load(stage: &Stage) -> bool {
    stage.has_load()
}

/// Shares out to so many agents. Says why where it cannot be done.
pub(super) fn split(scenario: &Scenario, users: Option<Users>, agents: u64) -> Result<Vec<Share>, String> {
    scenario.check()?;
    check_together(scenario)?;
    let connections = scenario.connections_max();
    if connections < agents {
        return Err(format!("{connections} connections are too few for {agents} agents"));
    }
    let users = users.unwrap_or(Users { first: 1, count: connections });
    // The users of a run are those that have a connection.
    let users = Users { count: users.count.min(connections), ..users };
    if users.count < agents {
        return Err(format!("{} users are too few for {agents} agents: none may be on two of them", users.count));
    }
    (0..agents)
        .map(|agent| {
            let stages =
                scenario.stages.iter().map(|stage| stage_of(stage, agent, agents)).collect::<Result<_, _>>()?;
            Ok(Share {
                scenario: Scenario { stages, expect: Vec::new(), ..scenario.clone() },
                users: Users {
                    first: users.first + before(users.count, agent, agents),
                    count: part(users.count, agent, agents),
                },
            })
        })
        .collect()
}

/// An agent's part of a rate that is changed under way. Below one a second each it cannot be.
pub(super) fn rate_part(rate: u64, agent: u64, agents: u64) -> Result<u64, String> {
    match part(rate, agent, agents) {
        0 => Err(format!("{rate} a second are too few for {agents} agents")),
        part => Ok(part),
    }
}

/// How much later an agent begins, in microseconds, so that the shakes of all lie evenly between each other instead of on top of each other.
pub(super) fn stagger_us(scenario: &Scenario, agent: u64) -> u64 {
    let rate = scenario.stages.iter().find_map(|stage| stage.rate).map_or(0, |rate| rate.from);
    (agent * 1_000_000).checked_div(rate).unwrap_or(0)
}

/// Agents go from stage to stage by the clock. What takes as long as it takes would have them drift apart.
fn check_together(scenario: &Scenario) -> Result<(), String> {
    let mut loaded = false;
    for stage in &scenario.stages {
        let wrong = if stage.search.is_some() {
            "a search: each agent would go its own way. Run it on one machine, or give stages with rates"
        } else if stage.restart {
            "a restart of the server, which is for one machine to do"
        } else if loaded && stage.connections.is_some() {
            "more connections after a load: the agents would begin its load at different times. Connect all before the first load"
        } else {
            loaded |= is_load(stage);
            continue;
        };
        return Err(format!("the stage `{}` has {wrong}", stage.name));
    }
    Ok(())
}

fn stage_of(stage: &Stage, agent: u64, agents: u64) -> Result<Stage, String> {
    let of_rate = |rate| rate_part(rate, agent, agents).map_err(|why| format!("the stage `{}`: {why}", stage.name));
    Ok(Stage {
        connections: stage.connections.map(|count| Count(part(count.0, agent, agents))),
        rate: match stage.rate {
            Some(rate) => Some(RateRange { from: of_rate(rate.from)?, to: of_rate(rate.to)? }),
            None => None,
        },
        gifts: match stage.gifts {
            Some(gifts) => {
                let rate = RateRange { from: of_rate(gifts.rate.from)?, to: of_rate(gifts.rate.to)? };
                Some(GiftLoad { rate, ..gifts })
            }
            None => None,
        },
        expect: Vec::new(),
        ..stage.clone()
    })
}

/// The part of one of several: all parts together are the whole, and no two differ by more than one.
const fn part(whole: u64, agent: u64, agents: u64) -> u64 {
    whole / agents + (agent < whole % agents) as u64
}

/// The parts of those before.
const fn before(whole: u64, agent: u64, agents: u64) -> u64 {
    let rest = whole % agents;
    agent * (whole / agents) + if agent < rest { agent } else { rest }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scenario(stages: &str) -> Scenario {
        Scenario::parse(&format!(r#"{{"name": "x", "stages": [{stages}]}}"#), "here").unwrap()
    }

    #[test]
    fn two_agents_have_a_half_each_and_no_expectation() {
        let whole = scenario(
            r#"{"name": "connect", "connections": 5, "expect": ["established==5"]},
               {"name": "load", "rate": "10..21", "duration": "1s", "expect": ["p99<20ms"]},
               {"name": "closed", "depth": 3, "duration": "1s"}"#,
        );
        let shares = split(&whole, Some(Users { first: 100, count: 50 }), 2).unwrap();
        let connections: Vec<_> = shares.iter().map(|share| share.scenario.connections_max()).collect();
        assert_eq!(connections, [3, 2]);
        assert_eq!(shares[0].users, Users { first: 100, count: 3 });
        assert_eq!(shares[1].users, Users { first: 103, count: 2 });
        let rates: Vec<_> = shares.iter().map(|share| share.scenario.stages[1].rate.unwrap()).collect();
        assert_eq!(rates, [RateRange { from: 5, to: 11 }, RateRange { from: 5, to: 10 }]);
        assert!(shares.iter().all(|share| share.scenario.stages[2].depth == Some(3)));
        assert!(shares.iter().flat_map(|share| &share.scenario.stages).all(|stage| stage.expect.is_empty()));
        assert!(has_load(&whole) && !has_load(&scenario(r#"{"name": "connect", "connections": 5}"#)));
    }

    #[test]
    fn the_shakes_of_all_agents_lie_between_each_other() {
        let whole = scenario(r#"{"name": "load", "connections": 9, "rate": "1k", "duration": "1s"}"#);
        assert_eq!([0, 1, 2].map(|agent| stagger_us(&whole, agent)), [0, 1_000, 2_000]);
        let closed = scenario(r#"{"name": "load", "connections": 9, "depth": 1, "duration": "1s"}"#);
        assert_eq!(stagger_us(&closed, 2), 0);
    }

    #[test]
    fn what_many_machines_cannot_do_together_is_refused_with_its_stage() {
        let load = r#"{"name": "load", "connections": 5, "rate": 5, "duration": "1s"}"#;
        let searching = r#""search": {"from": 1, "to": 2}, "expect": ["p99<1s"]"#;
        for (stages, agents, word) in [
            (
                format!(r#"{{"name": "peak", "connections": 5, "duration": "1s", {searching}}}"#),
                2,
                "`peak` has a search",
            ),
            (format!(r#"{load}, {{"name": "storm", "restart": true, "duration": "1s"}}"#), 2, "`storm` has a restart"),
            (format!(r#"{load}, {{"name": "more", "connections": 9}}"#), 2, "`more` has more connections"),
            (load.to_owned(), 6, "too few for 6 agents"),
            (r#"{"name": "slow", "connections": 5, "rate": 1, "duration": "1s"}"#.to_owned(), 2, "`slow`: 1 a second"),
        ] {
            let why = split(&scenario(&stages), None, agents).unwrap_err();
            assert!(why.contains(word), "{why}");
        }
        let why = split(&scenario(load), Some(Users { first: 0, count: 1 }), 2).unwrap_err();
        assert!(why.contains("1 users"), "{why}");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nobody_is_on_two_machines(
            agents in 1u64..100, connections in 100u64..3_000_000, rate in 100u64..1_000_000, to in 100u64..1_000_000,
            first in 0u64..1 << 40, count in 100u64..4_000_000,
        ) {
            let whole = scenario(&format!(
                r#"{{"name": "connect", "connections": {}}}, {{"name": "load", "connections": {connections}, "rate": "{rate}..{to}", "duration": "1s"}}"#,
                connections / 2 + 1
            ));
            let shares = split(&whole, Some(Users { first, count }), agents).unwrap();
            let sum = |of: &dyn Fn(&Share) -> u64| shares.iter().map(of).sum::<u64>();
            prop_assert_eq!(sum(&|share| share.scenario.stages[0].connections.unwrap().0), connections / 2 + 1);
            prop_assert_eq!(sum(&|share| share.scenario.stages[1].connections.unwrap().0), connections);
            prop_assert_eq!(sum(&|share| share.scenario.stages[1].rate.unwrap().from), rate);
            prop_assert_eq!(sum(&|share| share.scenario.stages[1].rate.unwrap().to), to);
            prop_assert!(shares.iter().all(|share| share.scenario.check().is_ok()));
            let mut next = first;
            for Share { users, .. } in &shares {
                prop_assert_eq!(users.first, next);
                next += users.count;
            }
            prop_assert_eq!(next, first + count.min(connections));
        }
    }
}
