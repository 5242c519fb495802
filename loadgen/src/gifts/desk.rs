//! One thread's gifts: what its users send, what they are told of and open, and what is asked once more. Knows nothing of connections:
//! it is told what came on them, and says what is to be asked.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use hongbao_protocol::wire::{ClientFrame, GiftClosed, GiftRefusal};
use hongbao_protocol::{Cents, GiftId, UserId};
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use rtrb::Producer;

use super::load::GiftLaw;
use super::named::Named;
use super::record::{GiftCounts, GiftLap};
use super::told::{Opened, Sent, Told};
use super::under_way::UnderWay;
use crate::limits::{
    GIFT_ATTEMPTS_MAX, GIFT_LIST_WAIT_MS, GIFT_REPEATED_OF, GIFTS_GIVEN_UP_MAX, GIFTS_LATER_MAX, GIFTS_UNDER_WAY_MAX,
};
use crate::parse::Users;
use crate::record::Recorder;
use crate::schedule::Share;

const NS_PER_MS: u64 = 1_000_000;

/// Why something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// For the first time: its answer counts.
    First,
    /// It was given up, and counted as such.
    Anew,
    /// It was answered, and the answer must be the same again.
    Repeat,
}

/// A send without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Send {
    named: Named,
    total: Cents,
    shares: u16,
    lap: Option<u32>,
    intended_ns: u64,
    sent_ns: u64,
    ask: Ask,
    attempts: u8,
    /// What the answer to the same request named before.
    before: Option<GiftId>,
}

/// An open without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    lap: Option<u32>,
    /// 0: the notice came in a list.
    noticed_ns: u64,
    /// When it was first asked; 0: not yet.
    asked_ns: u64,
    ask: Ask,
    attempts: u8,
}

/// What a user is to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// A gift, once more.
    Send(u64, Send),
    /// A user's share of a gift.
    Open(GiftId, Open),
    /// The gifts that wait.
    List,
}

/// A question that waits for its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Later {
    due_ns: u64,
    local: u32,
    question: Question,
}

impl Ord for Later {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due_ns, self.local).cmp(&(other.due_ns, other.local))
    }
}

impl PartialOrd for Later {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GiftOddities {
    /// Answers that fitted no question of their connection.
    pub unknown_answers: u64,
    /// What the audit's queue, or the list of what is to be opened, had no room for.
    pub unaudited: u64,
}

/// See the module's text. Allocates nothing after `new`, as long as nothing is given up.
pub struct Desk {
    share: Share,
    users: Users,
    generator: Pcg64Mcg,
    /// The number of the next gift.
    next_request: u64,
    sends: UnderWay<Send>,
    opens: UnderWay<Open>,
    /// To be asked in this turn.
    now: VecDeque<(u32, Question)>,
    /// To be asked at a time.
    later: BinaryHeap<Reverse<Later>>,
    told: Producer<Told>,
    /// What an open belongs to that is begun now.
    lap: Option<u32>,
    oddities: GiftOddities,
}

impl Desk {
    /// `room`: sends and opens that can be asked within a timeout. `first_request` is above the numbers of every earlier run.
    pub fn new(
        share: Share,
        users: Users,
        seed: u64,
        first_request: u64,
        room: (usize, usize),
        told: Producer<Told>,
    ) -> Self {
        let (sends, opens) = (room.0.min(GIFTS_UNDER_WAY_MAX), room.1.min(GIFTS_UNDER_WAY_MAX));
        Self {
            share,
            users,
            generator: Pcg64Mcg::seed_from_u64(seed ^ (u64::from(share.thread) << 40)),
            next_request: first_request,
            sends: UnderWay::new(share.len(), sends, GIFTS_GIVEN_UP_MAX),
            opens: UnderWay::new(share.len(), opens, GIFTS_GIVEN_UP_MAX),
            now: VecDeque::with_capacity(opens),
            later: BinaryHeap::with_capacity(GIFTS_LATER_MAX),
            told,
            lap: None,
            oddities: GiftOddities::default(),
        }
    }

    /// What did not fit.
    pub fn oddities(&self) -> GiftOddities {
        self.oddities
    }

