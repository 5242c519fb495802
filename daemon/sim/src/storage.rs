//! The disk of a history: what outlives the daemon. It holds files and names, knows what of both is durable, and does to them
//! what disks do.
//!
//! Each file has three layers. `durable` is what a power cut leaves. The cache holds sectors that were written to the kernel and are not
//! durable, or that a failed flush left behind: reads show them, and dropping the cache does not. `truth` is what the durable layer would
//! be if the disk never corrupted anything: what an operator restores from a copy.

mod files;
mod pattern;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use hongbao_uring::{DiskStage, Errno, WriteFailure, WritePath};

use self::pattern::Pattern;
use crate::dice::Dice;
use crate::fault::{Fault, FaultCounts};

/// What a disk writes all or nothing of.
pub(crate) const SECTOR_BYTES: usize = 512;

/// A file, whatever its name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId(usize);

/// How the block in flight ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landing {
    Written,
    WriteFails,
    FlushFails,
    EndsShort,
    /// Elsewhere in the journal, and said to be written.
    Misdirected,
    /// Nowhere, and said to be written.
    Lost,
}

/// What the kernel knows of a sector and the disk may not.
#[derive(Clone, Debug)]
struct Cached {
    bytes: [u8; SECTOR_BYTES],
    /// To be written with the next flush. False for what a failed flush left behind.
    dirty: bool,
}

#[derive(Clone, Debug, Default)]
struct File {
    durable: Vec<u8>,
    truth: Vec<u8>,
    cache: BTreeMap<usize, Cached>,
    is_folder: bool,
}

/// A change of names that no sync of the folder has made durable.
#[derive(Clone, Debug)]
enum NameChange {
    Linked(PathBuf, FileId),
    /// The file is known by what it is, whatever has happened to its names since.
    Renamed(PathBuf, PathBuf, FileId),
    Removed(PathBuf),
}

impl NameChange {
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Linked(path, _) | Self::Renamed(_, path, _) | Self::Removed(path) => path.parent(),
        }
    }
}

/// The write of a block, from its submission to what the ledger hears of it.
#[derive(Clone, Debug)]
struct Flight {
    file: FileId,
    offset: usize,
    bytes: Vec<u8>,
    /// The enter that submits it has come.
    begun: bool,
}

/// A block that the disk said was written to its place, and was not.
#[derive(Clone, Copy, Debug)]
struct Lost {
    file: FileId,
    offset: usize,
    length: usize,
    /// Where its header lies instead.
    header_at: Option<(FileId, usize)>,
}

/// How a block's write ended, for the ledger's next enter.
pub(crate) type Landed = Result<(), WriteFailure>;

/// Where corruption was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scar {
    pub(crate) path: PathBuf,
    pub(crate) sector: usize,
}

#[derive(Clone, Debug)]
struct Platter {
    files: Vec<File>,
    names: BTreeMap<PathBuf, FileId>,
    durable_names: BTreeMap<PathBuf, FileId>,
    changes: Vec<NameChange>,
    flight: Option<Flight>,
    landed: Option<Landed>,
    write_path: WritePath,
    /// Bytes that the files may take together.
    room: usize,
    /// File operations that change something until the end comes in the midst of one.
    fuse: Option<u32>,
    is_down: bool,
    /// Whether the operation in whose midst the end comes is still done; by chance where it is not said.
    midst: Option<bool>,
    /// A write that was lost, until another one after it was not.
    lost: Option<Lost>,
    /// File operations until one fails, once.
    fails_in: Option<u32>,
    dice: Dice,
    counts: FaultCounts,
    /// Of all that was written, in order.
    digest: u64,
}

/// A handle on it; all of them are one disk.
#[derive(Clone, Debug)]
pub(crate) struct Storage(Arc<Mutex<Platter>>);

impl Storage {
    pub(crate) fn new(write_path: WritePath, dice: Dice) -> Self {
        Self(Arc::new(Mutex::new(Platter {
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            flight: None,
            landed: None,
            write_path,
            room: usize::MAX,
            fuse: None,
            is_down: false,
            midst: None,
            lost: None,
            fails_in: None,
            dice,
            counts: FaultCounts::default(),
            digest: 0,
        })))
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().expect("one thread has it, and a history that panicked is over")
    }

