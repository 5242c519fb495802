//! hongbao's io_uring layer, and the only `unsafe` code of the workspace.
//!
//! A [`Ring`] carries the connections of one thread; a [`DiskRing`] carries the journal. The code above them speaks to the
//! traits [`Network`] and [`Disk`], so that tests put [`simulated`] ones in their place.

mod buffers;
mod core;
pub mod descriptors;
pub mod disk;
mod disk_ring;
pub mod doorbell;
pub mod driver;
pub mod footprint;
pub mod listener;
mod operation;
pub mod options;
pub mod outbox;
mod pages;
mod peer;
pub mod probe;
mod receivers;
pub mod ring;
mod set_up;
pub mod simulated;
pub mod simulated_disk;
mod staged;
pub mod token;
pub mod unavailable;
pub mod wait;
mod waker;

pub use descriptors::Descriptors;
pub use disk::{DISK_PAGE_BYTES, Disk, DiskBuffer, DiskEvent, DiskStage, WriteFailure, WritePath};
pub use disk_ring::DiskRing;
pub use doorbell::Doorbell;
pub use driver::{Completion, Event, Network, NetworkCounters, OutboxFull, Receive, Received, Sent, Socket};
pub use footprint::Footprint;
pub use listener::{ListenError, ListenOptions, Listener};
pub use nix::errno::Errno;
pub use options::{RingError, RingFeatures, RingOptions, receive_buffers_max};
pub use outbox::Outbox;
pub use peer::peer_groups;
pub use probe::{Support, probe};
pub use ring::Ring;
pub use set_up::Features;
pub use simulated_disk::{SimulatedDisk, SimulatedFile, SimulatedStorage};
pub use token::{Generation, Token};
pub use unavailable::{Setting, Unavailable};
pub use wait::{Pace, Wait};
pub use waker::Waker;
