//! What clients say and what they are answered: frames in, verdicts in, frames out.

use hongbao_protocol::wire::{
    CLIENT_FRAME_BYTES_MAX, ClientFrame, Decoded, ErrorCode, ServerFrame, WireError, negotiate,
};
use hongbao_protocol::{Envelope, Receipt, UserId};
use hongbao_uring::{Network, Received, Token};

use super::connection::{Flags, State};
use super::gifts::GiftOrder;
use super::orders::barred;
use super::reactor::{Phase, Reactor};
use super::shake::{Decision, Shake, decide, retry_after_ms};
use super::wheel::Tick;
use crate::cells::CloseReason;
use crate::messages::{Refusal, Request, Verdict};

impl<N: Network> Reactor<N> {
    /// Handles every frame in what arrived, and keeps the start of one whose rest is still to come.
    pub(super) fn read_frames(&mut self, slot: u32, received: &Received) {
        let mut at = 0;
        if !self.connections[slot as usize].partial.is_empty() {
            match self.complete_partial(slot, received) {
                Some(taken) => at = taken,
                None => return,
            }
        }
        while self.connections[slot as usize].listens() {
            let bytes = &self.network.bytes(received)[at..];
            match ClientFrame::decode(bytes) {
                Ok(Decoded::Frame(frame, taken)) => {
                    at += taken;
                    self.take_frame(slot, &frame);
                }
                Ok(Decoded::Incomplete) => {
                    let connection = &mut self.connections[slot as usize];
                    if !connection.partial.keep(bytes) {
                        let mut start = [0; CLIENT_FRAME_BYTES_MAX];
                        let length = bytes.len();
                        start[..length].copy_from_slice(bytes);
                        self.keep_start(slot, &start[..length]);
                    }
                    return;
                }
                Err(error) => return self.protocol_error(slot, error),
            }
        }
    }

    /// Joins the kept start of a frame with what arrived. Says how many of the new bytes went into it; `None` where it is still not
    /// whole, or was none.
    fn complete_partial(&mut self, slot: u32, received: &Received) -> Option<usize> {
        let connection = &mut self.connections[slot as usize];
        if !connection.listens() {
            return None;
        }
        let partial = std::mem::take(&mut connection.partial);
        let mut joined = [0; CLIENT_FRAME_BYTES_MAX];
        let kept = if let Some(place) = partial.elsewhere() {
            // One whose frame had to give way is closed, and does not listen.
            self.long_frames.take(place, connection.token(slot), &mut joined)?
        } else {
            let kept = partial.as_bytes();
            joined[..kept.len()].copy_from_slice(kept);
            kept.len()
        };
        let fresh = self.network.bytes(received);
        let length = (kept + fresh.len()).min(CLIENT_FRAME_BYTES_MAX);
        joined[kept..length].copy_from_slice(&fresh[..length - kept]);
        match ClientFrame::decode(&joined[..length]) {
            Ok(Decoded::Frame(frame, taken)) => {
                self.take_frame(slot, &frame);
                Some(taken - kept)
            }
            Ok(Decoded::Incomplete) => {
                self.keep_start(slot, &joined[..length]);
                None
            }
            Err(error) => {
                self.protocol_error(slot, error);
                None
            }
        }
    }

    /// Keeps the start of a frame whose rest is still to come.
    fn keep_start(&mut self, slot: u32, start: &[u8]) {
        let connection = &mut self.connections[slot as usize];
        if !connection.partial.keep(start) {
            let (place, given_way) = self.long_frames.keep(connection.token(slot), start);
            connection.partial.keep_elsewhere(place);
            if let Some(token) = given_way {
                self.gave_way(token);
            }
        }
    }

    fn protocol_error(&mut self, slot: u32, error: WireError) {
        self.ends.cells.bad_frames.add(1);
        self.send_away(slot, CloseReason::Protocol, ServerFrame::from(error));
    }

