//! Opening a ledger, binding it, and running it on the real disk.

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hongbao_protocol::{CampaignId, Envelope, ServerId};
use hongbao_uring::{Disk, DiskRing, Doorbell, Errno, Wait, WritePath};
use rtrb::Consumer;

use super::accounts::{Accounts, Caps};
use super::commit::{BatchBounds, CommitFailure};
use super::compaction::Compactor;
use super::error::LedgerError;
use super::files::{Files, RealFiles};
use super::gifts::GiftOptions;
use super::journal::{
    Binding, BlockHeader, ChainPoint, JournalId, JournalWriter, Record, SegmentError, SegmentFile, SegmentFolder,
    SegmentNumber, SegmentSource, SpareMaker, WIN_BYTES,
};
use super::lock::DataLock;
use super::reading::JournalFiles;
use super::receipt::{ReceiptKey, Receipts};
use super::recovery::Tail;
use super::replay::{Replayed, replay};
use super::turn::{LedgerLoop, LedgerSummary, Now};
use crate::cells::LedgerCells;
use crate::exit::Exit;
use crate::issued::IssuedBefore;
use crate::limits::{
    JOURNAL_BLOCK_BYTES_MAX, JOURNAL_PAGE_BYTES, JOURNAL_SEGMENT_BYTES, JOURNAL_SEGMENT_BYTES_MAX,
    JOURNAL_SEGMENT_BYTES_MIN, LEDGER_WINS_EXPECTED,
};
use crate::messages::{LedgerCommand, LedgerSetEnds};
use crate::planted::{Bug, is_planted};

/// How to open a ledger.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    /// The data folder; made where it is missing.
    pub data_dir: PathBuf,
    /// In force from now on. Wins of earlier runs stay, whatever the caps were.
    pub caps: Caps,
    /// Length of new segments, in bytes: a multiple of 4096 between the bounds in `limits`.
    pub segment_bytes: u64,
    /// How blocks are written.
    pub write_path: WritePath,
    /// Wins to reserve room for, beyond those there are.
    pub wins_expected: usize,
    /// How much one commit takes.
    pub batch_bounds: BatchBounds,
    /// What holds for gifts.
    pub gifts: GiftOptions,
}

impl LedgerOptions {
    /// The usual choices, for this folder and these caps.
    pub fn new(data_dir: impl Into<PathBuf>, caps: Caps) -> Self {
        Self {
            data_dir: data_dir.into(),
            caps,
            segment_bytes: JOURNAL_SEGMENT_BYTES,
            write_path: WritePath::Direct,
            wins_expected: LEDGER_WINS_EXPECTED,
            batch_bounds: BatchBounds::default(),
            gifts: GiftOptions::default(),
        }
    }
}

/// What a start takes from the world besides files.
#[derive(Clone, Copy, Debug)]
pub struct Boot {
    /// Microseconds since 1970, never 0.
    pub unix_us: u64,
    /// For the id of a journal that is begun.
    pub random: u64,
}

impl Boot {
    /// Of this moment.
    pub fn now() -> Self {
        Self { unix_us: unix_us(), random: RandomState::new().hash_one(process::id()) }
    }

    /// What the shares of gifts are drawn by in a journal that is begun: nobody outside can tell it.
    fn gift_key(&self, campaign: CampaignId) -> [u8; 16] {
        let mut parts = [0; 24];
        for (place, part) in parts.chunks_exact_mut(8).zip([self.random, self.unix_us, campaign.0]) {
            place.copy_from_slice(&part.to_le_bytes());
        }
        let key = blake3::derive_key("hongbao 2026 gift key", &parts);
        std::array::from_fn(|byte| key[byte])
    }
}

