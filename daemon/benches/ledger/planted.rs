//! Seeds, a journal and claims with faults planted in them, and the list of what a reconciliation has to find. Shared by the benchmark
//! (ten million issues, a thousand faults) and its small twin in the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hongbao_protocol::{CampaignId, Cents, Envelope, EnvelopeId, Receipt, ServerId, ShardId, SponsorId, UserId};
use hongbaod::ledger::journal::{
    Binding, BlockHeader, ChainPoint, JournalId, JournalWriter, Record, SegmentFolder, WIN_BYTES, WinRecord,
};
use hongbaod::ledger::receipt::{ReceiptKey, Receipts};
use hongbaod::seed::file::{SeedFile, find};
use hongbaod::seed::{GenerateOptions, generate};

const CAMPAIGN: CampaignId = CampaignId(7);
const SERVER: ServerId = ServerId(1);
const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// Users of the faults that need somebody else.
const OTHERS: u64 = 1 << 40;

const KINDS: [&str; 8] = [
    "issued_twice",
    "claimed_not_issued",
    "issued_never_shown",
    "wrong_amount",
    "foreign",
    "unknown",
    "bad_receipt",
    "over_cap",
];

/// A finding, as far as it is compared: kind, envelope, user, sponsor of a cap.
pub(crate) type Expected = (String, Option<u64>, u64, Option<u64>);

/// What was made.
pub(crate) struct Planted {
    pub(crate) data_dir: PathBuf,
    pub(crate) seeds: PathBuf,
    pub(crate) claims: [PathBuf; 2],
    /// What is to be found, and nothing else.
    pub(crate) expected: BTreeSet<Expected>,
    /// Faults of each kind.
    pub(crate) faults: BTreeMap<&'static str, u64>,
}

/// Makes a campaign of `issues` envelopes, all issued and shown but for `faults` places with something wrong, of each kind in turn.
pub(crate) fn make(folder: &Path, issues: u32, faults: u32) -> Planted {
    let (data_dir, seeds) = (folder.join("data"), folder.join("seeds"));
    let options = GenerateOptions {
        campaign: CAMPAIGN,
        count: u64::from(issues),
        total: Cents(u64::from(issues) * 500),
        sponsors: 10,
        servers: 1,
        shards_per_server: 4,
        output: seeds.clone(),
        rng_seed: 1,
        force: true,
    };
    generate(&options, &mut |_| {}).expect("seeds are made");
    let claims = [folder.join("claims-1.jsonl"), folder.join("claims-2.jsonl")];
    let journal = Journal::begin(&data_dir);
    let key = ReceiptKey::make(&data_dir).expect("a key");
    let mut scribe = Scribe {
        journal,
        receipts: Receipts::new(key, CAMPAIGN),
        forged: false,
        claims: claims.clone().map(|path| BufWriter::new(File::create(path).expect("a claims file"))),
        expected: BTreeSet::new(),
        faults: BTreeMap::new(),
    };
    let every = issues.checked_div(faults).unwrap_or(issues + 1);
    let (mut index, mut planted, mut over_cap) = (0_u32, 0_usize, None);
    for path in find(std::slice::from_ref(&seeds)).expect("listed") {
        let file = SeedFile::open(&path).expect("a seed file");
        file.walk(
            |envelope| {
                if over_cap.is_some() {
                    over_cap = scribe.go_over_cap(over_cap.take(), envelope);
                } else if index % every == every / 2 && planted < faults as usize {
                    over_cap = scribe.plant(planted, envelope, index);
                    planted += 1;
                } else {
                    scribe.issue_and_show(envelope, index);
                }
                index += 1;
            },
            |damage| panic!("{damage}"),
        );
    }
    scribe.journal.flush();
    scribe.claims.iter_mut().for_each(|file| file.flush().expect("written"));
    Planted { data_dir, seeds, claims, expected: scribe.expected, faults: scribe.faults }
}

