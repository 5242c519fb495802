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
//! | `gifts` | what users send each other, and everybody's balance; the decisions. Pure |
//! | `journal` | records, blocks, segments: the format and its writing end |
//! | `recovery` | the walk over the blocks; torn tail or damage. Pure |
//! | `reading` | the walk over the files: snapshot, then segments |
//! | `compaction` | snapshots made, and what two of them cover removed |
//! | `replay` | what the records add up to, in accounts |
//! | `commit` | group commit: one batch flies, the next one forms |
//! | `turn` | the loop, over any disk and clock |
//! | `files` | the file system outside of the ring, as a trait |
//! | `backup` | a whole copy of a ledger, and putting it back |
//! | `verify` | snapshots held against segments |
//! | `lock` | one daemon on one data folder |
//! | `receipt` | the keyed proof of a win, and its key |
//! | `reconcile` | seeds, journal and the clients' claims, held against each other |
//! | `command` | `hongbaod ledger ...` |

pub mod accounts;
mod backup;
pub mod command;
mod commit;
pub mod compaction;
mod desks;
mod directory;
mod error;
pub mod files;
pub mod gifts;
pub mod journal;
mod lock;
mod open;
mod post;
mod reading;
pub mod receipt;
mod receipt_command;
mod reconcile;
pub mod recovery;
mod replay;
#[cfg(test)]
mod tests;
mod text;
mod turn;
mod users;
mod verify;

pub use commit::{BatchBounds, CommitFailure};
pub use error::LedgerError;
pub use hongbao_uring::WritePath;
pub use open::{Boot, Ledger, LedgerOptions};
pub use turn::{LedgerLoop, LedgerSummary, Now};
