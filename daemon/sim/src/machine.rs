//! One run of the daemon: its SETs, feeder and ledger, put together as `launch` does, each waiting for its turn.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hongbao_protocol::seed::{BLOCK_BYTES, Header, RECORDS_PER_BLOCK, SeedBinding, encode_block};
use hongbao_protocol::{CampaignId, Cents, Envelope, EnvelopeId, ServerId, ShardId, SponsorId};
use hongbao_uring::simulated::{SimulatedNetwork, SimulatedOptions};
use hongbao_uring::{Disk, Doorbell, Pace, Wait};
use hongbaod::cells::{FeederCells, LedgerCells, SetCells};
use hongbaod::exit::Failure;
use hongbaod::feeder::{Dealing, Feeder, FeederOptions, FeederSummary, ReadJob, Scan, SeedFile, SeedReads};
use hongbaod::ledger::journal::SegmentFolder;
use hongbaod::ledger::{
    BatchBounds, Boot, CommitFailure, Ledger, LedgerError, LedgerLoop, LedgerOptions, LedgerSummary, Now,
};
use hongbaod::limits::{COMMANDS_PER_THREAD, ledger_verdicts_per_set};
use hongbaod::messages::{FeederCommand, FeederSetEnds, LedgerSetEnds, SetCommand, SetEnds};
use hongbaod::metrics::{Amount, Balance};
use hongbaod::set::{Moment, Reactor, Rules, Turn};
use rtrb::{Producer, RingBuffer};

use crate::dice::Dice;
use crate::plan::Plan;
use crate::ring::{SegmentMaker, SimulatedRing};
use crate::storage::Storage;

const CAMPAIGN: CampaignId = CampaignId(2015);
const SERVER: ServerId = ServerId(1);
const DRAIN_TIMEOUT_MS: u32 = 2_000;
/// Reads of the audit: far more than it makes.
const AUDIT_POLLS_MAX: usize = 10_000;

/// Both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Since the history began; never falls.
    pub(crate) elapsed_us: u64,
    /// Added to it for the time of day; may be set.
    pub(crate) unix_offset_us: u64,
}

impl Clock {
    pub(crate) fn unix_us(self) -> u64 {
        self.elapsed_us + self.unix_offset_us
    }
}

/// The seed files: the same for all runs of a history.
#[derive(Debug)]
pub(crate) struct Seeds {
    files: Vec<SeedFile>,
    bytes: Vec<Vec<u8>>,
    /// In the order of the files.
    pub(crate) envelopes: Vec<Envelope>,
}

impl Seeds {
    pub(crate) fn new(plan: &Plan, dice: &mut Dice) -> Self {
        let mut seeds = Self { files: Vec::new(), bytes: Vec::new(), envelopes: Vec::new() };
        for shard in 0..plan.seed_files {
            let binding = SeedBinding { campaign: CAMPAIGN, server: SERVER, shard: ShardId(shard as u16) };
            let prizes: Vec<_> = (0..plan.envelopes)
                .map(|_| (SponsorId(1 + dice.below(plan.sponsors) as u32), Cents(1 + dice.below(10_000) as u64)))
                .collect();
            let total = prizes.iter().map(|(_, amount)| *amount).sum();
            let header = Header { binding, count: prizes.len() as u32, total, digest: [0; 32] };
            let mut bytes = header.encode().to_vec();
            let mut block = [0; BLOCK_BYTES];
            for (number, prizes) in prizes.chunks(RECORDS_PER_BLOCK).enumerate() {
                encode_block(&binding, number as u32, prizes.iter().copied(), &mut block);
                bytes.extend_from_slice(&block);
            }
            let path = PathBuf::from(format!("seeds/{shard}.hbs"));
            seeds.files.push(SeedFile { path, header });
            seeds.bytes.push(bytes);
            let envelope = |(index, (sponsor, amount))| {
                let id = EnvelopeId::new(SERVER, binding.shard, index as u32);
                Envelope { id, sponsor, amount }
            };
            seeds.envelopes.extend(prizes.into_iter().enumerate().map(envelope));
        }
        seeds
    }

    fn scan(&self) -> Scan {
        Scan { campaign: Some(CAMPAIGN), accepted: self.files.clone(), refused: Vec::new() }
    }

    fn read(&self, file: &SeedFile, offset: u64, bytes: usize, buffer: &mut Vec<u8>) {
        let content = &self.bytes[usize::from(file.header.binding.shard.0)];
        buffer.extend_from_slice(&content[offset as usize..offset as usize + bytes]);
    }
}

/// Reads of seed files that are under way.
#[derive(Clone, Default)]
struct Reads(Rc<RefCell<Vec<ReadJob>>>);

impl SeedReads for Reads {
    fn start(&self, job: ReadJob) {
        self.0.borrow_mut().push(job);
    }
}