/// A user on the way over the cap of 3.
struct OverCap {
    user: u64,
    sponsors: Vec<u64>,
}

struct Scribe {
    journal: Journal,
    claims: [BufWriter<File>; 2],
    receipts: Receipts,
    /// Claims written now have a receipt that nobody made.
    forged: bool,
    expected: BTreeSet<Expected>,
    faults: BTreeMap<&'static str, u64>,
}

impl Scribe {
    /// As it should be. Some are shown twice, and some only after a reconnect.
    fn issue_and_show(&mut self, envelope: Envelope, index: u32) {
        let user = u64::from(index) + 1;
        self.journal.win(user, envelope);
        if index % 1000 != 1 {
            self.show(user, envelope, false);
        }
        if index % 1000 < 2 {
            self.show(user, envelope, true);
        }
    }

    fn show(&mut self, user: u64, envelope: Envelope, again: bool) {
        let file = &mut self.claims[(user % 2) as usize];
        let sequence = u32::from(!again);
        let receipt = self.receipts.of(UserId(user), &envelope);
        let receipt = if self.forged { Receipt::default() } else { receipt };
        writeln!(
            file,
            r#"{{"envelope":{},"user":{user},"sponsor":{},"amount_cents":{},"sequence":{sequence},"shown_again":{again},"time_us":1771329600000000,"receipt":"{receipt}"}}"#,
            envelope.id.0, envelope.sponsor.0, envelope.amount.0
        )
        .expect("written");
    }

    fn expect(&mut self, kind: &str, envelope: EnvelopeId, user: u64) {
        self.expected.insert((kind.to_owned(), Some(envelope.0), user, None));
    }

    /// Makes the `number`th fault, with this envelope.
    fn plant(&mut self, number: usize, envelope: Envelope, index: u32) -> Option<OverCap> {
        let user = u64::from(index) + 1;
        let other = OTHERS + u64::from(index);
        let at = |server, shard| Envelope { id: EnvelopeId::new(ServerId(server), ShardId(shard), index), ..envelope };
        let dearer = Envelope { amount: Cents(envelope.amount.0 + 1), ..envelope };
        let by_journal = (number / KINDS.len()).is_multiple_of(2);
        let kind = KINDS[number % KINDS.len()];
        *self.faults.entry(kind).or_default() += 1;
        match (kind, by_journal) {
            ("issued_twice", true) => {
                self.issue_and_show(envelope, index);
                self.journal.win(other, envelope);
                self.show(other, envelope, false);
                self.expect(kind, envelope.id, other);
            }
            ("issued_twice", false) => {
                self.issue_and_show(envelope, index);
                self.show(other, envelope, false);
                self.expect(kind, envelope.id, other);
            }
            ("claimed_not_issued", _) => {
                self.show(user, envelope, false);
                self.expect(kind, envelope.id, user);
            }
            ("issued_never_shown", _) => {
                self.journal.win(user, envelope);
                self.expect(kind, envelope.id, user);
            }
            ("wrong_amount", true) => {
                self.journal.win(user, dearer);
                self.show(user, dearer, false);
                self.expect(kind, envelope.id, user);
            }
            ("wrong_amount", false) => {
                self.journal.win(user, envelope);
                self.show(user, Envelope { sponsor: SponsorId(99), ..envelope }, false);
                self.expect(kind, envelope.id, user);
            }
            ("foreign" | "unknown", _) => {
                self.issue_and_show(envelope, index);
                let stray = if kind == "foreign" { at(9, 0) } else { at(SERVER.0, 77) };
                if by_journal {
                    self.journal.win(other, stray);
                }
                self.show(other, stray, false);
                self.expect(kind, stray.id, other);
            }
            ("bad_receipt", _) => {
                self.issue_and_show(envelope, index);
                self.forged = true;
                self.show(other, envelope, false);
                self.forged = false;
                self.expect(kind, envelope.id, other);
            }
            _ => {
                let begun = OverCap { user: other, sponsors: Vec::new() };
                return self.go_over_cap(Some(begun), envelope);
            }
        }
        None
    }