    /// The file of this name.
    pub(crate) fn open(&self, path: &Path) -> Option<FileId> {
        self.platter().names.get(path).copied()
    }

    /// A block's write is asked for; it begins with the next enter.
    pub(crate) fn submit(&self, file: FileId, offset: usize, bytes: Vec<u8>) {
        let mut platter = self.platter();
        assert!(platter.flight.is_none() && platter.landed.is_none(), "one write is in flight at a time");
        assert!(offset + bytes.len() <= platter.files[file.0].durable.len(), "a write lies within its file");
        platter.flight = Some(Flight { file, offset, bytes, begun: false });
    }

    /// The ledger enters its ring: what was asked for begins, what has landed is told.
    pub(crate) fn enter(&self) -> Option<Landed> {
        let mut platter = self.platter();
        if let Some(flight) = &mut platter.flight {
            flight.begun = true;
        }
        platter.landed.take()
    }

    /// Whether a block is being written.
    pub(crate) fn is_writing(&self) -> bool {
        self.platter().flight.as_ref().is_some_and(|flight| flight.begun)
    }

    /// The block in flight ends so.
    pub(crate) fn land(&self, landing: Landing) {
        self.platter().land(landing);
    }

    /// The process is gone, and the kernel lives on.
    pub(crate) fn kill(&self) {
        self.platter().kill();
    }

    /// The power is gone.
    pub(crate) fn cut_power(&self) {
        self.platter().cut_power();
    }

    /// A disk with the same content.
    pub(crate) fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.platter().clone())))
    }

    /// What a power cut puts at risk: sectors and names, as many as [`Self::cut_power_keeping`] tells apart.
    pub(crate) fn at_risk(&self) -> (usize, usize) {
        let platter = self.platter();
        (platter.sectors_at_risk().len(), platter.changes.len())
    }

    /// The power is gone, and of what was at risk that is kept whose bit is set.
    pub(crate) fn cut_power_keeping(&self, sectors: u64, names: u64) {
        let mut platter = self.platter();
        for (index, (file, place, bytes)) in platter.sectors_at_risk().into_iter().enumerate() {
            if sectors & (1 << index) != 0 {
                platter.files[file.0].write_all(place, &bytes);
            }
        }
        platter.flight = None;
        for file in &mut platter.files {
            file.cache.clear();
        }
        platter.lose_names(&Pattern::Some([names; 8]));
        platter.end();
    }

    /// Whether an operation in whose midst the end comes is still done.
    pub(crate) fn set_midst(&self, done: bool) {
        self.platter().midst = Some(done);
    }

    /// The end comes in the midst of the file operation after so many that change something.
    pub(crate) fn set_fuse(&self, operations: Option<u32>) {
        self.platter().fuse = operations;
    }

    /// Whether the end has come in the midst of a file operation.
    pub(crate) fn is_down(&self) -> bool {
        self.platter().is_down
    }

    /// The file operation after so many fails, once.
    pub(crate) fn fail_in(&self, operations: Option<u32>) {
        self.platter().fails_in = operations;
    }

    /// Whether the failure asked for is still to come.
    pub(crate) fn failure_is_pending(&self) -> bool {
        self.platter().fails_in.is_some()
    }

    /// From now on there is room for so many bytes beyond those taken; `None` for no bound.
    pub(crate) fn limit(&self, more: Option<usize>) {
        let mut platter = self.platter();
        platter.room = more.map_or(usize::MAX, |more| platter.taken() + more);
    }

    /// Changes a bit that the disk holds. Where there is nothing but zeros, one of those.
    pub(crate) fn flip_bit(&self) {
        self.platter().flip_bit();
    }

    /// Takes back that the last block was lost. Nothing can tell a journal whose last block never arrived from one that was
    /// one block shorter: this is not promised, and `ARCHITECTURE.md` says so.
    pub(crate) fn find_last_block(&self) {
        let mut platter = self.platter();
        if let Some(lost) = platter.lost.take_if(|lost| lost.header_at.is_none()) {
            platter.find(lost);
        }
    }

    /// Where the disk does not hold what it was told to.
    pub(crate) fn scars(&self) -> Vec<Scar> {
        let platter = self.platter();
        let mut scars = Vec::new();
        for (path, file) in &platter.names {
            let file = &platter.files[file.0];
            let sectors = file.durable.chunks(SECTOR_BYTES).zip(file.truth.chunks(SECTOR_BYTES)).enumerate();
            let different = sectors.filter(|(_, (held, told))| held != told);
            scars.extend(different.map(|(sector, _)| Scar { path: path.clone(), sector }));
        }
        scars
    }

    /// The operator restores what the disk was told from a copy.
    pub(crate) fn restore(&self) {
        for file in &mut self.platter().files {
            file.durable.clone_from(&file.truth);
            file.cache.clear();
        }
    }

    /// What happened so far.
    pub(crate) fn counts(&self) -> FaultCounts {
        self.platter().counts.clone()
    }

    /// Of all that was written.
    pub(crate) fn digest(&self) -> u64 {
        self.platter().digest
    }
}

