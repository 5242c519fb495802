//! One history: the daemon is started, used, hurt, ended and started again, in an order drawn from the seed, and held against the
//! model all the way.

use std::fmt;

use hongbao_protocol::UserId;
use hongbao_uring::Errno;
use hongbaod::ledger::{Ledger, LedgerError};
use hongbaod::limits::ISSUE_RATE_UNLIMITED;
use hongbaod::messages::FeederCommand;

use crate::client::{Around, Client, Heard};
use crate::dice::Dice;
use crate::fault::{Fault, FaultCounts};
use crate::machine::{self, Clock, Machine, Seeds};
use crate::model::{Checked, Model, Violation, violated};
use crate::plan::{Part, Plan};
use crate::storage::{Landing, SECTOR_BYTES, Storage};

/// Tries to start, each of which may be hurt, before it is left alone.
const HURT_STARTS_MAX: usize = 6;
/// Rounds in which everything must come to rest, though a ring with one small buffer reads a few bytes in each.
const CALM_ROUNDS: usize = 2_000;
const CALM_ROUND_US: u64 = 20_000;

/// What a history was like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Of everything that was written and everything that was heard, in order: two runs of a seed have the same.
    pub digest: u64,
    /// What was done to it.
    pub faults: FaultCounts,
    /// What the clients saw.
    pub heard: Heard,
    /// Starts of the daemon.
    pub starts: u64,
    /// Starts that were refused because of a corrupted journal, as they must be.
    pub refusals: u64,
    /// Turns.
    pub steps: u64,
    /// The promise that was broken, and at which turn.
    pub violation: Option<(usize, String)>,
}

/// Where lines about each turn go.
pub type Trace<'a> = dyn FnMut(fmt::Arguments<'_>) + 'a;

/// Runs a history to its end, or to the first broken promise. `trace` is given a line for each turn.
pub(crate) fn run(plan: &Plan, trace: Option<&mut Trace<'_>>) -> Outcome {
    let mut history = History::new(plan, trace);
    let violation = history.live().err().map(|Violation(text)| (history.step, text));
    history.outcome(violation)
}

struct History<'a, 't> {
    plan: &'a Plan,
    trace: Option<&'a mut Trace<'t>>,
    dice: Dice,
    storage: Storage,
    seeds: Seeds,
    model: Model,
    clients: Vec<Client>,
    machine: Option<Machine>,
    clock: Clock,
    /// The last run ended by itself.
    orderly: bool,
    disk_is_full: bool,
    counts: FaultCounts,
    heard: Heard,
    digest: u64,
    starts: u64,
    refusals: u64,
    step: usize,
}

/// Writes a line of the trace, where there is one.
macro_rules! trace {
    ($history:expr, $($text:tt)*) => {
        if let Some(trace) = &mut $history.trace {
            trace(format_args!($($text)*));
        }
    };
}

impl<'a, 't> History<'a, 't> {
    fn new(plan: &'a Plan, trace: Option<&'a mut Trace<'t>>) -> Self {
        let dice = Dice::new(plan.seed, 2);
        let seeds = Seeds::new(plan, &mut Dice::new(plan.seed, 3));
        let model = Model::new(&seeds.envelopes, plan.envelopes, plan.users, plan.caps);
        let user = |client: usize| UserId(1 + (client % plan.users) as u64);
        Self {
            plan,
            trace,
            dice,
            storage: Storage::new(plan.write_path, Dice::new(plan.seed, 4)),
            seeds,
            model,
            clients: (0..plan.clients).map(|client| Client::new(user(client))).collect(),
            machine: None,
            clock: Clock { elapsed_us: 0, unix_offset_us: 1_700_000_000_000_000 },
            orderly: false,
            disk_is_full: false,
            counts: FaultCounts::default(),
            heard: Heard::default(),
            digest: plan.seed,
            starts: 0,
            refusals: 0,
            step: 0,
        }
    }

    fn outcome(&self, violation: Option<(usize, String)>) -> Outcome {
        let mut faults = self.counts.clone();
        faults.add(&self.storage.counts());
        let digest = (self.digest ^ self.storage.digest().rotate_left(17)).wrapping_add(self.clock.unix_us());
        let (heard, starts, refusals, steps) = (self.heard, self.starts, self.refusals, self.step as u64);
        Outcome { digest, faults, heard, starts, refusals, steps, violation }
    }

