//! TCP segments of this network namespace: the packets of the load, as the kernel's TCP counts them. On loopback both ends count.

use std::fs;

/// Segments since the namespace was made, or between two looks at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    /// In.
    pub received: u64,
    /// Out, those sent again included.
    pub sent: u64,
}

impl Segments {
    /// Those since an earlier look.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self { received: self.received.saturating_sub(earlier.received), sent: self.sent.saturating_sub(earlier.sent) }
    }
}

/// Looks at the counters once a second or so: one small file of the kernel, read in some tens of microseconds.
#[derive(Debug, Default)]
pub struct Packets {
    last: Option<Segments>,
}

impl Packets {
    /// The counters now; `None` where the kernel does not show them.
    pub fn sample() -> Option<Segments> {
        parse(&fs::read_to_string("/proc/self/net/snmp").ok()?)
    }

    /// Segments since the last call; none at the first one, and where the kernel does not show them.
    pub fn since_last(&mut self) -> Segments {
        let now = Self::sample();
        let earlier = std::mem::replace(&mut self.last, now);
        now.zip(earlier).map(|(now, earlier)| now.since(earlier)).unwrap_or_default()
    }
}

/// Two lines start with `Tcp:`: the names, then the values. Their order is the kernel's affair.
fn parse(text: &str) -> Option<Segments> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let value_of = |wanted| {
        let mut pairs = names.split_ascii_whitespace().zip(values.split_ascii_whitespace());
        pairs.find(|(name, _)| *name == wanted).and_then(|(_, value)| value.parse().ok())
    };
    Some(Segments { received: value_of("InSegs")?, sent: value_of("OutSegs")? })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn segments_are_found_by_name_not_by_place() {
        let text = "Ip: Forwarding\nIp: 1\nTcp: MaxConn OutSegs InSegs New\nTcp: -1 5 6 8\nUdp: InDatagrams\n";
        assert_eq!(parse(text), Some(Segments { received: 6, sent: 5 }));
        for broken in ["", "Tcp: InSegs OutSegs\n", "Tcp: InSegs\nTcp: 1\n", "Tcp: InSegs OutSegs\nTcp: 1 x\n"] {
            assert_eq!(parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn traffic_of_this_process_is_seen() {
        let mut packets = Packets::default();
        assert_eq!(packets.since_last(), Segments::default(), "there is nothing to compare the first look with");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        one.write_all(b"x").unwrap();
        other.read_exact(&mut [0]).unwrap();
        let seen = packets.since_last();
        assert!(seen.received >= 4 && seen.sent >= 4, "a handshake and a byte: {seen:?}");
    }

    #[test]
    fn counters_that_go_back_are_no_giant_numbers() {
        let (small, large) = (Segments { received: 1, sent: 1 }, Segments { received: 5, sent: 5 });
        assert_eq!(small.since(large), Segments::default());
    }
}
