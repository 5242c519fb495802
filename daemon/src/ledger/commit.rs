//! Group commit without a timer: while one batch is being flushed the next one forms, and leaves as soon as the disk is free. An
//! idle disk takes a lone win at once; a busy one makes the batches larger by itself.

use hongbao_protocol::{Cents, Envelope, GiftId, UserId};
use hongbao_uring::{Disk, DiskBuffer, Token, WriteFailure};
use thiserror::Error;

use super::accounts::Durable;
use super::gifts::Opened;
use super::journal::{BlockHeader, JournalWriter, Placed, Record, SegmentNumber, SegmentSource, WIN_BYTES, WinRecord};
use crate::cells::LedgerCells;
use crate::limits::{JOURNAL_BLOCK_BYTES_MAX, LEDGER_LOGINS_WAITING_MAX, LEDGER_SPARE_RETRY_US};
use crate::planted::{Bug, is_planted};

/// An answer that waits for the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// Index of the SET that asked.
    pub(super) set: u16,
    /// The connection that asked.
    pub(super) caller: Token,
    /// What for.
    pub(super) answer: Answer,
}

/// What to answer once the batch is durable.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// A claim that was granted.
    Won { sequence: u32, user: UserId, envelope: Envelope, wins: u32 },
    /// A login of a user whose newest win is in this batch or in the one being flushed.
    Login { user: UserId },
    /// A gift that was sent, now or by an earlier request that may be in this batch.
    GiftSent { request: u64, gift: GiftId, again: bool },
    /// A share that was opened, the same.
    GiftOpened { gift: GiftId, opened: Opened, again: bool },
}

/// Records, and the answers that wait for them.
#[derive(Debug)]
pub(super) struct Batch {
    /// Gone while the disk has it.
    buffer: Option<DiskBuffer>,
    payload_bytes: usize,
    pub(super) records: u32,
    wins: u32,
    pub(super) cents: Cents,
    pub(super) waiting: Vec<Waiting>,
    logins: usize,
    /// What is on the disk with this batch.
    pub(super) durable: Durable,
    placed: Option<Placed>,
    begun_us: u64,
}

/// How large a batch may grow. Simulations make it small, so that what happens to a full one happens often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchBounds {
    /// Bytes of the block, header and padding included; whole pages.
    pub block_bytes: usize,
    /// Logins that wait for it.
    pub logins: usize,
}

impl Default for BatchBounds {
    fn default() -> Self {
        Self { block_bytes: JOURNAL_BLOCK_BYTES_MAX, logins: LEDGER_LOGINS_WAITING_MAX }
    }
}

impl BatchBounds {
    const fn payload_bytes(self) -> usize {
        self.block_bytes - BlockHeader::BYTES
    }
}

impl Batch {
    fn new(bounds: BatchBounds) -> Self {
        Self {
            buffer: Some(DiskBuffer::new(bounds.block_bytes)),
            payload_bytes: 0,
            records: 0,
            wins: 0,
            cents: Cents::ZERO,
            waiting: Vec::with_capacity(bounds.payload_bytes() / WIN_BYTES + bounds.logins),
            logins: 0,
            durable: Durable::default(),
            placed: None,
            begun_us: 0,
        }
    }

    /// Makes it empty, for the next records.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        (self.payload_bytes, self.records, self.wins, self.logins) = (0, 0, 0, 0);
        (self.cents, self.placed) = (Cents::ZERO, None);
    }
}

/// Whether the forming batch takes one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It does.
    Yes,
    /// After the flush in progress.
    Later,
    /// Not before there is a new segment.
    Halted,
}

/// The segment that follows the one in use.
#[derive(Debug)]
enum Spare<F> {
    Ready(F, u64),
    Making,
    Failed { retry_at_us: u64 },
}

/// A durable write failed. It is not known what of it the disk holds; the process must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the ledger's commit of {records} records to segment {segment} at offset {offset}: {failure}")]
pub struct CommitFailure {
    /// Where it was to go.
    pub segment: SegmentNumber,
    /// Bytes from the segment's start.
    pub offset: u64,
    /// How many records nobody is told of.
    pub records: u32,
    /// Write or flush, and why.
    pub failure: WriteFailure,
}

/// The batches, the journal's end and its next segment.
#[derive(Debug)]
pub(super) struct GroupCommit<F, S> {
    writer: JournalWriter,
    file: F,
    source: S,
    spare: Spare<F>,
    bounds: BatchBounds,
    forming: Batch,
    flying: Batch,
}

impl<F: Clone, S: SegmentSource<File = F>> GroupCommit<F, S> {
    /// Goes on where `writer` stands, in `file`; with the next segment, where it exists already.
    pub(super) fn new(
        writer: JournalWriter,
        file: F,
        mut source: S,
        spare: Option<(F, u64)>,
        bounds: BatchBounds,
    ) -> Self {
        assert!(bounds.block_bytes <= JOURNAL_BLOCK_BYTES_MAX, "recovery looks no further for the end of a torn block");
        let spare = if let Some((file, bytes)) = spare {
            Spare::Ready(file, bytes)
        } else {
            source.begin(writer.point().segment.next());
            Spare::Making
        };
        Self { writer, file, source, spare, bounds, forming: Batch::new(bounds), flying: Batch::new(bounds) }
    }

    /// Whether one more win can be staged.
    pub(super) fn room_for_win(&self) -> Room {
        self.room_for(WIN_BYTES)
    }

