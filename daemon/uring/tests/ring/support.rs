//! A server on a real ring, turned by the test's own thread, and the clients' side on plain `std::net`.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use hongbao_uring::{
    Completion, Descriptors, Errno, Event, Generation, ListenOptions, Listener, Network, Outbox, Receive, Received,
    Ring, RingOptions, Sent, Socket, Token, Wait,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Turns within which what a test waits for must happen; each waits 1 ms at most.
pub(crate) const TURNS_MAX: usize = 30_000;

pub(crate) const BOTH: [Descriptors; 2] = [Descriptors::Direct, Descriptors::Plain];

/// What the server does with what it hears.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Echo,
    Keep,
    /// Keep what it says, and the buffers as well, until none is left.
    Hoard,
}

pub(crate) struct Connection {
    pub(crate) socket: Option<Socket>,
    pub(crate) outbox: Outbox,
    pub(crate) heard: Vec<u8>,
    pub(crate) armed: bool,
    pub(crate) rearm: bool,
    /// How the receive ended: `Ok` at the end of file.
    pub(crate) ended: Option<Result<(), Errno>>,
    pub(crate) send_failed: Option<Errno>,
    pub(crate) dirty: bool,
}

pub(crate) struct Server {
    pub(crate) ring: Ring,
    pub(crate) connections: Vec<Connection>,
    pub(crate) answer: Answer,
    pub(crate) accepting: bool,
    pub(crate) accept_error: Option<Errno>,
    pub(crate) hoard: Vec<Received>,
}

pub(crate) fn loopback() -> ListenOptions {
    ListenOptions::at((Ipv4Addr::LOCALHOST, 0).into())
}

pub(crate) fn token(slot: usize) -> Token {
    Token { slot: slot as u32, generation: Generation::new(9) }
}

impl Server {
    pub(crate) fn open(descriptors: Descriptors, answer: Answer) -> Self {
        Self::with(&loopback(), descriptors, answer)
    }

    pub(crate) fn with(options: &ListenOptions, descriptors: Descriptors, answer: Answer) -> Self {
        let listener = Listener::bind(options).expect("a free port");
        Self::over(RingOptions { descriptors, ..RingOptions::listening(200, listener) }, answer)
    }

    pub(crate) fn over(options: RingOptions, answer: Answer) -> Self {
        // A shell's soft limit is 1,024 descriptors, and a ring's table is bounded by it.
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit");
        let mut ring = options.open().expect("io_uring works here");
        ring.accept(token(usize::MAX >> 32));
        Self { ring, connections: Vec::new(), answer, accepting: true, accept_error: None, hoard: Vec::new() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.ring.local_addr().expect("it listens")
    }

    /// A client, accepted.
    pub(crate) fn client(&mut self) -> (TcpStream, usize) {
        let number = self.connections.len();
        let client = TcpStream::connect(self.address()).expect("the listener has room");
        self.turn_until("an accept", |server| server.connections.len() > number);
        (client, number)
    }

    pub(crate) fn append(&mut self, number: usize, bytes: &[u8]) {
        let connection = &mut self.connections[number];
        self.ring.append(&mut connection.outbox, bytes).expect("room in the outbox");
        connection.dirty = true;
    }

    /// Flushes, enters, handles.
    pub(crate) fn turn(&mut self, wait: Wait) {
        for (number, connection) in self.connections.iter_mut().enumerate() {
            let Some(socket) = &connection.socket else { continue };
            if std::mem::take(&mut connection.rearm) {
                self.ring.receive(socket, token(number));
                connection.armed = true;
            }
            if std::mem::take(&mut connection.dirty) {
                self.ring.flush(socket, token(number), &mut connection.outbox);
            }
        }
        self.ring.enter(wait).expect("enter");
        while let Some(completion) = self.ring.next() {
            self.handle(completion);
        }
    }

    pub(crate) fn turn_until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..TURNS_MAX {
            if done(self) {
                return;
            }
            self.turn(Wait::first(1000));
        }
        panic!("{what} did not happen; {:?}", self.ring.counters());
    }

