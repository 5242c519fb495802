//! How the ring receives: it does what [`Receivers`](crate::receivers::Receivers) decides.

use io_uring::opcode;
use io_uring::squeue::Flags;
use nix::errno::Errno;
use nix::libc::{MSG_DONTWAIT, POLLERR, POLLHUP, POLLIN, POLLRDHUP};

use super::{Ring, descriptor, fd};
use crate::Token;
use crate::buffers::BUFFER_GROUP;
use crate::core::Reaped;
use crate::driver::{Completion, Event, Receive, Socket};
use crate::operation::{Kind, user_data};
use crate::receivers::{AfterPoll, Begin, Read};

impl Ring {
    /// Ends the receive of a connection, and nothing else: its terminal event follows. For a connection that is to be closed
    /// without a word to the peer.
    pub fn cancel_receive(&mut self, socket: &Socket) {
        self.table.check(socket);
        self.remove_poll(socket.0);
    }

    pub(super) fn begin_receive(&mut self, number: u32, token: Token) {
        match self.table.receivers.begin(number, token) {
            Begin::Poll => self.push_poll(number),
            Begin::Read => self.reads_due.push(number),
            Begin::Nothing => {}
        }
    }

    fn push_poll(&mut self, number: u32) {
        let entry = opcode::PollAdd::new(fd(number), (POLLIN | POLLRDHUP) as u32).multi(true).build();
        self.push_counted(self.on(entry), Kind::Poll, descriptor(number));
    }

    fn push_read(&mut self, number: u32) {
        let (_, buffer_bytes) = self.buffers.size();
        let read = opcode::Recv::new(fd(number), std::ptr::null_mut(), buffer_bytes as u32);
        let entry = read.buf_group(BUFFER_GROUP).flags(MSG_DONTWAIT).build().flags(Flags::BUFFER_SELECT);
        self.push_counted(self.on(entry), Kind::Read, descriptor(number));
    }

    /// Pushes the reads that are due, but no more than there are buffers. Whether there were any.
    pub(super) fn push_reads(&mut self) -> bool {
        let (buffers, _) = self.buffers.size();
        let count = self.reads_due.len().min(usize::from(buffers));
        for index in 0..count {
            self.push_read(self.reads_due[index]);
        }
        self.reads_due.drain(..count);
        count > 0
    }

    /// Makes the kernel let go of a descriptor's poll, if it has one.
    pub(super) fn remove_poll(&mut self, number: u32) {
        if self.table.receivers.remove(number) {
            self.push_poll_removal(number);
        }
    }

    fn push_poll_removal(&mut self, number: u32) {
        let entry = opcode::PollRemove::new(user_data(Kind::Poll, descriptor(number))).build();
        self.push_silent(entry, Kind::PollRemove, descriptor(number));
    }

    /// A poll was not removed. Where it was about to speak just then, it is asked again; else it had ended by itself.
    pub(super) fn poll_not_removed(&mut self, number: u32, reaped: Reaped) {
        if reaped.outcome() == Err(Errno::EALREADY) && self.table.receivers.is_being_removed(number) {
            self.push_poll_removal(number);
        }
    }

    /// Submits reads that are due, so that what they bring is handled in this turn. False where none are, or the turn has had its
    /// share: then the next enter takes them along.
    pub(super) fn read_now(&mut self) -> bool {
        if self.read_rounds_left == 0 || !self.push_reads() {
            return false;
        }
        self.read_rounds_left -= 1;
        self.buffers.publish();
        self.core.submit_and_reap();
        true
    }

    pub(super) fn polled(&mut self, number: u32, reaped: Reaped) -> Option<Completion> {
        let outcome = reaped.outcome();
        if let (true, Ok(events)) = (reaped.more(), outcome) {
            let hung_up = events & (POLLRDHUP | POLLHUP | POLLERR) as u32 != 0;
            if self.table.receivers.spoke(number, hung_up) {
                self.reads_due.push(number);
            }
            return None;
        }
        let after = self.table.receivers.poll_ended(number, outcome.is_err());
        self.close_if_due(number);
        match after {
            AfterPoll::Nothing => None,
            AfterPoll::Poll => {
                self.push_poll(number);
                None
            }
            AfterPoll::Tell => {
                let outcome = Receive::Failed(outcome.err().unwrap_or(Errno::ECANCELED));
                Some(self.tell(number, outcome, false))
            }
        }
    }

    pub(super) fn was_read(&mut self, number: u32, reaped: Reaped) -> Option<Completion> {
        let outcome = reaped.outcome();
        let length = outcome.unwrap_or(0);
        let lent = io_uring::cqueue::buffer_select(reaped.flags).and_then(|buffer| self.buffers.lend(buffer, length));
        let full = length as usize == self.buffers.size().1 || io_uring::cqueue::sock_nonempty(reaped.flags);
        let read = match (outcome, &lent) {
            (Ok(_), Some(_)) => Read::Data { full },
            (Err(Errno::EAGAIN), _) => Read::Nothing,
            (Err(Errno::ENOBUFS), _) => Read::NoBuffers,
            (Ok(_), None) | (Err(_), _) => Read::End,
        };
        let after = self.table.receivers.read_ended(number, read);
        if after.again {
            self.reads_due.push(number);
        }
        self.close_if_due(number);
        if !after.tell {
            if let Some(received) = lent {
                self.buffers.give_back(&received);
            }
            return None;
        }
        let (outcome, more) = match (outcome, lent) {
            (Ok(_), Some(received)) => (Receive::Data(received), true),
            (Ok(_), None) => (Receive::EndOfFile, false),
            (Err(Errno::ENOBUFS), _) => {
                self.buffers_exhausted += 1;
                (Receive::NoBuffers, false)
            }
            (Err(errno), _) => (Receive::Failed(errno), false),
        };
        Some(self.tell(number, outcome, more))
    }

    fn tell(&self, number: u32, outcome: Receive, more: bool) -> Completion {
        Completion { token: self.table.receivers.token(number), event: Event::Receive { outcome, more } }
    }
}
