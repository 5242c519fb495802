//! `hongbao-loadgen plan`: how many servers a show needs, and what each of them will carry. The formulas are in `CAPACITY.md`.

mod estimate;
mod table;
mod traffic;

use std::path::PathBuf;

use clap::Args;

use crate::exit::{Exit, Failure};
use crate::parse;
use crate::report::Report;
use crate::reports;
use estimate::{Demand, Estimate, Limits};

const EXAMPLES: &str = "\
Examples:
  # the shake of the 2015 Spring Festival: 600 servers and 38 to spare, 23,333 shakes a second each
  hongbao-loadgen plan --users 560M --connected 50% --shakes 11.0G --hours 4.8 --shakes-per-minute 810M --qps 14M --envelope-rate 50k --connections-limit 1M --qps-limit 29.2k --headroom 20% --spare 38

  # a show of one evening, with what `run --json` measured on one server
  hongbao-loadgen plan --users 2M --connected 80% --shake-interval 7500ms --measured report.json --spare 1

  # does it fit on four servers?
  hongbao-loadgen plan --users 2M --qps 140k --connections-limit 1M --qps-limit 60k --servers 4 --json

Exit codes: 0 good, 1 error, 2 usage, 99 the servers of --servers are too few.";

/// `hongbao-loadgen plan`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct PlanArguments {
    /// Users of the show (2M, 560M, 1.2G)
    #[arg(long, value_name = "N", value_parser = quantity, help_heading = "Demand")]
    pub users: f64,

    /// Share of them connected at the peak
    #[arg(long, value_name = "SHARE", default_value = "100%", value_parser = share, help_heading = "Demand")]
    pub connected: f64,

    /// Shakes a second at the peak. Of the ways to tell the peak, the highest counts
    #[arg(long, value_name = "N", value_parser = quantity, help_heading = "Demand")]
    pub qps: Option<f64>,

    /// Shakes in the busiest minute
    #[arg(long, value_name = "N", value_parser = quantity, help_heading = "Demand")]
    pub shakes_per_minute: Option<f64>,

    /// Time between two shakes of a connected user at the peak
    #[arg(long, value_name = "TIME", value_parser = parse::duration, help_heading = "Demand")]
    pub shake_interval: Option<std::time::Duration>,

    /// Shakes over the whole show
    #[arg(long, value_name = "N", value_parser = quantity, requires = "hours", help_heading = "Demand")]
    pub shakes: Option<f64>,

    /// Length of the show, in hours
    #[arg(long, value_name = "HOURS", value_parser = quantity, requires = "shakes", help_heading = "Demand")]
    pub hours: Option<f64>,

    /// Envelopes issued a second at the peak
    #[arg(long, value_name = "N", default_value = "0", value_parser = quantity, help_heading = "Demand")]
    pub envelope_rate: f64,

    /// Envelopes over the whole show
    #[arg(long, value_name = "N", value_parser = quantity, help_heading = "Demand")]
    pub envelopes: Option<f64>,

    /// Connections that one server was measured to hold
    #[arg(long, value_name = "N", value_parser = quantity, help_heading = "One server")]
    pub connections_limit: Option<f64>,

    /// Shakes a second that one server was measured to answer in time
    #[arg(long, value_name = "N", value_parser = quantity, help_heading = "One server")]
    pub qps_limit: Option<f64>,

    /// Report of a run against one server: its connections and its best stage's rate are the limits that no flag gives
    #[arg(long, value_name = "FILE", help_heading = "One server")]
    pub measured: Option<PathBuf>,

    /// Share of a server's limits that is kept free at the peak
    #[arg(long, value_name = "SHARE", default_value = "20%", value_parser = share, help_heading = "One server")]
    pub headroom: f64,

    /// Servers beyond those needed, for the day that some fail
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Servers")]
    pub spare: u32,

    /// Servers there are, spare ones included: says whether they suffice
    #[arg(long, value_name = "N", help_heading = "Servers")]
    pub servers: Option<u32>,

    /// One JSON object instead of the table
    #[arg(long)]
    pub json: bool,
}

