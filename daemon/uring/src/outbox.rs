//! What connections are still to be sent: chains of fixed slots out of one pool that belongs to the ring.
//!
//! A slot is `Free`, or `Filling` (in the chain that waits in an outbox), or `AtOnce` (in a send that ends within the next enter), or
//! `Lasting` (in a send that may wait for the peer). The pool keeps that state and checks it at each step; an outbox only names
//! slots. So a caller who mixes up outboxes gets a panic or sends wrong bytes, but never makes the kernel read what is not
//! the pool's.
//!
//! A send at once posts no completion when it succeeds. Its slots are freed by [`Outboxes::settle`]: when the enter that
//! submitted it has returned, and every failure which that enter reaped was handed to [`Outboxes::sent`].

use std::io;

use nix::errno::Errno;

use crate::driver::{OutboxFull, Sent};
use crate::pages::Pages;

/// Bytes of a slot: two cache lines. One turn's answers to one connection nearly always fit, a welcome with three earlier wins (108
/// bytes) among them.
pub const SEND_SLOT_BYTES: usize = 128;

/// Slots that one connection may fill: 64 KiB.
pub const SEND_SLOTS_PER_CONNECTION_MAX: usize = 512;

/// Slots that one connection may fill while less than half of the pool is free, so that peers who do not read cannot take from
/// the others what these need.
pub const SEND_SLOTS_PER_CONNECTION_SCARCE: usize = 8;

/// Slots that one send may carry: 16 KiB.
pub(crate) const SLOTS_PER_SEND_MAX: usize = 128;

/// Stands for no slot: slot numbers start at 1.
const NONE: u32 = 0;

/// No send is in flight.
const IDLE: u64 = 0;
/// No send is in flight, and the socket was full: the next send waits for the peer.
const SOCKET_FULL: u64 = u64::MAX - 1;
/// A send waits for the peer; its completion will come.
const LASTING: u64 = u64::MAX;

/// A connection's unsent bytes: a chain of the ring's send slots. Starts empty. Hand it to no other ring.
#[derive(Debug, Default)]
pub struct Outbox {
    /// First slot of the chain that waits to be sent.
    waiting: u32,
    /// First slot of the chain that was handed to the kernel last.
    sending: u32,
    /// `IDLE`, `SOCKET_FULL`, `LASTING`, or the turn in which the last send was made, at once. Turns never come round.
    flight: u64,
}

const _: () = assert!(size_of::<Outbox>() == 16, "one for each of a million connections");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Filling,
    AtOnce,
    Lasting,
}

/// What the pool knows of a slot. `tail` and `slots` speak of the whole chain and are kept in its first slot only.
#[derive(Clone, Copy, Debug)]
struct Slot {
    next: u32,
    tail: u32,
    slots: u16,
    /// Bytes written to the slot.
    length: u16,
    /// How many of them were sent.
    sent: u16,
    state: State,
}

/// A send to be made: the chain's first slot, and how to send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    pub(crate) first: u32,
    pub(crate) slots: usize,
    /// Whether it must end within the enter, instead of waiting for the peer.
    pub(crate) at_once: bool,
}

/// The pool.
pub(crate) struct Outboxes {
    pages: Pages,
    /// Slots that were ever used, so that memory is touched only as the need grows. Number `n` is at `n - 1`.
    slots: Vec<Slot>,
    slots_max: usize,
    /// The slot freed last, the first of a chain of free ones: what was used last is used next, while it is warm.
    free: u32,
    free_slots: usize,
    /// First slots of the sends made at once in this turn.
    at_once: Vec<u32>,
    /// Number of this turn; an enter ends it.
    turn: u64,
    /// Sends at once of this turn and of all before it have ended, and their slots are free.
    settled: u64,
}

