//! What is under way on one thread and what came of it: the window, the record, and the envelopes on their way to the audit.

use hongbao_protocol::{Envelope, Receipt, UserId};
use rtrb::Producer;

use crate::audit::Claim;
use crate::clock::Clock;
use crate::gifts::desk::{Desk, GiftOddities};
use crate::record::{Lap, NotSent, Outcome, Recorder, SecondsEnds};
use crate::window::{Answered, LapTag, Shake, Window};

/// Answers that fitted no shake, and receipts that found no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddities {
    /// Answers that fitted no shake of their connection, or one that had been answered.
    pub unknown_answers: u64,
    /// Envelopes that the audit's queue had no room for.
    pub unaudited: u64,
}

/// See the module's text. Allocates nothing after `new`.
pub struct Book {
    clock: Clock,
    window: Window,
    recorder: Recorder,
    claims: Producer<Claim>,
    timeout_us: u32,
    /// Closed loop: connections with a shake less under way.
    vacant: Option<Vec<u32>>,
    /// Where the run has gifts.
    gifts: Option<Box<Desk>>,
    oddities: Oddities,
}

impl Book {
    /// `vacancies`: in the closed loop, the most shakes that can be under way. `gifts`: where the run has some.
    pub fn new(
        clock: Clock,
        window: Window,
        seconds: SecondsEnds,
        claims: Producer<Claim>,
        timeout_us: u32,
        vacancies: Option<usize>,
        gifts: Option<Box<Desk>>,
    ) -> Self {
        Self {
            clock,
            window,
            recorder: Recorder::new(seconds),
            claims,
            timeout_us,
            vacant: vacancies.map(Vec::with_capacity),
            gifts,
            oddities: Oddities::default(),
        }
    }

    /// The gifts of this thread, where the run has some, and what is written down of them.
    pub fn gifts(&mut self) -> Option<(&mut Desk, &mut Recorder)> {
        self.gifts.as_deref_mut().map(|gifts| (gifts, &mut self.recorder))
    }

    /// Laps, and counts of the whole run.
    pub fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// A lap begins.
    pub fn begin_lap(&mut self, lap: Box<Lap>) {
        self.recorder.begin_lap(lap);
    }

    /// Shakes neither answered nor given up.
    pub fn under_way(&self) -> u32 {
        self.window.under_way()
    }

    /// A shake became due at this time of the run's clock.
    pub fn due(&mut self, connection: u32, intended_ns: u64, lap: LapTag, now_ns: u64) -> Shake {
        self.recorder.scheduled(lap);
        Shake { intended_us: micros(intended_ns), sent_us: micros(now_ns), connection, lap }
    }

    /// Puts a shake under way: its number. Where the window is full the oldest shake is given up.
    pub fn send(&mut self, shake: Shake) -> u32 {
        let number = self.window.begin(shake).or_else(|| {
            self.give_up_oldest(shake.sent_us, 0, |_| false);
            self.window.begin(shake)
        });
        self.recorder.sent_one(&shake);
        number.expect("a window whose oldest was given up has room")
    }

    /// A shake that was due cannot be sent.
    pub fn not_sent(&mut self, shake: &Shake, reason: impl FnOnce(&mut NotSent) -> &mut u64) {
        self.recorder.not_sent(shake.lap, reason);
    }

    /// An answer came.
    pub fn answer(&mut self, connection: u32, number: u32, outcome: Outcome, now_ns: u64) {
        let at_us = micros(now_ns);
        match self.window.answer(number, connection) {
            Answered::InTime(shake) => {
                self.recorder.answered_one(&shake, at_us, outcome);
                self.vacate(connection);
            }
            Answered::Late(shake) => self.recorder.answered_late(&shake),
            // It counted as given up; in which lap is not known any more.
            Answered::Forgotten => {}
            Answered::Twice | Answered::Unknown => self.oddities.unknown_answers += 1,
        }
    }

    /// An envelope came: goes to the audit, whatever became of its shake.
    pub fn receipt(
        &mut self,
        user: UserId,
        envelope: Envelope,
        receipt: Receipt,
        (sequence, shown_again): (u32, bool),
        now_ns: u64,
    ) {
        let time_us = self.clock.unix_ns(now_ns) / 1_000;
        let claim = Claim { user, envelope, sequence, shown_again, time_us, receipt };
        if self.claims.push(claim).is_err() {
            self.oddities.unaudited += 1;
        }
    }

    /// Gives up all that has waited for too long. `broke` tells whether a connection is no longer there.
    pub fn expire(&mut self, now_ns: u64, broke: impl Fn(u32) -> bool) {
        let at_us = micros(now_ns);
        while self.give_up_oldest(at_us, self.timeout_us, &broke) {}
        if let Some(gifts) = &mut self.gifts {
            gifts.expire(now_ns, self.timeout_us, &broke, &mut self.recorder);
        }
    }

    /// Gives up all that is under way: the run ends.
    pub fn give_up_all(&mut self, now_ns: u64, broke: impl Fn(u32) -> bool) {
        let at_us = micros(now_ns);
        while self.give_up_oldest(at_us, 0, &broke) {}
    }

    /// Closed loop: a connection that may shake again.
    pub fn take_vacant(&mut self) -> Option<u32> {
        self.vacant.as_mut()?.pop()
    }

    /// Closed loop: it is over, and nobody shakes again.
    pub fn forget_vacancies(&mut self) {
        if let Some(vacant) = &mut self.vacant {
            vacant.clear();
        }
    }

    /// Closed loop: the connection may have a shake more under way.
    pub fn vacate(&mut self, connection: u32) {
        if let Some(vacant) = &mut self.vacant {
            debug_assert!(vacant.len() < vacant.capacity(), "no more vacancies than shakes under way");
            vacant.push(connection);
        }
    }

    /// Hands on the seconds that have passed.
    pub fn turn_to(&mut self, now_ns: u64) {
        self.recorder.turn_to(self.clock.second(now_ns));
    }

    /// The end.
    pub fn finish(self) -> (Oddities, GiftOddities) {
        self.recorder.finish();
        (self.oddities, self.gifts.map(|gifts| gifts.oddities()).unwrap_or_default())
    }

    fn give_up_oldest(&mut self, now_us: u32, timeout_us: u32, broke: impl Fn(u32) -> bool) -> bool {
        let Some(shake) = self.window.give_up(now_us, timeout_us) else { return false };
        let connection_broke = broke(shake.connection);
        self.recorder.given_up(&shake, now_us, connection_broke);
        if !connection_broke {
            self.vacate(shake.connection);
        }
        true
    }
}

/// A time of the run's clock in microseconds, modulo 2^32: ages are told from differences.
const fn micros(ns: u64) -> u32 {
    (ns / 1_000) as u32
}