/// Estimates and prints.
pub fn run(arguments: &PlanArguments) -> Result<Exit, Failure> {
    let measured = arguments.measured.as_deref().map(reports::read).transpose()?;
    let estimate = estimate(arguments, measured.as_ref())?;
    if arguments.json {
        let json = serde_json::to_string_pretty(&estimate)
            .map_err(|error| Failure::error(format!("the estimate as JSON: {error}")))?;
        println!("{json}");
    } else {
        print!("{}", estimate.table());
    }
    Ok(if estimate.suffices { Exit::Good } else { Exit::Threshold })
}

fn estimate(arguments: &PlanArguments, measured: Option<&Report>) -> Result<Estimate, Failure> {
    let (measured_connections, measured_qps) = match measured {
        Some(report) => {
            let (connections, qps) = limits_of(report).map_err(Failure::error)?;
            (Some(connections), Some(qps))
        }
        None => (None, None),
    };
    let needed = |flag: Option<f64>, measured: Option<f64>, name: &str| {
        flag.or(measured).ok_or_else(|| {
            Failure::usage(format!("what can one server do? give {name}, or --measured with the report of a run"))
        })
    };
    let limits = Limits {
        connections: needed(arguments.connections_limit, measured_connections, "--connections-limit")?,
        qps: needed(arguments.qps_limit, measured_qps, "--qps-limit")?,
        headroom: arguments.headroom,
    };
    let demand = Demand {
        users: arguments.users,
        connected: arguments.users * arguments.connected,
        qps: arguments.qps,
        shakes_per_minute: arguments.shakes_per_minute,
        shake_interval_s: arguments.shake_interval.map(|interval| interval.as_secs_f64()),
        shakes: arguments.shakes,
        hours: arguments.hours,
        envelopes_per_s: arguments.envelope_rate,
        envelopes: arguments.envelopes,
    };
    Estimate::new(demand, limits, arguments.spare, arguments.servers).map_err(Failure::usage)
}

/// Connections held, and the highest rate of a stage that is valid and met its expectations.
fn limits_of(report: &Report) -> Result<(f64, f64), String> {
    if !report.valid {
        return Err(format!(
            "the report of --measured is not valid, so it says nothing about the server: {}",
            report.invalid_reasons.join("; ")
        ));
    }
    let held = report.stages.iter().filter(|stage| {
        stage.requests.answered > 0
            && stage.invalid_reasons.is_empty()
            && stage.expectations.iter().all(|expected| expected.held)
    });
    let qps = held.map(|stage| stage.rate_qps).reduce(f64::max);
    let qps = qps.ok_or("no stage of the report of --measured answered shakes and met its expectations")?;
    Ok((report.connections.established as f64, qps))
}

/// A number above or at 0 with an optional `k`, `M` or `G`.
fn quantity(text: &str) -> Result<f64, String> {
    const UNITS: [(char, f64); 3] = [('k', 1e3), ('M', 1e6), ('G', 1e9)];
    let (digits, factor) =
        UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(*unit)?, *factor))).unwrap_or((text, 1.0));
    let number: f64 = digits
        .replace('_', "")
        .parse()
        .map_err(|_| format!("`{text}` is no number; write 60000, 60k, 810M or 11.0G"))?;
    let number = number * factor;
    if (0.0..=1e15).contains(&number) { Ok(number) } else { Err(format!("`{text}` is out of range")) }
}

/// A share of the whole, written in percent.
fn share(text: &str) -> Result<f64, String> {
    let percent: Option<f64> = text.strip_suffix('%').and_then(|number| number.parse().ok());
    percent
        .filter(|percent| (0.0..=100.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| format!("`{text}` is no share; write 0% to 100%"))
}

#[cfg(test)]
mod tests;
