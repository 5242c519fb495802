use clap::Parser;
use proptest::prelude::*;

use super::*;
use crate::report::Expected;
use crate::sample_reports;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: PlanArguments,
}

fn typed(line: &str) -> PlanArguments {
    let words = std::iter::once("plan").chain(line.split_whitespace());
    Line::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}")).arguments
}

fn planned(line: &str) -> Result<Estimate, Failure> {
    estimate(&typed(line), None)
}

fn examples() -> Vec<&'static str> {
    EXAMPLES.lines().filter_map(|line| line.trim().strip_prefix("hongbao-loadgen plan ")).collect()
}

#[test]
fn the_documented_example_gives_the_figures_of_the_2015_shake() {
    let estimate = planned(examples()[0]).unwrap();
    assert_eq!((estimate.servers.needed, estimate.servers.spare, estimate.servers.total), (600, 38, 638));
    assert_eq!(estimate.servers.binding, estimate::Binding::Qps);
    assert_eq!(estimate.demand.shakes, Some(11.0e9));
    assert_eq!(estimate.demand.shakes_per_minute, Some(810e6));
    assert_eq!(estimate.qps_peak as u64, 14_000_000);
    assert_eq!(estimate.each.qps as u64, 23_333);
    assert_eq!(estimate.each.envelopes_per_s as u64, 83);
    let table = estimate.table();
    for figure in ["638", "600", "11,000,000,000", "810,000,000", "13,500,000", "14,000,000", "23,333", "83.3"] {
        assert!(table.contains(figure), "{figure} in\n{table}");
    }
}

#[test]
fn every_example_of_the_help_is_understood() {
    assert_eq!(examples().len(), 3);
    let estimates: Vec<Estimate> = examples()
        .into_iter()
        .map(|line| {
            estimate(&typed(line), Some(&sample_reports::report()))
                .unwrap_or_else(|failure| panic!("{line}: {failure}"))
        })
        .collect();
    assert!(estimates.iter().all(|estimate| estimate.suffices));
}

#[test]
fn the_busiest_way_to_tell_the_peak_counts() {
    let base = "--users 1M --connections-limit 1M --qps-limit 10k --headroom 0% --spare 0";
    for (told, qps, servers) in [
        ("--qps 60k", 60_000.0, 6),
        ("--shakes-per-minute 6M", 100_000.0, 10),
        ("--shake-interval 10s", 100_000.0, 10),
        ("--shake-interval 10s --connected 50%", 50_000.0, 5),
        ("--qps 60k --shakes-per-minute 6M --shake-interval 5s", 200_000.0, 20),
    ] {
        let estimate = planned(&format!("{base} {told}")).unwrap();
        assert_eq!((estimate.qps_peak, estimate.servers.needed), (qps, servers), "{told}");
    }
}

#[test]
fn connections_bind_where_they_ask_for_more() {
    let estimate =
        planned("--users 9M --qps 10k --connections-limit 1M --qps-limit 10k --headroom 10% --spare 2").unwrap();
    let servers = estimate.servers;
    assert_eq!((servers.by_connections, servers.by_qps, servers.needed, servers.total), (10, 2, 10, 12));
    assert_eq!(servers.binding, estimate::Binding::Connections);
    assert!((estimate.each.connections_of_limit - 0.9).abs() < 1e-9);
}

#[test]
fn too_few_servers_are_said_to_be_too_few() {
    let line = "--users 2M --qps 100k --connections-limit 1M --qps-limit 60k --headroom 0% --spare 1";
    let few = planned(&format!("{line} --servers 2")).unwrap();
    assert!(!few.suffices && few.table().contains("TOO FEW: 3"), "{}", few.table());
    assert!(planned(&format!("{line} --servers 3")).unwrap().suffices);
    assert!(planned(&format!("{line} --servers 1")).is_err(), "the only one is spare");
}

#[test]
fn a_report_says_what_one_server_can_do() {
    let mut report = sample_reports::report();
    report.connections.established = 18_000;
    let mut better = sample_reports::stage("better");
    better.rate_qps = 60_000.0;
    let mut missed = sample_reports::stage("missed");
    missed.rate_qps = 90_000.0;
    missed.expectations = vec![Expected { expectation: "p99<1ms".to_owned(), measured: "2ms".to_owned(), held: false }];
    report.stages.extend([better, missed]);
    let estimate =
        estimate(&typed("--users 1M --qps 600k --measured report.json --headroom 0%"), Some(&report)).unwrap();
    assert_eq!((estimate.limits.connections, estimate.limits.qps), (18_000.0, 60_000.0));
    let flags = typed("--users 1M --qps 600k --measured report.json --headroom 0% --qps-limit 50k");
    assert_eq!(super::estimate(&flags, Some(&report)).unwrap().limits.qps as u64, 50_000, "a flag is stronger");
    report.valid = false;
    assert!(super::estimate(&flags, Some(&report)).unwrap_err().message.contains("not valid"));
}

#[test]
fn what_cannot_be_is_refused_with_the_flag_to_change() {
    for (line, flag) in [
        ("--users 1M --qps 1k", "--connections-limit"),
        ("--users 1M --qps 1k --connections-limit 1M", "--qps-limit"),
        ("--users 1M --connections-limit 1M --qps-limit 1k", "--shakes-per-minute"),
        ("--users 0 --qps 1k --connections-limit 1M --qps-limit 1k", "--users"),
        ("--users 1M --qps 1k --connections-limit 1M --qps-limit 1k --headroom 100%", "--headroom"),
        ("--users 1M --qps 1k --connections-limit 1M --qps-limit 0", "--qps-limit"),
        ("--users 1M --shake-interval 0s --connections-limit 1M --qps-limit 1k", "--shake-interval"),
        ("--users 1M --qps 1k --envelope-rate 2k --connections-limit 1M --qps-limit 1k", "--envelope-rate"),
        ("--users 1M --qps 1k --shakes 1G --hours 1 --connections-limit 1M --qps-limit 1k", "--hours"),
    ] {
        let failure = planned(line).map(|_| ()).expect_err(line);
        assert_eq!(failure.exit, Exit::Usage, "{line}");
        assert!(failure.message.contains(flag), "{line}: {failure}");
    }
    for line in ["--users x --qps 1", "--users 1 --qps 1 --headroom 1", "--users 1 --qps 1 --shakes 5"] {
        assert!(Line::try_parse_from(std::iter::once("plan").chain(line.split_whitespace())).is_err(), "{line}");
    }
}

proptest! {
    #[test]
    fn no_server_carries_more_than_it_may_and_one_less_would_not_do(
        users in 1u64..1_000_000_000, qps in 1u64..20_000_000, connections_limit in 1u64..2_000_000, qps_limit in 1u64..200_000,
        headroom in 0u32..90,
    ) {
        let line = format!(
            "--users {users} --qps {qps} --connections-limit {connections_limit} --qps-limit {qps_limit} --headroom {headroom}%"
        );
        let estimate = planned(&line).unwrap();
        let (limits, each, needed) = (estimate.limits, estimate.each, estimate.servers.needed as f64);
        let bound = 1.0 + 1e-9;
        prop_assert!(each.connections <= limits.connections_usable() * bound && each.qps <= limits.qps_usable() * bound);
        let fewer = needed - 1.0;
        prop_assert!(
            fewer < 1.0 || users as f64 / fewer > limits.connections_usable() || qps as f64 / fewer > limits.qps_usable()
        );
    }
}
