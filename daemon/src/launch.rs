//! The one place that sees every part: it gets everything ready that can fail, makes the queues, starts the threads and joins them.
//!
//! ```text
//! configuration -> prepare (preflight, ports, seeds, ledger) -> threads (queues, SETs, ledger, feeder) -> control -> balance
//! ```

mod demo;
mod port;
mod prepare;
mod queues;
mod threads;

pub use prepare::raise_limits;

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use crate::config::{Config, Host};
use crate::control::{self, Begin, Signals};
use crate::exit::{Exit, Failure};
use crate::limits;
use crate::metrics::Balance;
use crate::service::Manager;
use prepare::Prepared;
use threads::Threads;

/// Serves until it is told to stop.
///
/// Where any part cannot start, those that did are stopped again and the first failure is told.
pub fn serve(config: &Config, host: &Host) -> Result<(), Failure> {
    let manager = Manager::find();
    let outcome = serve_under(manager, config, host);
    if let Err(failure) = &outcome {
        // `systemctl status` shows it, whatever the log has been through since.
        manager.status(failure.message.lines().next().unwrap_or_default());
    }
    outcome
}

fn serve_under(manager: Manager, config: &Config, host: &Host) -> Result<(), Failure> {
    let folders = match &config.folders {
        Some(folders) => folders.clone(),
        None => demo::make(config.server_id)?,
    };
    let prepared = Prepared::new(config, host, &folders, manager)?;
    let (listen, metrics_listen) = (prepared.listen, prepared.metrics_listen);
    // From here on a signal means an orderly stop; before, there was nothing to put in order.
    let signals = Signals::take()
        .map_err(|error| Failure::new(Exit::Os, format!("taking the signals SIGTERM and SIGINT: {error}")))?;
    let (threads, mut commands) = Threads::start(config, prepared)?;
    let ready = threads.wait_until_ready(&signals).and_then(|started| {
        let heartbeat = started.is_some().then(|| threads.heartbeat(manager)).transpose()?;
        Ok(started.zip(heartbeat))
    });
    let begin = if let Ok(Some((started, _))) = &ready {
        tracing::info!(
            sets = config.sets,
            connections_per_set = config.connections_per_set,
            ring = started.ring,
            idle_connection_bytes = started.idle_connection_bytes,
            "listening on {listen}; metrics on http://{metrics_listen}/metrics"
        );
        tell_ready(config, listen, metrics_listen, started.envelopes_left);
        manager.ready(&format!("serving on {listen}; {} envelopes left", started.envelopes_left));
        Begin::Serving
    } else {
        Begin::Stopping
    };
    let connections = u64::from(config.sets) * u64::from(config.connections_per_set);
    let stop_time_max = config.drain_timeout.0 + Duration::from_millis(limits::stop_grace_ms(connections));
    let stopping = || {
        if let Ok(Some((_, heartbeat))) = &ready {
            heartbeat.stopping();
        }
        manager.stopping("sending clients away, flushing the ledger");
    };
    let watched = control::run(&signals, &mut commands, &threads.watched(), stop_time_max, begin, &stopping);
    // Where the watch itself failed, they still have to end.
    commands.stop();
    let (balance, ended) = threads.join();
    ready?;
    ended.and(watched)?;
    tracing::info!("{balance}");
    balanced(&balance)
}

fn balanced(balance: &Balance) -> Result<(), Failure> {
    if balance.difference_cents == 0 {
        return Ok(());
    }
    let message = format!(
        "the money does not add up: {balance}. Keep the data and the seed files as they are, run `hongbaod ledger verify` and \
         `hongbaod seed verify` on them, and report this"
    );
    Err(Failure::new(Exit::Data, message))
}

/// What a program that started the daemon waits for: one line of JSON, whatever the log's format and level.
#[derive(Serialize)]
struct ReadyLine {
    ready: bool,
    process: u32,
    listen: SocketAddr,
    metrics_listen: SocketAddr,
    sets: u32,
    connections: u64,
    envelopes_left: u64,
}

fn tell_ready(config: &Config, listen: SocketAddr, metrics_listen: SocketAddr, envelopes_left: u64) {
    let line = ReadyLine {
        ready: true,
        process: std::process::id(),
        listen,
        metrics_listen,
        sets: config.sets,
        connections: u64::from(config.sets) * u64::from(config.connections_per_set),
        envelopes_left,
    };
    eprintln!("{}", serde_json::to_string(&line).unwrap_or_default());
}
