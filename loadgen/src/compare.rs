//! `hongbao-loadgen compare`: the figures of two reports side by side, and whether the second run was worse than the first.
//!
//! A run is worse where its rate, its errors or the 99th percentile of its latency are, over the whole or in a stage that both have. The
//! other figures are told with the same words and decide nothing: they explain.

mod figures;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::report::Report;
use crate::reports;
use crate::scenario::Percentage;
use figures::{FIGURES, Figure, Measured};

const EXAMPLES: &str = "\
Examples:
  # yesterday's build and today's; exit code 99 where today's is worse by more than a tenth
  hongbao-loadgen compare yesterday.json today.json

  # for a program, and stricter
  hongbao-loadgen compare yesterday.json today.json --tolerance 3% --json

Exit codes: 0 the second run is not worse, 1 error, 2 usage, 99 it is worse in its rate, its errors or the 99th percentile of its latency.";

/// `hongbao-loadgen compare`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CompareArguments {
    /// Report of `--json` to compare with
    #[arg(value_name = "A.json")]
    pub a: PathBuf,

    /// Report of `--json` that is judged
    #[arg(value_name = "B.json")]
    pub b: PathBuf,

    /// How far a figure may be off before it counts as better or worse
    #[arg(long, value_name = "SHARE", default_value = "10%")]
    pub tolerance: Percentage,

    /// Print the comparison as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Format of the JSON object.
pub const SCHEMA: &str = "hongbao-loadgen/compare/1";

/// How the second run's figure is to the first one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Better by more than the tolerance.
    Better,
    /// Within the tolerance.
    Same,
    /// Worse by more than the tolerance.
    Worse,
    /// One of the runs has not measured it.
    Unknown,
}

/// One figure of both runs.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The stage; none for the whole run.
    pub stage: Option<String>,
    /// Which figure, with its unit.
    pub figure: &'static str,
    /// Of the first run.
    pub a: Option<f64>,
    /// Of the second.
    pub b: Option<f64>,
    /// The second by the first; none where that is 0 or not measured.
    pub ratio: Option<f64>,
    /// What that means.
    pub verdict: Verdict,
    /// Whether a worse one makes the run worse.
    pub decides: bool,
    #[serde(skip)]
    text: fn(f64) -> String,
}

/// Two runs side by side.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Format of this object: [`SCHEMA`].
    pub schema: &'static str,
    /// How far a figure may be off, as a share.
    pub tolerance: f64,
    /// Why the runs are not alike, so that the ratios may say something about that and nothing about the server.
    pub warnings: Vec<String>,
    /// Figure by figure, the whole run first.
    pub rows: Vec<Row>,
    /// Whether a figure that decides is worse.
    pub worse: bool,
}

/// Reads, compares, prints, and says how it ended.
pub fn run(arguments: &CompareArguments) -> Result<Exit, Failure> {
    let comparison = compare(&read(&arguments.a)?, &read(&arguments.b)?, arguments.tolerance.0);
    let failed = |error: io::Error| Failure::error(format!("writing to standard output: {error}"));
    let mut out = io::stdout().lock();
    if arguments.json {
        let text = serde_json::to_string_pretty(&comparison).map_err(|error| Failure::error(error.to_string()))?;
        writeln!(out, "{text}").map_err(failed)?;
    } else {
        for warning in &comparison.warnings {
            eprintln!("hongbao-loadgen: warning: {warning}");
        }
        write_table(&comparison, &mut out).map_err(failed)?;
    }
    Ok(if comparison.worse { Exit::Threshold } else { Exit::Good })
}

fn read(path: &Path) -> Result<Report, Failure> {
    if path == Path::new("-") {
        return Err(Failure::usage("compare reads its two reports from files, not from standard input"));
    }
    reports::read(path)
}

/// Compares the second report with the first.
pub fn compare(a: &Report, b: &Report, tolerance: f64) -> Comparison {
    let mut rows = rows(None, &Measured::of_run(a), &Measured::of_run(b), tolerance);
    // Of a single stage each the whole has said it all, but for the server's side.
    for stage_a in &a.stages {
        let Some(stage_b) = b.stages.iter().find(|stage_b| stage_b.name == stage_a.name) else { continue };
        let name = Some(stage_a.name.as_str());
        rows.extend(self::rows(name, &Measured::of_stage(stage_a), &Measured::of_stage(stage_b), tolerance));
    }
    let worse = rows.iter().any(|row| row.decides && row.verdict == Verdict::Worse);
    Comparison { schema: SCHEMA, tolerance, warnings: differences(a, b), rows, worse }
}