    fn live(&mut self) -> Checked {
        while self.step < self.plan.steps {
            if self.machine.is_none() {
                self.start()?;
            }
            self.turn()?;
            self.step += 1;
        }
        self.come_to_rest()?;
        self.come_back()
    }

    /// At the end nothing goes wrong any more, and every shake that can be answered is.
    fn come_to_rest(&mut self) -> Checked {
        self.await_disk()?;
        if self.machine.is_none() {
            self.start()?;
        }
        trace!(self, "calm");
        self.calm(CALM_ROUNDS, |history| history.clients.iter().all(|client| client.waits_in_vain().is_none()))?;
        for client in &self.clients {
            if let Some(sequence) = client.waits_in_vain() {
                violated!("shake {sequence} of user {} was never answered", client.user());
            }
        }
        self.stop()
    }

    /// What the disk has done so far is told to the ledger, which may end for it.
    fn await_disk(&mut self) -> Checked {
        for _ in 0..2 {
            if self.machine.is_some() {
                self.turn_ledger()?;
            }
        }
        Ok(())
    }

    /// A last start, and everyone is shown what they have won.
    fn come_back(&mut self) -> Checked {
        self.start()?;
        for place in 0..self.clients.len() {
            let set = place % self.plan.sets;
            let machine = self.machine.as_mut().expect("just started");
            let Some(network) = machine.network(set) else { continue };
            self.clients[place].connect(set, network, &self.model);
            self.calm(CALM_ROUNDS, |history| {
                history.clients[place].set().is_none() || history.clients[place].is_settled()
            })?;
            let came_through = self.clients[place].is_settled();
            // Where every place is taken, the newcomer is told so and closed on.
            if !came_through && self.clients[place].set().is_some() {
                violated!("user {} says hello and is not answered", self.clients[place].user());
            }
            if let Some(network) = self.machine.as_mut().and_then(|machine| machine.network(set))
                && self.clients[place].set().is_some()
            {
                self.clients[place].leave(network);
            }
        }
        self.stop()
    }

    /// Everything gets its turn, nothing goes wrong, until `done`.
    fn calm(&mut self, rounds: usize, done: impl Fn(&Self) -> bool) -> Checked {
        self.storage.limit(None);
        self.disk_is_full = false;
        for set in 0..self.plan.sets {
            if let Some(network) = self.machine.as_mut().and_then(|machine| machine.network(set)) {
                network.return_buffers();
            }
        }
        for _ in 0..rounds {
            for client in &mut self.clients {
                let Some(set) = client.set() else { continue };
                if let Some(network) = self.machine.as_mut().and_then(|machine| machine.network(set)) {
                    client.calm_down(network);
                }
            }
            self.round()?;
            if done(self) {
                break;
            }
        }
        Ok(())
    }

    /// One turn of everything.
    fn round(&mut self) -> Checked {
        self.clock.elapsed_us += CALM_ROUND_US;
        for set in 0..self.plan.sets {
            self.turn_set(set)?;
        }
        self.storage.land(Landing::Written);
        self.turn_ledger()?;
        let Some(machine) = &mut self.machine else { violated!("a commit failed, and nothing had gone wrong") };
        machine.maker.go_on();
        machine.read_seeds(&self.seeds);
        machine.turn_feeder(self.clock);
        for client in 0..self.clients.len() {
            self.read(client)?;
        }
        self.check_balance()
    }

    /// The daemon is told to stop, and everything must be accounted for when it has.
    fn stop(&mut self) -> Checked {
        trace!(self, "stop");
        self.await_disk()?;
        let Some(machine) = &mut self.machine else { return Ok(()) };
        machine.stop();
        for _ in 0..CALM_ROUNDS {
            self.round()?;
            if self.machine.as_ref().and_then(Machine::ended).is_none() {
                continue;
            }
            // The feeder ends after the SETs, and takes back what they left.
            let Some(mut machine) = self.machine.take() else { continue };
            if !machine.turn_feeder(self.clock) {
                violated!("every SET has ended, and the feeder has not");
            }
            let ended = machine.ended().expect("it had ended");
            let (envelopes, cents) = self.model.seeded();
            let (issued, left) = (ended.ledger, ended.feeder.unissued);
            if !ended.feeder.is_balanced() {
                violated!("the feeder's books do not balance: {:?}", ended.feeder);
            }
            if (issued.issued + left.envelopes, issued.cents.0 + left.amount.0) != (envelopes, cents) {
                violated!("seeded {envelopes} of {cents} cents; issued {issued:?}, left over {left:?}");
            }
            self.storage.kill();
            self.orderly = true;
            self.cut_clients();
            return Ok(());
        }
        violated!("the daemon was told to stop and did not")
    }

