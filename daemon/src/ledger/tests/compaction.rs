//! Snapshots: nothing that was issued is forgotten by them, wherever their making is cut off and whatever becomes of one of them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hongbao_protocol::{CampaignId, Cents, Envelope, EnvelopeId, ServerId, ShardId, SponsorId, UserId};

use crate::ledger::LedgerError;
use crate::ledger::accounts::{Accounts, Caps};
use crate::ledger::compaction::{Compacted, compact};
use crate::ledger::files::{Files, Listed, RealFiles};
use crate::ledger::journal::{
    Binding, BlockHeader, ChainPoint, JournalId, JournalWriter, Record, SegmentFolder, SegmentNumber, Sequence,
    WinRecord,
};
use crate::ledger::reading::JournalFiles;
use crate::ledger::replay::replay;
use crate::limits::{JOURNAL_PAGE_BYTES, SNAPSHOT_SEGMENTS_MIN};

/// Blocks of one record each in a segment.
const BLOCKS: usize = 8;
const SEGMENT_BYTES: usize = BLOCKS * JOURNAL_PAGE_BYTES;
static GOING_ON: AtomicBool = AtomicBool::new(false);

fn record(number: usize) -> Record {
    if number == 0 {
        return Record::Binding(Binding {
            campaign: CampaignId(7),
            server: ServerId(1),
            gift_key: [1; 16],
            time_us: 1,
        });
    }
    let id = EnvelopeId::new(ServerId(1), ShardId(0), number as u32);
    let envelope = Envelope { id, sponsor: SponsorId(number as u32 % 5), amount: Cents(number as u64) };
    Record::Win(WinRecord { user: UserId(number as u64 % 11), envelope, time_us: 1_000 + number as u64 })
}

/// A journal of so many full segments and half of one more.
fn journal(dir: &Path, segments: u32) -> SegmentFolder {
    let folder = SegmentFolder::of(dir);
    folder.create().expect("a folder");
    let mut writer = JournalWriter::new(ChainPoint::START, JournalId(9), 1, SEGMENT_BYTES as u64);
    let records = segments as usize * BLOCKS + BLOCKS / 2;
    let mut files: BTreeMap<SegmentNumber, Vec<u8>> = BTreeMap::new();
    for number in 0..records {
        let mut block = vec![0; JOURNAL_PAGE_BYTES];
        let payload = record(number).encode(&mut block[BlockHeader::BYTES..]);
        if !writer.fits(payload) {
            writer.next_segment(SEGMENT_BYTES as u64);
        }
        let placed = writer.seal(&mut block, payload, 1);
        let file = files.entry(placed.segment).or_insert_with(|| vec![0; SEGMENT_BYTES]);
        file[placed.offset as usize..][..placed.length].copy_from_slice(&block);
    }
    for (number, bytes) in files {
        fs::write(folder.segment_path(number), bytes).expect("written");
    }
    folder
}

/// All that a start or an export learns.
#[derive(Debug, PartialEq)]
struct Learned {
    records: Vec<(Sequence, Record)>,
    point: ChainPoint,
    wins: Vec<Envelope>,
    users: u64,
    cents: Cents,
}

fn learn(folder: &SegmentFolder) -> Result<Learned, LedgerError> {
    let mut accounts = Accounts::new(Caps::UNLIMITED, 0);
    let mut records = Vec::new();
    let replayed = replay(JournalFiles::list(folder)?, &mut accounts, &mut |sequence, record| {
        records.push((sequence, *record));
    })?;
    let (wins, users, cents) = (accounts.envelopes().collect(), accounts.users(), accounts.cents());
    Ok(Learned { records, point: replayed.point, wins, users, cents })
}

fn made(folder: &SegmentFolder, last: u32) -> Option<Compacted> {
    compact(folder, SegmentNumber(last), &GOING_ON).expect("nothing is wrong")
}

fn names(folder: &SegmentFolder) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).expect("listed").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_segment_goes_only_when_two_snapshots_cover_it_and_every_record_stays() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let folder = journal(dir.path(), 12);
    let whole = learn(&folder).expect("whole");
    assert_eq!(whole.records.len(), 12 * BLOCKS + BLOCKS / 2);
    assert_eq!(made(&folder, SNAPSHOT_SEGMENTS_MIN as u32 - 1), None, "too few segments to be worth it");
    let first = made(&folder, 4).expect("a snapshot");
    assert_eq!((first.covers, first.removed), (SegmentNumber(4), 0));
    assert_eq!(learn(&folder).expect("whole"), whole);
    let second = made(&folder, 8).expect("a snapshot");
    assert_eq!((second.covers, second.removed), (SegmentNumber(8), 4));
    assert_eq!(learn(&folder).expect("whole"), whole);
    let third = made(&folder, 12).expect("a snapshot");
    assert_eq!((third.covers, third.removed), (SegmentNumber(12), 4));
    assert_eq!(learn(&folder).expect("whole"), whole);
    let expected =
        ["00000008.snapshot", "00000009.segment", "00000010.segment", "00000011.segment", "00000012.segment"];
    assert_eq!(names(&folder)[..5], expected);
    assert_eq!(names(&folder)[5..], ["00000012.snapshot", "00000013.segment"]);
}

/// Files that break down at an operation that changes something, and from then on. A write arrives in part.
#[derive(Debug)]
struct Breaking {
    operations: AtomicUsize,
    last: usize,
}

