//! What this host allows, as it is now. The one file of the preflight that reads it; the parsers are pure.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};

/// `CAP_IPC_LOCK` of `capabilities(7)`: its bit.
const CAP_IPC_LOCK: u32 = 14;

/// What the host allows. `None` where it has no such limit, or does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What works of io_uring, or why it does not.
    pub ring: Result<String, String>,
    /// Major and minor version of the kernel.
    pub kernel: (u32, u32),
    /// Open files that this process may have, and entries that a ring's table may.
    pub files_max: u64,
    /// Open files of the machine ...
    pub machine_files: Option<u64>,
    /// ... and how many there may be.
    pub machine_files_max: Option<u64>,
    /// Bytes that this user may lock; `None` without a limit.
    pub memory_lock_bytes: Option<u64>,
    /// Whether that limit does not count for this process.
    pub may_lock_memory: bool,
    /// Every limit of threads that there is.
    pub thread_limits: Vec<ThreadLimit>,
    /// Bytes of memory that can be had without swapping, in this control group.
    pub memory_available_bytes: Option<u64>,
    /// Pages of TCP's buffers: below the first all is well, from the second on there is pressure, at the third the end.
    pub tcp_memory_pages: Option<[u64; 3]>,
    /// Entries of the hash of established connections.
    pub hash_entries: Option<u64>,
    /// Longest queue of connections to be accepted.
    pub backlog_max: Option<u64>,
    /// Longest queue of handshakes.
    pub syn_backlog_max: Option<u64>,
    /// First and last port that a client's connection may start from.
    pub ports: Option<(u16, u16)>,
    /// Connections that the packet filter tracks ...
    pub tracked: Option<u64>,
    /// ... and how many it can.
    pub tracked_max: Option<u64>,
    /// Congestion controls that this user may choose.
    pub congestion_controls: Option<Vec<String>>,
    /// Bytes of a page.
    pub page_bytes: u64,
}

/// One limit of threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadLimit {
    /// What raises it.
    pub raise: &'static str,
    /// Threads that run under it.
    pub used: u64,
    /// Threads that may.
    pub most: u64,
}

impl ThreadLimit {
    /// Threads that may still be started.
    pub fn left(&self) -> u64 {
        self.most.saturating_sub(self.used)
    }
}

impl Facts {
    /// This host, now.
    pub fn look() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let groups = Groups::look();
        let available = memory_available_bytes(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
        let limit = |resource| getrlimit(resource).map_or(u64::MAX, |(_, hard)| hard);
        let memory_lock = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(u64::MAX, |(soft, _)| soft);
        Self {
            ring: hongbao_uring::probe().map(|support| support.to_string()).map_err(|error| error.to_string()),
            kernel: version(&fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default()),
            files_max: limit(Resource::RLIMIT_NOFILE),
            machine_files: numbers("/proc/sys/fs/file-nr").and_then(|numbers| numbers.first().copied()),
            machine_files_max: number("/proc/sys/fs/file-max"),
            memory_lock_bytes: (memory_lock != nix::libc::RLIM_INFINITY).then_some(memory_lock),
            may_lock_memory: has_capability(&status, CAP_IPC_LOCK),
            thread_limits: thread_limits(&groups),
            memory_available_bytes: [available, groups.memory_left()].into_iter().flatten().min(),
            tcp_memory_pages: numbers("/proc/sys/net/ipv4/tcp_mem").and_then(|pages| pages.try_into().ok()),
            hash_entries: hash_entries(&fs::read_to_string("/proc/sys/net/ipv4/tcp_ehash_entries").unwrap_or_default()),
            backlog_max: number("/proc/sys/net/core/somaxconn"),
            syn_backlog_max: number("/proc/sys/net/ipv4/tcp_max_syn_backlog"),
            ports: numbers("/proc/sys/net/ipv4/ip_local_port_range").and_then(|ports| first_and_last(&ports)),
            tracked: number("/proc/sys/net/netfilter/nf_conntrack_count"),
            tracked_max: number("/proc/sys/net/netfilter/nf_conntrack_max"),
            congestion_controls: congestion_controls(nix::unistd::geteuid().is_root()),
            page_bytes: sysconf(SysconfVar::PAGE_SIZE)
                .ok()
                .flatten()
                .and_then(|bytes| u64::try_from(bytes).ok())
                .unwrap_or(4096),
        }
    }
}

fn numbers(path: &str) -> Option<Vec<u64>> {
    let text = fs::read_to_string(path).ok()?;
    text.split_ascii_whitespace().map(|number| number.parse().ok()).collect()
}

fn number(path: &str) -> Option<u64> {
    numbers(path)?.first().copied()
}

fn first_and_last(ports: &[u64]) -> Option<(u16, u16)> {
    let &[first, last] = ports else { return None };
    Some((u16::try_from(first).ok()?, u16::try_from(last).ok()?))
}

