//! One thread of a run: ramp, wait for the common begin, load, drain, close.
//!
//! Each turn enters the ring once: it submits what was prepared in the turn before and sleeps until the next tick, unless very
//! much comes in. Then it receives first and sends after, as what waits in socket buffers is what measures badly.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use hongbao_uring::{NetworkCounters, Wait};

use crate::book::{Book, Oddities};
use crate::clock::Clock;
use crate::cpu::Cpu;
use crate::exit::Failure;
use crate::limits::{CLOSE_WAIT_MS, SHAKES_PER_TURN};
use crate::network::Dial;
use crate::plan::{Load, Plan};
use crate::record::{Latencies, Requests};
use crate::schedule::{Schedule, Share};
use crate::sessions::{Sessions, Tally, Unsent};

/// Completions that end a wait before its tick: enough to fill the completion queue half.
const WANT: u32 = 2048;

/// What the threads and the main thread tell each other.
#[derive(Debug, Default)]
pub struct Signals {
    /// When the load begins, on the run's clock; 0: not decided yet.
    begin_ns: AtomicU64,
    /// End the load, and drain.
    stop: AtomicBool,
    /// End at once.
    abandon: AtomicBool,
}

impl Signals {
    /// Decides when the load begins; not 0.
    pub fn begin_at(&self, begin_ns: u64) {
        self.begin_ns.store(begin_ns, Ordering::Release);
    }

    /// Ends the load early.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Ends the drain as well.
    pub fn abandon(&self) {
        self.stop();
        self.abandon.store(true, Ordering::Release);
    }

    /// Whether the load is to end early.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn is_abandoned(&self) -> bool {
        self.abandon.load(Ordering::Acquire)
    }
}

/// What a thread shows of itself while it runs. Written by it alone.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Cells {
    /// Users logged in.
    pub established: AtomicU32,
    /// Users given up.
    pub given_up: AtomicU32,
    /// Whether the ramp is over.
    pub settled: AtomicBool,
}

/// What a thread hands back.
pub struct ThreadReport {
    /// Shakes.
    pub requests: Requests,
    /// Answered when the load ended; the drain brings the rest.
    pub answered_in_load: u64,
    /// Their times.
    pub latencies: Latencies,
    /// Connections, when all was over.
    pub tally: Tally,
    /// Users logged in when the load began.
    pub established: u32,
    /// What did not fit.
    pub oddities: Oddities,
    /// CPU of the load, warm-up included.
    pub cpu: Cpu,
    /// What the ring did in the load.
    pub ring: NetworkCounters,
}

/// See the module's text.
pub struct Driver<N> {
    plan: Plan,
    share: Share,
    clock: Clock,
    signals: Arc<Signals>,
    cells: Arc<Cells>,
    sessions: Sessions<N>,
    book: Book,
    pinged_ns: u64,
}

impl<N: Dial> Driver<N> {
    /// A thread's run over this network, made on the same thread.
    pub fn new(
        network: N,
        plan: Plan,
        share: Share,
        clock: Clock,
        signals: Arc<Signals>,
        cells: Arc<Cells>,
        book: Book,
    ) -> Self {
        let sessions = Sessions::new(network, plan.clone(), share);
        Self { plan, share, clock, signals, cells, sessions, book, pinged_ns: 0 }
    }

    /// Runs to the end.
    pub fn run(mut self) -> Result<ThreadReport, Failure> {
        self.ramp()?;
        let established = self.sessions.tally().established;
        let (cpu, ring, answered_in_load) = match self.await_begin()? {
            Some(begin_ns) => {
                let (cpu, ring) = (Cpu::of_this_thread(), self.sessions.counters());
                match self.plan.load {
                    Load::Open { .. } => self.open_load(begin_ns)?,
                    Load::Closed { depth } => self.closed_load(begin_ns, depth)?,
                }
                let ring = since(&self.sessions.counters(), &ring);
                let spent = (Cpu::of_this_thread().since(&cpu), ring, self.book.answered());
                self.drain()?;
                spent
            }
            None => Default::default(),
        };
        self.close()?;
        let tally = *self.sessions.tally();
        let (requests, latencies, oddities) = self.book.finish();
        Ok(ThreadReport { requests, answered_in_load, latencies, tally, established, oddities, cpu, ring })
    }

