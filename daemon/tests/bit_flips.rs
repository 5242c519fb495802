//! Every single bit of a journal flipped: `ledger verify` finds it.
//!
//! `HONGBAO_ALL_BITS=1` (`make faults`) flips all 524,288 bits of 64 KiB; without it, every 61st, which meets every byte's place in a sector.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use hongbao_protocol::{CampaignId, Cents, Envelope, EnvelopeId, ServerId, ShardId, SponsorId, UserId};
use hongbaod::ledger::command::verify_quietly;
use hongbaod::ledger::journal::{
    Binding, BlockHeader, ChainPoint, JournalId, JournalWriter, Record, SegmentFolder, SegmentNumber, WinRecord,
};

const BYTES: usize = 64 * 1024;

/// A journal of one segment, full of blocks to its last byte: some of a page with a record or two, some longer.
fn journal(data_dir: &Path) {
    let folder = SegmentFolder::of(data_dir);
    folder.create().expect("a folder");
    let mut writer = JournalWriter::new(ChainPoint::START, JournalId(9), 1, BYTES as u64);
    let mut segment = vec![0; BYTES];
    let mut number = 0_u32;
    // Pages of each block; they sum to those of the segment.
    for pages in [1, 1, 3, 1, 4, 1, 5_usize] {
        let mut block = vec![0; pages * 4096];
        let (mut payload, mut records) = (0, 0);
        let wanted = if pages == 1 { 1 } else { (pages * 4096 - BlockHeader::BYTES) / 40 - 3 };
        while records < wanted {
            let record = if number == 0 {
                Record::Binding(Binding {
                    campaign: CampaignId(7),
                    server: ServerId(1),
                    gift_key: [7; 16],
                    time_us: 1_771_329_600_000_000,
                })
            } else {
                let id = EnvelopeId::new(ServerId(1), ShardId(0), number);
                let envelope = Envelope { id, sponsor: SponsorId(3), amount: Cents(500) };
                Record::Win(WinRecord { user: UserId(u64::from(number)), envelope, time_us: 1_771_329_600_000_000 })
            };
            payload += record.encode(&mut block[BlockHeader::BYTES + payload..]);
            records += 1;
            number += 1;
        }
        let placed = writer.seal(&mut block, payload, records as u32);
        assert_eq!(placed.length, block.len(), "the block is as long as was meant");
        segment[placed.offset as usize..][..placed.length].copy_from_slice(&block);
    }
    assert_eq!(writer.point().offset, BYTES as u64, "full");
    fs::write(folder.segment_path(SegmentNumber::FIRST), segment).expect("written");
}

#[test]
fn every_flipped_bit_of_a_journal_is_found() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    journal(dir.path());
    verify_quietly(dir.path()).expect("the journal is whole");
    let path = SegmentFolder::of(dir.path()).segment_path(SegmentNumber::FIRST);
    let whole = fs::read(&path).expect("read");
    let file = File::options().write(true).open(&path).expect("opened");
    let step = if std::env::var_os("HONGBAO_ALL_BITS").is_some() { 1 } else { 61 };
    let (mut flipped, mut found) = (0, 0);
    for bit in (0..BYTES * 8).step_by(step) {
        let at = bit / 8;
        file.write_all_at(&[whole[at] ^ 1 << (bit % 8)], at as u64).expect("written");
        flipped += 1;
        match verify_quietly(dir.path()) {
            Err(failure) => {
                found += 1;
                assert!(failure.message.contains("00000001.segment"), "bit {bit} of byte {at}: {failure}");
            }
            Ok(()) => panic!("bit {bit} of byte {at} was not found"),
        }
        file.write_all_at(&whole[at..=at], at as u64).expect("written");
    }
    verify_quietly(dir.path()).expect("whole again");
    println!("{found} of {flipped} flipped bits found");
}
