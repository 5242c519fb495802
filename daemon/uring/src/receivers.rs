//! How a connection is received from: one multishot poll, which waits in the kernel, and reads that do not wait.
//!
//! A multishot receive would need no reads, but an idle connection would keep 864 bytes of the kernel's memory in use for it, against
//! 256 for a poll, and each message would touch those, cold. A read is made of what the last one left warm.
//!
//! A poll speaks only when something happens, so what a read leaves behind must be read without being told: after a read that
//! was filled, after one that a poll spoke beside, and, once the peer has hung up, until a read says so. What
//! follows is decided here, without a kernel, and done by the ring (`ring/receive.rs`).

use crate::{Generation, Token};

/// The caller is told what comes.
const LISTENING: u64 = 1;
/// The poll is with the kernel; its last completion is still to come.
const POLLED: u64 = 1 << 1;
/// The poll's removal is under way.
const REMOVING: u64 = 1 << 2;
/// A read is with the kernel, or will be.
const READING: u64 = 1 << 3;
/// The poll has spoken since that read was asked for.
const SPOKEN: u64 = 1 << 4;
/// The peer has hung up: its last bytes and the end of file come without another word from the poll.
const HUNG_UP: u64 = 1 << 5;
const FACTS_BITS: u32 = 8;
const GENERATION_BITS: u32 = 24;

/// How a read went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// With bytes. `full`: there may be more where they came from.
    Data { full: bool },
    /// There was nothing.
    Nothing,
    /// No buffer was free.
    NoBuffers,
    /// At the end of file, or with an error: no other read will bring more.
    End,
}

/// What a read is followed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AfterRead {
    /// The caller is told.
    pub(crate) tell: bool,
    /// It is followed by another.
    pub(crate) again: bool,
}

/// What the end of a poll is followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterPoll {
    /// Nothing.
    Nothing,
    /// Another poll: the completion queue overflowed, which ends a multishot.
    Poll,
    /// The caller is told that its receive has ended.
    Tell,
}

/// What the caller's wish to receive is followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The first poll.
    Poll,
    /// A read: the poll is in place, and may have spoken while nobody listened.
    Read,
    /// Nothing: a read is on its way.
    Nothing,
}

/// One descriptor's: the facts above, and whom it belongs to. 8 bytes, since there are a million.
#[derive(Clone, Copy, Default)]
struct Receiver(u64);

impl Receiver {
    fn has(self, fact: u64) -> bool {
        self.0 & fact != 0
    }

    fn set(&mut self, facts: u64) {
        self.0 |= facts;
    }

    fn clear(&mut self, facts: u64) {
        self.0 &= !facts;
    }

    fn belong_to(&mut self, token: Token) {
        let facts = self.0 & ((1 << FACTS_BITS) - 1);
        let generation = u64::from(token.generation.get()) << FACTS_BITS;
        self.0 = u64::from(token.slot) << (FACTS_BITS + GENERATION_BITS) | generation | facts;
    }

    fn token(self) -> Token {
        let generation = Generation::new((self.0 >> FACTS_BITS) as u32);
        Token { slot: (self.0 >> (FACTS_BITS + GENERATION_BITS)) as u32, generation }
    }
}

/// Those of all descriptors of a ring, by number.
pub(crate) struct Receivers(Vec<Receiver>);

impl Receivers {
    /// For descriptors below `count`, and higher ones as they come.
    pub(crate) fn new(count: usize) -> Self {
        Self(vec![Receiver::default(); count])
    }

    /// A descriptor was opened.
    pub(crate) fn opened(&mut self, number: u32) {
        let index = number as usize;
        if index >= self.0.len() {
            self.0.resize((index + 1).next_power_of_two(), Receiver::default());
        }
        assert!(self.is_over(number), "descriptor {number} was closed while it was received from");
        self.0[index] = Receiver::default();
    }

    fn of(&mut self, number: u32) -> &mut Receiver {
        &mut self.0[number as usize]
    }

    /// Who receives from a descriptor.
    pub(crate) fn token(&self, number: u32) -> Token {
        self.0[number as usize].token()
    }

    /// The caller wants to receive.
    pub(crate) fn begin(&mut self, number: u32, token: Token) -> Begin {
        let of = self.of(number);
        assert!(!of.has(LISTENING), "descriptor {number} is being received from already");
        of.belong_to(token);
        of.set(LISTENING);
        if !of.has(POLLED) {
            of.set(POLLED);
            Begin::Poll
        } else if of.has(READING) {
            of.set(SPOKEN);
            Begin::Nothing
        } else {
            of.set(READING);
            Begin::Read
        }
    }

    /// The poll has spoken. True where a read is to follow.
    pub(crate) fn spoke(&mut self, number: u32, hung_up: bool) -> bool {
        let of = self.of(number);
        if hung_up {
            of.set(HUNG_UP);
        }
        if !of.has(LISTENING) {
            return false;
        }
        if of.has(READING) {
            of.set(SPOKEN);
            return false;
        }
        of.set(READING);
        true
    }

    /// The poll is no longer with the kernel.
    pub(crate) fn poll_ended(&mut self, number: u32, failed: bool) -> AfterPoll {
        let of = self.of(number);
        let over = failed || of.has(REMOVING);
        of.clear(POLLED | REMOVING);
        if !of.has(LISTENING) {
            AfterPoll::Nothing
        } else if over {
            of.clear(LISTENING);
            AfterPoll::Tell
        } else {
            of.set(POLLED);
            AfterPoll::Poll
        }
    }

    /// A read has ended.
    pub(crate) fn read_ended(&mut self, number: u32, read: Read) -> AfterRead {
        let of = self.of(number);
        let (spoken, hung_up) = (of.has(SPOKEN), of.has(HUNG_UP));
        of.clear(READING | SPOKEN);
        if !of.has(LISTENING) {
            return AfterRead::default();
        }
        let after = match read {
            Read::Data { full } => AfterRead { tell: true, again: full || spoken || hung_up },
            Read::Nothing => AfterRead { tell: false, again: spoken },
            Read::NoBuffers | Read::End => AfterRead { tell: true, again: false },
        };
        if after.again {
            of.set(READING);
        } else if after.tell && !matches!(read, Read::Data { .. }) {
            of.clear(LISTENING);
        }
        after
    }

    /// The poll must go. True where its removal is to be asked for.
    pub(crate) fn remove(&mut self, number: u32) -> bool {
        let of = self.of(number);
        let ask = of.has(POLLED) && !of.has(REMOVING);
        if ask {
            of.set(REMOVING);
        }
        ask
    }

    /// Whether the poll's removal was asked for, and has not happened yet.
    pub(crate) fn is_being_removed(&self, number: u32) -> bool {
        self.0[number as usize].has(REMOVING)
    }

    /// Nobody is told anything any more.
    pub(crate) fn hush(&mut self, number: u32) {
        self.of(number).clear(LISTENING);
    }

    /// Whether the kernel has nothing of this descriptor's receive, nor will have.
    pub(crate) fn is_over(&self, number: u32) -> bool {
        !self.0[number as usize].has(POLLED | READING)
    }
}

#[cfg(test)]
mod tests;
