//! Which local addresses the connections come from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// As typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceChoice {
    /// Loopback targets: as many loopback addresses as are needed. Others: the system chooses.
    Auto,
    /// These.
    Pool(Sources),
}

/// Consecutive IPv4 addresses to bind to, in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    first: u32,
    count: u32,
}

/// The first of the loopback addresses that `auto` takes.
const LOOPBACK_FIRST: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);

/// All that `auto` may take: up to 127.254.255.255.
const LOOPBACK_MAX: u32 = 0x7FFE_FFFF - 0x7F01_0001;

impl Sources {
    /// The address of a connection.
    pub const fn of_connection(&self, connection: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first + connection % self.count)
    }

    /// How many addresses.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// `count` loopback addresses.
    pub fn loopback(count: u32) -> Self {
        Self { first: LOOPBACK_FIRST.to_bits(), count: count.clamp(1, LOOPBACK_MAX) }
    }
}

impl SourceChoice {
    /// The pool for a target; `None` leaves the choice to the system. `ports_comfortable` is how many connections one address
    /// should carry: the kernel's search for a free port grows long where most are taken.
    pub fn resolve(self, target: IpAddr, connections: u32, ports_comfortable: u32) -> Option<Sources> {
        match self {
            Self::Pool(sources) => Some(sources),
            Self::Auto if target.is_loopback() && target.is_ipv4() && connections > ports_comfortable => {
                Some(Sources::loopback(connections.div_ceil(ports_comfortable.max(1))))
            }
            Self::Auto => None,
        }
    }
}

impl FromStr for SourceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = |text: &str| {
            text.parse::<Ipv4Addr>().map(Ipv4Addr::to_bits).map_err(|_| format!("`{text}` is no IPv4 address"))
        };
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let (first, last) = if let Some((first, last)) = text.split_once('-') {
            (address(first)?, address(last)?)
        } else if let Some((first, prefix)) = text.split_once('/') {
            let first = address(first)?;
            let prefix: u32 =
                prefix.parse().ok().filter(|bits| (1..=32).contains(bits)).ok_or("a prefix is 1 to 32 bits")?;
            let host = u32::MAX.checked_shr(prefix).unwrap_or(0);
            // From the address given to the end of its block, the broadcast address left out.
            (first, if host > 1 { (first | host) - 1 } else { first | host })
        } else {
            (address(text)?, address(text)?)
        };
        match last.checked_sub(first) {
            Some(distance) if distance < u32::MAX => Ok(Self::Pool(Sources { first, count: distance + 1 })),
            _ => Err(format!("`{text}` holds no address")),
        }
    }
}

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = Ipv4Addr::from_bits(self.first + self.count - 1);
        if self.count == 1 { last.fmt(f) } else { write!(f, "{}-{last}", self.of_connection(0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(text: &str) -> Sources {
        match text.parse() {
            Ok(SourceChoice::Pool(sources)) => sources,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_block_begins_at_the_address_given_and_leaves_the_broadcast_out() {
        assert_eq!(pool("127.1.0.1/24").to_string(), "127.1.0.1-127.1.0.254");
        assert_eq!(pool("127.1.0.1/24").of_connection(254).to_string(), "127.1.0.1", "addresses are taken in turn");
        assert_eq!(pool("10.0.0.9").to_string(), "10.0.0.9");
        assert_eq!(pool("10.0.0.9/32").count(), 1);
        assert_eq!(pool("10.0.0.9-10.0.1.8").count(), 256);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "x", "1.2.3.4/33", "1.2.3.4/0", "1.2.3.9-1.2.3.4", "0.0.0.0-255.255.255.255", "::1"] {
            assert!(text.parse::<SourceChoice>().is_err(), "{text}");
        }
    }

    #[test]
    fn auto_takes_more_loopback_addresses_only_where_they_are_needed() {
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert_eq!(SourceChoice::Auto.resolve(loopback, 10_000, 12_000), None);
        assert_eq!(SourceChoice::Auto.resolve(loopback, 1_000_000, 12_000).map(|pool| pool.count()), Some(84));
        assert_eq!(SourceChoice::Auto.resolve(IpAddr::from([10, 0, 0, 1]), 1_000_000, 12_000), None);
    }
}
