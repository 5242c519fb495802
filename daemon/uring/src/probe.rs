//! Whether io_uring works here and how well, found out by trying. Version strings lie: distributions port features back, and
//! profiles take them away.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;

use io_uring::opcode;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use crate::core::{RingCore, errno_of};
use crate::driver::{Completion, Event, Network, Receive};
use crate::set_up::{Features, Sizes};
use crate::{Descriptors, Outbox, Ring, RingError, RingOptions, Setting, Token, Unavailable, Wait};

/// Enters within which what is tried must show. Each waits a millisecond at most.
const ENTERS_MAX: u32 = 100;

/// What works here.
#[derive(Clone, Debug)]
pub struct Support {
    /// The machine.
    pub setting: Setting,
    /// The set-up flags and the kind of wait.
    pub ring: Features,
    /// Whether direct descriptors are released out of order, so that they can be used (6.13).
    pub direct_descriptors: bool,
}

impl fmt::Display for Support {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let descriptors = if self.direct_descriptors { "direct" } else { "plain" };
        write!(f, "io_uring on kernel {}: {descriptors} descriptors, {}", self.setting.kernel, self.ring)
    }
}

/// Tries all that this crate needs on a pair of sockets. Some hundred microseconds.
pub fn probe() -> Result<Support, Unavailable> {
    let core = RingCore::open(Sizes { submissions: 32, completions: 128 }, 32)?;
    require_operations(&core)?;
    let ring = core.features();
    drop(core);
    try_receive_and_send_at_once()?;
    Ok(Support { setting: Setting::read(), ring, direct_descriptors: releases_out_of_order() })
}

fn require_operations(core: &RingCore) -> Result<(), Unavailable> {
    let mut known = io_uring::Probe::new();
    core.submitter()
        .register_probe(&mut known)
        .map_err(|error| Unavailable::refused("IORING_REGISTER_PROBE", errno_of(&error)))?;
    let needed = [
        (opcode::AcceptMulti::CODE, "IORING_OP_ACCEPT"),
        (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD"),
        (opcode::PollRemove::CODE, "IORING_OP_POLL_REMOVE"),
        (opcode::Recv::CODE, "IORING_OP_RECV"),
        (opcode::Send::CODE, "IORING_OP_SEND"),
        (opcode::SendMsg::CODE, "IORING_OP_SENDMSG"),
        (opcode::Connect::CODE, "IORING_OP_CONNECT"),
        (opcode::Shutdown::CODE, "IORING_OP_SHUTDOWN"),
        (opcode::Close::CODE, "IORING_OP_CLOSE"),
        (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL"),
        (opcode::MsgRingData::CODE, "IORING_OP_MSG_RING"),
        (opcode::Write::CODE, "IORING_OP_WRITE"),
        (opcode::Fsync::CODE, "IORING_OP_FSYNC"),
    ];
    match needed.iter().find(|(code, _)| !known.is_supported(*code)) {
        Some((_, name)) => Err(Unavailable::missing(name)),
        None => Ok(()),
    }
}

/// A connected pair.
fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
}

fn small_ring(descriptors: Descriptors) -> Result<Ring, RingError> {
    RingOptions { descriptors, ..RingOptions::connecting(4) }.open()
}

fn try_receive_and_send_at_once() -> Result<(), Unavailable> {
    let failed = |doing| move |errno| Unavailable::refused(doing, errno);
    let mut ring = match small_ring(Descriptors::Plain) {
        Ok(ring) => ring,
        Err(RingError::Unavailable(unavailable)) => return Err(unavailable),
        Err(_) => return Err(Unavailable::refused("a ring of 4 connections", Errno::ENOMEM)),
    };
    let (ours, theirs) = pair().map_err(failed("socketpair"))?;
    let socket = ring.adopt(ours).map_err(|error| failed("socketpair")(errno_of(&error)))?;
    let token = Token::default();
    ring.receive(&socket, token);
    for _ in 0..2 {
        send(theirs.as_raw_fd(), b"probe", MsgFlags::MSG_NOSIGNAL).map_err(failed("send"))?;
        if !is_echoed(&mut ring).map_err(|error| failed("io_uring_enter")(errno_of(&error)))? {
            return Err(Unavailable::missing("multishot poll, or reads into provided buffers"));
        }
    }
    let mut outbox = Outbox::default();
    assert_eq!(ring.append(&mut outbox, b"probe"), Ok(()), "a pool that was just made has room");
    ring.flush(&socket, token, &mut outbox);
    ring.enter(Wait::NOT).map_err(|error| failed("io_uring_enter")(errno_of(&error)))?;
    let silent = ring.next().is_none();
    let mut bytes = [0; 8];
    let arrived = recv(theirs.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT);
    if silent && arrived == Ok(5) { Ok(()) } else { Err(Unavailable::missing("a send that ends within the enter")) }
}

/// Whether the armed receive delivers, and stays armed.
fn is_echoed(ring: &mut Ring) -> io::Result<bool> {
    for _ in 0..ENTERS_MAX {
        ring.enter(Wait::first(1000))?;
        if let Some(Completion { event: Event::Receive { outcome: Receive::Data(received), more }, .. }) = ring.next() {
            let delivered = ring.bytes(&received) == b"probe";
            ring.give_back(received);
            return Ok(delivered && more);
        }
    }
    Ok(false)
}

/// Whether a direct descriptor is released while an older operation on another one is in flight. Up to Linux 6.12 it is not:
/// one idle connection would hold back the end of all later ones. Found out once a process.
pub(crate) fn releases_out_of_order() -> bool {
    static RELEASES: OnceLock<bool> = OnceLock::new();
    *RELEASES.get_or_init(|| try_release_out_of_order().unwrap_or(false))
}

fn try_release_out_of_order() -> Option<bool> {
    let mut ring = small_ring(Descriptors::Direct).ok()?;
    let (idle, _idle_peer) = pair().ok()?;
    let (closed, closed_peer) = pair().ok()?;
    let idle = ring.adopt(idle).ok()?;
    let closed = ring.adopt(closed).ok()?;
    ring.receive(&idle, Token::default());
    ring.enter(Wait::NOT).ok()?;
    ring.next();
    ring.close(closed);
    for _ in 0..ENTERS_MAX / 10 {
        ring.enter(Wait::first(1000)).ok()?;
        ring.next();
        let end = recv(closed_peer.as_raw_fd(), &mut [0; 1], MsgFlags::MSG_DONTWAIT);
        if end == Ok(0) {
            return Some(true);
        }
    }
    Some(false)
}
