//! The clients' port: from the service manager where it kept it, else bound anew, also right after a daemon that was killed.
//!
//! The kernel takes a dead process's rings down in the background, and until then its listeners live on in them: seconds with very many
//! connections. A restart that gave up at once would use up what the service manager allows; so a port that no process holds is waited for.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use hongbao_uring::{ListenError, ListenOptions, Listener};

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::limits::{PORT_TRY_EVERY_MS, PORT_WAIT_MS};
use crate::service::{Inherited, Manager};

/// State of a listening socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// A listener for each SET, all at one address: those that the service manager kept, and as many new ones as are missing. It is given all
/// of them to keep.
pub(super) fn listen(config: &Config, manager: Manager) -> Result<Vec<Listener>, Failure> {
    let mut options = ListenOptions::at(config.listen);
    let sets = config.sets as usize;
    let Inherited { listeners: mut passed, of_socket_unit, elsewhere } = Inherited::take(config.listen);
    if of_socket_unit && passed.len() > sets {
        // Connections would be dealt to a listener that nobody accepts from, and that only the service manager can close.
        let message = format!(
            "the socket unit passes {} listeners for {sets} SETs: let it have one ListenStream= a SET at most, or raise sets",
            passed.len()
        );
        return Err(Failure::new(Exit::Config, message));
    }
    if passed.len() > sets || elsewhere > 0 {
        tracing::info!(
            closed = elsewhere + passed.len().saturating_sub(sets),
            "listeners of an earlier configuration are closed"
        );
        manager.forget_listeners();
        passed.truncate(sets);
    }
    let listeners = if passed.is_empty() {
        bind(&options, sets)?
    } else {
        tracing::info!(
            listeners = passed.len(),
            "the service manager passed listeners: whoever connected meanwhile is waiting in them"
        );
        let address =
            passed[0].local_addr().map_err(|error| Failure::io("reading the address of a listener", &error))?;
        options.address = address;
        let missing = sets - passed.len();
        let adopted = passed.into_iter().map(|listener| Listener::adopt(listener, &options));
        adopted
            .chain((0..missing).map(|_| Listener::share(&options, address)))
            .collect::<Result<_, _>>()
            .map_err(|error| not_shared(&error, missing))?
    };
    manager.keep(&listeners.iter().map(AsFd::as_fd).collect::<Vec<_>>());
    Ok(listeners)
}

fn not_shared(error: &ListenError, missing: usize) -> Failure {
    let mut failure = refused(error);
    if matches!(error, ListenError::Taken { .. }) {
        failure.message = format!(
            "{missing} SETs lack a listener, and the ones that were passed cannot be joined: let the socket unit have one ListenStream= \
             a SET with ReusePort=yes, or use none (the daemon then listens by itself)"
        );
    }
    failure
}

/// New listeners, all at one address.
fn bind(options: &ListenOptions, sets: usize) -> Result<Vec<Listener>, Failure> {
    let begin = Instant::now();
    let mut told = false;
    loop {
        let error = match Listener::bind_many(options, sets) {
            Ok(listeners) => return Ok(listeners),
            Err(error) => error,
        };
        let patient = begin.elapsed() < Duration::from_millis(PORT_WAIT_MS);
        let worth_waiting = matches!(error, ListenError::Taken { .. }) && patient;
        // Right before the end they listen no more, and the port is not free yet.
        if !worth_waiting || !(told || is_abandoned(options.address)) {
            return Err(refused(&error));
        }
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(
                "{} is still held by a process that has ended: waiting until the kernel has closed its connections",
                options.address
            );
        }
        thread::sleep(Duration::from_millis(PORT_TRY_EVERY_MS));
    }
}

fn refused(error: &ListenError) -> Failure {
    let exit = match error {
        ListenError::Forbidden { .. } => Exit::Permission,
        ListenError::Taken { .. } | ListenError::NotHere { .. } | ListenError::Congestion { .. } => Exit::Unavailable,
        ListenError::Other { .. } => Exit::Os,
    };
    Failure::new(exit, error.to_string())
}

/// Whether somebody listens at this port whom no process that can be seen holds open.
fn is_abandoned(address: SocketAddr) -> bool {
    let mut sockets = listening("/proc/self/net/tcp", address.port());
    sockets.extend(listening("/proc/self/net/tcp6", address.port()));
    !sockets.is_empty() && !is_held(&sockets)
}

/// The inodes of those who listen at a port. The kernel tells listeners first; a million connections behind them are not read.
fn listening(path: &str, port: u16) -> Vec<u64> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let lines = BufReader::new(file).lines().map_while(Result::ok).skip(1);
    lines.map_while(|line| Listens::parse(&line)).filter(|listens| listens.port == port).map(|it| it.inode).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listens {
    port: u16,
    inode: u64,
}

impl Listens {
    /// A line of `/proc/net/tcp`; `None` where it is not of a listener.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let (_, port) = fields.nth(1)?.rsplit_once(':')?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        (state == LISTENING).then_some(Self { port: u16::from_str_radix(port, 16).ok()?, inode })
    }
}

/// Whether a process has one of these sockets among its files. Those of other users cannot be seen.
fn is_held(sockets: &[u64]) -> bool {
    let names: Vec<String> = sockets.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let Ok(processes) = fs::read_dir("/proc") else { return true };
    let files = processes.flatten().filter_map(|process| fs::read_dir(process.path().join("fd")).ok()).flatten();
    files.flatten().filter_map(|file| fs::read_link(file.path()).ok()).any(|target| {
        let target = target.to_string_lossy();
        names.iter().any(|name| *name == target)
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_line_tells_a_listener_with_its_port_and_inode() {
        let listens =
            "   0: 0100007F:22A2 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100";
        assert_eq!(Listens::parse(listens), Some(Listens { port: 8866, inode: 4711 }));
        assert_eq!(Listens::parse(&listens.replace(" 0A ", " 01 ")), None, "a connection");
        assert_eq!(Listens::parse("  sl  local_address"), None);
    }

    #[test]
    fn a_port_that_a_process_holds_is_refused_at_once() {
        let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = other.local_addr().expect("bound");
        assert!(!is_abandoned(address));
        let refusal = bind(&ListenOptions::at(address), 2).expect_err("taken");
        assert_eq!(refusal.exit, Exit::Unavailable);
    }
}
