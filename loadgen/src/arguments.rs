//! The command line, as typed. What it means together is [`plan`](crate::plan)'s business.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::capacity::PlanArguments;
use crate::compare::CompareArguments;
use crate::expect::Expectation;
use crate::fleet::agent::AgentArguments;
use crate::fleet::coordinator::CoordinatorArguments;
use crate::gifts::load::GiftLoad;
use crate::merge::MergeArguments;
use crate::outputs::OutputArguments;
use crate::pages::PagesArgs;
use crate::parse::{self, Users};
use crate::scenario::{Percentage, RateRange, Search};
use crate::server::Target;
use crate::sources::SourceChoice;

const EXIT_CODES: &str = "\
Exit codes: 0 good, 1 error, 2 usage, 3 the run is not valid, 99 an expectation did not hold, or the audit found a duplicate or a breach of a cap.";

const RUN_EXAMPLES: &str = "\
Examples:
  # 60,000 shakes a second over 18,000 connections for a minute, 5 s of warm-up apart from it
  hongbao-loadgen run --target 127.0.0.1:8866 --connections 18k --rate 60k --duration 60s --warm-up 5s --json report.json

  # the same as a page with charts, with the server's CPU, memory and fairness in it
  hongbao-loadgen run --target 127.0.0.1:8866 --connections 18k --rate 60k --server-metrics 127.0.0.1:9866 --html report.html

  # the rate goes from 10,000 to 60,000 within a minute; exit code 99 where the 99th percentile is not below 20 ms
  hongbao-loadgen run --target 127.0.0.1:8866 --connections 18k --rate 10k..60k --duration 60s --expect 'p99<20ms'

  # two client machines with users of their own, in step with the wall clock
  hongbao-loadgen run --target 10.0.0.1:8866 --connections 20k --rate 10k --users 0..20000     --schedule wallclock
  hongbao-loadgen run --target 10.0.0.1:8866 --connections 20k --rate 10k --users 20000..40000 --schedule wallclock

  # how much the server can do: every connection shakes again when it is answered
  hongbao-loadgen run --target 127.0.0.1:8866 --connections 1000 --schedule closed --depth 4 --duration 10s

  # every envelope received as one JSON object a line
  hongbao-loadgen run --target 127.0.0.1:8866 --connections 1000 --rate 5k --duration 10s --claims claims.jsonl --json -

  # 200 gifts a second besides, each for three users, who open it when they are told of it
  hongbao-loadgen run --target 127.0.0.1:8866 --connections 18k --rate 60k --gifts 200/s --recipients 3 --expect 'gift_open_p99<30ms' --json report.json

  # gifts alone, of 3 shares for 5 users, and every gift and share as one JSON object a line
  hongbao-loadgen run --target 127.0.0.1:8866 --connections 1000 --gifts 5k/s --recipients 5 --gift-shares 3 --gift-claims gifts.jsonl --json -

  # a rehearsal that can be steered while it runs: `hongbao-loadgen control load.sock rate 80k`
  hongbao-loadgen run --target 127.0.0.1:8866 --connections 18k --rate 60k --duration 10m --control-socket load.sock

Exit codes: 0 good, 1 error, 2 usage, 3 the run is not valid, 99 an expectation did not hold, or the audit found a duplicate or a breach of a cap.";

const SCENARIO_EXAMPLES: &str = "\
Examples:
  # what there is
  hongbao-loadgen scenario list

  # a million users, 60,000 shakes a second for five minutes; exit code 99 where an expectation did not hold
  hongbao-loadgen scenario phase-3 --target 10.0.0.1:8866 --json phase-3.json

  # its small twin, for a laptop
  hongbao-loadgen scenario phase-3-10k --target 127.0.0.1:8866

  # one of your own: begin with a built-in one
  hongbao-loadgen scenario phase-2 --print > mine.json
  hongbao-loadgen scenario mine.json --target 127.0.0.1:8866

  # the server is restarted in the middle, and all users come back
  hongbao-loadgen scenario storm --target 127.0.0.1:8866 --restart-command 'systemctl restart hongbaod'

Exit codes: 0 good, 1 error, 2 usage, 3 the run is not valid, 99 an expectation did not hold, or the audit found a duplicate or a breach of a cap.";

const SEARCH_EXAMPLES: &str = "\
Examples:
  # the highest rate at which the 99th percentile stays below 20 ms and nothing fails, to 5 %
  hongbao-loadgen search --target 127.0.0.1:8866 --connections 18k --from 20k --to 400k --expect 'p99<20ms' --expect 'errors==0'

Exit codes: 0 a rate was found, 1 error, 2 usage, 3 the run is not valid, 99 not even the lowest rate held.";

const CONTROL_EXAMPLES: &str = "\
Examples:
  hongbao-loadgen control load.sock status
  hongbao-loadgen control load.sock rate 80k
  hongbao-loadgen control load.sock pause
  hongbao-loadgen control load.sock resume
  hongbao-loadgen control load.sock stop";