impl Platter {
    fn taken(&self) -> usize {
        self.names.values().map(|file| self.files[file.0].durable.len()).sum()
    }

    fn note(&mut self, what: u64) {
        self.digest = (self.digest ^ what).wrapping_mul(0x0100_0000_01B3).rotate_left(23);
    }

    fn land(&mut self, landing: Landing) {
        let Some(flight) = self.flight.take_if(|flight| flight.begun) else { return };
        let Flight { file, offset, bytes, .. } = flight;
        let (bytes, length) = (&bytes[..], bytes.len());
        self.note(landing as u64 ^ (offset as u64) << 8 ^ (length as u64) << 40);
        let failure = |stage, errno| Err(WriteFailure { stage, errno });
        let outcome = match landing {
            Landing::Written => {
                self.files[file.0].write_all(offset, bytes);
                self.lost = None;
                Ok(())
            }
            Landing::WriteFails => {
                self.write_some(file, offset, bytes);
                failure(DiskStage::Write, Some(Errno::EIO))
            }
            Landing::EndsShort => {
                self.write_some(file, offset, bytes);
                failure(DiskStage::Write, None)
            }
            Landing::FlushFails => {
                self.write_some(file, offset, bytes);
                if self.write_path == WritePath::Linked {
                    self.files[file.0].leave_behind(offset, bytes, false);
                }
                failure(DiskStage::Flush, Some(Errno::EIO))
            }
            Landing::Misdirected => {
                self.misdirect(file, offset, bytes);
                Ok(())
            }
            Landing::Lost => {
                self.files[file.0].truth[offset..offset + length].copy_from_slice(bytes);
                self.lost = Some(Lost { file, offset, length, header_at: None });
                self.counts.count(Fault::LostWrite);
                Ok(())
            }
        };
        self.landed = Some(outcome);
    }

    fn find(&mut self, lost: Lost) {
        let Lost { file, offset, length, .. } = lost;
        let file = &mut self.files[file.0];
        let told = file.truth[offset..offset + length].to_vec();
        file.durable[offset..offset + length].copy_from_slice(&told);
    }

    /// Some of the sectors arrive.
    fn write_some(&mut self, file: FileId, offset: usize, bytes: &[u8]) {
        let count = bytes.len() / SECTOR_BYTES;
        let pattern = Pattern::draw(&mut self.dice, count);
        let mut arrived = 0;
        for sector in (0..count).filter(|sector| pattern.has(*sector)) {
            let start = sector * SECTOR_BYTES;
            self.files[file.0].write_all(offset + start, &bytes[start..start + SECTOR_BYTES]);
            arrived += 1;
        }
        self.note(arrived as u64);
        // A block that went astray, and whose header was then written over by one that did not arrive whole, is as good as one that never
        // arrived: see `find_last_block`.
        let range = offset..offset + bytes.len();
        let hidden = |lost: &mut Lost| lost.header_at.is_some_and(|(at, place)| at == file && range.contains(&place));
        if let Some(lost) = self.lost.take_if(hidden) {
            self.find(lost);
        }
        if arrived > 0 && arrived < count {
            self.counts.count(Fault::TornBlock);
        }
    }

