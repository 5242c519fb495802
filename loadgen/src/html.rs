//! The report as one page for people: no script, no outside file, light and dark, desk and phone.

mod axis;
mod chart;
mod gifts;
mod plots;
mod tables;
mod thin;

use std::time::{Duration, UNIX_EPOCH};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::human;
use crate::report::Report;

const STYLE: &str = include_str!("html/style.css");

/// The whole page.
pub fn page(report: &Report) -> String {
    let title = format!("{} — hongbao-loadgen", report.scenario);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (header(report))
                main {
                    (banners(report))
                    (tiles(report))
                    (tables::expectations(report))
                    (tables::stages(report))
                    (gifts::tables(report))
                    (time_charts(report))
                    (distributions(report))
                }
                (footer(report))
            }
        }
    }
    .into_string()
}

fn header(report: &Report) -> Markup {
    let load = match (report.rate_target_qps, report.depth) {
        (Some(rate), _) => {
            format!("open loop, {} schedule, up to {} shakes a second", report.schedule, human::exact(rate))
        }
        (None, Some(depth)) => format!("closed loop, {depth} under way a connection"),
        (None, None) => "connections without a load".to_owned(),
    };
    html! {
        header {
            h1 { (report.scenario) }
            p {
                (started(report)) ", " (load) ", "
                (human::plain(report.duration_s)) " s measured after " (human::plain(report.warm_up_s)) " s of warm-up"
            }
        }
    }
}

fn started(report: &Report) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(report.started_unix_s));
    // Years of more than four digits have no such text.
    let at = at.filter(|_| report.started_unix_s < 253_402_300_800);
    at.map_or_else(String::new, |at| {
        humantime::format_rfc3339_seconds(at).to_string().replace('T', " ").replace('Z', " UTC")
    })
}

fn banners(report: &Report) -> Markup {
    let of_stages = report.stages.iter().filter(|stage| !stage.invalid_reasons.is_empty());
    html! {
        @if !report.valid {
            section.banner.critical role="alert" {
                h2 { "Not valid: these figures say nothing about the server" }
                ul {
                    @for reason in &report.invalid_reasons { li { (reason) } }
                    @for stage in of_stages { @for reason in &stage.invalid_reasons { li { b { (stage.name) } ": " (reason) } } }
                }
            }
        }
        @if !report.audit.is_clean() {
            section.banner.critical role="alert" {
                h2 { "The audit found money that must not be" }
                p {
                    "duplicates: " (human::exact(report.audit.duplicates)) ", altered: " (human::exact(report.audit.altered))
                    ", over a cap: " (human::exact(report.audit.over_cap))
                }
                ul { @for finding in &report.audit.findings { li { (finding) } } }
            }
        }
        @if let Some(audit) = report.gift_audit.as_ref().filter(|audit| !audit.is_clean()) {
            section.banner.critical role="alert" {
                h2 { "The audit found gifts that do not add up" }
                ul { @for finding in &audit.findings { li { (finding) } } }
            }
        }
        @if !report.warnings.is_empty() {
            section.banner.warning {
                h2 { "To know all the same" }
                ul { @for warning in &report.warnings { li { (warning) } } }
            }
        }
    }
}

fn verdict(report: &Report) -> Markup {
    let (class, word) = match (report.valid, report.passed) {
        (false, _) => ("bad", "✗ Not valid"),
        (true, false) => ("bad", "✗ Missed"),
        (true, true) => ("good", "✓ Good"),
    };
    tile("Verdict", &html! { span class=(class) { (word) } }, &expected(report))
}

/// What was expected, and how much of it held. Of a search the stages are trials, and what one of them missed is no fault.
fn expected(report: &Report) -> String {
    if let Some(answer) = &report.search {
        let sure = if answer.confirmed { "confirmed" } else { "not confirmed" };
        return match answer.rate {
            0 => format!("not even the lowest rate held; the limit is {}", answer.limit.words()),
            rate => format!("{} a second hold, {sure}; the limit is {}", human::exact(rate), answer.limit.words()),
        };
    }
    let of_stages = report.stages.iter().flat_map(|stage| &stage.expectations);
    let (mut all, mut missed) = (0, 0);
    for expected in report.expectations.iter().chain(of_stages) {
        all += 1;
        missed += u32::from(!expected.held);
    }
    match (all, missed) {
        (0, _) => "nothing was expected of it".to_owned(),
        (all, 0) => format!("all {all} expectations held"),
        (all, missed) => format!("{missed} of {all} expectations missed"),
    }
}