    fn take_frame(&mut self, slot: u32, frame: &ClientFrame) {
        let deadline_tick = self.deadline(self.rules.idle_timeout_ms) as Tick;
        let connection = &mut self.connections[slot as usize];
        match (connection.state, *frame) {
            (State::AwaitingHello, ClientFrame::Hello { version_min, version_max, user }) => {
                self.hello(slot, version_min, version_max, user);
            }
            (State::LoggingIn | State::Online, ClientFrame::Shake { sequence }) => {
                connection.deadline_tick = deadline_tick;
                self.shake(slot, sequence);
            }
            (State::LoggingIn | State::Online, ClientFrame::Ping { nonce }) => {
                connection.deadline_tick = deadline_tick;
                self.ends.cells.pings.add(1);
                self.answer(slot, ServerFrame::Pong { nonce, server_time_us: self.now.unix_us });
            }
            (State::LoggingIn | State::Online, ClientFrame::GiftSend { request, total, shares, recipients }) => {
                connection.deadline_tick = deadline_tick;
                self.gift_send(slot, &GiftOrder { request, total, shares, recipients });
            }
            (State::LoggingIn | State::Online, ClientFrame::GiftOpen { gift }) => {
                connection.deadline_tick = deadline_tick;
                self.gift_open(slot, gift);
            }
            (State::LoggingIn | State::Online, ClientFrame::GiftList { request, after }) => {
                connection.deadline_tick = deadline_tick;
                self.gift_list(slot, request, after);
            }
            (_, frame) => {
                self.ends.cells.bad_frames.add(1);
                let error = ServerFrame::Error { code: ErrorCode::OutOfOrder, kind: frame.kind() };
                self.send_away(slot, CloseReason::Protocol, error);
            }
        }
    }

    fn hello(&mut self, slot: u32, version_min: u8, version_max: u8, user: UserId) {
        self.ends.cells.hellos.add(1);
        if negotiate(version_min, version_max).is_none() {
            let hello = ClientFrame::Hello { version_min, version_max, user };
            let error = ServerFrame::Error { code: ErrorCode::Version, kind: hello.kind() };
            return self.send_away(slot, CloseReason::Protocol, error);
        }
        let deadline_tick = self.deadline(self.rules.idle_timeout_ms) as Tick;
        if let Some(retry_after_ms) = self.orders.barred.retry_after_ms(user) {
            return self.send_away(slot, CloseReason::Barred, barred(retry_after_ms));
        }
        let connection = &mut self.connections[slot as usize];
        let caller = connection.token(slot);
        if self.ends.requests.push(Request::Login { caller, user }).is_err() {
            self.ends.cells.answered_overloaded.add(1);
            let retry_after_ms = retry_after_ms(&self.rules, user, 0);
            return self.answer(slot, ServerFrame::Overloaded { sequence: 0, retry_after_ms });
        }
        self.ledger_asked = true;
        connection.user = user;
        connection.state = State::LoggingIn;
        connection.deadline_tick = deadline_tick;
    }

    fn shake(&mut self, slot: u32, sequence: u32) {
        let now_ms = self.now.elapsed_ms();
        let cells = &self.ends.cells;
        cells.shakes.add(1);
        let connection = &mut self.connections[slot as usize];
        let user = connection.user;
        let decision = decide(
            &self.rules,
            &Shake {
                user,
                sequence,
                since_last_ms: connection.since_last_shake_ms(now_ms),
                wins: connection.wins(),
                stocked: self.phase == Phase::Running && !self.orders.held && !self.stock.is_empty(),
                ledger_has_room: !self.ends.requests.is_full(),
            },
        );
        if !matches!(decision, Decision::TooEarly { .. }) {
            connection.shaken(now_ms);
        }
        let answer = match decision {
            Decision::Claim => return self.claim(slot, sequence),
            Decision::TooEarly { retry_after_ms } => {
                cells.answered_too_early.add(1);
                ServerFrame::None { sequence, retry_after_ms }
            }
            Decision::UserLimit => {
                cells.answered_user_limit.add(1);
                ServerFrame::UserLimit { sequence }
            }
            Decision::None { retry_after_ms } => {
                cells.answered_none.add(1);
                ServerFrame::None { sequence, retry_after_ms }
            }
            Decision::Overloaded { retry_after_ms } => {
                cells.answered_overloaded.add(1);
                ServerFrame::Overloaded { sequence, retry_after_ms }
            }
        };
        self.answer(slot, answer);
    }

    fn claim(&mut self, slot: u32, sequence: u32) {
        let connection = &self.connections[slot as usize];
        let caller = connection.token(slot);
        let envelope = self.stock.take().expect("the decision saw an envelope");
        let claim = Request::Claim { caller, sequence, user: connection.user, envelope };
        self.ends.requests.push(claim).expect("the decision saw room, and only this end fills the queue");
        self.claims_pending += 1;
        self.ledger_asked = true;
    }

