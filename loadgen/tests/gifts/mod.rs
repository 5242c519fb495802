//! Gifts against a small server that keeps books of its own: what the load generator says of them must be what those say, and each way
//! to cheat must be found.

use std::process::Command;
use std::sync::Arc;

use serde_json::Value;

use crate::server::bank::{Bank, Fault};
use crate::server::{Server, none};

struct Ran {
    exit: Option<i32>,
    report: Value,
    stderr: String,
    bank: Arc<Bank>,
    claims: Vec<Value>,
}

/// Machines that run tests are busy: what is tested is not whether this one keeps up.
const PATIENT: &str = "--lateness-max 5s --timeout 5s";

fn run(fault: Fault, line: &str) -> Ran {
    let bank = Arc::new(Bank::new(fault));
    let server = Server::start_with_bank(&bank, none);
    run_on(&server, bank, line)
}

fn run_on(server: &Server, bank: Arc<Bank>, line: &str) -> Ran {
    let claims = tempfile::NamedTempFile::new().expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_hongbao-loadgen"))
        .args(["run", "--target", &server.address.to_string(), "--json", "-"])
        .arg("--gift-claims")
        .arg(claims.path())
        .args(line.split_whitespace())
        .args(PATIENT.split_whitespace())
        .output()
        .expect("the binary starts");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("standard output is one JSON object: {error}\n{stderr}"));
    let claims = std::fs::read_to_string(claims.path()).expect("the claims of gifts");
    let claims = claims.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
    Ran { exit: output.status.code(), report, stderr, bank, claims }
}

impl Ran {
    fn number(&self, pointer: &str) -> u64 {
        let value = self.report.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {}", self.report));
        value.as_u64().unwrap_or_else(|| panic!("{pointer} is {value}"))
    }

    fn expect_exit(&self, code: i32) {
        assert_eq!(self.exit, Some(code), "{}\n{}", self.stderr, self.report);
    }