impl Reads {
    fn step(&self, seeds: &Seeds) {
        let read = |file: &SeedFile, offset, bytes, buffer: &mut Vec<u8>| seeds.read(file, offset, bytes, buffer);
        self.0.borrow_mut().retain_mut(|job| job.step(read));
    }
}

/// A SET, until it has ended.
type Set = Option<Reactor<SimulatedNetwork>>;

/// The running daemon.
pub(crate) struct Machine {
    sets: Vec<Set>,
    ledger: LedgerLoop<SimulatedRing, SegmentMaker>,
    dealing: Dealing,
    reads: Reads,
    pub(crate) maker: SegmentMaker,
    set_commands: Vec<Producer<SetCommand>>,
    feeder_commands: Producer<FeederCommand>,
    ledger_cells: Arc<LedgerCells>,
    feeder_cells: Arc<FeederCells>,
    issued_at_start: Amount,
    started_us: u64,
}

/// How an orderly end left the books.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) ledger: LedgerSummary,
    pub(crate) feeder: FeederSummary,
}

/// Reads the journal, as a start does.
pub(crate) fn open(plan: &Plan, storage: &Storage, clock: Clock) -> Result<Ledger, LedgerError> {
    let options = LedgerOptions {
        segment_bytes: plan.segment_pages as u64 * 4096,
        write_path: plan.write_path,
        wins_expected: 0,
        batch_bounds: BatchBounds { block_bytes: plan.block_pages * 4096, logins: plan.logins_waiting },
        ..LedgerOptions::new(data_dir(), plan.caps)
    };
    let mut ledger =
        Ledger::open_on(Arc::new(storage.clone()), options, Boot { unix_us: clock.unix_us(), random: plan.seed })?;
    ledger.bind(CAMPAIGN, SERVER)?;
    Ok(ledger)
}

/// Where the data is.
pub(crate) fn data_dir() -> &'static Path {
    Path::new("data")
}

impl Machine {
    /// Starts everything. An error is the feeder's, which holds the journal against the seeds.
    pub(crate) fn start(
        plan: &Plan,
        ledger: Ledger,
        storage: &Storage,
        seeds: &Seeds,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let (feeder_commands, commands) = RingBuffer::new(COMMANDS_PER_THREAD);
        let (feeder_cells, ledger_cells) = (Arc::<FeederCells>::default(), Arc::<LedgerCells>::default());
        let ledger_doorbell = Arc::<Doorbell>::default();
        let mut ends: Vec<_> = (0..plan.sets).map(|_| Ends::new(plan, &ledger_doorbell)).collect();
        let issued = ledger.issued_before();
        let issued_at_start = Amount { envelopes: issued.envelopes.len() as u64, cents: issued.total().0 };
        let options = FeederOptions { scan: seeds.scan(), server: SERVER, issue_rate: plan.issue_rate };
        let to_feeder = ends.iter_mut().map(|ends| ends.feeder.take().expect("taken once")).collect();
        let feeder = Feeder::new(options, issued, to_feeder, Arc::clone(&feeder_cells), commands);
        let reads = Reads::default();
        let dealing = audit(feeder, &reads, seeds)?;

        let maker = SegmentMaker::new(storage, data_dir(), plan.segment_pages as u64 * 4096);
        let folder = SegmentFolder::on(Arc::new(storage.clone()), data_dir());
        let open = |number| Ok(storage.open(&folder.segment_path(number)).expect("a start has just listed it"));
        let to_ledger = ends.iter_mut().map(|ends| ends.ledger.take().expect("taken once")).collect();
        let disk = SimulatedRing::new(storage.clone());
        let ledger = ledger
            .into_loop(disk, maker.clone(), open, to_ledger, Arc::clone(&ledger_cells))
            .expect("opening a segment cannot fail here");
        let (sets, set_commands) = ends.into_iter().map(|ends| ends.into_set(plan)).unzip();
        Ok(Self {
            sets,
            ledger,
            dealing,
            reads,
            maker,
            set_commands,
            feeder_commands,
            ledger_cells,
            feeder_cells,
            issued_at_start,
            started_us: clock.elapsed_us,
        })
    }

    /// The network of a SET that has not ended.
    pub(crate) fn network(&mut self, set: usize) -> Option<&mut SimulatedNetwork> {
        self.sets[set].as_mut().map(Reactor::network)
    }

    /// One turn of a SET; true when it is the last.
    pub(crate) fn turn_set(&mut self, set: usize, clock: Clock) -> bool {
        let elapsed_us = clock.elapsed_us - self.started_us;
        let moment = Moment { elapsed_us, unix_us: clock.unix_us() };
        let turned =
            self.sets[set].as_mut().map(|reactor| reactor.turn(|| moment).expect("this network does not fail"));
        turned == Some(Turn::Ended)
    }