impl Outboxes {
    /// A pool of `slots_max` slots.
    pub(crate) fn new(slots_max: usize) -> io::Result<Self> {
        assert!((1..u32::MAX as usize).contains(&slots_max), "slots are numbered in 32 bits, 0 left out");
        Ok(Self {
            pages: Pages::map(slots_max * SEND_SLOT_BYTES)?,
            slots: Vec::with_capacity(slots_max),
            slots_max,
            free: NONE,
            free_slots: slots_max,
            at_once: Vec::with_capacity(slots_max),
            turn: 1,
            settled: 0,
        })
    }

    fn slot(&mut self, number: u32) -> &mut Slot {
        assert!(number != NONE, "an outbox names a slot where it has none");
        &mut self.slots[number as usize - 1]
    }

    fn offset(number: u32) -> usize {
        (number as usize - 1) * SEND_SLOT_BYTES
    }

    /// Takes a free slot; the caller has checked that there is one.
    fn take(&mut self) -> u32 {
        let empty = Slot { next: NONE, tail: NONE, slots: 0, length: 0, sent: 0, state: State::Filling };
        self.free_slots -= 1;
        if self.free == NONE {
            self.slots.push(empty);
            return self.slots.len() as u32;
        }
        let number = self.free;
        let slot = self.slot(number);
        assert_eq!(slot.state, State::Free, "slot {number} is on the free list");
        let next = slot.next;
        *slot = empty;
        self.free = next;
        number
    }

    fn free_chain(&mut self, first: u32, state: State) {
        let mut number = first;
        while number != NONE {
            number = self.free_slot(number, state);
        }
    }

    /// Frees one slot and returns the next of its chain.
    fn free_slot(&mut self, number: u32, state: State) -> u32 {
        let free = self.free;
        let slot = self.slot(number);
        assert_eq!(slot.state, state, "slot {number}");
        let next = slot.next;
        slot.state = State::Free;
        slot.next = free;
        self.free = number;
        self.free_slots += 1;
        next
    }

    /// Slots in a chain.
    fn chain_slots(&self, first: u32) -> usize {
        if first == NONE { 0 } else { usize::from(self.slots[first as usize - 1].slots) }
    }

    fn allowance(&self) -> usize {
        if self.free_slots * 2 < self.slots_max {
            SEND_SLOTS_PER_CONNECTION_SCARCE
        } else {
            SEND_SLOTS_PER_CONNECTION_MAX
        }
    }

    /// Adds all of `bytes`, or none.
    pub(crate) fn append(&mut self, outbox: &mut Outbox, bytes: &[u8]) -> Result<(), OutboxFull> {
        let tail = if outbox.waiting == NONE { NONE } else { self.slot(outbox.waiting).tail };
        let room = if tail == NONE { 0 } else { SEND_SLOT_BYTES - usize::from(self.slot(tail).length) };
        let (first, rest) = bytes.split_at(bytes.len().min(room));
        let wanted = rest.len().div_ceil(SEND_SLOT_BYTES);
        if wanted > 0 {
            let sending = if outbox.flight == LASTING { self.chain_slots(outbox.sending) } else { 0 };
            let held = self.chain_slots(outbox.waiting) + sending;
            if held + wanted > self.allowance() || wanted > self.free_slots {
                return Err(OutboxFull);
            }
        }
        if !first.is_empty() {
            self.fill(tail, first);
        }
        for piece in rest.chunks(SEND_SLOT_BYTES) {
            let number = self.take();
            self.fill(number, piece);
            self.link(outbox, number);
        }
        Ok(())
    }

    /// Writes behind what the slot holds.
    fn fill(&mut self, number: u32, bytes: &[u8]) {
        let slot = self.slot(number);
        assert_eq!(slot.state, State::Filling, "slot {number}");
        let start = usize::from(slot.length);
        assert!(start + bytes.len() <= SEND_SLOT_BYTES);
        slot.length += bytes.len() as u16;
        // SAFETY: the kernel reads of the slots `AtOnce` and `Lasting` and writes to none, and no slice of the pages is ever made
        // outside of the simulation's `copy_of`, which returns it copied.
        unsafe { self.pages.write(Self::offset(number) + start, bytes) };
    }

