//! Reading the journal's files in order: what every start and every `hongbaod ledger` command does.
//!
//! The newest whole snapshot, then the segments behind those it covers. Where the newest is damaged, the one before it and the segments
//! between say the same: that is what two generations are for.

use super::error::LedgerError;
use super::journal::{
    Binding, Block, ChainPoint, Record, RecordReader, SegmentError, SegmentFile, SegmentFolder, Sequence, Snapshot,
    SnapshotDamage, SnapshotError, SnapshotFile,
};
use super::recovery::{Contradiction, Tail, Walk};

/// The files of a journal.
#[derive(Clone, Debug)]
pub(super) struct JournalFiles {
    pub(super) folder: SegmentFolder,
    /// The oldest first.
    pub(super) snapshots: Vec<SnapshotFile>,
    /// In order and without a gap.
    pub(super) segments: Vec<SegmentFile>,
}

/// Where the journal ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JournalEnd {
    /// Where the next block goes.
    pub(super) point: ChainPoint,
    /// What lies behind the last block.
    pub(super) tail: Tail,
}

impl JournalFiles {
    pub(super) fn list(folder: &SegmentFolder) -> Result<Self, LedgerError> {
        let (snapshots, segments) = (folder.snapshots()?, folder.list()?);
        Ok(Self { folder: folder.clone(), snapshots, segments })
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> u64 {
        let segments = self.segments.iter().map(|segment| segment.bytes);
        segments.chain(self.snapshots.iter().map(|snapshot| snapshot.bytes)).sum()
    }

    /// The newest snapshot of which every bit is right; newer ones go to `damaged`. `None` where the segments hold everything.
    pub(super) fn base(&self, damaged: &mut Vec<SnapshotDamage>) -> Result<Option<Snapshot>, LedgerError> {
        for found in self.snapshots.iter().rev() {
            match self.open(found) {
                Ok(snapshot) => return Ok(Some(snapshot)),
                Err(SnapshotError::Damaged(damage)) => damaged.push(damage),
                Err(error) => return Err(self.snapshot_error(error)),
            }
        }
        let whole = self.segments.first().is_none_or(|first| first.number == ChainPoint::START.segment);
        match damaged.first() {
            Some(damage) if !whole => Err(self.snapshot_error(damage.clone().into())),
            _ => Ok(None),
        }
    }

    /// A snapshot, checked from end to end.
    pub(super) fn open(&self, found: &SnapshotFile) -> Result<Snapshot, SnapshotError> {
        let snapshot = Snapshot::open(self.folder.files(), found.clone())?;
        snapshot.check().map(|()| snapshot)
    }

    pub(super) fn snapshot_error(&self, error: SnapshotError) -> LedgerError {
        LedgerError::Snapshot { data_dir: self.folder.data_dir().to_owned(), error }
    }

    /// Whom the journal belongs to, by its first record alone; `None` where nothing whole is at its start.
    pub(super) fn binding(&self) -> Result<Option<Binding>, LedgerError> {
        let paths = self.snapshots.iter().map(|snapshot| (&snapshot.path, snapshot.bytes));
        let first = self.segments.first().map(|segment| (&segment.path, segment.bytes));
        for (path, bytes) in paths.rev().chain(first) {
            let start = self.folder.read_start(path, bytes)?;
            let record = Block::decode(&start).ok().and_then(|block| RecordReader::new(block.payload).next());
            if let Some(Ok(Record::Binding(binding))) = record {
                return Ok(Some(binding));
            }
        }
        Ok(None)
    }
}

/// Gives each record to `visit`: those of `base`, and those of the segments behind it. `done` gets the bytes read, part by part.
pub(super) fn read(
    files: &JournalFiles,
    base: Option<&Snapshot>,
    visit: &mut dyn FnMut(Sequence, &Record) -> Result<(), Contradiction>,
    done: &mut dyn FnMut(u64),
) -> Result<JournalEnd, LedgerError> {
    let start = match base {
        Some(snapshot) => {
            read_snapshot(files, snapshot, visit)?;
            done(snapshot.file().bytes);
            *snapshot.point()
        }
        None => ChainPoint::START,
    };
    let needed = files.segments.partition_point(|segment| segment.number < start.segment);
    let segments = &files.segments[needed..];
    if let Some(last) = files.segments.last()
        && segments.first().is_none_or(|first| first.number != start.segment)
    {
        let missing = files.folder.segment_path(start.segment);
        return Err(SegmentError::Missing { missing, beyond: last.path.clone() }.into());
    }
    let mut walk = Walk::new(start);
    let mut bytes = Vec::new();
    for segment in segments {
        files.folder.read(segment, &mut bytes)?;
        let walked = walk.segment(segment.number, &bytes, visit);
        walked.map_err(|damage| LedgerError::damaged(&files.folder, damage))?;
        done(segment.bytes);
    }
    Ok(JournalEnd { point: *walk.point(), tail: walk.tail().clone() })
}

fn read_snapshot(
    files: &JournalFiles,
    snapshot: &Snapshot,
    visit: &mut dyn FnMut(Sequence, &Record) -> Result<(), Contradiction>,
) -> Result<(), LedgerError> {
    enum Stop {
        Snapshot(SnapshotError),
        Contradiction(Sequence, Contradiction),
    }
    impl From<SnapshotError> for Stop {
        fn from(error: SnapshotError) -> Self {
            Self::Snapshot(error)
        }
    }
    let read = snapshot.read(&mut |sequence, record| {
        visit(sequence, record).map_err(|contradiction| Stop::Contradiction(sequence, contradiction))
    });
    read.map_err(|stop| match stop {
        Stop::Snapshot(error) => files.snapshot_error(error),
        Stop::Contradiction(sequence, contradiction) => LedgerError::SnapshotContradiction {
            file: snapshot.file().path.clone(),
            data_dir: files.folder.data_dir().to_owned(),
            sequence,
            contradiction,
        },
    })
}
