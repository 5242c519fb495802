//! Reports into one.

use std::collections::BTreeMap;

use super::seconds;
use crate::audit::Findings;
use crate::distribution::Distribution;
use crate::expect::Expectation;
use crate::gifts::audit::GiftFindings;
use crate::gifts::report::{GiftReport, GiftRequests};
use crate::limits::AUDIT_FINDINGS_SHOWN;
use crate::record::Requests;
use crate::report::{Connections, CpuReport, Expected, HostReport, Report, RingReport, SCHEMA, StageReport};
use crate::steadiness;

/// Begins of a stage further apart than this are told of, in seconds: in between not all machines were loading.
const BEGINS_APART_TOLD_S: f64 = 0.5;

/// A report, and what to call it where it is spoken of.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its file or its machine.
    pub name: String,
    /// The report.
    pub report: Report,
}

/// All as one; its expectations are those of the parts, not judged yet. Says why where they are not of one run.
pub fn join(parts: &[Part]) -> Result<Report, String> {
    let first = &parts.first().ok_or("there is none")?.report;
    for part in parts {
        check_alike(&parts[0], part)?;
    }
    let started_unix_s = parts.iter().map(|part| part.report.started_unix_s).min().unwrap_or_default();
    let of = |part: &Part, reasons: &[String]| -> Vec<String> {
        reasons.iter().map(|reason| format!("{}: {reason}", part.name)).collect()
    };
    let mut invalid_reasons: Vec<String> =
        parts.iter().flat_map(|part| of(part, &part.report.invalid_reasons)).collect();
    let mut warnings: Vec<String> = parts.iter().flat_map(|part| of(part, &part.report.warnings)).collect();
    let points = seconds::join(parts, started_unix_s)?;
    let mut stages = Vec::with_capacity(first.stages.len());
    for place in 0..first.stages.len() {
        let mut stage = Members::of(parts, place).join(started_unix_s)?;
        stage.steadiness = steadiness::of(&points, place as u32, even_rate(&stage));
        tell_apart(&Members::of(parts, place), &mut warnings, &mut invalid_reasons);
        stages.push(stage);
    }
    let reports = || parts.iter().map(|part| &part.report);
    Ok(Report {
        schema: SCHEMA.to_owned(),
        version: distinct(reports().map(|report| report.version.as_str())),
        command: reports().map(|report| report.command.join(" ")).collect(),
        scenario: distinct(reports().map(|report| report.scenario.as_str())),
        host: HostReport {
            kernel: distinct(reports().map(|report| report.host.kernel.as_str())),
            cores: reports().map(|report| report.host.cores).sum(),
            memory_bytes: reports().map(|report| report.host.memory_bytes).sum(),
        },
        started_unix_s,
        begun_unix_us: reports().map(|report| report.begun_unix_us).filter(|at| *at > 0).min().unwrap_or_default(),
        valid: invalid_reasons.is_empty() && reports().all(|report| report.valid),
        invalid_reasons,
        warnings,
        passed: true,
        expectations: union(reports().map(|report| &report.expectations)),
        loop_kind: first.loop_kind.clone(),
        schedule: first.schedule.clone(),
        rate_target_qps: sum_of_some(reports().map(|report| report.rate_target_qps)),
        depth: first.depth,
        duration_s: largest(reports().map(|report| report.duration_s)),
        warm_up_s: largest(reports().map(|report| report.warm_up_s)),
        threads: reports().map(|report| report.threads).sum(),
        tick_us: reports().map(|report| report.tick_us).max().unwrap_or_default(),
        connections: connections(reports().map(|report| &report.connections)),
        requests: requests(reports().map(|report| &report.requests)),
        rate_qps: tenth(reports().map(|report| report.rate_qps).sum()),
        latency_us: distribution(reports().map(|report| &report.latency_us))?,
        service_us: distribution(reports().map(|report| &report.service_us))?,
        lateness_us: distribution(reports().map(|report| &report.lateness_us))?,
        lateness_p99_us_max: reports().map(|report| report.lateness_p99_us_max).max().unwrap_or_default(),
        gifts: gifts(reports().filter_map(|report| report.gifts.as_ref()))?,
        audit: findings(parts),
        gift_audit: gift_findings(parts),
        unknown_answers: reports().map(|report| report.unknown_answers).sum(),
        cpu: cpu(reports().map(|report| &report.cpu)),
        resident_bytes_max: reports().map(|report| report.resident_bytes_max).sum(),
        ring: ring(reports().map(|report| &report.ring)),
        search: None,
        stages,
        seconds: points,
    })
}

