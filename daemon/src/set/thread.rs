//! A SET on a thread of its own: the ring is made there, as its kernel side belongs to the thread that made it.

use std::io;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use hongbao_uring::{Descriptors, Listener, Pace, RingError, RingFeatures, RingOptions};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::connection::IDLE_BYTES;
use super::{Moment, Reactor, Rules, Turn};
use crate::limits::REFUSED_AT_ONCE;
use crate::messages::SetEnds;

/// How one SET is to run.
pub struct SetOptions {
    /// Its number, from 0; names the thread.
    pub index: usize,
    /// Where it accepts.
    pub listener: Listener,
    /// Connections it serves at most.
    pub connections: u32,
    /// Direct or plain descriptors.
    pub descriptors: Descriptors,
    /// Receive buffers at most.
    pub receive_buffers_max: u16,
    /// What clients are held to.
    pub rules: Rules,
    /// How long completions may be gathered before they are handled, in microseconds.
    pub latency_budget_us: u32,
    /// How long stopping may take, in milliseconds.
    pub drain_timeout_ms: u32,
    /// The core to run on.
    pub pin_to_core: Option<usize>,
}

/// What a SET tells once it listens.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    /// The ring's features in use.
    pub features: RingFeatures,
    /// User-space bytes an idle connection takes.
    pub idle_connection_bytes: usize,
}

/// What a SET tells when it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetSummary {
    /// Connections cut off because they did not close within the drain timeout.
    pub connections_cut: usize,
    /// Claims whose verdict did not come within the drain timeout. Those granted are shown at the users' next login.
    pub claims_pending: u32,
}

/// Starts the SET. `ready` is called once, on the new thread: when the SET listens, or with why it cannot.
pub fn spawn(
    options: SetOptions,
    ends: SetEnds,
    ready: impl FnOnce(Result<Started, RingError>) + Send + 'static,
) -> io::Result<JoinHandle<io::Result<SetSummary>>> {
    Builder::new().name(format!("set-{:02}", options.index)).spawn(move || run(options, ends, ready))
}

fn run(options: SetOptions, ends: SetEnds, ready: impl FnOnce(Result<Started, RingError>)) -> io::Result<SetSummary> {
    if let Some(core) = options.pin_to_core {
        let mut cores = CpuSet::new();
        cores.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &cores))?;
    }
    let connections = options.connections + REFUSED_AT_ONCE;
    let ring = RingOptions {
        descriptors: options.descriptors,
        receive_buffers_max: options.receive_buffers_max,
        ..RingOptions::listening(connections, options.listener)
    };
    let ring = match ring.open() {
        Ok(ring) => ring,
        Err(error) => {
            ready(Err(error));
            return Err(io::Error::other("the ring could not be opened"));
        }
    };
    ring.attach(&ends.doorbell)?;
    let features = ring.features();
    let start = Instant::now();
    let pace = Pace::new(options.latency_budget_us, u32::from(features.receive_buffers));
    let mut reactor = Reactor::new(ring, options.rules, options.connections, pace, options.drain_timeout_ms, ends);
    ready(Ok(Started { features, idle_connection_bytes: IDLE_BYTES }));
    while reactor.turn(|| Moment::now(start))? == Turn::Continue {}
    Ok(reactor.summary())
}
