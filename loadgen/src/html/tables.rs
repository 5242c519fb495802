//! The tables of the page: what was expected, and the figures of each stage and of the whole.

use maud::{Markup, html};

use crate::distribution::Distribution;
use crate::human;
use crate::record::Requests;
use crate::report::{Expected, Report, StageReport};

/// Nothing was measured there.
const NONE: &str = "–";

/// What was expected of the whole and of each stage; nothing where there was nothing expected.
pub(super) fn expectations(report: &Report) -> Markup {
    let of_stages = report
        .stages
        .iter()
        .flat_map(|stage| stage.expectations.iter().map(|expected| (stage.name.as_str(), expected)));
    let all: Vec<(&str, &Expected)> =
        report.expectations.iter().map(|expected| ("whole run", expected)).chain(of_stages).collect();
    html! {
        @if !all.is_empty() {
            h2 { "Expectations" }
            div.scroll {
                table {
                    thead { tr { th { "stage" } th.words { "expected" } th { "measured" } th { "held" } } }
                    tbody {
                        @for (place, expected) in all {
                            tr {
                                th { (place) }
                                td.code { (expected.expectation) }
                                td { (expected.measured) }
                                @if expected.held { td.good { "✓ yes" } } @else { td.bad { "✗ no" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The figures of the stages, in tables narrow enough to read.
pub(super) fn stages(report: &Report) -> Markup {
    let rows: Vec<Row> = report.stages.iter().map(Row::of_stage).collect();
    // Of one stage the whole would only say the same again.
    let whole = (rows.len() != 1).then(|| Row::of_run(report));
    let rows: Vec<&Row> = rows.iter().chain(&whole).collect();
    html! {
        h2 { "Load" }
        (loads(&rows))
        h2 { "Outcomes" }
        (outcomes(&rows))
        h2 { "Times" }
        (times(&rows))
        h2 { "Cost" }
        (costs(&rows))
    }
}

/// A stage or the whole.
struct Row<'a> {
    name: &'a str,
    stage: Option<&'a StageReport>,
    connections: u64,
    rate: Option<String>,
    requests: &'a Requests,
    rate_qps: f64,
    distributions: [(&'static str, &'a Distribution); 3],
    invalid: bool,
    cpu_us_per_request: f64,
    cpu_cores: f64,
    enters_per_send: f64,
}

impl<'a> Row<'a> {
    fn of_stage(stage: &'a StageReport) -> Self {
        let rate = stage.rate_target_qps.map(|target| match stage.rate_from_qps {
            Some(from) if from != target => format!("{} → {}", human::exact(from), human::exact(target)),
            _ => human::exact(target),
        });
        Self {
            name: &stage.name,
            connections: stage.connections,
            rate,
            requests: &stage.requests,
            rate_qps: stage.rate_qps,
            distributions: [
                ("latency", &stage.latency_us),
                ("service", &stage.service_us),
                ("lateness", &stage.lateness_us),
            ],
            invalid: !stage.invalid_reasons.is_empty(),
            cpu_us_per_request: stage.cpu.us_per_request,
            cpu_cores: stage.cpu.cores,
            enters_per_send: stage.ring.enters as f64 / stage.ring.sends.max(1) as f64,
            stage: Some(stage),
        }
    }

    fn of_run(report: &'a Report) -> Self {
        Self {
            name: "whole run",
            stage: None,
            connections: report.connections.established,
            rate: None,
            requests: &report.requests,
            rate_qps: report.rate_qps,
            distributions: [
                ("latency", &report.latency_us),
                ("service", &report.service_us),
                ("lateness", &report.lateness_us),
            ],
            invalid: !report.valid,
            cpu_us_per_request: report.cpu.us_per_request,
            cpu_cores: report.cpu.cores,
            enters_per_send: report.ring.enters as f64 / report.ring.sends.max(1) as f64,
        }
    }

    fn title(&self) -> Markup {
        html! { th { (self.name) @if self.invalid { " " span.bad { "not valid" } } } }
    }

    /// The furthest second from the rate asked for.
    fn deviation(&self) -> String {
        let of = |stage: &StageReport| stage.steadiness.qps_deviation_max;
        self.stage.and_then(of).map_or_else(|| NONE.to_owned(), |share| format!("±{}", human::share(share)))
    }

    /// Envelopes a second: on average, in the poorest and in the richest ten seconds in a row.
    fn envelopes(&self) -> [String; 3] {
        let Some(steadiness) = self.stage.map(|stage| stage.steadiness) else {
            return [NONE, NONE, NONE].map(Into::into);
        };
        let windows = [steadiness.envelopes_per_s_lowest, steadiness.envelopes_per_s_highest];
        let [low, high] = windows.map(|rate| rate.map_or_else(|| NONE.to_owned(), human::plain));
        [human::plain(steadiness.envelopes_per_s), low, high]
    }
}

fn loads(rows: &[&Row<'_>]) -> Markup {
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th {} th { "connections" } th { "asked a second" } th { "answered a second" } th { "worst second" } th { "sent" }
                        th { "not sent" } th { "timed out" } th { "lost" }
                    }
                }
                tbody {
                    @for row in rows {
                        tr {
                            (row.title())
                            td { (human::exact(row.connections)) }
                            td { (row.rate.as_deref().unwrap_or(NONE)) }
                            td { (human::exact(row.rate_qps.round() as u64)) }
                            td { (row.deviation()) }
                            td { (human::exact(row.requests.sent)) }
                            (failures(row.requests.not_sent.total()))
                            (failures(row.requests.timed_out))
                            (failures(row.requests.lost))
                        }
                    }
                }
            }
        }
    }
}

fn outcomes(rows: &[&Row<'_>]) -> Markup {
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th {} th { "envelopes" } th { "a second" } th { "poorest 10 s" } th { "richest 10 s" } th { "none" }
                        th { "user limit" } th { "sponsor limit" } th { "overloaded" }
                    }
                }
                tbody {
                    @for row in rows {
                        @let outcomes = &row.requests.by_outcome;
                        tr {
                            (row.title())
                            td { (human::exact(outcomes.envelope)) }
                            @for rate in row.envelopes() { td { (rate) } }
                            td { (human::exact(outcomes.none)) }
                            td { (human::exact(outcomes.user_limit)) }
                            td { (human::exact(outcomes.sponsor_limit)) }
                            td { (human::exact(outcomes.overloaded)) }
                        }
                    }
                }
            }
        }
    }
}

fn failures(count: u64) -> Markup {
    html! { td.bad[count > 0] { (human::exact(count)) } }
}

fn times(rows: &[&Row<'_>]) -> Markup {
    let cell = |of: &Distribution, us: u64| if of.count == 0 { NONE.to_owned() } else { human::time(us as f64) };
    html! {
        div.scroll {
            table {
                thead { tr { th {} th { "" } th { "median" } th { "p90" } th { "p99" } th { "p99.9" } th { "longest" } th { "mean" } } }
                tbody {
                    @for row in rows {
                        @for (number, (name, of)) in row.distributions.iter().enumerate() {
                            tr.follows[number > 0] {
                                @if number == 0 { (row.title()) } @else { th {} }
                                td.words { (name) }
                                @for us in [of.p50, of.p90, of.p99, of.p99_9, of.max] { td { (cell(of, us)) } }
                                td { (cell(of, of.mean.round() as u64)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn costs(rows: &[&Row<'_>]) -> Markup {
    let any_server = rows.iter().any(|row| row.stage.is_some_and(|stage| stage.server.is_some()));
    html! {
        div.scroll {
            table {
                thead {
                    tr.groups {
                        th {}
                        th colspan="3" { "load generator" }
                        @if any_server { th colspan="5" { "daemon" } }
                    }
                    tr {
                        th {} th { "CPU a shake" } th { "cores" } th { "enters a send" }
                        @if any_server {
                            th { "CPU a shake" } th { "cores" } th { "enters a shake" } th { "resident" } th { "fairness" }
                        }
                    }
                }
                tbody {
                    @for row in rows {
                        tr {
                            (row.title())
                            td { (human::time(row.cpu_us_per_request)) }
                            td { (human::plain(row.cpu_cores)) }
                            td { (human::plain(row.enters_per_send)) }
                            @if let Some(server) = row.stage.and_then(|stage| stage.server.as_ref()) {
                                td { (human::time(server.cpu_us_per_request)) }
                                td { (human::plain(server.cpu_cores)) }
                                td { (human::plain(server.enters_per_request)) }
                                td { (human::bytes(server.resident_bytes as f64)) }
                                td { (format!("{:.4}", server.fairness)) }
                            } @else if any_server {
                                @for _ in 0..5 { td { (NONE) } }
                            }
                        }
                    }
                }
            }
        }
        @if any_server {
            p.note { "Fairness is Jain's index of envelopes by shakes over the daemon's SETs: 1 is perfectly fair." }
        }
    }
}