/// Evaluates every expectation of the report anew, by its text.
pub fn judge(report: &mut Report) -> Result<(), String> {
    let parse = |expected: &Expected| expected.expectation.parse::<Expectation>();
    for stage in &mut report.stages {
        let all: Vec<Expectation> = stage.expectations.iter().map(parse).collect::<Result<_, _>>()?;
        stage.expectations = all.iter().map(|expectation| expectation.of_stage(stage)).collect();
    }
    let all: Vec<Expectation> = report.expectations.iter().map(parse).collect::<Result<_, _>>()?;
    report.expectations = all.iter().map(|expectation| expectation.of_run(report)).collect();
    let of_stages = report.stages.iter().flat_map(|stage| &stage.expectations);
    report.passed = report.expectations.iter().chain(of_stages).all(|expected| expected.held);
    Ok(())
}

fn check_alike(first: &Part, other: &Part) -> Result<(), String> {
    let differ = |what: &str, of: [&str; 2]| {
        Err(format!("{what} is `{}` in {} and `{}` in {}", of[0], first.name, of[1], other.name))
    };
    let (one, two) = (&first.report, &other.report);
    if two.search.is_some() {
        return Err(format!("{} is of a search, in which each machine went its own way", other.name));
    }
    if one.loop_kind != two.loop_kind {
        return differ("the loop", [&one.loop_kind, &two.loop_kind]);
    }
    if one.schedule != two.schedule {
        return differ("the schedule", [&one.schedule, &two.schedule]);
    }
    let names = |report: &Report| report.stages.iter().map(|stage| stage.name.clone()).collect::<Vec<_>>().join(", ");
    let (one, two) = (names(one), names(two));
    if one == two { Ok(()) } else { differ("the row of stages", [&one, &two]) }
}

/// One stage as the parts have it.
struct Members<'a> {
    parts: &'a [Part],
    place: usize,
}

impl<'a> Members<'a> {
    const fn of(parts: &'a [Part], place: usize) -> Self {
        Self { parts, place }
    }

    fn all(&self) -> impl Iterator<Item = &'a StageReport> + use<'a> {
        let place = self.place;
        self.parts.iter().map(move |part| &part.report.stages[place])
    }

    /// When each began, in seconds since the first of the parts was started.
    fn begins(&self, started_unix_s: u64) -> impl Iterator<Item = f64> {
        let place = self.place;
        self.parts
            .iter()
            .map(move |part| (part.report.started_unix_s - started_unix_s) as f64 + part.report.stages[place].begun_s)
    }

    fn join(&self, started_unix_s: u64) -> Result<StageReport, String> {
        let stages = || self.all();
        let first = &self.parts[0].report.stages[self.place];
        Ok(StageReport {
            name: first.name.clone(),
            trial: first.trial.map(|_| stages().all(|stage| stage.trial == Some(true))),
            begun_s: self.begins(started_unix_s).fold(f64::INFINITY, f64::min),
            warm_up_s: largest(stages().map(|stage| stage.warm_up_s)),
            duration_s: largest(stages().map(|stage| stage.duration_s)),
            connections: stages().map(|stage| stage.connections).sum(),
            establish_ms: stages().filter_map(|stage| stage.establish_ms).max(),
            rate_from_qps: sum_of_some(stages().map(|stage| stage.rate_from_qps)),
            rate_target_qps: sum_of_some(stages().map(|stage| stage.rate_target_qps)),
            requests: requests(stages().map(|stage| &stage.requests)),
            rate_qps: tenth(stages().map(|stage| stage.rate_qps).sum()),
            latency_us: distribution(stages().map(|stage| &stage.latency_us))?,
            service_us: distribution(stages().map(|stage| &stage.service_us))?,
            lateness_us: distribution(stages().map(|stage| &stage.lateness_us))?,
            steadiness: first.steadiness,
            cpu: cpu(stages().map(|stage| &stage.cpu)),
            ring: ring(stages().map(|stage| &stage.ring)),
            gifts: gifts(stages().filter_map(|stage| stage.gifts.as_ref()))?,
            server: stages().find_map(|stage| stage.server.clone()),
            expectations: union(stages().map(|stage| &stage.expectations)),
            invalid_reasons: self
                .parts
                .iter()
                .flat_map(|part| {
                    let reasons = &part.report.stages[self.place].invalid_reasons;
                    reasons.iter().map(|reason| format!("{}: {reason}", part.name)).collect::<Vec<_>>()
                })
                .collect(),
        })
    }
}