/// An opened ledger: locked, read, its torn tail cut. It writes nothing more before [`bind`](Self::bind) and [`run`](Self::run).
#[derive(Debug)]
pub struct Ledger {
    options: LedgerOptions,
    folder: SegmentFolder,
    accounts: Accounts,
    binding: Option<Binding>,
    point: ChainPoint,
    segments: Vec<SegmentFile>,
    /// Of this run; above that of every block there is.
    epoch: u64,
    boot: Boot,
    key: ReceiptKey,
    wins_over_cap: u64,
    /// `None` in simulations.
    lock: Option<DataLock>,
}

impl Ledger {
    /// Locks the data folder and reads the journal. Damage is refused and changes nothing; a torn tail is cut and logged.
    pub fn open(options: LedgerOptions) -> Result<Self, LedgerError> {
        check(&options)?;
        let lock = DataLock::acquire(&options.data_dir)?;
        let opened = Self::open_on(Arc::new(RealFiles), options, Boot::now())?;
        let key = ReceiptKey::read_or_make(&opened.options.data_dir, opened.accounts.issued() > 0)?;
        Ok(Self { key, lock: Some(lock), ..opened })
    }

    /// The same on these files, which nobody else uses, and with segments of any whole number of pages: for simulations.
    pub fn open_on(files: Arc<dyn Files>, options: LedgerOptions, boot: Boot) -> Result<Self, LedgerError> {
        let folder = SegmentFolder::on(files, &options.data_dir);
        folder.create()?;
        folder.remove_unfinished()?;
        let mut files = JournalFiles::list(&folder)?;
        if files.segments.is_empty() && files.snapshots.is_empty() {
            folder.make(SegmentNumber::FIRST, options.segment_bytes).map_err(|error| SegmentError::Io {
                doing: "make",
                path: folder.segment_path(SegmentNumber::FIRST),
                error,
            })?;
            files = JournalFiles::list(&folder)?;
        }
        if !is_planted(Bug::NamesNotSynced) {
            folder.sync()?;
        }
        // Only the last segment with blocks can hold a write that was never flushed; the one behind it is at most the spare.
        for segment in files.segments.iter().rev().take(2) {
            folder.settle(segment.number)?;
        }
        let begun = Instant::now();
        let written = files.bytes() as usize / WIN_BYTES;
        let mut accounts = Accounts::new(options.caps, options.wins_expected + written.min(options.wins_expected));
        let replayed = replay(files, &mut accounts, &mut |_, _| {})?;
        accounts.reserve(options.wins_expected);
        tracing::info!(
            wins = accounts.issued(),
            users = accounts.users(),
            cents = accounts.cents().0,
            blocks = replayed.point.block - 1,
            segments = replayed.files.segments.len(),
            snapshot_bytes = replayed.snapshot_bytes,
            milliseconds = begun.elapsed().as_millis() as u64,
            "journal read"
        );
        for damage in &replayed.damaged {
            tracing::error!(
                "{damage}: the snapshot is damaged. The one before it and the segments say the same and are used; look for failing memory \
                 or disks, and take a backup"
            );
        }
        cut_tail(&folder, &replayed)?;
        if replayed.wins_over_cap > 0 {
            tracing::warn!(
                wins = replayed.wins_over_cap,
                "the journal holds wins beyond the caps now in force; they stay"
            );
        }
        let epoch = boot.unix_us.max(replayed.point.epoch + 1);
        let Replayed { binding, point, files: JournalFiles { segments, .. }, wins_over_cap, .. } = replayed;
        let key = ReceiptKey::of_simulation(boot.random);
        Ok(Self { options, folder, accounts, binding, point, segments, epoch, boot, key, wins_over_cap, lock: None })
    }

    /// What was issued in earlier runs.
    pub fn issued_before(&self) -> IssuedBefore {
        let mut envelopes: Vec<Envelope> = self.accounts.envelopes().collect();
        envelopes.sort_unstable_by_key(|envelope| envelope.id);
        let campaign = self.binding.map(|binding| binding.campaign);
        IssuedBefore { campaign, set: self.accounts.issued_set().clone(), envelopes }
    }

