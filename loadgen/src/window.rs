//! Shakes under way on one thread: number on the wire -> intended time.
//!
//! A shake's number counts up over all connections of the thread, so its place in one array is its number modulo the array's
//! length: no state a connection, no look-up, and the oldest shake is always the first to time out. Bounded by
//! rate x timeout; 16 bytes each.

/// Which lap a shake belongs to, in a byte: two laps at most have shakes under way at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LapTag(u8);

impl LapTag {
    /// No lap: a shake of a warm-up.
    pub const NONE: Self = Self(0);

    /// Of the lap with this number.
    pub const fn of(lap: u32) -> Self {
        Self((lap % 255) as u8 + 1)
    }
}

/// What the window keeps of a shake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shake {
    /// Intended time, in microseconds since the run began, modulo 2^32.
    pub intended_us: u32,
    /// When it was handed to the kernel, likewise.
    pub sent_us: u32,
    /// Local connection.
    pub connection: u32,
    /// The lap whose figures it belongs to; [`LapTag::NONE`] for those of a warm-up, which are left out of all.
    pub lap: LapTag,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    UnderWay,
    Answered,
    GivenUp,
}

/// A shake and its state, flat: nested, the padding of the shake would cost four bytes more.
#[derive(Clone, Copy, Debug)]
struct Entry {
    intended_us: u32,
    sent_us: u32,
    connection: u32,
    lap: LapTag,
    state: State,
}

impl Entry {
    const fn new(shake: Shake, state: State) -> Self {
        let Shake { intended_us, sent_us, connection, lap } = shake;
        Self { intended_us, sent_us, connection, lap, state }
    }

    const fn shake(&self) -> Shake {
        let Self { intended_us, sent_us, connection, lap, .. } = *self;
        Shake { intended_us, sent_us, connection, lap }
    }
}

/// What an answer's number turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// A shake under way.
    InTime(Shake),
    /// A shake that was given up before.
    Late(Shake),
    /// A shake that was answered before: the server answered twice.
    Twice,
    /// A shake that was given up so long ago that it is forgotten: its place has been used again.
    Forgotten,
    /// No shake of this connection has or had this number.
    Unknown,
}

/// See the module's text.
#[derive(Debug)]
pub struct Window {
    entries: Box<[Entry]>,
    /// The oldest number that may be under way.
    oldest: u32,
    /// The number of the next shake.
    next: u32,
    under_way: u32,
    /// Numbers given out so far, at most half of all there are: what is older cannot be told from what is to come.
    given_out: u32,
}

impl Window {
    /// Room for this many shakes, rounded up to a power of two, at most 2^31.
    pub fn new(capacity: u32) -> Self {
        let shake = Shake { intended_us: 0, sent_us: 0, connection: 0, lap: LapTag::NONE };
        let capacity = capacity.max(2).checked_next_power_of_two().expect("a window has at most 2^31 places");
        Self {
            entries: vec![Entry::new(shake, State::Free); capacity as usize].into_boxed_slice(),
            oldest: 1,
            next: 1,
            under_way: 0,
            given_out: 0,
        }
    }

    /// Shakes neither answered nor given up.
    pub fn under_way(&self) -> u32 {
        self.under_way
    }

    /// Puts a shake under way and gives it its number; `None` where the window is full: give up the oldest first.
    pub fn begin(&mut self, shake: Shake) -> Option<u32> {
        self.pass_finished();
        let number = self.next;
        if number.wrapping_sub(self.oldest) as usize >= self.entries.len() {
            return None;
        }
        *self.entry(number) = Entry::new(shake, State::UnderWay);
        self.next = number.wrapping_add(1);
        self.under_way += 1;
        self.given_out = (self.given_out + 1).min(1 << 31);
        Some(number)
    }

    /// Takes the answer with this number, received on this connection.
    pub fn answer(&mut self, number: u32, connection: u32) -> Answered {
        let age = self.next.wrapping_sub(number);
        if age == 0 || age > self.given_out {
            return Answered::Unknown;
        }
        if age as usize > self.entries.len() {
            return Answered::Forgotten;
        }
        let entry = self.entry(number);
        if entry.state == State::Free || entry.connection != connection {
            return Answered::Unknown;
        }
        let shake = entry.shake();
        match std::mem::replace(&mut entry.state, State::Answered) {
            State::UnderWay => {
                self.under_way -= 1;
                Answered::InTime(shake)
            }
            State::GivenUp => Answered::Late(shake),
            State::Answered | State::Free => Answered::Twice,
        }
    }

