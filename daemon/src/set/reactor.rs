//! The SET's loop. One turn: enter (submit, wait, reap) -> handle completions -> verdicts, commands, deadlines -> one flush a
//! connection -> publish. Nothing is submitted inside the reap, and every step is bounded.

use std::sync::Arc;

use hongbao_uring::{Completion, Errno, Event, Generation, Network, Pace, Receive, Socket, Token, Wait};
use slab::Slab;

use super::connection::{Connection, Flags, State};
use super::long_frames::LongFrames;
use super::moment::Moment;
use super::orders::Orders;
use super::stock::Stock;
use super::wheel::{Tick, Wheel};
use super::{Rules, SetSummary};
use crate::cells::{CloseReason, SetCells};
use crate::limits::{
    ACCEPT_BACKOFF_TICKS, HOUSEKEEPING_PER_TURN, REFUSED_AT_ONCE, STOCK_IDLE_TICKS, VERDICTS_PER_TURN, WHEEL_TICK_MS,
};
use crate::messages::{SetCommand, SetEnds};

/// The accept's token: no connection has this slot.
const LISTENER: Token = Token { slot: u32::MAX, generation: Generation::new(0) };

/// Whether the loop goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There is more to do, now or later.
    Continue,
    /// Everyone is gone and the stock is given back: end the thread.
    Ended,
}

/// How far the SET is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Serving.
    Running,
    /// Not accepting; claims at the ledger are waited for.
    Finishing { deadline_tick: u32 },
    /// Sending everyone away, from this place of the slab on; then waiting for them to go.
    SendingAway { deadline_tick: u32, next_slot: u32 },
}

/// Whether the multishot accept is armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    Armed,
    /// Stopped on purpose, every place being taken; its last completion has come.
    Paused,
    /// Cancelled; its last completion is still to come.
    Pausing,
    /// The kernel had no descriptor or memory: try again at this tick.
    BackingOff {
        until_tick: u32,
    },
    /// The SET stops.
    Over,
}

/// One SET on one ring. See the module's text.
pub struct Reactor<N: Network> {
    pub(super) network: N,
    pub(super) rules: Rules,
    pub(super) connections: Slab<Connection>,
    pub(super) wheel: Wheel,
    pub(super) stock: Stock,
    pub(super) ends: Ends,
    pub(super) now: Moment,
    pub(super) phase: Phase,
    pub(super) claims_pending: u32,
    /// Sends and opens of gifts at the ledger.
    pub(super) gifts_pending: u32,
    pub(super) long_frames: LongFrames,
    /// Places for users; a few more are kept to refuse others with.
    places: u32,
    accepting: Accepting,
    generation: Generation,
    dirty: Vec<u32>,
    /// On their way out, with a last send that the coming enter makes.
    departing: Vec<Token>,
    rearm: Vec<u32>,
    pace: Pace,
    drain_timeout_ms: u32,
    pub(super) ledger_asked: bool,
    pub(super) orders: Orders,
    last_tick: u32,
    last_shakes: u64,
    idle_ticks: u32,
}

/// The queues that are left when the stock has taken its own.
pub(super) struct Ends {
    pub(super) requests: rtrb::Producer<crate::messages::Request>,
    pub(super) verdicts: rtrb::Consumer<crate::messages::Verdict>,
    pub(super) commands: rtrb::Consumer<SetCommand>,
    doorbell: Arc<hongbao_uring::Doorbell>,
    ledger_doorbell: Arc<hongbao_uring::Doorbell>,
    pub(super) cells: Arc<SetCells>,
}

impl<N: Network> Reactor<N> {
    /// A SET with `places` for users. The ring must hold `places` + [`REFUSED_AT_ONCE`] descriptors.
    pub fn new(network: N, rules: Rules, places: u32, pace: Pace, drain_timeout_ms: u32, ends: SetEnds) -> Self {
        let capacity = (places + REFUSED_AT_ONCE) as usize;
        let SetEnds { stock, returns, requests, verdicts, commands, doorbell, ledger_doorbell, cells } = ends;
        let mut reactor = Self {
            network,
            rules,
            connections: Slab::with_capacity(capacity),
            wheel: Wheel::new(),
            stock: Stock::new(stock, returns, requests.buffer().capacity()),
            ends: Ends { requests, verdicts, commands, doorbell, ledger_doorbell, cells },
            now: Moment { elapsed_us: 0, unix_us: 0 },
            phase: Phase::Running,
            claims_pending: 0,
            gifts_pending: 0,
            long_frames: LongFrames::new(),
            places,
            accepting: Accepting::Armed,
            generation: Generation::default(),
            dirty: Vec::with_capacity(capacity),
            departing: Vec::with_capacity(capacity),
            rearm: Vec::with_capacity(capacity),
            pace,
            drain_timeout_ms,
            ledger_asked: false,
            orders: Orders::new(),
            last_tick: 0,
            last_shakes: 0,
            idle_ticks: 0,
        };
        reactor.network.accept(LISTENER);
        reactor
    }

