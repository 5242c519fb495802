//! A network in memory, for tests of what stands on [`Network`]: deterministic, without sockets, threads or clock.
//!
//! The test plays the peers: they connect, write, read, stop reading, close, reset. The network is stricter than the kernel: it
//! panics where a caller breaks the contract of the trait, even where the kernel would let it pass.
//!
//! What a peer does shows in the completions of the next `enter`, which never waits.

use std::collections::VecDeque;
use std::io;

use nix::errno::Errno;

use crate::outbox::{Departure, Outboxes};
use crate::{
    Completion, Doorbell, Event, Network, NetworkCounters, Outbox, OutboxFull, Receive, Received, Sent, Socket, Token,
    Wait,
};

/// One end that the test plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(u32);

/// How the stream towards a peer ended, as the peer sees it after all bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerEnd {
    /// Cleanly.
    EndOfFile,
    /// By a reset: bytes on their way may be lost.
    Reset,
}

/// Sizes of a simulated network.
#[derive(Clone, Copy, Debug)]
pub struct SimulatedOptions {
    /// Receive buffers.
    pub buffers: u16,
    /// Bytes of each.
    pub buffer_bytes: usize,
    /// Send slots.
    pub send_slots: usize,
}

impl Default for SimulatedOptions {
    fn default() -> Self {
        Self { buffers: 64, buffer_bytes: 64, send_slots: 1024 }
    }
}

/// The connection between one peer and the network's user. Numbers are never used again.
struct Connection {
    accepted: bool,
    open: bool,
    receive: Option<Token>,
    /// From the peer, and how it ends.
    incoming: VecDeque<u8>,
    incoming_end: Option<IncomingEnd>,
    /// To the peer, and how it ended.
    outgoing: Vec<u8>,
    outgoing_end: Option<PeerEnd>,
    /// Bytes that the peer's socket takes before sends have to wait.
    window: usize,
    peer: Peer,
    lasting: Option<Lasting>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    Speaks,
    /// It ended its stream, and reads on.
    HasEnded,
    /// It closed its end: what is sent to it is answered with a reset.
    IsGone,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum IncomingEnd {
    EndOfFile,
    Reset,
}

struct Lasting {
    departure: Departure,
    token: Token,
    sent: usize,
}

enum Operation {
    Accept(Token),
    StopAccepting,
    Receive(u32, Token),
    Send(u32, Token, Departure),
    Shutdown(u32),
    ShutdownWrite(u32),
    Close(u32),
}

/// The network. See the module's text.
pub struct SimulatedNetwork {
    connections: Vec<Connection>,
    backlog: VecDeque<u32>,
    accept: Option<Token>,
    accept_errors: VecDeque<Errno>,
    operations: Vec<Operation>,
    completions: VecDeque<Completion>,
    reaped: u32,
    buffers: Vec<Vec<u8>>,
    buffer_bytes: usize,
    free_buffers: VecDeque<u16>,
    held_buffers: Vec<u16>,
    lent: Vec<bool>,
    outboxes: Outboxes,
    counters: NetworkCounters,
    waits: Vec<Wait>,
    wakes: u32,
    multishots_end: bool,
}

impl SimulatedNetwork {
    /// A network without peers.
    pub fn new(options: SimulatedOptions) -> Self {
        Self {
            connections: Vec::new(),
            backlog: VecDeque::new(),
            accept: None,
            accept_errors: VecDeque::new(),
            operations: Vec::new(),
            completions: VecDeque::new(),
            reaped: 0,
            buffers: vec![Vec::new(); usize::from(options.buffers)],
            buffer_bytes: options.buffer_bytes,
            free_buffers: (0..options.buffers).collect(),
            held_buffers: Vec::new(),
            lent: vec![false; usize::from(options.buffers)],
            outboxes: Outboxes::new(options.send_slots).expect("memory for send slots"),
            counters: NetworkCounters::default(),
            waits: Vec::new(),
            wakes: 0,
            multishots_end: false,
        }
    }

    /// A peer connects. It is accepted at the next enter at which the accept is armed.
    pub fn peer_connect(&mut self) -> PeerId {
        let number = self.connections.len() as u32;
        self.connections.push(Connection {
            accepted: false,
            open: true,
            receive: None,
            incoming: VecDeque::new(),
            incoming_end: None,
            outgoing: Vec::new(),
            outgoing_end: None,
            window: usize::MAX,
            peer: Peer::Speaks,
            lasting: None,
        });
        self.backlog.push_back(number);
        PeerId(number)
    }