impl Breaking {
    fn at(&self) -> io::Result<bool> {
        match self.operations.fetch_add(1, Ordering::Relaxed) {
            number if number < self.last => Ok(true),
            number if number == self.last => Ok(false),
            _ => Err(io::ErrorKind::Other.into()),
        }
    }

    fn unless_broken(&self, change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.at()? { change() } else { Err(io::ErrorKind::Other.into()) }
    }
}

impl Files for Breaking {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        RealFiles.create_folder(folder)
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        RealFiles.list(folder)
    }
    fn read(&self, path: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
        RealFiles.read(path, bytes)
    }
    fn create(&self, path: &Path) -> io::Result<()> {
        self.unless_broken(|| RealFiles.create(path))
    }
    fn write(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.at()? {
            return RealFiles.write(path, offset, bytes);
        }
        RealFiles.write(path, offset, &bytes[..bytes.len() / 2])?;
        Err(io::ErrorKind::StorageFull.into())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.unless_broken(|| RealFiles.rename(from, to))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.unless_broken(|| RealFiles.remove(path))
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.unless_broken(|| RealFiles.sync_folder(folder))
    }
    fn settle(&self, path: &Path) -> io::Result<()> {
        RealFiles.settle(path)
    }
}

#[test]
fn a_compaction_cut_off_at_any_operation_loses_nothing_and_the_next_one_succeeds() {
    let mut cut = 0;
    loop {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = journal(dir.path(), 8);
        made(&folder, 4).expect("a snapshot");
        let whole = learn(&folder).expect("whole");
        let breaking = Arc::new(Breaking { operations: AtomicUsize::new(0), last: cut });
        let broken = SegmentFolder::on(breaking, dir.path());
        let result = compact(&broken, SegmentNumber(8), &GOING_ON);
        folder.remove_unfinished().expect("as a start does");
        assert_eq!(learn(&folder).expect("whole"), whole, "cut off at operation {cut}");
        if result.is_ok() {
            break;
        }
        // What was left undone is done by the next one, unless the snapshot was made and only its cleaning up was cut off.
        compact(&folder, SegmentNumber(8), &GOING_ON).expect("nothing is wrong any more");
        assert_eq!(learn(&folder).expect("whole"), whole, "after operation {cut}");
        assert!(names(&folder).contains(&"00000008.snapshot".to_owned()));
        cut += 1;
    }
    assert!(cut > 8, "a compaction is more than {cut} operations");
}

#[test]
fn a_damaged_snapshot_is_passed_over_for_the_one_before_and_two_are_refused_by_name() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let folder = journal(dir.path(), 12);
    let whole = learn(&folder).expect("whole");
    made(&folder, 4).expect("a snapshot");
    made(&folder, 8).expect("a snapshot");
    let flip = |covers: u32, offset: usize| {
        let path = folder.snapshot_path(SegmentNumber(covers));
        let mut bytes = fs::read(&path).expect("read");
        bytes[offset] ^= 1;
        fs::write(&path, bytes).expect("written");
    };
    flip(8, 200);
    assert_eq!(learn(&folder).expect("the one before and the segments between"), whole);
    flip(4, 4095);
    let refused = learn(&folder).expect_err("neither is whole").to_string();
    assert!(refused.contains("00000008.snapshot: block 1 at offset 0"), "{refused}");
    assert!(refused.contains("ledger verify"), "{refused}");
    flip(4, 4095);
    // The next snapshot is made from the good one, and the damaged one goes.
    made(&folder, 12).expect("a snapshot");
    assert_eq!(learn(&folder).expect("whole"), whole);
    assert!(!names(&folder).contains(&"00000008.snapshot".to_owned()));
    assert!(names(&folder).contains(&"00000004.snapshot".to_owned()));
    crate::ledger::verify::verify_snapshots(&JournalFiles::list(&folder).expect("listed")).expect("all say the same");
}

#[test]
fn every_flipped_bit_and_every_lost_page_of_a_snapshot_is_found() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let folder = journal(dir.path(), 5);
    made(&folder, 5).expect("a snapshot");
    let mut files = JournalFiles::list(&folder).expect("listed");
    let found = files.snapshots.pop().expect("one");
    assert!(files.open(&found).is_ok());
    let whole = fs::read(&found.path).expect("read");
    let file = fs::File::options().write(true).open(&found.path).expect("opened");
    for bit in 0..whole.len() * 8 {
        use std::os::unix::fs::FileExt;
        let at = bit / 8;
        file.write_all_at(&[whole[at] ^ 1 << (bit % 8)], at as u64).expect("written");
        assert!(files.open(&found).is_err(), "bit {bit}");
        file.write_all_at(&whole[at..=at], at as u64).expect("written");
    }
    for pages in 0..whole.len() / JOURNAL_PAGE_BYTES {
        let bytes = (pages * JOURNAL_PAGE_BYTES) as u64;
        file.set_len(bytes).expect("cut");
        let cut = crate::ledger::journal::SnapshotFile { bytes, ..found.clone() };
        assert!(files.open(&cut).is_err(), "cut to {pages} pages");
    }
}

#[test]
fn segments_that_are_gone_without_a_snapshot_are_named() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let folder = journal(dir.path(), 3);
    fs::remove_file(folder.segment_path(SegmentNumber(1))).expect("removed");
    let error = learn(&folder).expect_err("records are missing").to_string();
    assert!(error.contains("00000001.segment"), "{error}");
}
