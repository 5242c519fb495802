//! A disk for tests: it holds a write until told, loses or tears it in a crash, fails once, and runs out of room.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use nix::errno::Errno;

use crate::disk::{Disk, DiskBuffer, DiskEvent, DiskStage, WriteFailure, assert_write_fits};
use crate::{Doorbell, Wait};

/// What a disk writes all or nothing of.
pub const SECTOR_BYTES: usize = 512;

/// A file of a [`SimulatedStorage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimulatedFile(usize);

#[derive(Debug, Default)]
struct Platter {
    files: Vec<Vec<u8>>,
    /// Bytes that the files may take in all; 0: no bound.
    bytes_max: usize,
    flight: Option<Flight>,
    held: bool,
    failure: Option<WriteFailure>,
    writes: u64,
}

#[derive(Debug)]
struct Flight {
    file: SimulatedFile,
    offset: usize,
    buffer: DiskBuffer,
    length: usize,
}

/// What outlives a crash, shared by the [`SimulatedDisk`] of the one that writes and by the test that looks on.
#[derive(Clone, Debug, Default)]
pub struct SimulatedStorage(Arc<Mutex<Platter>>);

impl SimulatedStorage {
    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().expect("no test panics while it holds the platter")
    }

    /// Makes a file of zeros, durable at once. ENOSPC where there is no room.
    pub fn create(&self, bytes: usize) -> io::Result<SimulatedFile> {
        let mut platter = self.platter();
        let used: usize = platter.files.iter().map(Vec::len).sum();
        if platter.bytes_max != 0 && used + bytes > platter.bytes_max {
            return Err(Errno::ENOSPC.into());
        }
        platter.files.push(vec![0; bytes]);
        Ok(SimulatedFile(platter.files.len() - 1))
    }

    /// Makes a file with this content, durable at once, whatever room there is.
    pub fn create_from(&self, content: Vec<u8>) -> SimulatedFile {
        let mut platter = self.platter();
        platter.files.push(content);
        SimulatedFile(platter.files.len() - 1)
    }

    /// Bytes that all files may take together; 0: no bound.
    pub fn limit(&self, bytes_max: usize) {
        self.platter().bytes_max = bytes_max;
    }

    /// While held, writes stay in flight.
    pub fn hold(&self, held: bool) {
        self.platter().held = held;
    }

    /// The next write ends so; nothing of it is on the disk.
    pub fn fail_next(&self, stage: DiskStage, errno: Errno) {
        self.platter().failure = Some(WriteFailure { stage, errno: Some(errno) });
    }

    /// Durable writes that ended well.
    pub fn writes(&self) -> u64 {
        self.platter().writes
    }

    /// Sectors of the write in flight; 0 without one.
    pub fn sectors_in_flight(&self) -> usize {
        self.platter().flight.as_ref().map_or(0, |flight| flight.length / SECTOR_BYTES)
    }

    /// What of the file is on the disk now.
    pub fn content(&self, file: SimulatedFile) -> Vec<u8> {
        self.platter().files[file.0].clone()
    }

    /// The power goes: of the write in flight only those sectors arrive that `survives` says.
    pub fn crash(&self, mut survives: impl FnMut(usize) -> bool) {
        let mut platter = self.platter();
        let Some(flight) = platter.flight.take() else { return };
        let file = &mut platter.files[flight.file.0];
        for (sector, bytes) in flight.buffer.bytes()[..flight.length].chunks(SECTOR_BYTES).enumerate() {
            let start = flight.offset + sector * SECTOR_BYTES;
            if survives(sector) {
                file[start..start + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

/// Writes to a [`SimulatedStorage`]. An enter never waits.
#[derive(Debug)]
pub struct SimulatedDisk {
    storage: SimulatedStorage,
    reaped: Option<DiskEvent>,
}

impl SimulatedDisk {
    /// A disk on this storage.
    pub fn new(storage: SimulatedStorage) -> Self {
        Self { storage, reaped: None }
    }
}

impl Disk for SimulatedDisk {
    type File = SimulatedFile;

    fn write_durable(&mut self, file: &SimulatedFile, offset: u64, buffer: DiskBuffer, length: usize) {
        assert_write_fits(offset, &buffer, length);
        let mut platter = self.storage.platter();
        assert!(platter.flight.is_none(), "one write is in flight at a time");
        let offset = offset as usize;
        assert!(offset + length <= platter.files[file.0].len(), "a write lies within its file");
        platter.flight = Some(Flight { file: *file, offset, buffer, length });
    }

    fn ring_doorbell(&mut self, doorbell: &Doorbell) {
        doorbell.must_signal();
    }

    fn enter(&mut self, _wait: Wait) -> io::Result<()> {
        let mut platter = self.storage.platter();
        if platter.held || self.reaped.is_some() {
            return Ok(());
        }
        let Some(flight) = platter.flight.take() else { return Ok(()) };
        let outcome = platter.failure.take().map_or(Ok(()), Err);
        if outcome.is_ok() {
            let bytes = &flight.buffer.bytes()[..flight.length];
            platter.files[flight.file.0][flight.offset..flight.offset + flight.length].copy_from_slice(bytes);
            platter.writes += 1;
        }
        self.reaped = Some(DiskEvent::Written { buffer: flight.buffer, outcome });
        Ok(())
    }

    fn next(&mut self) -> Option<DiskEvent> {
        self.reaped.take()
    }
}