    fn cut_clients(&mut self) {
        for client in &mut self.clients {
            client.cut();
        }
    }

    /// The process ends here and now.
    fn end(&mut self, power: bool) -> Checked {
        // What had arrived at a client counts as heard, as does nothing that had not.
        for client in 0..self.clients.len() {
            self.read(client)?;
        }
        self.machine = None;
        self.orderly = false;
        self.cut_clients();
        if power {
            self.storage.cut_power();
        } else {
            self.storage.kill();
        }
        Ok(())
    }

    fn start(&mut self) -> Checked {
        self.storage.find_last_block();
        if self.happens(Fault::BitFlip, 300) {
            for _ in 0..self.dice.between(1, 3) {
                self.storage.flip_bit();
            }
        }
        self.storage.limit(None);
        self.disk_is_full = false;
        for attempt in 0.. {
            if attempt < HURT_STARTS_MAX && self.happens(Fault::CrashInFiles, 150) {
                self.storage.set_fuse(Some(self.dice.below(14) as u32));
            } else if attempt < HURT_STARTS_MAX && self.happens(Fault::FileError, 100) {
                self.storage.fail_in(Some(self.dice.below(20) as u32));
            }
            let may_fail = self.storage.failure_is_pending();
            let opened = machine::open(self.plan, &self.storage, self.clock);
            let failed = may_fail && !self.storage.failure_is_pending();
            self.storage.fail_in(None);
            if self.storage.is_down() {
                trace!(self, "crashed in a start");
                let power = self.dice.chance(500);
                self.end(power)?;
                continue;
            }
            self.storage.set_fuse(None);
            match opened {
                Ok(ledger) => return self.begin(ledger),
                Err(error) if failed => {
                    trace!(self, "a start failed: {error}");
                    check_names_file(&error)?;
                    self.end(false)?;
                }
                Err(error) => self.check_refusal(&error)?,
            }
            assert!(attempt < 2 * HURT_STARTS_MAX, "each kind of trouble passes");
        }
        Ok(())
    }

    /// A start has read the journal: it must hold all that was promised.
    fn begin(&mut self, ledger: Ledger) -> Checked {
        self.starts += 1;
        trace!(self, "started with {} wins", ledger.accounts().issued());
        self.model.recovered(ledger.accounts(), std::mem::take(&mut self.orderly))?;
        self.digest = self.digest.rotate_left(9) ^ ledger.accounts().issued();
        if let Some(scar) = self.storage.scars().first() {
            violated!("corruption in sector {} of {} passed silently", scar.sector, scar.path.display());
        }
        match Machine::start(self.plan, ledger, &self.storage, &self.seeds, self.clock) {
            Ok(machine) => self.machine = Some(machine),
            Err(failure) => violated!("the journal contradicts the seeds: {failure:?}"),
        }
        self.check_balance()
    }

    /// A refusal must have a reason, and name the first place that was corrupted, or one before it.
    fn check_refusal(&mut self, error: &LedgerError) -> Checked {
        trace!(self, "refused: {error}");
        let scars = self.storage.scars();
        let Some(first) = scars.first() else { violated!("a whole journal was refused: {error}") };
        let LedgerError::Damaged { file, damage, .. } = error else {
            violated!("a corrupted journal was refused without a place: {error}")
        };
        let named = (file.as_path(), damage.offset);
        // A block that is missing at the end of a segment shows only where the next one begins.
        let follows = damage.offset == 0;
        if named > (first.path.as_path(), (first.sector * SECTOR_BYTES) as u64) && !follows {
            violated!("sector {} of {} passed silently: {error}", first.sector, first.path.display());
        }
        if !error.to_string().contains(&file.display().to_string()) {
            violated!("a refusal does not name its file: {error}");
        }
        self.refusals += 1;
        self.storage.restore();
        Ok(())
    }

    fn happens(&mut self, fault: Fault, per_mille: usize) -> bool {
        self.plan.faults.has(fault) && self.dice.chance(per_mille)
    }