    fn peer(&mut self, peer: PeerId) -> &mut Connection {
        &mut self.connections[peer.0 as usize]
    }

    /// The peer writes. Goes nowhere once the connection was shut down or closed.
    pub fn peer_write(&mut self, peer: PeerId, bytes: &[u8]) {
        let connection = self.peer(peer);
        assert!(connection.peer == Peer::Speaks, "this peer has ended its stream");
        if connection.incoming_end.is_none() {
            connection.incoming.extend(bytes);
        }
    }

    /// Takes what arrived at the peer.
    pub fn peer_read(&mut self, peer: PeerId) -> Vec<u8> {
        std::mem::take(&mut self.peer(peer).outgoing)
    }

    /// How the stream to the peer ended; `None` while it goes on.
    pub fn peer_end(&self, peer: PeerId) -> Option<PeerEnd> {
        self.connections[peer.0 as usize].outgoing_end
    }

    /// From now on the peer's socket takes this many bytes; then sends wait. `usize::MAX`: no bound, as at first.
    pub fn peer_takes(&mut self, peer: PeerId, bytes: usize) {
        self.peer(peer).window = bytes;
    }

    /// The peer sends no more, but reads on.
    pub fn peer_shutdown_write(&mut self, peer: PeerId) {
        let connection = self.peer(peer);
        connection.incoming_end.get_or_insert(IncomingEnd::EndOfFile);
        if connection.peer == Peer::Speaks {
            connection.peer = Peer::HasEnded;
        }
    }

    /// The peer closes: the end of file comes from it, and what is sent to it afterwards meets a reset.
    pub fn peer_close(&mut self, peer: PeerId) {
        let connection = self.peer(peer);
        connection.incoming_end.get_or_insert(IncomingEnd::EndOfFile);
        connection.peer = Peer::IsGone;
    }

    /// The peer breaks the connection: what it wrote and was not received is lost.
    pub fn peer_reset(&mut self, peer: PeerId) {
        let connection = self.peer(peer);
        connection.incoming.clear();
        connection.incoming_end = Some(IncomingEnd::Reset);
        connection.peer = Peer::IsGone;
    }

    /// Whether the network's user has not closed this peer's connection yet.
    pub fn is_open(&self, peer: PeerId) -> bool {
        self.connections[peer.0 as usize].open
    }

    /// Connections accepted and not closed.
    pub fn open_connections(&self) -> usize {
        self.connections.iter().filter(|connection| connection.accepted && connection.open).count()
    }

    /// The next accept fails so, and is no longer armed; the peer stays in the backlog.
    pub fn fail_accept(&mut self, errno: Errno) {
        self.accept_errors.push_back(errno);
    }

    /// Whether the accept is armed, or will be by the next enter.
    pub fn is_accepting(&self) -> bool {
        self.accept.is_some()
    }

    /// Takes all free receive buffers but `left` away, until [`Self::return_buffers`].
    pub fn hold_buffers(&mut self, left: usize) {
        let held = self.free_buffers.len().saturating_sub(left);
        self.held_buffers.extend(self.free_buffers.drain(..held));
    }

    /// Ends [`Self::hold_buffers`].
    pub fn return_buffers(&mut self) {
        self.free_buffers.extend(self.held_buffers.drain(..));
    }

    /// Every multishot operation that completes in the next enter ends with it, as after an overflow of the completion queue.
    pub fn end_multishots(&mut self) {
        self.multishots_end = true;
    }

    /// Another thread rings the doorbell of this network's thread.
    pub fn wake(&mut self) {
        self.wakes += 1;
    }

    /// The last wait that was asked for.
    pub fn last_wait(&self) -> Option<Wait> {
        self.waits.last().copied()
    }

    /// Send slots in use: 0 when every outbox is empty.
    pub fn send_slots_used(&self) -> usize {
        self.outboxes.used()
    }

    fn open(&mut self, number: u32) -> &mut Connection {
        let connection = &mut self.connections[number as usize];
        assert!(connection.accepted && connection.open, "socket {number} is not open");
        connection
    }

    fn complete(&mut self, token: Token, event: Event) {
        self.completions.push_back(Completion { token, event });
    }

