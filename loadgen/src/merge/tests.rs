use clap::Parser;
use hdrhistogram::Histogram;
use proptest::prelude::*;

use super::*;
use crate::arguments::CommandLine;
use crate::distribution::{Distribution, encode};
use crate::record::Requests;
use crate::report::{Expected, Report, ServerReport, StageReport};
use crate::sample_reports;
use crate::search::{Answer, Limit};
use crate::series::Point;

fn part(number: usize, report: Report) -> Part {
    Part { name: format!("client-{number}"), report }
}

fn merged(reports: Vec<Report>) -> Report {
    let parts: Vec<Part> = reports.into_iter().enumerate().map(|(number, report)| part(number, report)).collect();
    let mut report = join(&parts).unwrap();
    judge(&mut report).unwrap();
    report
}

fn expected(text: &str) -> Expected {
    Expected { expectation: text.to_owned(), measured: String::new(), held: true }
}

/// A shake as a recorder sees it: the second it was answered in, how long it took, and how it ended.
#[derive(Clone, Copy, Debug)]
struct Shake {
    second: u32,
    latency_us: u64,
    end: u8,
}

/// What one machine writes down of its shakes. It was started `shift` seconds after the first one.
fn recorded(shakes: &[Shake], shift: u32, duration_s: f64) -> Report {
    let mut requests = Requests::default();
    let mut latency = sample_reports::histogram(&[]);
    let mut seconds: Vec<(Point, Histogram<u64>)> =
        (shift..20).map(|second| (point(second - shift), sample_reports::histogram(&[]))).collect();
    for shake in shakes {
        let (point, of_second) = &mut seconds[(shake.second - shift) as usize];
        requests.scheduled += 1;
        requests.sent += 1;
        point.scheduled += 1;
        point.sent += 1;
        match shake.end {
            0 => requests.timed_out += 1,
            1 => requests.lost += 1,
            _ => requests.answered += 1,
        }
        match shake.end {
            0 | 1 => point.failed += 1,
            2 => requests.by_outcome.envelope += 1,
            _ => requests.by_outcome.none += 1,
        }
        point.envelopes += u64::from(shake.end == 2);
        point.answered += u64::from(shake.end >= 2);
        latency.saturating_record(shake.latency_us);
        of_second.saturating_record(shake.latency_us);
    }
    let mut report = sample_reports::report();
    report.started_unix_s += u64::from(shift);
    report.begun_unix_us += u64::from(shift) * 1_000_000;
    report.duration_s = duration_s;
    report.requests = requests;
    report.latency_us = Distribution::from(&latency);
    report.rate_qps = requests.answered as f64 / duration_s;
    report.seconds = seconds.into_iter().map(|(point, latency)| with_latency(point, &latency)).collect();
    let stage = &mut report.stages[0];
    stage.begun_s = 0.0;
    stage.requests = requests;
    stage.latency_us = report.latency_us.clone();
    stage.rate_qps = report.rate_qps;
    report
}

fn point(second: u32) -> Point {
    Point { second, stage: Some(0), ..Point::default() }
}

fn with_latency(point: Point, latency: &Histogram<u64>) -> Point {
    if latency.is_empty() {
        return point;
    }
    Point {
        p50_us: latency.value_at_quantile(0.5),
        p99_us: latency.value_at_quantile(0.99),
        p99_9_us: latency.value_at_quantile(0.999),
        max_us: latency.max(),
        histogram: encode(latency),
        ..point
    }
}