    /// The SET's thread ends.
    pub(crate) fn drop_set(&mut self, set: usize) {
        self.sets[set] = None;
    }

    /// One turn of the ledger. An error ends the process.
    pub(crate) fn turn_ledger(&mut self, clock: Clock) -> Result<(), CommitFailure> {
        let monotonic_us = clock.elapsed_us - self.started_us;
        self.ledger.turn(Now { unix_us: clock.unix_us(), monotonic_us })?;
        self.ledger.disk().enter(Wait::NOT).expect("this ring does not fail");
        Ok(())
    }

    /// One tick of the feeder; true when it is the last.
    pub(crate) fn turn_feeder(&mut self, clock: Clock) -> bool {
        self.dealing.turn(Duration::from_micros(clock.elapsed_us - self.started_us))
    }

    /// Reads of seed files go on.
    pub(crate) fn read_seeds(&self, seeds: &Seeds) {
        self.reads.step(seeds);
    }

    /// Tells the feeder something, where its queue takes it.
    pub(crate) fn tell_feeder(&mut self, command: FeederCommand) {
        // A full queue is control's business, which tries again.
        let _ = self.feeder_commands.push(command);
    }

    /// Tells everyone to stop.
    pub(crate) fn stop(&mut self) {
        for commands in &mut self.set_commands {
            commands.push(SetCommand::Stop).expect("it is told this once");
        }
        self.tell_feeder(FeederCommand::Stop);
    }

    /// How it ended, once it has.
    pub(crate) fn ended(&self) -> Option<Ended> {
        let ended = self.sets.iter().all(Option::is_none) && self.ledger.is_finished();
        ended.then(|| Ended { ledger: self.ledger.summary(), feeder: self.dealing.books().clone() })
    }

    /// Where all the money is.
    pub(crate) fn balance(&self) -> Balance {
        Balance::read(&self.ledger_cells, &self.feeder_cells, self.issued_at_start)
    }
}

/// Holds the journal against the seeds, which takes some reads.
fn audit(feeder: Feeder, reads: &Reads, seeds: &Seeds) -> Result<Dealing, Failure> {
    let mut audit = pin!(feeder.audit(reads));
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..AUDIT_POLLS_MAX {
        match audit.as_mut().poll(&mut context) {
            Poll::Ready(audited) => return audited.map_err(|(_, failure)| failure),
            Poll::Pending => reads.step(seeds),
        }
    }
    unreachable!("the audit ends when everything is read");
}

/// The ends of one SET's queues, each until its owner takes it.
struct Ends {
    set: SetEnds,
    commands: Producer<SetCommand>,
    feeder: Option<FeederSetEnds>,
    ledger: Option<LedgerSetEnds>,
}

impl Ends {
    fn new(plan: &Plan, ledger_doorbell: &Arc<Doorbell>) -> Self {
        let cells = Arc::<SetCells>::default();
        let doorbell = Arc::<Doorbell>::default();
        let (stock_in, stock) = RingBuffer::new(plan.stock);
        let (returns, returns_out) = RingBuffer::new(2 * plan.stock);
        let (requests, requests_out) = RingBuffer::new(plan.requests);
        let (verdicts_in, verdicts) = RingBuffer::new(ledger_verdicts_per_set(plan.requests));
        let (commands_in, commands) = RingBuffer::new(COMMANDS_PER_THREAD);
        let set = SetEnds {
            stock,
            returns,
            requests,
            verdicts,
            commands,
            doorbell: Arc::clone(&doorbell),
            ledger_doorbell: Arc::clone(ledger_doorbell),
            cells: Arc::clone(&cells),
        };
        Self {
            set,
            commands: commands_in,
            feeder: Some(FeederSetEnds { stock: stock_in, returns: returns_out, cells }),
            ledger: Some(LedgerSetEnds { requests: requests_out, verdicts: verdicts_in, doorbell }),
        }
    }

    fn into_set(self, plan: &Plan) -> (Set, Producer<SetCommand>) {
        let network = SimulatedNetwork::new(SimulatedOptions {
            buffers: plan.receive_buffers as u16,
            buffer_bytes: plan.receive_buffer_bytes,
            send_slots: plan.send_slots,
        });
        let rules = Rules {
            shake_interval_ms: plan.shake_interval_ms as u32,
            login_timeout_ms: 5_000,
            idle_timeout_ms: plan.idle_timeout_ms as u32,
            wins_per_user: plan.caps.per_user,
            wins_per_user_ever: plan.caps.per_user,
        };
        let pace = Pace::new(1_000, 64);
        let reactor = Reactor::new(network, rules, plan.places as u32, pace, DRAIN_TIMEOUT_MS, self.set);
        (Some(reactor), self.commands)
    }
}
