//! Which gift expires next. Gifts that live equally long expire in the order they were sent, so their numbers are the queue. Only a
//! gift that ends before one sent earlier, after the life of gifts was shortened, needs an entry of its own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::store::{Gift, Store};

/// The gifts not over yet, by their ends.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Every gift before this number is over, or stands in `early`.
    cursor: u64,
    /// The latest end of a gift that is in order, in microseconds since 1970.
    latest_us: u64,
    /// Ends and numbers of those out of order.
    early: BinaryHeap<Reverse<(u64, u64)>>,
}

impl Due {
    /// Files a gift; true where it is out of order, which the gift must then remember.
    pub(super) fn file(&mut self, number: u64, expires_us: u64) -> bool {
        let early = expires_us < self.latest_us;
        if early {
            self.early.push(Reverse((expires_us, number)));
        } else {
            self.latest_us = expires_us;
        }
        early
    }

    /// The number of the gift that ends first, where that is no later than `time_us`. It stays filed until it is over.
    pub(super) fn first(&mut self, store: &Store, time_us: u64) -> Option<u64> {
        let pending = |number: u64| store.get(number).filter(|gift| gift.is_pending());
        while let Some(Reverse((_, number))) = self.early.peek()
            && pending(*number).is_none()
        {
            self.early.pop();
        }
        self.cursor = self.cursor.max(store.first_number());
        while self.cursor < store.next_number() && pending(self.cursor).is_none_or(|gift| gift.flags & Gift::EARLY != 0)
        {
            self.cursor += 1;
        }
        let early = self.early.peek().map(|Reverse(entry)| *entry);
        let in_order = pending(self.cursor).map(|gift| (gift.expires_us, self.cursor));
        let (expires_us, number) = early.into_iter().chain(in_order).min()?;
        (expires_us <= time_us).then_some(number)
    }
}