    /// Enters until `until_ns` at most, and handles what came.
    fn turn(&mut self, until_ns: u64, want: u32) -> Result<u64, Failure> {
        let rest_us = (until_ns.saturating_sub(self.clock.now_ns()) / 1_000) as u32;
        // Without a rest the enter is only to submit and to fetch what is there.
        let want = if rest_us == 0 { 0 } else { want };
        self.sessions.enter(Wait { want, min_wait_us: rest_us, timeout_us: rest_us })?;
        let now_ns = self.clock.now_ns();
        self.sessions.handle(now_ns, &mut self.book);
        Ok(now_ns)
    }

    /// What every turn ends with, whatever the phase: connects, pings, and the sends of all.
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
        self.plan.obey_retry || self.book.under_way() == 0 || self.plan.period_ms().is_some_and(|ms| ms > idle_ms / 3)
    }

    fn show(&self) {
        let tally = self.sessions.tally();
        self.cells.established.store(tally.established, Ordering::Relaxed);
        self.cells.given_up.store(tally.given_up, Ordering::Relaxed);
    }

    fn ramp(&mut self) -> Result<(), Failure> {
        let mut now_ns = self.clock.now_ns();
        self.pinged_ns = now_ns;
        while !self.sessions.is_settled() && !self.signals.is_stopped() {
            self.finish_turn(now_ns);
            now_ns = self.turn(now_ns + 1_000_000, 256)?;
        }
        self.show();
        self.cells.settled.store(true, Ordering::Release);
        Ok(())
    }

    /// Keeps the connections alive until the load begins on all threads: when. `None`: the run was stopped before.
    fn await_begin(&mut self) -> Result<Option<u64>, Failure> {
        loop {
            if self.signals.is_stopped() {
                return Ok(None);
            }
            let begin_ns = self.signals.begin_ns.load(Ordering::Acquire);
            let now_ns = self.clock.now_ns();
            if begin_ns != 0 && begin_ns <= now_ns + 2_000_000 {
                return Ok(Some(begin_ns));
            }
            self.finish_turn(now_ns);
            self.turn(now_ns + 2_000_000, WANT)?;
        }
    }

    fn open_load(&mut self, begin_ns: u64) -> Result<(), Failure> {
        let schedule = self.plan.schedule(self.share, self.clock.unix_ns(begin_ns));
        let mut schedule = schedule.expect("an open loop has a schedule");
        let end_ns = (self.plan.warm_up + self.plan.duration).as_nanos() as u64;
        let given_up_ns = end_ns + self.plan.timeout.as_nanos() as u64;
        self.book.begin(begin_ns, self.plan.warm_up.as_nanos() as u64);
        let ticks = Ticks::new(begin_ns, self.plan.tick, self.share);
        let mut next_ns = begin_ns;
        loop {
            let now_ns = self.turn(next_ns, WANT)?;
            let load_ns = now_ns.saturating_sub(begin_ns);
            self.expire(now_ns);
            let behind = self.shake_due(&mut schedule, now_ns, load_ns, end_ns);
            self.finish_turn(now_ns);
            self.book.turn_to(now_ns);
            if self.signals.is_stopped() || load_ns >= given_up_ns || (load_ns >= end_ns && !behind) {
                self.count_overdue(&mut schedule, load_ns.min(end_ns), now_ns);
                return Ok(());
            }
            next_ns = if behind { now_ns } else { ticks.after(now_ns) };
        }
    }

    /// Sends what is due, up to a bound a turn. Whether more is due.
    fn shake_due(&mut self, schedule: &mut Schedule, now_ns: u64, load_ns: u64, end_ns: u64) -> bool {
        let at_us = self.book.load_us(now_ns);
        for _ in 0..SHAKES_PER_TURN {
            let Some(due) = schedule.due(load_ns, end_ns) else { return false };
            let shake = self.book.due(due.connection, due.at_ns, at_us);
            match self.sessions.may_shake(due.connection, now_ns) {
                Ok(()) => {
                    let number = self.book.send(shake);
                    self.sessions.shake(due.connection, number, now_ns);
                }
                Err(Unsent::Disconnected) => self.book.not_sent(&shake, |not_sent| &mut not_sent.disconnected),
                Err(Unsent::HeldBack) => self.book.not_sent(&shake, |not_sent| &mut not_sent.held_back),
            }
        }
        schedule.next_ns() <= load_ns && schedule.next_ns() < end_ns
    }

    /// What should have been sent by `until_ns` and was not, as the run is over.
    fn count_overdue(&mut self, schedule: &mut Schedule, until_ns: u64, now_ns: u64) {
        let at_us = self.book.load_us(now_ns);
        while let Some(due) = schedule.due(until_ns, until_ns) {
            let shake = self.book.due(due.connection, due.at_ns, at_us);
            self.book.not_sent(&shake, |not_sent| &mut not_sent.overdue);
        }
    }

    fn closed_load(&mut self, begin_ns: u64, depth: u32) -> Result<(), Failure> {
        let end_ns = (self.plan.warm_up + self.plan.duration).as_nanos() as u64;
        self.book.begin(begin_ns, self.plan.warm_up.as_nanos() as u64);
        for _ in 0..depth {
            (0..self.sessions.count()).for_each(|local| self.book.vacate(local));
        }
        let mut next_ns = begin_ns;
        loop {
            let want = (self.book.under_way() / 4).clamp(1, WANT);
            let now_ns = self.turn(next_ns, want)?;
            let load_ns = now_ns.saturating_sub(begin_ns);
            self.expire(now_ns);
            if self.signals.is_stopped() || load_ns >= end_ns {
                return Ok(());
            }
            if now_ns >= begin_ns {
                self.shake_vacant(now_ns, load_ns);
            }
            self.finish_turn(now_ns);
            self.book.turn_to(now_ns);
            next_ns = (now_ns + self.plan.tick.as_nanos() as u64).max(begin_ns);
        }
    }

    fn shake_vacant(&mut self, now_ns: u64, load_ns: u64) {
        let at_us = self.book.load_us(now_ns);
        for _ in 0..SHAKES_PER_TURN {
            let Some(local) = self.book.take_vacant() else { return };
            // Who broke, or is held back, leaves the loop.
            if self.sessions.may_shake(local, now_ns).is_ok() {
                let shake = self.book.due(local, load_ns, at_us);
                let number = self.book.send(shake);
                self.sessions.shake(local, number, now_ns);
            }
        }
    }

    fn expire(&mut self, now_ns: u64) {
        let sessions = &self.sessions;
        self.book.expire(now_ns, |local| sessions.is_gone(local));
    }

    /// Waits for the last answers, a timeout long at most.
    fn drain(&mut self) -> Result<(), Failure> {
        let mut now_ns = self.clock.now_ns();
        let end_ns = now_ns + self.plan.timeout.as_nanos() as u64;
        while self.book.under_way() > 0 && now_ns < end_ns && !self.signals.is_abandoned() {
            now_ns = self.turn(now_ns + 1_000_000, WANT)?;
            self.expire(now_ns);
            self.book.turn_to(now_ns);
            self.sessions.flush();
        }
        let sessions = &self.sessions;
        self.book.give_up_all(now_ns, |local| sessions.is_gone(local));
        Ok(())
    }

    fn close(&mut self) -> Result<(), Failure> {
        let mut now_ns = self.clock.now_ns();
        let end_ns = now_ns + Duration::from_millis(CLOSE_WAIT_MS).as_nanos() as u64;
        self.sessions.close(now_ns);
        while !self.sessions.is_closed() && now_ns < end_ns && !self.signals.is_abandoned() {
            now_ns = self.turn(now_ns + 1_000_000, WANT)?;
            self.sessions.flush();
        }
        // The last closes are submitted, and not waited for.
        self.turn(now_ns, 0).map(drop)
    }
}

