//! The connections of one thread on one io_uring: the real [`Network`].
//!
//! Three rules keep memory sound, whatever the caller does:
//! - The kernel reads and writes only the pool of send slots and the receive buffers. Both stay mapped until no operation is in
//!   flight; where the kernel does not let go of one in time, for ever. `in_flight` counts operations, not what the caller says.
//! - A receive buffer is either the kernel's or lent, and only lent ones can be read ([`ReceiveBuffers`]).
//! - The ring is entered by the thread that made it: it is not `Send`.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

use io_uring::opcode;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, Fd, Fixed};
use nix::errno::Errno;
use nix::libc::{MSG_DONTWAIT, MSG_NOSIGNAL, MSG_WAITALL, SHUT_RDWR, SHUT_WR, SOCK_CLOEXEC};
use nix::sys::resource::{Resource, getrlimit};

use crate::buffers::{BUFFER_GROUP, ReceiveBuffers};
use crate::core::{Reaped, RingCore, errno_of};
use crate::descriptors::{Descriptors, Table};
use crate::driver::{Completion, Event, Network, NetworkCounters, OutboxFull, Receive, Received, Sent, Socket};
use crate::listener::Listener;
use crate::operation::{Kind, kind_of, token_of, user_data};
use crate::options::{CONNECTIONS_MAX, RESERVE_ENTRIES, RingError, RingFeatures, RingOptions, sizes};
use crate::outbox::{Departure, Outbox, Outboxes};
use crate::staged::Staged;
use crate::{Doorbell, Generation, Token, Unavailable, Wait, probe};

/// Worker threads of the kernel for one ring, bounded and unbounded: they work off shutdowns only.
const WORKERS_MAX: u32 = 2;

/// When a ring is dropped: enters in a row that end no operation, each of at most 10 ms, until it is given up.
const DROP_STALLS_MAX: u32 = 100;
const DROP_WAIT_US: u32 = 10_000;
/// Operations that one such enter waits for.
const DROP_WANT_MAX: u64 = 4096;

/// The ring. See the module's text and [`Network`]. It stays with the thread that made it:
///
/// ```compile_fail
/// fn sendable<T: Send>() {}
/// sendable::<hongbao_uring::Ring>();
/// ```
pub struct Ring {
    core: RingCore,
    listener: Option<Listener>,
    table: Table,
    buffers: ReceiveBuffers,
    outboxes: Outboxes,
    staged: Staged,
    /// The token of the multishot accept while it is armed.
    accepting: Option<Token>,
    /// Operations that the kernel has, or will have after the next enter, and that will complete; sends at once are not
    /// among them, since they end within an enter.
    in_flight: u64,
    sends: u64,
    sends_deferred: u64,
    buffers_exhausted: u64,
    failures: u64,
}

impl Ring {
    pub(crate) fn open(options: RingOptions) -> Result<Self, RingError> {
        let connections = options.connections;
        if !(1..=CONNECTIONS_MAX).contains(&connections) {
            return Err(RingError::Connections { connections });
        }
        let sizes = sizes(connections, options.receive_buffers_max);
        let core = RingCore::open(sizes.queues, sizes.reaped_max)?;
        Self::over(core, options)
    }

    fn over(core: RingCore, options: RingOptions) -> Result<Self, RingError> {
        let sizes = sizes(options.connections, options.receive_buffers_max);
        let direct = match options.descriptors {
            Descriptors::Auto => probe::releases_out_of_order(),
            Descriptors::Direct => true,
            Descriptors::Plain => false,
        };
        let submitter = core.submitter();
        // Without the bound shutdowns work as well, with more threads.
        drop(submitter.register_iowq_max_workers(&mut [WORKERS_MAX; 2]));
        let table = if direct { register_table(&core, options.connections)? } else { Table::plain() };
        let buffer_bytes = usize::from(options.receive_buffer_bytes.max(1));
        let buffers = ReceiveBuffers::register(&submitter, sizes.receive_buffers, buffer_bytes)
            .map_err(|errno| Unavailable::refused("IORING_REGISTER_PBUF_RING", errno))?;
        Ok(Self {
            core,
            listener: options.listener,
            table,
            buffers,
            outboxes: Outboxes::new(sizes.send_slots).map_err(RingError::Memory)?,
            staged: Staged::new(),
            accepting: None,
            in_flight: 0,
            sends: 0,
            sends_deferred: 0,
            buffers_exhausted: 0,
            failures: 0,
        })
    }

    /// What the ring has become.
    pub fn features(&self) -> RingFeatures {
        let (receive_buffers, receive_buffer_bytes) = self.buffers.size();
        RingFeatures {
            ring: self.core.features(),
            direct: self.table.is_direct(),
            receive_buffers,
            receive_buffer_bytes,
        }
    }