fn tile(name: &str, value: &Markup, detail: &str) -> Markup {
    html! { div.tile { h2 { (name) } p.value { (value) } p.detail { (detail) } } }
}

fn tiles(report: &Report) -> Markup {
    let (connections, requests, latency) = (&report.connections, &report.requests, &report.latency_us);
    let not_sent = requests.not_sent.disconnected + requests.not_sent.overdue;
    let errors = requests.timed_out + requests.lost + not_sent;
    let asked = report
        .rate_target_qps
        .map_or_else(|| format!("{} loop", report.loop_kind), |rate| format!("asked for: {}", human::exact(rate)));
    let time = |us: u64| if latency.count == 0 { "–".to_owned() } else { human::time(us as f64) };
    let a_second = report.requests.by_outcome.envelope as f64 / report.duration_s.max(1e-9);
    let a_second = if report.duration_s > 0.0 { human::plain(a_second) } else { "0".to_owned() };
    html! {
        section.tiles {
            (verdict(report))
            (tile("Connections", &html! { (human::exact(connections.established)) }, &format!(
                "of {}, in {} · {} failed · {} dropped",
                human::exact(connections.target), human::time(connections.establish_ms as f64 * 1e3),
                human::exact(connections.failed), human::exact(connections.dropped),
            )))
            (tile("Answers a second", &html! { (human::exact(report.rate_qps.round() as u64)) }, &asked))
            (tile("Latency, p99", &html! { (time(latency.p99)) }, &format!(
                "median {} · p99.9 {} · longest {}", time(latency.p50), time(latency.p99_9), time(latency.max),
            )))
            (tile("Envelopes", &html! { (human::exact(report.audit.envelopes)) }, &format!(
                "{a_second} a second · {} cents · {} duplicates",
                human::exact(report.audit.amount_cents), human::exact(report.audit.duplicates),
            )))
            (tile("Errors", &html! { span.bad[errors > 0] { (human::exact(errors)) } }, &format!(
                "{} timed out · {} lost · {} not sent",
                human::exact(requests.timed_out), human::exact(requests.lost), human::exact(not_sent),
            )))
        }
    }
}

fn time_charts(report: &Report) -> Markup {
    let charts = plots::over_time(report);
    html! {
        h2 { "Over time" }
        @if charts.is_empty() { p.note { "No second of load was recorded." } }
        @else if !report.stages.is_empty() {
            p.note { "Stages are shaded, their warm-up paler: it is drawn here, and left out of every other figure." }
        }
        div.charts { @for chart in &charts { (chart.draw()) } }
    }
}

/// The three histograms, with what each of them means.
fn distributions(report: &Report) -> Markup {
    let charts = [plots::percentiles(report), plots::percentiles_by_stage(report)];
    let is_open = report.loop_kind != "closed";
    html! {
        @if charts.iter().any(Option::is_some) {
            h2 { "Distribution" }
            dl.note {
                dt { "latency" } dd { "from the time a shake was due to its answer: what a user feels" }
                dt { "service" } dd { "from the time it was really sent to its answer" }
                dt { "lateness" } dd { "from the time it was due to the time it was sent: the load generator's own" }
            }
            @if is_open {
                p.note {
                    "A load generator that waits for a stalled server sends nothing meanwhile, and so leaves out the very shakes that would have felt the "
                    "stall: that is coordinated omission. Here each shake counts from the time it was due, so latency holds every stall in full; by as much as "
                    "service is lower, coordinated omission would have flattered the server."
                }
            } @else {
                p.note {
                    "This was a closed loop: each connection waited for its answer before it shook again, so a slow server was asked less often. That is coordinated omission, "
                    "and these figures hide what users would have felt."
                }
            }
            div.charts { @for chart in charts.iter().flatten() { (chart.draw()) } }
        }
    }
}

fn footer(report: &Report) -> Markup {
    let host = &report.host;
    html! {
        footer {
            h2 { "How it was measured" }
            pre { code { (report.command.join(" ")) } }
            p {
                "hongbao-loadgen " (report.version) " on Linux " (host.kernel) ", " (host.cores) " cores, "
                (human::bytes(host.memory_bytes as f64)) " of memory; " (report.threads) " threads, waking every "
                (human::time(report.tick_us as f64)) "; at most " (human::bytes(report.resident_bytes_max as f64)) " resident."
            }
        }
    }
}

#[cfg(test)]
mod tests;