    /// Who has won what.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Whom the journal belongs to, if it was bound.
    pub fn binding(&self) -> Option<Binding> {
        self.binding
    }

    /// Makes the journal that of this campaign and server, durably; or checks that it is.
    pub fn bind(&mut self, campaign: CampaignId, server: ServerId) -> Result<(), LedgerError> {
        if let Some(found) = self.binding {
            if (found.campaign, found.server) == (campaign, server) {
                return Ok(());
            }
            let data_dir = self.options.data_dir.clone();
            let (found_campaign, found_server) = (found.campaign, found.server);
            return Err(LedgerError::BoundElsewhere { data_dir, found_campaign, found_server, campaign, server });
        }
        let gift_key = self.boot.gift_key(campaign);
        let binding = Binding { campaign, server, gift_key, time_us: self.boot.unix_us };
        self.accounts.gifts_mut().bind(server, gift_key);
        let journal = JournalId::new(campaign, binding.time_us, self.boot.random);
        let mut writer = JournalWriter::new(self.point, journal, self.epoch, self.segment_bytes());
        let mut block = [0; JOURNAL_PAGE_BYTES];
        let payload_bytes = Record::Binding(binding).encode(&mut block[BlockHeader::BYTES..]);
        let placed = writer.seal(&mut block, payload_bytes, 1);
        self.folder.write_now(placed.segment, placed.offset, &block[..placed.length])?;
        self.point = *writer.point();
        self.binding = Some(binding);
        Ok(())
    }

    /// Runs until every SET has ended and all is flushed and answered. Makes its ring on the calling thread and lets `doorbell` wake it.
    ///
    /// # Panics
    ///
    /// Where the journal was not bound. Where a commit fails the process ends with exit code 74: nobody was told of its wins, and
    /// only a new start can find out what the disk holds.
    pub fn run(
        mut self,
        sets: Vec<LedgerSetEnds>,
        mut commands: Consumer<LedgerCommand>,
        doorbell: &Doorbell,
        cells: Arc<LedgerCells>,
    ) -> Result<LedgerSummary, LedgerError> {
        let _held_until_the_end = self.lock.take();
        cells.wins_over_cap.set(self.wins_over_cap);
        let write_path = self.supported_path()?;
        let disk = DiskRing::open(write_path, doorbell)?;
        let maker = {
            let compactor = Compactor::new(self.folder.clone(), Arc::clone(&cells));
            SpareMaker::new(self.folder.clone(), self.options.segment_bytes, write_path, compactor)
        };
        let folder = self.folder.clone();
        let open = |number| match folder.open_for_ring(number, write_path) {
            Ok(file) => Ok(Arc::new(file)),
            Err(error) => Err(cannot_open(&folder, number, error)),
        };
        let mut ledger = self.into_loop(disk, maker, open, sets, cells)?;
        let started = Instant::now();
        loop {
            while let Ok(command) = commands.pop() {
                ledger.obey(command);
            }
            let now = Now { unix_us: unix_us(), monotonic_us: started.elapsed().as_micros() as u64 };
            ledger.turn(now).unwrap_or_else(|failure| abort(&failure));
            if ledger.is_finished() {
                return Ok(ledger.summary());
            }
            doorbell.going_to_sleep();
            let wait = if commands.is_empty() { ledger.wait() } else { Wait::NOT };
            ledger.disk().enter(wait).map_err(LedgerError::Ring)?;
            doorbell.woke_up();
        }
    }