proptest! {
    #[test]
    fn shakes_split_over_machines_and_merged_are_those_of_one_machine(
        shakes in prop::collection::vec((3u32..20, 1u64..20_000_000, 0u8..8, any::<prop::sample::Index>()), 0..400),
        shifts in prop::collection::vec(0u32..3, 1..6),
    ) {
        // The first machine is the first to start.
        let shifts: Vec<u32> = std::iter::once(0).chain(shifts).collect();
        let shakes: Vec<(Shake, usize)> = shakes
            .into_iter()
            .map(|(second, latency_us, end, machine)| (Shake { second, latency_us, end }, machine.index(shifts.len())))
            .collect();
        let of = |machine: Option<usize>| -> Vec<Shake> {
            shakes.iter().filter(|(_, of)| machine.is_none_or(|machine| machine == *of)).map(|(shake, _)| *shake).collect()
        };
        let one = recorded(&of(None), 0, 10.0);
        let many = merged((0..shifts.len()).map(|machine| recorded(&of(Some(machine)), shifts[machine], 10.0)).collect());
        prop_assert_eq!(many.requests, one.requests);
        prop_assert_eq!(&many.latency_us, &one.latency_us);
        prop_assert_eq!(&many.stages[0].requests, &one.stages[0].requests);
        prop_assert_eq!(&many.stages[0].latency_us, &one.stages[0].latency_us);
        prop_assert_eq!(&many.seconds, &one.seconds);
        prop_assert!((many.rate_qps - one.rate_qps).abs() < 0.1);
        prop_assert_eq!(many.started_unix_s, one.started_unix_s);
        prop_assert_eq!(many.begun_unix_us, one.begun_unix_us);
    }
}