    fn handle(&mut self, completion: Completion) {
        let number = completion.token.slot as usize;
        match completion.event {
            Event::Accept { outcome: Ok(socket), more } => {
                self.ring.receive(&socket, token(self.connections.len()));
                self.connections.push(Connection {
                    socket: Some(socket),
                    outbox: Outbox::default(),
                    heard: Vec::new(),
                    armed: true,
                    rearm: false,
                    ended: None,
                    send_failed: None,
                    dirty: false,
                });
                self.accepting = more;
            }
            Event::Accept { outcome: Err(errno), more } => {
                self.accept_error = Some(errno);
                self.accepting = more;
            }
            Event::Receive { outcome, more } => {
                assert_eq!(completion.token, token(number));
                self.connections[number].armed = more;
                self.receive(number, outcome, more);
            }
            Event::Send { outcome } => {
                let connection = &mut self.connections[number];
                match self.ring.sent(&mut connection.outbox, outcome) {
                    Sent::More => connection.dirty = true,
                    Sent::Failed(errno) => connection.send_failed = Some(errno),
                    Sent::Empty => {}
                }
            }
            Event::Connect { .. } => panic!("this ring does not connect"),
            Event::Wake => panic!("nobody wakes this ring"),
        }
    }

    fn receive(&mut self, number: usize, outcome: Receive, more: bool) {
        let connection = &mut self.connections[number];
        match outcome {
            Receive::Data(received) => {
                let bytes = self.ring.bytes(&received).to_vec();
                match self.answer {
                    Answer::Hoard => self.hoard.push(received),
                    Answer::Echo | Answer::Keep => self.ring.give_back(received),
                }
                connection.rearm = !more;
                match self.answer {
                    Answer::Keep | Answer::Hoard => connection.heard.extend(bytes),
                    Answer::Echo => {
                        self.ring.append(&mut connection.outbox, &bytes).expect("room in the outbox");
                        connection.dirty = true;
                    }
                }
            }
            Receive::NoBuffers => {
                connection.rearm = true;
                self.hoard.drain(..).for_each(|received| self.ring.give_back(received));
            }
            Receive::EndOfFile => connection.ended = Some(Ok(())),
            Receive::Failed(errno) => connection.ended = Some(Err(errno)),
        }
    }

    pub(crate) fn close(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        assert!(!connection.armed && self.ring.is_sent(&connection.outbox));
        self.ring.close(connection.socket.take().expect("open"));
    }

    /// Turns the server until the client has read this many bytes.
    pub(crate) fn read_exactly(&mut self, client: &mut TcpStream, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.turn_until("the client's read", |_| {
            let mut piece = vec![0; (count - bytes.len()).min(4096)];
            match read_now(client, &mut piece) {
                Some(Ok(0)) => panic!("end of file after {} of {count} bytes", bytes.len()),
                Some(Ok(length)) => bytes.extend_from_slice(&piece[..length]),
                Some(Err(error)) => panic!("{error}"),
                None => {}
            }
            bytes.len() == count
        });
        bytes
    }

    /// Turns the server until the client sees the end of the stream; the bytes before it.
    pub(crate) fn read_to_end(&mut self, client: &mut TcpStream) -> (Vec<u8>, std::io::Result<()>) {
        let mut bytes = Vec::new();
        let mut end = None;
        self.turn_until("the end of the stream", |_| {
            let mut piece = [0; 4096];
            match read_now(client, &mut piece) {
                Some(Ok(0)) => end = Some(Ok(())),
                Some(Ok(length)) => bytes.extend_from_slice(&piece[..length]),
                Some(Err(error)) => end = Some(Err(error)),
                None => {}
            }
            end.is_some()
        });
        (bytes, end.expect("seen"))
    }
}

/// A read that does not wait; `None` where there is nothing yet.
pub(crate) fn read_now(client: &mut TcpStream, piece: &mut [u8]) -> Option<std::io::Result<usize>> {
    client.set_nonblocking(true).expect("a socket");
    match client.read(piece) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        outcome => Some(outcome),
    }
}
