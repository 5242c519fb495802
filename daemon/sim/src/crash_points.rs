//! Every crash of a short history: each operation on the journal, ended before it, in its midst and after it, with every subset of the
//! sectors and names that are at risk then. Chance has no part in it.
//!
//! The history is that of a ledger alone: a start, blocks of one to sixteen sectors over several segments, segments made meanwhile,
//! and starts over what crashes left, which are ended in their midst as well. After each crash the journal must hold
//! every win that was answered, all or nothing of the block in flight, and must go on.

use std::fmt;
use std::ops::{AddAssign, Range};
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;

use hongbao_protocol::{CampaignId, Cents, Envelope, EnvelopeId, ServerId, ShardId, SponsorId, UserId};
use hongbao_uring::{Disk, Token, Wait, WritePath};
use hongbaod::cells::LedgerCells;
use hongbaod::ledger::accounts::Caps;
use hongbaod::ledger::journal::{SegmentFolder, SegmentNumber};
use hongbaod::ledger::{BatchBounds, Boot, Ledger, LedgerError, LedgerLoop, LedgerOptions, Now};
use hongbaod::messages::{LedgerSetEnds, Request, Verdict};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::dice::Dice;
use crate::ring::{SegmentMaker, SimulatedRing};
use crate::storage::{Landing, Storage};

/// Wins of each block: some fill a page and its eight sectors, one fills two pages and sixteen.
const BLOCKS: [usize; 9] = [1, 99, 30, 99, 201, 1, 60, 99, 5];
const BLOCK_BYTES: usize = 2 * 4096;
const SEGMENT_BYTES: u64 = 5 * 4096;
/// More operations than a start or the making of a segment takes.
const OPERATIONS_MAX: u32 = 100;
/// Subsets that are too many to go on from each of them: every so many-th is gone on from.
const GO_ON_EVERY: u64 = 32;

/// What was gone through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enumerated {
    /// Places in the history that it was ended at.
    pub points: u64,
    /// What the disk could hold after that.
    pub states: u64,
}

impl AddAssign for Enumerated {
    fn add_assign(&mut self, other: Self) {
        self.points += other.points;
        self.states += other.states;
    }
}

/// A state in which a promise was broken, in words.
#[derive(Debug)]
pub struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<LedgerError> for Broken {
    fn from(error: LedgerError) -> Self {
        Self(format!("a start is refused: {error}"))
    }
}

/// How many wins a start must find: so many were answered, and so many more were in flight.
#[derive(Clone, Copy, Debug)]
struct Promised {
    answered: usize,
    in_flight: usize,
}

/// Goes through all of it on this way of writing.
pub fn enumerate(write_path: WritePath) -> Result<Enumerated, Broken> {
    let mut found = Enumerated::default();
    let storage = Storage::new(write_path, Dice::new(0, 0));
    found += starts(&storage, Promised { answered: 0, in_flight: 0 })?;
    let mut run = Run::start(&storage)?;
    for wins in BLOCKS {
        if run.maker.is_busy() {
            found += segments(&storage, run.next_segment, run.promised(0))?;
            run.maker.go_on();
            run.next_segment = SegmentNumber(run.next_segment.0 + 1);
        }
        found += run.write(wins)?;
    }
    Ok(found)
}

/// A ledger on its way through the history, with one SET that claims.
struct Run {
    storage: Storage,
    ledger: LedgerLoop<SimulatedRing, SegmentMaker>,
    maker: SegmentMaker,
    requests: Producer<Request>,
    verdicts: Consumer<Verdict>,
    claimed: usize,
    answered: usize,
    next_segment: SegmentNumber,
}

impl Run {
    fn start(storage: &Storage) -> Result<Self, Broken> {
        let ledger = open(storage)?;
        let claimed = ledger.accounts().issued() as usize;
        let (requests, requests_out) = RingBuffer::new(256);
        let (verdicts_in, verdicts) = RingBuffer::new(512);
        let ends = LedgerSetEnds { requests: requests_out, verdicts: verdicts_in, doorbell: Arc::default() };
        let maker = SegmentMaker::new(storage, data_dir(), SEGMENT_BYTES);
        let folder = SegmentFolder::on(Arc::new(storage.clone()), data_dir());
        let file = |number| Ok(storage.open(&folder.segment_path(number)).expect("a start has just listed it"));
        let disk = SimulatedRing::new(storage.clone());
        let ledger = ledger.into_loop(disk, maker.clone(), file, vec![ends], Arc::<LedgerCells>::default())?;
        let (storage, next_segment) = (storage.clone(), SegmentNumber(2));
        Ok(Self { storage, ledger, maker, requests, verdicts, claimed, answered: claimed, next_segment })
    }