    /// Opens count in this lap from now on.
    pub fn enter_lap(&mut self, lap: Option<u32>) {
        self.lap = lap;
    }

    /// Whether questions wait or are under way.
    pub fn is_busy(&self) -> bool {
        self.sends.len() + self.opens.len() + self.now.len() + self.later.len() > 0
    }

    /// A gift that is due from a user who is logged in: the frame to send. `users` take part in the load.
    pub fn give(
        &mut self,
        local: u32,
        law: &GiftLaw,
        users: u32,
        (intended_ns, now_ns): (u64, u64),
        lap: Option<u32>,
        recorder: &mut Recorder,
    ) -> ClientFrame {
        let circle = u64::from(users).min(self.users.count) as u32;
        let sender = (u64::from(self.share.global(local)) % self.users.count) as u32;
        let named = Named::draw(sender, law.recipients, circle, &mut self.generator);
        let request = self.next_request;
        self.next_request += 1;
        let send = Send {
            named,
            total: Cents(law.total_cents),
            shares: law.shares,
            lap,
            intended_ns,
            sent_ns: now_ns,
            ask: Ask::First,
            attempts: 0,
            before: None,
        };
        count(recorder, lap, |gifts| {
            gifts.counts.sent += 1;
            gifts.lateness.saturating_record(micros_between(intended_ns, now_ns));
        });
        self.ask_send(local, request, send, now_ns, recorder)
    }

    /// The next question that is due.
    pub fn next(&mut self, now_ns: u64) -> Option<(u32, Question)> {
        if let Some(question) = self.now.pop_front() {
            return Some(question);
        }
        let Reverse(first) = self.later.peek()?;
        if first.due_ns > now_ns {
            return None;
        }
        self.later.pop().map(|Reverse(later)| (later.local, later.question))
    }

    /// A question of a user who is logged in: the frame to send; none where it is under way already.
    pub fn ask(&mut self, local: u32, question: Question, now_ns: u64, recorder: &mut Recorder) -> Option<ClientFrame> {
        match question {
            Question::Send(request, send) => {
                if self.sends.contains((local, request)) {
                    return None;
                }
                count(recorder, send.lap, |gifts| gifts.counts.repeated += 1);
                Some(self.ask_send(local, request, send, now_ns, recorder))
            }
            Question::Open(gift, open) => self.ask_open(local, gift, open, now_ns, recorder),
            Question::List => Some(ClientFrame::GiftList { request: 1, after: GiftId(0) }),
        }
    }

    /// A question of a user who is not logged in: it waits for the login.
    pub fn put_off(&mut self, local: u32, question: Question, now_ns: u64, recorder: &mut Recorder) {
        match question {
            Question::Send(request, send) => self.give_up_send((local, request), send, now_ns, true, recorder),
            Question::Open(gift, open) if open.asked_ns > 0 => {
                self.give_up_open((local, gift.0), open, now_ns, true, recorder);
            }
            // The list after the login names it again.
            Question::Open(..) | Question::List => {}
        }
    }

    /// A user has logged in: what an earlier connection left without an answer is asked again.
    pub fn logged_in(&mut self, local: u32, now_ns: u64, recorder: &mut Recorder) {
        while let Some((key, send)) = self.sends.cut_off(local) {
            self.give_up_send(key, send, now_ns, true, recorder);
        }
        while let Some((key, open)) = self.opens.cut_off(local) {
            self.give_up_open(key, open, now_ns, true, recorder);
        }
        while let Some(((_, request), send)) = self.sends.of_connection(local) {
            self.soon(local, Question::Send(request, send));
        }
        while let Some(((_, gift), open)) = self.opens.of_connection(local) {
            self.soon(local, Question::Open(GiftId(gift), open));
        }
    }

