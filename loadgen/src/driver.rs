//! One thread of a run: it connects, follows the segments of load that the main thread orders, and closes.
//!
//! Each turn enters each ring once: it submits what was prepared in the turn before and sleeps until the next tick, unless very
//! much comes in. Then it receives first and sends after, as what waits in socket buffers is what measures badly.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hongbao_uring::{NetworkCounters, Wait};

use crate::book::Book;
use crate::clock::Clock;
use crate::cpu::Cpu;
use crate::exit::Failure;
use crate::gifts::desk;
use crate::limits::{CLOSE_WAIT_MS, GIFT_GRACE_MS, GIFTS_PER_TURN, HOLD_TURN_US, SEGMENTS_AHEAD_MAX, SHAKES_PER_TURN};
use crate::network::Dial;
use crate::orders::{Abandon, Cells, Order, ThreadEnds, ThreadReport};
use crate::plan::Plan;
use crate::record::NotSent;
use crate::schedule::{Schedule, Share};
use crate::segment::{Law, Segment};
use crate::sessions::{Sessions, Unsent};
use crate::window::LapTag;

/// Completions that end a wait before its tick: enough to fill the completion queue half.
const WANT: u32 = 2048;
/// While connections are made: few, so that the next connects begin soon.
const WANT_CONNECTING: u32 = 256;
/// Turns while connections are made.
const CONNECTING_TURN_NS: u64 = 1_000_000;

/// The segment that is being followed.
struct Load {
    segment: Segment,
    schedule: Option<Schedule>,
    gifts: Option<Schedule>,
}

/// What the thread had used when its lap began.
struct Begun {
    lap: u32,
    cpu: Cpu,
    ring: NetworkCounters,
    sent: u64,
}

/// See the module's text.
pub struct Driver<N> {
    plan: Plan,
    share: Share,
    clock: Clock,
    abandon: Arc<Abandon>,
    cells: Arc<Cells>,
    ends: ThreadEnds,
    sessions: Sessions<N>,
    book: Book,
    ticks: Ticks,
    load: Option<Load>,
    ahead: VecDeque<Segment>,
    begun: Option<Begun>,
    /// Laps below this number have ended, and are given back with their last answers.
    ended: u32,
    /// Connections that the main thread has asked for so far, over all threads.
    ordered: u32,
    pinged_ns: u64,
}

impl<N: Dial> Driver<N> {
    /// A thread's run over these rings, made on the same thread.
    pub fn new(
        rings: Vec<N>,
        plan: Plan,
        share: Share,
        clock: Clock,
        (abandon, cells): (Arc<Abandon>, Arc<Cells>),
        ends: ThreadEnds,
        book: Book,
    ) -> Self {
        Self {
            sessions: Sessions::new(rings, plan.clone(), share),
            ticks: Ticks::new(plan.tick, share),
            plan,
            share,
            clock,
            abandon,
            cells,
            ends,
            book,
            load: None,
            ahead: VecDeque::with_capacity(SEGMENTS_AHEAD_MAX),
            begun: None,
            ended: 0,
            ordered: 0,
            pinged_ns: 0,
        }
    }

    /// Runs to the end.
    pub fn run(mut self) -> Result<ThreadReport, Failure> {
        self.pinged_ns = self.clock.now_ns();
        while self.step()? {}
        self.close()?;
        let tally = *self.sessions.tally();
        let (oddities, gifts) = self.book.finish();
        Ok(ThreadReport { tally, oddities, gifts })
    }

    /// One turn. Whether there is another.
    fn step(&mut self) -> Result<bool, Failure> {
        let now_ns = self.clock.now_ns();
        let (until_ns, want) = self.rest(now_ns);
        let now_ns = self.turn(until_ns, want)?;
        if !self.obey() || self.abandon.is_told() {
            return Ok(false);
        }
        self.follow(now_ns);
        self.ask_of_gifts(now_ns);
        self.end_lap(now_ns);
        self.finish_turn(now_ns);
        self.book.turn_to(now_ns);
        Ok(true)
    }

    /// Enters until `until_ns` at most, and handles what came.
    fn turn(&mut self, until_ns: u64, want: u32) -> Result<u64, Failure> {
        let rest_us = (until_ns.saturating_sub(self.clock.now_ns()) / 1_000) as u32;
        // Without a rest the enter is only to submit and to fetch what is there.
        let want = if rest_us == 0 { 0 } else { want };
        self.sessions.enter(Wait { want, min_wait_us: rest_us, timeout_us: rest_us })?;
        let now_ns = self.clock.now_ns();
        self.sessions.handle(now_ns, &mut self.book);
        let sessions = &self.sessions;
        self.book.expire(now_ns, |local| sessions.is_gone(local));
        Ok(now_ns)
    }

