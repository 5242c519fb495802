//! Real files, the real ring, a thread of its own.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hongbao_protocol::{CampaignId, Cents, Envelope, EnvelopeId, ServerId, ShardId, SponsorId, UserId};
use hongbao_uring::{Doorbell, Token, WritePath};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::cells::LedgerCells;
use crate::ledger::accounts::Caps;
use crate::ledger::receipt::{ReceiptKey, Receipts};
use crate::ledger::{Ledger, LedgerError, LedgerOptions, LedgerSummary};
use crate::limits::{JOURNAL_SEGMENT_BYTES_MIN, ledger_requests_per_set, ledger_verdicts_per_set};
use crate::messages::{LedgerSetEnds, Refusal, Request, Verdict};

const CAPS: Caps = Caps { per_user: 3, per_sponsor: 1 };
const PATIENCE: Duration = Duration::from_secs(30);

fn envelope(index: u32, sponsor: u32) -> Envelope {
    let id = EnvelopeId::new(ServerId(1), ShardId(0), index);
    Envelope { id, sponsor: SponsorId(sponsor), amount: Cents(100 + u64::from(index)) }
}

fn claim(user: u64, index: u32, sponsor: u32) -> Request {
    let (caller, user) = (Token::default(), UserId(user));
    Request::Claim { caller, sequence: index, user, envelope: envelope(index, sponsor) }
}

/// The SET's side of a ledger that runs on a thread.
struct Client {
    requests: Producer<Request>,
    verdicts: Consumer<Verdict>,
    doorbell: Arc<Doorbell>,
    thread: JoinHandle<Result<LedgerSummary, LedgerError>>,
}

impl Client {
    fn start(ledger: Ledger) -> Self {
        let (requests, ledger_requests) = RingBuffer::new(ledger_requests_per_set(1));
        let (ledger_verdicts, verdicts) = RingBuffer::new(ledger_verdicts_per_set(ledger_requests_per_set(1)));
        let ends = LedgerSetEnds { requests: ledger_requests, verdicts: ledger_verdicts, doorbell: Arc::default() };
        let doorbell: Arc<Doorbell> = Arc::default();
        let thread = thread::spawn({
            let doorbell = Arc::clone(&doorbell);
            move || ledger.run(vec![ends], RingBuffer::new(1).1, &doorbell, Arc::new(LedgerCells::default()))
        });
        Self { requests, verdicts, doorbell, thread }
    }

    /// Asks, and collects as many verdicts.
    fn ask(&mut self, requests: &[Request], verdicts: usize) -> Vec<Verdict> {
        for request in requests {
            self.requests.push(*request).expect("the queue is long enough");
        }
        // No ring here to send a wake-up from: the ledger looks by itself every few milliseconds.
        self.doorbell.must_signal();
        let deadline = Instant::now() + PATIENCE;
        let mut answers = Vec::new();
        while answers.len() < verdicts {
            match self.verdicts.pop() {
                Ok(verdict) => answers.push(verdict),
                Err(_) => thread::yield_now(),
            }
            assert!(Instant::now() < deadline, "{} of {verdicts} verdicts within {PATIENCE:?}", answers.len());
        }
        answers
    }

    fn stop(self) -> LedgerSummary {
        drop(self.requests);
        self.thread.join().expect("the ledger does not panic").expect("the ring works")
    }
}

fn options(data_dir: &Path, write_path: WritePath) -> LedgerOptions {
    let usual = LedgerOptions::new(data_dir, CAPS);
    LedgerOptions { segment_bytes: JOURNAL_SEGMENT_BYTES_MIN, write_path, wins_expected: 1000, ..usual }
}

fn open(data_dir: &Path, write_path: WritePath) -> Ledger {
    let mut ledger = Ledger::open(options(data_dir, write_path)).expect("the journal is whole");
    ledger.bind(CampaignId(7), ServerId(1)).expect("the journal is ours");
    ledger
}

