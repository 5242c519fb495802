//! Deadlines of connections: a timing wheel whose links live in the connections themselves.
//!
//! A connection stands in the bucket of some tick at or before its deadline. Moving a deadline further away is one store in the
//! connection (it happens with every frame); the wheel notices when the bucket comes round, and files it anew. So activity
//! costs nothing here, and a million idle connections cost one visit each per idle timeout. (Varghese and Lauck, "Hashed and
//! hierarchical timing wheels", 1987, scheme 6, with lazy re-filing.)

use crate::limits::WHEEL_BUCKETS;

/// No neighbour.
const NONE: u32 = u32::MAX;
/// Links from here on name buckets, so that unlinking needs no case for the first of a list.
const BUCKET_BASE: u32 = 0x8000_0000;

/// A moment in ticks of the wheel (`limits::WHEEL_TICK_MS`), modulo 2^16: two of them less than two hours apart compare well.
pub(super) type Tick = u16;

/// Whether `tick` is before `other`.
const fn is_before(tick: Tick, other: Tick) -> bool {
    tick.wrapping_sub(other) > Tick::MAX / 2
}

/// The two links a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Links {
    previous: u32,
    next: u32,
}

impl Default for Links {
    fn default() -> Self {
        Self { previous: NONE, next: NONE }
    }
}

/// Where the links and deadlines are kept: the slab of connections.
pub(super) trait Timed {
    fn links(&mut self, slot: u32) -> &mut Links;
    fn deadline_tick(&self, slot: u32) -> Tick;
}

