//! A receipt proves what was promised, with the key alone: nobody else can make one, and nothing of the claim can be changed under it.

use std::path::Path;
use std::process::{Command, Output};

use hongbao_protocol::{CampaignId, Cents, Envelope, EnvelopeId, SponsorId, UserId};
use hongbaod::ledger::receipt::{ReceiptKey, Receipts};

const ENVELOPE: Envelope = Envelope { id: EnvelopeId(281_474_976_710_656), sponsor: SponsorId(3), amount: Cents(888) };

fn check(key: &Path, user: u64, amount: u64, receipt: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hongbaod"));
    command
        .args(["ledger", "check-receipt", "--campaign", "7", "--sponsor", "3", "--receipt", receipt, "--key"])
        .arg(key);
    command.args(["--user", &user.to_string(), "--amount-cents", &amount.to_string()]);
    command.args(["--envelope", &ENVELOPE.id.0.to_string()]);
    command.output().expect("the binary runs")
}

#[test]
fn a_claim_is_checked_with_the_key_alone() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let key = ReceiptKey::make(dir.path()).expect("a key");
    let receipt = Receipts::new(key, CampaignId(7)).of(UserId(5), &ENVELOPE).to_string();
    let path = ReceiptKey::path(dir.path());
    assert_eq!(check(&path, 5, 888, &receipt).status.code(), Some(0));
    assert_eq!(check(&path, 6, 888, &receipt).status.code(), Some(65), "another user");
    assert_eq!(check(&path, 5, 889, &receipt).status.code(), Some(65), "another amount");
    assert_eq!(check(&path, 5, 888, "short").status.code(), Some(64), "no receipt at all");
    let other = tempfile::tempdir().expect("a temporary folder");
    ReceiptKey::make(other.path()).expect("another key");
    assert_eq!(check(&ReceiptKey::path(other.path()), 5, 888, &receipt).status.code(), Some(65), "another key");
    assert_eq!(check(&dir.path().join("none"), 5, 888, &receipt).status.code(), Some(69), "no key");
}

/// The key is a secret: whatever is wrong, no message shows it.
#[test]
fn a_key_is_never_printed_and_never_replaced_by_mistake() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    ReceiptKey::make(dir.path()).expect("a key");
    let path = ReceiptKey::path(dir.path());
    let text = std::fs::read_to_string(&path).expect("read");
    let digits = &text["hongbao-receipt-key-1 ".len()..][..64];
    let mut renew = Command::new(env!("CARGO_BIN_EXE_hongbaod"));
    let refused = renew.args(["ledger", "renew-key"]).arg(dir.path()).output().expect("the binary runs");
    assert_eq!(refused.status.code(), Some(69));
    std::fs::write(&path, text.replace("key-1", "key-2")).expect("written");
    let damaged = check(&path, 5, 888, &"0".repeat(32));
    assert_eq!(damaged.status.code(), Some(65));
    for output in [refused, damaged] {
        let said = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8_lossy(&said).contains(digits));
    }
    std::fs::rename(&path, dir.path().join("old")).expect("moved away");
    let mut renew = Command::new(env!("CARGO_BIN_EXE_hongbaod"));
    let renewed = renew.args(["ledger", "renew-key"]).arg(dir.path()).output().expect("the binary runs");
    assert_eq!(renewed.status.code(), Some(0));
    assert_ne!(std::fs::read_to_string(&path).expect("a new one"), text);
}