    fn run(&mut self, operation: &Operation) -> bool {
        match *operation {
            Operation::Accept(token) => self.accept = Some(token),
            Operation::StopAccepting => {
                if let Some(token) = self.accept.take() {
                    self.complete(token, Event::Accept { outcome: Err(Errno::ECANCELED), more: false });
                }
            }
            Operation::Receive(number, token) => self.open(number).receive = Some(token),
            Operation::Send(number, token, departure) if departure.at_once => {
                let bytes = self.outboxes.copy_of(departure);
                let outcome = self.open(number).take(&bytes);
                if outcome != Ok(bytes.len()) {
                    self.counters.sends_deferred += 1;
                    self.complete(token, Event::Send { outcome: outcome.map(|count| count as u32) });
                    return true;
                }
            }
            Operation::Send(number, token, departure) => {
                let before = self.open(number).lasting.replace(Lasting { departure, token, sent: 0 });
                assert!(before.is_none(), "two sends of socket {number} are in flight");
            }
            Operation::Shutdown(number) => {
                let connection = self.open(number);
                connection.outgoing_end.get_or_insert(PeerEnd::EndOfFile);
                connection.incoming_end.get_or_insert(IncomingEnd::EndOfFile);
            }
            Operation::ShutdownWrite(number) => {
                self.open(number).outgoing_end.get_or_insert(PeerEnd::EndOfFile);
            }
            Operation::Close(number) => self.open(number).close(number),
        }
        false
    }

    fn run_accept(&mut self) {
        while let Some(token) = self.accept {
            if let Some(errno) = self.accept_errors.pop_front() {
                self.accept = None;
                self.complete(token, Event::Accept { outcome: Err(errno), more: false });
                return;
            }
            let Some(number) = self.backlog.pop_front() else { return };
            self.connections[number as usize].accepted = true;
            let more = !self.multishots_end;
            if !more {
                self.accept = None;
            }
            self.complete(token, Event::Accept { outcome: Ok(Socket(number)), more });
        }
    }

    fn run_lasting_send(&mut self, number: usize) {
        let Some(lasting) = &self.connections[number].lasting else { return };
        let bytes = self.outboxes.copy_of(lasting.departure);
        let connection = &mut self.connections[number];
        let Some(lasting) = connection.lasting.take() else { return };
        let token = lasting.token;
        let outcome = match (connection.take(&bytes[lasting.sent..]), lasting.sent) {
            (Ok(count), sent) if sent + count == bytes.len() => Ok(bytes.len() as u32),
            (Ok(count), sent) => {
                connection.lasting = Some(Lasting { sent: sent + count, ..lasting });
                return;
            }
            (Err(Errno::EAGAIN), _) => {
                connection.lasting = Some(lasting);
                return;
            }
            (Err(errno), 0) => Err(errno),
            (Err(_), sent) => Ok(sent as u32),
        };
        self.complete(token, Event::Send { outcome });
    }

    fn run_receive(&mut self, number: usize) {
        while let Some(token) = self.connections[number].receive {
            let connection = &mut self.connections[number];
            let (outcome, more) = if connection.incoming.is_empty() {
                match connection.incoming_end {
                    None => return,
                    Some(IncomingEnd::EndOfFile) => (Receive::EndOfFile, false),
                    Some(IncomingEnd::Reset) => (Receive::Failed(Errno::ECONNRESET), false),
                }
            } else if let Some(buffer) = self.free_buffers.pop_front() {
                let length = connection.incoming.len().min(self.buffer_bytes);
                self.buffers[usize::from(buffer)] = connection.incoming.drain(..length).collect();
                self.lent[usize::from(buffer)] = true;
                (Receive::Data(Received { buffer, length: length as u32 }), !self.multishots_end)
            } else {
                self.counters.buffers_exhausted += 1;
                (Receive::NoBuffers, false)
            };
            if !more {
                connection.receive = None;
            }
            self.complete(token, Event::Receive { outcome, more });
        }
    }
}

impl Connection {
    /// Takes what of `bytes` the peer's socket takes now.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        if self.incoming_end == Some(IncomingEnd::Reset) {
            return Err(Errno::ECONNRESET);
        }
        if self.outgoing_end.is_some() {
            return Err(Errno::EPIPE);
        }
        if self.peer == Peer::IsGone {
            self.incoming_end = Some(IncomingEnd::Reset);
            return Ok(bytes.len());
        }
        let count = bytes.len().min(self.window);
        if count == 0 {
            return Err(Errno::EAGAIN);
        }
        if self.window != usize::MAX {
            self.window -= count;
        }
        self.outgoing.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn close(&mut self, number: u32) {
        assert!(self.receive.is_none(), "close of socket {number} with a receive armed");
        assert!(self.lasting.is_none(), "close of socket {number} with a send in flight");
        self.open = false;
        let end = if self.incoming.is_empty() { PeerEnd::EndOfFile } else { PeerEnd::Reset };
        self.outgoing_end.get_or_insert(end);
    }
}

