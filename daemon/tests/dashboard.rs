//! What operators are handed (dashboard, scrape configuration, a configuration to start from) is held against the daemon that it is
//! for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use hongbaod::metrics::catalogue::{ALL, Kind};
use serde_json::{Value, json};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn dashboard() -> Value {
    serde_json::from_str(&read("grafana/dashboard.json")).expect("the dashboard is JSON")
}

/// The panels that draw something: all but the rows.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().expect("there are panels");
    panels.iter().filter(|panel| panel["type"] != "row").collect()
}

/// Every query, of panels and of variables.
fn queries(dashboard: &Value) -> Vec<&str> {
    let drawn =
        panels(dashboard).into_iter().flat_map(|panel| panel["targets"].as_array().expect("a panel has queries"));
    drawn.map(|target| target["expr"].as_str().expect("a query is text")).collect()
}

/// The metrics that a text names, as the catalogue calls them.
fn metrics_in(text: &str) -> BTreeSet<&'static str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let names = words.filter(|word| word.starts_with("hongbao_") || word.starts_with("process_"));
    names.map(|name| catalogued(name).unwrap_or_else(|| panic!("no metric is called {name}: {text}"))).collect()
}

fn catalogued(name: &str) -> Option<&'static str> {
    let series = ["", "_bucket", "_sum", "_count"];
    let metric = ALL.iter().find(|metric| {
        let of_histogram = metric.kind == Kind::Histogram;
        series.iter().any(|suffix| suffix.is_empty() != of_histogram && name.strip_suffix(suffix) == Some(metric.name))
    });
    metric.map(|metric| metric.name)
}

fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .output()
        .expect("promtool must be installed: apt-get install prometheus (make test does it)");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {told}\n{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_query_that_names_no_real_metric_is_found_and_no_metric_is_left_out() {
    let dashboard = dashboard();
    let shown: BTreeSet<_> = queries(&dashboard).into_iter().flat_map(metrics_in).collect();
    let missing: Vec<_> = ALL.iter().map(|metric| metric.name).filter(|name| !shown.contains(name)).collect();
    assert!(missing.is_empty(), "on no panel: {missing:?}");
    metrics_in(&dashboard["templating"].to_string());
}

#[test]
fn every_panel_says_what_it_shows_and_in_which_unit() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    for panel in panels(&dashboard) {
        for text in [&panel["title"], &panel["description"], &panel["fieldConfig"]["defaults"]["unit"]] {
            assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{panel}");
        }
        assert!(ids.insert(panel["id"].as_u64()), "two panels have one id: {}", panel["title"]);
    }
}

#[test]
fn no_panel_lies_on_another_or_beyond_the_edge() {
    let dashboard = dashboard();
    let places: Vec<(&Value, [u64; 4])> = dashboard["panels"]
        .as_array()
        .expect("there are panels")
        .iter()
        .map(|panel| {
            let side = |name: &str| panel["gridPos"][name].as_u64().expect("a place");
            (&panel["title"], [side("x"), side("y"), side("x") + side("w"), side("y") + side("h")])
        })
        .collect();
    for (index, (title, [left, top, right, bottom])) in places.iter().enumerate() {
        assert!(*right <= 24, "{title} is beyond the edge");
        for (other, [from, above, to, below]) in &places[..index] {
            let overlap = left < to && from < right && top < below && above < bottom;
            assert!(!overlap, "{title} lies on {other}");
        }
    }
}

#[test]
fn prometheus_understands_every_query() {
    let dashboard = dashboard();
    let rules: Vec<_> = queries(&dashboard)
        .into_iter()
        .enumerate()
        .map(|(place, query)| {
            let query = query.replace("$__rate_interval", "1m");
            assert!(!query.replace("\"$job\"", "").replace("\"$instance\"", "").contains('$'), "{query}");
            json!({ "record": format!("query_{place}"), "expr": query })
        })
        .collect();
    let directory = tempfile::tempdir().expect("a temporary folder");
    let file = directory.path().join("rules.yml");
    let groups = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    std::fs::write(&file, groups.to_string()).expect("the rules are written");
    promtool(&["check", "rules", file.to_str().expect("a plain path")]);
}

#[test]
fn prometheus_accepts_its_configuration() {
    let file = repository("deploy/prometheus/prometheus.yml");
    promtool(&["check", "config", file.to_str().expect("a plain path")]);
}

#[test]
fn the_configuration_to_start_from_has_only_real_settings() {
    let settings = hongbaod::config::Settings::from_json(&read("deploy/hongbaod.json")).expect("valid settings");
    let unit = read("deploy/hongbaod.service");
    for path in [settings.seed_dir, settings.data_dir] {
        let path = path.expect("both are set");
        let state = path.strip_prefix("/var/lib").expect("below the state directory").to_str().expect("a plain path");
        assert!(unit.contains(state), "the unit makes {state}");
    }
}
