//! hongbao-loadgen: see `hongbao-loadgen --help`.

use std::process::ExitCode;

use clap::Parser;
use hongbao_loadgen::arguments::{Command, CommandLine};
use hongbao_loadgen::fleet::{agent, coordinator};
use hongbao_loadgen::{capacity, command, compare, control, merge, pages};

fn main() -> ExitCode {
    let done = match CommandLine::parse().command {
        Command::Run(arguments) => command::run(&arguments),
        Command::Scenario(arguments) => command::scenario(&arguments),
        Command::Search(arguments) => command::search(&arguments),
        Command::Control(arguments) => control::run(&arguments),
        Command::Agent(arguments) => agent::run(&arguments),
        Command::Coordinator(arguments) => coordinator::run(&arguments),
        Command::Merge(arguments) => merge::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Plan(arguments) => capacity::run(&arguments),
        Command::Pages(arguments) => pages::run(&arguments),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("hongbao-loadgen: {failure}");
            failure.exit.into()
        }
    }
}