    /// A gift was granted.
    pub fn sent(
        &mut self,
        (local, user): (u32, UserId),
        (request, gift): (u64, GiftId),
        (expires_in_s, again): (u32, bool),
        now_ns: u64,
        recorder: &mut Recorder,
    ) {
        let key = (local, request);
        let Some(send) = self.sends.finish(key).or_else(|| self.sends.finish_late(key)) else {
            // Told again is what a repeated question may be, whose first answer came while it was on its way.
            self.oddities.unknown_answers += u64::from(!again);
            return;
        };
        match send.ask {
            Ask::First => {
                recorder.second(|second| second.gifts += 1);
                count(recorder, send.lap, |gifts| {
                    gifts.counts.granted += 1;
                    gifts.send.saturating_record(micros_between(send.intended_ns, now_ns));
                });
            }
            Ask::Anew => count(recorder, send.lap, |gifts| gifts.counts.granted_late += 1),
            Ask::Repeat => {}
        }
        let Send { named, total, shares, lap, sent_ns, before, .. } = send;
        let told_ns = now_ns;
        self.tell(Told::Sent(Sent {
            gift,
            sender: user,
            request,
            total,
            shares,
            named,
            again,
            before,
            sent_ns,
            told_ns,
            expires_in_s,
            lap,
        }));
        if send.ask != Ask::Repeat && request.is_multiple_of(GIFT_REPEATED_OF) {
            self.soon(local, Question::Send(request, Send { ask: Ask::Repeat, before: Some(gift), ..send }));
        }
    }

    /// A gift was refused.
    pub fn refused(&mut self, key: (u32, u64), user: UserId, reason: GiftRefusal, recorder: &mut Recorder) {
        let Some(send) = self.sends.finish(key).or_else(|| self.sends.finish_late(key)) else {
            self.oddities.unknown_answers += 1;
            return;
        };
        match send.ask {
            Ask::First => {
                recorder.second(|second| second.gifts_failed += 1);
                count(recorder, send.lap, |gifts| gifts.counts.refused[reason as usize - 1] += 1);
            }
            Ask::Anew => {}
            Ask::Repeat => {
                if let Some(gift) = send.before.filter(|_| !is_passing_refusal(reason)) {
                    self.tell(Told::Denied { gift, sender: user, request: key.1, reason });
                }
            }
        }
    }

    /// A gift waits for a user.
    pub fn noticed(&mut self, local: u32, gift: GiftId, listed: bool, now_ns: u64) {
        if self.opens.contains((local, gift.0)) {
            return;
        }
        let noticed_ns = if listed { 0 } else { now_ns };
        let open = Open { lap: self.lap, noticed_ns, asked_ns: 0, ask: Ask::First, attempts: 0 };
        self.soon(local, Question::Open(gift, open));
    }

    /// A list has ended. Where more gifts wait than it showed, the others are asked for when those are opened.
    pub fn listed(&mut self, local: u32, shown: u32, pending: u32, retry_after_ms: u32, now_ns: u64) {
        if retry_after_ms > 0 {
            self.wait(local, Question::List, now_ns + u64::from(retry_after_ms) * NS_PER_MS);
        } else if pending > shown {
            self.wait(local, Question::List, now_ns + GIFT_LIST_WAIT_MS * NS_PER_MS);
        }
    }

    /// A share was told. `opened.noticed_ns` is filled in here.
    pub fn opened(&mut self, local: u32, opened: Opened, now_ns: u64, recorder: &mut Recorder) {
        let key = (local, opened.gift.0);
        let Some(open) = self.opens.finish(key).or_else(|| self.opens.finish_late(key)) else {
            self.oddities.unknown_answers += u64::from(!opened.again);
            return self.tell(Told::Opened(opened));
        };
        match open.ask {
            Ask::First => {
                recorder.second(|second| second.gifts_opened += 1);
                count(recorder, open.lap, |gifts| {
                    gifts.counts.opened += 1;
                    gifts.open.saturating_record(micros_between(open.asked_ns, now_ns));
                });
            }
            Ask::Anew => count(recorder, open.lap, |gifts| gifts.counts.opened_late += 1),
            Ask::Repeat => {}
        }
        let noticed_ns = if open.ask == Ask::First { open.noticed_ns } else { 0 };
        self.tell(Told::Opened(Opened { noticed_ns, ..opened }));
        if open.ask != Ask::Repeat && (opened.gift.0 ^ opened.user.0).is_multiple_of(GIFT_REPEATED_OF) {
            let again = Open { ask: Ask::Repeat, attempts: 0, ..open };
            self.soon(local, Question::Open(opened.gift, again));
        }
    }

