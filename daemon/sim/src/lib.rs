//! The whole daemon in one thread, from one seed: the real SETs, feeder and ledger on a simulated network, disk and clock, in an
//! order of turns drawn from the seed, with faults, held against an independent model of what was promised.
//!
//! | file | noun |
//! |---|---|
//! | `dice` | chance, from the seed |
//! | `fault` | what can go wrong, by name |
//! | `plan` | what a history is like: sizes, turns, faults |
//! | `storage` | the disk: files and names, and which of them are durable |
//! | `ring` | the ledger's ring and its segments, on that disk |
//! | `machine` | one run of the daemon |
//! | `client` | the phones |
//! | `model` | what must be true |
//! | `history` | a history, from its first start to its last |
//! | `case` | which history: a seed, and what is left out |
//! | `shrink` | a smaller history that fails as well |
//! | `sweep` | very many histories |
//! | `crash_points` | every crash of a short history, without chance |

mod case;
mod client;
mod crash_points;
mod dice;
mod fault;
mod history;
mod machine;
mod model;
mod plan;
mod ring;
mod shrink;
mod storage;
mod sweep;

pub use case::{Case, hush_panics};
pub use client::Heard;
pub use crash_points::{Broken, Enumerated, enumerate as enumerate_crash_points};
pub use fault::{Fault, FaultCounts, FaultSet};
pub use history::{Outcome, Trace};
pub use shrink::shrink;
pub use sweep::{Summary, sweep};
