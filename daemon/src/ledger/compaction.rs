//! Compaction: making a snapshot of what is sealed, and removing what two snapshots cover.
//!
//! It works on files alone, beside the ledger's loop and without its memory: the snapshot before and the segments behind it are read,
//! checked and written again without padding. So a snapshot says what the journal says, whatever the running process believes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use thiserror::Error;

use super::error::LedgerError;
use super::journal::{Block, Record, SegmentFolder, SegmentNumber, Snapshot, SnapshotWriter};
use super::reading::{self, JournalFiles};
use super::recovery::Tail;
use crate::cells::LedgerCells;
use crate::limits::SNAPSHOT_SEGMENTS_MIN;

/// A snapshot that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The last segment that it covers.
    pub covers: SegmentNumber,
    /// Its length.
    pub bytes: u64,
    /// Segments that were removed.
    pub removed: usize,
}

/// No snapshot could be made. The journal is as it was.
#[derive(Debug, Error)]
pub enum CompactionError {
    /// What it should be made of cannot be read.
    #[error(transparent)]
    Read(#[from] LedgerError),
    /// It cannot be written.
    #[error("cannot write a snapshot: {0}")]
    Write(#[from] std::io::Error),
    /// The daemon stops.
    #[error("stopped")]
    Stopped,
}

/// Makes a snapshot up to the end of segment `last`, where that is worth it, and removes what is covered twice. All blocks in segments
/// up to `last` are on the disk, and none will be written there any more.
pub fn compact(
    folder: &SegmentFolder,
    last: SegmentNumber,
    stop: &AtomicBool,
) -> Result<Option<Compacted>, CompactionError> {
    let mut files = JournalFiles::list(folder)?;
    files.segments.retain(|segment| segment.number <= last);
    if !is_due(&files) {
        return Ok(None);
    }
    let mut damaged = Vec::new();
    let base = files.base(&mut damaged)?;
    for damage in &damaged {
        tracing::error!("{damage}: it is replaced, from the snapshot before it");
    }
    let bytes = write(&files, base.as_ref(), last, stop)?;
    let removed = base.map_or(Ok(0), |base| prune(&files, &base, last)).map_err(LedgerError::from)?;
    Ok(Some(Compacted { covers: last, bytes, removed }))
}

/// Each snapshot writes everything again: it waits until there is as much new as old, so that a byte is written a few times at most.
fn is_due(sealed: &JournalFiles) -> bool {
    let (newest, old) = sealed.snapshots.last().map_or((0, 0), |newest| (newest.covers.0, newest.bytes));
    let fresh: Vec<u64> =
        sealed.segments.iter().filter(|segment| segment.number.0 > newest).map(|segment| segment.bytes).collect();
    fresh.len() >= SNAPSHOT_SEGMENTS_MIN && fresh.iter().sum::<u64>() >= old
}

fn write(
    files: &JournalFiles,
    base: Option<&Snapshot>,
    last: SegmentNumber,
    stop: &AtomicBool,
) -> Result<u64, CompactionError> {
    let folder = &files.folder;
    let journal = if let Some(base) = base {
        base.point().journal
    } else {
        let first = &files.segments[0];
        let start = folder.read_start(&first.path, first.bytes).map_err(LedgerError::from)?;
        Block::decode(&start).ok().map(|block| block.header.journal)
    };
    // A sealed segment begins with a whole block; the walk names what is wrong where it does not.
    let journal = journal.unwrap_or_default();
    let mut writer = SnapshotWriter::create(folder.files(), &folder.snapshot_path(last), last, journal)?;
    let mut failure = None;
    let mut add = |_, record: &Record| {
        if failure.is_none() {
            failure = writer.add(record).err().map(CompactionError::from);
            if stop.load(Ordering::Relaxed) {
                failure = Some(CompactionError::Stopped);
            }
        }
        Ok(())
    };
    let end = reading::read(files, base, &mut add, &mut |_| {});
    let sealed = match (end, failure) {
        (_, Some(failure)) => Err(failure),
        (Err(error), None) => Err(error.into()),
        (Ok(end), None) => {
            assert_eq!(end.tail, Tail::Clean, "what is sealed ends with a whole block");
            writer.finish(&end.point).map_err(CompactionError::from)
        }
    };
    if sealed.is_err() {
        // Frees what it took of a disk that may be full. That it fails too would change nothing: the next start removes it.
        let _ = folder.remove(&folder.snapshot_path(last).with_extension("snapshot.new"));
    }
    sealed
}

/// Removes the segments that both snapshots cover, and older snapshots. Both were read from end to end just now. The lowest first, so
/// that what a crash leaves has no gap.
fn prune(files: &JournalFiles, base: &Snapshot, last: SegmentNumber) -> Result<usize, super::journal::SegmentError> {
    let covers = base.file().covers;
    let segments: Vec<_> = files.segments.iter().filter(|segment| segment.number <= covers).collect();
    for segment in &segments {
        files.folder.remove(&segment.path)?;
    }
    for snapshot in files.snapshots.iter().filter(|snapshot| ![covers, last].contains(&snapshot.covers)) {
        files.folder.remove(&snapshot.path)?;
    }
    files.folder.sync()?;
    Ok(segments.len())
}

/// Compacts on a thread of its own, one run at a time.
#[derive(Debug)]
pub(super) struct Compactor {
    folder: SegmentFolder,
    cells: Arc<LedgerCells>,
    stop: Arc<AtomicBool>,
    running: Option<JoinHandle<()>>,
}

impl Compactor {
    pub(super) fn new(folder: SegmentFolder, cells: Arc<LedgerCells>) -> Self {
        Self { folder, cells, stop: Arc::default(), running: None }
    }

    /// Segment `last` is sealed. What a run that is still going on leaves, the next one takes.
    pub(super) fn sealed(&mut self, last: SegmentNumber) {
        if self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        let (folder, cells, stop) = (self.folder.clone(), Arc::clone(&self.cells), Arc::clone(&self.stop));
        let spawned = Builder::new().name("ledger-compact".into()).spawn(move || match compact(&folder, last, &stop) {
            Ok(None) | Err(CompactionError::Stopped) => {}
            Ok(Some(Compacted { covers, bytes, removed })) => {
                cells.snapshots.add(1);
                tracing::info!(covers = covers.0, bytes, segments_removed = removed, "a snapshot of the journal was made");
            }
            Err(error) => {
                cells.snapshots_failed.add(1);
                tracing::error!("no snapshot of the journal could be made: {error}. Nothing is lost; the journal grows until it can be");
            }
        });
        self.running = spawned.inspect_err(|error| tracing::warn!(%error, "no thread for the compaction")).ok();
    }
}

/// Ends a run that is going on: after this, nothing touches the folder any more.
impl Drop for Compactor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(running) = self.running.take() {
            drop(running.join());
        }
    }
}
