//! The connections' descriptors, and why a close may have to wait.
//!
//! The kernel works a shutdown off in a worker thread, and looks its descriptor up only there. Were the descriptor closed and used
//! again before that, the shutdown would hit the new connection. So a close waits for the shutdowns before it. It also waits for the
//! poll, which would keep the connection open, and whose last word would be taken for the next connection's.

use crate::driver::Socket;
use crate::receivers::Receivers;

/// How connections are named to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Descriptors {
    /// Direct where that is right on this kernel, else plain.
    #[default]
    Auto,
    /// Entries of a table of the ring's own: cheaper for each operation, and no use of the process's file limit. Up to Linux
    /// 6.12 one idle connection holds back all later closes.
    Direct,
    /// File descriptors of the process.
    Plain,
}

/// Plain descriptors that are kept track of from the start; the array grows when higher ones are seen.
const PLAIN_TRACKED: usize = 1 << 16;

/// Shutdowns of one descriptor that may be in flight: one for writing, one for both directions, and some to spare.
const SHUTDOWNS_MAX: u8 = 15;

/// What is known of one descriptor, in a byte: the shutdowns in flight, and these bits. 0 is a closed one.
const OPEN: u8 = 1 << 7;
const CLOSE_WAITS: u8 = 1 << 6;
const SHUTDOWNS: u8 = SHUTDOWNS_MAX;

/// All descriptors of one ring.
pub(crate) struct Table {
    direct: bool,
    uses: Vec<u8>,
    pub(crate) receivers: Receivers,
    /// For sockets that are adopted into a table of the ring's own: entries never used start here ...
    fresh: u32,
    /// ... those free again are here ...
    free: Vec<u32>,
    /// ... and those whose close was not submitted yet here.
    closing: Vec<u32>,
}

impl Table {
    /// A table of `entries` of the ring's own.
    pub(crate) fn direct(entries: u32) -> Self {
        let capacity = entries as usize;
        Self {
            direct: true,
            uses: vec![0; capacity],
            receivers: Receivers::new(capacity),
            fresh: 0,
            free: Vec::with_capacity(capacity),
            closing: Vec::with_capacity(capacity),
        }
    }

    /// File descriptors of the process.
    pub(crate) fn plain() -> Self {
        let (uses, receivers) = (vec![0; PLAIN_TRACKED], Receivers::new(PLAIN_TRACKED));
        Self { direct: false, uses, receivers, fresh: 0, free: Vec::new(), closing: Vec::new() }
    }

    pub(crate) fn is_direct(&self) -> bool {
        self.direct
    }

    fn of(&mut self, socket: u32) -> &mut u8 {
        let known = self.uses.get_mut(socket as usize).filter(|of| **of & OPEN != 0);
        known.unwrap_or_else(|| panic!("descriptor {socket} is not open in this ring"))
    }

    /// Panics where the socket is not one of this ring.
    pub(crate) fn check(&mut self, socket: &Socket) {
        self.of(socket.0);
    }

    /// A descriptor was opened.
    pub(crate) fn opened(&mut self, number: u32) -> Socket {
        let index = number as usize;
        if index >= self.uses.len() {
            assert!(!self.direct, "entry {number} is beyond the table");
            self.uses.resize((index + 1).next_power_of_two(), 0);
        }
        let before = std::mem::replace(&mut self.uses[index], OPEN);
        assert_eq!(before, 0, "descriptor {number} was open already");
        self.receivers.opened(number);
        Socket(number)
    }

    /// An entry for a socket to be adopted.
    pub(crate) fn vacant(&mut self) -> Option<u32> {
        self.free.pop().or_else(|| {
            let fresh = self.fresh;
            ((fresh as usize) < self.uses.len()).then(|| {
                self.fresh += 1;
                fresh
            })
        })
    }

    /// An entry that was taken by `vacant` stayed unused.
    pub(crate) fn give_up(&mut self, number: u32) {
        self.free.push(number);
    }

    /// A shutdown is to be submitted.
    pub(crate) fn shutting_down(&mut self, socket: &Socket) {
        let of = self.of(socket.0);
        assert!(*of & SHUTDOWNS < SHUTDOWNS_MAX, "descriptor {} is shut down over and over", socket.0);
        *of += 1;
    }

    /// A shutdown has ended.
    pub(crate) fn was_shut_down(&mut self, number: u32) {
        let of = self.of(number);
        assert!(*of & SHUTDOWNS > 0, "no shutdown of descriptor {number} was in flight");
        *of -= 1;
    }

    /// The socket is to be closed, once that is due.
    pub(crate) fn wants_close(&mut self, socket: &Socket) {
        *self.of(socket.0) |= CLOSE_WAITS;
    }

    /// Whether a descriptor is to be closed and nothing holds that up any more.
    pub(crate) fn is_close_due(&self, number: u32) -> bool {
        let of = self.uses[number as usize];
        of & CLOSE_WAITS != 0 && of & SHUTDOWNS == 0 && self.receivers.is_over(number)
    }

    /// The close is being submitted.
    pub(crate) fn closed(&mut self, number: u32) {
        *self.of(number) = 0;
        if self.direct && number < self.fresh {
            self.closing.push(number);
        }
    }

    /// All that was pushed has been submitted: closed entries can be adopted into.
    pub(crate) fn entered(&mut self) {
        self.free.append(&mut self.closing);
    }

    /// Descriptors are below this.
    pub(crate) fn len(&self) -> u32 {
        self.uses.len() as u32
    }

    /// Whether a descriptor is open and no shutdown of it is in flight.
    pub(crate) fn is_untouched(&self, number: u32) -> bool {
        self.uses[number as usize] == OPEN
    }

    /// The descriptors that are open.
    pub(crate) fn open(&self) -> impl Iterator<Item = u32> {
        self.uses.iter().zip(0..).filter(|(of, _)| **of & OPEN != 0).map(|(_, number)| number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_waits_for_the_shutdowns_before_it() {
        let mut table = Table::direct(4);
        let socket = table.opened(2);
        table.shutting_down(&socket);
        table.shutting_down(&socket);
        table.wants_close(&socket);
        assert!(!table.is_close_due(2));
        table.was_shut_down(2);
        assert!(!table.is_close_due(2));
        table.was_shut_down(2);
        assert!(table.is_close_due(2));
        table.closed(2);
        assert_eq!(table.open().count(), 0);
    }

    #[test]
    fn an_adopted_entry_is_not_used_again_before_its_close_was_submitted() {
        let mut table = Table::direct(2);
        let (first, second) = (table.vacant().expect("free"), table.vacant().expect("free"));
        assert_eq!((first, second, table.vacant()), (0, 1, None));
        let socket = table.opened(first);
        table.wants_close(&socket);
        assert!(table.is_close_due(first));
        table.closed(first);
        assert_eq!(table.vacant(), None);
        table.entered();
        assert_eq!(table.vacant(), Some(first));
    }

    #[test]
    #[should_panic(expected = "not open in this ring")]
    fn a_socket_of_another_ring_is_refused() {
        let socket = Table::plain().opened(3);
        Table::plain().check(&socket);
    }
}