fn rows(stage: Option<&str>, a: &Measured<'_>, b: &Measured<'_>, tolerance: f64) -> Vec<Row> {
    let row = |figure: &Figure| {
        let (a, b) = ((figure.of)(a), (figure.of)(b));
        // What neither has needs no line.
        a.or(b)?;
        Some(Row {
            stage: stage.map(ToOwned::to_owned),
            figure: figure.name,
            a,
            b,
            ratio: a.zip(b).filter(|(a, _)| *a != 0.0).map(|(a, b)| b / a),
            verdict: a.zip(b).map_or(Verdict::Unknown, |(a, b)| verdict(a, b, figure.more_is_better, tolerance)),
            decides: figure.decides,
            text: figure.text,
        })
    };
    FIGURES.iter().filter_map(row).collect()
}

fn verdict(a: f64, b: f64, more_is_better: bool, tolerance: f64) -> Verdict {
    let margin = a.abs() * tolerance;
    match (b > a + margin, b < a - margin) {
        (false, false) => Verdict::Same,
        (more, _) if more == more_is_better => Verdict::Better,
        _ => Verdict::Worse,
    }
}

type Condition = (&'static str, fn(&Report) -> String);

/// What has to be the same for a difference to be the server's.
const CONDITIONS: [Condition; 5] = [
    ("schedule", |report| report.schedule.clone()),
    ("connections", |report| report.connections.target.to_string()),
    ("rate asked for", |report| report.rate_target_qps.map_or_else(|| "none".to_owned(), |rate| rate.to_string())),
    ("tick", |report| format!("{} us", report.tick_us)),
    ("host", |report| {
        let host = &report.host;
        format!("Linux {}, {} cores, {} bytes", host.kernel, host.cores, host.memory_bytes)
    }),
];

/// What the two runs did not have in common.
fn differences(a: &Report, b: &Report) -> Vec<String> {
    let mut found = Vec::new();
    for (name, report) in [("A", a), ("B", b)] {
        if !report.valid {
            found.push(format!("{name} is not valid: {}", report.invalid_reasons.join("; ")));
        }
    }
    for (name, of) in CONDITIONS {
        let (of_a, of_b) = (of(a), of(b));
        if of_a != of_b {
            found.push(format!("not the same {name}: {of_a} in A, {of_b} in B"));
        }
    }
    for (name, one, other) in [("A", a, b), ("B", b, a)] {
        for stage in &one.stages {
            if !other.stages.iter().any(|candidate| candidate.name == stage.name) {
                found.push(format!("only {name} has a stage `{}`", stage.name));
            }
        }
    }
    found
}

fn write_table(comparison: &Comparison, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{:<24} {:>12} {:>12} {:>8}", "", "A", "B", "B/A")?;
    let mut at: Option<&Option<String>> = None;
    for row in &comparison.rows {
        if at != Some(&row.stage) {
            writeln!(
                out,
                "{}",
                row.stage.as_deref().map_or_else(|| "whole run".to_owned(), |name| format!("stage {name}"))
            )?;
            at = Some(&row.stage);
        }
        let text = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), row.text);
        let ratio = row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
        let word = match (row.verdict, row.decides) {
            (Verdict::Worse, true) => "WORSE",
            (Verdict::Worse, false) => "worse",
            (Verdict::Better, _) => "better",
            (Verdict::Same, _) => "same",
            (Verdict::Unknown, _) => "",
        };
        let line = format!("  {:<22} {:>12} {:>12} {ratio:>8}  {word}", row.figure, text(row.a), text(row.b));
        writeln!(out, "{}", line.trim_end())?;
    }
    let verdict = if comparison.worse { "B is worse than A" } else { "B is not worse than A" };
    writeln!(out, "{verdict}, by a tolerance of {:.4} %", comparison.tolerance * 100.0)
}

#[cfg(test)]
mod tests;