/// Says where the parts of a stage did not run together.
fn tell_apart(members: &Members<'_>, warnings: &mut Vec<String>, invalid_reasons: &mut Vec<String>) {
    let first = members.parts.iter().map(|part| part.report.started_unix_s).min().unwrap_or_default();
    let (earliest, latest) =
        members.begins(first).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), at| (low.min(at), high.max(at)));
    let lasted = |stage: &StageReport| stage.warm_up_s + stage.duration_s;
    let shortest = members.all().map(lasted).fold(f64::INFINITY, f64::min);
    let longest = members.all().map(lasted).fold(0.0, f64::max);
    let (name, apart) = (&members.parts[0].report.stages[members.place].name, latest - earliest);
    // A stage that only connects has no load that would have to be at the same time.
    if shortest <= 0.0 {
        return;
    }
    if apart >= shortest {
        invalid_reasons.push(format!(
            "stage `{name}`: its parts began {apart:.1} s apart and the shortest lasted {shortest:.1} s: they did not run at the same time"
        ));
    } else if apart > BEGINS_APART_TOLD_S {
        warnings.push(format!(
            "stage `{name}`: its parts began {apart:.1} s apart; in between not all machines were loading"
        ));
    }
    if longest - shortest > BEGINS_APART_TOLD_S {
        warnings.push(format!("stage `{name}`: its parts lasted {shortest:.1} s to {longest:.1} s"));
    }
}

/// The rate that a stage asked for throughout.
fn even_rate(stage: &StageReport) -> Option<u64> {
    stage.rate_target_qps.filter(|_| stage.rate_from_qps == stage.rate_target_qps)
}

fn connections<'a>(parts: impl Iterator<Item = &'a Connections>) -> Connections {
    let mut sum = Connections {
        target: 0,
        established: 0,
        failed: 0,
        dropped: 0,
        reconnected: 0,
        rounds_told: 0,
        attempts: 0,
        attempts_failed: BTreeMap::new(),
        dropped_by_reason: BTreeMap::new(),
        establish_ms: 0,
    };
    for part in parts {
        sum.target += part.target;
        sum.established += part.established;
        sum.failed += part.failed;
        sum.dropped += part.dropped;
        sum.reconnected += part.reconnected;
        sum.rounds_told += part.rounds_told;
        sum.attempts += part.attempts;
        add_reasons(&mut sum.attempts_failed, &part.attempts_failed);
        add_reasons(&mut sum.dropped_by_reason, &part.dropped_by_reason);
        sum.establish_ms = sum.establish_ms.max(part.establish_ms);
    }
    sum
}

fn add_reasons(sum: &mut BTreeMap<String, u64>, part: &BTreeMap<String, u64>) {
    for (reason, count) in part {
        *sum.entry(reason.clone()).or_default() += count;
    }
}

fn requests<'a>(parts: impl Iterator<Item = &'a Requests>) -> Requests {
    parts.fold(Requests::default(), |mut sum, part| {
        sum += *part;
        sum
    })
}

