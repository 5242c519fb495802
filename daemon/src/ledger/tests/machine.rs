//! A whole ledger on a simulated disk: booted, asked, crashed and booted again, on one thread.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use hongbao_protocol::{CampaignId, Cents, Envelope, EnvelopeId, ServerId, ShardId, SponsorId, UserId};
use hongbao_uring::{Disk, SimulatedDisk, SimulatedFile, SimulatedStorage, Token, Wait};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::cells::LedgerCells;
use crate::ledger::accounts::{Accounts, Caps};
use crate::ledger::journal::{Binding, BlockHeader, JournalId, JournalWriter, Record, SegmentNumber, SegmentSource};
use crate::ledger::recovery::{Damage, Tail};
use crate::ledger::replay::{Replay, Replayed};
use crate::ledger::{CommitFailure, LedgerLoop, Now};
use crate::limits::JOURNAL_PAGE_BYTES;
use crate::messages::{LedgerSetEnds, Request, Verdict};

pub(super) const CAPS: Caps = Caps { per_user: 3, per_sponsor: 1 };
pub(super) const SEGMENT_BYTES: usize = 512 * 1024;

pub(super) fn envelope(index: u32, sponsor: u32) -> Envelope {
    let id = EnvelopeId::new(ServerId(1), ShardId(0), index);
    Envelope { id, sponsor: SponsorId(sponsor), amount: Cents(100 + u64::from(index)) }
}

pub(super) fn claim(user: u64, envelope: Envelope) -> Request {
    Request::Claim { caller: Token::default(), sequence: envelope.id.index(), user: UserId(user), envelope }
}

pub(super) fn login(user: u64) -> Request {
    Request::Login { caller: Token::default(), user: UserId(user) }
}

/// Segments on the simulated disk, made at once.
pub(super) struct SimulatedSegments {
    storage: SimulatedStorage,
    files: Rc<RefCell<Vec<SimulatedFile>>>,
    made: Option<io::Result<(SimulatedFile, u64)>>,
}

impl SegmentSource for SimulatedSegments {
    type File = SimulatedFile;

    fn begin(&mut self, number: SegmentNumber) {
        assert_eq!(number.0 as usize, self.files.borrow().len() + 1, "segments are made in order");
        let made = self.storage.create(SEGMENT_BYTES);
        if let Ok(file) = &made {
            self.files.borrow_mut().push(*file);
        }
        self.made = Some(made.map(|file| (file, SEGMENT_BYTES as u64)));
    }

    fn poll(&mut self) -> Option<io::Result<(SimulatedFile, u64)>> {
        self.made.take()
    }
}

/// What outlives a crash.
pub(super) struct Machine {
    pub(super) storage: SimulatedStorage,
    files: Rc<RefCell<Vec<SimulatedFile>>>,
    pub(super) caps: Caps,
    epoch: u64,
}

impl Machine {
    pub(super) fn new(caps: Caps) -> Self {
        Self { storage: SimulatedStorage::default(), files: Rc::default(), caps, epoch: 0 }
    }

    /// Segments that exist, the spare included.
    pub(super) fn segments(&self) -> Vec<Vec<u8>> {
        self.files.borrow().iter().map(|file| self.storage.content(*file)).collect()
    }

    pub(super) fn change(&self, segment: usize, change: impl FnOnce(&mut [u8])) {
        self.storage.change(self.files.borrow()[segment], change);
    }

    /// What a start reads.
    pub(super) fn recover(&self) -> Result<(Replayed, Accounts), Damage> {
        recover(self.caps, &self.segments())
    }

