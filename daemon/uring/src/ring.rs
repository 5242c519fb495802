//! The connections of one thread on one io_uring: the real [`Network`].
//!
//! Three rules keep memory sound, whatever the caller does:
//! - The kernel reads and writes only the pool of send slots and the receive buffers. Both stay mapped until no operation is in
//!   flight; where the kernel does not let go of one in time, for ever. `in_flight` counts operations, not what the caller says.
//! - A receive buffer is either the kernel's or lent, and only lent ones can be read ([`ReceiveBuffers`]).
//! - The ring is entered by the thread that made it: it is not `Send`.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use io_uring::opcode;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, Fixed};
use nix::errno::Errno;
use nix::libc::{MSG_DONTWAIT, MSG_NOSIGNAL, MSG_WAITALL, SHUT_RDWR, SHUT_WR, SOCK_CLOEXEC};
use nix::sys::resource::{Resource, getrlimit};

use crate::buffers::ReceiveBuffers;
use crate::core::{Reaped, RingCore, errno_of};
use crate::descriptors::{Descriptors, Table};
use crate::driver::{Completion, Event, Network, NetworkCounters, OutboxFull, Received, Sent, Socket};
use crate::listener::Listener;
use crate::operation::{Kind, kind_of, token_of, user_data};
use crate::options::{CONNECTIONS_MAX, RESERVE_ENTRIES, RingError, RingFeatures, RingOptions, sizes};
use crate::outbox::{Departure, Outbox, Outboxes};
use crate::staged::Staged;
use crate::{Doorbell, Generation, Token, Unavailable, Wait, probe};

/// Worker threads of the kernel for one ring, bounded and unbounded: they work off shutdowns only.
const WORKERS_MAX: u32 = 2;

/// Times in a turn that reads are submitted by themselves: once for what the polls told, and some more for those who have sent more
/// than a buffer holds, so that these make headway and keep nobody waiting.
const READ_ROUNDS_MAX: u32 = 4;

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
    /// Descriptors to be read from, each once.
    reads_due: Vec<u32>,
    /// How often reads may still be submitted by themselves in this turn, before the next enter takes them along.
    read_rounds_left: u32,
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
            reads_due: Vec::with_capacity((options.connections + RESERVE_ENTRIES) as usize),
            read_rounds_left: 0,
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
        // SAFETY: what entries of this module point to is the pool of send slots and the receive buffers, which outlive every
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

    fn close_if_due(&mut self, number: u32) {
        if !self.table.is_close_due(number) {
            return;
        }
        self.table.closed(number);
        let entry = if self.table.is_direct() {
            opcode::Close::new(Fixed(number)).build()
        } else {
            opcode::Close::new(fd(number)).build()
        };
        self.push_silent(entry, Kind::Close, descriptor(number));
    }

    /// What a completion is to the caller; `None` where it concerns the ring alone.
    fn completion(&mut self, reaped: Reaped) -> Option<Completion> {
        let kind = kind_of(reaped.user_data);
        let token = token_of(reaped.user_data);
        let silent = matches!(kind, Kind::SendAtOnce | Kind::Close | Kind::PollRemove | Kind::Wake | Kind::WakeSent);
        if !silent && !reaped.more() {
            self.in_flight -= 1;
        }
        let event = match kind {
            Kind::Accept => {
                let outcome = reaped.outcome().map(|number| self.table.opened(number));
                if !reaped.more() {
                    self.accepting = None;
                }
                Event::Accept { outcome, more: reaped.more() }
            }
            Kind::Poll => return self.polled(token.slot, reaped),
            Kind::PollRemove => {
                self.poll_not_removed(token.slot, reaped);
                return None;
            }
            Kind::Read => return self.was_read(token.slot, reaped),
            Kind::Send => Event::Send { outcome: reaped.outcome() },
            Kind::SendAtOnce => {
                self.sends_deferred += 1;
                Event::Send { outcome: reaped.outcome() }
            }
            Kind::Connect => Event::Connect { outcome: reaped.outcome().map(drop) },
            Kind::Shutdown => {
                // A connection that was reset meanwhile is not connected any more; that is no failure.
                self.failures += u64::from(!matches!(reaped.outcome(), Ok(_) | Err(Errno::ENOTCONN)));
                self.table.was_shut_down(token.slot);
                self.close_if_due(token.slot);
                return None;
            }
            Kind::Close | Kind::WakeSent => {
                self.failures += 1;
                return None;
            }
            Kind::Cancel => return None,
            Kind::Wake => Event::Wake,
            Kind::Write | Kind::Flush => panic!("a file operation on a ring for connections"),
        };
        Some(Completion { token, event })
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
        self.begin_receive(socket.0, token);
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
        self.table.wants_close(&socket);
        self.remove_poll(socket.0);
        self.close_if_due(socket.0);
    }

    fn ring_doorbell(&mut self, doorbell: &Doorbell) {
        self.core.wake(doorbell);
    }

    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        assert!(self.core.is_handled(), "an enter before all completions were handled");
        self.outboxes.settle();
        self.buffers.publish();
        // Reads that go out with this enter end within it: there is nothing to wait for.
        let wait = if self.push_reads() { Wait::NOT } else { wait };
        self.read_rounds_left = READ_ROUNDS_MAX;
        self.core.enter(wait)?;
        self.staged.clear();
        self.table.entered();
        let failed = self.core.batch().iter().any(|reaped| kind_of(reaped.user_data) == Kind::SendAtOnce);
        self.outboxes.entered(failed);
        Ok(())
    }

    fn has_work(&mut self) -> bool {
        !self.reads_due.is_empty() || self.core.has_work()
    }

    fn submit(&mut self) {
        self.buffers.publish();
        self.core.submit();
        self.staged.clear();
        self.table.entered();
        // A send at once that failed has its completion there by now; without any, all of them went well.
        if !self.core.has_work() {
            self.outboxes.entered(false);
        }
    }

    fn next(&mut self) -> Option<Completion> {
        loop {
            while let Some(reaped) = self.core.next() {
                if let Some(completion) = self.completion(reaped) {
                    return Some(completion);
                }
            }
            if !self.read_now() {
                self.outboxes.settle();
                return None;
            }
        }
    }

    fn reaped(&self) -> u32 {
        self.core.waited_for() as u32
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

mod ending;
mod receive;

#[cfg(test)]
mod tests;