    fn promised(&self, in_flight: usize) -> Promised {
        Promised { answered: self.answered, in_flight }
    }

    fn turn(&mut self) -> Result<(), Broken> {
        let turned = self.ledger.turn(Now { unix_us: 1, monotonic_us: 1 });
        turned.map_err(|failure| Broken(format!("nothing had gone wrong: {failure}")))
    }

    fn enter(&mut self) {
        self.ledger.disk().enter(Wait::NOT).expect("this ring does not fail");
    }

    fn claim(&mut self, wins: usize) {
        for win in self.claimed..self.claimed + wins {
            let (caller, user, envelope) = (Token::default(), user(win), envelope(win));
            let claim = Request::Claim { caller, sequence: 1, user, envelope };
            self.requests.push(claim).expect("the queue is long enough");
        }
        self.claimed += wins;
    }

    fn hear(&mut self) -> Result<(), Broken> {
        while let Ok(verdict) = self.verdicts.pop() {
            let Verdict::Won { envelope: won, .. } = verdict else {
                return Err(Broken(format!("a claim of a fresh envelope is answered with {verdict:?}")));
            };
            if won != envelope(self.answered) {
                return Err(Broken(format!("{won:?} is answered before {:?}", envelope(self.answered))));
            }
            self.answered += 1;
        }
        Ok(())
    }

    /// A block, with a crash at each place on its way.
    fn write(&mut self, wins: usize) -> Result<Enumerated, Broken> {
        let mut found = crash(&self.storage, self.promised(0))?;
        self.claim(wins);
        self.turn()?;
        found += crash(&self.storage, self.promised(wins))?;
        self.enter();
        found += crash(&self.storage, self.promised(wins))?;
        self.storage.land(Landing::Written);
        self.hear()?;
        if self.answered + wins != self.claimed {
            return Err(Broken("a win was answered before it was durable".to_owned()));
        }
        found += crash(&self.storage, Promised { answered: self.claimed, in_flight: 0 })?;
        self.enter();
        self.turn()?;
        self.hear()?;
        if self.answered != self.claimed {
            return Err(Broken("a durable win is not answered".to_owned()));
        }
        Ok(found)
    }
}

/// The end at this place, by a power cut with every subset of what is at risk and by a kill; then starts over what is left.
fn crash(storage: &Storage, promised: Promised) -> Result<Enumerated, Broken> {
    let mut found = Enumerated { points: 1, states: 0 };
    let (sectors, names) = storage.at_risk();
    assert!(sectors + names <= 20, "{sectors} sectors and {names} names have too many subsets");
    let subsets = 1_u64 << (sectors + names);
    found.states += subsets;
    over_all_cores(0..subsets, &|subset| {
        let left = storage.fork();
        left.cut_power_keeping(subset & ((1 << sectors) - 1), subset >> sectors);
        let goes_on = subsets <= 512 || subset % GO_ON_EVERY == 0;
        look(&left, promised, goes_on).map_err(|Broken(text)| {
            Broken(format!("{text}; after a power cut that kept {subset:#b} of {sectors} sectors and {names} names"))
        })
    })?;
    let killed = storage.fork();
    killed.kill();
    found.states += 1;
    look(&killed.fork(), promised, true)?;
    // Starts over what crashes left are ended in their midst too: over each kind of torn block where they are few, else some.
    let every = (subsets / 16).max(1);
    for subset in (0..subsets).step_by(every as usize) {
        let left = storage.fork();
        left.cut_power_keeping(subset & ((1 << sectors) - 1), subset >> sectors);
        found += starts(&left, promised)?;
    }
    found += starts(&killed, promised)?;
    Ok(found)
}

/// A start over this, ended in the midst of each of its operations, and what the next start finds.
fn starts(storage: &Storage, promised: Promised) -> Result<Enumerated, Broken> {
    ended_in_its_midst(storage, promised, &|disk| drop(open(disk)))
}

/// The making of a segment likewise.
fn segments(storage: &Storage, number: SegmentNumber, promised: Promised) -> Result<Enumerated, Broken> {
    ended_in_its_midst(storage, promised, &|disk| {
        // That it fails is what is tried here.
        let _ = SegmentFolder::on(Arc::new(disk.clone()), data_dir()).make(number, SEGMENT_BYTES);
    })
}

