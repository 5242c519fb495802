use super::*;
use crate::sample_reports::{self, million};

fn row<'a>(comparison: &'a Comparison, stage: Option<&str>, figure: &str) -> &'a Row {
    let found = comparison.rows.iter().find(|row| row.stage.as_deref() == stage && row.figure == figure);
    found.unwrap_or_else(|| panic!("no {figure} of {stage:?}"))
}

fn table(comparison: &Comparison) -> String {
    let mut out = Vec::new();
    write_table(comparison, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_run_is_as_good_as_itself() {
    let report = million::report();
    let comparison = compare(&report, &report, 0.1);
    assert!(!comparison.worse && comparison.warnings.is_empty());
    assert!(comparison.rows.iter().all(|row| row.verdict == Verdict::Same));
    assert_eq!(row(&comparison, Some("phase-3"), "server resident").ratio, Some(1.0));
    assert!(table(&comparison).contains("B is not worse than A"));
}

#[test]
fn only_what_users_feel_makes_a_run_worse() {
    let a = million::report();
    let worse = |change: fn(&mut Report)| {
        let mut b = million::report();
        change(&mut b);
        compare(&a, &b, 0.1).worse
    };
    assert!(worse(|b| b.rate_qps *= 0.89));
    assert!(worse(|b| b.latency_us.p99 *= 2));
    assert!(worse(|b| b.requests.lost += 100));
    assert!(worse(|b| b.stages[1].latency_us.p99 *= 2), "hidden in the whole, seen in its stage");
    assert!(!worse(|b| b.rate_qps *= 0.91), "within the tolerance");
    assert!(!worse(|b| b.rate_qps *= 2.0));
    assert!(!worse(|b| b.service_us.p99 *= 9), "tells why, and decides nothing");
    assert!(!worse(|b| b.cpu.us_per_request *= 9.0));
}

#[test]
fn one_error_after_none_is_worse_at_any_tolerance() {
    let (a, mut b) = (sample_reports::report(), sample_reports::report());
    b.requests.timed_out = 1;
    let comparison = compare(&a, &b, 1.0);
    let errors = row(&comparison, None, "errors");
    assert_eq!((errors.a, errors.b, errors.ratio, errors.verdict), (Some(0.0), Some(1.0), None, Verdict::Worse));
    assert!(comparison.worse && table(&comparison).contains("WORSE"));
    assert!(!compare(&b, &a, 1.0).worse, "the other way round it is better");
}

#[test]
fn runs_that_are_not_alike_are_told_apart_in_words() {
    let (a, mut b) = (million::report(), million::report());
    b.valid = false;
    b.invalid_reasons = vec!["late: by much".to_owned()];
    b.schedule = "poisson".to_owned();
    b.connections.target = 5;
    b.rate_target_qps = None;
    b.tick_us = 1;
    b.host.cores = 64;
    b.stages[0].name = "another".to_owned();
    let warnings = compare(&a, &b, 0.1).warnings;
    for words in [
        "B is not valid: late: by much",
        "not the same schedule: uniform in A, poisson in B",
        "not the same connections: 1000000 in A, 5 in B",
        "not the same rate asked for: 60000 in A, none in B",
        "not the same tick",
        "not the same host",
        "only A has a stage `phase-2`",
        "only B has a stage `another`",
    ] {
        assert!(warnings.iter().any(|warning| warning.contains(words)), "{words}: {warnings:?}");
    }
    assert_eq!(warnings.len(), 8);
}

#[test]
fn what_one_run_has_not_measured_is_neither_better_nor_worse() {
    let (a, mut b) = (million::report(), million::report());
    b.stages[0].server = None;
    let comparison = compare(&a, &b, 0.1);
    let resident = row(&comparison, Some("phase-2"), "server resident");
    assert_eq!((resident.b, resident.ratio, resident.verdict), (None, None, Verdict::Unknown));
    assert!(!comparison.rows.iter().any(|row| row.a.is_none() && row.b.is_none()));
}

#[test]
fn standard_input_is_refused_before_anything_is_read() {
    let failure = read(Path::new("-")).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.message.contains("from files"));
}
