//! Control's ends of the queues that carry commands: each order goes to whom it concerns, in order, and is known to be in force when the
//! thread has counted it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hongbao_uring::{Doorbell, Waker};
use rtrb::Producer;

use super::standing::{Errand, InForce};
use crate::cells::{Cell, FeederCells, LedgerCells, SetCells};
use crate::limits::ROUND_NEWS_SPREAD_MS;
use crate::messages::{FeederCommand, LedgerCommand, RoundTimes, SetCommand};
use crate::rounds::Moment;

/// A queue to one thread, and what waits for room in it.
struct Line<T> {
    queue: Producer<T>,
    waiting: VecDeque<T>,
    /// Commands handed in so far.
    posted: u64,
}

impl<T> Line<T> {
    fn new(queue: Producer<T>) -> Self {
        Self { queue, waiting: VecDeque::new(), posted: 0 }
    }

    fn post(&mut self, command: T) {
        self.posted += 1;
        self.waiting.push_back(command);
    }

    /// Hands over what there is room for. True where anything was.
    fn hand_over(&mut self) -> bool {
        let before = self.waiting.len();
        if self.queue.is_abandoned() {
            // Its thread has ended.
            self.waiting.clear();
        }
        while !self.queue.is_full()
            && let Some(command) = self.waiting.pop_front()
        {
            drop(self.queue.push(command));
        }
        before != self.waiting.len()
    }
}

struct SetLine {
    line: Line<SetCommand>,
    doorbell: Arc<Doorbell>,
    cells: Arc<SetCells>,
}

/// The queues.
pub struct Commands {
    sets: Vec<SetLine>,
    feeder: (Line<FeederCommand>, Arc<FeederCells>),
    ledger: (Line<LedgerCommand>, Arc<Doorbell>, Arc<LedgerCells>),
    waker: Waker,
}

/// Since when an order is in force: as many commands as each thread must have obeyed.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    sets: Vec<u64>,
    feeder: u64,
    ledger: u64,
}

impl Commands {
    /// Takes the producers' ends, with what tells how many commands each thread has obeyed.
    pub fn new(
        sets: impl IntoIterator<Item = (Producer<SetCommand>, Arc<Doorbell>, Arc<SetCells>)>,
        feeder: (Producer<FeederCommand>, Arc<FeederCells>),
        ledger: (Producer<LedgerCommand>, Arc<Doorbell>, Arc<LedgerCells>),
        waker: Waker,
    ) -> Self {
        let sets = sets.into_iter().map(|(queue, doorbell, cells)| SetLine { line: Line::new(queue), doorbell, cells });
        Self {
            sets: sets.collect(),
            feeder: (Line::new(feeder.0), feeder.1),
            ledger: (Line::new(ledger.0), ledger.1, ledger.2),
            waker,
        }
    }

    /// Tells everyone to stop.
    pub fn stop(&mut self) {
        self.feeder.0.post(FeederCommand::Stop);
        self.sets.iter_mut().for_each(|set| set.line.post(SetCommand::Stop));
        self.hand_over();
    }

    /// Tells each thread what is new to it.
    pub(super) fn change(&mut self, before: &InForce, after: &InForce, now: Moment) {
        if after.rate != before.rate {
            self.feeder.0.post(FeederCommand::SetRate(after.rate));
        }
        if after.paused != before.paused {
            self.feeder.0.post(if after.paused { FeederCommand::Pause } else { FeederCommand::Resume });
        }
        if after.follows_rounds != before.follows_rounds {
            self.feeder.0.post(FeederCommand::FollowRounds(after.follows_rounds));
        }
        if after.running != before.running {
            self.feeder.0.post(FeederCommand::Round(after.running.map(|running| running.order(now))));
        }
        if after.caps != before.caps {
            let (per_user, per_sponsor) = after.caps;
            self.ledger.0.post(LedgerCommand::Caps { per_user, per_sponsor });
        }
        if after.gifts_paused != before.gifts_paused {
            self.ledger.0.post(LedgerCommand::PauseGifts(after.gifts_paused));
        }
        for set in &mut self.sets {
            if after.rules != before.rules {
                set.line.post(SetCommand::Rules(after.rules));
            }
            if after.held != before.held {
                set.line.post(SetCommand::Hold(after.held));
            }
            if after.told != before.told {
                set.line.post(SetCommand::Round { times: after.told, spread_ms: spread_ms(after.told, now) });
            }
        }
        self.hand_over();
    }

    /// Runs an errand.
    pub(super) fn run(&mut self, errand: Errand) {
        match errand {
            Errand::All(command) => self.sets.iter_mut().for_each(|set| set.line.post(command)),
            Errand::One(set, command) => self.sets[set as usize].line.post(command),
        }
        self.hand_over();
    }

