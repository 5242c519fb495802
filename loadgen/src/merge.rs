//! `hongbao-loadgen merge`: the reports of several client machines that loaded one server at the same time become one, which says what
//! one machine with all their connections would have said.
//!
//! Counters are added. Histograms are added, and percentiles are computed from the sums: percentiles of machines are never averaged.
//! Stages are joined by their place and name, seconds by the wall clock. What is of the server is taken once, as all measured the same one.
//! Expectations and evenness are judged anew. The result is valid only if each part is. HDR logs are merged as well, interval by interval.

mod cross_audit;
mod join;
mod logs;
mod seconds;

use std::path::PathBuf;

use clap::Args;

use crate::audit::Caps;
use crate::exit::{Exit, Failure};
use crate::outputs::{OutputArguments, Outputs};
use crate::reports;

pub use cross_audit::audit as audit_across;
pub use join::{Part, join, judge};

const EXAMPLES: &str = "\
Examples:
  # two client machines, each with users of its own, at the same time; then both as one
  hongbao-loadgen merge client-1.json client-2.json --json all.json

  # duplicates and breaches of caps over all machines: only the claims of all of them together show those
  hongbao-loadgen merge client-1.json client-2.json --claims client-1.claims client-2.claims --json -

  # HDR logs (files that end with .hlog) into one
  hongbao-loadgen merge client-1.hlog client-2.hlog --hdr-log all.hlog

Exit codes: 0 good, 1 error, 2 usage, 3 a part or the whole is not valid, 99 an expectation did not hold, or the audit found a duplicate or a breach of a cap.";

/// `hongbao-loadgen merge`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct MergeArguments {
    /// Reports of `--json`, one a machine; or HDR logs, which end with .hlog
    #[arg(value_name = "REPORT", required = true, num_args = 1..)]
    pub reports: Vec<PathBuf>,

    /// Claims of the same runs, of every machine: the audit is done again over all of them
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub claims: Vec<PathBuf>,

    /// Audit over all claims: envelopes one user may have; 0 is no cap
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub cap_per_user: u32,

    /// Audit over all claims: envelopes of one sponsor that one user may have; 0 is no cap
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub cap_per_sponsor: u32,

    #[expect(missing_docs, reason = "clap would take it for a help text")]
    #[command(flatten)]
    pub outputs: OutputArguments,

    /// No table on standard error
    #[arg(long)]
    pub quiet: bool,
}

/// Reads, merges, and says how it ended.
pub fn run(arguments: &MergeArguments) -> Result<Exit, Failure> {
    match arguments.reports.iter().filter(|path| path.extension().is_some_and(|ending| ending == "hlog")).count() {
        0 => merge_reports(arguments),
        logs if logs == arguments.reports.len() => logs::run(arguments),
        _ => Err(Failure::usage("reports and HDR logs cannot be merged with each other")),
    }
}

fn merge_reports(arguments: &MergeArguments) -> Result<Exit, Failure> {
    let parts: Vec<Part> = arguments
        .reports
        .iter()
        .map(|path| Ok(Part { name: path.display().to_string(), report: reports::read(path)? }))
        .collect::<Result<_, Failure>>()?;
    let mut report = join(&parts).map_err(|why| Failure::error(format!("these reports do not make one: {why}")))?;
    if !arguments.claims.is_empty() {
        let caps = Caps { per_user: arguments.cap_per_user, per_sponsor: arguments.cap_per_sponsor };
        audit_across(&mut report, &arguments.claims, caps)?;
    } else if arguments.reports.len() > 1 {
        report.warnings.push(
            "duplicates and caps were audited within each machine, not across them: give --claims of all of them"
                .to_owned(),
        );
    }
    judge(&mut report).map_err(Failure::error)?;
    if !arguments.quiet {
        eprint!("{}", report.table());
    }
    // Made only now: it may be one of the files that were read.
    Outputs::create(&arguments.outputs)?.write(&report)?;
    Ok(reports::exit(&report))
}

#[cfg(test)]
mod tests;
