//! Random histories of claims, logins, slow disks and power cuts, against a model that knows only what was asked and told.

use std::collections::{HashMap, HashSet};

use hongbao_protocol::{Envelope, UserId};
use proptest::prelude::*;

use super::machine::{CAPS, Machine, Running, claim, envelope, login};
use crate::ledger::accounts::Caps;
use crate::ledger::journal::{Record, SegmentNumber};
use crate::ledger::replay::Replay;
use crate::messages::{Refusal, Verdict};

#[derive(Clone, Copy, Debug)]
enum Step {
    Claim { set: usize, user: u64, index: u32 },
    Login { set: usize, user: u64 },
    Turns(u32),
    Hold(bool),
    Crash { sectors: u64 },
}

const SETS: usize = 2;
const SPONSORS: u32 = 4;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..SETS, 0..6_u64, 0..60_u32).prop_map(|(set, user, index)| Step::Claim { set, user, index }),
        2 => (0..SETS, 0..6_u64).prop_map(|(set, user)| Step::Login { set, user }),
        4 => (1..4_u32).prop_map(Step::Turns),
        2 => any::<bool>().prop_map(Step::Hold),
        1 => any::<u64>().prop_map(|sectors| Step::Crash { sectors }),
    ]
}

/// What the clients know.
#[derive(Default)]
struct Model {
    asked: HashSet<(u64, u32)>,
    /// Told as won or as won earlier: never to be lost.
    told: HashMap<u32, u64>,
    /// Users whose logins wait, per SET in order.
    logins: [Vec<u64>; SETS],
    showing: [Option<(u64, u32)>; SETS],
}

impl Model {
    fn hear(&mut self, set: usize, verdict: Verdict) {
        if let Some((user, left)) = self.showing[set].take() {
            let Verdict::Earlier { envelope, .. } = verdict else {
                panic!("{left} more earlier wins follow at once: {verdict:?}")
            };
            self.tell(user, &envelope);
            self.showing[set] = (left > 1).then(|| (user, left - 1));
            return;
        }
        match verdict {
            Verdict::Won { caller, envelope, wins, .. } => {
                assert!((1..=CAPS.per_user).contains(&wins));
                self.tell(u64::from(caller.slot), &envelope);
            }
            Verdict::Refused { refusal, .. } => assert_ne!(refusal, Refusal::Halted),
            Verdict::Account { caller, wins, shown } => {
                let user = u64::from(caller.slot);
                let place = self.logins[set].iter().position(|waiting| *waiting == user);
                self.logins[set].remove(place.expect("a login is answered once"));
                let known = self.told.values().filter(|owner| **owner == user).count();
                assert!(wins as usize >= known && shown == wins, "user {user} was told of {known} wins, now of {wins}");
                self.showing[set] = (shown > 0).then_some((user, shown));
            }
            Verdict::Earlier { .. } => panic!("an earlier win without an account"),
        }
    }

    fn tell(&mut self, user: u64, envelope: &Envelope) {
        let index = envelope.id.index();
        assert!(self.asked.contains(&(user, index)), "user {user} never asked for envelope {index}");
        let owner = *self.told.entry(index).or_insert(user);
        assert_eq!(owner, user, "envelope {index} is two users'");
    }

    /// Holds the journal against all that was told, and the caps.
    fn audit(&self, machine: &Machine) {
        let mut wins: HashMap<u32, u64> = HashMap::new();
        let mut accounts = crate::ledger::accounts::Accounts::new(Caps::UNLIMITED, 0);
        let mut replay = Replay::new(SegmentNumber::FIRST, &mut accounts);
        for (index, bytes) in machine.segments().iter().enumerate() {
            let number = SegmentNumber(index as u32 + 1);
            let walked = replay.segment(number, bytes, &mut |_, record| {
                if let Record::Win(win) = record {
                    let earlier = wins.insert(win.envelope.id.index(), win.user.0);
                    assert_eq!(earlier, None, "issued twice");
                }
            });
            walked.expect("a power cut is no damage");
        }
        for (index, user) in &self.told {
            assert_eq!(wins.get(index), Some(user), "envelope {index} was told to user {user} and is lost");
        }
        let mut per_user: HashMap<u64, u32> = HashMap::new();
        let mut per_sponsor: HashMap<(u64, u32), u32> = HashMap::new();
        for (index, user) in &wins {
            assert!(self.asked.contains(&(*user, *index)));
            *per_user.entry(*user).or_default() += 1;
            *per_sponsor.entry((*user, index % SPONSORS)).or_default() += 1;
        }
        assert!(per_user.values().all(|count| *count <= CAPS.per_user), "{per_user:?}");
        assert!(per_sponsor.values().all(|count| *count <= CAPS.per_sponsor), "{per_sponsor:?}");
    }
}

/// The user rides in the caller's slot, so that the answer names whom it is for.
fn from_user(request: crate::messages::Request) -> crate::messages::Request {
    use crate::messages::Request;
    let token = |user: UserId| hongbao_uring::Token { slot: user.0 as u32, ..Default::default() };
    match request {
        Request::Claim { sequence, user, envelope, .. } => {
            Request::Claim { caller: token(user), sequence, user, envelope }
        }
        Request::Login { user, .. } => Request::Login { caller: token(user), user },
    }
}

fn turn(running: &mut Running, model: &mut Model) {
    running.turn().expect("the disk never fails here");
    for set in 0..SETS {
        for verdict in running.clients[set].answers() {
            model.hear(set, verdict);
        }
    }
}

fn run(steps: &[Step]) {
    let mut machine = Machine::new(CAPS);
    let mut model = Model::default();
    let mut running = machine.boot(SETS, 4096).expect("an empty journal is whole");
    for step in steps {
        match *step {
            Step::Claim { set, user, index } => {
                model.asked.insert((user, index));
                running.ask(set, [from_user(claim(user, envelope(index, index % SPONSORS)))]);
            }
            Step::Login { set, user } => {
                model.logins[set].push(user);
                running.ask(set, [from_user(login(user))]);
            }
            Step::Turns(count) => (0..count).for_each(|_| turn(&mut running, &mut model)),
            Step::Hold(held) => machine.storage.hold(held),
            Step::Crash { sectors } => {
                machine.storage.crash(|sector| sectors >> (sector % 64) & 1 != 0);
                machine.storage.hold(false);
                drop(running);
                model.audit(&machine);
                model.logins = Default::default();
                running = machine.boot(SETS, 4096).expect("a power cut is no damage");
            }
        }
    }
    machine.storage.hold(false);
    (0..4).for_each(|_| turn(&mut running, &mut model));
    assert!(model.logins.iter().all(Vec::is_empty), "every login is answered");
    model.audit(&machine);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn nothing_told_is_lost_and_nothing_is_issued_twice_in_any_history(steps in prop::collection::vec(step(), 1..120)) {
        run(&steps);
    }
}