    /// Gives up the oldest shake under way if it was sent `timeout_us` or more ago; 0 gives it up in any case.
    pub fn give_up(&mut self, now_us: u32, timeout_us: u32) -> Option<Shake> {
        self.pass_finished();
        if self.oldest == self.next {
            return None;
        }
        let number = self.oldest;
        let entry = self.entry(number);
        if now_us.wrapping_sub(entry.sent_us) < timeout_us {
            return None;
        }
        entry.state = State::GivenUp;
        let shake = entry.shake();
        self.under_way -= 1;
        self.oldest = number.wrapping_add(1);
        Some(shake)
    }

    fn entry(&mut self, number: u32) -> &mut Entry {
        let mask = self.entries.len() - 1;
        &mut self.entries[number as usize & mask]
    }

    fn pass_finished(&mut self) {
        while self.oldest != self.next && self.entry(self.oldest).state != State::UnderWay {
            self.oldest = self.oldest.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shake(at_us: u32, connection: u32) -> Shake {
        Shake { intended_us: at_us, sent_us: at_us, connection, lap: LapTag::NONE }
    }

    #[test]
    fn an_entry_takes_sixteen_bytes() {
        assert_eq!(size_of::<Entry>(), 16);
    }

    #[test]
    fn an_answer_that_comes_ages_late_is_no_breach_of_the_protocol() {
        let mut window = Window::new(4);
        let first = window.begin(shake(0, 5)).unwrap();
        for at_us in 1..20 {
            window.give_up(at_us, 0);
            window.begin(shake(at_us, 5)).unwrap();
        }
        assert_eq!(window.answer(first, 5), Answered::Forgotten);
        assert_eq!(window.answer(first.wrapping_sub(1), 5), Answered::Unknown, "a number never given out");
    }

    #[test]
    fn answers_in_any_order_find_their_intended_times() {
        let mut window = Window::new(8);
        let numbers: Vec<u32> = (0..8).map(|n| window.begin(shake(n, 100 + n)).unwrap()).collect();
        assert_eq!(window.begin(shake(9, 9)), None, "the bound holds");
        for n in [3, 0, 7, 1, 2, 6, 5, 4] {
            assert_eq!(window.answer(numbers[n as usize], 100 + n), Answered::InTime(shake(n, 100 + n)));
        }
        assert_eq!(window.under_way(), 0);
        assert!(window.begin(shake(9, 9)).is_some());
    }

    #[test]
    fn a_second_answer_and_an_answer_on_anothers_connection_are_told_apart() {
        let mut window = Window::new(4);
        let number = window.begin(shake(1, 5)).unwrap();
        assert_eq!(window.answer(number, 6), Answered::Unknown, "another connection's number");
        assert_eq!(window.answer(number.wrapping_add(1), 5), Answered::Unknown, "a number not given out yet");
        assert_eq!(window.answer(number, 5), Answered::InTime(shake(1, 5)));
        assert_eq!(window.answer(number, 5), Answered::Twice);
    }

    #[test]
    fn what_was_given_up_is_late_when_it_comes_and_is_counted_once() {
        let mut window = Window::new(4);
        let first = window.begin(shake(10, 1)).unwrap();
        let second = window.begin(shake(20, 2)).unwrap();
        assert_eq!(window.give_up(109, 100), None);
        assert_eq!(window.give_up(110, 100), Some(shake(10, 1)));
        assert_eq!(window.answer(first, 1), Answered::Late(shake(10, 1)));
        assert_eq!(window.answer(first, 1), Answered::Twice);
        assert_eq!(window.answer(second, 2), Answered::InTime(shake(20, 2)));
        assert_eq!(window.give_up(1_000, 100), None, "an answered one is not given up");
    }

    #[test]
    fn numbers_and_microseconds_that_come_round_change_nothing() {
        let mut window = Window::new(4);
        window.oldest = u32::MAX - 1;
        window.next = u32::MAX - 1;
        for n in 0..16u32 {
            let at = (u32::MAX - 2).wrapping_add(n);
            let number = window.begin(shake(at, 1)).unwrap();
            assert_eq!(window.give_up(at, 10), None);
            if n % 2 == 0 {
                assert_eq!(window.answer(number, 1), Answered::InTime(shake(at, 1)));
            } else {
                assert_eq!(window.give_up(at.wrapping_add(10), 10), Some(shake(at, 1)));
            }
        }
        assert_eq!(window.under_way(), 0);
    }
}
