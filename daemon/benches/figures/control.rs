//! The control: the least server that answers the same frames, on epoll, one thread. No stock, no ledger, no deadlines, no limits, no
//! metrics: whatever hongbaod costs more than this must be won back by the ring.
//!
//! It does what a careful epoll server does: level-triggered, 1,024 events a wait, one read and one write a readable connection, all
//! frames of a read answered by the one write.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::{SystemTime, UNIX_EPOCH};

use hongbao_protocol::wire::{ClientFrame, Decoded, ServerFrame, VERSION};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{self, MsgFlags, sockopt};

/// Listens on a free port of loopback, prints the address, and serves until it is killed.
pub(crate) fn serve() {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    // std listens with a backlog of 128 or more; a ramp of thousands wants what the daemon has.
    socket::listen(&listener, socket::Backlog::new(4096).expect("a valid backlog")).expect("listens");
    socket::setsockopt(&listener, sockopt::TcpNoDelay, &true).expect("inherited by what is accepted");
    socket::setsockopt(&listener, sockopt::TcpCongestion, &"reno".into()).expect("as the daemon's");
    listener.set_nonblocking(true).expect("non-blocking");
    println!("{}", listener.local_addr().expect("an address"));

    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("epoll");
    let listener_key = listener.as_raw_fd() as u64;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, listener_key)).expect("added");
    let mut connections: Vec<Option<OwnedFd>> = Vec::new();
    let mut events = vec![EpollEvent::empty(); 1024];
    let mut buffers = Buffers { input: [0; 4096], output: [0; 8192] };
    loop {
        let ready = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => continue,
            Err(error) => panic!("epoll_wait: {error}"),
        };
        for event in &events[..ready] {
            if event.data() == listener_key {
                accept_all(&listener, &epoll, &mut connections);
            } else if !answer(event.data() as RawFd, &connections, &mut buffers) {
                connections[event.data() as usize] = None;
            }
        }
    }
}

/// Room for one read, and for the answers to every frame in it.
struct Buffers {
    input: [u8; 4096],
    output: [u8; 8192],
}

fn accept_all(listener: &TcpListener, epoll: &Epoll, connections: &mut Vec<Option<OwnedFd>>) {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true).expect("non-blocking");
        let descriptor = OwnedFd::from(stream);
        let place = descriptor.as_raw_fd() as usize;
        if connections.len() <= place {
            connections.resize_with(place + 1, || None);
        }
        epoll.add(&descriptor, EpollEvent::new(EpollFlags::EPOLLIN, place as u64)).expect("added");
        connections[place] = Some(descriptor);
    }
}

/// Reads once, answers every whole frame by one write. False where the connection is to be closed. A frame cut by a read is an
/// error here: the load generator never makes one on loopback.
fn answer(descriptor: RawFd, connections: &[Option<OwnedFd>], buffers: &mut Buffers) -> bool {
    let Some(connection) = &connections[descriptor as usize] else { return true };
    let Buffers { input, output } = buffers;
    let length = match nix::unistd::read(connection.as_fd(), input) {
        Ok(0) => return false,
        Ok(length) => length,
        Err(Errno::EAGAIN) => return true,
        Err(_) => return false,
    };
    let mut filled = 0;
    let mut bytes = &input[..length];
    while let Ok(Decoded::Frame(frame, taken)) = ClientFrame::decode(bytes) {
        bytes = &bytes[taken..];
        let encoded = answer_to(&frame).encode();
        let encoded = encoded.as_bytes();
        output[filled..filled + encoded.len()].copy_from_slice(encoded);
        filled += encoded.len();
    }
    bytes.is_empty() && socket::send(descriptor, &output[..filled], MsgFlags::MSG_NOSIGNAL) == Ok(filled)
}

fn answer_to(frame: &ClientFrame) -> ServerFrame {
    match *frame {
        ClientFrame::Hello { .. } => ServerFrame::Welcome {
            version: VERSION,
            earlier_wins_shown: 0,
            earlier_wins: 0,
            shake_interval_ms: 0,
            idle_timeout_ms: 120_000,
            server_time_us: now_us(),
        },
        ClientFrame::Shake { sequence } => ServerFrame::None { sequence, retry_after_ms: 0 },
        ClientFrame::Ping { nonce } => ServerFrame::Pong { nonce, server_time_us: now_us() },
        gift => unreachable!("the load sends no {gift:?}"),
    }
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64
}