impl Network for SimulatedNetwork {
    fn accept(&mut self, token: Token) {
        let pending = self.operations.iter().any(|operation| matches!(operation, Operation::Accept(_)));
        assert!(self.accept.is_none() && !pending, "the accept is armed already");
        self.operations.push(Operation::Accept(token));
    }

    fn stop_accepting(&mut self) {
        self.operations.push(Operation::StopAccepting);
    }

    fn receive(&mut self, socket: &Socket, token: Token) {
        let pending = |operation: &Operation| matches!(operation, Operation::Receive(number, _) if *number == socket.0);
        let pending = self.operations.iter().any(pending);
        assert!(self.open(socket.0).receive.is_none() && !pending, "a receive of socket {} is armed already", socket.0);
        self.operations.push(Operation::Receive(socket.0, token));
    }

    fn bytes(&self, received: &Received) -> &[u8] {
        assert!(self.lent[usize::from(received.buffer)], "buffer {} is not lent", received.buffer);
        &self.buffers[usize::from(received.buffer)][..received.length as usize]
    }

    fn give_back(&mut self, received: Received) {
        let lent = std::mem::replace(&mut self.lent[usize::from(received.buffer)], false);
        assert!(lent, "buffer {} was not lent", received.buffer);
        self.free_buffers.push_back(received.buffer);
    }

    fn append(&mut self, outbox: &mut Outbox, bytes: &[u8]) -> Result<(), OutboxFull> {
        self.outboxes.append(outbox, bytes)
    }

    fn flush(&mut self, socket: &Socket, token: Token, outbox: &mut Outbox) {
        self.open(socket.0);
        assert!(self.completions.is_empty(), "a flush before all completions were handled");
        self.outboxes.settle();
        if let Some(departure) = self.outboxes.depart(outbox) {
            self.counters.sends += 1;
            self.operations.push(Operation::Send(socket.0, token, departure));
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
        self.open(socket.0);
        self.operations.push(Operation::Shutdown(socket.0));
    }

    fn shutdown_write(&mut self, socket: &Socket) {
        self.open(socket.0);
        self.operations.push(Operation::ShutdownWrite(socket.0));
    }

    fn close(&mut self, socket: Socket) {
        let of_socket = |operation: &Operation| match operation {
            Operation::Receive(number, _) | Operation::Send(number, ..) => *number == socket.0,
            _ => false,
        };
        let pending = self.operations.iter().any(of_socket);
        assert!(!pending, "close of socket {} with a receive or send submitted in this turn", socket.0);
        let connection = self.open(socket.0);
        assert!(connection.receive.is_none(), "close of socket {} with a receive armed", socket.0);
        assert!(connection.lasting.is_none(), "close of socket {} with a send in flight", socket.0);
        self.operations.push(Operation::Close(socket.0));
    }

    fn ring_doorbell(&mut self, doorbell: &Doorbell) {
        self.counters.wakes_sent += u64::from(doorbell.must_signal());
    }

    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        assert!(self.completions.is_empty(), "an enter before all completions were handled");
        let kept = self.lent.iter().position(|lent| *lent);
        assert!(kept.is_none(), "an enter while buffer {kept:?} was not given back");
        self.waits.push(wait);
        self.counters.enters += 1;
        self.outboxes.settle();
        let mut failed = false;
        for operation in std::mem::take(&mut self.operations) {
            failed |= self.run(&operation);
        }
        self.outboxes.entered(failed);
        self.run_accept();
        for number in 0..self.connections.len() {
            self.run_lasting_send(number);
            self.run_receive(number);
        }
        for _ in 0..std::mem::take(&mut self.wakes) {
            self.complete(Token::default(), Event::Wake);
        }
        self.multishots_end = false;
        self.reaped = self.completions.len() as u32;
        self.counters.completions += u64::from(self.reaped);
        Ok(())
    }

    fn has_work(&mut self) -> bool {
        true
    }

    /// What was prepared stays so until the next enter: a kernel may be as slow.
    fn submit(&mut self) {}

    fn next(&mut self) -> Option<Completion> {
        let next = self.completions.pop_front();
        if next.is_none() {
            self.outboxes.settle();
        }
        next
    }

    fn reaped(&self) -> u32 {
        self.reaped
    }

    fn counters(&self) -> NetworkCounters {
        self.counters
    }
}

#[cfg(test)]
mod tests;