    /// Whether one more record can be staged.
    pub(super) fn room_for(&self, record_bytes: usize) -> Room {
        let payload_bytes = self.forming.payload_bytes + record_bytes;
        if payload_bytes > self.bounds.payload_bytes() {
            Room::Later
        } else if self.writer.fits(payload_bytes) || matches!(self.spare, Spare::Ready(..)) {
            Room::Yes
        } else {
            Room::Halted
        }
    }

    /// Whether one more login can wait.
    pub(super) fn room_for_login(&self) -> bool {
        self.forming.logins < self.bounds.logins
    }

    /// Adds a win, for which there is room, and who waits for it.
    pub(super) fn stage_win(&mut self, win: WinRecord, waiting: Waiting) {
        self.stage(&Record::Win(win), Some(waiting));
        let batch = &mut self.forming;
        batch.wins += 1;
        batch.cents = batch.cents.checked_add(win.envelope.amount).expect("the accounts hold a larger sum");
    }

    /// Adds a record, for which there is room, and who waits for it, if anybody does.
    pub(super) fn stage(&mut self, record: &Record, waiting: Option<Waiting>) {
        let batch = &mut self.forming;
        let buffer = batch.buffer.as_mut().expect("the forming batch has its buffer");
        let place = &mut buffer.bytes_mut()[BlockHeader::BYTES + batch.payload_bytes..];
        batch.payload_bytes += record.encode(place);
        batch.records += 1;
        batch.waiting.extend(waiting);
    }

    /// Whether every record is on the disk.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_flying() && self.forming.records == 0
    }

    /// Adds somebody who waits for what was staged before, for whom there is room: a login, or a repeated question.
    pub(super) fn stage_login(&mut self, waiting: Waiting) {
        self.forming.waiting.push(waiting);
        self.forming.logins += 1;
    }

    /// Whether a flush is in progress.
    pub(super) fn is_flying(&self) -> bool {
        self.flying.placed.is_some()
    }

    /// Whether nothing waits and nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.is_settled() && self.forming.waiting.is_empty()
    }

    /// Sends the forming batch off where it has anything and the disk is free. A batch of logins alone needs no disk: it is
    /// returned, to be answered at once and then cleared.
    pub(super) fn launch(
        &mut self,
        disk: &mut impl Disk<File = F>,
        durable: Durable,
        now_us: u64,
        cells: &LedgerCells,
    ) -> Option<&mut Batch> {
        if self.is_flying() || self.is_idle() {
            return None;
        }
        std::mem::swap(&mut self.forming, &mut self.flying);
        self.flying.durable = durable;
        if self.flying.records == 0 {
            return Some(&mut self.flying);
        }
        if !self.writer.fits(self.flying.payload_bytes) {
            self.next_segment(cells);
        }
        let batch = &mut self.flying;
        let mut buffer = batch.buffer.take().expect("a batch that is not in flight has its buffer");
        let placed = self.writer.seal(buffer.bytes_mut(), batch.payload_bytes, batch.records);
        batch.placed = Some(placed);
        batch.begun_us = now_us;
        disk.write_durable(&self.file, placed.offset, buffer, placed.length);
        None
    }

    fn next_segment(&mut self, cells: &LedgerCells) {
        let Spare::Ready(file, bytes) = std::mem::replace(&mut self.spare, Spare::Making) else {
            unreachable!("nothing is staged without room for it");
        };
        self.file = file;
        self.writer.next_segment(bytes);
        self.source.begin(self.writer.point().segment.next());
        cells.journal_segments.add(1);
    }

    /// Takes the outcome of the flush in progress. The batch is durable: answer it, then clear it.
    pub(super) fn land(
        &mut self,
        buffer: DiskBuffer,
        outcome: Result<(), WriteFailure>,
        now_us: u64,
        cells: &LedgerCells,
    ) -> Result<&mut Batch, CommitFailure> {
        let batch = &mut self.flying;
        let placed = batch.placed.take().expect("a write ends that was begun");
        batch.buffer = Some(buffer);
        let outcome = if is_planted(Bug::FailureIgnored) { Ok(()) } else { outcome };
        outcome.map_err(|failure| CommitFailure {
            segment: placed.segment,
            offset: placed.offset,
            records: batch.records,
            failure,
        })?;
        cells.wins.add(u64::from(batch.wins));
        cells.issued.add(u64::from(batch.wins));
        cells.issued_cents.add(batch.cents.0);
        cells.commits.add(1);
        cells.journal_bytes.add(placed.length as u64);
        cells.commit_microseconds.record(now_us.saturating_sub(batch.begun_us));
        cells.commit_records.record(u64::from(batch.records));
        Ok(batch)
    }

    /// Looks after the next segment: takes it when it is made, and tries again some time after a failure.
    pub(super) fn tend_spare(&mut self, now_us: u64, cells: &LedgerCells) {
        if let Spare::Failed { retry_at_us } = self.spare
            && now_us >= retry_at_us
        {
            self.source.begin(self.writer.point().segment.next());
            self.spare = Spare::Making;
        }
        match self.source.poll() {
            None => {}
            Some(Ok((file, bytes))) => {
                self.spare = Spare::Ready(file, bytes);
            }
            Some(Err(error)) => {
                cells.spares_failed.add(1);
                tracing::warn!(%error, "the next journal segment could not be made: free some disk space; no envelope is issued once this one is full");
                self.spare = Spare::Failed { retry_at_us: now_us + LEDGER_SPARE_RETRY_US };
            }
        }
        cells.halted.set(u64::from(self.room_for_win() == Room::Halted));
    }
}
