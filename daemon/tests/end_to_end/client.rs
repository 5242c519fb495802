//! A client on `std::net` that knows the frames and nothing of the daemon's insides.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use hongbao_protocol::wire::{ClientFrame, Decoded, ServerFrame, VERSION};
use hongbao_protocol::{Envelope, UserId};

use crate::daemon::PATIENCE;

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the daemon listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, received: Vec::new() }
    }

    /// Connects and says hello; also what the daemon shows of earlier wins.
    pub(crate) fn login(address: SocketAddr, user: u64) -> (Self, Vec<Envelope>) {
        let mut client = Self::connect(address);
        client.send(&hello(user));
        let ServerFrame::Welcome { earlier_wins_shown, .. } = client.frame() else { panic!("no welcome") };
        let earlier = (0..earlier_wins_shown)
            .map(|_| match client.frame() {
                ServerFrame::Envelope { envelope, shown_again: true, sequence: 0, .. } => envelope,
                other => panic!("{other:?} among the earlier wins"),
            })
            .collect();
        (client, earlier)
    }

    pub(crate) fn send(&mut self, frame: &ClientFrame) {
        self.write(frame.encode().as_bytes());
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the daemon takes it");
    }

    /// One shake and its answer.
    pub(crate) fn shake(&mut self, sequence: u32) -> ServerFrame {
        self.send(&ClientFrame::Shake { sequence });
        self.frame()
    }

    /// Shakes, with numbers from 1 on, until an envelope comes.
    pub(crate) fn win(&mut self) -> Envelope {
        for sequence in 1..=100_000 {
            match self.shake(sequence) {
                ServerFrame::Envelope { sequence: answered, envelope, shown_again: false, .. } => {
                    assert_eq!(answered, sequence);
                    return envelope;
                }
                ServerFrame::None { sequence: answered, .. } | ServerFrame::SponsorLimit { sequence: answered, .. } => {
                    assert_eq!(answered, sequence);
                }
                other => panic!("{other:?} to a shake"),
            }
        }
        panic!("no win in 100,000 shakes");
    }

    /// The next frame; the connection must be open.
    pub(crate) fn frame(&mut self) -> ServerFrame {
        self.next().expect("the daemon closed the connection")
    }

    /// The next frame; `None` where the daemon has closed.
    pub(crate) fn next(&mut self) -> Option<ServerFrame> {
        loop {
            if let Decoded::Frame(frame, length) = ServerFrame::decode(&self.received).expect("the daemon sends frames")
            {
                self.received.drain(..length);
                return Some(frame);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => {
                    assert!(self.received.is_empty(), "the daemon closed amid a frame");
                    return None;
                }
                Ok(count) => self.received.extend_from_slice(&bytes[..count]),
                // It closed while bytes of ours were unread.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("reading from the daemon: {error}"),
            }
        }
    }

    /// Asserts that nothing but the end of the connection follows.
    pub(crate) fn is_closed(&mut self) {
        let next = self.next();
        assert_eq!(next, None, "a closed connection brings no frame");
    }

    /// Asserts that the daemon still answers here.
    pub(crate) fn is_served(&mut self) {
        self.send(&ClientFrame::Ping { nonce: 0xABCD });
        assert!(matches!(self.frame(), ServerFrame::Pong { nonce: 0xABCD, .. }));
    }
}

pub(crate) fn hello(user: u64) -> ClientFrame {
    ClientFrame::Hello { version_min: VERSION, version_max: VERSION, user: UserId(user) }
}
