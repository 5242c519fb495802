//! Which connection a user has: where notices go, and which older connection a new login replaces.
//!
//! It belongs to the ledger alone, so it needs no lock: every login passes through the ledger anyway and brings its connection's
//! token along. Nobody tells it of connections that end. A token names one life of one place, so that what is sent to an ended
//! connection meets nobody; and when the place is used again, its next user's login takes the entry over. So there are never more
//! entries than places for connections, 12 bytes each, and an index of 5 bytes a user, filled between 7/16 and 7/8: at most 24 bytes.

use hashbrown::HashTable;
use hongbao_protocol::UserId;
use hongbao_uring::{Generation, Token};

use super::users::{TABLES, table_of};
use crate::limits::{DIRECT_DESCRIPTORS_MAX, REFUSED_AT_ONCE, SETS_MAX};

/// Bits of an index entry that name the place in its SET.
const SLOT_BITS: u32 = 24;
/// A place whose user is gone or elsewhere.
const VACANT: u32 = u32::MAX;

const _: () = assert!(SETS_MAX <= 1 << (u32::BITS - SLOT_BITS), "a SET and a place fit an index entry");
const _: () = assert!(DIRECT_DESCRIPTORS_MAX + REFUSED_AT_ONCE < 1 << SLOT_BITS);

/// A place for a connection: its user's two halves, and the generation of the connection.
#[derive(Clone, Copy, Debug)]
struct Place([u32; 3]);

const _: () = assert!(size_of::<Place>() == 12, "the module's text states the memory");

impl Place {
    fn user(self) -> UserId {
        UserId(u64::from(self.0[0]) | u64::from(self.0[1]) << 32)
    }
}

/// Users and the connections they logged in on last.
#[derive(Debug)]
pub(super) struct Directory {
    /// By SET and slot.
    places: Vec<Vec<Place>>,
    /// By user, in parts that grow by themselves: growing one table of a million would hold the ledger up.
    index: Vec<HashTable<u32>>,
}

impl Directory {
    /// Nobody has logged in, on so many SETs.
    pub(super) fn new(sets: usize) -> Self {
        Self { places: vec![Vec::new(); sets], index: (0..TABLES).map(|_| HashTable::new()).collect() }
    }

    /// Where a user logged in last. The connection may have ended since.
    pub(super) fn find(&self, user: UserId) -> Option<(usize, Token)> {
        let places = &self.places;
        let found = self.index[table_of(user)].find(hash(user), |entry| place_at(places, *entry).user() == user);
        found.map(|entry| whereabouts(places, *entry))
    }

    /// A user logs in on this connection. Returns the one it replaces, which may have ended.
    pub(super) fn login(&mut self, user: UserId, set: usize, caller: Token) -> Option<(usize, Token)> {
        let places = &mut self.places[set];
        if places.len() <= caller.slot as usize {
            places.resize(caller.slot as usize + 1, Place([0, 0, VACANT]));
        }
        let entry = (set as u32) << SLOT_BITS | caller.slot;
        let former = place_at(&self.places, entry);
        if former.0[2] != VACANT && former.user() != user {
            self.take_out(former.user(), entry);
        }
        let places = &mut self.places;
        let table = &mut self.index[table_of(user)];
        let mut replaced = None;
        let found = table.find_mut(hash(user), |entry| place_at(places, *entry).user() == user);
        if let Some(older) = found.filter(|found| **found != entry) {
            replaced = Some(whereabouts(places, *older));
            *place_mut(places, std::mem::replace(older, entry)) = Place([0, 0, VACANT]);
        }
        *place_mut(places, entry) = Place([user.0 as u32, (user.0 >> 32) as u32, caller.generation.get()]);
        if replaced.is_none() && table.find(hash(user), |found| *found == entry).is_none() {
            table.insert_unique(hash(user), entry, |entry| hash(place_at(places, *entry).user()));
        }
        replaced
    }