    /// The block goes elsewhere in the journal, at any sector but its own.
    fn misdirect(&mut self, file: FileId, offset: usize, bytes: &[u8]) {
        self.files[file.0].truth[offset..offset + bytes.len()].copy_from_slice(bytes);
        let journal: Vec<_> =
            self.names.values().copied().filter(|file| !self.files[file.0].durable.is_empty()).collect();
        let other = if self.dice.chance(700) { file } else { self.dice.one_of(&journal) };
        let places = self.files[other.0].durable.len().saturating_sub(bytes.len()) / SECTOR_BYTES + 1;
        // Near misses are the ones that are hard to tell.
        let own = offset / SECTOR_BYTES;
        let near = own.saturating_sub(16)..(own + 17).min(places);
        let place = if other == file && self.dice.chance(500) && !near.is_empty() {
            near.start + self.dice.below(near.len())
        } else {
            self.dice.below(places)
        };
        if other == file && place == own {
            return self.files[file.0].write_all(offset, bytes);
        }
        let start = place * SECTOR_BYTES;
        let target = &mut self.files[other.0].durable;
        let length = bytes.len().min(target.len() - start);
        target[start..start + length].copy_from_slice(&bytes[..length]);
        self.lost = Some(Lost { file, offset, length: bytes.len(), header_at: Some((other, start)) });
        self.counts.count(Fault::Misdirected);
    }

    fn kill(&mut self) {
        // What a dead process had asked for is done by the kernel, or not, or as far as it came.
        if let Some(flight) = self.flight.take().filter(|flight| flight.begun) {
            let pages = flight.bytes.len() / 4096;
            let done = self.dice.below(pages + 1) * 4096;
            let bytes = &flight.bytes[..done];
            match self.write_path {
                WritePath::Direct => self.files[flight.file.0].write_all(flight.offset, bytes),
                WritePath::Linked => self.files[flight.file.0].leave_behind(flight.offset, bytes, true),
            }
        }
        self.end();
    }

    fn cut_power(&mut self) {
        if let Some(flight) = self.flight.take().filter(|flight| flight.begun) {
            self.write_some(flight.file, flight.offset, &flight.bytes);
        }
        for index in 0..self.files.len() {
            let cache = std::mem::take(&mut self.files[index].cache);
            for (sector, cached) in cache.into_iter().filter(|(_, cached)| cached.dirty) {
                if self.dice.chance(500) {
                    self.files[index].write_all(sector * SECTOR_BYTES, &cached.bytes);
                }
            }
        }
        let pattern = Pattern::draw(&mut self.dice, self.changes.len());
        self.lose_names(&pattern);
        self.end();
    }

    /// Sectors that a power cut may keep or lose, but for those that are the same either way.
    fn sectors_at_risk(&self) -> Vec<(FileId, usize, [u8; SECTOR_BYTES])> {
        let flight = self.flight.iter().filter(|flight| flight.begun);
        let flying = flight.flat_map(|flight| {
            let place = |(index, sector): (usize, &[u8])| {
                (flight.file, flight.offset + index * SECTOR_BYTES, sector.try_into().expect("whole sectors"))
            };
            flight.bytes.chunks(SECTOR_BYTES).enumerate().map(place)
        });
        let dirty = self.files.iter().enumerate().flat_map(|(index, file)| {
            let dirty = file.cache.iter().filter(|(_, cached)| cached.dirty);
            dirty.map(move |(sector, cached)| (FileId(index), sector * SECTOR_BYTES, cached.bytes))
        });
        let differs = |(file, place, bytes): &(FileId, usize, [u8; SECTOR_BYTES])| {
            self.files[file.0].durable.get(*place..place + SECTOR_BYTES) != Some(&bytes[..])
        };
        flying.chain(dirty).filter(differs).collect()
    }

    fn end(&mut self) {
        (self.landed, self.fuse, self.is_down, self.fails_in) = (None, None, false, None);
    }

    /// Of the changes that no sync has made durable, any may be undone, but not half of one.
    fn lose_names(&mut self, kept: &Pattern) {
        let changes = std::mem::take(&mut self.changes);
        let mut lost = false;
        for (index, change) in changes.into_iter().enumerate() {
            if kept.has(index) {
                apply(&mut self.durable_names, &change);
            } else {
                lost = true;
            }
        }
        if lost {
            self.counts.count(Fault::NameLost);
        }
        // What lies in a folder goes with its name.
        let folders = self.durable_names.clone();
        self.durable_names.retain(|path, file| {
            let own = |(folder, id): (&PathBuf, &FileId)| path.parent() == Some(folder) && self.files[id.0].is_folder;
            self.files[file.0].is_folder || folders.iter().any(own)
        });
        self.names.clone_from(&self.durable_names);
    }

