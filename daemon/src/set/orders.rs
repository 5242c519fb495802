//! What control orders. Each order is obeyed in its turn; one that goes over all connections takes them a bounded piece a turn, and the
//! next order waits for its end, so that what is counted as obeyed is in force.

use hongbao_protocol::UserId;
use hongbao_protocol::wire::{GoAwayReason, ServerFrame};
use hongbao_uring::Network;

use super::connection::State;
use super::reactor::Reactor;
use crate::cells::CloseReason;
use crate::limits::{BARRED_USERS_MAX, HOUSEKEEPING_PER_TURN, TOLD_PER_TURN};
use crate::messages::{RoundTimes, SetCommand, Whom};

/// The orders in force.
pub(super) struct Orders {
    /// Nothing is handed out, and the stock goes back.
    pub(super) held: bool,
    /// Who is not served.
    pub(super) barred: Barred,
    sweep: Option<Sweep>,
    round: Option<RoundTimes>,
    /// Who is logged in is being told of the round.
    news: Option<News>,
}

/// Connections before `next_slot` are told; the others follow evenly until `begun_us` and `spread_us` later.
#[derive(Clone, Copy)]
struct News {
    next_slot: u32,
    begun_us: u64,
    spread_us: u64,
}

impl News {
    /// The first place whose turn has not come, of so many.
    fn due(&self, now_us: u64, places: u32) -> u32 {
        let elapsed_us = now_us.saturating_sub(self.begun_us);
        if elapsed_us >= self.spread_us {
            return places;
        }
        (u64::from(places) * elapsed_us / self.spread_us) as u32
    }
}

/// A user's connections are being sent away: those before `next_slot` are.
#[derive(Clone, Copy)]
struct Sweep {
    user: UserId,
    next_slot: u32,
    farewell: Farewell,
}

#[derive(Clone, Copy)]
enum Farewell {
    Dismissed,
    Barred { retry_after_ms: u32 },
}

impl Orders {
    pub(super) fn new() -> Self {
        Self { held: false, barred: Barred::new(), sweep: None, round: None, news: None }
    }

    /// The round that clients are told of.
    pub(super) fn round(&self) -> Option<RoundTimes> {
        self.round
    }

    /// Whether somebody is to be told of the round now.
    pub(super) fn has_news(&self, now_us: u64, places: u32) -> bool {
        self.news.is_some_and(|news| news.next_slot < news.due(now_us, places))
    }

    /// Whether connections are left to be looked at.
    pub(super) fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }
}

/// The users who are not served, in order, each with the time they are told to stay away.
pub(super) struct Barred(Vec<(UserId, u32)>);

impl Barred {
    fn new() -> Self {
        Self(Vec::with_capacity(BARRED_USERS_MAX))
    }

    /// Whether this user is barred: how long to stay away, in milliseconds.
    pub(super) fn retry_after_ms(&self, user: UserId) -> Option<u32> {
        self.place(user).ok().map(|place| self.0[place].1)
    }

    fn place(&self, user: UserId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&user, |(barred, _)| *barred)
    }

    fn insert(&mut self, user: UserId, retry_after_ms: u32) {
        match self.place(user) {
            Ok(place) => self.0[place].1 = retry_after_ms,
            Err(place) => {
                assert!(self.0.len() < BARRED_USERS_MAX, "control counts them");
                self.0.insert(place, (user, retry_after_ms));
            }
        }
    }

    fn remove(&mut self, user: UserId) {
        if let Ok(place) = self.place(user) {
            self.0.remove(place);
        }
    }
}

/// What a barred user is told.
pub(super) fn barred(retry_after_ms: u32) -> ServerFrame {
    ServerFrame::GoAway { reason: GoAwayReason::Barred, retry_after_ms }
}

impl<N: Network> Reactor<N> {
    /// Obeys what control has ordered, as far as one turn goes.
    pub(super) fn obey(&mut self) {
        self.go_on_sweeping();
        self.go_on_telling();
        while !self.orders.is_sweeping()
            && let Ok(command) = self.ends.commands.pop()
        {
            self.begin(command);
            if !self.orders.is_sweeping() {
                self.ends.cells.commands_obeyed.add(1);
            }
        }
    }