    /// The place has gone to somebody else.
    fn take_out(&mut self, user: UserId, entry: u32) {
        if let Ok(found) = self.index[table_of(user)].find_entry(hash(user), |found| *found == entry) {
            found.remove();
        }
    }

    /// Bytes that it takes, room for growth in the index included.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.places.iter().map(|places| size_of_val(&**places)).sum::<usize>()
            + self.index.iter().map(HashTable::allocation_size).sum::<usize>()
    }
}

fn place_at(places: &[Vec<Place>], entry: u32) -> Place {
    places[(entry >> SLOT_BITS) as usize][(entry & ((1 << SLOT_BITS) - 1)) as usize]
}

fn place_mut(places: &mut [Vec<Place>], entry: u32) -> &mut Place {
    &mut places[(entry >> SLOT_BITS) as usize][(entry & ((1 << SLOT_BITS) - 1)) as usize]
}

fn whereabouts(places: &[Vec<Place>], entry: u32) -> (usize, Token) {
    let generation = Generation::new(place_at(places, entry).0[2]);
    ((entry >> SLOT_BITS) as usize, Token { slot: entry & ((1 << SLOT_BITS) - 1), generation })
}

/// The tables use the lowest and the highest bits; user ids follow each other.
fn hash(user: UserId) -> u64 {
    let mixed = (user.0 ^ user.0 >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (mixed ^ mixed >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;

    fn token(slot: u32, generation: u32) -> Token {
        Token { slot, generation: Generation::new(generation) }
    }

    #[test]
    fn the_newest_login_counts_and_names_the_one_it_replaces() {
        let mut directory = Directory::new(2);
        assert_eq!(directory.login(UserId(7), 0, token(5, 1)), None);
        assert_eq!(directory.login(UserId(7), 1, token(9, 2)), Some((0, token(5, 1))));
        assert_eq!(directory.find(UserId(7)), Some((1, token(9, 2))));
        assert_eq!(directory.login(UserId(7), 1, token(9, 3)), None, "the older one had this very place: it is gone");
        assert_eq!(directory.find(UserId(7)), Some((1, token(9, 3))));
        assert_eq!(directory.login(UserId(8), 1, token(9, 4)), None, "another user's turn in the place");
        assert_eq!((directory.find(UserId(7)), directory.find(UserId(8))), (None, Some((1, token(9, 4)))));
    }

    #[test]
    fn logins_at_random_are_found_as_a_map_finds_them() {
        let mut rng = Pcg64::seed_from_u64(7);
        let (mut directory, mut by_user, mut by_place) = (Directory::new(3), HashMap::new(), HashMap::new());
        for generation in 0..50_000 {
            let user = UserId(rng.random_range(0..300));
            let (set, slot) = (rng.random_range(0..3), rng.random_range(0..70));
            let expected =
                by_user.get(&user).copied().filter(|(of, token): &(usize, Token)| (*of, token.slot) != (set, slot));
            assert_eq!(directory.login(user, set, token(slot, generation)), expected);
            if let Some(former) = by_place.insert((set, slot), user)
                && by_user.get(&former).is_some_and(|(of, token)| (*of, token.slot) == (set, slot))
            {
                by_user.remove(&former);
            }
            by_user.insert(user, (set, token(slot, generation)));
            let asked = UserId(rng.random_range(0..300));
            assert_eq!(directory.find(asked), by_user.get(&asked).copied());
        }
    }

    #[test]
    fn a_user_costs_no_more_than_24_bytes() {
        for users in [40_000_u64, 500_000, 917_000, 1_000_000, 1_080_000] {
            let mut directory = Directory::new(54);
            for user in 0..users {
                let _ = directory.login(UserId(user * 20), (user % 54) as usize, token((user / 54) as u32, 1));
            }
            let each = directory.bytes() as f64 / users as f64;
            assert!(each <= 24.0, "{each} bytes a user with {users}");
        }
    }
}
