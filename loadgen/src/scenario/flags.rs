//! Scenarios made of flags: `run` is one of one stage, `search` too.

use crate::arguments::{LoadFlags, ScheduleChoice, SearchArguments};
use crate::exit::Failure;
use crate::expect::Expectation;
use crate::gifts::load::GiftLoad;
use crate::scenario::{Count, Scenario, Search, Stage, Time};

impl Scenario {
    /// One stage, as `hongbao-loadgen run` asks for it. What is expected of it is expected of the whole run.
    pub fn of_flags(connections: u64, load: &LoadFlags, expect: &[Expectation]) -> Result<Self, Failure> {
        let closed = load.schedule == ScheduleChoice::Closed;
        match load.rate {
            None if !closed && load.gifts.is_none() => {
                return Err(Failure::usage(
                    "--rate is needed: an open loop has one. For saturation use --schedule closed, for gifts alone --gifts",
                ));
            }
            Some(_) if closed => {
                return Err(Failure::usage("--schedule closed has no --rate: it goes as fast as it is answered"));
            }
            _ => {}
        }
        if closed && load.depth == 0 {
            return Err(Failure::usage("--depth is at least 1"));
        }
        if load.duration.is_zero() {
            return Err(Failure::usage("--duration is above 0"));
        }
        Ok(Self {
            name: "run".to_owned(),
            description: String::new(),
            schedule: if closed { ScheduleChoice::Uniform } else { load.schedule },
            tick: None,
            stages: vec![Stage {
                name: "run".to_owned(),
                connections: Some(Count(connections)),
                rate: load.rate,
                depth: closed.then_some(load.depth),
                gifts: load.gifts.map(|rate| GiftLoad {
                    rate,
                    recipients: load.recipients,
                    shares: load.gift_shares,
                    total_cents: load.gift_total.map(Count),
                }),
                warm_up: Time(load.warm_up),
                duration: Time(load.duration),
                ..Stage::default()
            }],
            expect: expect.to_vec(),
        })
    }

    /// What `hongbao-loadgen search` asks for. Its expectations are those of each rate that is tried.
    pub fn of_search(arguments: &SearchArguments) -> Result<Self, Failure> {
        if arguments.schedule == ScheduleChoice::Closed {
            return Err(Failure::usage(
                "a search goes over rates, and a closed loop has none: --schedule closed is for `run`",
            ));
        }
        Ok(Self {
            name: "search".to_owned(),
            description: String::new(),
            schedule: arguments.schedule,
            tick: None,
            stages: vec![Stage {
                name: "search".to_owned(),
                connections: Some(Count(arguments.connections)),
                search: Some(Search {
                    from: Count(arguments.from),
                    to: Count(arguments.to),
                    resolution: arguments.resolution,
                    trials: arguments.trials,
                    confirmations: arguments.confirmations,
                }),
                warm_up: Time(arguments.warm_up),
                duration: Time(arguments.duration),
                expect: arguments.expect.clone(),
                ..Stage::default()
            }],
            expect: Vec::new(),
        })
    }
}
