//! Sockets on their way to the server: made here, handed to the ring.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use nix::libc;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
};

/// A TCP socket for this target, bound to `source` with the port left to the connect.
/// With `reset`, closing it resets the connection instead of leaving its port in waiting.
pub fn open(target: &SocketAddr, source: Option<Ipv4Addr>, reset: bool) -> io::Result<OwnedFd> {
    let family = if target.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let descriptor = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp)?;
    setsockopt(&descriptor, sockopt::TcpNoDelay, &true)?;
    if reset {
        setsockopt(&descriptor, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
    }
    if let Some(address) = source {
        setsockopt(&descriptor, sockopt::IpBindAddressNoPort, &true)?;
        let [a, b, c, d] = address.octets();
        bind(std::os::fd::AsRawFd::as_raw_fd(&descriptor), &SockaddrIn::new(a, b, c, d, 0))?;
    }
    Ok(descriptor)
}
