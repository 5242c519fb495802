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
//! | `lock` | one daemon on one data folder |
//! | `command` | `hongbaod ledger ...` |
//!
//! Blocks are written with `O_DIRECT` and `RWF_DSYNC` unless the file system has no direct writes. `benches/ledger.rs` alternates it with
//! a write linked to an fdatasync. On two cores shared with builds, two runs gave medians of 283,000 and 676,000 durable wins a
//! second for the linked pair, 383,000 and 636,000 for the direct write: no difference beyond the noise; the 99 % of a lone win
//! was lower with the direct one both times (17.5 and 8.9 ms against 13.4 and 8.0 ms). What decides is that it leaves nothing in the
//! page cache: after a failed flush no page can look written that is not, and it needs one operation instead of two.

pub mod accounts;
pub mod command;
mod commit;
mod error;
pub mod journal;
mod lock;
mod open;
pub mod recovery;
mod replay;
#[cfg(test)]
mod tests;
mod turn;

pub use commit::CommitFailure;
pub use error::LedgerError;
pub use hongbao_uring::WritePath;
pub use open::{Ledger, LedgerOptions};
pub use turn::{LedgerLoop, LedgerSummary, Now};