    /// The ring, for tests that play the peers.
    pub fn network(&mut self) -> &mut N {
        &mut self.network
    }

    /// One turn on a thread of its own: waits for work, and is woken for it. The clock is read once the wait is over, which is the time of
    /// all that the turn does, and at the end.
    pub fn turn(&mut self, clock: impl Fn() -> Moment) -> std::io::Result<Turn> {
        let wait = self.next_wait();
        let entered = self.network.enter(wait);
        self.ends.doorbell.woke_up();
        entered?;
        Ok(self.work(clock))
    }

    /// One turn on a thread that several SETs share, which comes by at `now`: waits for nothing, and leaves nothing to be submitted. Where there
    /// is no work it is a look at memory.
    pub fn visit(&mut self, now: Moment, clock: impl Fn() -> Moment) -> std::io::Result<Turn> {
        if !self.has_left_over() && Self::tick_of(now) == self.last_tick && !self.network.has_work() {
            return Ok(Turn::Continue);
        }
        self.network.enter(Wait::NOT)?;
        let turn = self.work(clock);
        self.network.submit();
        Ok(turn)
    }

    fn work(&mut self, clock: impl Fn() -> Moment) -> Turn {
        let now = clock();
        self.pace.observe(self.network.reaped(), now.elapsed_us.saturating_sub(self.now.elapsed_us));
        self.now = now;

        while let Some(Completion { token, event }) = self.network.next() {
            self.handle(token, event);
        }
        self.see_off();
        for _ in 0..VERDICTS_PER_TURN {
            let Ok(verdict) = self.ends.verdicts.pop() else { break };
            self.take_verdict(verdict);
        }
        self.obey();
        self.keep_house();
        self.flush();
        if std::mem::take(&mut self.ledger_asked) {
            self.network.ring_doorbell(&self.ends.ledger_doorbell);
        }
        self.publish(clock());
        if self.has_ended() { Turn::Ended } else { Turn::Continue }
    }

    /// How long the coming enter may wait: not at all where work is left over, else as the pace says, but not past the next tick.
    fn next_wait(&mut self) -> Wait {
        self.ends.doorbell.going_to_sleep();
        if self.has_left_over() {
            return Wait::NOT;
        }
        let tick_us = u64::from(WHEEL_TICK_MS) * 1000;
        let to_next_tick_us = tick_us - self.now.elapsed_us % tick_us;
        self.pace.wait(to_next_tick_us as u32)
    }

    /// Whether there is work that no completion will tell of.
    fn has_left_over(&self) -> bool {
        !self.ends.verdicts.is_empty()
            || !self.ends.commands.is_empty()
            || self.wheel.is_behind(self.tick() as Tick)
            || !self.rearm.is_empty()
            || !self.departing.is_empty()
            || self.orders.is_sweeping()
            || self.orders.has_news(self.now.elapsed_us, self.connections.capacity() as u32)
            || matches!(self.phase, Phase::SendingAway { next_slot, .. } if next_slot != u32::MAX)
    }

    fn handle(&mut self, token: Token, event: Event) {
        match event {
            Event::Accept { outcome, more } => self.accepted(outcome, more),
            Event::Receive { outcome, more } => self.received(token, outcome, more),
            Event::Send { outcome } => self.sent(token, outcome),
            // The queues are looked at in every turn.
            Event::Wake => {}
            Event::Connect { .. } => unreachable!("a SET connects to nobody"),
        }
    }

    /// The connection that a completion is for, unless that life of its place is over.
    pub(super) fn find(&mut self, token: Token) -> Option<&mut Connection> {
        self.connections.get_mut(token.slot as usize).filter(|connection| connection.token(token.slot) == token)
    }

