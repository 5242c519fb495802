//! What is kept of each user: many hash tables that grow one at a time.
//!
//! One table with room for all from the start would be touched all over by the first few users, since a hash spreads them: sixty
//! thousand winners in room for four million made 70 MB resident. Tables that grow stay as small as what is in them; and as there are
//! many, a growth moves a small part of the users (a millisecond at four million), which the ledger's clients do not notice.

use std::collections::HashMap;

use hongbao_protocol::UserId;

/// Tables; a power of two.
pub(super) const TABLES: usize = 64;

/// A user's wins.
#[derive(Clone, Copy, Debug)]
pub(super) struct User {
    /// Index of the latest.
    pub(super) newest: u32,
    /// How many.
    pub(super) count: u32,
}

/// Something of each user.
#[derive(Debug)]
pub(super) struct Users<V>(Vec<HashMap<UserId, V>>);

impl<V> Users<V> {
    pub(super) fn new() -> Self {
        Self((0..TABLES).map(|_| HashMap::new()).collect())
    }

    pub(super) fn get(&self, user: UserId) -> Option<&V> {
        self.0[table_of(user)].get(&user)
    }

    pub(super) fn get_mut(&mut self, user: UserId) -> Option<&mut V> {
        self.0[table_of(user)].get_mut(&user)
    }

    /// The user's entry; made by `first` where there was none.
    pub(super) fn or_insert_with(&mut self, user: UserId, first: impl FnOnce() -> V) -> &mut V {
        self.0[table_of(user)].entry(user).or_insert_with(first)
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(HashMap::len).sum()
    }
}

/// User ids follow each other or share their low bits; the top bits of their products with the golden ratio do neither.
pub(super) fn table_of(user: UserId) -> usize {
    (user.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - TABLES.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_with_near_or_round_ids_are_spread_over_the_tables() {
        for step in [1, 20, 64, 1 << 16, 1 << 32] {
            let mut users = Users::new();
            for index in 0..64_000_u64 {
                users.or_insert_with(UserId(index * step), || index);
            }
            let fullest = users.0.iter().map(HashMap::len).max().unwrap_or_default();
            assert!(users.len() == 64_000 && fullest < 2000, "{fullest} of 64,000 in one of 64 tables at step {step}");
        }
    }
}