    /// Where the ring listens.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.as_ref().map(Listener::local_addr)
    }

    /// Tells a doorbell that its owner sleeps in this ring.
    pub fn attach(&self, doorbell: &Doorbell) -> io::Result<()> {
        self.core.attach(doorbell)
    }

    /// Closes, shutdowns and wake-ups that failed: each a sign of a defect, harmless to connections.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// Send slots in use: 0 when every outbox is empty.
    pub fn send_slots_used(&self) -> usize {
        self.outboxes.used()
    }

    /// Takes a socket over; for a ring that connects. Fails where no entry of the ring's table is free, and, with direct
    /// descriptors, on a ring that listens, since there the kernel chooses the entries.
    pub fn adopt(&mut self, socket: OwnedFd) -> io::Result<Socket> {
        if !self.table.is_direct() {
            return Ok(self.table.opened(socket.into_raw_fd() as u32));
        }
        if self.listener.is_some() {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let entry = self.table.vacant().ok_or(Errno::ENFILE)?;
        match self.core.submitter().register_files_update(entry, &[socket.as_raw_fd()]) {
            Ok(_) => Ok(self.table.opened(entry)),
            Err(error) => {
                self.table.give_up(entry);
                Err(error)
            }
        }
    }

    /// Connects an adopted socket; the outcome comes as [`Event::Connect`].
    pub fn connect(&mut self, socket: &Socket, address: SocketAddr, token: Token) {
        self.table.check(socket);
        self.make_room();
        let (start, length) = self.staged.address(address);
        let entry = self.on(opcode::Connect::new(fd(socket.0), start, length).build());
        self.push_counted(entry, Kind::Connect, token);
    }

    /// Ends the armed receive of a connection, and nothing else: its terminal completion follows. For a connection that is to be
    /// closed without a word to the peer.
    pub fn cancel_receive(&mut self, token: Token) {
        let entry = opcode::AsyncCancel::new(user_data(Kind::Receive, token)).build();
        self.push_counted(entry, Kind::Cancel, Token::default());
    }

    /// Marks an entry made for `Fd(socket)` as one of the ring's own table, where that is what sockets are.
    fn on(&self, entry: Entry) -> Entry {
        if self.table.is_direct() { entry.flags(Flags::FIXED_FILE) } else { entry }
    }

    /// Submits, if staging places are used up, so that they are free again.
    fn make_room(&mut self) {
        if self.staged.is_full() {
            self.core.submit();
            self.staged.clear();
        }
    }

    /// Pushes an operation that will complete.
    fn push_counted(&mut self, entry: Entry, kind: Kind, token: Token) {
        self.in_flight += 1;
        // SAFETY: what entries of this file point to is the pool of send slots and the receive buffers, which outlive every
        // counted operation by `Drop`; or staged, which is not touched again before all is submitted.
        unsafe { self.core.push(&entry.user_data(user_data(kind, token))) };
    }

    /// Pushes an operation that completes only where it fails, and that ends within the enter.
    fn push_silent(&mut self, entry: Entry, kind: Kind, token: Token) {
        let entry = entry.flags(Flags::SKIP_SUCCESS).user_data(user_data(kind, token));
        // SAFETY: the pool of send slots, which outlives the next enter: a ring that was not entered does not read it, and `Drop`
        // enters before it frees.
        unsafe { self.core.push(&entry) };
    }

    fn send(&mut self, socket: &Socket, token: Token, departure: Departure) {
        let waits = if departure.at_once { MSG_DONTWAIT } else { 0 };
        let flags = MSG_NOSIGNAL | MSG_WAITALL | waits;
        let on = fd(socket.0);
        let entry = if departure.slots == 1 {
            let (start, length, _) = self.outboxes.piece(departure.first);
            opcode::Send::new(on, start, length as u32).flags(flags).build()
        } else {
            self.make_room();
            let message = self.staged.gather(&self.outboxes, departure);
            opcode::SendMsg::new(on, message).flags(flags as u32).build()
        };
        let entry = self.on(entry);
        self.sends += 1;
        if departure.at_once {
            self.push_silent(entry, Kind::SendAtOnce, token);
        } else {
            self.push_counted(entry, Kind::Send, token);
        }
    }

    fn shut_down(&mut self, socket: &Socket, how: i32) {
        self.table.shutting_down(socket);
        let entry = self.on(opcode::Shutdown::new(fd(socket.0), how).build());
        self.push_counted(entry, Kind::Shutdown, descriptor(socket.0));
    }

    fn submit_close(&mut self, number: u32) {
        self.table.closed(number);
        let entry = if self.table.is_direct() {
            opcode::Close::new(Fixed(number)).build()
        } else {
            opcode::Close::new(fd(number)).build()
        };
        self.push_silent(entry, Kind::Close, descriptor(number));
    }

    /// The event that a completion is to the caller; `None` where it concerns the ring alone.
    fn event(&mut self, reaped: Reaped) -> Option<Event> {
        let kind = kind_of(reaped.user_data);
        let counted = !matches!(kind, Kind::SendAtOnce | Kind::Close | Kind::Wake | Kind::WakeSent);
        if counted && !reaped.more() {
            self.in_flight -= 1;
        }
        match kind {
            Kind::Accept => {
                let outcome = reaped.outcome().map(|number| self.table.opened(number));
                if !reaped.more() {
                    self.accepting = None;
                }
                Some(Event::Accept { outcome, more: reaped.more() })
            }
            Kind::Receive => Some(self.received(reaped)),
            Kind::Send => Some(Event::Send { outcome: reaped.outcome() }),
            Kind::SendAtOnce => {
                self.sends_deferred += 1;
                Some(Event::Send { outcome: reaped.outcome() })
            }
            Kind::Connect => Some(Event::Connect { outcome: reaped.outcome().map(drop) }),
            Kind::Shutdown => {
                // A connection that was reset meanwhile is not connected any more; that is no failure.
                self.failures += u64::from(!matches!(reaped.outcome(), Ok(_) | Err(Errno::ENOTCONN)));
                let number = token_of(reaped.user_data).slot;
                if self.table.was_shut_down(number) {
                    self.submit_close(number);
                }
                None
            }
            Kind::Close | Kind::WakeSent => {
                self.failures += 1;
                None
            }
            Kind::Cancel => None,
            Kind::Wake => Some(Event::Wake),
            Kind::Write | Kind::Flush => panic!("a file operation on a ring for connections"),
        }
    }

    fn received(&mut self, reaped: Reaped) -> Event {
        let outcome = reaped.outcome();
        let length = outcome.unwrap_or(0);
        let lent = io_uring::cqueue::buffer_select(reaped.flags).and_then(|buffer| self.buffers.lend(buffer, length));
        let outcome = match (outcome, lent) {
            (Ok(_), Some(received)) => Receive::Data(received),
            (Ok(_), None) => Receive::EndOfFile,
            (Err(Errno::ENOBUFS), _) => {
                self.buffers_exhausted += 1;
                Receive::NoBuffers
            }
            (Err(errno), _) => Receive::Failed(errno),
        };
        Event::Receive { outcome, more: reaped.more() }
    }

    /// Ends every operation in flight. False where the kernel would not, in the time given.
    ///
    /// All of them belong to sockets, so shutting these down ends them, at a cost that grows with their number. One cancellation of
    /// everything would do as well, but searches past what it has cancelled already: a cost that grows with the square, 3 s
    /// for 15,000 connections. It is kept for what a shutdown does not end.
    fn end_all(&mut self) -> bool {
        self.handle_batch();
        self.stop_accepting();
        for number in 0..self.table.len() {
            if self.table.is_untouched(number) {
                self.shut_down(&Socket(number), SHUT_RDWR);
            }
        }
        let mut stalled = 0;
        while stalled < DROP_STALLS_MAX {
            // Also with nothing in flight: closes and sends at once may be in the submission queue.
            let want = self.in_flight.min(DROP_WANT_MAX) as u32;
            let before = self.in_flight;
            if self.core.enter(Wait { want, min_wait_us: 0, timeout_us: DROP_WAIT_US }).is_err() {
                return false;
            }
            let idle = self.core.batch().is_empty();
            self.handle_batch();
            if self.in_flight == 0 && idle {
                return true;
            }
            stalled = if self.in_flight < before { 0 } else { stalled + 1 };
            if stalled == DROP_STALLS_MAX / 2 {
                let entry = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
                self.push_counted(entry, Kind::Cancel, Token::default());
            }
        }
        false
    }

    fn handle_batch(&mut self) {
        while let Some(reaped) = self.core.next() {
            self.event(reaped);
        }
    }
}

