//! What the daemon tells Prometheus, and where the money is.

mod balance;
pub mod catalogue;
mod collect;
mod exporter;
mod host;
mod page;
mod render;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

pub use balance::{Amount, Balance};
pub use exporter::serve;

use crate::cells::{ControlCells, FeederCells, LedgerCells, SetCells};

/// The cells of all threads, and what else a scrape needs.
pub struct Registry {
    sets: Vec<Arc<SetCells>>,
    ledger: Arc<LedgerCells>,
    feeder: Arc<FeederCells>,
    control: Arc<ControlCells>,
    connections_per_set: u32,
    issued_at_start: Amount,
    data_dir: PathBuf,
    started_unix_seconds: f64,
    recorder: PrometheusRecorder,
}

impl Registry {
    /// Of these threads. `issued_at_start` is what the ledger's replay found, `data_dir` where the ledger is.
    pub fn new(
        sets: Vec<Arc<SetCells>>,
        ledger: Arc<LedgerCells>,
        feeder: Arc<FeederCells>,
        control: Arc<ControlCells>,
        connections_per_set: u32,
        issued_at_start: Amount,
        data_dir: PathBuf,
    ) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        collect::describe(&recorder);
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            sets,
            ledger,
            feeder,
            control,
            connections_per_set,
            issued_at_start,
            data_dir,
            started_unix_seconds: started.as_secs_f64(),
            recorder,
        }
    }

    /// The SETs, each with the value of its `set` label.
    fn numbered_sets(&self) -> impl Iterator<Item = (String, &SetCells)> {
        self.sets.iter().enumerate().map(|(number, cells)| (number.to_string(), cells.as_ref()))
    }
}
