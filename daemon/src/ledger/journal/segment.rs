//! Segment files: their names, and how one is made so that writing into it later touches nothing but its own blocks.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hongbao_uring::WritePath;
use thiserror::Error;

use super::snapshot::{SnapshotFile, snapshot_number};
use crate::ledger::files::{Files, Listed, RealFiles};
use crate::limits::{JOURNAL_BLOCK_BYTES_MAX, JOURNAL_PAGE_BYTES, JOURNAL_SEGMENT_BYTES_MAX};

/// Number of a segment, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentNumber(pub u32);

impl SegmentNumber {
    /// Of a new journal.
    pub const FIRST: Self = Self(1);

    /// The one after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a journal has fewer than 2^32 segments"))
    }

    fn file_name(self) -> String {
        format!("{self}.segment")
    }
}

impl fmt::Display for SegmentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08}", self.0)
    }
}

/// A segment that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// Its number.
    pub number: SegmentNumber,
    /// Its place.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
}

/// The journal's folder could not be used.
#[derive(Debug, Error)]
pub enum SegmentError {
    /// The operating system refused.
    #[error("cannot {doing} {}: {error}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A number is missing.
    #[error("{}: the segment is missing, though {} exists", missing.display(), beyond.display())]
    Missing {
        /// What should be there.
        missing: PathBuf,
        /// What is.
        beyond: PathBuf,
    },
    /// Not a length that a segment can have.
    #[error("{}: {bytes} bytes are not the length of a segment (a multiple of 4096, at most 1 GiB): it was cut or is no segment", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
}

impl SegmentError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { doing, path, error }
    }
}

/// The folder that holds the segments.
#[derive(Clone, Debug)]
pub struct SegmentFolder {
    path: PathBuf,
    files: Arc<dyn Files>,
}

/// Zeros are written and synced in steps of this size, so that the commits meanwhile wait for one step at most.
const ZERO_STEP_BYTES: usize = 1024 * 1024;
static ZEROS: [u8; ZERO_STEP_BYTES] = [0; ZERO_STEP_BYTES];

impl SegmentFolder {
    /// The journal's folder in this data folder.
    pub fn of(data_dir: &Path) -> Self {
        Self::on(Arc::new(RealFiles), data_dir)
    }

    /// The same, on these files.
    pub fn on(files: Arc<dyn Files>, data_dir: &Path) -> Self {
        Self { path: data_dir.join("journal"), files }
    }

    /// Its place.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The data folder that it lies in.
    pub fn data_dir(&self) -> &Path {
        self.path.parent().expect("the folder lies in the data folder")
    }

    /// Makes the folder where it is missing.
    pub fn create(&self) -> Result<(), SegmentError> {
        self.files.create_folder(&self.path).map_err(SegmentError::io("create", &self.path))
    }

    /// The place of a segment.
    pub fn segment_path(&self, number: SegmentNumber) -> PathBuf {
        self.path.join(number.file_name())
    }

    /// The segments, in order and without a gap. Files with other names are not looked at.
    pub fn list(&self) -> Result<Vec<SegmentFile>, SegmentError> {
        let mut segments = Vec::new();
        for Listed { path, bytes } in self.files.list(&self.path).map_err(SegmentError::io("list", &self.path))? {
            let Some(number) = segment_number(&path) else { continue };
            if bytes == 0 || !bytes.is_multiple_of(JOURNAL_PAGE_BYTES as u64) || bytes > JOURNAL_SEGMENT_BYTES_MAX {
                return Err(SegmentError::Length { path, bytes });
            }
            segments.push(SegmentFile { number, path, bytes });
        }
        segments.sort_by_key(|segment| segment.number);
        for pair in segments.windows(2) {
            if pair[1].number != pair[0].number.next() {
                let missing = self.segment_path(pair[0].number.next());
                return Err(SegmentError::Missing { missing, beyond: pair[1].path.clone() });
            }
        }
        Ok(segments)
    }

    /// Makes a segment: zeros, synced, under a passing name until it is whole. Takes its time; blocks the thread.
    /// A failure leaves no file behind.
    pub fn make(&self, number: SegmentNumber, bytes: u64) -> io::Result<()> {
        let passing = self.path.join(format!("{number}.new"));
        let made =
            self.zero_filled(&passing, bytes).and_then(|()| self.files.rename(&passing, &self.segment_path(number)));
        if made.is_err() {
            // Frees what the zeros took of a disk that may be full. That it fails too would change nothing.
            let _ = self.files.remove(&passing);
        }
        made.and_then(|()| self.files.sync_folder(&self.path))
    }

    fn zero_filled(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.files.create(path)?;
        for offset in (0..bytes).step_by(ZERO_STEP_BYTES) {
            let step = (bytes - offset).min(ZERO_STEP_BYTES as u64);
            self.files.write(path, offset, &ZEROS[..step as usize])?;
        }
        Ok(())
    }

    /// Makes the names of the segments durable. An earlier daemon may have been killed between making one and this, and what is written to
    /// a segment without a name is gone after a power cut.
    pub fn sync(&self) -> Result<(), SegmentError> {
        self.files.sync_folder(&self.path).map_err(SegmentError::io("sync", &self.path))
    }