    /// Puts a slot at the end of the waiting chain.
    fn link(&mut self, outbox: &mut Outbox, number: u32) {
        if outbox.waiting == NONE {
            outbox.waiting = number;
            let head = self.slot(number);
            head.tail = number;
            head.slots = 1;
        } else {
            let head = self.slot(outbox.waiting);
            head.slots += 1;
            let tail = std::mem::replace(&mut head.tail, number);
            self.slot(tail).next = number;
        }
    }

    /// Detaches what is to be sent now: at most [`SLOTS_PER_SEND_MAX`] slots, and none while a send is in flight. The caller
    /// submits it before the next enter; panics at a second one for the same outbox in a turn.
    pub(crate) fn depart(&mut self, outbox: &mut Outbox) -> Option<Departure> {
        if outbox.waiting == NONE || outbox.flight == LASTING {
            return None;
        }
        assert!(self.settled + 1 == self.turn, "a flush before all completions were handled");
        assert!(outbox.flight != self.turn, "a second flush of one outbox in a turn");
        let first = outbox.waiting;
        outbox.waiting = self.split(first);
        // Silence after a send at once means that all is sent; so what leaves something behind must complete.
        let at_once = outbox.flight != SOCKET_FULL && outbox.waiting == NONE;
        outbox.sending = first;
        let state = if at_once { State::AtOnce } else { State::Lasting };
        self.change(first, State::Filling, state);
        if at_once {
            outbox.flight = self.turn;
            self.at_once.push(first);
        } else {
            outbox.flight = LASTING;
        }
        Some(Departure { first, slots: self.chain_slots(first), at_once })
    }

    /// Cuts a chain behind its first [`SLOTS_PER_SEND_MAX`] slots and returns what is behind the cut.
    fn split(&mut self, first: u32) -> u32 {
        let head = *self.slot(first);
        if usize::from(head.slots) <= SLOTS_PER_SEND_MAX {
            return NONE;
        }
        let mut last = first;
        for _ in 1..SLOTS_PER_SEND_MAX {
            last = self.slot(last).next;
        }
        let rest = std::mem::replace(&mut self.slot(last).next, NONE);
        let behind = self.slot(rest);
        behind.tail = head.tail;
        behind.slots = head.slots - SLOTS_PER_SEND_MAX as u16;
        let head = self.slot(first);
        head.tail = last;
        head.slots = SLOTS_PER_SEND_MAX as u16;
        rest
    }

    /// Changes the state of a chain's slots.
    fn change(&mut self, first: u32, from: State, to: State) {
        let mut number = first;
        while number != NONE {
            let slot = self.slot(number);
            assert_eq!(slot.state, from, "slot {number}");
            slot.state = to;
            number = slot.next;
        }
    }

    /// The next piece of a departing chain: its address, its length, and the slot behind it. Walk from `first`, `slots` times.
    pub(crate) fn piece(&self, number: u32) -> (*const u8, usize, u32) {
        let slot = &self.slots[number as usize - 1];
        assert!(matches!(slot.state, State::AtOnce | State::Lasting), "slot {number} is {:?}", slot.state);
        let start = self.pages.at(Self::offset(number) + usize::from(slot.sent));
        (start, usize::from(slot.length - slot.sent), slot.next)
    }

