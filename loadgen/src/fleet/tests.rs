use clap::Parser;

use super::march::join;
use super::protocol::{Limits, Order, PROTOCOL, Product, Request, Settings};
use super::{agent, coordinator};
use crate::arguments::CommandLine;
use crate::control::{Phase, Status};
use crate::limits::FLEET_LINE_BYTES_MAX;
use crate::scenario::{Scenario, builtin};

#[test]
fn every_example_of_the_help_is_understood() {
    let lines = [agent::EXAMPLES, coordinator::EXAMPLES].map(str::lines).into_iter().flatten().map(str::trim);
    let lines: Vec<&str> = lines.filter(|line| line.starts_with("hongbao-loadgen")).collect();
    assert_eq!(lines.len(), 5);
    for line in lines {
        let words = line.split_whitespace().map(|word| word.trim_matches('\''));
        CommandLine::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn the_largest_order_fits_into_a_message() {
    let stages: Vec<String> = (0..64)
        .map(|number| {
            let name = "n".repeat(500);
            format!(r#"{{"name": "{name}{number}", "connections": 1000000, "rate": "10k..60k", "duration": "5m", "warm_up": "1m"}}"#)
        })
        .collect();
    let scenario = Scenario::parse(&format!(r#"{{"name": "x", "stages": [{}]}}"#, stages.join(",")), "here").unwrap();
    let settings = Settings {
        timeout_us: u64::MAX,
        obey_retry: false,
        reconnect: false,
        connect_rate: u64::MAX,
        connect_timeout_us: u64::MAX,
        tick_us: Some(u64::MAX),
        rng_seed: u64::MAX,
        lateness_max_us: Some(u64::MAX),
        cap_per_user: 0,
        cap_per_sponsor: 0,
    };
    let order = Order { scenario, users_first: u64::MAX, users_count: u64::MAX, hold: true, settings };
    let request = Request::Prepare(Box::new(order));
    let text = serde_json::to_string(&request).unwrap();
    assert!(text.len() < FLEET_LINE_BYTES_MAX, "{} bytes", text.len());
    assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
}

/// A change of these texts breaks coordinators and agents of different builds: bump [`PROTOCOL`] with it.
#[test]
fn messages_are_written_as_agreed() {
    for (request, text) in [
        (Request::Status, r#"{"request":"status"}"#),
        (Request::Begin { unix_us: 5 }, r#"{"request":"begin","unix_us":5}"#),
        (Request::Rate { qps: 7 }, r#"{"request":"rate","qps":7}"#),
    ] {
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
        assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
    }
    assert_eq!(serde_json::to_string(&Product::Claims).unwrap(), r#""claims""#);
    assert_eq!(PROTOCOL, "hongbao-loadgen/fleet/1");
    assert!(serde_json::from_str::<Request>(r#"{"request":"begin","unix_us":5,"target":"10.0.0.1:1"}"#).is_err());
}

#[test]
fn an_agent_takes_no_more_than_its_own_command_line_allows() {
    let million = Scenario::parse(builtin().iter().find(|one| one.name == "phase-3").unwrap().json, "here").unwrap();
    let limits = Limits { connections: 1_000_000, rate_qps: 60_000 };
    assert_eq!(limits.check(&million), Ok(()));
    let fewer = Limits { connections: 999_999, ..limits };
    assert!(fewer.check(&million).unwrap_err().contains("--connections-max"));
    let slower = Limits { rate_qps: 59_999, ..limits };
    assert!(slower.check(&million).unwrap_err().contains("--rate-max"));
}

#[test]
fn the_whole_is_in_the_phase_of_the_one_that_is_furthest_behind() {
    let status = |phase, connections, p99_us_last_s| Status {
        phase,
        stage: "load".to_owned(),
        connections,
        connections_target: 10,
        rate_target_qps: Some(100),
        answered_last_s: 90,
        p99_us_last_s,
    };
    let (one, two) = (status(Phase::Held, 10, 5), status(Phase::Connecting, 4, 7));
    let whole = join(&[&one, &two]).unwrap();
    assert_eq!(
        whole,
        Status {
            connections_target: 20,
            rate_target_qps: Some(200),
            answered_last_s: 180,
            ..status(Phase::Connecting, 14, 7)
        }
    );
    assert_eq!(join(&[]), None);
}
