//! What an operator sees of a journal: live, whole, cut and damaged.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use hongbao_uring::WritePath;
use serde_json::Value;

use super::real_disk::{Client, claim, open, options};
use crate::exit::{Exit, Failure};
use crate::ledger::command::{CommandError, export, show, verify};
use crate::ledger::{Ledger, LedgerError};
use crate::limits::JOURNAL_PAGE_BYTES;

fn with_wins(data_dir: &Path, wins: u32) -> Client {
    let mut client = Client::start(open(data_dir, WritePath::Direct));
    for index in 0..wins {
        client.ask(&[claim(u64::from(index / 2), index, index)], 1);
    }
    client
}

fn text(command: fn(&Path, &mut dyn std::io::Write) -> Result<(), CommandError>, data_dir: &Path) -> String {
    let mut output = Vec::new();
    command(data_dir, &mut output).expect("the journal is whole");
    String::from_utf8(output).expect("text")
}

#[test]
fn a_live_journal_is_read_without_disturbing_it() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let client = with_wins(dir.path(), 5);
    let lines: Vec<Value> =
        text(export, dir.path()).lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
    assert_eq!(lines.len(), 6);
    assert_eq!((&lines[0]["kind"], &lines[0]["campaign"]), (&"binding".into(), &7.into()));
    for (index, line) in lines[1..].iter().enumerate() {
        assert_eq!((&line["kind"], &line["sequence"]), (&"win".into(), &(index + 2).into()));
        assert_eq!((&line["user"], &line["amount_cents"]), (&(index / 2).into(), &(100 + index).into()));
        assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
        assert!(line["envelope"].is_u64());
    }
    assert!(text(verify, dir.path()).contains("whole: 6 records in 6 blocks"));
    let shown: Value = serde_json::from_str(&text(|dir, output| show(dir, true, output), dir.path())).expect("JSON");
    for (field, expected) in [("issued", 5), ("issued_cents", 510), ("users", 3), ("campaign", 7), ("last_block", 6)] {
        assert_eq!(shown[field], expected, "{field}");
    }
    assert!(text(|dir, output| show(dir, false, output), dir.path()).contains("envelopes issued  5\n"));
    assert_eq!(client.stop().issued, 5);
}

#[test]
fn damage_is_named_with_file_block_and_offset_and_what_is_whole_before_it_is_exported() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    with_wins(dir.path(), 5).stop();
    let segment = dir.path().join("journal/00000001.segment");
    let before = fs::read(&segment).expect("read");
    let at = 3 * JOURNAL_PAGE_BYTES + 200;
    let file = OpenOptions::new().write(true).open(&segment).expect("opened");
    file.write_all_at(&[before[at] ^ 1], at as u64).expect("written");

    let error = Ledger::open(options(dir.path(), WritePath::Direct)).expect_err("damage");
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
    let failure = Failure::from(error);
    assert_eq!(failure.exit, Exit::Data);
    for part in ["00000001.segment", "block 4", "offset 12288", "hongbaod ledger export", "cp -a"] {
        assert!(failure.message.contains(part), "{part}: {}", failure.message);
    }
    let mut output = Vec::new();
    let refused = export(dir.path(), &mut output).expect_err("damage");
    assert!(matches!(refused, CommandError::Ledger(LedgerError::Damaged { .. })), "{refused:?}");
    let output = String::from_utf8(output).expect("text");
    assert_eq!(output.lines().count(), 3, "the binding and two wins");
    assert!(verify(dir.path(), &mut Vec::new()).is_err());
}

#[test]
fn an_unfinished_write_is_told_by_verify_and_zeroed_by_the_next_start() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    with_wins(dir.path(), 2).stop();
    let segment = dir.path().join("journal/00000001.segment");
    let file = OpenOptions::new().write(true).open(&segment).expect("opened");
    let end = 3 * JOURNAL_PAGE_BYTES;
    file.write_all_at(&[0xAB; 512], end as u64 + 512).expect("a sector whose first one did not arrive");
    let told = text(verify, dir.path());
    assert!(told.contains("bytes 12288 to 13312 are a write that is not finished"), "{told}");
    drop(open(dir.path(), WritePath::Direct));
    assert!(fs::read(&segment).expect("read")[end..].iter().all(|byte| *byte == 0));
}
