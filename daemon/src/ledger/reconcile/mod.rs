//! `hongbaod ledger reconcile`: seeds, journal and the clients' claims, held against each other.
//!
//! ```text
//! seeds --> books: prize of every envelope
//! journal --> books: winner of every envelope      --> findings --> report (JSON)
//! claims --> (many threads) held against the books --> findings --> re-issue list (JSON lines)
//! ```

mod books;
mod claims;
mod command;
mod finding;
mod report;
#[cfg(test)]
mod tests;

pub(super) use command::{ReconcileArgs, run};
