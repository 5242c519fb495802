//! `hongbao-loadgen coordinator`: shares a scenario out to agents, lets all begin at the same time, and makes one report of theirs.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::collect::collect;
use super::crew::{Crew, failed};
use super::march::March;
use super::protocol::{Order, Request, Settings};
use super::split::{self, Share};
use crate::arguments::{Behaviour, LoadFlags};
use crate::control::ControlSocket;
use crate::exit::{Exit, Failure};
use crate::expect::Expectation;
use crate::outputs::{OutputArguments, Outputs};
use crate::parse::{self, Users};
use crate::progress::Progress;
use crate::reports;
use crate::scenario::Scenario;
use crate::signals::Interrupts;

pub(super) const EXAMPLES: &str = "\
Examples:
  # a million users and 60,000 shakes a second from three machines, on each of which an agent waits
  hongbao-loadgen coordinator --agents 10.0.0.11:7700,10.0.0.12:7700,10.0.0.13:7700 --scenario phase-3 --json phase-3.json

  # a load made of flags, as `run` has it: the numbers are of all agents together
  hongbao-loadgen coordinator --agents 10.0.0.11:7700,10.0.0.12:7700 --connections 40k --rate 60k --duration 60s --expect 'p99<20ms'

  # steered while it runs: `hongbao-loadgen control load.sock rate 80k`
  hongbao-loadgen coordinator --agents 10.0.0.11:7700,10.0.0.12:7700 --scenario phase-2 --control-socket load.sock

Exit codes: 0 good, 1 error, 2 usage, 3 the run is not valid, 99 an expectation did not hold, or the audit found a duplicate or a breach of a cap.";

/// `hongbao-loadgen coordinator`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CoordinatorArguments {
    /// Where agents wait
    #[arg(long, value_name = "HOST:PORT,...", required = true, value_delimiter = ',')]
    pub agents: Vec<String>,

    /// A built-in scenario or a file, for all agents together
    #[arg(long, value_name = "NAME|FILE", conflicts_with_all = ["connections", "rate", "duration", "warm_up", "depth", "schedule"])]
    pub scenario: Option<String>,

    /// Persistent connections of all agents together, one user each
    #[arg(long, value_name = "N", value_parser = parse::count, required_unless_present = "scenario")]
    pub connections: Option<u64>,

    #[expect(missing_docs, reason = "clap would take it for a help text")]
    #[command(flatten)]
    pub load: LoadFlags,

    /// Exit with 99 unless this holds for all agents together (may be given more than once)
    #[arg(long, value_name = "EXPECTATION")]
    pub expect: Vec<Expectation>,

    /// User ids, the end not included [default: 1.. for as many as there are connections]
    #[arg(long, value_name = "A..B")]
    pub users: Option<Users>,

    /// Refuse to start where an agent's clock may be further off than this
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = parse::duration)]
    pub clock_offset_max: Duration,

    #[expect(missing_docs, reason = "clap would take it for a help text")]
    #[command(flatten)]
    pub behaviour: Behaviour,

    /// Take commands here while it runs: see `hongbao-loadgen control`
    #[arg(long, value_name = "SOCKET")]
    pub control_socket: Option<PathBuf>,

    #[expect(missing_docs, reason = "clap would take it for a help text")]
    #[command(flatten)]
    pub outputs: OutputArguments,

    /// Write each envelope that any agent received as one JSON object a line
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub claims: Option<PathBuf>,

    /// No progress and no table on standard error
    #[arg(long, help_heading = "Report")]
    pub quiet: bool,
}

/// Shares out, lets begin, watches, and reports.
pub fn run(arguments: &CoordinatorArguments) -> Result<Exit, Failure> {
    let scenario = scenario(arguments)?;
    let agents = arguments.agents.len() as u64;
    let shares = split::split(&scenario, arguments.users, agents).map_err(Failure::usage)?;
    let settings = Settings::from(&arguments.behaviour);
    let control = arguments.control_socket.as_deref().map(ControlSocket::bind).transpose()?;
    let outputs = Outputs::create(&arguments.outputs)?;
    arguments.claims.as_deref().map_or(Ok(()), reports::check_writable)?;
    let interrupts = Interrupts::take_over()?;
    let mut progress = Progress::new(arguments.quiet);
    let mut crew = Crew::connect(&arguments.agents)?;
    introduce(&crew, &progress);
    check_clocks(&crew, arguments.clock_offset_max)?;
    prepare(&mut crew, &shares, &settings)?;
    let mut march = March::new(&mut crew, &scenario, control, &interrupts, &mut progress);
    let marched = march.march();
    progress.finish();
    marched?;
    let mut report = collect(&mut crew, &scenario, settings.caps(), arguments.claims.as_deref())?;
    crew.check_clocks()?;
    let moved = crew.off(arguments.clock_offset_max).into_iter();
    report.warnings.extend(moved.map(|off| format!("the clock moved during the run: {off}")));
    if !arguments.quiet {
        eprint!("{}", report.table());
    }
    outputs.write(&report)?;
    Ok(reports::exit(&report))
}

fn scenario(arguments: &CoordinatorArguments) -> Result<Scenario, Failure> {
    let mut scenario = match &arguments.scenario {
        Some(name) => Scenario::find(name)?,
        // clap demands one of the two.
        None => Scenario::of_flags(arguments.connections.unwrap_or_default(), &arguments.load, &[])?,
    };
    scenario.expect.extend(&arguments.expect);
    scenario.check().map_err(Failure::usage)?;
    Ok(scenario)
}

fn introduce(crew: &Crew, progress: &Progress) {
    for member in &crew.0 {
        let (name, welcome) = (&member.name, &member.welcome);
        progress.say(&format!("agent {name} loads {}; its clock: {}", welcome.target, member.offset));
        if welcome.version != env!("CARGO_PKG_VERSION") {
            progress.say(&format!(
                "agent {name} is of version {}, this is {}",
                welcome.version,
                env!("CARGO_PKG_VERSION")
            ));
        }
        if welcome.target != crew.0[0].welcome.target {
            progress.say(&format!(
                "agent {name} names its target otherwise than {}: is it the same server?",
                crew.0[0].name
            ));
        }
    }
}

fn check_clocks(crew: &Crew, max: Duration) -> Result<(), Failure> {
    let off = crew.off(max);
    if off.is_empty() {
        return Ok(());
    }
    Err(Failure::error(format!(
        "these clocks may be further than {max:?} from this machine's: {}. Let chrony or ntpd set them, or raise --clock-offset-max: seconds of different machines are joined by their clocks",
        off.join("; ")
    )))
}

fn prepare(crew: &mut Crew, shares: &[Share], settings: &Settings) -> Result<(), Failure> {
    for (member, share) in crew.0.iter().zip(shares) {
        member.welcome.limits.check(&share.scenario).map_err(|why| failed(&member.name, &why))?;
    }
    crew.ask(|place, _| {
        let Share { scenario, users } = &shares[place];
        let settings = Settings {
            // With the same seed all would shake at the same times.
            rng_seed: settings.rng_seed.wrapping_add(place as u64),
            ..settings.clone()
        };
        Request::Prepare(Box::new(Order {
            scenario: scenario.clone(),
            users_first: users.first,
            users_count: users.count,
            hold: split::has_load(scenario),
            settings,
        }))
    })?;
    Ok(())
}
