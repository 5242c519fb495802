//! Expectations: `p99<20ms`. What is expected of a figure of the report, as text in a scenario or behind `--expect`, and whether it held.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::distribution::Distribution;
use crate::gifts::report::GiftReport;
use crate::record::Requests;
use crate::report::{Expected, Report, ServerReport, StageReport};

/// A figure, a comparison and a bound. Its text is what it was read from, spaces left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expectation {
    figure: Figure,
    comparison: Comparison,
    /// In `unit`.
    bound: f64,
    unit: Unit,
}

/// What can be expected something of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    Time(Histogram, Statistic),
    Answers,
    AnswersDeviation,
    TimedOut,
    Lost,
    NotSent,
    Errors,
    Overloaded,
    Envelopes,
    EnvelopesLowest,
    EnvelopesHighest,
    Established,
    Establish,
    ServerCpu,
    ServerResident,
    Fairness,
    Failed,
    Dropped,
    Resident,
    Duplicates,
    Altered,
    OverCap,
    Gifts,
    GiftErrors,
    GiftsRefused,
    GiftViolations,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Histogram {
    Latency,
    Service,
    Lateness,
    GiftSend,
    GiftNotice,
    GiftOpen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Statistic {
    Median,
    P90,
    P99,
    P99Point9,
    Max,
    Mean,
}

/// Which units a figure has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Time,
    Count,
    Rate,
    Share,
    Size,
    Plain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
    Equal,
}

/// A name, and how much of the report's own unit it is (microseconds, bytes, shares of 1).
#[derive(Clone, Copy, Debug, PartialEq)]
struct Unit(&'static str, f64);

const FIGURES: [(&str, Figure, Kind); 25] = [
    ("qps", Figure::Answers, Kind::Rate),
    ("qps_deviation", Figure::AnswersDeviation, Kind::Share),
    ("timed_out", Figure::TimedOut, Kind::Count),
    ("lost", Figure::Lost, Kind::Count),
    ("not_sent", Figure::NotSent, Kind::Count),
    ("errors", Figure::Errors, Kind::Count),
    ("overloaded", Figure::Overloaded, Kind::Share),
    ("envelopes", Figure::Envelopes, Kind::Rate),
    ("envelopes_lowest", Figure::EnvelopesLowest, Kind::Rate),
    ("envelopes_highest", Figure::EnvelopesHighest, Kind::Rate),
    ("established", Figure::Established, Kind::Count),
    ("establish", Figure::Establish, Kind::Time),
    ("server_cpu", Figure::ServerCpu, Kind::Plain),
    ("server_rss", Figure::ServerResident, Kind::Size),
    ("fairness", Figure::Fairness, Kind::Plain),
    ("failed", Figure::Failed, Kind::Count),
    ("dropped", Figure::Dropped, Kind::Count),
    ("rss", Figure::Resident, Kind::Size),
    ("duplicates", Figure::Duplicates, Kind::Count),
    ("altered", Figure::Altered, Kind::Count),
    ("over_cap", Figure::OverCap, Kind::Count),
    ("gifts", Figure::Gifts, Kind::Rate),
    ("gift_errors", Figure::GiftErrors, Kind::Count),
    ("gifts_refused", Figure::GiftsRefused, Kind::Count),
    ("gift_violations", Figure::GiftViolations, Kind::Count),
];

const HISTOGRAMS: [(&str, Histogram); 6] = [
    ("", Histogram::Latency),
    ("service_", Histogram::Service),
    ("lateness_", Histogram::Lateness),
    ("gift_send_", Histogram::GiftSend),
    ("gift_notice_", Histogram::GiftNotice),
    ("gift_open_", Histogram::GiftOpen),
];

const STATISTICS: [(&str, Statistic); 6] = [
    ("p50", Statistic::Median),
    ("p90", Statistic::P90),
    ("p99", Statistic::P99),
    ("p99.9", Statistic::P99Point9),
    ("max", Statistic::Max),
    ("mean", Statistic::Mean),
];

/// The longer ones before those they begin with.
const COMPARISONS: [(&str, Comparison); 5] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("==", Comparison::Equal),
    ("<", Comparison::Below),
    (">", Comparison::Above),
];

