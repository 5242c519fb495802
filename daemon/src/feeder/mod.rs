//! The feeder: reads the seed files through io_uring, verifies each block, and deals the envelopes to the SETs at the issue rate,
//! where they are demanded.
//!
//! ```text
//! scan -> audit -> reader -> walker -> dealer -> stock rings
//!                              returns <-----------
//! ```
//!
//! | file | what |
//! |---|---|
//! | `scan` | which files of the seed directory are dealt from, by their headers |
//! | `audit` | holds what the journal says was issued against the seed files |
//! | `reader` | reads spans of blocks ahead of those who need them |
//! | `walker` | verifies block after block and passes over what was issued before |
//! | `dealer` | how many envelopes now, and to which SETs: pure |
//! | `round` | the issue of one round, smoothed: pure |
//! | `summary` | where every envelope and cent is: the balance |
//! | `thread` | puts them together, tick by tick |

mod audit;
mod dealer;
mod reader;
mod round;
mod scan;
mod summary;
#[cfg(test)]
mod tests;
mod thread;
mod walker;

pub use reader::{ReadJob, SeedReads};
pub use scan::{RefusedFile, Scan, SeedFile, SeedRefusal, scan};
pub use summary::{FeederSummary, Tally};
pub use thread::{Dealing, Feeder, FeederOptions};