/// Load generator of hongbao: open loop, latency from the intended send time, and an audit of the money.
#[derive(Debug, Parser)]
#[command(name = "hongbao-loadgen", version, after_help = EXIT_CODES, max_term_width = 120)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the load generator can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Put a load on a server and report
    Run(Box<RunArguments>),
    /// Run a scenario: stages of connections and rates, with expectations
    Scenario(Box<ScenarioArguments>),
    /// Find the highest rate at which the expectations hold
    Search(Box<SearchArguments>),
    /// Steer a run through its control socket
    Control(ControlArguments),
    /// Wait for a coordinator, and load the server as it says
    Agent(AgentArguments),
    /// Load a server from many machines, on each of which an agent waits
    Coordinator(Box<CoordinatorArguments>),
    /// Make one report of those of several client machines
    Merge(MergeArguments),
    /// Compare the figures of two reports
    Compare(CompareArguments),
    /// Plan capacity: how many servers a show needs, and what each carries
    Plan(PlanArguments),
    /// Write the manual pages and the completions of bash, zsh and fish into a folder
    Pages(PagesArgs),
}

/// When users shake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleChoice {
    /// By the wall clock: each user at its own place of the period connections / rate.
    Wallclock,
    /// At equal distances, each user in turn, from the begin of the load.
    #[default]
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

    #[expect(missing_docs, reason = "clap would take it for a help text")]
    #[command(flatten)]
    pub load: LoadFlags,

    /// Exit with 99 unless this holds: `p99<20ms`, `errors==0`, `qps_deviation<5%` ... (may be given more than once)
    #[arg(long, value_name = "EXPECTATION", help_heading = "Report")]
    pub expect: Vec<Expectation>,

    #[expect(missing_docs, reason = "clap would take it for a help text")]
    #[command(flatten)]
    pub common: Common,
}

/// `hongbao-loadgen scenario`.
#[derive(Args, Debug)]
#[command(after_help = SCENARIO_EXAMPLES)]
pub struct ScenarioArguments {
    /// `list`, the name of a built-in scenario, or a file
    #[arg(value_name = "LIST|NAME|FILE")]
    pub scenario: String,

    /// Print the scenario as JSON, and do nothing
    #[arg(long)]
    pub print: bool,

    /// Address of the server
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub target: Option<SocketAddr>,

    #[expect(missing_docs, reason = "clap would take it for a help text")]
    #[command(flatten)]
    pub common: Common,
}

/// `hongbao-loadgen search`.
#[derive(Args, Debug)]
#[command(after_help = SEARCH_EXAMPLES)]
pub struct SearchArguments {
    /// Address of the server
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub target: SocketAddr,

    /// Persistent connections, one user each
    #[arg(long, value_name = "N", value_parser = parse::count)]
    pub connections: u64,

    /// What has to hold at a rate (may be given more than once)
    #[arg(long, value_name = "EXPECTATION", required = true)]
    pub expect: Vec<Expectation>,

    /// The first rate that is tried, in shakes a second
    #[arg(long, value_name = "N", default_value = "10k", value_parser = parse::rate)]
    pub from: u64,

    /// The highest
    #[arg(long, value_name = "N", default_value = "400k", value_parser = parse::rate)]
    pub to: u64,

    /// How exact the answer is to be
    #[arg(long, value_name = "SHARE", default_value = "5%")]
    pub resolution: Percentage,

    /// Rates tried at most
    #[arg(long, value_name = "N", default_value_t = Search::trials())]
    pub trials: u32,

    /// How often the rate found has to hold once more
    #[arg(long, value_name = "N", default_value_t = Search::confirmations())]
    pub confirmations: u32,

    /// How long each rate is measured
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse::duration)]
    pub duration: Duration,

    /// Load before each measurement
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse::duration)]
    pub warm_up: Duration,

    /// When users shake
    #[arg(long, value_enum, default_value = "uniform")]
    pub schedule: ScheduleChoice,

    #[expect(missing_docs, reason = "clap would take it for a help text")]
    #[command(flatten)]
    pub common: Common,
}

/// `hongbao-loadgen control`.
#[derive(Args, Debug)]
#[command(after_help = CONTROL_EXAMPLES)]
pub struct ControlArguments {
    /// What the run was given as --control-socket
    #[arg(value_name = "SOCKET")]
    pub socket: PathBuf,

    /// status, rate N, pause, resume, stop, begin `[UNIX_MICROSECONDS]`
    #[arg(value_name = "COMMAND", required = true, num_args = 1..)]
    pub command: Vec<String>,
}

/// The load of a run that is one stage, of one machine or of many.
#[derive(Args, Debug)]
pub struct LoadFlags {
    /// Shakes a second over all connections (60000, 60k, 60k/s, or 10k..60k to go from one to the other); needed but for `--schedule closed` and `--gifts`
    #[arg(long, value_name = "N")]
    pub rate: Option<RateRange>,

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

    /// Gifts a second from users to other users of this run (200, 5k/s, or 100..1k to go from one to the other)
    #[arg(long, value_name = "N", help_heading = "Gifts")]
    pub gifts: Option<RateRange>,