    /// How long the next enter may wait, and for how much.
    fn rest(&mut self, now_ns: u64) -> (u64, u32) {
        if let Some(load) = &self.load
            && load.segment.begin_ns <= now_ns
        {
            return match load.segment.law {
                Law::Closed { .. } => (self.ticks.after(now_ns), (self.book.under_way() / 4).clamp(1, WANT)),
                Law::Open { .. } | Law::Pause if load.is_behind(now_ns) => (now_ns, WANT),
                Law::Open { .. } | Law::Pause => (self.ticks.after(now_ns), WANT),
            };
        }
        let (mut until_ns, want) = if !self.sessions.is_settled() {
            (now_ns + CONNECTING_TURN_NS, WANT_CONNECTING)
        } else if self.book.under_way() > 0 || self.book.gifts().is_some_and(|(gifts, _)| gifts.is_busy()) {
            (self.ticks.after(now_ns), WANT)
        } else {
            (now_ns + HOLD_TURN_US * 1_000, WANT)
        };
        if let Some(load) = &self.load {
            until_ns = until_ns.min(load.segment.begin_ns);
        }
        (until_ns, want)
    }

    /// Takes what was ordered. Whether the run goes on.
    fn obey(&mut self) -> bool {
        while self.ahead.len() < SEGMENTS_AHEAD_MAX {
            match self.ends.orders.pop() {
                Ok(Order::Connect { connections }) => {
                    self.ordered = connections;
                    self.sessions.connect_up_to(Share { connections, ..self.share }.len());
                }
                Ok(Order::Lap(lap)) => self.book.begin_lap(lap),
                Ok(Order::Segment(segment)) => self.ahead.push_back(segment),
                Ok(Order::Close) => return false,
                Err(_) => return true,
            }
        }
        true
    }

    /// Sends what is due by the segment at hand, and goes on to the next one when its time has come.
    fn follow(&mut self, now_ns: u64) {
        loop {
            let Some(load) = &self.load else {
                let Some(segment) = self.ahead.pop_front() else { return };
                self.begin(segment);
                continue;
            };
            let segment = load.segment;
            if segment.begin_ns > now_ns {
                return;
            }
            self.begin_lap(&segment);
            let next_ns = self.ahead.front().map_or(u64::MAX, |next| next.begin_ns);
            let end_ns = segment.end_ns.min(next_ns);
            let behind = match segment.law {
                Law::Closed { .. } => {
                    self.shake_vacant(&segment, now_ns);
                    false
                }
                Law::Open { .. } | Law::Pause => self.shake_due(now_ns, end_ns),
            };
            let behind = self.give_due(now_ns, end_ns) || behind;
            let given_up = now_ns >= end_ns + self.plan.timeout.as_nanos() as u64;
            if now_ns < end_ns || (behind && !given_up) {
                return;
            }
            self.count_overdue(now_ns, end_ns);
            self.count_overdue_gifts(end_ns);
            self.load = None;
            // A segment of another lap, or none, ends this one.
            if self.ahead.front().is_none_or(|next| next.lap != segment.lap) {
                self.stop_lap(segment.lap, now_ns);
            }
        }
    }

    fn begin(&mut self, segment: Segment) {
        let schedule = segment.schedule(self.share, self.plan.users.first, &self.clock);
        let gifts = segment.gift_schedule(self.share, self.plan.arrivals);
        self.ticks = Ticks::new(segment.tick, self.share);
        self.load = Some(Load { segment, schedule, gifts });
    }

    /// The first segment of a lap has begun.
    fn begin_lap(&mut self, segment: &Segment) {
        if self.begun.as_ref().is_some_and(|begun| begun.lap == segment.lap) {
            return;
        }
        self.begun = Some(Begun {
            lap: segment.lap,
            cpu: Cpu::of_this_thread(),
            ring: self.sessions.counters(),
            sent: self.book.recorder().sent(),
        });
        if let Law::Closed { depth } = segment.law {
            let users = Share { connections: segment.connections, ..self.share }.len();
            (0..users).for_each(|local| (0..depth).for_each(|_| self.book.vacate(local)));
        }
    }

