//! Listening sockets, with every option that connections inherit from them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{
    KeepAlive, RcvBuf, ReuseAddr, ReusePort, SndBuf, TcpCongestion, TcpNoDelay, TcpUserTimeout,
};
use nix::sys::socket::{
    AddressFamily, Backlog, SetSockOpt, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, getsockname, listen,
    setsockopt, socket,
};

/// How to listen. Connections inherit all of it but the address. As many may wait to be accepted as `net.core.somaxconn` allows.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Where to listen; port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// TCP congestion control. The default is `reno`: every kernel has it and every user may choose it, answers of 48 bytes never
    /// fill a window, and BBR, the default of some hosts, arms a pacing timer for each socket.
    pub congestion: String,
    /// How long sent bytes may stay unacknowledged before the kernel ends the connection, in milliseconds.
    pub user_timeout_ms: u32,
    /// `SO_RCVBUF` in bytes; `None` leaves it to the kernel.
    pub receive_buffer_bytes: Option<NonZeroU32>,
    /// `SO_SNDBUF` in bytes; `None` leaves it to the kernel.
    pub send_buffer_bytes: Option<NonZeroU32>,
}

impl ListenOptions {
    /// The defaults, at `address`.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            congestion: "reno".to_owned(),
            user_timeout_ms: 30_000,
            receive_buffer_bytes: None,
            send_buffer_bytes: None,
        }
    }
}

/// Why it is not possible to listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody listens there.
    #[error("{address} is taken by another process: stop it (`ss -ltnp` names it), or listen elsewhere")]
    Taken {
        /// Where.
        address: SocketAddr,
    },
    /// The address is none of this machine's.
    #[error("{address} is not an address of this machine: listen on one that `ip address` shows, or on 0.0.0.0")]
    NotHere {
        /// Where.
        address: SocketAddr,
    },
    /// Ports below `net.ipv4.ip_unprivileged_port_start` need a privilege.
    #[error("listening on {address} is not permitted: choose a port from 1024 on, or grant CAP_NET_BIND_SERVICE")]
    Forbidden {
        /// Where.
        address: SocketAddr,
    },
    /// The kernel does not have this congestion control, or does not let this user choose it.
    #[error(
        "congestion control {name:?} is not to be had: choose one of net.ipv4.tcp_available_congestion_control \
         (other users than root: of net.ipv4.tcp_allowed_congestion_control)"
    )]
    Congestion {
        /// Its name.
        name: String,
    },
    /// Anything else.
    #[error("listening on {address}: {doing} failed: {errno}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// The step.
        doing: &'static str,
        /// Why.
        errno: Errno,
    },
}

/// A listening socket. Several share one port, and the kernel spreads the connections over them.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    address: SocketAddr,
}

impl Listener {
    /// One listener.
    pub fn bind(options: &ListenOptions) -> Result<Self, ListenError> {
        let address = vacant(options)?;
        Self::share(options, address)
    }

    /// Several at the same address, one for each ring. With port 0 the kernel chooses one port for all.
    pub fn bind_many(options: &ListenOptions, count: usize) -> Result<Vec<Self>, ListenError> {
        let address = vacant(options)?;
        (0..count).map(|_| Self::share(options, address)).collect()
    }

    /// One more beside listeners that this user has at the address already. Others of the address's port are not looked for.
    pub fn share(options: &ListenOptions, address: SocketAddr) -> Result<Self, ListenError> {
        let at = Step(address);
        let socket = at.socket()?;
        at.set("SO_REUSEADDR", &socket, ReuseAddr, &true)?;
        at.set("SO_REUSEPORT", &socket, ReusePort, &true)?;
        set_inherited(at, &socket, options)?;
        at.bind(&socket)?;
        listen(&socket, Backlog::MAXALLOWABLE).map_err(|errno| at.failed("listen", errno))?;
        Ok(Self { address: at.name(&socket)?, socket })
    }