/// Wake-up times of one thread: every tick from the begin of the load, the threads spread over it.
struct Ticks {
    first_ns: u64,
    tick_ns: u64,
}

impl Ticks {
    fn new(begin_ns: u64, tick: Duration, share: Share) -> Self {
        let tick_ns = tick.as_nanos() as u64;
        Self { first_ns: begin_ns + tick_ns * u64::from(share.thread) / u64::from(share.threads), tick_ns }
    }

    fn after(&self, now_ns: u64) -> u64 {
        match now_ns.checked_sub(self.first_ns) {
            Some(passed) => self.first_ns + (passed / self.tick_ns + 1) * self.tick_ns,
            None => self.first_ns,
        }
    }
}

fn since(now: &NetworkCounters, before: &NetworkCounters) -> NetworkCounters {
    NetworkCounters {
        enters: now.enters - before.enters,
        completions: now.completions - before.completions,
        sends: now.sends - before.sends,
        sends_deferred: now.sends_deferred - before.sends_deferred,
        buffers_exhausted: now.buffers_exhausted - before.buffers_exhausted,
        completion_overflows: now.completion_overflows - before.completion_overflows,
        wakes_sent: now.wakes_sent - before.wakes_sent,
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
    use rtrb::RingBuffer;

    use super::server::{Reply, Server, envelope, none, win};
    use super::*;
    use crate::arguments::{Command, CommandLine};
    use crate::host::Host;
    use crate::limits::SECONDS_PER_THREAD;
    use crate::record::{Second, SecondsEnds};
    use crate::window::Window;

    fn plan(server: &Server, line: &str) -> Plan {
        let target = server.address.to_string();
        let words = ["hongbao-loadgen", "run", "--target", &target].into_iter().chain(line.split_whitespace());
        let Command::Run(arguments) = CommandLine::try_parse_from(words).expect("a good command line").command;
        Plan::new(&arguments, &Host::prepare().expect("limits"), true).expect("a good plan")
    }

    #[test]
    fn a_load_allocates_nothing() {
        let server = Server::start(|asked| match asked.number % 8 {
            0 => Reply::Frame(win(asked, envelope(asked.number, 1))),
            1 => Reply::Silence,
            _ => none(asked),
        });
        let plan = plan(&server, "--connections 16 --rate 2000 --duration 1s --timeout 100ms");
        let (share, clock) = (plan.share(0), Clock::start());
        let (claims_in, _claims) = RingBuffer::new(4096);
        let (full, _full_end) = RingBuffer::new(SECONDS_PER_THREAD);
        let (mut empty_end, empty) = RingBuffer::new(SECONDS_PER_THREAD);
        while empty_end.push(Second::new()).is_ok() {}
        let network = RingOptions::connecting(share.len()).open().expect("a ring");
        let window = Window::new(plan.window(share));
        let book = Book::new(clock, window, SecondsEnds { full, empty }, claims_in, 100_000, None);
        let mut driver = Driver::new(network, plan, share, clock, Arc::default(), Arc::default(), book);
        driver.ramp().expect("a ring that works");
        assert_eq!(driver.sessions.tally().established, 16);
        let begin_ns = clock.now_ns() + 1_000_000;
        let counted = allocation_counter::measure(|| driver.open_load(begin_ns).expect("a ring that works"));
        assert_eq!(counted.count_total, 0, "{counted:?}");
        driver.drain().expect("a ring that works");
        let (requests, ..) = driver.book.finish();
        assert_eq!(requests.sent, 2000);
        assert!(requests.by_outcome.envelope > 0 && requests.by_outcome.none > 0 && requests.timed_out > 0);
    }

    #[test]
    fn ticks_keep_their_places_however_late_a_turn_is() {
        let share = Share { thread: 1, threads: 4, connections: 4 };
        let ticks = Ticks::new(1_000, Duration::from_nanos(400), share);
        assert_eq!(
            [0, 1_099, 1_100, 1_499, 1_500, 9_999].map(|now| ticks.after(now)),
            [1_100, 1_100, 1_500, 1_500, 1_900, 10_300]
        );
    }
}