    /// Removes what a crash left of segments in the making.
    pub fn remove_unfinished(&self) -> Result<(), SegmentError> {
        for Listed { path, .. } in self.files.list(&self.path).map_err(SegmentError::io("list", &self.path))? {
            if path.extension().is_some_and(|extension| extension == "new") {
                self.files.remove(&path).map_err(SegmentError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Opens a segment for the ring's durable writes.
    pub fn open_for_ring(&self, number: SegmentNumber, write_path: WritePath) -> io::Result<File> {
        OpenOptions::new().write(true).custom_flags(write_path.open_flags()).open(self.segment_path(number))
    }

    /// Writes and syncs, at a time when no ring runs.
    pub fn write_now(&self, number: SegmentNumber, offset: u64, bytes: &[u8]) -> Result<(), SegmentError> {
        let path = self.segment_path(number);
        self.files.write(&path, offset, bytes).map_err(SegmentError::io("write to", &path))
    }

    /// See [`Files::settle`].
    pub fn settle(&self, number: SegmentNumber) -> Result<(), SegmentError> {
        let path = self.segment_path(number);
        self.files.settle(&path).map_err(SegmentError::io("sync and drop the cached pages of", &path))
    }

    /// Reads as much of the start of a file of so many bytes as the longest block takes.
    pub fn read_start(&self, path: &Path, bytes: u64) -> Result<Vec<u8>, SegmentError> {
        let mut start = vec![0; bytes.min(JOURNAL_BLOCK_BYTES_MAX as u64) as usize];
        self.files.read_at(path, 0, &mut start).map_err(SegmentError::io("read", path))?;
        Ok(start)
    }

    /// The snapshots, the oldest first.
    pub fn snapshots(&self) -> Result<Vec<SnapshotFile>, SegmentError> {
        let listed = self.files.list(&self.path).map_err(SegmentError::io("list", &self.path))?;
        let named = |Listed { path, bytes }| Some(SnapshotFile { covers: snapshot_number(&path)?, path, bytes });
        let mut snapshots: Vec<_> = listed.into_iter().filter_map(named).collect();
        snapshots.sort_by_key(|snapshot| snapshot.covers);
        Ok(snapshots)
    }

    /// The place of the snapshot that covers the segments up to this one.
    pub fn snapshot_path(&self, covers: SegmentNumber) -> PathBuf {
        self.path.join(format!("{covers}.snapshot"))
    }

    /// What the files are on.
    pub fn files(&self) -> Arc<dyn Files> {
        Arc::clone(&self.files)
    }

    /// Removes a file of the folder; lasts from the next [`sync`](Self::sync) on.
    pub fn remove(&self, path: &Path) -> Result<(), SegmentError> {
        self.files.remove(path).map_err(SegmentError::io("remove", path))
    }

    /// Reads all of a segment into `bytes`, which takes its length.
    pub fn read(&self, segment: &SegmentFile, bytes: &mut Vec<u8>) -> Result<(), SegmentError> {
        self.files.read(&segment.path, bytes).map_err(SegmentError::io("read", &segment.path))?;
        if bytes.len() as u64 != segment.bytes {
            return Err(SegmentError::Length { path: segment.path.clone(), bytes: bytes.len() as u64 });
        }
        Ok(())
    }
}

fn segment_number(path: &Path) -> Option<SegmentNumber> {
    let digits = path.file_name()?.to_str()?.strip_suffix(".segment")?;
    let number = SegmentNumber(digits.parse().ok()?);
    (number.0 > 0 && number.to_string() == digits).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder() -> (tempfile::TempDir, SegmentFolder) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = SegmentFolder::of(dir.path());
        folder.create().expect("the folder is made");
        (dir, folder)
    }

    #[test]
    fn a_segment_is_whole_zeros_under_its_name_or_not_there() {
        let (_dir, folder) = folder();
        folder.make(SegmentNumber(1), 1 << 20).expect("made");
        let segments = folder.list().expect("listed");
        let mut bytes = Vec::new();
        folder.read(&segments[0], &mut bytes).expect("read");
        assert_eq!((segments.len(), bytes.len()), (1, 1 << 20));
        assert!(bytes.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn what_a_crash_left_of_a_segment_in_the_making_is_removed() {
        let (_dir, folder) = folder();
        fs::write(folder.path().join("00000001.new"), b"half").expect("written");
        folder.remove_unfinished().expect("removed");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 0);
    }

    #[test]
    fn a_missing_segment_is_named() {
        let (_dir, folder) = folder();
        for number in [1, 3] {
            folder.make(SegmentNumber(number), 4096).expect("made");
        }
        let error = folder.list().expect_err("a gap").to_string();
        assert!(error.contains("00000002.segment"), "{error}");
    }

    #[test]
    fn a_cut_segment_is_named() {
        let (_dir, folder) = folder();
        fs::write(folder.segment_path(SegmentNumber(1)), [0; 5000]).expect("written");
        let error = folder.list().expect_err("an odd length").to_string();
        assert!(error.contains("00000001.segment") && error.contains("5000"), "{error}");
    }
}
