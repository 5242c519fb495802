//! Facts and wishes -> findings: the limits of the process and of the machine. Those of the network are in `network`. Pure.

use super::memory::{Owner, kernel_bytes, table, total};
use super::network;
use super::{Facts, Finding, Wishes};
use crate::config::{LISTENERS_AND_FILES, SPREAD_DEVIATIONS, places_for};
use crate::exit::Exit;

/// Threads beside the SETs: control, ledger, feeder, and the kernel's workers of these.
const THREADS_BESIDE: u64 = 8;
/// The kernel's workers of one SET's ring, which shut connections down.
const WORKERS_PER_SET: u64 = 2;
/// The first kernel that counts rings against the memory lock limit.
const RINGS_COUNTED_SINCE: (u32, u32) = (6, 14);

/// Every limit, held against the wishes; in the order in which they are met on the way of a connection.
pub fn judge(facts: &Facts, wishes: &Wishes) -> Vec<Finding> {
    let mut findings = vec![
        io_uring(facts),
        connection_descriptors(facts, wishes),
        process_descriptors(facts, wishes),
        machine_files(facts, wishes),
        memory_lock(facts, wishes),
        threads(facts, wishes),
        memory(facts, wishes),
        spread(wishes),
    ];
    findings.extend(network::judge(facts, wishes));
    findings
}

fn io_uring(facts: &Facts) -> Finding {
    let finding = Finding::ok("io_uring", "", None, None);
    match &facts.ring {
        Ok(support) => finding.note(support.clone()),
        Err(reason) => finding.impossible(Exit::Unavailable, reason.clone()),
    }
}

fn connection_descriptors(facts: &Facts, wishes: &Wishes) -> Finding {
    let (unit, have, need) = if wishes.direct {
        ("entries of a ring's own table", facts.files_max.min(1 << 20), u64::from(wishes.ring.table_entries))
    } else {
        let places = u64::from(wishes.sets) * u64::from(wishes.connections_per_set);
        ("open files of the process", facts.files_max, places + u64::from(LISTENERS_AND_FILES))
    };
    let finding = Finding::ok("descriptors", unit, Some(have), Some(need));
    match &wishes.beyond_files {
        Some(reason) => finding.impossible(Exit::Config, reason.clone()),
        // The last entries of a table are for newcomers who are refused: a table that just fits does without.
        None => Finding { need: Some(need.min(have)), ..finding },
    }
}

/// Rings, listeners and files, where connections have tables of their own.
fn process_descriptors(facts: &Facts, wishes: &Wishes) -> Finding {
    let need = 2 * u64::from(wishes.sets) + u64::from(LISTENERS_AND_FILES);
    let finding = Finding::ok("open files", "beside connections", Some(facts.files_max), Some(need));
    if facts.files_max >= need {
        return finding;
    }
    finding.impossible(
        Exit::Config,
        format!(
            "{} SETs need {need} open files for rings, listeners and files, and the hard limit (RLIMIT_NOFILE) is {}: raise it \
             (LimitNOFILE= in the systemd unit, `ulimit -Hn` in a shell), or use fewer SETs",
            wishes.sets, facts.files_max
        ),
    )
}

fn machine_files(facts: &Facts, wishes: &Wishes) -> Finding {
    let need = wishes.ends() + u64::from(LISTENERS_AND_FILES);
    let have = facts.machine_files_max.map(|most| most.saturating_sub(facts.machine_files.unwrap_or(0)));
    let finding = Finding::ok("fs.file-max", "files still free on the machine", have, Some(need));
    if have.is_none_or(|have| have >= need) {
        return finding;
    }
    let most = round_up(facts.machine_files.unwrap_or(0) + need);
    finding.short("accepts beyond it fail with ENFILE", format!("sysctl -w fs.file-max={most}"))
}

fn memory_lock(facts: &Facts, wishes: &Wishes) -> Finding {
    let sets = u64::from(wishes.sets);
    let need = wishes.ring.locked_bytes * sets;
    let finding = Finding::ok("memory lock", "bytes of all rings", facts.memory_lock_bytes, Some(need));
    let Some(have) = facts.memory_lock_bytes else { return finding };
    if facts.kernel < RINGS_COUNTED_SINCE {
        return finding.note("this kernel does not count rings against it");
    }
    if facts.may_lock_memory {
        return finding.note("CAP_IPC_LOCK lifts the limit");
    }
    if have >= need {
        return finding;
    }
    if have < wishes.ring.locked_bytes_min * sets {
        return finding.impossible(
            Exit::Unavailable,
            format!(
                "the memory lock limit (RLIMIT_MEMLOCK) is {have} bytes, and even the smallest rings of {sets} SETs need more: set \
                 LimitMEMLOCK=infinity in the systemd unit, or `ulimit -l unlimited` in a shell"
            ),
        );
    }
    finding.short(
        "the rings of the last SETs become smaller, and their queues overflow under load",
        "LimitMEMLOCK=infinity in the systemd unit, or `ulimit -l unlimited` in a shell",
    )
}