    fn accepted(&mut self, outcome: Result<Socket, Errno>, more: bool) {
        if !more {
            self.accepting = match (self.accepting, &outcome) {
                (Accepting::Over, _) => Accepting::Over,
                (Accepting::Pausing, _) => Accepting::Paused,
                (_, Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)) => {
                    Accepting::BackingOff { until_tick: self.tick() + ACCEPT_BACKOFF_TICKS }
                }
                // An aborted handshake, or a completion queue that overflowed: arm it again with the next housekeeping.
                _ => Accepting::BackingOff { until_tick: self.tick() },
            };
        }
        let cells = &self.ends.cells;
        let socket = match outcome {
            Ok(socket) => socket,
            Err(Errno::ECANCELED) => return,
            Err(_) => return cells.accepts_failed.add(1),
        };
        cells.connections_opened.add(1);
        if self.connections.len() >= self.connections.capacity() || self.accepting == Accepting::Over {
            // It came between the decision to stop accepting and the kernel's hearing of it.
            cells.connections_closed[CloseReason::Full as usize].add(1);
            return self.network.close(socket);
        }
        self.generation = self.generation.next();
        let full = self.connections.len() >= self.places as usize;
        let deadline_tick = self.deadline(self.rules.login_timeout_ms) as Tick;
        let slot = self.connections.insert(Connection::new(socket, self.generation, deadline_tick)) as u32;
        self.wheel.insert(&mut self.connections, slot);
        self.arm_receive(slot);
        if full {
            self.refuse(slot);
        }
        if self.connections.len() >= self.connections.capacity() && self.accepting == Accepting::Armed {
            self.accepting = Accepting::Pausing;
            self.network.stop_accepting();
        }
    }

    pub(super) fn arm_receive(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        connection.flags.set(Flags::RECEIVING);
        self.network.receive(&connection.socket, connection.token(slot));
    }

    fn received(&mut self, token: Token, outcome: Receive, more: bool) {
        let Some(connection) = self.find(token) else {
            if let Receive::Data(received) = outcome {
                self.network.give_back(received);
            }
            return;
        };
        if !more {
            connection.flags.clear(Flags::RECEIVING);
        }
        match outcome {
            Receive::Data(received) => {
                let length = self.network.bytes(&received).len();
                self.ends.cells.bytes_received.add(length as u64);
                self.read_frames(token.slot, &received);
                self.network.give_back(received);
                if !more {
                    self.want_rearm(token.slot);
                }
            }
            Receive::NoBuffers => self.want_rearm(token.slot),
            Receive::EndOfFile => self.close_after_sending(token.slot, CloseReason::Peer),
            Receive::Failed(_) => self.close_now(token.slot, CloseReason::Broken),
        }
        self.finish_if_closed(token.slot);
    }

    fn want_rearm(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        if connection.state != State::Closing && connection.flags.raise(Flags::REARM) {
            self.rearm.push(slot);
        }
    }

    fn sent(&mut self, token: Token, outcome: Result<u32, Errno>) {
        let Some(connection) = self.connections.get_mut(token.slot as usize) else { return };
        if connection.token(token.slot) != token {
            return;
        }
        match self.network.sent(&mut connection.outbox, outcome) {
            hongbao_uring::Sent::Failed(_) => self.close_now(token.slot, CloseReason::Broken),
            // What is left goes out at the turn's end; a farewell that is through is followed by the end of file.
            hongbao_uring::Sent::More | hongbao_uring::Sent::Empty => self.mark_dirty(token.slot),
        }
    }

    /// Puts a connection on the list that `flush` works off.
    pub(super) fn mark_dirty(&mut self, slot: u32) {
        if self.connections[slot as usize].flags.raise(Flags::DIRTY) {
            self.dirty.push(slot);
        }
    }

    fn keep_house(&mut self) {
        let tick = self.tick();
        let mut budget = HOUSEKEEPING_PER_TURN;
        while let Some(slot) = self.wheel.expire(&mut self.connections, tick as Tick, &mut budget) {
            self.deadline_passed(slot);
        }
        for _ in 0..HOUSEKEEPING_PER_TURN {
            let Some(slot) = self.rearm.pop() else { break };
            // The place may have changed hands since; its flag tells.
            let Some(connection) = self.connections.get_mut(slot as usize) else { continue };
            if connection.flags.has(Flags::REARM) {
                connection.flags.clear(Flags::REARM);
                self.arm_receive(slot);
            }
        }
        self.resume_accepting(tick);
        self.go_on_stopping(tick);
        if tick != self.last_tick {
            self.last_tick = tick;
            self.each_tick();
        }
    }

    fn resume_accepting(&mut self, tick: u32) {
        let places_free = self.connections.len() + REFUSED_AT_ONCE as usize / 2 <= self.connections.capacity();
        let resume = match self.accepting {
            Accepting::Paused => places_free,
            Accepting::BackingOff { until_tick } => until_tick <= tick,
            Accepting::Armed | Accepting::Pausing | Accepting::Over => false,
        };
        if resume {
            self.accepting = Accepting::Armed;
            self.network.accept(LISTENER);
        }
    }

    pub(super) fn accept_no_more(&mut self) {
        if self.accepting == Accepting::Armed {
            self.network.stop_accepting();
        }
        self.accepting = Accepting::Over;
    }

    /// A SET nobody shakes on must not hoard.
    fn each_tick(&mut self) {
        let cells = &self.ends.cells;
        let shakes = cells.shakes.get();
        self.idle_ticks = if shakes == self.last_shakes { self.idle_ticks + 1 } else { 0 };
        self.last_shakes = shakes;
        if (self.idle_ticks >= STOCK_IDLE_TICKS || self.orders.held) && !self.stock.is_empty() {
            cells.stock_returned.add(self.stock.give_back());
        }
        cells.stock_cents.set(self.stock.cents().0);
    }

    fn flush(&mut self) {
        while let Some(slot) = self.dirty.pop() {
            let Some(connection) = self.connections.get_mut(slot as usize) else { continue };
            if !connection.flags.has(Flags::DIRTY) {
                continue;
            }
            connection.flags.clear(Flags::DIRTY);
            let token = connection.token(slot);
            self.network.flush(&connection.socket, token, &mut connection.outbox);
            if !connection.listens() {
                self.departing.push(token);
            }
        }
    }

    /// Goes on with those whose last send was made by the enter that has just returned. Where it waits for the peer, its completion
    /// brings the connection here again.
    fn see_off(&mut self) {
        while let Some(token) = self.departing.pop() {
            let Some(connection) = self.find(token) else { continue };
            let state = connection.state;
            match state {
                State::Leaving => self.end_sending(token.slot),
                State::Closing => self.finish_if_closed(token.slot),
                State::AwaitingHello | State::LoggingIn | State::Online => unreachable!("nobody comes back"),
            }
        }
    }

    /// Lets the peer read the end of file once it has everything else.
    fn end_sending(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        if self.network.is_sent(&connection.outbox) && connection.flags.raise(Flags::WRITE_SHUT) {
            self.network.shutdown_write(&connection.socket);
        }
    }

    fn publish(&mut self, end: Moment) {
        let counters = self.network.counters();
        let cells = &self.ends.cells;
        cells.connections_open.set(self.connections.len() as u64);
        cells.claims_pending.set(u64::from(self.claims_pending));
        cells.stock.set(self.stock.count() as u64);
        cells.ring_enters.set(counters.enters);
        cells.ring_completions.set(counters.completions);
        cells.ring_sends.set(counters.sends);
        cells.ring_sends_deferred.set(counters.sends_deferred);
        cells.ring_buffers_exhausted.set(counters.buffers_exhausted);
        cells.ring_completion_overflows.set(counters.completion_overflows);
        cells.ring_wakes_sent.set(counters.wakes_sent);
        cells.turn_microseconds.record(end.elapsed_us.saturating_sub(self.now.elapsed_us));
        cells.turn_completions.record(u64::from(self.network.reaped()));
    }

    /// What is left when the loop has ended.
    pub fn summary(&self) -> SetSummary {
        SetSummary { connections_cut: self.connections.len(), claims_pending: self.claims_pending }
    }

    /// The wheel's tick that it is now.
    pub(super) fn tick(&self) -> u32 {
        Self::tick_of(self.now)
    }

    fn tick_of(moment: Moment) -> u32 {
        (moment.elapsed_us / 1000 / u64::from(WHEEL_TICK_MS)) as u32
    }

    /// The tick at which something is due that is due in `after_ms`.
    pub(super) fn deadline(&self, after_ms: u32) -> u32 {
        self.tick().saturating_add(after_ms.div_ceil(WHEEL_TICK_MS)).saturating_add(1)
    }

    pub(super) fn drain_deadline(&self) -> u32 {
        self.deadline(self.drain_timeout_ms)
    }
}