/// A socket's number in the field that both kinds of descriptors share.
fn fd(number: u32) -> Fd {
    Fd(number.cast_signed())
}

/// The token of operations on a descriptor itself.
fn descriptor(number: u32) -> Token {
    Token { slot: number, generation: Generation::default() }
}

fn register_table(core: &RingCore, connections: u32) -> Result<Table, RingError> {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    if u64::from(connections) > limit {
        return Err(RingError::FileLimit { connections, limit });
    }
    let entries = u64::from(connections + RESERVE_ENTRIES).min(limit).min(u64::from(CONNECTIONS_MAX)) as u32;
    core.submitter()
        .register_files_sparse(entries)
        .map_err(|error| Unavailable::refused("IORING_REGISTER_FILES2", errno_of(&error)))?;
    Ok(Table::direct(entries))
}

impl Network for Ring {
    fn accept(&mut self, token: Token) {
        let listener = self.listener.as_ref().expect("this ring has no listener to accept on").raw();
        assert!(self.accepting.is_none(), "the accept is armed already");
        self.accepting = Some(token);
        let direct = self.table.is_direct();
        // Entries of a table of the ring's own are never inherited, and the flag is refused for them.
        let flags = if direct { 0 } else { SOCK_CLOEXEC };
        let entry = opcode::AcceptMulti::new(Fd(listener)).allocate_file_index(direct).flags(flags).build();
        self.push_counted(entry, Kind::Accept, token);
    }

