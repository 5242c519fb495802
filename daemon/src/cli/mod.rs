//! The command line: what was typed, apart from what is valid ([`config`](crate::config)) and from what is done. One error chain, one
//! exit code.

mod config;
mod ctl;
mod logging;
mod pages;
mod preflight;
mod serve;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::{Exit, Failure};
use crate::{ledger, seed};

/// Holds a million connections on io_uring and issues each envelope at most once.
#[derive(Parser, Debug)]
#[command(name = "hongbaod", version, after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  hongbaod serve                              a demo campaign on loopback
  hongbaod serve --config /etc/hongbao/hongbaod.json
  hongbaod preflight --connections 1M         whether this host holds a million, and what is short
  hongbaod config show --issue-rate 500/s     what would be in force
  hongbaod ctl status                         how the running daemon stands

Every setting is a flag, a variable HONGBAO_... or a key of the configuration file, in this order of precedence.
Exit codes are those of sysexits.h: 64 usage, 65 data, 69 unavailable, 71 system, 74 I/O, 77 permission, 78 configuration.";

const SEED_EXAMPLES: &str = "\
Examples:
  hongbaod seed generate --count 1M --total 50M --sponsors 20 --servers 2 --output seeds
  hongbaod seed verify seeds
  hongbaod seed show seeds/server-01/seed-1-s01-00.hbs";

const LEDGER_EXAMPLES: &str = "\
Examples:
  hongbaod ledger verify data
  hongbaod ledger show data --json
  hongbaod ledger export data --format jsonl | head
  hongbaod ledger backup data --output backup
  hongbaod ledger reconcile --data-dir data --seeds seeds --claims claims.jsonl";

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve a campaign; without any, a demo campaign on loopback
    Serve(serve::ServeArgs),
    /// Tell whether this host can hold the connections asked for, and how to raise what is short
    Preflight(preflight::PreflightArgs),
    /// Make, check and show seed files
    #[command(after_help = SEED_EXAMPLES)]
    Seed(seed::command::SeedArgs),
    /// Tell how a running daemon stands, and change it while it runs
    Ctl(ctl::CtlArgs),
    /// Check, show, export and reconcile the ledger
    #[command(after_help = LEDGER_EXAMPLES)]
    Ledger(ledger::command::LedgerArgs),
    /// Check a configuration file, or show what is in force
    Config(config::ConfigArgs),
    /// Write the manual pages and the completions of bash, zsh and fish into a folder
    Pages(pages::PagesArgs),
}

/// The command line's description, for those who hold documents against it.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, on stdout; all else is a wrong command line.
            drop(error.print());
            return if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    let outcome = match cli.command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Preflight(arguments) => preflight::run(arguments),
        Command::Seed(arguments) => seed::command::run(arguments),
        Command::Ctl(arguments) => ctl::run(arguments),
        Command::Ledger(arguments) => ledger::command::run(arguments),
        Command::Config(arguments) => config::run(arguments),
        Command::Pages(arguments) => pages::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nothing is left to tell where even stderr is closed.
            drop(writeln!(std::io::stderr(), "hongbaod: {failure}"));
            failure.exit.into()
        }
    }
}

/// Prints data on stdout. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::io("writing to stdout", &error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    /// Somebody who asks for help wants to see how it is done.
    #[test]
    fn every_command_shows_examples() {
        fn check(command: &clap::Command) {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Examples:"), "`{}` has no examples", command.get_name());
            command.get_subcommands().filter(|command| command.get_name() != "help").for_each(check);
        }
        check(&Cli::command());
    }
}
