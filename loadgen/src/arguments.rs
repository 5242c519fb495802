//! The command line, as typed. What it means together is [`plan`](crate::plan)'s business.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::parse::{self, Users};
use crate::sources::SourceChoice;

const EXAMPLES: &str = "\
Exit codes: 0 good, 1 error, 2 usage, 3 the run is not valid, 99 the audit found a duplicate or a breach of a cap.";

const RUN_EXAMPLES: &str = "\
Examples:
  # 60,000 shakes a second over 18,000 connections for a minute, 5 s of warm-up apart from it
  hongbao-loadgen run --target 127.0.0.1:8866 --connections 18k --rate 60k --duration 60s --warm-up 5s --json report.json

  # two client machines with users of their own, in step with the wall clock
  hongbao-loadgen run --target 10.0.0.1:8866 --connections 20k --rate 10k --users 0..20000     --schedule wallclock
  hongbao-loadgen run --target 10.0.0.1:8866 --connections 20k --rate 10k --users 20000..40000 --schedule wallclock

  # how much the server can do: every connection shakes again when it is answered
  hongbao-loadgen run --target 127.0.0.1:8866 --connections 1000 --schedule closed --depth 4 --duration 10s

  # every envelope received as one JSON object a line, for `hongbaod ledger reconcile`
  hongbao-loadgen run --target 127.0.0.1:8866 --connections 1000 --rate 5k --duration 10s --claims claims.jsonl --json -

Exit codes: 0 good, 1 error, 2 usage, 3 the run is not valid, 99 the audit found a duplicate or a breach of a cap.";

/// Load generator of hongbao: open loop, latency from the intended send time, and an audit of the money.
#[derive(Debug, Parser)]
#[command(name = "hongbao-loadgen", version, after_help = EXAMPLES, max_term_width = 120)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the load generator can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Put a load on a server and report.
    Run(Box<RunArguments>),
}

/// When users shake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScheduleChoice {
    /// By the wall clock: each user at its own place of the period connections / rate.
    Wallclock,
    /// At equal distances, each user in turn, from the begin of the load.
    Uniform,
    /// At exponential distances, each user in turn.
    Poisson,
    /// Closed loop, for saturation: a user shakes again when it was answered.
    Closed,
}

/// A switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Yes.
    On,
    /// No.
    Off,
}

/// What connections are to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DescriptorChoice {
    /// Direct where the kernel releases them out of order (6.13 and later), plain elsewhere.
    Auto,
    /// Entries of each ring's own table: each ring may hold as many as the process's limit of open files.
    Direct,
    /// File descriptors of the process.
    Plain,
}

/// How connections end when the run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CloseChoice {
    /// At once, by a reset: no port is left waiting.
    Reset,
    /// In an orderly way.
    Finish,
}

/// `hongbao-loadgen run`.
#[derive(Args, Debug)]
#[command(after_help = RUN_EXAMPLES)]
pub struct RunArguments {
    /// Address of the server
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub target: SocketAddr,

    /// Persistent connections, one user each
    #[arg(long, value_name = "N", value_parser = parse::count)]
    pub connections: u64,

    /// Shakes a second over all connections (60000, 60k, 60k/s); needed but for `--schedule closed`
    #[arg(long, value_name = "N", value_parser = parse::rate)]
    pub rate: Option<u64>,

    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse::duration)]
    pub duration: Duration,

    /// Load before the measurement, left out of every figure but the audit
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse::duration)]
    pub warm_up: Duration,

    /// When users shake
    #[arg(long, value_enum, default_value = "uniform")]
    pub schedule: ScheduleChoice,

    /// Shakes under way at once on a connection in the closed loop
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub depth: u32,

    /// User ids, the end not included [default: 1.. for as many as there are connections]
    #[arg(long, value_name = "A..B")]
    pub users: Option<Users>,

    /// Give up on an answer after this long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse::duration)]
    pub timeout: Duration,

    /// Users wait as long as the server's answers tell them; shakes that fall into the wait are counted as held back
    #[arg(long, value_enum, default_value = "off")]
    pub obey_retry: Switch,

    /// Connections that break are made again
    #[arg(long, value_enum, default_value = "off")]
    pub reconnect: Switch,

    /// Connects begun a second
    #[arg(long, value_name = "N", default_value = "50k", value_parser = parse::rate, help_heading = "Connections")]
    pub connect_rate: u64,

    /// Connections between connect and welcome at once; keep it below the server's listen backlog
    #[arg(long, value_name = "N", default_value_t = 1024, help_heading = "Connections")]
    pub connect_concurrency: u32,

    /// Give up on an attempt to connect and log in after this long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse::duration, help_heading = "Connections")]
    pub connect_timeout: Duration,

    /// Local addresses: auto, one address, a range A-B, or a block A/BITS
    #[arg(long, value_name = "ADDRESSES", default_value = "auto", help_heading = "Connections")]
    pub source_addresses: SourceChoice,

    /// What connections are to the kernel
    #[arg(long, value_enum, default_value = "auto", help_heading = "Connections")]
    pub descriptors: DescriptorChoice,

    /// How connections end when the run is over
    #[arg(long, value_enum, default_value = "reset", help_heading = "Connections")]
    pub close: CloseChoice,

    /// Threads, each with a ring [default: as few as can hold the connections]
    #[arg(long, value_name = "N", help_heading = "Tuning")]
    pub threads: Option<u32>,

    /// Each thread wakes this often to receive, then send what is due: longer costs latency, and saves CPU
    #[arg(long, value_name = "TIME", default_value = "1ms", value_parser = parse::duration, help_heading = "Tuning")]
    pub tick: Duration,

    /// Makes `poisson` repeatable
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Tuning")]
    pub rng_seed: u64,

    /// The run is not valid where the 99th percentile of intended-to-sent is above this [default: 10ms or 4 ticks]
    #[arg(long, value_name = "TIME", value_parser = parse::duration, help_heading = "Report")]
    pub lateness_max: Option<Duration>,

    /// Audit: envelopes one user may have; 0 is no cap
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "Report")]
    pub cap_per_user: u32,

    /// Audit: envelopes of one sponsor that one user may have; 0 is no cap
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Report")]
    pub cap_per_sponsor: u32,

    /// Write the report as JSON; - is standard output
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub json: Option<PathBuf>,

    /// Write each envelope received as one JSON object a line
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub claims: Option<PathBuf>,

    /// No progress and no table on standard error
    #[arg(long, help_heading = "Report")]
    pub quiet: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_example_of_the_help_is_understood() {
        let lines: Vec<&str> =
            RUN_EXAMPLES.lines().map(str::trim).filter(|line| line.starts_with("hongbao-loadgen")).collect();
        assert_eq!(lines.len(), 5);
        for line in lines {
            CommandLine::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}