fn distribution<'a>(parts: impl Iterator<Item = &'a Distribution>) -> Result<Distribution, String> {
    let mut sum = None;
    for part in parts {
        let histogram = part.histogram().ok_or("a histogram is damaged")?;
        match &mut sum {
            None => sum = Some(histogram),
            Some(sum) => sum.add(&histogram).map_err(|error| format!("histograms do not fit together: {error:?}"))?,
        }
    }
    Ok(Distribution::from(&sum.ok_or("there is no histogram")?))
}

fn cpu<'a>(parts: impl Iterator<Item = &'a CpuReport>) -> CpuReport {
    let mut sum = CpuReport::default();
    let mut sent = 0.0;
    for part in parts {
        sum.user_s += part.user_s;
        sum.system_s += part.system_s;
        sum.waited_s += part.waited_s;
        sum.cores += part.cores;
        sum.busiest_thread_share = sum.busiest_thread_share.max(part.busiest_thread_share);
        if part.us_per_request > 0.0 {
            sent += (part.user_s + part.system_s) * 1e6 / part.us_per_request;
        }
    }
    if sent > 0.0 {
        sum.us_per_request = (sum.user_s + sum.system_s) * 1e6 / sent;
    }
    sum
}

fn ring<'a>(parts: impl Iterator<Item = &'a RingReport>) -> RingReport {
    parts.fold(RingReport::default(), |mut sum, part| {
        sum.join(part);
        sum
    })
}

fn findings(parts: &[Part]) -> Findings {
    let mut sum = Findings::default();
    for Part { name, report } in parts {
        let audit = &report.audit;
        sum.envelopes += audit.envelopes;
        sum.amount_cents = sum.amount_cents.saturating_add(audit.amount_cents);
        sum.envelopes_only_shown_again += audit.envelopes_only_shown_again;
        sum.duplicates += audit.duplicates;
        sum.altered += audit.altered;
        sum.over_cap += audit.over_cap;
        sum.unaudited += audit.unaudited;
        sum.findings.extend(audit.findings.iter().map(|finding| format!("{name}: {finding}")));
    }
    sum.findings.truncate(AUDIT_FINDINGS_SHOWN);
    sum
}

/// None where no part has gifts.
fn gifts<'a>(parts: impl Iterator<Item = &'a GiftReport>) -> Result<Option<GiftReport>, String> {
    let parts: Vec<&GiftReport> = parts.collect();
    if parts.is_empty() {
        return Ok(None);
    }
    let all = || parts.iter();
    let mut requests = GiftRequests::default();
    for part in all() {
        requests.join(&part.requests);
    }
    Ok(Some(GiftReport {
        rate_target: all().map(|part| part.rate_target).sum(),
        rate: tenth(all().map(|part| part.rate).sum()),
        requests,
        send_us: distribution(all().map(|part| &part.send_us))?,
        lateness_us: distribution(all().map(|part| &part.lateness_us))?,
        notice_us: distribution(all().map(|part| &part.notice_us))?,
        open_us: distribution(all().map(|part| &part.open_us))?,
    }))
}

/// Each machine gives to its own users, so that what each found is all there is to find.
fn gift_findings(parts: &[Part]) -> Option<GiftFindings> {
    let mut sum: Option<GiftFindings> = None;
    for Part { name, report } in parts {
        let Some(audit) = &report.gift_audit else { continue };
        let findings = audit.findings.iter().map(|finding| format!("{name}: {finding}")).collect();
        sum.get_or_insert_default().join(&GiftFindings { findings, ..audit.clone() });
    }
    sum
}

/// Every expectation once, in order; not judged.
fn union<'a>(parts: impl Iterator<Item = &'a Vec<Expected>>) -> Vec<Expected> {
    let mut all: Vec<Expected> = Vec::new();
    for expected in parts.flatten() {
        if all.iter().all(|known| known.expectation != expected.expectation) {
            all.push(expected.clone());
        }
    }
    all
}

/// Each different text once.
fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut all: Vec<&str> = Vec::new();
    for text in texts {
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all.join(", ")
}

/// None where nobody has one.
fn sum_of_some(rates: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    rates.flatten().reduce(|sum, rate| sum + rate)
}

fn largest(of: impl Iterator<Item = f64>) -> f64 {
    of.fold(0.0, f64::max)
}

/// As rates are reported.
fn tenth(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}