    /// Moves what waited for room, and wakes who got something.
    pub(super) fn hand_over(&mut self) {
        // The feeder looks in every tick.
        self.feeder.0.hand_over();
        // One that cannot be woken looks at its commands with its next tick.
        if self.ledger.0.hand_over() {
            let _ = self.waker.wake(&self.ledger.1);
        }
        for set in &mut self.sets {
            if set.line.hand_over() {
                let _ = self.waker.wake(&set.doorbell);
            }
        }
    }

    /// What must be obeyed for all that was ordered so far to be in force.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            sets: self.sets.iter().map(|set| set.line.posted).collect(),
            feeder: self.feeder.0.posted,
            ledger: self.ledger.0.posted,
        }
    }

    /// The threads that have not obeyed everything up to `mark`.
    pub(super) fn behind(&self, mark: &Mark) -> Vec<String> {
        let is_behind = |obeyed: &Cell, wanted: u64| obeyed.get() < wanted;
        let mut behind: Vec<String> = self
            .sets
            .iter()
            .zip(&mark.sets)
            .enumerate()
            .filter(|(_, (set, wanted))| is_behind(&set.cells.commands_obeyed, **wanted))
            .map(|(number, _)| format!("set-{number:02}"))
            .collect();
        if is_behind(&self.feeder.1.commands_obeyed, mark.feeder) {
            behind.push("feeder".to_owned());
        }
        if is_behind(&self.ledger.2.commands_obeyed, mark.ledger) {
            behind.push("ledger".to_owned());
        }
        behind
    }
}

/// Over how long news of a round are spread: not all at once, and long before it begins.
fn spread_ms(told: Option<RoundTimes>, now: Moment) -> u32 {
    let until_begin = told.map_or(Duration::MAX, |times| Moment(times.start_us).since(now));
    if until_begin.is_zero() {
        // Clients learn late of a round that runs.
        return ROUND_NEWS_SPREAD_MS / 10;
    }
    u32::try_from(until_begin.as_millis() / 2).unwrap_or(u32::MAX).min(ROUND_NEWS_SPREAD_MS)
}

#[cfg(test)]
mod tests {
    use rtrb::RingBuffer;

    use super::*;
    use crate::control::standing::tests::RULES;
    use crate::messages::Rules;

    const BEFORE: InForce = InForce {
        rate: 200,
        paused: false,
        held: false,
        rules: RULES,
        caps: (3, 1),
        running: None,
        follows_rounds: true,
        told: None,
        gifts_paused: false,
    };
    const NOW: Moment = Moment(1_000_000);

    #[test]
    fn news_of_a_round_come_long_before_it_and_never_all_at_once() {
        let in_ms = |ms: u64| Some(RoundTimes { number: 1, start_us: NOW.0 + ms * 1000, end_us: u64::MAX });
        assert_eq!([0, 3000, 60_000].map(|ms| spread_ms(in_ms(ms), NOW)), [1000, 1500, 10_000]);
        assert_eq!(spread_ms(None, NOW), 10_000);
    }

    #[test]
    fn an_order_beyond_a_full_queue_waits_for_room_and_counts_only_when_obeyed() {
        let (set, mut set_end) = RingBuffer::new(1);
        let (feeder, mut feeder_end) = RingBuffer::new(4);
        let (ledger, mut ledger_end) = RingBuffer::new(4);
        let cells: Arc<SetCells> = Arc::default();
        let feeder_cells: Arc<FeederCells> = Arc::default();
        let mut commands = Commands::new(
            [(set, Arc::default(), Arc::clone(&cells))],
            (feeder, Arc::clone(&feeder_cells)),
            (ledger, Arc::default(), Arc::default()),
            Waker::open().expect("io_uring"),
        );
        let rules = Rules { shake_interval_ms: 1, ..RULES };
        commands.change(&BEFORE, &InForce { rate: 7, held: true, rules, ..BEFORE }, NOW);
        let mark = commands.mark();
        assert_eq!(commands.behind(&mark), ["set-00", "feeder"]);
        assert_eq!(feeder_end.pop(), Ok(FeederCommand::SetRate(7)));
        feeder_cells.commands_obeyed.add(1);
        assert_eq!(set_end.pop(), Ok(SetCommand::Rules(rules)));
        assert!(set_end.pop().is_err(), "there was no room for two");
        commands.hand_over();
        assert_eq!(set_end.pop(), Ok(SetCommand::Hold(true)));
        cells.commands_obeyed.add(1);
        assert_eq!(commands.behind(&mark), ["set-00"]);
        cells.commands_obeyed.add(1);
        assert_eq!(commands.behind(&mark), [] as [&str; 0]);
        assert!(ledger_end.pop().is_err(), "nothing was new to it");
        commands.change(&BEFORE, &InForce { caps: (5, 0), ..BEFORE }, NOW);
        assert_eq!(ledger_end.pop(), Ok(LedgerCommand::Caps { per_user: 5, per_sponsor: 0 }));
    }
}
