//! The one place that sees every part: it gets everything ready that can fail, makes the queues, starts the threads and joins them.
//!
//! ```text
//! configuration -> prepare (preflight, ports, seeds, ledger) -> threads (queues, SETs, ledger, feeder) -> control -> balance
//! ```

mod demo;
mod port;
mod prepare;
mod queues;
mod reload;
mod threads;

pub use prepare::raise_limits;
pub use reload::Sources;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::config::{Config, Host};
use crate::control::{self, AdminSocket, Begin, Desk, Signals};
use crate::exit::{Exit, Failure};
use crate::limits;
use crate::metrics::Balance;
use crate::service::Manager;
use prepare::Prepared;
use reload::Reloader;
use threads::Threads;

/// Serves until it is told to stop.
///
/// Where any part cannot start, those that did are stopped again and the first failure is told.
pub fn serve(config: &Config, host: &Host, sources: Sources<'_>) -> Result<(), Failure> {
    let manager = Manager::find();
    let outcome = serve_under(manager, config, host, sources);
    if let Err(failure) = &outcome {
        // `systemctl status` shows it, whatever the log has been through since.
        manager.status(failure.message.lines().next().unwrap_or_default());
    }
    outcome
}

fn serve_under(manager: Manager, config: &Config, host: &Host, sources: Sources<'_>) -> Result<(), Failure> {
    let mut admin_socket = config.admin_socket.clone();
    let folders = if let Some(folders) = &config.folders {
        folders.clone()
    } else {
        let folders = demo::make(config.server_id)?;
        admin_socket.get_or_insert_with(|| folders.data_dir.with_file_name("admin.sock"));
        folders
    };
    let admin = admin_socket.as_deref().map(AdminSocket::bind).transpose()?;
    let prepared = Prepared::new(config, host, &folders, manager)?;
    let (listen, metrics_listen) = (prepared.listen, prepared.metrics_listen);
    // From here on a signal means an orderly stop; before, there was nothing to put in order.
    let signals = Signals::take()
        .map_err(|error| Failure::new(Exit::Os, format!("taking the signals SIGTERM, SIGINT and SIGHUP: {error}")))?;
    let plan = reload::plan(config);
    let (threads, mut commands) = Threads::start(config, &plan, prepared)?;
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
        tell_admin(admin.as_ref());
        tell_ready(config, listen, metrics_listen, admin.as_ref(), started.envelopes_left);
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
    let reloader = Reloader::new(sources, *host, config.clone(), manager);
    let mut desk = Desk::new(admin, plan, threads.survey(config, listen), Box::new(reloader), threads.control_cells());
    let watched = control::run(&signals, &mut commands, &mut desk, &threads.watched(), stop_time_max, begin, &stopping);
    // Nobody is to speak to a daemon that is gone.
    drop(desk);
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
struct ReadyLine<'a> {
    ready: bool,
    process: u32,
    listen: SocketAddr,
    metrics_listen: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    admin_socket: Option<&'a Path>,
    sets: u32,
    connections: u64,
    envelopes_left: u64,
}

fn tell_admin(admin: Option<&AdminSocket>) {
    if let Some(socket) = admin {
        tracing::info!("orders are taken: hongbaod ctl --socket {} status", socket.path().display());
    } else {
        tracing::warn!("no --admin-socket: this daemon takes no orders while it runs");
    }
}

fn tell_ready(
    config: &Config,
    listen: SocketAddr,
    metrics_listen: SocketAddr,
    admin: Option<&AdminSocket>,
    envelopes_left: u64,
) {
    let line = ReadyLine {
        ready: true,
        process: std::process::id(),
        listen,
        metrics_listen,
        admin_socket: admin.map(AdminSocket::path),
        sets: config.sets,
        connections: u64::from(config.sets) * u64::from(config.connections_per_set),
        envelopes_left,
    };
    eprintln!("{}", serde_json::to_string(&line).unwrap_or_default());
}
