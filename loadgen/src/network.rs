//! What the load generator asks of the ring layer beyond the trait [`Network`]: connections that it makes itself.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use hongbao_uring::{Network, Ring, Socket, Token};

/// A network that can connect.
pub trait Dial: Network {
    /// Takes a socket over. It is closed where that fails.
    fn adopt(&mut self, descriptor: OwnedFd) -> io::Result<Socket>;
    /// Connects; an [`Event::Connect`](hongbao_uring::Event::Connect) follows.
    fn connect(&mut self, socket: &Socket, target: SocketAddr, token: Token);
    /// Ends the armed receive of a connection: its terminal completion follows.
    fn cancel_receive(&mut self, socket: &Socket);
}

impl Dial for Ring {
    fn adopt(&mut self, descriptor: OwnedFd) -> io::Result<Socket> {
        Self::adopt(self, descriptor)
    }

    fn connect(&mut self, socket: &Socket, target: SocketAddr, token: Token) {
        Self::connect(self, socket, target, token);
    }

    fn cancel_receive(&mut self, socket: &Socket) {
        Self::cancel_receive(self, socket);
    }
}