#[test]
fn every_example_of_the_help_is_understood() {
    let examples: Vec<&str> =
        EXAMPLES.lines().map(str::trim).filter(|line| line.starts_with("hongbao-loadgen merge")).collect();
    assert_eq!(examples.len(), 3);
    for line in examples {
        CommandLine::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn percentiles_come_from_added_histograms_and_not_from_averages() {
    let with = |values: &[u64]| {
        let mut report = sample_reports::report();
        report.latency_us = sample_reports::distribution(values);
        report
    };
    // 99 of 100 shakes were fast, all of them on one machine: the average of the two medians would be 5.05 ms.
    let report = merged(vec![with(&[100; 99]), with(&[10_000])]);
    assert_eq!((report.latency_us.count, report.latency_us.p50, report.latency_us.p99), (100, 100, 100));
    assert!(report.latency_us.max >= 10_000);
}

#[test]
fn one_report_merged_is_itself() {
    let mut report = sample_reports::report();
    report.expectations = vec![Expected { measured: "0".to_owned(), ..expected("errors==0") }];
    let mut alone = merged(vec![report.clone()]);
    assert_eq!(alone.command, ["hongbao-loadgen run"], "the command lines of the parts, one each");
    alone.command.clone_from(&report.command);
    alone.stages[0].steadiness = report.stages[0].steadiness;
    let [alone, report] = [alone, report].map(|report| serde_json::to_value(report).unwrap());
    for (key, value) in report.as_object().unwrap() {
        assert_eq!(&alone[key], value, "{key}");
    }
}

#[test]
fn counters_are_added_and_what_is_of_the_server_is_taken_once() {
    let mut one = sample_reports::report();
    one.stages[0].server = Some(sample_reports::server());
    one.connections.attempts_failed = [("timeout".to_owned(), 2)].into();
    let mut two = sample_reports::report();
    two.stages[0].server = Some(ServerReport { cpu_cores: 0.76, ..sample_reports::server() });
    two.connections.attempts_failed = [("refused".to_owned(), 1), ("timeout".to_owned(), 3)].into();
    two.connections.establish_ms = 700;
    let report = merged(vec![one, two]);
    assert_eq!((report.connections.target, report.connections.established), (40, 40));
    assert_eq!(report.connections.attempts_failed, [("refused".to_owned(), 1), ("timeout".to_owned(), 5)].into());
    assert_eq!(report.connections.establish_ms, 700, "the last of all");
    assert_eq!((report.rate_target_qps, report.stages[0].rate_target_qps), (Some(200), Some(200)));
    assert_eq!((report.threads, report.ring.enters, report.resident_bytes_max), (2, 200, 128 << 20));
    assert_eq!(report.stages[0].server, Some(sample_reports::server()));
    assert!(report.requests.balance());
}

#[test]
fn a_whole_with_an_invalid_part_is_invalid_and_says_which() {
    let mut bad = sample_reports::report();
    bad.valid = false;
    bad.invalid_reasons = vec!["it was late".to_owned()];
    bad.warnings = vec!["it was hot".to_owned()];
    let report = merged(vec![sample_reports::report(), bad]);
    assert!(!report.valid);
    assert_eq!(report.invalid_reasons, ["client-1: it was late"]);
    assert_eq!(report.warnings, ["client-1: it was hot"]);
    assert_eq!(reports::exit(&report), Exit::Invalid);
}

#[test]
fn expectations_are_judged_by_the_whole_and_not_by_the_parts() {
    let with = |text: &str| {
        let mut report = sample_reports::report();
        report.expectations = vec![expected(text)];
        report.stages[0].expectations = vec![expected("established==40")];
        report
    };
    // Each part had 100 a second: none held `qps>=150`, and the two together do.
    let report = merged(vec![with("qps>=150"), with("qps>=150")]);
    assert!(report.passed);
    assert_eq!(report.expectations.len(), 1);
    assert_eq!(report.expectations[0].measured, "200");
    let report = merged(vec![with("qps>=150"), with("qps<150")]);
    assert_eq!(report.expectations.len(), 2);
    assert!(!report.passed);
    assert_eq!(reports::exit(&report), Exit::Threshold);
    let mut report = with("p98<1");
    assert!(judge(&mut report).is_err());
}

#[test]
fn runs_that_were_not_at_the_same_time_are_no_one_run() {
    let later = |seconds: u64| {
        let mut report = sample_reports::report();
        report.started_unix_s += seconds;
        report
    };
    assert!(merged(vec![later(0), later(0)]).warnings.is_empty());
    let apart = merged(vec![later(2), later(0)]);
    assert!(apart.valid && apart.warnings[0].contains("2.0 s apart"), "{:?}", apart.warnings);
    let never_together = merged(vec![later(0), later(3_600)]);
    assert!(!never_together.valid, "{:?}", never_together.invalid_reasons);
    assert!(never_together.invalid_reasons[0].contains("did not run at the same time"));
}

#[test]
fn reports_of_different_scenarios_are_refused_with_the_difference() {
    let changed = |change: fn(&mut Report)| {
        let mut report = sample_reports::report();
        change(&mut report);
        join(&[part(0, sample_reports::report()), part(1, report)]).map(|_| ()).unwrap_err()
    };
    assert!(changed(|report| report.loop_kind = "closed".to_owned()).contains("the loop"));
    assert!(changed(|report| report.schedule = "poisson".to_owned()).contains("poisson"));
    assert!(changed(|report| report.stages[0].name = "other".to_owned()).contains("other"));
    assert!(changed(|report| report.stages.clear()).contains("stages"));
    assert!(
        changed(|report| report.search = Some(Answer { rate: 1, confirmed: true, limit: Limit::Server }))
            .contains("of a search")
    );
    assert!(changed(|report| report.latency_us.histogram = "damaged".to_owned()).contains("histogram"));
    assert!(join(&[]).is_err());
}

#[test]
fn a_second_between_two_stages_of_different_machines_belongs_to_neither() {
    let with = |stage: Option<u32>| {
        let mut report = sample_reports::report();
        report.stages = vec![sample_reports::stage("one"), sample_reports::stage("two")];
        report.seconds = vec![Point { stage, answered: 5, connections: 3, ..point(4) }];
        report
    };
    let report = merged(vec![with(Some(0)), with(Some(1))]);
    assert_eq!((report.seconds[0].stage, report.seconds[0].answered, report.seconds[0].connections), (None, 10, 6));
    assert_eq!(merged(vec![with(Some(1)), with(Some(1))]).seconds[0].stage, Some(1));
}

#[test]
fn evenness_is_that_of_the_sum() {
    // One machine's dip is made up for by the other in the same second, which the wall clock tells.
    let with = |shift: u32, answered: [u64; 5]| {
        let mut report = sample_reports::report();
        report.started_unix_s += u64::from(shift);
        report.seconds = (0..).zip(answered).map(|(second, answered)| Point { answered, ..point(second) }).collect();
        report
    };
    let stage = |report: &Report| -> StageReport { report.stages[0].clone() };
    let deviation = |reports| stage(&merged(reports)).steadiness.qps_deviation_max;
    let dip = with(0, [100, 100, 60, 100, 100]);
    assert_eq!(deviation(vec![dip.clone(), with(0, [100, 100, 140, 100, 100])]), Some(0.0));
    assert_eq!(
        deviation(vec![dip.clone(), with(1, [100, 140, 100, 100, 100])]),
        Some(0.0),
        "a second later, by a second"
    );
    assert_eq!(deviation(vec![dip, with(0, [100, 140, 100, 100, 100])]), Some(0.2));
}

mod audited {
    use hongbao_protocol::{Cents, Envelope, EnvelopeId, Receipt, SponsorId, UserId};

    use super::*;
    use crate::audit::{Audit, Claim};
    use crate::claims::ClaimsFile;

    const CAPS: Caps = Caps { per_user: 3, per_sponsor: 1 };

    /// A machine that received these (user, envelope, sponsor): its report, and its claims in a file.
    fn machine(received: &[(u64, u64, u32)]) -> (Report, tempfile::NamedTempFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut claims = ClaimsFile::create(Some(file.path())).unwrap();
        let mut audit = Audit::new(CAPS);
        for (user, id, sponsor) in received {
            let envelope = Envelope { id: EnvelopeId(*id), sponsor: SponsorId(*sponsor), amount: Cents(5) };
            let claim = Claim {
                user: UserId(*user),
                envelope,
                sequence: 1,
                shown_again: false,
                time_us: 1,
                receipt: Receipt::default(),
            };
            claims.write(&claim).unwrap();
            audit.take(&claim);
        }
        claims.flush().unwrap();
        let mut report = sample_reports::report();
        report.audit = audit.findings().clone();
        (report, file)
    }

    fn across(machines: &[(Report, tempfile::NamedTempFile)]) -> Report {
        let paths: Vec<PathBuf> = machines.iter().map(|(_, file)| file.path().to_owned()).collect();
        let mut report = merged(machines.iter().map(|(report, _)| report.clone()).collect());
        cross_audit::audit(&mut report, &paths, CAPS).unwrap();
        report
    }

    #[test]
    fn an_envelope_received_on_two_machines_is_found_though_each_of_them_saw_it_once() {
        let report = across(&[machine(&[(1, 7, 1), (2, 8, 1)]), machine(&[(3, 7, 1)])]);
        assert_eq!((report.audit.envelopes, report.audit.duplicates, report.audit.amount_cents), (2, 1, 10));
        assert_eq!(reports::exit(&report), Exit::Threshold);
    }

    #[test]
    fn a_user_on_two_machines_has_one_cap() {
        let report = across(&[machine(&[(1, 1, 1), (1, 2, 2)]), machine(&[(1, 3, 3), (1, 4, 4)])]);
        assert_eq!((report.audit.over_cap, report.audit.duplicates), (1, 0));
        assert_eq!(across(&[machine(&[(1, 1, 1)]), machine(&[(1, 2, 1)])]).audit.over_cap, 1, "of one sponsor");
    }

    #[test]
    fn without_a_finding_the_sums_are_those_of_the_parts() {
        let machines = vec![machine(&[(1, 1, 1), (2, 2, 1)]), machine(&[(3, 3, 1)])];
        let sums = merged(machines.iter().map(|(report, _)| report.clone()).collect()).audit;
        assert_eq!(across(&machines).audit, sums);
        assert_eq!((sums.envelopes, sums.amount_cents), (3, 15));
    }

    #[test]
    fn a_claims_file_that_is_missing_is_noticed() {
        let one = machine(&[(1, 1, 1)]);
        let two = machine(&[(2, 2, 1)]);
        let mut report = merged(vec![one.0, two.0]);
        cross_audit::audit(&mut report, &[one.1.path().to_owned()], CAPS).unwrap();
        assert!(!report.valid && report.invalid_reasons[0].contains("a file is missing"));
    }
}
