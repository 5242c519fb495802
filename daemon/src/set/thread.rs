//! The threads of the SETs. A SET's ring is made on its thread, as the kernel's side belongs to the thread that made it.

use std::io;
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

use hongbao_uring::{Descriptors, Listener, Pace, Ring, RingError, RingFeatures, RingOptions};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::connection::IDLE_BYTES;
use super::{Moment, Reactor, Rules, Turn};
use crate::limits::{REFUSED_AT_ONCE, ROUND_US_MIN};
use crate::messages::SetEnds;

/// How one SET is to run.
pub struct SetOptions {
    /// Its number, from 0.
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
    /// The core to run on; the first SET's counts for its thread.
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

/// A thread of SETs. It ends with what each of them, by its number, tells.
pub type SetThread = JoinHandle<io::Result<Vec<(usize, SetSummary)>>>;

/// Starts the thread `name` with these SETs. `ready` is called on it once for each, with its number: when the SET listens, or with why it
/// cannot.
///
/// One alone waits in its ring, and is woken by what it waits for. Where several share the thread it comes by at each of them, once
/// a latency budget, and waits in none: the rings gather meanwhile, and a wake-up is paid once for all of them.
pub fn spawn(
    name: String,
    sets: Vec<(SetOptions, SetEnds)>,
    ready: impl FnMut(usize, Result<Started, RingError>) + Send + 'static,
) -> io::Result<SetThread> {
    Builder::new().name(name).spawn(move || run(sets, ready))
}

/// One SET of a thread.
struct Member {
    index: usize,
    reactor: Reactor<Ring>,
    turn: Turn,
}

fn run(
    sets: Vec<(SetOptions, SetEnds)>,
    mut ready: impl FnMut(usize, Result<Started, RingError>),
) -> io::Result<Vec<(usize, SetSummary)>> {
    let pin_to_core = sets.first().and_then(|(options, _)| options.pin_to_core);
    if let Some(core) = pin_to_core {
        let mut cores = CpuSet::new();
        cores.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &cores))?;
    }
    let start = Instant::now();
    let budget_us = sets.iter().map(|(options, _)| options.latency_budget_us).min().unwrap_or_default();
    let mut members = Vec::with_capacity(sets.len());
    for (options, ends) in sets {
        let index = options.index;
        match open(options, ends) {
            Ok((reactor, started)) => {
                members.push(Member { index, reactor, turn: Turn::Continue });
                ready(index, Ok(started));
            }
            Err(error) => {
                ready(index, Err(error));
                return Err(io::Error::other("the ring could not be opened"));
            }
        }
    }
    match members.as_mut_slice() {
        [alone] => while alone.reactor.turn(|| Moment::now(start))? == Turn::Continue {},
        several => come_by(several, start, Duration::from_micros(u64::from(budget_us.max(ROUND_US_MIN))))?,
    }
    Ok(members.iter().map(|member| (member.index, member.reactor.summary())).collect())
}

fn open(options: SetOptions, ends: SetEnds) -> Result<(Reactor<Ring>, Started), RingError> {
    let connections = options.connections + REFUSED_AT_ONCE;
    let ring = RingOptions {
        descriptors: options.descriptors,
        receive_buffers_max: options.receive_buffers_max,
        ..RingOptions::listening(connections, options.listener)
    };
    let ring = ring.open()?;
    ring.attach(&ends.doorbell).map_err(RingError::Memory)?;
    let features = ring.features();
    let pace = Pace::new(options.latency_budget_us, u32::from(features.receive_buffers));
    let reactor = Reactor::new(ring, options.rules, options.connections, pace, options.drain_timeout_ms, ends);
    Ok((reactor, Started { features, idle_connection_bytes: IDLE_BYTES }))
}

/// Rounds, one each `every`; where a round takes longer, the next follows at once.
fn come_by(members: &mut [Member], start: Instant, every: Duration) -> io::Result<()> {
    let mut due = Instant::now();
    loop {
        let mut serving = false;
        // One reading serves the look at all of them; who finds work reads its own.
        let round = Moment::now(start);
        for member in members.iter_mut().filter(|member| member.turn == Turn::Continue) {
            member.turn = member.reactor.visit(round, || Moment::now(start))?;
            serving |= member.turn == Turn::Continue;
        }
        if !serving {
            return Ok(());
        }
        let now = Instant::now();
        due = (due + every).max(now);
        thread::sleep(due - now);
    }
}