    /// Someone's turn.
    fn turn(&mut self) -> Checked {
        let turns = &self.plan.turns;
        let mut ticket = self.dice.below(turns.iter().sum());
        let place = turns.iter().position(|share| match ticket.checked_sub(*share) {
            Some(left) => {
                ticket = left;
                false
            }
            None => true,
        });
        let part = Part::ALL[place.expect("the ticket is below the sum")];
        trace!(self, "{} us: {part:?}", self.clock.elapsed_us);
        match part {
            Part::Set => {
                let set = self.dice.below(self.plan.sets);
                self.turn_set(set)?;
            }
            Part::Ledger => self.turn_ledger()?,
            Part::Feeder => {
                let clock = self.clock;
                self.running().turn_feeder(clock);
            }
            Part::SeedRead => {
                let Some(machine) = &self.machine else { return Ok(()) };
                machine.read_seeds(&self.seeds);
            }
            Part::Disk => self.turn_disk(),
            Part::SegmentMaker => return self.turn_maker(),
            Part::Client => self.turn_client()?,
            Part::Clock => {
                let longest_us = self.dice.one_of(&[50, 1_000, 20_000, 300_000, 1_500_000]);
                self.clock.elapsed_us += self.dice.below(longest_us) as u64;
            }
            Part::Fault => self.turn_fault()?,
        }
        if self.machine.is_some() { self.check_balance() } else { Ok(()) }
    }

    fn running(&mut self) -> &mut Machine {
        self.machine.as_mut().expect("a turn is of a running daemon")
    }

    fn turn_set(&mut self, set: usize) -> Checked {
        let clock = self.clock;
        if self.running().turn_set(set, clock) {
            for client in 0..self.clients.len() {
                if self.clients[client].set() == Some(set) {
                    self.read(client)?;
                    self.clients[client].cut();
                }
            }
            self.running().drop_set(set);
        }
        Ok(())
    }

    fn turn_ledger(&mut self) -> Checked {
        let clock = self.clock;
        if let Err(failure) = self.running().turn_ledger(clock) {
            trace!(self, "{failure}");
            self.end(false)?;
        }
        Ok(())
    }

    fn turn_disk(&mut self) {
        if !self.storage.is_writing() {
            return;
        }
        let landings = [
            (Fault::WriteError, Landing::WriteFails, 15),
            (Fault::FlushError, Landing::FlushFails, 15),
            (Fault::ShortWrite, Landing::EndsShort, 10),
            (Fault::Misdirected, Landing::Misdirected, 40),
            (Fault::LostWrite, Landing::Lost, 40),
        ];
        let mut landing = Landing::Written;
        for (fault, other, per_mille) in landings {
            if landing == Landing::Written && self.happens(fault, per_mille) {
                landing = other;
                if !matches!(fault, Fault::Misdirected | Fault::LostWrite) {
                    self.counts.count(fault);
                }
            }
        }
        trace!(self, "{landing:?}");
        self.storage.land(landing);
    }

    fn turn_maker(&mut self) -> Checked {
        if !self.running().maker.is_busy() {
            return Ok(());
        }
        if self.happens(Fault::CrashInFiles, 100) {
            self.storage.set_fuse(Some(self.dice.below(5) as u32));
        }
        self.running().maker.go_on();
        if self.storage.is_down() {
            let power = self.dice.chance(500);
            return self.end(power);
        }
        self.storage.set_fuse(None);
        Ok(())
    }

    fn turn_client(&mut self) -> Checked {
        let place = self.dice.below(self.clients.len());
        let Some(set) = self.clients[place].set() else {
            self.connect(place);
            return Ok(());
        };
        let (client, around, machine) = self.around(place);
        match machine.network(set) {
            Some(network) => client.act(network, &mut { around }),
            None => Ok(()),
        }
    }

    fn connect(&mut self, place: usize) {
        let user = self.clients[place].user();
        let others = self.clients.iter().filter(|other| other.user() == user && other.set().is_some()).count();
        if others > 0 {
            if !self.happens(Fault::TwoDevices, 500) {
                return;
            }
            self.counts.count(Fault::TwoDevices);
        }
        let mut set = self.clients[place].last_set();
        if self.plan.sets > 1 && self.happens(Fault::Moved, 300) {
            self.counts.count(Fault::Moved);
            set = (set + self.dice.between(1, self.plan.sets - 1)) % self.plan.sets;
        }
        let machine = self.machine.as_mut().expect("a turn is of a running daemon");
        if let Some(network) = machine.network(set) {
            self.clients[place].connect(set, network, &self.model);
        }
    }

