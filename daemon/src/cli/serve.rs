//! `hongbaod serve`.

use std::path::PathBuf;

use clap::Args;

use super::logging;
use crate::config::{Config, Host, Settings};
use crate::exit::Failure;
use crate::launch::Sources;

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
SIGTERM or SIGINT stops in good order; a second one ends at once. SIGHUP reads the configuration file again.
With --admin-socket, `hongbaod ctl` tells how it stands and changes it while it runs."
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
    let ServeArgs { config: file, settings: flags } = arguments;
    let config = Config::load((*flags).clone(), file.as_deref(), &host)?;
    let set_log_level = logging::start(config.log_format, config.log_level);
    let sources = Sources { flags: *flags, file, set_log_level: Box::new(set_log_level) };
    crate::launch::serve(&config, &host, sources)
}
