//! The queues between the threads: every one is made here, and its two ends go to their owners.

use std::sync::Arc;

use hongbao_uring::Doorbell;
use rtrb::{Producer, RingBuffer};

use crate::cells::SetCells;
use crate::limits;
use crate::messages::{FeederCommand, FeederSetEnds, LedgerCommand, LedgerSetEnds, SetCommand, SetEnds};

/// All ends of all queues, by owner.
pub(super) struct Queues {
    pub(super) sets: Vec<SetEnds>,
    pub(super) ledger: Vec<LedgerSetEnds>,
    pub(super) ledger_doorbell: Arc<Doorbell>,
    pub(super) ledger_commands: rtrb::Consumer<LedgerCommand>,
    pub(super) feeder: Vec<FeederSetEnds>,
    pub(super) feeder_commands: rtrb::Consumer<FeederCommand>,
    pub(super) control_sets: Vec<(Producer<SetCommand>, Arc<Doorbell>)>,
    pub(super) control_feeder: Producer<FeederCommand>,
    pub(super) control_ledger: Producer<LedgerCommand>,
    /// Each SET's, for the metrics.
    pub(super) cells: Vec<Arc<SetCells>>,
}

impl Queues {
    /// For so many SETs. `issue_rate` decides how many envelopes a SET may hold ready.
    pub(super) fn new(sets: usize, issue_rate: u64) -> Self {
        let (control_feeder, feeder_commands) = RingBuffer::new(limits::COMMANDS_PER_THREAD);
        let (control_ledger, ledger_commands) = RingBuffer::new(limits::COMMANDS_PER_THREAD);
        let mut queues = Self {
            sets: Vec::with_capacity(sets),
            ledger: Vec::with_capacity(sets),
            ledger_doorbell: Arc::new(Doorbell::default()),
            ledger_commands,
            feeder: Vec::with_capacity(sets),
            feeder_commands,
            control_sets: Vec::with_capacity(sets),
            control_feeder,
            control_ledger,
            cells: Vec::with_capacity(sets),
        };
        for _ in 0..sets {
            queues.add_set(limits::stock_capacity(issue_rate), limits::ledger_requests_per_set(sets));
        }
        queues
    }

    fn add_set(&mut self, stock_capacity: usize, requests_max: usize) {
        let cells = Arc::new(SetCells::default());
        let doorbell = Arc::new(Doorbell::default());
        let (stock_in, stock) = RingBuffer::new(stock_capacity);
        // Room for all that a SET can hold: what waits in its stock's queue, and what it has taken out of it.
        let (returns, returns_out) = RingBuffer::new(2 * stock_capacity);
        let (requests, requests_out) = RingBuffer::new(requests_max);
        let (verdicts_in, verdicts) = RingBuffer::new(limits::ledger_verdicts_per_set(requests_max));
        let (commands_in, commands) = RingBuffer::new(limits::COMMANDS_PER_THREAD);
        self.sets.push(SetEnds {
            stock,
            returns,
            requests,
            verdicts,
            commands,
            doorbell: Arc::clone(&doorbell),
            ledger_doorbell: Arc::clone(&self.ledger_doorbell),
            cells: Arc::clone(&cells),
        });
        self.feeder.push(FeederSetEnds { stock: stock_in, returns: returns_out, cells: Arc::clone(&cells) });
        self.control_sets.push((commands_in, Arc::clone(&doorbell)));
        self.ledger.push(LedgerSetEnds { requests: requests_out, verdicts: verdicts_in, doorbell });
        self.cells.push(cells);
    }
}