    /// Sends what is due, up to a bound a turn. Whether more is due.
    fn shake_due(&mut self, now_ns: u64, end_ns: u64) -> bool {
        for _ in 0..SHAKES_PER_TURN {
            let Some(load) = &mut self.load else { return false };
            let Some((connection, at_ns, tag)) = load.due(now_ns, end_ns) else { return false };
            let shake = self.book.due(connection, at_ns, tag, now_ns);
            match self.sessions.may_shake(connection, now_ns) {
                Ok(()) => {
                    let number = self.book.send(shake);
                    self.sessions.shake(connection, number, now_ns);
                }
                Err(Unsent::Disconnected) => self.book.not_sent(&shake, |not_sent| &mut not_sent.disconnected),
                Err(Unsent::HeldBack) => self.book.not_sent(&shake, |not_sent| &mut not_sent.held_back),
            }
        }
        self.load.as_ref().is_some_and(|load| load.next_ns() <= now_ns && load.next_ns() < end_ns)
    }

    /// Sends the gifts that are due, up to a bound a turn. Whether more are due.
    fn give_due(&mut self, now_ns: u64, end_ns: u64) -> bool {
        let (Some(load), Some((gifts, recorder))) = (&mut self.load, self.book.gifts()) else { return false };
        gifts.enter_lap(load.segment.lap_at(now_ns));
        let Some(law) = load.segment.gifts else { return false };
        for _ in 0..GIFTS_PER_TURN {
            let Some((connection, at_ns)) = load.gift_due(now_ns, end_ns) else { return false };
            let lap = load.segment.lap_at(at_ns);
            desk::due(lap, recorder);
            if self.sessions.is_gone(connection) {
                desk::not_sent(lap, recorder, |counts| &mut counts.disconnected);
                continue;
            }
            let users = load.segment.connections;
            let frame = gifts.give(connection, &law, users, (at_ns, now_ns), lap, recorder);
            self.sessions.ask(connection, &frame, now_ns);
        }
        load.next_gift_ns() <= now_ns && load.next_gift_ns() < end_ns
    }

    /// Asks what users have to ask about gifts: their shares of those they were told of, and what is asked again.
    fn ask_of_gifts(&mut self, now_ns: u64) {
        let Some((gifts, recorder)) = self.book.gifts() else { return };
        for _ in 0..GIFTS_PER_TURN {
            let Some((local, question)) = gifts.next(now_ns) else { return };
            if self.sessions.is_gone(local) {
                gifts.put_off(local, question, now_ns, recorder);
            } else if let Some(frame) = gifts.ask(local, question, now_ns, recorder) {
                self.sessions.ask(local, &frame, now_ns);
            }
        }
    }

    fn count_overdue_gifts(&mut self, end_ns: u64) {
        let (Some(load), Some((_, recorder))) = (&mut self.load, self.book.gifts()) else { return };
        while let Some((_, at_ns)) = load.gift_due(end_ns, end_ns) {
            let lap = load.segment.lap_at(at_ns);
            desk::due(lap, recorder);
            desk::not_sent(lap, recorder, |counts| &mut counts.overdue);
        }
    }

    /// What should have been sent in this segment and was not, as its time is over.
    fn count_overdue(&mut self, now_ns: u64, end_ns: u64) {
        while let Some((connection, at_ns, tag)) = self.load.as_mut().and_then(|load| load.due(end_ns, end_ns)) {
            let shake = self.book.due(connection, at_ns, tag, now_ns);
            self.book.not_sent(&shake, |not_sent: &mut NotSent| &mut not_sent.overdue);
        }
    }

    fn shake_vacant(&mut self, segment: &Segment, now_ns: u64) {
        if now_ns >= segment.end_ns {
            return;
        }
        let tag = segment.tag(now_ns);
        for _ in 0..SHAKES_PER_TURN {
            let Some(local) = self.book.take_vacant() else { return };
            // Who broke, or is held back, leaves the loop.
            if self.sessions.may_shake(local, now_ns).is_ok() {
                let shake = self.book.due(local, now_ns, tag, now_ns);
                let number = self.book.send(shake);
                self.sessions.shake(local, number, now_ns);
            }
        }
    }