    /// Boots a ledger for this many SETs whose verdict queues are this long.
    pub(super) fn boot(&mut self, sets: usize, verdicts: usize) -> Result<Running, Damage> {
        if self.files.borrow().is_empty() {
            let first = self.storage.create(SEGMENT_BYTES).expect("room for the first segment");
            self.files.borrow_mut().push(first);
        }
        let (replayed, accounts) = self.recover()?;
        self.epoch = replayed.point.epoch.max(self.epoch) + 1;
        let index = replayed.point.segment.0 as usize - 1;
        if let Tail::Torn(range) = &replayed.tail {
            self.change(index, |bytes| bytes[range.start as usize..range.end as usize].fill(0));
        }
        let journal = replayed.point.journal.unwrap_or(JournalId(7));
        let mut writer = JournalWriter::new(replayed.point, journal, self.epoch, SEGMENT_BYTES as u64);
        if replayed.binding.is_none() {
            self.bind(&mut writer);
        }
        let files = self.files.borrow().clone();
        let spare = files.get(index + 1).map(|file| (*file, SEGMENT_BYTES as u64));
        let source = SimulatedSegments { storage: self.storage.clone(), files: Rc::clone(&self.files), made: None };
        let cells: Arc<LedgerCells> = Arc::default();
        let (clients, ends): (Vec<_>, Vec<_>) = (0..sets).map(|_| Client::new(verdicts)).unzip();
        let disk = SimulatedDisk::new(self.storage.clone());
        let ledger = LedgerLoop::new(disk, accounts, (writer, files[index]), (source, spare), ends, Arc::clone(&cells));
        Ok(Running { ledger, clients, cells, time_us: 1 })
    }

    fn bind(&self, writer: &mut JournalWriter) {
        let binding = Binding { campaign: CampaignId(7), server: ServerId(1), time_us: 1 };
        let mut block = [0; JOURNAL_PAGE_BYTES];
        let payload_bytes = Record::Binding(binding).encode(&mut block[BlockHeader::BYTES..]);
        let placed = writer.seal(&mut block, payload_bytes, 1);
        self.change(0, |bytes| bytes[..placed.length].copy_from_slice(&block[..placed.length]));
    }
}

/// What a start reads from these segments.
pub(super) fn recover(caps: Caps, segments: &[impl AsRef<[u8]>]) -> Result<(Replayed, Accounts), Damage> {
    let mut accounts = Accounts::new(caps, 0);
    let mut replay = Replay::new(SegmentNumber::FIRST, &mut accounts);
    for (index, bytes) in segments.iter().enumerate() {
        replay.segment(SegmentNumber(index as u32 + 1), bytes.as_ref(), &mut |_, _| {})?;
    }
    let replayed = replay.finish();
    Ok((replayed, accounts))
}

/// A SET's ends.
pub(super) struct Client {
    pub(super) requests: Producer<Request>,
    pub(super) verdicts: Consumer<Verdict>,
}

impl Client {
    fn new(verdicts: usize) -> (Self, LedgerSetEnds) {
        let (requests, ledger_requests) = RingBuffer::new(8192);
        let (ledger_verdicts, verdicts) = RingBuffer::new(verdicts);
        let ends = LedgerSetEnds { requests: ledger_requests, verdicts: ledger_verdicts, doorbell: Arc::default() };
        (Self { requests, verdicts }, ends)
    }

    pub(super) fn answers(&mut self) -> Vec<Verdict> {
        std::iter::from_fn(|| self.verdicts.pop().ok()).collect()
    }
}

/// What a crash ends.
pub(super) struct Running {
    pub(super) ledger: LedgerLoop<SimulatedDisk, SimulatedSegments>,
    pub(super) clients: Vec<Client>,
    pub(super) cells: Arc<LedgerCells>,
    pub(super) time_us: u64,
}

impl Running {
    pub(super) fn ask(&mut self, set: usize, requests: impl IntoIterator<Item = Request>) {
        for request in requests {
            self.clients[set].requests.push(request).expect("the queue is long enough");
        }
    }

    /// One turn of the loop and its enter, at a later time.
    pub(super) fn turn(&mut self) -> Result<(), CommitFailure> {
        self.time_us += 100;
        self.ledger.turn(Now { unix_us: self.time_us, monotonic_us: self.time_us })?;
        self.ledger.disk().enter(Wait { want: 0, min_wait_us: 0, timeout_us: 0 }).expect("the simulation has no ring");
        Ok(())
    }

    /// Asks, and turns until all is answered.
    pub(super) fn settle(&mut self, set: usize, requests: impl IntoIterator<Item = Request>) -> Vec<Verdict> {
        self.ask(set, requests);
        let mut answers = Vec::new();
        for _ in 0..6 {
            self.turn().expect("the disk works");
            answers.extend(self.clients[set].answers());
        }
        answers
    }
}
