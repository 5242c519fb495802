//! The configuration read again, for control, which knows nothing of configurations.

use std::path::PathBuf;

use crate::admin::Keys;
use crate::config::{Config, Host, LogLevel, Rate, Settings};
use crate::control::{Plan, Reload, Reloaded};
use crate::exit::{Exit, Failure};
use crate::limits::ISSUE_RATE_UNLIMITED;
use crate::messages::Rules;
use crate::service::Manager;

/// Where the settings came from, so that they can be read again.
pub struct Sources<'a> {
    /// Flags and environment: over the file, now as at the start.
    pub flags: Settings,
    /// The file.
    pub file: Option<PathBuf>,
    /// Sets the least severe level that is logged.
    pub set_log_level: Box<dyn Fn(LogLevel) + 'a>,
}

/// What is in force, and how to find out what is to be.
pub(super) struct Reloader<'a> {
    sources: Sources<'a>,
    host: Host,
    config: Config,
    manager: Manager,
}

impl<'a> Reloader<'a> {
    pub(super) fn new(sources: Sources<'a>, host: Host, config: Config, manager: Manager) -> Self {
        Self { sources, host, config, manager }
    }
}

impl Reload for Reloader<'_> {
    fn reload(&mut self) -> Result<Reloaded, Failure> {
        self.manager.reloading();
        let outcome = self.read_again();
        self.manager.ready(if outcome.is_ok() {
            "the configuration was read again"
        } else {
            "the configuration was refused; what was in force is"
        });
        outcome
    }
}

impl Reloader<'_> {
    fn read_again(&mut self) -> Result<Reloaded, Failure> {
        let Sources { flags, file, set_log_level } = &self.sources;
        let Some(file) = file else {
            let said = "there is no configuration file to read again: this daemon was started without --config FILE";
            return Err(Failure::new(Exit::Config, said));
        };
        let refused = |failure: Failure| {
            Failure::new(failure.exit, format!("{}\nnothing was changed: what was in force is", failure.message))
        };
        let fresh = Config::load(flags.clone(), Some(file), &self.host).map_err(refused)?;
        let (changed, after_restart) = self.config.differences(&fresh);
        set_log_level(fresh.log_level);
        self.config.take_live(&fresh);
        Ok(Reloaded { keys: Keys { changed, after_restart }, plan: plan(&self.config) })
    }
}

/// What control is to know of a configuration.
pub(super) fn plan(config: &Config) -> Plan {
    Plan {
        issue_rate: match config.issue_rate {
            Rate::PerSecond(rate) => rate,
            Rate::Unlimited => ISSUE_RATE_UNLIMITED,
        },
        wins_per_sponsor: config.cap_per_sponsor.number(),
        rounds: config.rounds.clone(),
        playbooks: config.playbooks.clone(),
        rules: Rules {
            shake_interval_ms: config.min_shake_interval.as_millis_u32(),
            login_timeout_ms: config.login_timeout.as_millis_u32(),
            idle_timeout_ms: config.idle_timeout.as_millis_u32(),
            wins_per_user: config.cap_per_user.number(),
            wins_per_user_ever: config.cap_per_user.number(),
        },
    }
}