#[test]
fn wins_and_caps_outlive_a_restart_on_both_write_paths() {
    for path in [WritePath::Linked, WritePath::Direct] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut client = Client::start(open(dir.path(), path));
        let verdicts = client.ask(&[claim(5, 0, 1), claim(5, 1, 2)], 2);
        assert!(matches!(verdicts[..], [Verdict::Won { wins: 1, .. }, Verdict::Won { wins: 2, .. }]), "{verdicts:?}");
        let summary = client.stop();
        assert_eq!((summary.issued, summary.cents, summary.wins), (2, Cents(201), 2));

        let key = ReceiptKey::read(&ReceiptKey::path(dir.path())).expect("made at the first start");
        let receipt = |envelope: &Envelope| Receipts::new(key.clone(), CampaignId(7)).of(UserId(5), envelope);
        let ledger = open(dir.path(), path);
        let before = ledger.issued_before();
        assert_eq!(before.campaign, Some(CampaignId(7)));
        assert_eq!(before.envelopes, [envelope(0, 1), envelope(1, 2)]);
        let mut client = Client::start(ledger);
        let login = Request::Login { caller: Token::default(), user: UserId(5) };
        let verdicts = client.ask(&[claim(5, 2, 1), claim(6, 1, 2), login, claim(5, 3, 3), claim(5, 4, 4)], 7);
        let refusals: Vec<_> = verdicts
            .iter()
            .filter_map(|verdict| match verdict {
                Verdict::Refused { refusal, .. } => Some(*refusal),
                _ => None,
            })
            .collect();
        assert_eq!(refusals, [Refusal::SponsorLimit, Refusal::AlreadyIssued, Refusal::UserLimit]);
        let caller = Token::default();
        for expected in [
            Verdict::Account { caller, wins: 2, shown: 2 },
            Verdict::Earlier { caller, envelope: envelope(0, 1), receipt: receipt(&envelope(0, 1)) },
            Verdict::Earlier { caller, envelope: envelope(1, 2), receipt: receipt(&envelope(1, 2)) },
            Verdict::Won { caller, sequence: 3, envelope: envelope(3, 3), wins: 3, receipt: receipt(&envelope(3, 3)) },
        ] {
            assert!(verdicts.contains(&expected), "{expected:?} in {verdicts:?}");
        }
        assert_eq!(client.stop().issued, 3);
    }
}

#[test]
fn a_journal_runs_over_many_segments_and_reads_back_whole() {
    const WINS: u32 = 60_000;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut client = Client::start(open(dir.path(), WritePath::Direct));
    let mut next = 0;
    while next < WINS {
        let requests: Vec<_> = (next..next + 2000).map(|index| claim(u64::from(index), index, 1)).collect();
        let mut halted = 0;
        for verdict in client.ask(&requests, requests.len()) {
            match verdict {
                Verdict::Won { .. } => {}
                // This test is faster than the zeros of the next segment: ask again, as a SET would.
                Verdict::Refused { refusal: Refusal::Halted, sequence, .. } => {
                    halted += 1;
                    assert!(halted <= 2000);
                    let deadline = Instant::now() + PATIENCE;
                    let again = [claim(u64::from(sequence), sequence, 1)];
                    while !matches!(client.ask(&again, 1)[..], [Verdict::Won { .. }]) {
                        assert!(Instant::now() < deadline, "still halted after {PATIENCE:?}");
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        next += 2000;
    }
    assert_eq!(client.stop().issued, u64::from(WINS));
    let ledger = open(dir.path(), WritePath::Direct);
    assert_eq!(ledger.issued_before().envelopes.len(), WINS as usize);
    assert!(std::fs::read_dir(dir.path().join("journal")).expect("listed").count() > 2);
}

#[test]
fn a_second_daemon_and_a_foreign_campaign_are_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut first = open(dir.path(), WritePath::Direct);
    let second = Ledger::open(options(dir.path(), WritePath::Direct)).expect_err("locked");
    assert!(matches!(second, LedgerError::Locked { .. }), "{second}");
    first.bind(CampaignId(7), ServerId(1)).expect("the same binding is no second one");
    for (campaign, server) in [(8, 1), (7, 2)] {
        let refused = first.bind(CampaignId(campaign), ServerId(server)).expect_err("another's").to_string();
        assert!(refused.contains("campaign 7, server 1"), "{refused}");
    }
    drop(first);
    let mut again = Ledger::open(options(dir.path(), WritePath::Direct)).expect("free again");
    again.bind(CampaignId(8), ServerId(1)).expect_err("the journal says whose it is");
}
