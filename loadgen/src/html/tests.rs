use super::*;
use crate::sample_reports::million;

/// The drawings of the page as a strict parser reads them.
fn drawings(page: &str) -> Vec<roxmltree::Document<'_>> {
    let begins = page.match_indices("<svg").map(|(at, _)| at);
    let pieces = begins.map(|at| &page[at..at + page[at..].find("</svg>").expect("an end") + "</svg>".len()]);
    pieces.map(|piece| roxmltree::Document::parse(piece).unwrap_or_else(|error| panic!("{error}: {piece}"))).collect()
}

fn an_empty_report() -> Report {
    let mut report = million::report();
    (report.stages, report.seconds) = (Vec::new(), Vec::new());
    let nothing = hdrhistogram::Histogram::<u64>::new(3).unwrap();
    let nothing = crate::distribution::Distribution::from(&nothing);
    (report.latency_us, report.service_us, report.lateness_us) = (nothing.clone(), nothing.clone(), nothing);
    (report.duration_s, report.rate_qps, report.rate_target_qps) = (0.0, 0.0, None);
    report.requests = crate::record::Requests::default();
    report.expectations = Vec::new();
    report
}

#[test]
fn every_drawing_is_well_formed_and_stays_on_its_canvas() {
    let page = page(&million::report());
    let drawings = drawings(&page);
    assert_eq!(drawings.len(), 8, "six over time, the percentiles of all and by stage");
    for drawing in &drawings {
        let root = drawing.root_element();
        assert!(root.attribute("aria-label").is_some());
        assert!(root.descendants().any(|node| node.has_tag_name("title")), "hints");
        let paths =
            root.descendants().filter(|node| node.attribute("class").is_some_and(|class| class.contains("line")));
        let numbers: Vec<f64> = paths
            .flat_map(|path| path.attribute("d").unwrap().split(|c: char| !c.is_ascii_digit() && c != '.' && c != '-'))
            .filter(|number| !number.is_empty())
            .map(|number| number.parse().unwrap())
            .collect();
        assert!(numbers.len() > 20 && numbers.iter().all(|number| (0.0..=1000.0).contains(number)), "{root:?}");
    }
}

#[test]
fn the_page_stands_alone() {
    let page = page(&million::report());
    for foreign in ["http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("width=device-width"));
    assert!(page.len() < 1 << 20, "{} bytes", page.len());
}

#[test]
fn names_from_a_scenario_file_are_text_and_not_markup() {
    let mut report = million::report();
    let evil = "</style><script>alert('1')</script>\"&";
    report.scenario = evil.to_owned();
    report.stages[0].name = evil.to_owned();
    report.command = vec![evil.to_owned()];
    report.host.kernel = evil.to_owned();
    report.valid = false;
    report.invalid_reasons = vec![evil.to_owned()];
    report.warnings = vec![evil.to_owned()];
    report.expectations[0].expectation = evil.to_owned();
    let page = page(&report);
    assert!(!page.contains("<script") && !page.contains("alert('1')</"), "unescaped");
    assert!(page.contains("&lt;script&gt;"));
    assert_eq!(page.matches("</style>").count(), 1);
    drawings(&page);
}

#[test]
fn a_run_that_must_not_be_believed_says_so_before_any_figure() {
    let mut report = million::report();
    assert!(!page(&report).contains("role=\"alert\""));
    report.valid = false;
    report.invalid_reasons = vec!["late: for a reason".to_owned()];
    report.stages[1].invalid_reasons = vec!["starved: for another".to_owned()];
    let page = page(&report);
    let said = page.find("Not valid: these figures say nothing").expect("said loudly");
    assert!(said < page.find("Answers a second").unwrap());
    assert!(page.contains("late: for a reason") && page.contains("starved: for another"));
}

#[test]
fn missed_expectations_and_an_unclean_audit_are_seen_at_the_top() {
    let mut report = million::report();
    report.passed = false;
    report.expectations[0].held = false;
    report.audit.duplicates = 3;
    report.audit.findings = vec!["envelope 7 went to user 1 and to user 2".to_owned()];
    let page = page(&report);
    assert!(page.contains("✗ Missed") && page.contains("2 of 5 expectations missed"), "one more in the stalled stage");
    assert!(page.contains("The audit found money that must not be") && page.contains("envelope 7 went to user 1"));
}

#[test]
fn a_search_tells_what_it_found_and_not_what_its_trials_missed() {
    let mut report = million::report();
    report.search = Some(crate::search::Answer { rate: 91_000, confirmed: true, limit: crate::search::Limit::Server });
    let page = page(&report);
    assert!(page.contains("91,000 a second hold, confirmed") && page.contains("✓ Good"));
    assert!(!page.contains("expectations missed"));
}

#[test]
fn a_report_of_nothing_and_one_of_a_single_second_have_a_page() {
    let empty = page(&an_empty_report());
    assert!(empty.contains("No second of load was recorded") && drawings(&empty).is_empty());
    let mut report = million::report();
    report.seconds.truncate(1);
    report.stages.truncate(1);
    let single = page(&report);
    assert_eq!(drawings(&single).len(), 7, "of one stage there is nothing to compare");
    assert!(!single.contains("NaN") && !single.contains("inf"));
    report.started_unix_s = u64::MAX;
    page(&report);
}

#[test]
fn a_day_of_seconds_is_a_page_that_a_phone_can_hold() {
    let mut report = million::report();
    let point = report.seconds[110].clone();
    report.seconds = (0..86_400).map(|second| crate::series::Point { second, ..point.clone() }).collect();
    let page = page(&report);
    assert!(page.len() < 1 << 20, "{} bytes", page.len());
}
