//! What the kernel counts: packets of the interfaces, TCP segments, and this process's own use. Parsers are pure.

use std::fs;
use std::path::Path;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::statvfs::statvfs;

use crate::limits;

/// Traffic of one interface since it came up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) bytes_in: u64,
    pub(super) packets_in: u64,
    pub(super) bytes_out: u64,
    pub(super) packets_out: u64,
}

/// All interfaces of this network namespace. One small file holds the same counters as `rtnl_link_stats64` over netlink (the
/// kernel fills both from `dev_get_stats`), and needs no socket and no permission.
pub(super) fn interfaces() -> Vec<Interface> {
    parse_interfaces(&fs::read_to_string("/proc/self/net/dev").unwrap_or_default())
}

fn parse_interfaces(text: &str) -> Vec<Interface> {
    let line = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers.split_ascii_whitespace().map_while(|number| number.parse().ok()).collect();
        let &[bytes_in, packets_in, _, _, _, _, _, _, bytes_out, packets_out, ..] = numbers.as_slice() else {
            return None;
        };
        Some(Interface { name: name.trim().to_owned(), bytes_in, packets_in, bytes_out, packets_out })
    };
    text.lines().filter_map(line).take(limits::INTERFACES_MAX).collect()
}

/// TCP segments of this network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TcpSegments {
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) retransmitted: u64,
}

pub(super) fn tcp_segments() -> TcpSegments {
    parse_tcp_segments(&fs::read_to_string("/proc/self/net/snmp").unwrap_or_default()).unwrap_or_default()
}

/// Two lines start with `Tcp:`: the names, then the values.
fn parse_tcp_segments(text: &str) -> Option<TcpSegments> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let value_of = |wanted| {
        let mut pairs = names.split_ascii_whitespace().zip(values.split_ascii_whitespace());
        pairs.find(|(name, _)| *name == wanted).and_then(|(_, value)| value.parse().ok())
    };
    Some(TcpSegments {
        received: value_of("InSegs")?,
        sent: value_of("OutSegs")?,
        retransmitted: value_of("RetransSegs")?,
    })
}

/// A file system's room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) free_bytes: u64,
    pub(super) size_bytes: u64,
}

/// That of the file system which holds this folder; nothing where it cannot be asked.
pub(super) fn space(folder: &Path) -> Space {
    statvfs(folder).map_or_else(
        |_| Space::default(),
        |found| Space {
            free_bytes: found.blocks_available() * found.fragment_size(),
            size_bytes: found.blocks() * found.fragment_size(),
        },
    )
}

/// What this process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) threads: u64,
    pub(super) open_files: u64,
    pub(super) files_max: u64,
}

/// Reads it. Not the `metrics-process` crate: that lists `/proc/self/fd` to count it, which takes a good part of a second with a
/// million connections, on the thread that deals envelopes; and its CPU time is in whole seconds.
pub(super) fn process() -> Process {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let cpu_seconds = getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| {
        let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        seconds(usage.user_time()) + seconds(usage.system_time())
    });
    Process {
        cpu_seconds,
        resident_bytes: status_field(&status, "VmRSS:") * 1024,
        virtual_bytes: status_field(&status, "VmSize:") * 1024,
        threads: status_field(&status, "Threads:"),
        // Since Linux 6.2 the size of this folder is its number of entries; before, it is 0.
        open_files: fs::metadata("/proc/self/fd").map_or(0, |folder| folder.len()),
        files_max: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
    }
}

/// The number after a field's name in `/proc/self/status`.
fn status_field(status: &str, field: &str) -> u64 {
    let rest = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    rest.split_ascii_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_stick_to_their_numbers_even_without_a_space() {
        let text = "Inter-|   Receive                          |  Transmit\n face |bytes    packets errs\n\
                    lo: 10 2 0 0 0 0 0 0 30 4 0 0 0 0 0 0\n  eth0.7:18446744073709551615 2 0 0 0 0 0 0 5 6 0 0 0 0 0 0\n\
                    broken: 1 2\n";
        let found = parse_interfaces(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].name.as_str(), found[0].packets_in, found[0].packets_out), ("lo", 2, 4));
        assert_eq!((found[1].name.as_str(), found[1].bytes_in, found[1].bytes_out), ("eth0.7", u64::MAX, 5));
    }

    #[test]
    fn segments_are_found_by_name_not_by_place() {
        let text =
            "Ip: Forwarding\nIp: 1\nTcp: MaxConn OutSegs InSegs RetransSegs New\nTcp: -1 5 6 7 8\nUdp: InDatagrams\n";
        assert_eq!(parse_tcp_segments(text), Some(TcpSegments { received: 6, sent: 5, retransmitted: 7 }));
        assert_eq!(parse_tcp_segments("Tcp: A\n"), None);
        assert_eq!(parse_tcp_segments(""), None);
    }

    #[test]
    fn a_folder_is_on_a_file_system_of_some_size() {
        let here = space(Path::new("/"));
        assert!(here.size_bytes > 0 && here.free_bytes <= here.size_bytes, "{here:?}");
        assert_eq!(space(Path::new("/no/such/folder")), Space::default());
    }

    #[test]
    fn this_process_uses_something() {
        let process = process();
        assert!(process.resident_bytes > 0 && process.virtual_bytes >= process.resident_bytes, "{process:?}");
        assert!(process.threads > 0 && process.files_max > 0, "{process:?}");
        assert!(interfaces().iter().any(|interface| interface.name == "lo"));
    }
}