impl Kind {
    const fn units(self) -> &'static [Unit] {
        match self {
            Self::Time => &[Unit("us", 1.0), Unit("ms", 1e3), Unit("s", 1e6)],
            Self::Count => &[Unit("", 1.0), Unit("k", 1e3), Unit("M", 1e6)],
            Self::Rate => {
                &[Unit("", 1.0), Unit("k", 1e3), Unit("M", 1e6), Unit("/s", 1.0), Unit("k/s", 1e3), Unit("M/s", 1e6)]
            }
            Self::Share => &[Unit("%", 0.01)],
            Self::Size => &[
                Unit("B", 1.0),
                Unit("kB", 1e3),
                Unit("MB", 1e6),
                Unit("GB", 1e9),
                Unit("KiB", 1_024.0),
                Unit("MiB", 1_048_576.0),
                Unit("GiB", 1_073_741_824.0),
            ],
            Self::Plain => &[Unit("", 1.0)],
        }
    }
}

impl Comparison {
    fn holds(self, measured: f64, bound: f64) -> bool {
        match self {
            Self::Below => measured < bound,
            Self::AtMost => measured <= bound,
            Self::Above => measured > bound,
            Self::AtLeast => measured >= bound,
            // Both come from decimal text or from counts; a share can be off by its last bit.
            Self::Equal => (measured - bound).abs() <= 1e-9 * bound.abs(),
        }
    }
}

/// Every name there is, with its figure.
fn figures() -> impl Iterator<Item = (String, Figure, Kind)> {
    let times = HISTOGRAMS.iter().flat_map(|(prefix, histogram)| {
        STATISTICS
            .iter()
            .map(move |(name, statistic)| (format!("{prefix}{name}"), Figure::Time(*histogram, *statistic), Kind::Time))
    });
    times.chain(FIGURES.iter().map(|(name, figure, kind)| ((*name).to_owned(), *figure, *kind)))
}

impl FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |why: String| format!("the expectation `{text}`: {why}");
        let at = text
            .find(['<', '>', '='])
            .ok_or_else(|| refused("it has none of < <= > >= ==; write it as `p99<20ms`".to_owned()))?;
        let (name, rest) = (text[..at].trim(), &text[at..]);
        let (sign, comparison) = COMPARISONS
            .into_iter()
            .find(|(sign, _)| rest.starts_with(sign))
            .ok_or_else(|| refused("a comparison is one of < <= > >= ==".to_owned()))?;
        let (_, figure, kind) = figures().find(|(known, ..)| known == name).ok_or_else(|| {
            let names: Vec<String> = figures().map(|(known, ..)| known).collect();
            refused(format!("there is no figure `{name}`; there are {}", names.join(", ")))
        })?;
        let value = rest[sign.len()..].trim();
        let digits = value.find(|c: char| !c.is_ascii_digit() && !['.', '_'].contains(&c)).unwrap_or(value.len());
        let (number, unit_name) = (value[..digits].replace('_', ""), value[digits..].trim());
        let bound: f64 = number.parse().map_err(|_| refused(format!("`{value}` does not begin with a number")))?;
        let unit = kind.units().iter().find(|unit| unit.0 == unit_name).copied().ok_or_else(|| {
            let units: Vec<String> = kind
                .units()
                .iter()
                .map(|unit| if unit.0.is_empty() { "none".to_owned() } else { format!("`{}`", unit.0) })
                .collect();
            let has = if unit_name.is_empty() { "no unit".to_owned() } else { format!("the unit `{unit_name}`") };
            refused(format!("the bound has {has}; the units of `{name}` are: {}", units.join(", ")))
        })?;
        Ok(Self { figure, comparison, bound, unit })
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, ..) =
            figures().find(|(_, figure, _)| *figure == self.figure).expect("only figures with a name are made");
        let (sign, _) =
            COMPARISONS.iter().find(|(_, known)| *known == self.comparison).expect("every comparison is listed");
        write!(f, "{name}{sign}{}{}", self.bound, self.unit.0)
    }
}