    /// The path asked for, or the one that works on every file system where this one has no direct writes.
    fn supported_path(&self) -> Result<WritePath, LedgerError> {
        match self.folder.open_for_ring(self.point.segment, self.options.write_path) {
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
                tracing::warn!(
                    "the file system of the data folder has no direct writes: using the page cache and fdatasync"
                );
                Ok(WritePath::Linked)
            }
            Err(error) => Err(cannot_open(&self.folder, self.point.segment, error)),
            Ok(_) => Ok(self.options.write_path),
        }
    }

    /// The loop that goes on where the journal ends, on this disk: `open` gives what the disk writes to, `source` makes more of it.
    ///
    /// # Panics
    ///
    /// Where the journal was not bound.
    pub fn into_loop<D: Disk, S: SegmentSource<File = D::File>>(
        self,
        disk: D,
        source: S,
        open: impl Fn(SegmentNumber) -> Result<D::File, LedgerError>,
        sets: Vec<LedgerSetEnds>,
        cells: Arc<LedgerCells>,
    ) -> Result<LedgerLoop<D, S>, LedgerError> {
        let journal = self.point.journal.expect("the ledger is bound before it runs");
        let binding = self.binding.expect("the ledger is bound before it runs");
        let receipts = Receipts::new(self.key.clone(), binding.campaign);
        let file = open(self.point.segment)?;
        let spare = self.segments.iter().find(|segment| segment.number == self.point.segment.next());
        let spare = spare.map(|segment| open(segment.number).map(|file| (file, segment.bytes))).transpose()?;
        let writer = JournalWriter::new(self.point, journal, self.epoch, self.segment_bytes());
        let bounds = (self.options.batch_bounds, self.options.gifts);
        Ok(LedgerLoop::new(disk, self.accounts, (writer, file), (source, spare), bounds, sets, (cells, receipts)))
    }

    /// Length of the segment in use.
    fn segment_bytes(&self) -> u64 {
        let current = self.segments.iter().find(|segment| segment.number == self.point.segment);
        current.expect("the chain ends in a segment that exists").bytes
    }
}

fn cannot_open(folder: &SegmentFolder, number: SegmentNumber, error: std::io::Error) -> LedgerError {
    SegmentError::Io { doing: "open", path: folder.segment_path(number), error }.into()
}

fn check(options: &LedgerOptions) -> Result<(), LedgerError> {
    let bytes = options.segment_bytes;
    let allowed = JOURNAL_SEGMENT_BYTES_MIN..=JOURNAL_SEGMENT_BYTES_MAX;
    if allowed.contains(&bytes) && bytes.is_multiple_of(JOURNAL_PAGE_BYTES as u64) {
        return Ok(());
    }
    Err(LedgerError::Option(format!(
        "a segment is a multiple of 4096 bytes between 256 KiB and 1 GiB, not {bytes} bytes"
    )))
}

/// Zeros what a write that did not finish left, so that it can never be taken for anything again.
fn cut_tail(folder: &SegmentFolder, replayed: &Replayed) -> Result<(), LedgerError> {
    let Tail::Torn(range) = &replayed.tail else { return Ok(()) };
    if is_planted(Bug::TornTailKept) {
        return Ok(());
    }
    let segment = replayed.point.segment;
    tracing::warn!(
        file = %folder.segment_path(segment).display(), from = range.start, to = range.end,
        "a write that did not finish was cut off the journal's end; nobody was told of what it held"
    );
    let length = ((range.end - range.start) as usize).next_multiple_of(JOURNAL_PAGE_BYTES);
    assert!(length <= JOURNAL_BLOCK_BYTES_MAX, "a torn tail is no longer than a block");
    Ok(folder.write_now(segment, range.start, &vec![0; length])?)
}

/// Microseconds since 1970; a clock before that reads as 1.
fn unix_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_micros().max(1) as u64)
}

/// The end after a failed write or flush. Never tried again: the kernel may have dropped the pages and would report success. No
/// thread is joined and nothing is tidied up, as nothing may be answered from here on.
fn abort(failure: &CommitFailure) -> ! {
    eprintln!(
        "hongbaod: {failure}. Nobody was told of these wins. Look at the disk (`dmesg`), then start again: the journal is checked then."
    );
    process::exit(Exit::Io as i32)
}