    /// One that somebody else made, with these options from here on: connections in its backlog keep what they have.
    pub fn adopt(socket: TcpListener, options: &ListenOptions) -> Result<Self, ListenError> {
        let at = Step(options.address);
        // A ring does not wait on a socket that says it must not.
        socket.set_nonblocking(false).map_err(|error| at.failed("set_nonblocking", errno_of(&error)))?;
        let socket = OwnedFd::from(socket);
        set_inherited(at, &socket, options)?;
        listen(&socket, Backlog::MAXALLOWABLE).map_err(|errno| at.failed("listen", errno))?;
        Ok(Self { address: at.name(&socket)?, socket })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn raw(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What connections inherit.
fn set_inherited(at: Step, socket: &OwnedFd, options: &ListenOptions) -> Result<(), ListenError> {
    at.set("TCP_NODELAY", socket, TcpNoDelay, &true)?;
    at.set("SO_KEEPALIVE", socket, KeepAlive, &false)?;
    at.set("TCP_USER_TIMEOUT", socket, TcpUserTimeout, &options.user_timeout_ms)?;
    if let Some(bytes) = options.receive_buffer_bytes {
        at.set("SO_RCVBUF", socket, RcvBuf, &(bytes.get() as usize))?;
    }
    if let Some(bytes) = options.send_buffer_bytes {
        at.set("SO_SNDBUF", socket, SndBuf, &(bytes.get() as usize))?;
    }
    setsockopt(socket, TcpCongestion, &options.congestion.clone().into())
        .map_err(|_| ListenError::Congestion { name: options.congestion.clone() })
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}

/// The address with its port, where nobody listens there. Listeners that share a port would join those of another daemon without
/// a word; so first a socket that shares nothing is bound, and closed again.
fn vacant(options: &ListenOptions) -> Result<SocketAddr, ListenError> {
    let at = Step(options.address);
    let socket = at.socket()?;
    at.set("SO_REUSEADDR", &socket, ReuseAddr, &true)?;
    at.bind(&socket)?;
    at.name(&socket)
}

/// Steps on the way to a listener at an address.
#[derive(Clone, Copy)]
struct Step(SocketAddr);

impl Step {
    fn failed(self, doing: &'static str, errno: Errno) -> ListenError {
        let address = self.0;
        match errno {
            Errno::EADDRINUSE => ListenError::Taken { address },
            Errno::EADDRNOTAVAIL => ListenError::NotHere { address },
            Errno::EACCES | Errno::EPERM => ListenError::Forbidden { address },
            errno => ListenError::Other { address, doing, errno },
        }
    }

    fn socket(self) -> Result<OwnedFd, ListenError> {
        let family = if self.0.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp)
            .map_err(|errno| self.failed("socket", errno))
    }

    fn set<O: SetSockOpt>(
        self,
        name: &'static str,
        socket: &OwnedFd,
        option: O,
        value: &O::Val,
    ) -> Result<(), ListenError> {
        setsockopt(socket, option, value).map_err(|errno| self.failed(name, errno))
    }

    fn bind(self, socket: &OwnedFd) -> Result<(), ListenError> {
        bind(socket.as_raw_fd(), &SockaddrStorage::from(self.0)).map_err(|errno| self.failed("bind", errno))
    }

    fn name(self, socket: &OwnedFd) -> Result<SocketAddr, ListenError> {
        let name: SockaddrStorage =
            getsockname(socket.as_raw_fd()).map_err(|errno| self.failed("getsockname", errno))?;
        let v4 = name.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
        let v6 = name.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into()));
        v4.or(v6).ok_or_else(|| self.failed("getsockname", Errno::EAFNOSUPPORT))
    }
}