/// The wheel. Ticks are counted by the owner.
#[derive(Debug)]
pub(super) struct Wheel {
    heads: Vec<u32>,
    /// The next tick whose bucket is to be looked at.
    cursor: Tick,
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self { heads: vec![NONE; WHEEL_BUCKETS as usize], cursor: 0 }
    }

    /// Files a connection that is in no bucket, by its deadline.
    pub(super) fn insert(&mut self, timed: &mut impl Timed, slot: u32) {
        debug_assert!(slot < BUCKET_BASE, "a slot is smaller than any bucket's name");
        let deadline = timed.deadline_tick(slot);
        // A deadline that has passed is looked at next; one beyond the horizon waits before it, and is filed again there.
        let ahead = if is_before(deadline, self.cursor) {
            0
        } else {
            (deadline.wrapping_sub(self.cursor)).min(WHEEL_BUCKETS - 2)
        };
        let bucket = self.cursor.wrapping_add(ahead) % WHEEL_BUCKETS;
        let first = self.heads[bucket as usize];
        *timed.links(slot) = Links { previous: BUCKET_BASE + u32::from(bucket), next: first };
        if first != NONE {
            timed.links(first).previous = slot;
        }
        self.heads[bucket as usize] = slot;
    }

    /// Takes a connection out of its bucket.
    pub(super) fn remove(&mut self, timed: &mut impl Timed, slot: u32) {
        let Links { previous, next } = std::mem::take(timed.links(slot));
        debug_assert_ne!(previous, NONE, "a connection is removed from the wheel once");
        if previous >= BUCKET_BASE {
            self.heads[(previous - BUCKET_BASE) as usize] = next;
        } else {
            timed.links(previous).next = next;
        }
        if next != NONE {
            timed.links(next).previous = previous;
        }
    }

    /// Moves a connection whose deadline came nearer.
    pub(super) fn hasten(&mut self, timed: &mut impl Timed, slot: u32) {
        self.remove(timed, slot);
        self.insert(timed, slot);
    }

    /// The next connection whose deadline is at or before `tick`, re-filing those met on the way whose deadline has moved. At most
    /// `budget` connections are looked at (it is counted down). The connection stays out of the wheel: insert it again, or drop it.
    /// `None` where none is due, or the budget is used up.
    pub(super) fn expire(&mut self, timed: &mut impl Timed, tick: Tick, budget: &mut u32) -> Option<u32> {
        while self.is_behind(tick) && *budget > 0 {
            let slot = self.heads[(self.cursor % WHEEL_BUCKETS) as usize];
            if slot == NONE {
                self.cursor = self.cursor.wrapping_add(1);
                continue;
            }
            *budget -= 1;
            self.remove(timed, slot);
            if !is_before(tick, timed.deadline_tick(slot)) {
                return Some(slot);
            }
            self.insert_after(timed, slot);
        }
        None
    }

    /// Whether buckets up to `tick` remain to be looked at.
    pub(super) fn is_behind(&self, tick: Tick) -> bool {
        !is_before(tick, self.cursor)
    }

    /// Files a connection met at the cursor, whose deadline is later: never into the bucket under the cursor, which would be an
    /// endless loop when the horizon wraps onto it.
    fn insert_after(&mut self, timed: &mut impl Timed, slot: u32) {
        self.cursor = self.cursor.wrapping_add(1);
        self.insert(timed, slot);
        self.cursor = self.cursor.wrapping_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Default)]
    struct Entries(Vec<(Links, Tick)>);

    impl Timed for Entries {
        fn links(&mut self, slot: u32) -> &mut Links {
            &mut self.0[slot as usize].0
        }
        fn deadline_tick(&self, slot: u32) -> Tick {
            self.0[slot as usize].1
        }
    }

    fn due(wheel: &mut Wheel, entries: &mut Entries, tick: Tick) -> Vec<u32> {
        let mut found = Vec::new();
        let mut budget = u32::MAX;
        while let Some(slot) = wheel.expire(entries, tick, &mut budget) {
            found.push(slot);
        }
        found.sort_unstable();
        found
    }

    #[test]
    fn a_deadline_beyond_the_horizon_is_kept_and_met() {
        let mut entries = Entries(vec![(Links::default(), 3 * WHEEL_BUCKETS + 5)]);
        let mut wheel = Wheel::new();
        wheel.insert(&mut entries, 0);
        for tick in 0..3 * WHEEL_BUCKETS + 5 {
            assert_eq!(due(&mut wheel, &mut entries, tick), [] as [u32; 0], "at tick {tick}");
        }
        assert_eq!(due(&mut wheel, &mut entries, 3 * WHEEL_BUCKETS + 5), [0]);
    }

    #[test]
    fn a_flood_of_deadlines_in_one_tick_is_worked_off_within_the_budget() {
        let mut entries = Entries(vec![(Links::default(), 2); 100]);
        let mut wheel = Wheel::new();
        (0..100).for_each(|slot| wheel.insert(&mut entries, slot));
        let mut turns = 0;
        let mut met = 0;
        while met < 100 {
            let mut budget = 7;
            while wheel.expire(&mut entries, 2, &mut budget).is_some() {
                met += 1;
            }
            assert!(met == 100 || wheel.is_behind(2), "what is left over is not forgotten");
            turns += 1;
        }
        assert_eq!(turns, 15);
    }

    proptest! {
        /// Random deadlines, moves, removals: each connection is met at its deadline, not before and not much after.
        #[test]
        fn no_deadline_is_missed_or_met_early(
            deadlines in prop::collection::vec(1_u16..2000, 1..40),
            moves in prop::collection::vec((0_usize..40, 0_u16..2000, 0_u16..1500), 0..40),
            removed in prop::collection::vec(0_usize..40, 0..8),
        ) {
            let count = deadlines.len();
            let mut entries = Entries(deadlines.iter().map(|deadline| (Links::default(), *deadline)).collect());
            let mut wheel = Wheel::new();
            (0..count as u32).for_each(|slot| wheel.insert(&mut entries, slot));
            let mut alive: Vec<bool> = vec![true; count];
            for slot in removed.into_iter().filter(|slot| *slot < count) {
                if std::mem::take(&mut alive[slot]) {
                    wheel.remove(&mut entries, slot as u32);
                }
            }
            for tick in 0..4200_u16 {
                for slot in due(&mut wheel, &mut entries, tick) {
                    prop_assert!(std::mem::take(&mut alive[slot as usize]));
                    prop_assert_eq!(entries.0[slot as usize].1, tick, "met at its deadline");
                }
                for (slot, later, at) in &moves {
                    if *at == tick && *slot < count && alive[*slot] {
                        // Only ever to a later tick without telling the wheel; nearer needs `hasten`.
                        let deadline = tick + 1 + later;
                        let nearer = deadline < entries.0[*slot].1;
                        entries.0[*slot].1 = deadline;
                        if nearer {
                            wheel.hasten(&mut entries, *slot as u32);
                        }
                    }
                }
            }
            prop_assert!(alive.iter().all(|alive| !alive));
        }
    }
}