    /// One more envelope for a user who ends with four.
    fn go_over_cap(&mut self, over_cap: Option<OverCap>, envelope: Envelope) -> Option<OverCap> {
        let mut over_cap = over_cap?;
        self.journal.win(over_cap.user, envelope);
        self.show(over_cap.user, envelope, false);
        over_cap.sponsors.push(u64::from(envelope.sponsor.0));
        if over_cap.sponsors.len() < 4 {
            return Some(over_cap);
        }
        let (user, sponsors) = (over_cap.user, over_cap.sponsors);
        self.expected.insert(("over_cap".to_owned(), None, user, None));
        for sponsor in &sponsors {
            if sponsors.iter().filter(|other| *other == sponsor).count() > 1 {
                self.expected.insert(("over_cap".to_owned(), None, user, Some(*sponsor)));
            }
        }
        None
    }
}

/// A journal written without a ledger, so that it can hold what no ledger would write.
struct Journal {
    folder: SegmentFolder,
    writer: JournalWriter,
    block: Vec<u8>,
    payload_bytes: usize,
    records: u32,
}

impl Journal {
    fn begin(data_dir: &Path) -> Self {
        std::fs::create_dir_all(data_dir).expect("a data folder");
        let folder = SegmentFolder::of(data_dir);
        folder.create().expect("a journal folder");
        let writer = JournalWriter::new(ChainPoint::START, JournalId::new(CAMPAIGN, 1, 1), 1, SEGMENT_BYTES);
        let block = vec![0; BlockHeader::BYTES + BlockHeader::PAYLOAD_BYTES_MAX];
        let mut journal = Self { folder, writer, block, payload_bytes: 0, records: 0 };
        journal.add(&Record::Binding(Binding { campaign: CAMPAIGN, server: SERVER, gift_key: [1; 16], time_us: 1 }));
        journal
    }

    fn win(&mut self, user: u64, envelope: Envelope) {
        self.add(&Record::Win(WinRecord { user: UserId(user), envelope, time_us: 1_771_329_600_000_000 }));
    }

    fn add(&mut self, record: &Record) {
        if self.payload_bytes + WIN_BYTES > BlockHeader::PAYLOAD_BYTES_MAX {
            self.flush();
        }
        self.payload_bytes += record.encode(&mut self.block[BlockHeader::BYTES + self.payload_bytes..]);
        self.records += 1;
    }

    fn flush(&mut self) {
        if !self.writer.fits(self.payload_bytes) {
            self.writer.next_segment(SEGMENT_BYTES);
        }
        let placed = self.writer.seal(&mut self.block, self.payload_bytes, self.records);
        let path = self.folder.segment_path(placed.segment);
        let file = File::options().write(true).create(true).truncate(false).open(path).expect("a segment");
        file.set_len(SEGMENT_BYTES).expect("zeros");
        file.write_all_at(&self.block[..placed.length], placed.offset).expect("written");
        (self.payload_bytes, self.records) = (0, 0);
    }
}

/// What the report of `hongbaod ledger reconcile` names.
pub(crate) fn found(report: &serde_json::Value) -> BTreeSet<Expected> {
    let findings = report["findings"].as_array().expect("a list of findings");
    let of = |finding: &serde_json::Value| {
        let kind = finding["kind"].as_str().expect("a kind").to_owned();
        let envelope = finding["envelope"].as_u64();
        let sponsor = if kind == "over_cap" { finding["sponsor"].as_u64() } else { None };
        (kind, envelope, finding["user"].as_u64().expect("a user"), sponsor)
    };
    let found: BTreeSet<_> = findings.iter().map(of).collect();
    assert_eq!(found.len(), findings.len(), "each finding once");
    found
}
