//! What this machine allows, as far as a run depends on it.

use std::fs;
use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::report::HostReport;

/// The limits that decide how many connections can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Cores this process may run on.
    pub cores: u32,
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
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        Ok(Self { cores, open_files: hard, port_low, port_high })
    }

    /// The machine, for the report.
    pub fn report(&self) -> HostReport {
        let kernel = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
        let memory_kib = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kib(&text, "MemTotal:"));
        HostReport {
            kernel: kernel.unwrap_or_default(),
            cores: self.cores,
            memory_bytes: memory_kib.unwrap_or_default() * 1024,
        }
    }

    /// Most memory that this process ever had resident, in bytes; 0 where the kernel does not tell.
    pub fn resident_bytes_max() -> u64 {
        fs::read_to_string("/proc/self/status").ok().and_then(|text| kib(&text, "VmHWM:")).unwrap_or_default() * 1024
    }

    /// Local ports of one address.
    pub const fn ports(&self) -> u32 {
        self.port_high as u32 - self.port_low as u32 + 1
    }
}

/// The number behind a key of a file of /proc whose lines are `Key: number kB`.
fn kib(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
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
    fn memory_is_read_as_the_kernel_writes_it() {
        assert_eq!(kib("VmPeak:\t 5 kB\nVmHWM:\t  123 kB\n", "VmHWM:"), Some(123));
        assert_eq!(kib("VmHWM:", "VmHWM:"), None);
    }

    #[test]
    fn the_port_range_is_read_as_the_kernel_writes_it() {
        assert_eq!(parse_range("32768\t60999\n"), Some((32_768, 60_999)));
        assert_eq!(parse_range("60999 32768"), None);
        assert_eq!(parse_range(""), None);
    }
}