fn ended_in_its_midst(storage: &Storage, promised: Promised, work: &dyn Fn(&Storage)) -> Result<Enumerated, Broken> {
    let mut found = Enumerated::default();
    for operations in 0..OPERATIONS_MAX {
        for done in [false, true] {
            let ended = storage.fork();
            ended.set_midst(done);
            ended.set_fuse(Some(operations));
            work(&ended);
            if !ended.is_down() {
                return Ok(found);
            }
            found.points += 1;
            let (sectors, names) = ended.at_risk();
            for subset in 0..1_u64 << (sectors + names) {
                let left = ended.fork();
                left.cut_power_keeping(subset & ((1 << sectors) - 1), subset >> sectors);
                look(&left, promised, true)?;
                found.states += 1;
            }
            ended.kill();
            look(&ended.fork(), promised, true)?;
            found.states += 1;
            // A daemon that was killed may be followed by one that goes on, and that by a power cut.
            let (sectors, names) = ended.at_risk();
            for subset in 0..1_u64 << (sectors + names) {
                let left = ended.fork();
                let wins = go_on(&left)?;
                left.cut_power_keeping(0, subset);
                look(&left, Promised { answered: wins, in_flight: 0 }, false)?;
                found.states += 1;
            }
        }
    }
    unreachable!("a start ends");
}

/// What a start finds: everything promised, and all or nothing of what was in flight. Where it `goes_on`, one more win is written, and
/// must be there with all others when the power goes right after.
fn look(storage: &Storage, promised: Promised, goes_on: bool) -> Result<(), Broken> {
    let found = wins_of(&open(storage)?)?;
    let Promised { answered, in_flight } = promised;
    if found != answered && found != answered + in_flight {
        return Err(Broken(format!(
            "a start finds {found} wins, where {answered} were answered and {in_flight} in flight"
        )));
    }
    if !goes_on {
        return Ok(());
    }
    let expected = go_on(storage)?;
    storage.cut_power_keeping(0, 0);
    let again = wins_of(&open(storage)?)?;
    if again != expected {
        return Err(Broken(format!("{expected} wins became {again} by a second power cut")));
    }
    Ok(())
}

/// Writes one more block, and says how many wins there are then.
fn go_on(storage: &Storage) -> Result<usize, Broken> {
    let mut run = Run::start(storage)?;
    run.maker.go_on();
    run.turn()?;
    run.claim(1);
    run.turn()?;
    run.enter();
    storage.land(Landing::Written);
    run.enter();
    run.turn()?;
    run.hear()?;
    Ok(run.answered)
}

/// How many wins a ledger holds, if they are the first so many, each its user's.
fn wins_of(ledger: &Ledger) -> Result<usize, Broken> {
    let accounts = ledger.accounts();
    for (win, found) in accounts.envelopes().enumerate() {
        if found != envelope(win) {
            return Err(Broken(format!("win {win} is {found:?}, and was {:?}", envelope(win))));
        }
        if accounts.over_cap(user(win), SponsorId(0)).is_none() {
            return Err(Broken(format!("win {win} is not its user's")));
        }
    }
    Ok(accounts.issued() as usize)
}

fn open(storage: &Storage) -> Result<Ledger, LedgerError> {
    let options = LedgerOptions {
        segment_bytes: SEGMENT_BYTES,
        wins_expected: 0,
        batch_bounds: BatchBounds { block_bytes: BLOCK_BYTES, logins: 1 },
        ..LedgerOptions::new(data_dir(), Caps { per_user: 1, per_sponsor: 0 })
    };
    let mut ledger = Ledger::open_on(Arc::new(storage.clone()), options, Boot { unix_us: 1, random: 1 })?;
    ledger.bind(CampaignId(1), ServerId(1))?;
    Ok(ledger)
}

fn data_dir() -> &'static Path {
    Path::new("data")
}

fn user(win: usize) -> UserId {
    UserId(1 + win as u64)
}

fn envelope(win: usize) -> Envelope {
    let id = EnvelopeId::new(ServerId(1), ShardId(0), win as u32);
    Envelope { id, sponsor: SponsorId(7), amount: Cents(1 + win as u64) }
}

fn over_all_cores(range: Range<u64>, look: &(dyn Fn(u64) -> Result<(), Broken> + Sync)) -> Result<(), Broken> {
    let threads = available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                let own = (range.start + part..range.end).step_by(threads as usize);
                scope.spawn(move || own.into_iter().try_for_each(look))
            })
            .collect();
        parts.into_iter().try_for_each(|part| part.join().unwrap_or_else(|_| Err(Broken("it panicked".to_owned()))))
    })
}