impl TryFrom<String> for Expectation {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Expectation> for String {
    fn from(expectation: Expectation) -> Self {
        expectation.to_string()
    }
}

impl Expectation {
    /// Whether only a whole run knows the figure, and no stage.
    pub const fn is_of_whole_run(&self) -> bool {
        matches!(
            self.figure,
            Figure::Failed
                | Figure::Dropped
                | Figure::Resident
                | Figure::Duplicates
                | Figure::Altered
                | Figure::OverCap
                | Figure::GiftViolations
        )
    }

    /// Whether the figure comes from the server's own metrics.
    pub const fn is_of_server(&self) -> bool {
        matches!(self.figure, Figure::ServerCpu | Figure::ServerResident | Figure::Fairness)
    }

    /// What came of it in a stage. A figure that the stage does not have does not hold.
    pub fn of_stage(&self, stage: &StageReport) -> Expected {
        self.judged(View::of_stage(stage).value(self.figure))
    }

    /// What came of it in a whole run: evenness and the server's figures are those of the stage that was worst in them.
    pub fn of_run(&self, report: &Report) -> Expected {
        self.judged(View::of_run(report).value(self.figure))
    }

    fn judged(&self, value: Option<f64>) -> Expected {
        let expectation = self.to_string();
        let Some(value) = value else { return Expected { expectation, measured: "-".to_owned(), held: false } };
        let in_unit = value / self.unit.1;
        let held = self.comparison.holds(in_unit, self.bound);
        let rounded = (in_unit * 1e3).round() / 1e3;
        // Rounding must not tell another story than the judgement: `20ms` where `p99<20ms` held at 19.9999 ms.
        let shown = if self.comparison.holds(rounded, self.bound) == held { rounded } else { in_unit };
        Expected { expectation, measured: format!("{shown}{}", self.unit.0), held }
    }
}

/// The part of a report or a stage that expectations look at.
struct View<'a> {
    requests: &'a Requests,
    latency: &'a Distribution,
    service: &'a Distribution,
    lateness: &'a Distribution,
    gifts: Option<&'a GiftReport>,
    rate_qps: f64,
    duration_s: f64,
    established: u64,
    establish_ms: Option<u64>,
    stages: &'a [StageReport],
    run: Option<&'a Report>,
}

impl<'a> View<'a> {
    fn of_stage(stage: &'a StageReport) -> Self {
        Self {
            requests: &stage.requests,
            latency: &stage.latency_us,
            service: &stage.service_us,
            lateness: &stage.lateness_us,
            gifts: stage.gifts.as_ref(),
            rate_qps: stage.rate_qps,
            duration_s: stage.duration_s,
            established: stage.connections,
            establish_ms: stage.establish_ms,
            stages: std::slice::from_ref(stage),
            run: None,
        }
    }

    fn of_run(report: &'a Report) -> Self {
        Self {
            requests: &report.requests,
            latency: &report.latency_us,
            service: &report.service_us,
            lateness: &report.lateness_us,
            gifts: report.gifts.as_ref(),
            rate_qps: report.rate_qps,
            duration_s: report.duration_s,
            established: report.connections.established,
            establish_ms: Some(report.connections.establish_ms),
            stages: &report.stages,
            run: Some(report),
        }
    }

