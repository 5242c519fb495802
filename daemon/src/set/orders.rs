//! What control orders. Each order is obeyed in its turn; one that goes over all connections takes them a bounded piece a turn, and the
//! next order waits for its end, so that what is counted as obeyed is in force.

use hongbao_protocol::UserId;
use hongbao_protocol::wire::{GoAwayReason, ServerFrame};
use hongbao_uring::Network;

use super::connection::State;
use super::reactor::Reactor;
use crate::cells::CloseReason;
use crate::limits::{BARRED_USERS_MAX, HOUSEKEEPING_PER_TURN};
use crate::messages::{SetCommand, Whom};

/// The orders in force.
pub(super) struct Orders {
    /// Nothing is handed out, and the stock goes back.
    pub(super) held: bool,
    /// Who is not served.
    pub(super) barred: Barred,
    sweep: Option<Sweep>,
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
        Self { held: false, barred: Barred::new(), sweep: None }
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
    fn as_many_as_there_may_be_take_no_more_memory() {
        let mut barred = Barred::new();
        let places = barred.0.as_ptr();
        (0..BARRED_USERS_MAX as u64).for_each(|user| barred.insert(UserId(user), 1));
        assert_eq!(barred.0.as_ptr(), places);
    }
}