    fn flip_bit(&mut self) {
        let files: Vec<_> =
            self.names.values().filter(|file| !self.files[file.0].durable.is_empty()).copied().collect();
        if files.is_empty() {
            return;
        }
        let file = self.dice.one_of(&files);
        let bytes = &mut self.files[file.0].durable;
        let written = bytes.chunks(4096).rposition(|page| page.iter().any(|byte| *byte != 0));
        // Mostly where something is written, and there mostly in headers and records.
        let byte = match written {
            Some(page) if self.dice.chance(800) => {
                let within = if self.dice.chance(700) { 384 } else { 4096 };
                self.dice.below(page + 1) * 4096 + self.dice.below(within)
            }
            _ => self.dice.below(bytes.len()),
        };
        bytes[byte] ^= 1 << self.dice.below(8);
        self.note(byte as u64);
        self.counts.count(Fault::BitFlip);
    }

    /// Begins a file operation that changes something.
    fn begin(&mut self) -> io::Result<()> {
        self.look()?;
        if let Some(left) = &mut self.fuse {
            if *left == 0 {
                self.is_down = true;
                self.counts.count(Fault::CrashInFiles);
                return Ok(());
            }
            *left -= 1;
        }
        Ok(())
    }

    /// Begins a file operation that changes nothing.
    fn look(&mut self) -> io::Result<()> {
        if self.is_down {
            return Err(Errno::EIO.into());
        }
        match self.fails_in {
            Some(0) => {
                self.fails_in = None;
                self.counts.count(Fault::FileError);
                Err(Errno::EIO.into())
            }
            left => {
                self.fails_in = left.map(|left| left - 1);
                Ok(())
            }
        }
    }

    /// Ends a file operation: with an error where the end came in its midst.
    fn done(&self) -> io::Result<()> {
        if self.is_down { Err(Errno::EIO.into()) } else { Ok(()) }
    }

    /// Whether an operation whose midst the end came in was still done.
    fn is_still_done(&mut self) -> bool {
        !self.is_down || self.midst.unwrap_or_else(|| self.dice.chance(500))
    }

    fn file(&self, path: &Path) -> io::Result<FileId> {
        self.names.get(path).copied().ok_or_else(|| Errno::ENOENT.into())
    }

    fn change(&mut self, change: NameChange) -> io::Result<()> {
        if self.is_still_done() {
            apply(&mut self.names, &change);
            self.changes.push(change);
        }
        self.done()
    }
}

fn apply(names: &mut BTreeMap<PathBuf, FileId>, change: &NameChange) {
    match change {
        NameChange::Linked(path, file) => drop(names.insert(path.clone(), *file)),
        NameChange::Renamed(from, to, file) => {
            if names.get(from) == Some(file) {
                names.remove(from);
            }
            names.insert(to.clone(), *file);
        }
        NameChange::Removed(path) => drop(names.remove(path)),
    }
}

impl File {
    fn write_all(&mut self, offset: usize, bytes: &[u8]) {
        for layer in [&mut self.durable, &mut self.truth] {
            let end = offset + bytes.len();
            if layer.len() < end {
                layer.resize(end, 0);
            }
            layer[offset..end].copy_from_slice(bytes);
        }
    }

    /// Puts into the cache what a write brought to the kernel.
    fn leave_behind(&mut self, offset: usize, bytes: &[u8], dirty: bool) {
        for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
            let bytes = sector.try_into().expect("whole sectors");
            self.cache.insert(offset / SECTOR_BYTES + index, Cached { bytes, dirty });
        }
    }

    fn flush(&mut self) {
        let dirty: Vec<_> =
            self.cache.iter().filter(|(_, cached)| cached.dirty).map(|(at, cached)| (*at, cached.bytes)).collect();
        for (sector, bytes) in dirty {
            self.write_all(sector * SECTOR_BYTES, &bytes);
            self.cache.remove(&sector);
        }
    }
}