    /// The bytes of a departing chain, copied: for the simulation.
    pub(crate) fn copy_of(&self, departure: Departure) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut number = departure.first;
        for _ in 0..departure.slots {
            let (_, length, next) = self.piece(number);
            let offset = Self::offset(number) + usize::from(self.slots[number as usize - 1].sent);
            // SAFETY: the slice is copied before this function returns, so nothing writes while it is alive.
            bytes.extend_from_slice(unsafe { self.pages.slice(offset, length) });
            number = next;
        }
        bytes
    }

    /// An enter has submitted this turn's sends. `failed`: whether it reaped the failure of a send at once.
    pub(crate) fn entered(&mut self, failed: bool) {
        self.turn += 1;
        if !failed {
            self.settle();
        }
    }

    /// Every completion of the last enter was handled: frees the slots of the sends at once that did not fail.
    pub(crate) fn settle(&mut self) {
        if self.settled + 1 == self.turn {
            return;
        }
        self.settled = self.turn - 1;
        let mut at_once = std::mem::take(&mut self.at_once);
        for first in at_once.drain(..) {
            // A failed one was put back by `sent`, and its slots are in another state by now.
            if self.slot(first).state == State::AtOnce {
                self.free_chain(first, State::AtOnce);
            }
        }
        self.at_once = at_once;
    }

    /// Takes the outcome of a send that posted a completion.
    pub(crate) fn sent(&mut self, outbox: &mut Outbox, outcome: Result<u32, Errno>) -> Sent {
        let at_once = outbox.flight == self.turn - 1 && self.settled + 1 < self.turn;
        assert!(at_once || outbox.flight == LASTING, "a send ended, but none of this outbox is in flight");
        let state = if at_once { State::AtOnce } else { State::Lasting };
        let sending = std::mem::replace(&mut outbox.sending, NONE);
        outbox.flight = IDLE;
        let bytes = match outcome {
            Ok(bytes) => bytes,
            Err(Errno::EAGAIN | Errno::EINTR) => 0,
            Err(errno) => {
                self.free_chain(sending, state);
                self.discard(outbox);
                return Sent::Failed(errno);
            }
        };
        let rest = self.consume(sending, bytes as usize, state);
        if rest != NONE {
            outbox.flight = SOCKET_FULL;
            self.put_back(outbox, rest);
        }
        if outbox.waiting == NONE { Sent::Empty } else { Sent::More }
    }

    /// Takes `bytes` from the front of a chain, and returns what is left, in the state `Filling`.
    fn consume(&mut self, first: u32, bytes: usize, state: State) -> u32 {
        let chain = *self.slot(first);
        let (mut number, mut left, mut slots) = (first, bytes, chain.slots);
        while number != NONE {
            let slot = self.slot(number);
            let unsent = usize::from(slot.length - slot.sent);
            if left < unsent {
                slot.sent += left as u16;
                slot.tail = chain.tail;
                slot.slots = slots;
                self.change(number, state, State::Filling);
                return number;
            }
            left -= unsent;
            slots -= 1;
            number = self.free_slot(number, state);
        }
        assert_eq!(left, 0, "the kernel sent more than it was given");
        NONE
    }

    /// Puts a chain before the one that waits.
    fn put_back(&mut self, outbox: &mut Outbox, first: u32) {
        if outbox.waiting != NONE {
            let behind = *self.slot(outbox.waiting);
            let head = self.slot(first);
            head.slots += behind.slots;
            let tail = std::mem::replace(&mut head.tail, behind.tail);
            self.slot(tail).next = outbox.waiting;
        }
        outbox.waiting = first;
    }

    /// Whether nothing waits and nothing is in flight.
    pub(crate) fn is_sent(&self, outbox: &Outbox) -> bool {
        outbox.waiting == NONE && outbox.flight != LASTING && outbox.flight <= self.settled
    }

    /// Throws away what waits.
    pub(crate) fn discard(&mut self, outbox: &mut Outbox) {
        let waiting = std::mem::replace(&mut outbox.waiting, NONE);
        self.free_chain(waiting, State::Filling);
        if outbox.flight == SOCKET_FULL {
            outbox.flight = IDLE;
        }
    }

    /// The kernel may still read the slots: they stay mapped for good.
    pub(crate) fn keep(&mut self) {
        self.pages.keep();
    }

    /// Slots in use.
    pub(crate) fn used(&self) -> usize {
        self.slots_max - self.free_slots
    }
}

#[cfg(test)]
mod tests;
