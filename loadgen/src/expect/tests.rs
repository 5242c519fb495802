use proptest::prelude::*;

use super::*;
use crate::report::Steadiness;
use crate::sample_reports;

fn of_stage(text: &str, stage: &StageReport) -> (String, bool) {
    let Expected { measured, held, .. } = text.parse::<Expectation>().unwrap().of_stage(stage);
    (measured, held)
}

fn of_run(text: &str, report: &Report) -> (String, bool) {
    let Expected { measured, held, .. } = text.parse::<Expectation>().unwrap().of_run(report);
    (measured, held)
}

#[test]
fn each_comparison_is_what_it_says_at_its_bound() {
    let mut stage = sample_reports::stage("load");
    stage.requests.timed_out = 5;
    for (sign, held) in [("<", false), ("<=", true), (">", false), (">=", true), ("==", true)] {
        assert_eq!(of_stage(&format!("timed_out{sign}5"), &stage), ("5".to_owned(), held), "{sign}");
    }
    assert!(of_stage("timed_out<6", &stage).1);
    assert!(!of_stage("timed_out==6", &stage).1);
    assert!(of_stage("timed_out>4", &stage).1);
}

#[test]
fn what_was_measured_is_told_in_the_unit_of_the_expectation() {
    let mut stage = sample_reports::stage("load");
    stage.latency_us.p99 = 12_400;
    stage.rate_qps = 61_234.5;
    stage.server = Some(sample_reports::server());
    stage.requests.by_outcome.overloaded = 25;
    for (text, measured) in [
        ("p99<20ms", "12.4ms"),
        ("p99<20000us", "12400us"),
        ("p99<1s", "0.012s"),
        ("qps>=60k", "61.235k"),
        ("qps >= 60k/s", "61.235k/s"),
        ("qps_deviation<=1%", "1%"),
        ("overloaded<5%", "2.5%"),
        ("server_rss<=128MiB", "96MiB"),
        ("server_cpu<1", "0.75"),
        ("fairness>=0.99", "1"),
        ("establish<20s", "0.15s"),
        ("established==20", "20"),
        ("lateness_max<1ms", "0.1ms"),
    ] {
        assert_eq!(of_stage(text, &stage), (measured.to_owned(), true), "{text}");
    }
}

#[test]
fn rounding_does_not_tell_another_story_than_the_judgement() {
    let mut stage = sample_reports::stage("load");
    stage.latency_us.max = 1_000_001;
    assert_eq!(of_stage("max<=1s", &stage), ("1.000001s".to_owned(), false));
}

#[test]
fn errors_are_all_that_went_wrong_but_not_a_user_who_waits_as_told() {
    let mut stage = sample_reports::stage("load");
    stage.requests.not_sent.held_back = 7;
    assert_eq!(of_stage("errors==0", &stage), ("0".to_owned(), true));
    assert!(of_stage("not_sent==7", &stage).1);
    stage.requests.timed_out = 1;
    stage.requests.lost = 2;
    stage.requests.not_sent.disconnected = 3;
    stage.requests.not_sent.overdue = 4;
    assert_eq!(of_stage("errors==0", &stage), ("10".to_owned(), false));
}

#[test]
fn what_was_not_measured_does_not_hold() {
    let mut stage = sample_reports::stage("connect");
    stage.steadiness = Steadiness::default();
    stage.latency_us = sample_reports::distribution(&[]);
    stage.duration_s = 0.0;
    stage.establish_ms = None;
    for text in [
        "p99<20ms",
        "qps>=0",
        "qps_deviation<5%",
        "envelopes_lowest>=0",
        "envelopes_highest<9M",
        "establish<1s",
        "fairness>=0",
        "server_cpu<9",
        "server_rss<9GB",
        "dropped==0",
        "duplicates==0",
    ] {
        assert_eq!(of_stage(text, &stage), ("-".to_owned(), false), "{text}");
    }
}

#[test]
fn a_whole_run_is_as_even_as_its_worst_stage() {
    let mut report = sample_reports::report();
    let mut worse = sample_reports::stage("worse");
    worse.steadiness.qps_deviation_max = Some(0.07);
    worse.steadiness.envelopes_per_s_lowest = Some(150.0);
    worse.server = Some(ServerReport { fairness: 0.9, ..sample_reports::server() });
    report.stages[0].steadiness.envelopes_per_s_lowest = Some(199.0);
    report.stages[0].server = Some(sample_reports::server());
    report.stages.push(worse);
    assert_eq!(of_run("qps_deviation<5%", &report), ("7%".to_owned(), false));
    assert_eq!(of_run("envelopes_lowest>=196", &report), ("150".to_owned(), false));
    assert_eq!(of_run("fairness>=0.95", &report), ("0.9".to_owned(), false));
}

#[test]
fn the_whole_run_knows_what_no_stage_knows() {
    let report = sample_reports::report();
    for text in ["failed==0", "dropped==0", "duplicates==0", "altered==0", "over_cap==0", "rss<300MB"] {
        assert!(of_run(text, &report).1, "{text}");
        assert!(text.parse::<Expectation>().unwrap().is_of_whole_run(), "{text}");
    }
    assert!(!"p99<1s".parse::<Expectation>().unwrap().is_of_whole_run());
}

#[test]
fn nonsense_is_refused_with_what_there_is() {
    for (text, word) in [
        ("", "< <= > >= =="),
        ("p99", "p99<20ms"),
        ("p98<20ms", "service_p99.9"),
        ("p99<20", "`ms`"),
        ("p99<20MB", "`ms`"),
        ("timed_out==5%", "none, `k`"),
        ("fairness>=99%", "none"),
        ("qps_deviation<5", "`%`"),
        ("p99=20ms", "=="),
        ("p99<ms", "number"),
        ("p99<-1ms", "number"),
        ("p99<1.2.3ms", "number"),
        ("p99<<20ms", "number"),
        ("p99<20ms<30ms", "unit"),
    ] {
        let error = text.parse::<Expectation>().unwrap_err();
        assert!(error.contains(word), "{text}: {error}");
        assert!(error.contains(&format!("`{text}`")), "{error}");
    }
}

#[test]
fn scenarios_hold_expectations_as_text() {
    let read: Vec<Expectation> = serde_json::from_str(r#"["p99.9 < 60 ms", "qps>=60_000"]"#).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), r#"["p99.9<60ms","qps>=60000"]"#);
    assert!(serde_json::from_str::<Expectation>(r#""p99""#).unwrap_err().to_string().contains("p99<20ms"));
}

proptest! {
    #[test]
    fn text_and_expectation_are_the_same(
        figure in 0..figures().count(), comparison in 0..COMPARISONS.len(), bound in 0.0..1e12f64, unit in any::<prop::sample::Index>(),
    ) {
        let (name, figure, kind) = figures().nth(figure).unwrap();
        let unit = kind.units()[unit.index(kind.units().len())];
        let expectation = Expectation { figure, comparison: COMPARISONS[comparison].1, bound, unit };
        let text = expectation.to_string();
        prop_assert!(text.starts_with(&name));
        prop_assert_eq!(text.parse::<Expectation>(), Ok(expectation));
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,30}", tail in "(p99|qps|rss)[<>=]{1,3}[0-9._]{0,5}[a-zA-Z%/]{0,3}") {
        drop(text.parse::<Expectation>());
        if let Ok(read) = tail.parse::<Expectation>() {
            prop_assert_eq!(read.to_string().parse::<Expectation>(), Ok(read));
        }
    }
}