fn threads(facts: &Facts, wishes: &Wishes) -> Finding {
    let least = u64::from(wishes.sets) + THREADS_BESIDE;
    let need = least + WORKERS_PER_SET * u64::from(wishes.sets);
    let Some(tightest) = facts.thread_limits.iter().min_by_key(|limit| limit.left()) else {
        return Finding::ok("threads", "of SETs and their workers", None, Some(need));
    };
    let have = tightest.left();
    let finding = Finding::ok("threads", "of SETs and their workers", Some(have), Some(need));
    let raise = tightest.raise;
    if have < least {
        let says = format!(
            "{} SETs need {least} threads, and {have} may still be started: {raise}, or use fewer SETs",
            wishes.sets
        );
        return finding.impossible(Exit::Unavailable, says);
    }
    if have < need {
        return finding.short("connections may close late, as the kernel's workers shut them down", raise);
    }
    finding
}

fn memory(facts: &Facts, wishes: &Wishes) -> Finding {
    let kinds = table(wishes);
    let clients = if wishes.loopback { wishes.connections * kernel_bytes(wishes.direct) } else { 0 };
    let need = total(&kinds, Owner::Kernel) + total(&kinds, Owner::Daemon) + clients;
    let finding = Finding::ok("memory", "bytes, kernel's and daemon's", facts.memory_available_bytes, Some(need));
    match facts.memory_available_bytes {
        Some(have) if have < need => finding.short(
            format!("the memory ends at about {} connections", wishes.connections.saturating_mul(have) / need.max(1)),
            "add memory, raise the cgroup's limit (MemoryMax= in the systemd unit), or ask for fewer connections",
        ),
        _ if wishes.loopback => finding.note("clients on this host included"),
        _ => finding,
    }
}

fn spread(wishes: &Wishes) -> Finding {
    let connections = u32::try_from(wishes.connections).unwrap_or(u32::MAX);
    let places = u64::from(wishes.sets) * u64::from(wishes.connections_per_set);
    let need = u64::from(places_for(connections, wishes.sets));
    let have = u64::from(wishes.connections_per_set);
    let finding = Finding::ok("spread", "places of a SET", Some(have), Some(need));
    if places == wishes.connections {
        // Nobody said how many are to come: every place is one of them.
        return Finding { need: Some(have), ..finding };
    }
    if have >= need {
        return finding;
    }
    finding.short(
        format!(
            "the kernel's hash fills some SETs before others, by {SPREAD_DEVIATIONS} deviations at most; who finds his SET full is sent \
             away for a while"
        ),
        format!("--connections-per-set {need}, or more --sets"),
    )
}

/// A limit with some room, as people write it: two digits and zeros.
pub(super) fn round_up(value: u64) -> u64 {
    let unit = 10_u64.pow(value.max(1).ilog10().saturating_sub(1));
    value.div_ceil(unit) * unit
}

#[cfg(test)]
pub(super) mod tests {
    use hongbao_uring::Footprint;

    use super::*;
    use crate::preflight::Level;
    use crate::preflight::facts::ThreadLimit;

    /// A host that has enough of everything.
    pub(crate) fn plenty() -> Facts {
        Facts {
            ring: Ok("io_uring works".to_owned()),
            kernel: (6, 18),
            files_max: 2 << 20,
            machine_files: Some(1000),
            machine_files_max: Some(u64::MAX),
            memory_lock_bytes: None,
            may_lock_memory: false,
            thread_limits: vec![ThreadLimit { raise: "raise kernel.threads-max", used: 200, most: 190_000 }],
            memory_available_bytes: Some(64 << 30),
            tcp_memory_pages: Some([1 << 20, 4 << 20, 8 << 20]),
            hash_entries: Some(8 << 20),
            backlog_max: Some(65_535),
            syn_backlog_max: Some(65_535),
            ports: Some((1024, 65_535)),
            tracked: None,
            tracked_max: None,
            congestion_controls: Some(vec!["reno".to_owned()]),
            page_bytes: 4096,
        }
    }

    /// So many connections on so many SETs.
    pub(crate) fn wishes(connections: u32, sets: u32) -> Wishes {
        let connections_per_set = places_for(connections, sets);
        Wishes {
            sets,
            connections_per_set,
            connections: connections.into(),
            asked: true,
            direct: true,
            loopback: false,
            ring: Footprint::of(connections_per_set + 64, 1024, 64),
            beyond_files: None,
        }
    }

