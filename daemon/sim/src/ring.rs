//! The ledger's ring and its maker of segments, on the simulated disk.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use hongbao_uring::{Disk, DiskBuffer, DiskEvent, Doorbell, Errno, Wait};
use hongbaod::ledger::journal::{SegmentFolder, SegmentNumber, SegmentSource};

use crate::storage::{FileId, Landed, Storage};

/// A ring that writes blocks. An enter never waits.
#[derive(Debug)]
pub(crate) struct SimulatedRing {
    storage: Storage,
    /// While a block is in flight.
    buffer: Option<DiskBuffer>,
    landed: Option<Landed>,
}

impl SimulatedRing {
    pub(crate) fn new(storage: Storage) -> Self {
        Self { storage, buffer: None, landed: None }
    }
}

impl Disk for SimulatedRing {
    type File = FileId;

    fn write_durable(&mut self, file: &FileId, offset: u64, buffer: DiskBuffer, length: usize) {
        assert!(length > 0 && length.is_multiple_of(4096) && offset.is_multiple_of(4096), "whole pages");
        self.storage.submit(*file, offset as usize, buffer.bytes()[..length].to_vec());
        self.buffer = Some(buffer);
    }

    fn ring_doorbell(&mut self, doorbell: &Doorbell) {
        doorbell.must_signal();
    }

    fn enter(&mut self, _wait: Wait) -> io::Result<()> {
        if self.landed.is_none() {
            self.landed = self.storage.enter();
        }
        Ok(())
    }

    fn next(&mut self) -> Option<DiskEvent> {
        let outcome = self.landed.take()?;
        let buffer = self.buffer.take().expect("a block that has landed was in flight");
        Some(DiskEvent::Written { buffer, outcome })
    }
}

/// How far the segment in the making is.
#[derive(Debug, Default)]
enum Making {
    #[default]
    Nothing,
    Begun(SegmentNumber),
    Done(io::Result<(FileId, u64)>),
}

/// Makes segments when it is told to go on, as the real one does on a thread of its own.
#[derive(Clone, Debug)]
pub(crate) struct SegmentMaker {
    folder: SegmentFolder,
    storage: Storage,
    bytes: u64,
    making: Rc<RefCell<Making>>,
}

impl SegmentMaker {
    pub(crate) fn new(storage: &Storage, data_dir: &Path, bytes: u64) -> Self {
        let folder = SegmentFolder::on(Arc::new(storage.clone()), data_dir);
        Self { folder, storage: storage.clone(), bytes, making: Rc::default() }
    }

    /// Whether there is something to make.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(*self.making.borrow(), Making::Begun(_))
    }

    /// Makes it, or fails to.
    pub(crate) fn go_on(&self) {
        let Making::Begun(number) = *self.making.borrow() else { return };
        let made = self.folder.make(number, self.bytes).and_then(|()| {
            let file = self.storage.open(&self.folder.segment_path(number)).ok_or(Errno::ENOENT)?;
            Ok((file, self.bytes))
        });
        *self.making.borrow_mut() = Making::Done(made);
    }
}

impl SegmentSource for SegmentMaker {
    type File = FileId;

    fn begin(&mut self, number: SegmentNumber) {
        assert!(matches!(*self.making.borrow(), Making::Nothing), "one segment is made at a time");
        *self.making.borrow_mut() = Making::Begun(number);
    }

    fn poll(&mut self) -> Option<io::Result<(FileId, u64)>> {
        let making = self.making.take();
        if let Making::Done(made) = making {
            return Some(made);
        }
        *self.making.borrow_mut() = making;
        None
    }
}
