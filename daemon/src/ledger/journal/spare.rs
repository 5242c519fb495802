//! The next segment, made ahead on a thread of its own, so that the loop never waits for 64 MiB of zeros.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use hongbao_uring::WritePath;

use super::segment::{SegmentFolder, SegmentNumber};
use crate::ledger::compaction::Compactor;

/// Where segments come from: the file system, or a simulation.
pub trait SegmentSource {
    /// What the disk writes to.
    type File;

    /// Begins to make a segment. One at a time.
    fn begin(&mut self, number: SegmentNumber);

    /// How the segment that was begun turned out: its file and length, or why there is none. Told once; `None` before.
    fn poll(&mut self) -> Option<io::Result<(Self::File, u64)>>;
}

/// Makes segments in a folder, each on a thread that lives as long as that takes: once in 64 MiB of journal. With each one that is
/// begun, the one before the last is sealed, which the compactor is told.
#[derive(Debug)]
pub struct SpareMaker {
    folder: SegmentFolder,
    bytes: u64,
    write_path: WritePath,
    making: Option<io::Result<JoinHandle<io::Result<File>>>>,
    compactor: Compactor,
}

impl SpareMaker {
    /// Makes segments of this length, for this way of writing.
    pub(in crate::ledger) fn new(
        folder: SegmentFolder,
        bytes: u64,
        write_path: WritePath,
        compactor: Compactor,
    ) -> Self {
        Self { folder, bytes, write_path, making: None, compactor }
    }
}

impl SegmentSource for SpareMaker {
    type File = Arc<File>;

    fn begin(&mut self, number: SegmentNumber) {
        assert!(self.making.is_none(), "one segment is made at a time");
        if let Some(sealed) = number.0.checked_sub(2).filter(|sealed| *sealed > 0) {
            self.compactor.sealed(SegmentNumber(sealed));
        }
        let (folder, bytes, write_path) = (self.folder.clone(), self.bytes, self.write_path);
        self.making = Some(Builder::new().name("ledger-spare".into()).spawn(move || {
            folder.make(number, bytes)?;
            folder.open_for_ring(number, write_path)
        }));
    }

    fn poll(&mut self) -> Option<io::Result<(Self::File, u64)>> {
        let made = match self.making.take()? {
            Ok(thread) if !thread.is_finished() => {
                self.making = Some(Ok(thread));
                return None;
            }
            Ok(thread) => thread.join().expect("making a segment does not panic"),
            Err(error) => Err(error),
        };
        Some(made.map(|file| (Arc::new(file), self.bytes)))
    }
}

/// Waits for the segment in the making: after this, nothing touches the folder any more.
impl Drop for SpareMaker {
    fn drop(&mut self) {
        if let Some(Ok(thread)) = self.making.take() {
            drop(thread.join());
        }
    }
}
