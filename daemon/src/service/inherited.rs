//! Listeners that the daemon was started with: those it gave the service manager to keep, or those of a socket unit.

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

/// The name under which the service manager keeps the daemon's own listeners.
pub(super) const STORED_NAME: &str = "hongbao-set";

/// What was passed, sorted by what is of use.
#[derive(Debug, Default)]
pub struct Inherited {
    /// At the address asked for.
    pub listeners: Vec<TcpListener>,
    /// Whether any of [`Inherited::listeners`] is of a socket unit, which the daemon cannot close.
    pub of_socket_unit: bool,
    /// Listeners elsewhere, as the configured address has changed; closed here.
    pub elsewhere: usize,
}

impl Inherited {
    /// Takes what was passed to this process, once: what this call does not return is closed. Only before other threads run, as it
    /// takes the variables out of the environment.
    ///
    /// Port 0 stands for whatever was passed.
    pub fn take(wanted: SocketAddr) -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let mut found = Self::default();
        for (index, name) in (0..passed.len()).zip(names.split(':').map(Some).chain(std::iter::repeat(None))) {
            let is_stored = name == Some(STORED_NAME);
            match passed.take_tcp_listener(index).and_then(|listener| listener.map(at).transpose()) {
                Ok(Some((listener, address))) if is_at(address, wanted) => {
                    found.of_socket_unit |= !is_stored;
                    found.listeners.push(listener);
                }
                Ok(Some(_)) => found.elsewhere += 1,
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(index, %error, "a descriptor that the service manager passed is no TCP listener: closed");
                    found.elsewhere += 1;
                }
            }
        }
        found
    }
}

fn at(listener: TcpListener) -> std::io::Result<(TcpListener, SocketAddr)> {
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn is_at(address: SocketAddr, wanted: SocketAddr) -> bool {
    address == wanted || (wanted.port() == 0 && address.ip() == wanted.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listener_at_the_address_in_force_is_used_again() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        assert!(is_at(at("127.0.0.1:8866"), at("127.0.0.1:8866")));
        assert!(is_at(at("127.0.0.1:31234"), at("127.0.0.1:0")));
        assert!(!is_at(at("127.0.0.1:8867"), at("127.0.0.1:8866")));
        assert!(!is_at(at("0.0.0.0:8866"), at("127.0.0.1:8866")), "the configuration was narrowed");
    }
}
