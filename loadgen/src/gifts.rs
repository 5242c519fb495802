//! Gifts: users of the run send them to other users of the run at intended times, whoever is told of one opens it, and the audit
//! holds every cent that was sent against what was opened. A run whose scenario has no gifts has none of this.
//!
//! | file | noun |
//! |---|---|
//! | `load` | what a stage asks for, and what a thread follows of it |
//! | `named` | whom a gift is for, small enough to be kept for each |
//! | `under_way` | questions without an answer, and those that were given up |
//! | `record` | counts and histograms of one lap |
//! | `desk` | one thread's gifts: what is sent, opened, repeated |
//! | `told` | what the threads hand to the audit |
//! | `audit` | the money |
//! | `claims` | the file of `--gift-claims` |
//! | `report` | the report's part |

pub mod audit;
pub mod claims;
pub mod desk;
pub mod load;
pub mod named;
pub mod record;
pub mod report;
pub mod told;
mod under_way;
