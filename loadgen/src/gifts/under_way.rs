//! Questions under way on one thread, by connection and number, and those that were given up: a gift's question is asked again when its
//! user is back, as its answer may be money.

use std::collections::{BTreeMap, HashMap, VecDeque};

/// Local connection, and the send's request or the gift that is opened.
pub(super) type Key = (u32, u64);

struct Entry<T> {
    asked_us: u32,
    what: T,
}

/// See the module's text. Allocates nothing after `new` as long as nothing is given up.
pub(super) struct UnderWay<T> {
    entries: HashMap<Key, Entry<T>>,
    /// In the order of asking; answered ones are passed over when they are at the front.
    order: VecDeque<(u32, Key)>,
    /// How many of each connection.
    of: Box<[u32]>,
    given_up: BTreeMap<Key, T>,
    room: usize,
    given_up_max: usize,
}

impl<T: Copy> UnderWay<T> {
    /// Of so many connections. Room for so many questions asked within a timeout, and for so many that were given up.
    pub(super) fn new(connections: u32, room: usize, given_up_max: usize) -> Self {
        Self {
            // Twice as many: a table that is never more than half full makes room among its own.
            entries: HashMap::with_capacity(room * 2),
            order: VecDeque::with_capacity(room),
            of: vec![0; connections as usize].into_boxed_slice(),
            given_up: BTreeMap::new(),
            room,
            given_up_max,
        }
    }

    /// Questions without an answer, those given up left out.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is room for another one. Without, give up the oldest.
    pub(super) fn has_room(&mut self) -> bool {
        self.pass_answered();
        self.order.len() < self.room
    }

    /// Whether it is under way.
    pub(super) fn contains(&self, key: Key) -> bool {
        self.entries.contains_key(&key)
    }

    /// Asked, at this time in microseconds; a question of the same key that is under way or given up is replaced.
    pub(super) fn begin(&mut self, key: Key, what: T, asked_us: u32) {
        assert!(self.order.len() < self.room, "the caller looks for room");
        self.given_up.remove(&key);
        if self.entries.insert(key, Entry { asked_us, what }).is_none() {
            self.of[key.0 as usize] += 1;
        }
        self.order.push_back((asked_us, key));
    }

    /// Answered: what it was; `None` where it is not under way.
    pub(super) fn finish(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.remove(&key)?;
        self.of[key.0 as usize] -= 1;
        Some(entry.what)
    }

    /// Answered after it was given up.
    pub(super) fn finish_late(&mut self, key: Key) -> Option<T> {
        self.given_up.remove(&key)
    }

    /// Gives up the oldest that was asked `timeout_us` or more ago; 0 gives it up in any case.
    pub(super) fn give_up(&mut self, now_us: u32, timeout_us: u32) -> Option<(Key, T)> {
        self.pass_answered();
        let (asked_us, key) = *self.order.front()?;
        if now_us.wrapping_sub(asked_us) < timeout_us {
            return None;
        }
        self.order.pop_front();
        self.finish(key).map(|what| (key, what))
    }

    /// Keeps one that was given up, to be asked again. Whether there was room.
    pub(super) fn keep(&mut self, key: Key, what: T) -> bool {
        let kept = self.given_up.len() < self.given_up_max;
        if kept {
            self.given_up.insert(key, what);
        }
        kept
    }

    /// One question under way on this connection, taken out: the connection is gone.
    pub(super) fn cut_off(&mut self, local: u32) -> Option<(Key, T)> {
        if self.of[local as usize] == 0 {
            return None;
        }
        let entries = &self.entries;
        let (_, key) = *self.order.iter().find(|(_, key)| key.0 == local && entries.contains_key(key))?;
        self.finish(key).map(|what| (key, what))
    }

    /// One question of this connection that was given up, taken out.
    pub(super) fn of_connection(&mut self, local: u32) -> Option<(Key, T)> {
        if self.given_up.is_empty() {
            return None;
        }
        let key = *self.given_up.range((local, 0)..=(local, u64::MAX)).next()?.0;
        self.given_up.remove(&key).map(|what| (key, what))
    }

    fn pass_answered(&mut self) {
        while let Some((asked_us, key)) = self.order.front()
            && self.entries.get(key).is_none_or(|entry| entry.asked_us != *asked_us)
        {
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_given_up_first_and_an_answered_one_never() {
        let mut under_way = UnderWay::new(8, 4, 4);
        for (number, at_us) in [(1, 10), (2, 20), (3, 30)] {
            under_way.begin((7, number), number, at_us);
        }
        assert_eq!(under_way.finish((7, 1)), Some(1));
        assert_eq!(under_way.finish((7, 1)), None, "answered twice");
        assert_eq!(under_way.give_up(119, 100), None);
        assert_eq!(under_way.give_up(120, 100), Some(((7, 2), 2)));
        assert_eq!(under_way.give_up(120, 100), None);
        assert_eq!(under_way.len(), 1);
    }

    #[test]
    fn what_was_given_up_is_found_by_its_connection_and_by_a_late_answer_once() {
        let mut under_way = UnderWay::new(8, 4, 2);
        assert!(under_way.keep((1, 5), 'a') && under_way.keep((2, 6), 'b'));
        assert!(!under_way.keep((2, 7), 'c'), "the bound holds");
        assert_eq!(under_way.finish_late((1, 5)), Some('a'));
        assert_eq!((under_way.of_connection(1), under_way.of_connection(2)), (None, Some(((2, 6), 'b'))));
        assert_eq!(under_way.of_connection(2), None);
    }

    #[test]
    fn a_connection_that_is_gone_cuts_off_its_own_questions_and_no_others() {
        let mut under_way = UnderWay::new(3, 8, 8);
        for (local, number) in [(1, 1), (2, 2), (1, 3), (1, 4)] {
            under_way.begin((local, number), number, 0);
        }
        under_way.finish((1, 3));
        let cut = [(); 3].map(|()| under_way.cut_off(1).map(|(_, what)| what));
        assert_eq!(cut, [Some(1), Some(4), None]);
        assert_eq!((under_way.len(), under_way.give_up(9, 1)), (1, Some(((2, 2), 2))));
    }

    #[test]
    fn one_that_is_asked_again_has_its_time_from_then() {
        let mut under_way = UnderWay::new(8, 4, 4);
        under_way.begin((1, 1), 'a', 0);
        under_way.begin((1, 1), 'b', 50);
        assert_eq!(under_way.give_up(120, 100), None, "the first time of asking does not count any more");
        assert_eq!(under_way.give_up(150, 100), Some(((1, 1), 'b')));
        for number in 0..100u32 {
            assert!(under_way.has_room());
            under_way.begin((2, u64::from(number)), 'c', number);
            under_way.finish((2, u64::from(number)));
        }
    }
}