    /// The load of a lap is over; its last answers may still come.
    fn stop_lap(&mut self, number: u32, now_ns: u64) {
        let Some(begun) = self.begun.take_if(|begun| begun.lap == number) else { return };
        let ring = self.sessions.counters().since(begun.ring);
        let recorder = self.book.recorder();
        let sent_in_all = recorder.sent() - begun.sent;
        if let Some(lap) = recorder.lap(number) {
            lap.cpu = Cpu::of_this_thread().since(&begun.cpu);
            lap.ring = ring;
            lap.answered_at_end = lap.requests.answered;
            lap.sent_in_all = sent_in_all;
            if lap.gifts.is_some() {
                lap.kept_until_ns = now_ns + GIFT_GRACE_MS * 1_000_000;
            }
        }
        self.book.forget_vacancies();
        self.ended = number + 1;
    }

    /// Gives a lap's figures to the main thread when nothing of it is under way any more.
    fn end_lap(&mut self, now_ns: u64) {
        if let Some(lap) = self.book.recorder().end_lap(self.ended, now_ns) {
            self.ends.laps.push(lap).expect("the queue holds all laps that are open");
        }
    }

    /// What every turn ends with: connects, pings, and the sends of all.
    fn finish_turn(&mut self, now_ns: u64) {
        self.sessions.connect(now_ns);
        if self.must_ping() {
            self.sessions.ping_silent(now_ns, now_ns - self.pinged_ns);
        }
        self.pinged_ns = now_ns;
        self.sessions.flush();
        self.show();
    }

    /// A load under which each user shakes often enough keeps the connections alive by itself.
    fn must_ping(&self) -> bool {
        let idle_ms = u64::from(self.sessions.tally().idle_timeout_ms);
        let period_ms = self.load.as_ref().and_then(|load| load.segment.period_ms());
        self.plan.obey_retry || self.book.under_way() == 0 || period_ms.is_some_and(|ms| ms > idle_ms / 3)
    }

    fn show(&self) {
        let tally = self.sessions.tally();
        self.cells.established.store(tally.established, Ordering::Relaxed);
        self.cells.given_up.store(tally.given_up, Ordering::Relaxed);
        let settled = if self.sessions.is_settled() { self.ordered } else { 0 };
        self.cells.settled.store(settled, Ordering::Release);
    }

    fn close(&mut self) -> Result<(), Failure> {
        let mut now_ns = self.clock.now_ns();
        let end_ns = now_ns + Duration::from_millis(CLOSE_WAIT_MS).as_nanos() as u64;
        self.sessions.close(now_ns);
        while !self.sessions.is_closed() && now_ns < end_ns && !self.abandon.is_told() {
            now_ns = self.turn(now_ns + 1_000_000, WANT)?;
            self.sessions.flush();
        }
        // The last closes are submitted, and not waited for.
        self.turn(now_ns, 0).map(drop)
    }
}

impl Load {
    /// The next shake due at `now_ns` and intended before `end_ns`: connection, time, lap.
    fn due(&mut self, now_ns: u64, end_ns: u64) -> Option<(u32, u64, LapTag)> {
        let begin_ns = self.segment.begin_ns;
        let due = self.schedule.as_mut()?.due(now_ns.saturating_sub(begin_ns), end_ns.saturating_sub(begin_ns))?;
        let at_ns = begin_ns + due.at_ns;
        Some((due.connection, at_ns, self.segment.tag(at_ns)))
    }

    /// The next gift likewise: connection and time.
    fn gift_due(&mut self, now_ns: u64, end_ns: u64) -> Option<(u32, u64)> {
        let begin_ns = self.segment.begin_ns;
        let due = self.gifts.as_mut()?.due(now_ns.saturating_sub(begin_ns), end_ns.saturating_sub(begin_ns))?;
        Some((due.connection, begin_ns + due.at_ns))
    }

    fn next_ns(&self) -> u64 {
        self.next_of(self.schedule.as_ref())
    }

    fn next_gift_ns(&self) -> u64 {
        self.next_of(self.gifts.as_ref())
    }

    fn next_of(&self, schedule: Option<&Schedule>) -> u64 {
        schedule.map_or(u64::MAX, |schedule| self.segment.begin_ns.saturating_add(schedule.next_ns()))
    }

    fn is_behind(&self, now_ns: u64) -> bool {
        self.next_ns().min(self.next_gift_ns()) <= now_ns
    }
}

/// Wake-up times of one thread: every tick, the threads spread over it.
struct Ticks {
    first_ns: u64,
    tick_ns: u64,
}

impl Ticks {
    fn new(tick: Duration, share: Share) -> Self {
        let tick_ns = tick.as_nanos() as u64;
        Self { first_ns: tick_ns * u64::from(share.thread) / u64::from(share.threads), tick_ns }
    }

