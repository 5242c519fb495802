//! Facts and wishes -> findings: the limits of the kernel's TCP. Pure.

use super::judge::round_up;
use super::{Facts, Finding, Wishes};
use crate::exit::Exit;

/// The part of all connections that have bytes under way at one moment: one in so many. A socket without any holds no page.
const UNDER_WAY_ONE_IN: u64 = 10;
/// Connections that one entry of the established hash may hold before looking one up costs: with eight, it was 13 % of the daemon's time.
const CONNECTIONS_PER_HASH_ENTRY: u64 = 2;
/// The longest backlog there is: kernels before 5.4 kept its length in 16 bits.
const BACKLOG_MAX: u64 = 65_535;
/// What listeners are set to: see `ListenOptions`.
const CONGESTION_CONTROL: &str = "reno";

pub(super) fn judge(facts: &Facts, wishes: &Wishes) -> Vec<Finding> {
    vec![
        backlog(facts, wishes),
        syn_backlog(facts, wishes),
        hash(facts, wishes),
        tcp_memory(facts, wishes),
        tracking(facts, wishes),
        congestion(facts),
        ports(facts, wishes),
    ]
}

/// After a restart every client of a SET may come back before the SET runs once.
fn backlog_need(wishes: &Wishes) -> u64 {
    u64::from(wishes.connections_per_set).min(BACKLOG_MAX)
}

fn backlog(facts: &Facts, wishes: &Wishes) -> Finding {
    let need = backlog_need(wishes);
    let finding = Finding::ok("net.core.somaxconn", "clients that wait for a SET", facts.backlog_max, Some(need));
    if facts.backlog_max.is_none_or(|have| have >= need) {
        return finding;
    }
    finding.short(
        "in a wave of connects, as after a restart, those beyond it wait a second or more for their next try",
        format!("sysctl -w net.core.somaxconn={BACKLOG_MAX}"),
    )
}

fn syn_backlog(facts: &Facts, wishes: &Wishes) -> Finding {
    let need = backlog_need(wishes);
    let finding = Finding::ok("net.ipv4.tcp_max_syn_backlog", "handshakes of a SET", facts.syn_backlog_max, Some(need));
    if facts.syn_backlog_max.is_none_or(|have| have >= need) {
        return finding;
    }
    finding.short(
        "in a wave of connects the kernel falls back to SYN cookies, or drops",
        format!("sysctl -w net.ipv4.tcp_max_syn_backlog={BACKLOG_MAX}"),
    )
}

fn hash(facts: &Facts, wishes: &Wishes) -> Finding {
    let need = wishes.ends().div_ceil(CONNECTIONS_PER_HASH_ENTRY);
    let finding =
        Finding::ok("net.ipv4.tcp_ehash_entries", "entries for established ones", facts.hash_entries, Some(need));
    if facts.hash_entries.is_none_or(|have| have >= need) {
        return finding;
    }
    let entries = wishes.ends().next_power_of_two();
    finding.short(
        "each packet's connection is looked up in a long chain: up to an eighth more CPU",
        format!(
            "boot with thash_entries={entries}; or, for a network namespace to be made: sysctl -w \
             net.ipv4.tcp_child_ehash_entries={entries}"
        ),
    )
}

fn tcp_memory(facts: &Facts, wishes: &Wishes) -> Finding {
    let need = wishes.ends() / UNDER_WAY_ONE_IN;
    let pressure = facts.tcp_memory_pages.map(|[_, pressure, _]| pressure);
    let finding = Finding::ok("net.ipv4.tcp_mem", "pages before pressure", pressure, Some(need));
    if pressure.is_none_or(|have| have >= need) {
        return finding.note(format!(
            "a connection at rest holds none; bytes under way hold a page of {} bytes or more",
            facts.page_bytes
        ));
    }
    let (low, pressure, high) = (round_up(need), round_up(need * 4 / 3), round_up(need * 2));
    finding.short(
        "where a tenth of the connections have bytes under way, the kernel shrinks windows, and drops at the highest number",
        format!("sysctl -w net.ipv4.tcp_mem=\"{low} {pressure} {high}\""),
    )
}

fn tracking(facts: &Facts, wishes: &Wishes) -> Finding {
    let tracked = facts.tracked.unwrap_or(0);
    let have = facts.tracked_max.map(|most| most.saturating_sub(tracked));
    let need = wishes.connections;
    let finding = Finding::ok("net.netfilter.nf_conntrack_max", "connections tracked", have, Some(need));
    let Some(free) = have else {
        return Finding { need: None, ..finding }.note("connections are not tracked here");
    };
    if tracked == 0 {
        return finding.note("nothing is tracked here: no rule of the packet filter asks for it");
    }
    if free >= need {
        return finding;
    }
    finding.short(
        "packets of connections beyond it are dropped",
        format!(
            "sysctl -w net.netfilter.nf_conntrack_max={}, or a notrack rule for the daemon's port",
            round_up(tracked + need)
        ),
    )
}