    fn stop_accepting(&mut self) {
        if let Some(token) = self.accepting {
            let entry = opcode::AsyncCancel::new(user_data(Kind::Accept, token)).build();
            self.push_counted(entry, Kind::Cancel, Token::default());
        }
    }

    fn receive(&mut self, socket: &Socket, token: Token) {
        self.table.check(socket);
        let entry = self.on(opcode::RecvMulti::new(fd(socket.0), BUFFER_GROUP).build());
        self.push_counted(entry, Kind::Receive, token);
    }

    fn bytes(&self, received: &Received) -> &[u8] {
        self.buffers.bytes(received)
    }

    fn give_back(&mut self, received: Received) {
        self.buffers.give_back(&received);
    }

    fn append(&mut self, outbox: &mut Outbox, bytes: &[u8]) -> Result<(), OutboxFull> {
        self.outboxes.append(outbox, bytes)
    }

    fn flush(&mut self, socket: &Socket, token: Token, outbox: &mut Outbox) {
        self.table.check(socket);
        assert!(self.core.is_handled(), "a flush before all completions were handled");
        self.outboxes.settle();
        if let Some(departure) = self.outboxes.depart(outbox) {
            self.send(socket, token, departure);
        }
    }

    fn sent(&mut self, outbox: &mut Outbox, outcome: Result<u32, Errno>) -> Sent {
        self.outboxes.sent(outbox, outcome)
    }

    fn is_sent(&self, outbox: &Outbox) -> bool {
        self.outboxes.is_sent(outbox)
    }

    fn discard(&mut self, outbox: &mut Outbox) {
        self.outboxes.discard(outbox);
    }

    fn shutdown(&mut self, socket: &Socket) {
        self.shut_down(socket, SHUT_RDWR);
    }

    fn shutdown_write(&mut self, socket: &Socket) {
        self.shut_down(socket, SHUT_WR);
    }

    fn close(&mut self, socket: Socket) {
        if self.table.wants_close(&socket) {
            self.submit_close(socket.0);
        }
    }

    fn ring_doorbell(&mut self, doorbell: &Doorbell) {
        self.core.wake(doorbell);
    }

    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        assert!(self.core.is_handled(), "an enter before all completions were handled");
        self.outboxes.settle();
        self.buffers.publish();
        self.core.enter(wait)?;
        self.staged.clear();
        self.table.entered();
        let failed = self.core.batch().iter().any(|reaped| kind_of(reaped.user_data) == Kind::SendAtOnce);
        self.outboxes.entered(failed);
        Ok(())
    }

    fn next(&mut self) -> Option<Completion> {
        while let Some(reaped) = self.core.next() {
            if let Some(event) = self.event(reaped) {
                return Some(Completion { token: token_of(reaped.user_data), event });
            }
        }
        self.outboxes.settle();
        None
    }

    fn reaped(&self) -> u32 {
        self.core.batch().len() as u32
    }

    fn counters(&self) -> NetworkCounters {
        let core = self.core.counters();
        NetworkCounters {
            enters: core.enters,
            completions: core.completions,
            sends: self.sends,
            sends_deferred: self.sends_deferred,
            buffers_exhausted: self.buffers_exhausted,
            completion_overflows: core.completion_overflows,
            wakes_sent: core.wakes_sent,
        }
    }
}

impl Drop for Ring {
    /// Ends what is in flight, then gives everything back. What is registered is unregistered by name, since a doorbell may hold a
    /// duplicate of the ring's descriptor, so that closing ours does not end the ring.
    fn drop(&mut self) {
        if !self.end_all() {
            self.buffers.keep();
            self.outboxes.keep();
        }
        let submitter = self.core.submitter();
        ReceiveBuffers::unregister(&submitter);
        if self.table.is_direct() {
            drop(submitter.unregister_files());
        } else {
            for number in self.table.open() {
                // SAFETY: the table holds descriptors that `accept` made or `adopt` took over; it lists each once, and those whose
                // close was submitted no more.
                drop(unsafe { OwnedFd::from_raw_fd(number.cast_signed()) });
            }
        }
    }
}

#[cfg(test)]
mod tests;
