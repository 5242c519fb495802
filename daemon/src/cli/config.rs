//! `hongbaod config`: looks at settings without acting on them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::print;
use crate::config::{Config, Host, Settings, read_file};
use crate::exit::{Exit, Failure};

/// Arguments of `config`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  hongbaod config check /etc/hongbao/hongbaod.json
  hongbaod config show --config hongbaod.json --sets 4")]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Check a configuration file against this machine; every problem is told
    #[command(after_help = "\
Examples:
  hongbaod config check /etc/hongbao/hongbaod.json && systemctl reload hongbaod")]
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print what would be in force, as JSON that is a configuration file itself
    #[command(
        args_override_self = true,
        after_help = "\
Examples:
  hongbaod config show
  hongbaod config show --config hongbaod.json --issue-rate 500/s > next.json
  HONGBAO_SETS=4 hongbaod config show"
    )]
    Show {
        /// Configuration file (JSON)
        #[arg(long, env = "HONGBAO_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        settings: Box<Settings>,
    },
}

/// Runs it.
pub(super) fn run(arguments: ConfigArgs) -> Result<(), Failure> {
    match arguments.action {
        Action::Check { file } => {
            // The file alone: neither flags nor environment may cover its faults.
            Config::resolve(read_file(&file)?, &Host::look())?;
            print(&format!("{}: good", file.display()))
        }
        Action::Show { config, settings } => {
            let config = Config::load(*settings, config.as_deref(), &Host::look())?;
            let text = serde_json::to_string_pretty(&config)
                .map_err(|error| Failure::new(Exit::Data, format!("writing the configuration as JSON: {error}")))?;
            print(&text)
        }
    }
}