    /// An open came to nothing.
    pub fn closed(
        &mut self,
        (local, user): (u32, UserId),
        gift: GiftId,
        (reason, retry_after_ms): (GiftClosed, u32),
        now_ns: u64,
        recorder: &mut Recorder,
    ) {
        let key = (local, gift.0);
        let Some(open) = self.opens.finish(key).or_else(|| self.opens.finish_late(key)) else {
            self.oddities.unknown_answers += 1;
            return;
        };
        let passing = matches!(reason, GiftClosed::Halted | GiftClosed::Overloaded);
        if passing && open.attempts < GIFT_ATTEMPTS_MAX {
            // Nothing was decided. It goes on counting from its first time.
            let again = Open { attempts: open.attempts + 1, ..open };
            let due_ns = now_ns + u64::from(retry_after_ms.max(1)) * NS_PER_MS;
            if self.wait(local, Question::Open(gift, again), due_ns) {
                return;
            }
        }
        if open.ask == Ask::First {
            recorder.second(|second| second.gifts_failed += u32::from(passing));
            count(recorder, open.lap, |gifts| {
                gifts.counts.closed[reason as usize - 1] += 1;
                gifts.open.saturating_record(micros_between(open.asked_ns, now_ns));
            });
        }
        if !passing {
            let had_share = open.ask == Ask::Repeat;
            self.tell(Told::Closed { gift, user, reason, had_share, noticed_ns: open.noticed_ns });
        }
    }

    /// Gives up what has waited for too long. `broke` tells whether a connection is no longer there.
    pub fn expire(&mut self, now_ns: u64, timeout_us: u32, broke: impl Fn(u32) -> bool, recorder: &mut Recorder) {
        let at_us = micros(now_ns);
        while let Some((key, send)) = self.sends.give_up(at_us, timeout_us) {
            self.give_up_send(key, send, now_ns, broke(key.0), recorder);
        }
        while let Some((key, open)) = self.opens.give_up(at_us, timeout_us) {
            self.give_up_open(key, open, now_ns, broke(key.0), recorder);
        }
    }

    fn ask_send(&mut self, local: u32, request: u64, send: Send, now_ns: u64, recorder: &mut Recorder) -> ClientFrame {
        if !self.sends.has_room()
            && let Some((key, oldest)) = self.sends.give_up(micros(now_ns), 0)
        {
            self.give_up_send(key, oldest, now_ns, false, recorder);
        }
        self.sends.begin((local, request), send, micros(now_ns));
        let recipients = send.named.recipients(self.users.first);
        ClientFrame::GiftSend { request, total: send.total, shares: send.shares, recipients }
    }

    fn ask_open(
        &mut self,
        local: u32,
        gift: GiftId,
        mut open: Open,
        now_ns: u64,
        recorder: &mut Recorder,
    ) -> Option<ClientFrame> {
        let first_time = open.asked_ns == 0;
        if self.opens.contains((local, gift.0)) {
            // Told of it twice. One that was put off before, and counted, ends here.
            if open.ask == Ask::First && !first_time {
                count(recorder, open.lap, |gifts| gifts.counts.opens_lost += 1);
            }
            return None;
        }
        if !self.opens.has_room()
            && let Some((key, oldest)) = self.opens.give_up(micros(now_ns), 0)
        {
            self.give_up_open(key, oldest, now_ns, false, recorder);
        }
        if first_time {
            open.asked_ns = now_ns;
        }
        count(recorder, open.lap, |gifts| {
            let counts = &mut gifts.counts;
            let counter = if open.ask == Ask::First && first_time { &mut counts.opens } else { &mut counts.repeated };
            *counter += 1;
        });
        self.opens.begin((local, gift.0), open, micros(now_ns));
        Some(ClientFrame::GiftOpen { gift })
    }

