//! Real faults below the real daemon: a full disk, a disk that fails, the power.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use hongbao_protocol::{Envelope, UserId};

use crate::crash::shaker;
use crate::daemon::{BINARY, Campaign, Daemon, output_of, until};
use crate::disk::{Disk, missing_for_a_disk};

const DISK_BYTES: u64 = 48 * 1024 * 1024;

/// Power cuts; `make faults` asks for more.
fn power_cuts() -> u64 {
    std::env::var("HONGBAO_POWER_CUTS").map_or(2, |cuts| cuts.parse().expect("HONGBAO_POWER_CUTS is a number"))
}

/// Lets clients shake while `meanwhile` runs and until the daemon is gone or it returns; what they were told to have won.
fn under_load(daemon: &Daemon, first_user: u64, meanwhile: impl FnOnce(&AtomicU64)) -> Vec<(UserId, Envelope)> {
    let (next_user, wins, stop) = (AtomicU64::new(first_user), AtomicU64::new(0), AtomicBool::new(false));
    let listen = daemon.listen;
    thread::scope(|scope| {
        let shakers: Vec<_> = (0..4).map(|_| scope.spawn(|| shaker(listen, &next_user, &wins, &stop))).collect();
        meanwhile(&wins);
        stop.store(true, Ordering::Relaxed);
        shakers.into_iter().flat_map(|shaker| shaker.join().expect("no client panics")).collect()
    })
}

/// Every promise is in the ledger, and no envelope is there twice.
fn keeps(campaign: &Campaign, told: &[(UserId, Envelope)]) {
    output_of(Command::new(BINARY).args(["ledger", "verify"]).arg(campaign.data_dir()));
    let mut owner = BTreeMap::new();
    for win in campaign.exported() {
        let field = |name: &str| win[name].as_u64().unwrap_or_else(|| panic!("{name} in {win}"));
        assert_eq!(owner.insert(field("envelope"), field("user")), None, "issued twice: {win}");
    }
    for (user, envelope) in told {
        assert_eq!(owner.get(&envelope.id.0), Some(&user.0), "promised, and not in the ledger: {envelope:?}");
    }
}

#[test]
fn a_full_disk_halts_the_issue_and_nothing_else_and_room_resumes_it_without_a_restart() {
    if let Some(missing) = missing_for_a_disk() {
        return println!("SKIPPED: no small file system can be made here: {missing}");
    }
    let campaign = Campaign::of(400_000, 40_000_000, 10);
    let _disk = Disk::new(DISK_BYTES, &campaign.data_dir());
    let daemon = Daemon::start(campaign.serve());
    let halted = "hongbao_journal_halted";
    let told = under_load(&daemon, 0, |wins| {
        until("wins", || (wins.load(Ordering::Relaxed) >= 200).then_some(()));
        let filler = campaign.data_dir().join("filler");
        let mut file = File::create(&filler).expect("a file");
        for bytes in [1 << 20, 4096] {
            let full = (0..DISK_BYTES / 4096).find_map(|_| file.write_all(&vec![1; bytes]).err());
            assert_eq!(full.map(|error| error.kind()), Some(std::io::ErrorKind::StorageFull));
        }
        // Open it would keep its room.
        drop(file);
        daemon.wait_for_metric(halted, |value| value == 1);
        assert!(daemon.metric("hongbao_journal_spares_failed_total") > 0);
        // Nobody wins, and everybody is answered.
        let none = "hongbao_shake_answers_total{outcome=\"none\"}";
        let before = daemon.metric(none);
        daemon.wait_for_metric(none, |value| value > before + 500);
        let issued = daemon.metric("hongbao_issued_envelopes_total");
        std::fs::remove_file(&filler).expect("removed");
        daemon.wait_for_metric(halted, |value| value == 0);
        daemon.wait_for_metric("hongbao_issued_envelopes_total", |value| value > issued + 200);
    });
    assert_eq!(daemon.metric("hongbao_balance_difference_cents"), 0);
    daemon.stop();
    keeps(&campaign, &told);
    println!("full disk: halted and resumed, {} promises kept", told.len());
}

/// The device fails every write from one instant on, which is the same as the power going at that instant: the daemon ends and says at
/// which stage, and what a new device with the sectors of that instant holds is every promise.
#[test]
fn a_disk_that_dies_ends_the_daemon_and_its_sectors_hold_every_promise() {
    if let Some(missing) = missing_for_a_disk() {
        return println!("SKIPPED: no disk that can die can be made here: {missing}");
    }
    for write in ["dsync", "fdatasync"] {
        let campaign = Campaign::of(400_000, 40_000_000, 10);
        let mut disk = Disk::new(DISK_BYTES, &campaign.data_dir());
        let mut told = Vec::new();
        let cuts = power_cuts();
        for cut in 0..cuts {
            let mut serve = campaign.serve();
            serve.args(["--journal-write", write]);
            let daemon = Daemon::start(serve);
            told.extend(under_load(&daemon, cut * 1000, |wins| {
                // Not always at the same place of the journal's life.
                let wanted = 100 + cut * 37 % 500;
                until("wins", || (wins.load(Ordering::Relaxed) >= wanted).then_some(()));
                disk.freeze();
                // The shakes go on until it is gone: the next commit fails.
                until("the daemon's end", || TcpStream::connect(daemon.listen).err());
            }));
            let (code, log) = daemon.end();
            assert_eq!(code, Some(74), "{log}");
            assert!(log.contains("the write failed") || log.contains("the flush failed"), "{log}");
            disk = disk.thawed();
            keeps(&campaign, &told);
        }
        let daemon = Daemon::start(campaign.serve());
        assert_eq!(daemon.metric("hongbao_balance_difference_cents"), 0);
        daemon.stop();
        keeps(&campaign, &told);
        println!("{write}: {cuts} power cuts, each told as EIO with exit code 74: {} promises kept", told.len());
    }
}
