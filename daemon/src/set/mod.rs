//! The SET: one ring, one listener, one slab of connections, one stock of envelopes, and a thread of its own where there are cores enough.
//! SETs share nothing else.
//!
//! | file | noun |
//! |---|---|
//! | `reactor` | the loop: enter, reap, handle, flush; the only file that touches the ring |
//! | `connection` | what a connection is, in 64 bytes |
//! | `shake` | the decision about one shake, pure |
//! | `gifts` | gifts on their way to the ledger and back |
//! | `long_frames` | the starts of frames too long for a connection's own memory |
//! | `stock` | the envelopes at hand, and their way back |
//! | `orders` | what an operator tells it, carried out a bounded piece a turn |
//! | `wheel` | deadlines |
//! | `moment` | time, as an argument |
//! | `thread` | the threads of the SETs: one each, or several on one that comes by |

mod connection;
mod departure;
mod gifts;
mod long_frames;
mod moment;
mod orders;
mod reactor;
mod session;
mod shake;
mod stock;
mod thread;
mod wheel;

pub use crate::messages::Rules;
pub use moment::Moment;
pub use reactor::{Reactor, Turn};
pub use thread::{SetOptions, SetSummary, SetThread, Started, spawn};
