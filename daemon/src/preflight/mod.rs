//! Whether this host can hold the connections that are asked for, and what to change where it cannot.
//!
//! | file | noun |
//! |---|---|
//! | `facts` | what the host allows: the only file that reads it |
//! | `wishes` | what is asked for |
//! | `finding` | one limit held against the wishes |
//! | `judge`, `network` | facts and wishes -> findings. Pure |
//! | `memory` | what a connection takes, by kind |
//! | `report` | all of it as a table, as JSON, and as log lines |

mod facts;
mod finding;
mod judge;
pub mod memory;
mod network;
mod report;
mod wishes;

pub use facts::Facts;
pub use finding::{Finding, Level};
pub use judge::judge;
pub use report::Report;
pub use wishes::Wishes;

use crate::config::{Config, Host};

/// Holds this host against a configuration. Reads the limits as they are now: raise what the process may raise by itself before.
pub fn look(config: &Config, host: &Host) -> Report {
    let wishes = Wishes::of(config, host);
    let findings = judge(&Facts::look(), &wishes);
    Report { findings, memory: memory::table(&wishes), wishes }
}