    /// Users whom each gift is for
    #[arg(long, value_name = "N", default_value_t = GiftLoad::recipients(), requires = "gifts", help_heading = "Gifts")]
    pub recipients: u64,

    /// Shares of each gift [default: one for each recipient]
    #[arg(long, value_name = "N", requires = "gifts", help_heading = "Gifts")]
    pub gift_shares: Option<u64>,

    /// Cents in each gift [default: 100 for each share]
    #[arg(long, value_name = "CENTS", value_parser = parse::count, requires = "gifts", help_heading = "Gifts")]
    pub gift_total: Option<u64>,
}

/// How users and threads behave, on one machine or the same on many.
#[derive(Args, Debug)]
pub struct Behaviour {
    /// Give up on an answer after this long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse::duration)]
    pub timeout: Duration,

    /// Users wait as long as the server's answers tell them; shakes that fall into the wait are counted as held back
    #[arg(long, value_enum, default_value = "off")]
    pub obey_retry: Switch,

    /// Connections that break are made again
    #[arg(long, value_enum, default_value = "off")]
    pub reconnect: Switch,

    /// Connects begun a second, by one machine
    #[arg(long, value_name = "N", default_value = "100k", value_parser = parse::rate, help_heading = "Connections")]
    pub connect_rate: u64,

    /// Give up on an attempt to connect and log in after this long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse::duration, help_heading = "Connections")]
    pub connect_timeout: Duration,

    /// Each thread wakes this often to receive, then send what is due: longer costs latency, and saves CPU [default: 1ms, longer for very many threads]
    #[arg(long, value_name = "TIME", value_parser = parse::duration, help_heading = "Tuning")]
    pub tick: Option<Duration>,

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
}

/// What every way to put a load on a server has.
#[derive(Args, Debug)]
pub struct Common {
    /// User ids, the end not included [default: 1.. for as many as there are connections]
    #[arg(long, value_name = "A..B")]
    pub users: Option<Users>,

    #[expect(missing_docs, reason = "clap would take it for a help text")]
    #[command(flatten)]
    pub behaviour: Behaviour,

    /// Run by the shell where the scenario restarts the server; without it you are told when to do it
    #[arg(long, value_name = "COMMAND")]
    pub restart_command: Option<String>,

    /// Connections between connect and welcome at once; keep it below the server's listen backlog
    #[arg(long, value_name = "N", default_value_t = 1024, help_heading = "Connections")]
    pub connect_concurrency: u32,

    /// Local addresses: auto, one address, a range A-B, or a block A/BITS
    #[arg(long, value_name = "ADDRESSES", default_value = "auto", help_heading = "Connections")]
    pub source_addresses: SourceChoice,

    /// What connections are to the kernel
    #[arg(long, value_enum, default_value = "auto", help_heading = "Connections")]
    pub descriptors: DescriptorChoice,

    /// How connections end when the run is over
    #[arg(long, value_enum, default_value = "reset", help_heading = "Connections")]
    pub close: CloseChoice,

    /// Threads, each with as many rings as its connections need [default: one, and up to one a core where one ring cannot hold all connections]
    #[arg(long, value_name = "N", help_heading = "Tuning")]
    pub threads: Option<u32>,

    /// End as by SIGTERM when the process that started this one dies: an agent that was killed leaves no load behind
    #[arg(long, hide = true)]
    pub end_with_parent: bool,

    /// Connect, then wait for `begin` on the control socket
    #[arg(long, requires = "control_socket", help_heading = "Control")]
    pub hold: bool,

    /// Take commands here while it runs: see `hongbao-loadgen control`
    #[arg(long, value_name = "SOCKET", help_heading = "Control")]
    pub control_socket: Option<PathBuf>,

    /// Tell Prometheus the run's own metrics here, at /metrics
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "Report")]
    pub metrics_listen: Option<SocketAddr>,

    /// Metrics of the server, for its part of the report: 127.0.0.1:9866
    #[arg(long, value_name = "ADDRESS:PORT|URL", help_heading = "Report")]
    pub server_metrics: Option<Target>,

    #[expect(missing_docs, reason = "clap would take it for a help text")]
    #[command(flatten)]
    pub outputs: OutputArguments,

    /// Write each envelope received as one JSON object a line
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub claims: Option<PathBuf>,

    /// Write each gift granted and each share told as one JSON object a line
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub gift_claims: Option<PathBuf>,

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
        let examples = [RUN_EXAMPLES, SCENARIO_EXAMPLES, SEARCH_EXAMPLES, CONTROL_EXAMPLES].map(str::lines);
        let lines: Vec<&str> =
            examples.into_iter().flatten().map(str::trim).filter(|line| line.starts_with("hongbao-loadgen")).collect();
        assert!(lines.len() > 15);
        for line in lines {
            // As a shell would: a quoted word is one, and what follows `>` is not an argument.
            let mut words: Vec<&str> = Vec::new();
            for (place, part) in line.split(" > ").next().unwrap_or_default().split('\'').enumerate() {
                if place % 2 == 1 { words.push(part) } else { words.extend(part.split_whitespace()) }
            }
            CommandLine::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}
