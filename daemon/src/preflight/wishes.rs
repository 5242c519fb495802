//! What is asked of the host.

use hongbao_uring::Footprint;

use crate::config::{Config, Host, connections_beyond_files};
use crate::limits::REFUSED_AT_ONCE;

/// What a configuration asks for, in the numbers that limits are held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// SETs.
    pub sets: u32,
    /// Places of each.
    pub connections_per_set: u32,
    /// Connections over all SETs.
    pub connections: u64,
    /// Whether somebody asked for that many; otherwise it is as many as there may be.
    pub asked: bool,
    /// Whether each ring has a table of its own for them.
    pub direct: bool,
    /// Whether the clients are on this host, so that it holds both ends of every connection.
    pub loopback: bool,
    /// One SET's ring.
    pub ring: Footprint,
    /// Why the limit of open files does not allow them.
    pub beyond_files: Option<String>,
}

/// Bytes of a receive buffer, as a listening ring has them.
const RECEIVE_BUFFER_BYTES: u16 = 64;

impl Wishes {
    /// What this configuration asks for.
    pub fn of(config: &Config, host: &Host) -> Self {
        let places = u64::from(config.sets) * u64::from(config.connections_per_set);
        let entries = config.connections_per_set.saturating_add(REFUSED_AT_ONCE);
        Self {
            sets: config.sets,
            connections_per_set: config.connections_per_set,
            connections: config.connections.map_or(places, |connections| connections.0.into()),
            asked: config.connections_asked,
            direct: config.is_direct(host),
            loopback: config.listen.ip().is_loopback(),
            ring: Footprint::of(entries, hongbao_uring::receive_buffers_max(config.sets), RECEIVE_BUFFER_BYTES),
            beyond_files: connections_beyond_files(config, host),
        }
    }

    /// Ends of connections that this host holds.
    pub(super) fn ends(&self) -> u64 {
        self.connections * if self.loopback { 2 } else { 1 }
    }
}