    /// (gift, user, share) of the shares that were told, each once.
    fn opened(&self) -> Vec<(u64, u64, u64)> {
        let mut all: Vec<(u64, u64, u64)> = self
            .claims
            .iter()
            .filter(|line| line["kind"] == "gift_opened")
            .map(|line| ["gift", "user", "amount_cents"].map(|key| line[key].as_u64().expect("a number")).into())
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What the audit says is what the bank has, and the claims are its books.
    fn expect_balance(&self) {
        let (sent, opened) = self.bank.sums();
        assert_eq!((self.number("/gift_audit/sent_cents"), self.number("/gift_audit/opened_cents")), (sent, opened));
        assert_eq!(self.number("/gift_audit/pending_cents"), sent - opened);
        assert_eq!(self.opened(), self.bank.opened());
        for wrong in ["unbalanced", "altered", "strangers", "duplicates", "denied", "unaudited"] {
            assert_eq!(self.number(&format!("/gift_audit/{wrong}")), 0, "{}", self.report["gift_audit"]);
        }
    }
}

#[test]
fn every_gift_is_sent_noticed_opened_and_accounted_for_beside_shakes() {
    let ran = run(Fault::Honest, "--connections 20 --rate 500 --gifts 200 --recipients 3 --duration 1s --threads 2");
    ran.expect_exit(0);
    assert_eq!(ran.report["valid"], true);
    for (pointer, count) in [
        ("/requests/answered", 500),
        ("/gifts/rate_target", 200),
        ("/gifts/requests/scheduled", 200),
        ("/gifts/requests/granted", 200),
        ("/gifts/requests/opened", 600),
        ("/gifts/send_us/count", 200),
        ("/gifts/notice_us/count", 600),
        ("/gifts/open_us/count", 600),
        ("/gift_audit/sent_cents", 200 * 300),
        ("/gift_audit/opened_cents", 200 * 300),
        ("/stages/0/gifts/requests/granted", 200),
    ] {
        assert_eq!(ran.number(pointer), count, "{pointer}");
    }
    assert!(ran.number("/gift_audit/told_again") > 0, "some sends and opens are repeated on purpose");
    ran.expect_balance();
}

#[test]
fn gifts_alone_need_no_shakes_and_those_who_come_too_late_find_nothing() {
    let ran =
        run(Fault::Honest, "--connections 20 --gifts 100 --recipients 5 --gift-shares 2 --gift-total 7 --duration 1s");
    ran.expect_exit(0);
    assert_eq!((ran.number("/requests/scheduled"), ran.number("/gifts/requests/granted")), (0, 100));
    assert_eq!((ran.number("/gifts/requests/opened"), ran.number("/gifts/requests/closed_by_reason/gone")), (200, 300));
    assert_eq!(ran.number("/gift_audit/opened_cents"), 700);
    ran.expect_balance();
}

#[test]
fn each_way_to_cheat_is_found_and_fails_the_run() {
    for (fault, wrong) in [
        (Fault::OtherShareAgain, "altered"),
        (Fault::SecondGift, "duplicates"),
        (Fault::KeepsACent, "unbalanced"),
        (Fault::TellsStrangers, "strangers"),
    ] {
        let ran = run(fault, "--connections 20 --gifts 400 --recipients 2 --duration 500ms");
        ran.expect_exit(99);
        assert!(ran.number(&format!("/gift_audit/{wrong}")) > 0, "{fault:?}: {}", ran.report["gift_audit"]);
        assert!(ran.stderr.contains("violations\n             "), "the first few in words: {}", ran.stderr);
    }
}

#[test]
fn what_was_lost_with_its_connection_is_asked_again_after_the_next_login_and_no_cent_is_missing() {
    for fault in [Fault::HangsUpOnSends, Fault::HangsUpOnOpens] {
        let ran = run(fault, "--connections 10 --gifts 50 --recipients 2 --duration 2s --reconnect on");
        ran.expect_exit(0);
        assert_eq!(ran.number("/connections/reconnected"), 10, "{fault:?}");
        let requests = &ran.report["gifts"]["requests"];
        let (lost, late) =
            if fault == Fault::HangsUpOnSends { ("lost", "granted_late") } else { ("opens_lost", "opened_late") };
        assert!(requests[lost].as_u64() >= Some(10) && requests[late].as_u64() >= Some(10), "{fault:?}: {requests}");
        ran.expect_balance();
    }
}

#[test]
fn gifts_that_wait_since_an_earlier_run_are_opened_after_the_login() {
    let bank = Arc::new(Bank::new(Fault::TellsNobody));
    let server = Server::start_with_bank(&bank, none);
    let first = run_on(&server, Arc::clone(&bank), "--connections 5 --gifts 100 --recipients 4 --duration 500ms");
    first.expect_exit(0);
    assert_eq!((first.number("/gift_audit/opened"), first.number("/gift_audit/pending_cents")), (0, 50 * 400));
    let second = run_on(&server, bank, "--connections 5 --gifts 1 --recipients 4 --duration 4s");
    second.expect_exit(0);
    // 200 shares of the first run, 40 a user: more than one list holds.
    assert_eq!(second.number("/gift_audit/others_opened"), 200, "{}", second.report["gift_audit"]);
    assert_eq!(second.number("/gift_audit/others_opened_cents"), 50 * 400);
}

#[test]
fn an_open_that_the_server_puts_off_is_asked_again_and_counts_from_its_first_time() {
    let ran = run(Fault::PutsOff, "--connections 10 --gifts 100 --recipients 2 --duration 500ms");
    ran.expect_exit(0);
    assert_eq!((ran.number("/gifts/requests/opened"), ran.number("/gifts/requests/closed")), (100, 0));
    assert!(ran.number("/gifts/open_us/max") >= 20_000);
    ran.expect_balance();
}

#[test]
fn refusals_are_counted_by_reason_and_are_no_violation() {
    let ran =
        run(Fault::Refuses, "--connections 10 --gifts 100 --recipients 2 --duration 500ms --expect gifts_refused==50");
    ran.expect_exit(0);
    assert_eq!(ran.number("/gifts/requests/refused_by_reason/balance"), 50);
    assert_eq!((ran.number("/gifts/requests/granted"), ran.number("/gift_audit/sent")), (0, 0));
}