    fn begin(&mut self, command: SetCommand) {
        match command {
            SetCommand::Hold(held) => {
                self.orders.held = held;
                if held {
                    self.ends.cells.stock_returned.add(self.stock.give_back());
                }
            }
            SetCommand::Rules(rules) => self.rules = rules,
            SetCommand::Round { times, spread_ms } => {
                self.orders.round = times;
                let (begun_us, spread_us) = (self.now.elapsed_us, u64::from(spread_ms) * 1000);
                self.orders.news = Some(News { next_slot: 0, begun_us, spread_us });
            }
            SetCommand::Dismiss(Whom::Slot(slot)) => {
                if self.connections.contains(slot as usize) {
                    self.dismiss(slot, Farewell::Dismissed);
                }
            }
            SetCommand::Dismiss(Whom::User(user)) => self.sweep(user, Farewell::Dismissed),
            SetCommand::Bar { user, retry_after_ms } => {
                self.orders.barred.insert(user, retry_after_ms);
                self.sweep(user, Farewell::Barred { retry_after_ms });
            }
            SetCommand::Unbar(user) => self.orders.barred.remove(user),
            SetCommand::Stop => self.stop(),
        }
    }

    fn sweep(&mut self, user: UserId, farewell: Farewell) {
        self.orders.sweep = Some(Sweep { user, next_slot: 0, farewell });
    }

    fn go_on_sweeping(&mut self) {
        let Some(Sweep { user, next_slot, farewell }) = self.orders.sweep else { return };
        let end = self.connections.capacity() as u32;
        let stop_at = (next_slot + HOUSEKEEPING_PER_TURN).min(end);
        for slot in next_slot..stop_at {
            let theirs = self.connections.get(slot as usize).is_some_and(|connection| {
                connection.user == user && matches!(connection.state, State::LoggingIn | State::Online)
            });
            if theirs {
                self.dismiss(slot, farewell);
            }
        }
        self.orders.sweep = (stop_at < end).then_some(Sweep { user, next_slot: stop_at, farewell });
        if stop_at == end {
            self.ends.cells.commands_obeyed.add(1);
        }
    }

    fn go_on_telling(&mut self) {
        let Some(news) = self.orders.news else { return };
        let places = self.connections.capacity() as u32;
        let stop_at = news.due(self.now.elapsed_us, places).min(news.next_slot + TOLD_PER_TURN).max(news.next_slot);
        for slot in news.next_slot..stop_at {
            if self.connections.get(slot as usize).is_some_and(|connection| connection.state == State::Online) {
                self.tell_round(slot);
            }
        }
        self.orders.news = (stop_at < places).then_some(News { next_slot: stop_at, ..news });
    }

    /// Tells one client of the round, with the server's time, so that it can calibrate.
    pub(super) fn tell_round(&mut self, slot: u32) {
        let RoundTimes { number, start_us, end_us } =
            self.orders.round.unwrap_or(RoundTimes { number: 0, start_us: 0, end_us: 0 });
        self.ends.cells.rounds_told.add(1);
        let server_time_us = self.now.unix_us;
        self.answer(slot, ServerFrame::Round { round: number, server_time_us, start_us, end_us });
    }

    fn dismiss(&mut self, slot: u32, farewell: Farewell) {
        match farewell {
            Farewell::Dismissed => {
                let last = self.go_away(GoAwayReason::Dismissed, slot);
                self.send_away(slot, CloseReason::Dismissed, last);
            }
            Farewell::Barred { retry_after_ms } => self.send_away(slot, CloseReason::Barred, barred(retry_after_ms)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_barred_is_known_until_they_are_not() {
        let mut barred = Barred::new();
        for user in [9, 3, 7, 3] {
            barred.insert(UserId(user), user as u32);
        }
        barred.insert(UserId(3), 33);
        assert_eq!([3, 7, 8, 9].map(|user| barred.retry_after_ms(UserId(user))), [Some(33), Some(7), None, Some(9)]);
        barred.remove(UserId(7));
        barred.remove(UserId(8));
        assert_eq!([3, 7, 9].map(|user| barred.retry_after_ms(UserId(user)).is_some()), [true, false, true]);
    }

    #[test]
    fn news_go_out_evenly_and_to_everyone() {
        let news = News { next_slot: 0, begun_us: 1_000_000, spread_us: 10_000_000 };
        let due = [0, 1_000_000, 6_000_000, 11_000_000, u64::MAX].map(|now_us| news.due(now_us, 1000));
        assert_eq!(due, [0, 0, 500, 1000, 1000]);
        assert_eq!(News { spread_us: 0, ..news }.due(1_000_000, 1000), 1000);
    }

    #[test]
    fn as_many_as_there_may_be_take_no_more_memory() {
        let mut barred = Barred::new();
        let places = barred.0.as_ptr();
        (0..BARRED_USERS_MAX as u64).for_each(|user| barred.insert(UserId(user), 1));
        assert_eq!(barred.0.as_ptr(), places);
    }
}