    fn after(&self, now_ns: u64) -> u64 {
        match now_ns.checked_sub(self.first_ns) {
            Some(passed) => self.first_ns + (passed / self.tick_ns + 1) * self.tick_ns,
            None => self.first_ns,
        }
    }
}

#[cfg(test)]
#[path = "../tests/server/mod.rs"]
#[expect(dead_code, reason = "the end-to-end tests use the rest of it")]
mod server;

#[cfg(test)]
mod tests {
    use clap::Parser;
    use hongbao_uring::RingOptions;
    use rtrb::{Consumer, Producer, RingBuffer};

    use super::server::bank::{Bank, Fault};
    use super::server::{Reply, Server, envelope, none, win};
    use super::*;
    use crate::arguments::{Command, CommandLine};
    use crate::audit::Claim;
    use crate::gifts::desk::Desk;
    use crate::gifts::load::GiftLaw;
    use crate::gifts::told::Told;
    use crate::host::Host;
    use crate::limits::{GIFTS_TOLD_QUEUED, LAPS_OPEN_MAX, ORDERS_QUEUED, SECONDS_PER_THREAD};
    use crate::plan::Arrivals;
    use crate::record::{Lap, Second, SecondsEnds};
    use crate::scenario::{RateRange, Scenario};
    use crate::window::Window;

    /// A thread's driver, and what the main thread has of it.
    struct Stand {
        driver: Driver<hongbao_uring::Ring>,
        orders: Producer<Order>,
        laps: Consumer<Box<Lap>>,
        told: Consumer<Told>,
        _claims: Consumer<Claim>,
        _seconds: (Consumer<Box<Second>>, Producer<Box<Second>>),
    }

    impl Stand {
        fn new(server: &Server, line: &str) -> Self {
            let target = server.address.to_string();
            let words = ["hongbao-loadgen", "run", "--target", &target].into_iter().chain(line.split_whitespace());
            let Command::Run(arguments) = CommandLine::try_parse_from(words).expect("a good command line").command
            else {
                panic!("it says run")
            };
            let scenario =
                Scenario::of_flags(arguments.connections, &arguments.load, &arguments.expect).expect("a good scenario");
            let host = Host::prepare().expect("limits");
            let plan = Plan::new(&scenario, server.address, &arguments.common, &host, true).expect("a good plan");
            let (share, clock) = (plan.share(0), Clock::start());
            let (claims_in, claims) = RingBuffer::new(4096);
            let (full, full_end) = RingBuffer::new(SECONDS_PER_THREAD);
            let (mut empty_end, empty) = RingBuffer::new(SECONDS_PER_THREAD);
            while empty_end.push(Second::new()).is_ok() {}
            let (orders, orders_out) = RingBuffer::new(ORDERS_QUEUED);
            let (laps_in, laps) = RingBuffer::new(LAPS_OPEN_MAX);
            let network = RingOptions::connecting(share.len()).open().expect("a ring");
            let window = Window::new(plan.window(share));
            let timeout_us = plan.timeout.as_micros() as u32;
            let (told_in, told) = RingBuffer::new(GIFTS_TOLD_QUEUED);
            let gifts = plan.gifts_room(share).map(|room| Box::new(Desk::new(share, plan.users, 1, 1, room, told_in)));
            let book = Book::new(clock, window, SecondsEnds { full, empty }, claims_in, timeout_us, None, gifts);
            let ends = ThreadEnds { orders: orders_out, laps: laps_in };
            let driver = Driver::new(vec![network], plan, share, clock, Default::default(), ends, book);
            Self { driver, orders, laps, told, _claims: claims, _seconds: (full_end, empty_end) }
        }

        fn order(&mut self, order: Order) {
            self.orders.push(order).expect("room for an order");
        }

        /// Orders a lap of one segment with this rate, from now on.
        fn load(&mut self, rate: u64, length: Duration) -> u64 {
            let begin_ns = self.driver.clock.now_ns() + 1_000_000;
            let end_ns = begin_ns + length.as_nanos() as u64;
            let gifts = self.driver.plan.gifts_max.map(|(gifts, recipients)| GiftLaw {
                rate: RateRange::even(gifts),
                recipients: recipients as u8,
                shares: recipients as u16,
                total_cents: 100,
                first_slot: 0,
            });
            self.order(Order::Lap(if gifts.is_some() { Lap::with_gifts(0) } else { Lap::new(0) }));
            self.order(Order::Segment(Segment {
                lap: 0,
                number: 0,
                connections: self.driver.share.connections,
                law: Law::Open { from: rate, to: rate, arrivals: Arrivals::Uniform },
                tick: Duration::from_millis(1),
                begin_ns,
                end_ns,
                measured_ns: begin_ns,
                first_slot: 0,
                gifts,
            }));
            end_ns
        }

