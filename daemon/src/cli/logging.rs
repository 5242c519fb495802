//! Logging: to stderr, as text for people and as JSON for machines. SET threads never log.

use std::io::IsTerminal;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;

use crate::config::{LogFormat, LogLevel};

/// Starts it, once for the process.
pub(super) fn start(format: LogFormat, level: LogLevel) {
    let terminal = std::io::stderr().is_terminal();
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let subscriber = fmt().with_writer(std::io::stderr).with_max_level(level).with_target(false);
    if json {
        subscriber.json().flatten_event(true).init();
    } else {
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        subscriber.with_ansi(colour).init();
    }
}
