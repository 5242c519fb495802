//! `hongbaod preflight`: what `serve` with the same settings would find.

use std::path::PathBuf;

use clap::Args;

use super::print;
use crate::config::{Config, Host, Settings};
use crate::exit::Failure;
use crate::{launch, preflight};

/// Arguments of `preflight`.
#[derive(Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "\
Examples:
  hongbaod preflight --connections 1M --listen 0.0.0.0:8866
      whether this host holds a million, and the commands that raise what is short
  hongbaod preflight --config /etc/hongbao/hongbaod.json --json
      the same for a configuration file, for a program

Run it as the user and with the limits that the daemon will have, best from its unit. Clients on loopback are counted as well.
It exits with 0 where it works, if not well; with 78 where the configuration does not fit, and 69 where something is missing."
)]
pub(super) struct PreflightArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Configuration file (JSON; keys are the names of the flags, with _ for -)
    #[arg(long, env = "HONGBAO_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Box<Settings>,
}

/// Runs it.
pub(super) fn run(arguments: PreflightArgs) -> Result<(), Failure> {
    launch::raise_limits()?;
    let host = Host::look();
    let config = Config::load_plan(*arguments.settings, arguments.config.as_deref(), &host)?;
    let report = preflight::look(&config, &host);
    print(&if arguments.json { report.json() } else { report.to_string() })?;
    report.refusal().map_or(Ok(()), Err)
}