    pub(crate) fn level(facts: &Facts, wishes: &Wishes, item: &str) -> Level {
        let findings = judge(facts, wishes);
        let finding = findings.iter().find(|finding| finding.item == item).expect("the item is always told");
        let silent = finding.level == Level::Short && finding.fix.is_none();
        assert!(!silent && (finding.level == Level::Ok || !finding.says.is_empty()), "{finding:?} must say what to do");
        assert_eq!(finding.level == Level::Impossible, finding.exit.is_some(), "{finding:?}");
        finding.level
    }

    #[test]
    fn a_host_with_plenty_is_short_of_nothing() {
        for wishes in [wishes(1_000_000, 2), wishes(1_000_000, 52), wishes(1, 1)] {
            let short: Vec<_> =
                judge(&plenty(), &wishes).into_iter().filter(|finding| finding.level != Level::Ok).collect();
            assert!(short.is_empty(), "{short:?}");
        }
    }

    #[test]
    fn each_limit_of_the_process_is_ok_short_and_impossible_where_it_should_be() {
        let million = wishes(1_000_000, 52);
        let lock = million.ring.locked_bytes * 52;
        let least = million.ring.locked_bytes_min * 52;
        let with_lock = |bytes| Facts { memory_lock_bytes: Some(bytes), ..plenty() };
        let with_threads = |most: u64| Facts {
            thread_limits: vec![
                ThreadLimit { raise: "raise kernel.threads-max", used: 0, most: 190_000 },
                ThreadLimit { raise: "raise TasksMax=", used: 100, most: 100 + most },
            ],
            ..plenty()
        };
        let table: Vec<(Facts, &str, Level)> = vec![
            (Facts { ring: Err("seccomp".to_owned()), ..plenty() }, "io_uring", Level::Impossible),
            (Facts { files_max: 300, ..plenty() }, "open files", Level::Impossible),
            (Facts { files_max: 360, ..plenty() }, "open files", Level::Ok),
            (Facts { machine_files_max: Some(1_001_000), ..plenty() }, "fs.file-max", Level::Short),
            (Facts { machine_files_max: Some(1_002_000), ..plenty() }, "fs.file-max", Level::Ok),
            (Facts { machine_files_max: None, ..plenty() }, "fs.file-max", Level::Ok),
            (with_lock(lock), "memory lock", Level::Ok),
            (with_lock(lock - 1), "memory lock", Level::Short),
            (with_lock(least - 1), "memory lock", Level::Impossible),
            (Facts { may_lock_memory: true, ..with_lock(1) }, "memory lock", Level::Ok),
            (Facts { kernel: (6, 13), ..with_lock(1) }, "memory lock", Level::Ok),
            (with_threads(59), "threads", Level::Impossible),
            (with_threads(60), "threads", Level::Short),
            (with_threads(164), "threads", Level::Ok),
            (Facts { thread_limits: Vec::new(), ..plenty() }, "threads", Level::Ok),
            (Facts { memory_available_bytes: Some(3 << 30), ..plenty() }, "memory", Level::Short),
            (Facts { memory_available_bytes: None, ..plenty() }, "memory", Level::Ok),
        ];
        for (facts, item, expected) in table {
            assert_eq!(level(&facts, &million, item), expected, "{item} on {facts:?}");
        }
    }

    #[test]
    fn connections_beyond_the_open_files_are_refused_with_the_reason_and_as_a_fault_of_the_configuration() {
        let beyond = Wishes { beyond_files: Some("use 52 SETs".to_owned()), ..wishes(1_000_000, 2) };
        assert_eq!(level(&plenty(), &beyond, "descriptors"), Level::Impossible);
        let findings = judge(&plenty(), &beyond);
        assert!(findings.iter().any(|finding| finding.says == "use 52 SETs" && finding.exit == Some(Exit::Config)));
    }

    #[test]
    fn places_without_room_for_an_uneven_spread_are_told() {
        let tight = Wishes { connections_per_set: 19_250, ..wishes(1_000_000, 52) };
        assert_eq!(level(&plenty(), &tight, "spread"), Level::Short);
        assert_eq!(level(&plenty(), &wishes(1_000_000, 52), "spread"), Level::Ok);
        let all = Wishes { connections: 52 * 19_250, ..tight };
        assert_eq!(level(&plenty(), &all, "spread"), Level::Ok, "as many as there are places");
    }

    #[test]
    fn a_limit_is_rounded_up_to_two_digits() {
        assert_eq!([1, 9, 10, 101, 1_234_567, 2_000_000].map(round_up), [1, 9, 10, 110, 1_300_000, 2_000_000]);
    }
}
