//! hongbao-loadgen: see `hongbao-loadgen --help`.

use std::process::ExitCode;

use clap::Parser;
use hongbao_loadgen::arguments::{Command, CommandLine};
use hongbao_loadgen::run;

fn main() -> ExitCode {
    let Command::Run(arguments) = CommandLine::parse().command;
    match run::run(&arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("hongbao-loadgen: {failure}");
            failure.exit.into()
        }
    }
}
