//! What a start need not look at and `ledger verify` does: every snapshot, and whether they say what the segments say.

use super::error::LedgerError;
use super::journal::{ChainPoint, Record, Snapshot};
use super::reading::{self, JournalFiles};
use crate::limits::JOURNAL_PAGE_BYTES;

/// Checks every bit of every snapshot, and holds each against the one before it and the segments between, where those are still there.
pub(super) fn verify_snapshots(files: &JournalFiles) -> Result<(), LedgerError> {
    let mut before: Option<Snapshot> = None;
    for found in &files.snapshots {
        let snapshot = files.open(found).map_err(|error| files.snapshot_error(error))?;
        let from = before.as_ref().map_or(ChainPoint::START.segment, |before| before.point().segment);
        if files.segments.iter().any(|segment| segment.number == from) {
            let mut between = files.clone();
            between.segments.retain(|segment| segment.number <= found.covers);
            let (by_segments, end) = digest(&between, before.as_ref())?;
            let (by_snapshot, _) = digest(&JournalFiles { segments: Vec::new(), ..files.clone() }, Some(&snapshot))?;
            let point = ChainPoint { segment: end.segment, offset: end.offset, ..*snapshot.point() };
            if (by_segments, end) != (by_snapshot, point) {
                let (file, data_dir) = (found.path.clone(), files.folder.data_dir().to_owned());
                return Err(LedgerError::SnapshotDiffers { file, data_dir });
            }
        }
        before = Some(snapshot);
    }
    Ok(())
}

/// A hash over all records, and where they end.
fn digest(files: &JournalFiles, base: Option<&Snapshot>) -> Result<(blake3::Hash, ChainPoint), LedgerError> {
    let mut hash = blake3::Hasher::new();
    let mut place = [0; JOURNAL_PAGE_BYTES];
    let mut add = |_, record: &Record| {
        let length = record.encode(&mut place);
        hash.update(&place[..length]);
        Ok(())
    };
    let end = reading::read(files, base, &mut add, &mut |_| {})?;
    Ok((hash.finalize(), end.point))
}
