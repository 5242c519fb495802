//! How connections end: sent away with a last frame, closed after what they are owed, or closed at once; and how the SET itself ends.
//!
//! Every way leads through `Closing`: the descriptor is closed only when its receive has ended and no send is in flight, so that the
//! kernel holds nothing of a place that is used again.

use hongbao_protocol::wire::{ErrorCode, GoAwayReason, ServerFrame};
use hongbao_uring::Network;

use super::connection::{Flags, State};
use super::reactor::{Phase, Reactor};
use super::shake::mix;
use super::wheel::Tick;
use crate::cells::CloseReason;
use crate::limits::{AWAY_MS, HOUSEKEEPING_PER_TURN, LINGER_MS};

impl<N: Network> Reactor<N> {
    /// Sends a last frame, then the end of file, and waits for the peer to close; input is thrown away from now on.
    pub(super) fn send_away(&mut self, slot: u32, reason: CloseReason, last: ServerFrame) {
        let connection = &self.connections[slot as usize];
        if matches!(connection.state, State::Leaving | State::Closing) {
            return;
        }
        // The farewell itself may find no room; then it has become a plain close.
        self.answer(slot, last);
        if self.connections[slot as usize].state != State::Closing {
            self.leave(slot, State::Leaving, reason);
        }
    }

    /// Tells a newcomer that every place is taken.
    pub(super) fn refuse(&mut self, slot: u32) {
        let last = self.go_away(GoAwayReason::Full, slot);
        self.send_away(slot, CloseReason::Full, last);
    }

    /// Tells a connection that its user has logged in on another one.
    pub(super) fn replaced(&mut self, slot: u32) {
        let last = self.go_away(GoAwayReason::Replaced, slot);
        self.send_away(slot, CloseReason::Replaced, last);
    }

    /// A go-away frame with a time to stay away, spread over the connections.
    pub(super) fn go_away(&self, reason: GoAwayReason, slot: u32) -> ServerFrame {
        let spread = (mix(self.now.elapsed_us ^ u64::from(slot).rotate_left(32)) >> 32) * u64::from(AWAY_MS);
        ServerFrame::GoAway { reason, retry_after_ms: AWAY_MS + (spread >> 32) as u32 }
    }

    /// Closes once what was answered is sent; the peer has said that it will send no more.
    pub(super) fn close_after_sending(&mut self, slot: u32, reason: CloseReason) {
        if self.connections[slot as usize].state != State::Closing {
            self.leave(slot, State::Closing, reason);
            self.mark_dirty(slot);
        }
    }

    /// Closes whatever is still to be sent.
    pub(super) fn close_now(&mut self, slot: u32, reason: CloseReason) {
        if self.connections[slot as usize].state != State::Closing {
            self.leave(slot, State::Closing, reason);
        }
        self.give_up(slot);
        self.mark_dirty(slot);
    }

    /// Throws away what is unsent and makes the kernel end what is armed or in flight.
    fn give_up(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        self.network.discard(&mut connection.outbox);
        if connection.flags.has(Flags::RECEIVING) || !self.network.is_sent(&connection.outbox) {
            self.network.shutdown(&connection.socket);
        }
    }

    /// Changes to a state that leads out. The first reason to leave is the one that counts.
    fn leave(&mut self, slot: u32, state: State, reason: CloseReason) {
        let deadline_tick = self.deadline(LINGER_MS) as Tick;
        let connection = &mut self.connections[slot as usize];
        if connection.state != State::Leaving {
            self.ends.cells.connections_closed[reason as usize].add(1);
        }
        if connection.flags.has(Flags::WELCOMED) {
            connection.flags.clear(Flags::WELCOMED);
            let online = &self.ends.cells.users_online;
            online.set(online.get() - 1);
        }
        connection.state = state;
        connection.flags.clear(Flags::REARM);
        connection.deadline_tick = deadline_tick;
        self.wheel.hasten(&mut self.connections, slot);
    }

    /// Frees the place of a connection that is closing, once nothing of it is with the kernel. Harmless on any other.
    pub(super) fn finish_if_closed(&mut self, slot: u32) {
        let Some(connection) = self.connections.get(slot as usize) else { return };
        if connection.state != State::Closing
            || connection.flags.has(Flags::RECEIVING)
            || !self.network.is_sent(&connection.outbox)
        {
            return;
        }
        self.wheel.remove(&mut self.connections, slot);
        let connection = self.connections.remove(slot as usize);
        self.network.close(connection.socket);
    }

    /// The wheel took this connection out: its deadline has passed.
    pub(super) fn deadline_passed(&mut self, slot: u32) {
        let deadline_tick = self.deadline(LINGER_MS) as Tick;
        let connection = &mut self.connections[slot as usize];
        connection.deadline_tick = deadline_tick;
        let state = connection.state;
        self.wheel.insert(&mut self.connections, slot);
        match state {
            State::AwaitingHello => {
                let error = ServerFrame::Error { code: ErrorCode::LoginTimeout, kind: 0 };
                self.send_away(slot, CloseReason::LoginTimeout, error);
            }
            State::LoggingIn | State::Online => {
                let last = self.go_away(GoAwayReason::Idle, slot);
                self.send_away(slot, CloseReason::IdleTimeout, last);
            }
            // The peer had its time to read the farewell; or what it was owed could not be sent.
            State::Leaving | State::Closing => self.close_now(slot, CloseReason::Broken),
        }
    }

    /// Begins to stop: nobody new, nothing new to the ledger.
    pub(super) fn stop(&mut self) {
        if self.phase == Phase::Running {
            self.accept_no_more();
            self.phase = Phase::Finishing { deadline_tick: self.drain_deadline() };
        }
    }

    /// The next step of stopping: once the ledger has answered all claims, everyone is sent away, a bounded number a turn.
    pub(super) fn go_on_stopping(&mut self, tick: u32) {
        if let Phase::Finishing { deadline_tick } = self.phase
            && (self.claims_pending + self.gifts_pending == 0 || tick >= deadline_tick)
        {
            self.phase = Phase::SendingAway { deadline_tick, next_slot: 0 };
        }
        let Phase::SendingAway { deadline_tick, next_slot } = self.phase else { return };
        let end = self.connections.capacity() as u32;
        if next_slot >= end {
            return;
        }
        let stop_at = (next_slot + HOUSEKEEPING_PER_TURN).min(end);
        for slot in next_slot..stop_at {
            if self.connections.contains(slot as usize) {
                let last = self.go_away(GoAwayReason::Stopping, slot);
                self.send_away(slot, CloseReason::Stopping, last);
            }
        }
        let next_slot = if stop_at == end { u32::MAX } else { stop_at };
        self.phase = Phase::SendingAway { deadline_tick, next_slot };
    }

    /// Whether the SET has nothing left to do. On the way out its stock goes back to the feeder; where that does not take it in time, the
    /// envelopes are dealt again after the next start all the same, since the ledger does not know them as issued.
    pub(super) fn has_ended(&mut self) -> bool {
        let Phase::SendingAway { deadline_tick, next_slot: u32::MAX } = self.phase else { return false };
        if !self.connections.is_empty() && self.tick() < deadline_tick {
            return false;
        }
        self.ends.cells.stock_returned.add(self.stock.give_back());
        self.ends.cells.stock.set(self.stock.count() as u64);
        self.stock.is_empty() || self.tick() >= deadline_tick
    }
}