    /// Acts on the ledger's answer. The connection may be gone: then a win waits for the user's next login.
    pub(super) fn take_verdict(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Won { caller, sequence, envelope, wins, receipt } => {
                self.won(caller, sequence, envelope, wins, receipt);
            }
            Verdict::Refused { caller, sequence, envelope, refusal } => {
                self.refused(caller, sequence, envelope, refusal);
            }
            Verdict::Account { caller, wins, shown } => self.welcome(caller, wins, shown),
            Verdict::Earlier { caller, envelope, receipt } => {
                if self.is_reachable(caller) {
                    self.ends.cells.wins_shown_again.add(1);
                    let frame = ServerFrame::Envelope { sequence: 0, envelope, shown_again: true, receipt };
                    self.answer(caller.slot, frame);
                }
            }
            of_gifts => self.take_gift_verdict(of_gifts),
        }
    }

    /// Whether this very connection is still there to be answered.
    pub(super) fn is_reachable(&mut self, caller: Token) -> bool {
        self.find(caller).is_some_and(|connection| connection.listens())
    }

    fn won(&mut self, caller: Token, sequence: u32, envelope: Envelope, wins: u32, receipt: Receipt) {
        self.claims_pending -= 1;
        self.ends.cells.envelopes_issued.add(1);
        if !self.is_reachable(caller) {
            return self.ends.cells.wins_undelivered.add(1);
        }
        self.connections[caller.slot as usize].know_wins(wins);
        self.ends.cells.answered_envelope.add(1);
        self.ends.cells.cents_answered.add(envelope.amount.0);
        self.answer(caller.slot, ServerFrame::Envelope { sequence, envelope, shown_again: false, receipt });
    }

    fn refused(&mut self, caller: Token, sequence: u32, envelope: Envelope, refusal: Refusal) {
        self.claims_pending -= 1;
        if refusal != Refusal::AlreadyIssued {
            self.stock.take_back(envelope);
        }
        if !self.is_reachable(caller) {
            return;
        }
        let user = self.connections[caller.slot as usize].user;
        let retry_after_ms = retry_after_ms(&self.rules, user, sequence);
        let cells = &self.ends.cells;
        let answer = match refusal {
            Refusal::UserLimit if self.rules.wins_per_user_ever == self.rules.wins_per_user => {
                cells.answered_user_limit.add(1);
                ServerFrame::UserLimit { sequence }
            }
            Refusal::SponsorLimit => {
                cells.answered_sponsor_limit.add(1);
                ServerFrame::SponsorLimit { sequence, retry_after_ms }
            }
            // Another round may allow more.
            Refusal::UserLimit | Refusal::AlreadyIssued | Refusal::Halted => {
                cells.answered_none.add(1);
                ServerFrame::None { sequence, retry_after_ms }
            }
        };
        self.answer(caller.slot, answer);
    }

    fn welcome(&mut self, caller: Token, wins: u32, shown: u32) {
        if !self.is_reachable(caller) {
            return;
        }
        let connection = &mut self.connections[caller.slot as usize];
        connection.state = State::Online;
        connection.flags.set(Flags::WELCOMED);
        connection.know_wins(wins);
        let online = &self.ends.cells.users_online;
        online.set(online.get() + 1);
        let welcome = ServerFrame::Welcome {
            version: hongbao_protocol::wire::VERSION,
            earlier_wins_shown: shown as u8,
            earlier_wins: wins.min(u32::from(u16::MAX)) as u16,
            shake_interval_ms: self.rules.shake_interval_ms,
            idle_timeout_ms: self.rules.idle_timeout_ms,
            server_time_us: self.now.unix_us,
        };
        self.answer(caller.slot, welcome);
        if self.orders.round().is_some() {
            self.tell_round(caller.slot);
        }
    }

    /// Adds a frame to what a connection is sent at the end of the turn. A peer that does not read its answers is closed.
    pub(super) fn answer(&mut self, slot: u32, frame: ServerFrame) {
        let encoded = frame.encode();
        let connection = &mut self.connections[slot as usize];
        match self.network.append(&mut connection.outbox, encoded.as_bytes()) {
            Ok(()) => {
                self.ends.cells.bytes_sent.add(encoded.as_bytes().len() as u64);
                self.mark_dirty(slot);
            }
            Err(hongbao_uring::OutboxFull) => self.close_now(slot, CloseReason::SlowReader),
        }
    }
}