    fn give_up_send(&mut self, key: (u32, u64), send: Send, now_ns: u64, broke: bool, recorder: &mut Recorder) {
        if send.ask == Ask::First {
            recorder.second(|second| second.gifts_failed += 1);
            count(recorder, send.lap, |gifts| {
                *lost_or_late(&mut gifts.counts, broke, |counts| (&mut counts.lost, &mut counts.timed_out)) += 1;
                gifts.send.saturating_record(micros_between(send.intended_ns, now_ns));
            });
        }
        if send.ask == Ask::Repeat || send.attempts == GIFT_ATTEMPTS_MAX {
            return;
        }
        let again = Send { ask: Ask::Anew, attempts: send.attempts + 1, ..send };
        if !broke {
            self.soon(key.0, Question::Send(key.1, again));
        } else if !self.sends.keep(key, again) {
            self.oddities.unaudited += 1;
        }
    }

    fn give_up_open(&mut self, key: (u32, u64), open: Open, now_ns: u64, broke: bool, recorder: &mut Recorder) {
        if open.ask == Ask::First {
            recorder.second(|second| second.gifts_failed += 1);
            count(recorder, open.lap, |gifts| {
                *lost_or_late(&mut gifts.counts, broke, |counts| {
                    (&mut counts.opens_lost, &mut counts.opens_timed_out)
                }) += 1;
                gifts.open.saturating_record(micros_between(open.asked_ns, now_ns));
            });
        }
        if open.ask == Ask::Repeat || open.attempts == GIFT_ATTEMPTS_MAX {
            return;
        }
        let again = Open { ask: Ask::Anew, attempts: open.attempts + 1, ..open };
        if !broke {
            self.soon(key.0, Question::Open(GiftId(key.1), again));
        } else if !self.opens.keep(key, again) {
            self.oddities.unaudited += 1;
        }
    }

    fn soon(&mut self, local: u32, question: Question) {
        if self.now.len() < self.now.capacity() {
            self.now.push_back((local, question));
        } else {
            self.oddities.unaudited += 1;
        }
    }

    /// Whether there was room.
    fn wait(&mut self, local: u32, question: Question, due_ns: u64) -> bool {
        let room = self.later.len() < GIFTS_LATER_MAX;
        if room {
            self.later.push(Reverse(Later { due_ns, local, question }));
        }
        room
    }

    fn tell(&mut self, told: Told) {
        if self.told.push(told).is_err() {
            self.oddities.unaudited += 1;
        }
    }
}

/// A gift became due.
pub fn due(lap: Option<u32>, recorder: &mut Recorder) {
    count(recorder, lap, |gifts| gifts.counts.scheduled += 1);
}

/// A gift that was due cannot be sent.
pub fn not_sent(lap: Option<u32>, recorder: &mut Recorder, reason: impl FnOnce(&mut GiftCounts) -> &mut u64) {
    count(recorder, lap, |gifts| *reason(&mut gifts.counts) += 1);
}

fn lost_or_late(
    counts: &mut GiftCounts,
    broke: bool,
    of: impl FnOnce(&mut GiftCounts) -> (&mut u64, &mut u64),
) -> &mut u64 {
    let (lost, late) = of(counts);
    if broke { lost } else { late }
}

/// Adds to a lap that is still open; a warm-up has none.
fn count(recorder: &mut Recorder, lap: Option<u32>, add: impl FnOnce(&mut GiftLap)) {
    if let Some(gifts) = lap.and_then(|lap| recorder.lap(lap)).and_then(|lap| lap.gifts.as_deref_mut()) {
        add(gifts);
    }
}

const fn is_passing_refusal(reason: GiftRefusal) -> bool {
    matches!(reason, GiftRefusal::Paused | GiftRefusal::Full | GiftRefusal::Halted | GiftRefusal::Overloaded)
}

/// A time of the run's clock in microseconds, modulo 2^32: ages are told from differences.
const fn micros(ns: u64) -> u32 {
    (ns / 1_000) as u32
}

const fn micros_between(from_ns: u64, to_ns: u64) -> u64 {
    to_ns.saturating_sub(from_ns) / 1_000
}