fn congestion(facts: &Facts) -> Finding {
    let finding = Finding::ok("congestion control", "", None, None);
    match &facts.congestion_controls {
        Some(names) if !names.iter().any(|name| name == CONGESTION_CONTROL) => finding.impossible(
            Exit::Unavailable,
            format!(
                "the listeners use the congestion control {CONGESTION_CONTROL}, and this user may choose {} only: add it to \
                 net.ipv4.tcp_allowed_congestion_control",
                names.join(", ")
            ),
        ),
        _ => finding.note(format!("{CONGESTION_CONTROL}: it arms no timer for each connection")),
    }
}

/// Of no weight for the daemon: its clients have ports of their own.
fn ports(facts: &Facts, wishes: &Wishes) -> Finding {
    let have = facts.ports.map(|(first, last)| u64::from(last.saturating_sub(first)) + 1);
    let finding = Finding::ok("net.ipv4.ip_local_port_range", "ports of a client's address", have, None);
    let Some(ports) = have.filter(|_| wishes.loopback) else { return finding };
    let addresses = wishes.connections.div_ceil(ports);
    if addresses <= 1 {
        return finding;
    }
    finding.note(format!(
        "load from this host needs {addresses} addresses of its own for {} connections; fewer with sysctl -w \
         net.ipv4.ip_local_port_range=\"1024 65535\"",
        wishes.connections
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Level;
    use crate::preflight::judge::tests::{level, plenty, wishes};

    #[test]
    fn each_limit_of_the_network_is_ok_short_and_impossible_where_it_should_be() {
        let million = wishes(1_000_000, 52);
        let table: Vec<(Facts, &str, Level)> = vec![
            (Facts { backlog_max: Some(4096), ..plenty() }, "net.core.somaxconn", Level::Short),
            (Facts { backlog_max: Some(20_000), ..plenty() }, "net.core.somaxconn", Level::Ok),
            (Facts { syn_backlog_max: Some(2048), ..plenty() }, "net.ipv4.tcp_max_syn_backlog", Level::Short),
            (Facts { hash_entries: Some(262_144), ..plenty() }, "net.ipv4.tcp_ehash_entries", Level::Short),
            (Facts { hash_entries: Some(524_288), ..plenty() }, "net.ipv4.tcp_ehash_entries", Level::Ok),
            (Facts { hash_entries: None, ..plenty() }, "net.ipv4.tcp_ehash_entries", Level::Ok),
            (Facts { tcp_memory_pages: Some([1, 99_999, 200_000]), ..plenty() }, "net.ipv4.tcp_mem", Level::Short),
            (Facts { tcp_memory_pages: Some([1, 100_000, 200_000]), ..plenty() }, "net.ipv4.tcp_mem", Level::Ok),
            (tracking(5, 262_144), "net.netfilter.nf_conntrack_max", Level::Short),
            (tracking(0, 262_144), "net.netfilter.nf_conntrack_max", Level::Ok),
            (tracking(5, 2_000_000), "net.netfilter.nf_conntrack_max", Level::Ok),
            (
                Facts { congestion_controls: Some(vec!["bbr".to_owned()]), ..plenty() },
                "congestion control",
                Level::Impossible,
            ),
            (Facts { congestion_controls: None, ..plenty() }, "congestion control", Level::Ok),
            (Facts { ports: Some((32_768, 60_999)), ..plenty() }, "net.ipv4.ip_local_port_range", Level::Ok),
        ];
        for (facts, item, expected) in table {
            assert_eq!(level(&facts, &million, item), expected, "{item} on {facts:?}");
        }
    }

    fn tracking(tracked: u64, most: u64) -> Facts {
        Facts { tracked: Some(tracked), tracked_max: Some(most), ..plenty() }
    }

    #[test]
    fn on_loopback_both_ends_count() {
        let facts = Facts { hash_entries: Some(524_288), ..plenty() };
        let loopback = Wishes { loopback: true, ..wishes(1_000_000, 52) };
        assert_eq!(level(&facts, &loopback, "net.ipv4.tcp_ehash_entries"), Level::Short);
        let findings = judge(&plenty(), &loopback);
        let ports = findings.iter().find(|finding| finding.item.ends_with("port_range")).expect("a note");
        assert!(ports.says.contains("16 addresses"), "{}", ports.says);
    }
}