    /// `None` where it was not measured.
    fn value(&self, figure: Figure) -> Option<f64> {
        let count = |count: u64| Some(count as f64);
        let requests = self.requests;
        let measured = self.duration_s > 0.0;
        match figure {
            Figure::Time(histogram, statistic) => self.time(histogram, statistic),
            Figure::Answers => measured.then_some(self.rate_qps),
            Figure::AnswersDeviation => self.largest(|stage| stage.steadiness.qps_deviation_max),
            Figure::TimedOut => count(requests.timed_out),
            Figure::Lost => count(requests.lost),
            Figure::NotSent => count(requests.not_sent.total()),
            // A user who obeys the server's retry time does as he should.
            Figure::Errors => {
                count(requests.timed_out + requests.lost + requests.not_sent.disconnected + requests.not_sent.overdue)
            }
            Figure::Overloaded => {
                (requests.answered > 0).then(|| requests.by_outcome.overloaded as f64 / requests.answered as f64)
            }
            Figure::Envelopes => measured.then(|| requests.by_outcome.envelope as f64 / self.duration_s),
            Figure::EnvelopesLowest => self.smallest(|stage| stage.steadiness.envelopes_per_s_lowest),
            Figure::EnvelopesHighest => self.largest(|stage| stage.steadiness.envelopes_per_s_highest),
            Figure::Established => count(self.established),
            Figure::Establish => self.establish_ms.map(|ms| ms as f64 * 1e3),
            Figure::ServerCpu => self.largest(of_server(|server| server.cpu_cores)),
            Figure::ServerResident => self.largest(of_server(|server| server.resident_bytes as f64)),
            Figure::Fairness => self.smallest(of_server(|server| server.fairness)),
            Figure::Failed => self.run.map(|run| run.connections.failed as f64),
            Figure::Dropped => self.run.map(|run| run.connections.dropped as f64),
            Figure::Resident => self.run.map(|run| run.resident_bytes_max as f64),
            Figure::Duplicates => self.run.map(|run| run.audit.duplicates as f64),
            Figure::Altered => self.run.map(|run| run.audit.altered as f64),
            Figure::OverCap => self.run.map(|run| run.audit.over_cap as f64),
            Figure::Gifts => self.gifts.map(|gifts| gifts.rate),
            Figure::GiftErrors => self.gifts.map(|gifts| gifts.requests.errors() as f64),
            Figure::GiftsRefused => self.gifts.map(|gifts| gifts.requests.refused as f64),
            Figure::GiftViolations => {
                self.run.and_then(|run| run.gift_audit.as_ref()).map(|audit| audit.violations() as f64)
            }
        }
    }

    fn time(&self, histogram: Histogram, statistic: Statistic) -> Option<f64> {
        let distribution = match histogram {
            Histogram::Latency => self.latency,
            Histogram::Service => self.service,
            Histogram::Lateness => self.lateness,
            Histogram::GiftSend => &self.gifts?.send_us,
            Histogram::GiftNotice => &self.gifts?.notice_us,
            Histogram::GiftOpen => &self.gifts?.open_us,
        };
        (distribution.count > 0).then_some(match statistic {
            Statistic::Median => distribution.p50 as f64,
            Statistic::P90 => distribution.p90 as f64,
            Statistic::P99 => distribution.p99 as f64,
            Statistic::P99Point9 => distribution.p99_9 as f64,
            Statistic::Max => distribution.max as f64,
            Statistic::Mean => distribution.mean,
        })
    }

    fn largest(&self, of: impl Fn(&StageReport) -> Option<f64>) -> Option<f64> {
        self.stages.iter().filter_map(of).reduce(f64::max)
    }

    fn smallest(&self, of: impl Fn(&StageReport) -> Option<f64>) -> Option<f64> {
        self.stages.iter().filter_map(of).reduce(f64::min)
    }
}

fn of_server(of: impl Fn(&ServerReport) -> f64) -> impl Fn(&StageReport) -> Option<f64> {
    move |stage| stage.server.as_ref().map(&of)
}

#[cfg(test)]
mod tests;
