//! `run`, `scenario` and `search`: from the command line to the exit code.

use std::io::{self, Write};
use std::net::SocketAddr;

use hongbao_uring::Support;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use crate::arguments::{Common, DescriptorChoice, RunArguments, ScenarioArguments, SearchArguments};
use crate::claims::ClaimsFile;
use crate::conductor::{Conducted, Conductor, Desk};
use crate::control::ControlSocket;
use crate::exit::{Exit, Failure};
use crate::exporter::Exporter;
use crate::host::Host;
use crate::outputs::Outputs;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::Report;
use crate::reports;
use crate::run::Run;
use crate::scenario::{Scenario, builtin};
use crate::server::Watch;
use crate::signals::Interrupts;
use crate::total::Total;

/// `hongbao-loadgen run`.
pub fn run(arguments: &RunArguments) -> Result<Exit, Failure> {
    load(
        &Scenario::of_flags(arguments.connections, &arguments.load, &arguments.expect)?,
        arguments.target,
        &arguments.common,
    )
}

/// `hongbao-loadgen search`.
pub fn search(arguments: &SearchArguments) -> Result<Exit, Failure> {
    load(&Scenario::of_search(arguments)?, arguments.target, &arguments.common)
}

/// `hongbao-loadgen scenario`.
pub fn scenario(arguments: &ScenarioArguments) -> Result<Exit, Failure> {
    let mut out = io::stdout().lock();
    let failed = |error: io::Error| Failure::error(format!("writing to standard output: {error}"));
    if arguments.scenario == "list" {
        for one in builtin() {
            let scenario = Scenario::parse(one.json, one.name)?;
            writeln!(out, "{:<14} {}", one.name, scenario.description).map_err(failed)?;
        }
        return Ok(Exit::Good);
    }
    let scenario = Scenario::find(&arguments.scenario)?;
    if arguments.print {
        let text = serde_json::to_string_pretty(&scenario).map_err(|error| Failure::error(error.to_string()))?;
        writeln!(out, "{text}").map_err(failed)?;
        return Ok(Exit::Good);
    }
    drop(out);
    let target = arguments.target.ok_or_else(|| Failure::usage("--target is needed: the address of the server"))?;
    load(&scenario, target, &arguments.common)
}

/// Runs, reports, and says how it ended.
fn load(scenario: &Scenario, target: SocketAddr, arguments: &Common) -> Result<Exit, Failure> {
    let host =
        Host::prepare().map_err(|error| Failure::error(format!("reading the limits of this machine: {error}")))?;
    let support = hongbao_uring::probe().map_err(|unavailable| Failure::error(unavailable.to_string()))?;
    let plan = Plan::new(scenario, target, arguments, &host, is_direct(arguments.descriptors, &support))?;
    let mut progress = Progress::new(arguments.quiet);
    progress.say(&format!("hongbao-loadgen: {plan}\nhongbao-loadgen: {support}"));
    let outputs = Outputs::create(&arguments.outputs)?;
    let claims = ClaimsFile::create(arguments.claims.as_deref())?;
    let control = arguments.control_socket.as_deref().map(ControlSocket::bind).transpose()?;
    let exporter = arguments.metrics_listen.map(Exporter::start).transpose()?;
    if let Some(exporter) = &exporter {
        progress.say(&format!("metrics at http://{}/metrics", exporter.address()));
    }
    let interrupts = Interrupts::take_over()?;
    if arguments.end_with_parent {
        set_pdeathsig(Signal::SIGTERM).map_err(|errno| Failure::error(format!("--end-with-parent: {errno}")))?;
    }
    let mut run = Run::start(plan, claims, arguments.gift_claims.as_deref())?;
    let desk = Desk {
        scenario,
        interrupts: &interrupts,
        progress: &mut progress,
        control,
        hold: arguments.hold,
        restart_command: arguments.restart_command.as_deref(),
        exporter,
        server: arguments.server_metrics.clone().map(Watch::new),
    };
    let conducted = Conductor::new(&mut run, desk).conduct();
    progress.finish();
    let report = finish(scenario, &host, run, conducted)?;
    if !arguments.quiet {
        eprint!("{}", report.table());
    }
    outputs.write(&report)?;
    Ok(reports::exit(&report))
}

/// The failure of a thread says more than that the conductor could not go on.
fn finish(
    scenario: &Scenario,
    host: &Host,
    mut run: Run,
    conducted: Result<Conducted, Failure>,
) -> Result<Report, Failure> {
    let threads = run.join()?;
    Ok(Total::new(scenario, &mut run, conducted?, &threads)?.report(host))
}

const fn is_direct(choice: DescriptorChoice, support: &Support) -> bool {
    match choice {
        DescriptorChoice::Auto => support.direct_descriptors,
        DescriptorChoice::Direct => true,
        DescriptorChoice::Plain => false,
    }
}