/// Major and minor version; 0.0 where there is none.
fn version(release: &str) -> (u32, u32) {
    let mut parts = release.split(|letter: char| !letter.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

fn has_capability(status: &str, bit: u32) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
    set & 1 << bit != 0
}

fn memory_available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// A namespace that shares the first one's hash tells its size as a negative number.
fn hash_entries(text: &str) -> Option<u64> {
    text.trim().parse::<i64>().ok().map(i64::unsigned_abs).filter(|entries| *entries > 0)
}

/// All that there are for root, for others those that are allowed.
fn congestion_controls(is_root: bool) -> Option<Vec<String>> {
    let which = if is_root { "available" } else { "allowed" };
    let text = fs::read_to_string(format!("/proc/sys/net/ipv4/tcp_{which}_congestion_control")).ok()?;
    Some(text.split_ascii_whitespace().map(str::to_owned).collect())
}

fn thread_limits(groups: &Groups) -> Vec<ThreadLimit> {
    let running = fs::read_to_string("/proc/loadavg").ok().and_then(|text| threads_of_machine(&text)).unwrap_or(0);
    let machine = number("/proc/sys/kernel/threads-max").map(|most| ThreadLimit {
        raise: "raise kernel.threads-max with sysctl",
        used: running,
        most,
    });
    let user = getrlimit(Resource::RLIMIT_NPROC).ok().filter(|_| !nix::unistd::geteuid().is_root());
    let user = user.map(|(soft, _)| ThreadLimit {
        raise: "raise LimitNPROC= in the systemd unit, or `ulimit -u` in a shell",
        used: 0,
        most: soft,
    });
    let group = groups.number("pids", "pids.max").map(|most| ThreadLimit {
        raise: "raise TasksMax= in the systemd unit, or pids.max of the control group",
        used: groups.number("pids", "pids.current").unwrap_or(0),
        most,
    });
    [machine, user, group].into_iter().flatten().collect()
}

/// The fourth field of `/proc/loadavg` is the threads that run, and all there are.
fn threads_of_machine(loadavg: &str) -> Option<u64> {
    loadavg.split_ascii_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

/// The control groups that this process is in: one for all, or one for each controller.
struct Groups(String);

impl Groups {
    fn look() -> Self {
        Self(fs::read_to_string("/proc/self/cgroup").unwrap_or_default())
    }

    /// The file of a controller, in either of the two layouts.
    fn path(&self, controller: &str, file: &str) -> Option<String> {
        let lines = || self.0.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        let own = lines().find(|(controllers, _)| controllers.split(',').any(|name| name == controller));
        if let Some((_, group)) = own {
            return Some(format!("/sys/fs/cgroup/{controller}{group}/{file}"));
        }
        lines()
            .find(|(controllers, _)| controllers.is_empty())
            .map(|(_, group)| format!("/sys/fs/cgroup{group}/{file}"))
    }

    /// A number in it; `max` is none.
    fn number(&self, controller: &str, file: &str) -> Option<u64> {
        number(&self.path(controller, file)?)
    }

    /// Bytes that the group may still take. What is in its page cache can be had back.
    fn memory_left(&self) -> Option<u64> {
        let version_2 = self.number("memory", "memory.max").zip(self.number("memory", "memory.current"));
        let version_1 = || {
            let (most, used) = ("memory.limit_in_bytes", "memory.usage_in_bytes");
            self.number("memory", most).zip(self.number("memory", used))
        };
        version_2.or_else(version_1).map(|(most, used)| most.saturating_sub(used))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_understood() {
        assert_eq!(version("6.18.44-fc-v657"), (6, 18));
        assert_eq!(version("5.15.0"), (5, 15));
        assert_eq!(version(""), (0, 0));
        assert!(has_capability("Name:\tx\nCapEff:\t0000000000004000\n", CAP_IPC_LOCK));
        assert!(!has_capability("CapEff:\t00000000ffffbfff\n", CAP_IPC_LOCK));
        assert_eq!(memory_available_bytes("MemTotal: 9 kB\nMemAvailable:   20 kB\n"), Some(20_480));
        assert_eq!(hash_entries("-262144\n"), Some(262_144));
        assert_eq!(hash_entries("0\n"), None);
        assert_eq!(threads_of_machine("0.1 0.2 0.3 2/345 6789\n"), Some(345));
    }

    #[test]
    fn a_control_group_is_found_in_either_layout() {
        let two = Groups("0::/system.slice/hongbaod.service\n".to_owned());
        let path = "/sys/fs/cgroup/system.slice/hongbaod.service/pids.max";
        assert_eq!(two.path("pids", "pids.max").as_deref(), Some(path));
        let one = Groups("9:name=systemd:/\n8:pids:/a\n4:cpu,memory:/b\n0::/\n".to_owned());
        assert_eq!(one.path("pids", "pids.max").as_deref(), Some("/sys/fs/cgroup/pids/a/pids.max"));
        assert_eq!(one.path("memory", "x").as_deref(), Some("/sys/fs/cgroup/memory/b/x"));
        assert_eq!(Groups(String::new()).path("pids", "x"), None);
    }

    #[test]
    fn this_host_tells_its_limits() {
        let facts = Facts::look();
        assert!(facts.ring.is_ok(), "{:?}", facts.ring);
        assert!(facts.files_max > 0 && facts.kernel > (5, 0) && !facts.thread_limits.is_empty(), "{facts:?}");
        assert!(facts.memory_available_bytes.is_some() && facts.backlog_max.is_some(), "{facts:?}");
    }
}
