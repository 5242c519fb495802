//! The single writer: decides claims, keeps the caps, and answers a win only once it is on the disk.
//!
//! ```text
//! SET --claim--> turn --decide--> accounts
//!                 |  stage
//!                 v
//!              commit --block--> disk ring --durable--> verdicts --> SET
//! ```
//!
//! | part | what it is |
//! |---|---|
//! | `accounts` | who won what; the decision. Pure |
//! | `journal` | records, blocks, segments: the format and its writing end |
//! | `recovery` | the walk over the blocks; torn tail or damage. Pure |
//! | `replay` | the walk over the files, booked into accounts |
//! | `commit` | group commit: one batch flies, the next one forms |
//! | `turn` | the loop, over any disk and clock |
//! | `files` | the file system outside of the ring, as a trait |
//! | `lock` | one daemon on one data folder |
//! | `command` | `hongbaod ledger ...` |

pub mod accounts;
pub mod command;
mod commit;
mod error;
pub mod files;
pub mod journal;
mod lock;
mod open;
pub mod recovery;
mod replay;
#[cfg(test)]
mod tests;
mod turn;
mod users;

pub use commit::{BatchBounds, CommitFailure};
pub use error::LedgerError;
pub use hongbao_uring::WritePath;
pub use open::{Boot, Ledger, LedgerOptions};
pub use turn::{LedgerLoop, LedgerSummary, Now};
