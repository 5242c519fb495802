//! `hongbaod serve`.

use std::path::PathBuf;

use clap::Args;

use super::logging;
use crate::config::{Config, Host, Settings};
use crate::exit::Failure;

/// Arguments of `serve`.
#[derive(Args, Debug)]
#[command(
    args_override_self = true,
    after_help = "\
Examples:
  hongbaod serve
      a demo campaign on loopback, out of a fresh temporary folder
  hongbaod serve --seed-dir seeds --data-dir data --listen 0.0.0.0:8866 --issue-rate 200/s
      the seed files in seeds/, the ledger in data/
  hongbaod serve --config /etc/hongbao/hongbaod.json --connections 1M
      the file's settings, for a million connections: as many SETs as this host needs for them

When it is ready, the last line of the start on stderr is one JSON object: {\"ready\":true,\"listen\":...}.
SIGTERM or SIGINT stops in good order; a second one ends at once."
)]
pub(super) struct ServeArgs {
    /// Configuration file (JSON; keys are the names of the flags, with _ for -)
    #[arg(long, env = "HONGBAO_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Box<Settings>,
}

/// Runs it.
pub(super) fn run(arguments: ServeArgs) -> Result<(), Failure> {
    let host = Host::look();
    let config = Config::load(*arguments.settings, arguments.config.as_deref(), &host)?;
    logging::start(config.log_format, config.log_level);
    crate::launch::serve(&config, &host)
}
