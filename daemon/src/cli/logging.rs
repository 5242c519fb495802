//! Logging: to stderr, as text for people and as JSON for machines; to the journal as text with priorities, as it has the time and more
//! already. SET threads never log.

mod lines;

use std::io::IsTerminal;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, registry, reload};

use crate::config::{LogFormat, LogLevel};
use lines::Lines;

/// Starts it, once for the process. The result changes the level later.
pub(super) fn start(format: LogFormat, level: LogLevel) -> impl Fn(LogLevel) {
    let terminal = std::io::stderr().is_terminal();
    let journal = lines::stderr_is_journal();
    let json = match format {
        LogFormat::Auto => !terminal && !journal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let (filter, handle) = reload::Layer::new(filter_of(level));
    let subscriber = registry().with(filter);
    let layer = fmt::layer().with_writer(Lines::new(journal)).with_target(false);
    if journal && !json {
        subscriber.with(layer.with_ansi(false).without_time().with_level(false)).init();
    } else if json {
        subscriber.with(layer.json().flatten_event(true)).init();
    } else {
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        subscriber.with(layer.with_ansi(colour)).init();
    }
    // The subscriber lives as long as the process, and so this cannot fail.
    move |level| drop(handle.reload(filter_of(level)))
}

fn filter_of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    }
}