    fn read(&mut self, place: usize) -> Checked {
        let Some(set) = self.clients[place].set() else { return Ok(()) };
        if self.machine.is_none() {
            return Ok(());
        }
        let (client, mut around, machine) = self.around(place);
        machine.network(set).map_or(Ok(()), |network| client.read(network, &mut around))
    }

    fn around(&mut self, place: usize) -> (&mut Client, Around<'_>, &mut Machine) {
        let around = Around {
            model: &mut self.model,
            dice: &mut self.dice,
            faults: self.plan.faults,
            counts: &mut self.counts,
            heard: &mut self.heard,
            digest: &mut self.digest,
        };
        (&mut self.clients[place], around, self.machine.as_mut().expect("a turn is of a running daemon"))
    }

    fn turn_fault(&mut self) -> Checked {
        const KINDS: [Fault; 10] = [
            Fault::Kill,
            Fault::PowerCut,
            Fault::OrderlyStop,
            Fault::ClockJump,
            Fault::DiskFull,
            Fault::NoBuffers,
            Fault::MultishotsEnd,
            Fault::AcceptError,
            Fault::RateChange,
            Fault::BitFlip,
        ];
        let kind = self.dice.one_of(&KINDS);
        let ends = matches!(kind, Fault::Kill | Fault::PowerCut | Fault::OrderlyStop);
        if !self.plan.faults.has(kind) || (ends && !self.dice.chance(250)) {
            return Ok(());
        }
        trace!(self, "{}", kind.name());
        if !matches!(kind, Fault::DiskFull | Fault::BitFlip) {
            self.counts.count(kind);
        }
        let set = self.dice.below(self.plan.sets);
        match kind {
            Fault::Kill => return self.end(false),
            Fault::PowerCut => return self.end(true),
            Fault::OrderlyStop => return self.stop(),
            Fault::ClockJump => {
                let jump_us = self.dice.below(20_000_000_000) as u64;
                let back = self.dice.chance(500);
                let offset = &mut self.clock.unix_offset_us;
                *offset = if back { *offset - jump_us } else { *offset + jump_us };
            }
            Fault::DiskFull => {
                self.disk_is_full = !self.disk_is_full;
                let room = self.dice.below(3 * 4096);
                self.storage.limit(self.disk_is_full.then_some(room));
            }
            Fault::BitFlip => self.storage.flip_bit(),
            Fault::RateChange => {
                let rate = self.dice.one_of(&[1, 50, 5_000, ISSUE_RATE_UNLIMITED]);
                let command =
                    self.dice.one_of(&[FeederCommand::SetRate(rate), FeederCommand::Pause, FeederCommand::Resume]);
                self.running().tell_feeder(command);
            }
            _ => self.hurt_network(kind, set),
        }
        Ok(())
    }

    fn hurt_network(&mut self, kind: Fault, set: usize) {
        let held = self.dice.chance(500).then(|| self.dice.below(2));
        let Some(network) = self.running().network(set) else { return };
        match (kind, held) {
            (Fault::NoBuffers, Some(left)) => network.hold_buffers(left),
            (Fault::NoBuffers, None) => network.return_buffers(),
            (Fault::MultishotsEnd, _) => network.end_multishots(),
            (Fault::AcceptError, _) => network.fail_accept(Errno::EMFILE),
            _ => unreachable!("no fault of the network"),
        }
    }

    fn check_balance(&self) -> Checked {
        let Some(machine) = &self.machine else { return Ok(()) };
        let balance = machine.balance();
        let (envelopes, cents) = self.model.seeded();
        if balance.difference_cents != 0 || (balance.seeded.envelopes, balance.seeded.cents) != (envelopes, cents) {
            violated!("the money does not add up: {balance}; seeded {envelopes} envelopes of {cents} cents");
        }
        Ok(())
    }
}

/// A start that failed for a file must name it.
fn check_names_file(error: &LedgerError) -> Checked {
    let text = error.to_string();
    let names = text.contains(&machine::data_dir().display().to_string());
    if names { Ok(()) } else { violated!("a start failed and does not say where: {text}") }
}
