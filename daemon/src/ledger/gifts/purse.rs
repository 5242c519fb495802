//! A user's money, once gifts have touched it. Who has only won needs none: their balance is the sum of their wins.

use hongbao_protocol::{Cents, UserId};

use super::super::users::Users;
use super::store::NONE;

/// One user's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purse {
    /// Won, opened and refunded, less what was sent.
    pub(super) balance: Cents,
    /// Highest request number of a gift that was sent; means nothing without `latest`.
    pub(super) request: u64,
    /// Number of the latest gift sent; 0 for none.
    pub(super) latest: u64,
    /// The oldest share that waits to be opened, or [`NONE`].
    pub(super) waiting: u32,
    /// How many wait.
    pub(super) waiting_count: u32,
}

const _: () = assert!(size_of::<Purse>() == 32);

/// Everybody's.
#[derive(Debug)]
pub(super) struct Purses {
    users: Users<Purse>,
    /// Balances of all users, of those without a purse as well.
    pub(super) total: Cents,
}

impl Purses {
    pub(super) fn new() -> Self {
        Self { users: Users::new(), total: Cents::ZERO }
    }

    pub(super) fn get(&self, user: UserId) -> Option<&Purse> {
        self.users.get(user)
    }

    /// The user's purse; a new one holds what the user has won.
    pub(super) fn open(&mut self, user: UserId, won: impl FnOnce() -> Cents) -> &mut Purse {
        self.users.or_insert_with(user, || Purse {
            balance: won(),
            request: 0,
            latest: 0,
            waiting: NONE,
            waiting_count: 0,
        })
    }

    /// The purse of a user who has one.
    pub(super) fn get_mut(&mut self, user: UserId) -> &mut Purse {
        self.users.get_mut(user).expect("a purse is opened with the first gift that names its user")
    }

    /// The user won. Without a purse the wins themselves are the balance.
    pub(super) fn won(&mut self, user: UserId, amount: Cents) {
        self.total = plus(self.total, amount);
        if let Some(purse) = self.users.get_mut(user) {
            purse.balance = plus(purse.balance, amount);
        }
    }

    /// Adds to a purse there is.
    pub(super) fn credit(&mut self, user: UserId, amount: Cents) {
        let purse = self.get_mut(user);
        purse.balance = plus(purse.balance, amount);
        self.total = plus(self.total, amount);
    }

    /// Takes from a purse that holds enough.
    pub(super) fn debit(&mut self, user: UserId, amount: Cents) {
        let purse = self.get_mut(user);
        purse.balance = minus(purse.balance, amount);
        self.total = minus(self.total, amount);
    }
}

/// A sum of money that was checked to fit.
pub(super) fn plus(a: Cents, b: Cents) -> Cents {
    a.checked_add(b).expect("all money there is fits 64 bits of cents")
}

/// A difference that was checked to be one.
pub(super) fn minus(a: Cents, b: Cents) -> Cents {
    a.checked_sub(b).expect("no more is taken than is there")
}