impl From<ListenError> for io::Error {
    fn from(error: ListenError) -> Self {
        let kind = match &error {
            ListenError::Taken { .. } => io::ErrorKind::AddrInUse,
            ListenError::NotHere { .. } => io::ErrorKind::AddrNotAvailable,
            ListenError::Forbidden { .. } => io::ErrorKind::PermissionDenied,
            ListenError::Congestion { .. } => io::ErrorKind::Unsupported,
            ListenError::Other { errno, .. } => io::Error::from(*errno).kind(),
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use nix::sys::socket::getsockopt;

    use super::*;
    use crate::{Completion, Descriptors, Event, Network, RingOptions, Token, Wait};

    fn anywhere() -> ListenOptions {
        ListenOptions::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    #[test]
    fn a_port_that_others_listen_on_is_told_apart_even_when_they_would_share_it() {
        let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let taken = ListenOptions { address: other.local_addr().expect("bound"), ..anywhere() };
        assert!(matches!(Listener::bind(&taken), Err(ListenError::Taken { .. })));
        let sharing = Listener::bind(&anywhere()).expect("a free port");
        let taken = ListenOptions { address: sharing.local_addr(), ..anywhere() };
        let error = Listener::bind(&taken).expect_err("taken");
        assert!(error.to_string().contains("stop it"), "{error}");
    }

    #[test]
    fn many_listeners_share_one_port_that_the_kernel_chose() {
        let listeners = Listener::bind_many(&anywhere(), 3).expect("a free port");
        assert_ne!(listeners[0].local_addr().port(), 0);
        assert!(listeners.iter().all(|listener| listener.local_addr() == listeners[0].local_addr()));
    }

    #[test]
    fn one_that_was_handed_over_takes_the_options_and_others_may_join_it() {
        let first = Listener::bind(&anywhere()).expect("a free port");
        let address = first.local_addr();
        let passed = TcpListener::from(first.socket);
        passed.set_nonblocking(true).expect("a socket");
        let options = ListenOptions { user_timeout_ms: 4321, ..ListenOptions::at(address) };
        let adopted = Listener::adopt(passed, &options).expect("it listens");
        assert_eq!(getsockopt(&adopted.socket, TcpUserTimeout), Ok(4321));
        let joined = Listener::share(&options, address).expect("it may share");
        assert_eq!((adopted.local_addr(), joined.local_addr()), (address, address));
    }

    #[test]
    fn each_other_refusal_says_what_to_do() {
        let elsewhere = ListenOptions { address: "192.0.2.1:1".parse().expect("an address"), ..anywhere() };
        assert!(matches!(Listener::bind(&elsewhere), Err(ListenError::NotHere { .. })));
        let unknown = ListenOptions { congestion: "snail".to_owned(), ..anywhere() };
        let error = Listener::bind(&unknown).expect_err("no such congestion control");
        assert!(error.to_string().contains("tcp_available_congestion_control"), "{error}");
    }

    #[test]
    fn connections_inherit_every_option_of_their_listener() {
        let options = ListenOptions {
            user_timeout_ms: 12_345,
            receive_buffer_bytes: NonZeroU32::new(20_000),
            send_buffer_bytes: NonZeroU32::new(30_000),
            ..anywhere()
        };
        let listener = Listener::bind(&options).expect("a free port");
        let address = listener.local_addr();
        let ring = RingOptions { descriptors: Descriptors::Plain, ..RingOptions::listening(4, listener) };
        let mut ring = ring.open().expect("io_uring works here");
        ring.accept(Token::default());
        let _client = TcpStream::connect(address).expect("the backlog takes it");
        ring.enter(Wait::first(1_000_000)).expect("enter");
        let Some(Completion { event: Event::Accept { outcome: Ok(socket), .. }, .. }) = ring.next() else {
            panic!("not accepted");
        };
        // SAFETY: the ring keeps the descriptor open until it is dropped.
        let socket = unsafe { BorrowedFd::borrow_raw(socket.0.cast_signed()) };
        assert_eq!(getsockopt(&socket, TcpNoDelay), Ok(true));
        assert_eq!(getsockopt(&socket, KeepAlive), Ok(false));
        assert_eq!(getsockopt(&socket, TcpUserTimeout), Ok(12_345));
        let congestion = getsockopt(&socket, TcpCongestion).expect("TCP");
        assert_eq!(congestion.to_string_lossy().trim_end_matches('\0'), "reno");
        // The kernel doubles what is asked for, to have room for its own.
        assert_eq!(getsockopt(&socket, RcvBuf), Ok(40_000));
        assert_eq!(getsockopt(&socket, SndBuf), Ok(60_000));
    }
}