        fn connect(&mut self) {
            let connections = self.driver.share.connections;
            self.order(Order::Connect { connections });
            while self.driver.cells.settled.load(Ordering::Relaxed) != connections {
                assert!(self.driver.step().expect("a ring that works"));
            }
            assert_eq!(self.driver.sessions.tally().established, connections);
        }

        fn lap(&mut self) -> Box<Lap> {
            loop {
                assert!(self.driver.step().expect("a ring that works"));
                if let Ok(lap) = self.laps.pop() {
                    return lap;
                }
            }
        }
    }

    #[test]
    fn a_load_allocates_nothing() {
        let server = Server::start(|asked| match asked.number % 8 {
            0 => Reply::Frame(win(asked, envelope(asked.number, 1))),
            1 => Reply::Silence,
            _ => none(asked),
        });
        let mut stand = Stand::new(&server, "--connections 16 --rate 2000 --duration 1s --timeout 100ms");
        stand.connect();
        let end_ns = stand.load(2000, Duration::from_secs(1));
        // Its begin reads the CPU time from a file.
        while stand.driver.begun.is_none() {
            stand.driver.step().expect("a ring that works");
        }
        let counted = allocation_counter::measure(|| {
            while stand.driver.clock.now_ns() < end_ns - 5_000_000 {
                stand.driver.step().expect("a ring that works");
            }
        });
        assert_eq!(counted.count_total, 0, "{counted:?}");
        let requests = stand.lap().requests;
        assert_eq!(requests.sent, 2000);
        assert!(requests.by_outcome.envelope > 0 && requests.by_outcome.none > 0 && requests.timed_out > 0);
    }

    #[test]
    fn gifts_and_the_opens_of_them_allocate_nothing_either() {
        let bank = Arc::new(Bank::new(Fault::Honest));
        let server = Server::start_with_bank(&bank, none);
        let mut stand = Stand::new(&server, "--connections 16 --rate 500 --gifts 1000 --duration 1s");
        stand.connect();
        let end_ns = stand.load(500, Duration::from_secs(1));
        while stand.driver.begun.is_none() {
            stand.driver.step().expect("a ring that works");
        }
        let counted = allocation_counter::measure(|| {
            while stand.driver.clock.now_ns() < end_ns - 5_000_000 {
                stand.driver.step().expect("a ring that works");
            }
        });
        assert_eq!(counted.count_total, 0, "{counted:?}");
        let gifts = stand.lap().gifts.expect("the lap has gifts").counts;
        assert_eq!((gifts.sent, gifts.granted, gifts.opened), (1_000, 1_000, 3_000), "{gifts:?}");
        assert!(gifts.repeated > 0 && gifts.balance());
        assert_eq!(stand.told.slots() as u64, gifts.granted + gifts.opened + gifts.repeated, "each answer is told");
    }

    #[test]
    fn a_segment_that_begins_cuts_the_one_before_and_leaves_no_shake_out() {
        let server = Server::start(none);
        let mut stand = Stand::new(&server, "--connections 7 --rate 1000 --duration 1s --timeout 5s");
        stand.connect();
        let end_ns = stand.load(1000, Duration::from_secs(1));
        let begin_ns = end_ns - 500_000_000;
        let law = Law::Open { from: 200, to: 200, arrivals: Arrivals::Uniform };
        let next = Segment {
            lap: 0,
            number: 1,
            connections: 7,
            law,
            tick: Duration::from_millis(3),
            begin_ns,
            end_ns,
            measured_ns: begin_ns - 500_000_000,
            first_slot: 500,
            gifts: None,
        };
        stand.order(Order::Segment(next));
        let requests = stand.lap().requests;
        assert_eq!((requests.scheduled, requests.sent, requests.answered), (600, 600, 600));
    }

    #[test]
    fn ticks_keep_their_places_however_late_a_turn_is() {
        let share = Share { thread: 1, threads: 4, connections: 4 };
        let ticks = Ticks::new(Duration::from_nanos(400), share);
        assert_eq!([0, 99, 100, 499, 500, 8_999].map(|now| ticks.after(now)), [100, 100, 500, 500, 900, 9_300]);
    }
}
