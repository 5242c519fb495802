//! What this machine allows, as far as a run depends on it.

use std::fs;
use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The limits that decide how many connections can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Open files of a process, and entries of a ring's own table.
    pub open_files: u64,
    /// First local port for outgoing connections.
    pub port_low: u16,
    /// Last one.
    pub port_high: u16,
}

impl Host {
    /// Raises the soft limit of open files to the hard one and reads the limits.
    pub fn prepare() -> io::Result<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        let (port_low, port_high) = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
            .ok()
            .and_then(|text| parse_range(&text))
            // What Linux has where nobody changed it; /proc may be hidden.
            .unwrap_or((32_768, 60_999));
        Ok(Self { open_files: hard, port_low, port_high })
    }

    /// Local ports of one address.
    pub const fn ports(&self) -> u32 {
        self.port_high as u32 - self.port_low as u32 + 1
    }
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let mut words = text.split_whitespace().map(str::parse);
    match (words.next()?, words.next()?) {
        (Ok(low), Ok(high)) if low <= high => Some((low, high)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_range_is_read_as_the_kernel_writes_it() {
        assert_eq!(parse_range("32768\t60999\n"), Some((32_768, 60_999)));
        assert_eq!(parse_range("60999 32768"), None);
        assert_eq!(parse_range(""), None);
    }
}
