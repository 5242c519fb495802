//! Whether a configuration fits the machine it is to run on. Pure: what the machine offers is an argument.

use hongbao_protocol::ServerId;
use nix::sys::resource::{Resource, getrlimit};

use super::{Config, Descriptors, Period, Rate, Shape, Size};
use crate::admin::playbook_problems;
use crate::limits;
use crate::rounds;

/// Descriptors the process needs beside its connections: rings, listeners, journal segments, seed files, scrapes.
pub const LISTENERS_AND_FILES: u32 = 256;

/// What the machine offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Cores that this process may use.
    pub cores: u32,
    /// Hard limit of open files, for the process and for each ring's table.
    pub nofile: u64,
    /// Whether the kernel releases direct descriptors out of order, so that `auto` means direct.
    pub direct_descriptors: bool,
}

impl Host {
    /// This machine.
    pub fn look() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let nofile = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(_, hard)| hard);
        // Where io_uring cannot be had at all, `launch` says so; here it makes no difference.
        let direct_descriptors = hongbao_uring::probe().is_ok_and(|support| support.direct_descriptors);
        Self { cores, nofile, direct_descriptors }
    }
}

/// Connections that the limit of open files leaves to each SET.
pub(super) fn connections_per_set_allowed(host: &Host, descriptors: Descriptors, sets: u32) -> u32 {
    let limit = if is_direct(host, descriptors) {
        // Each ring has a table of its own, of at most a million entries.
        host.nofile.min(limits::DIRECT_DESCRIPTORS_MAX.into()).saturating_sub(limits::REFUSED_AT_ONCE.into())
    } else {
        host.nofile.saturating_sub(LISTENERS_AND_FILES.into()) / u64::from(sets.max(1))
    };
    u32::try_from(limit).unwrap_or(u32::MAX)
}

impl Config {
    /// Whether each ring has a table of its own for its connections.
    pub fn is_direct(&self, host: &Host) -> bool {
        is_direct(host, self.descriptors)
    }
}

fn is_direct(host: &Host, descriptors: Descriptors) -> bool {
    match descriptors {
        Descriptors::Auto => host.direct_descriptors,
        Descriptors::Direct => true,
        Descriptors::Plain => false,
    }
}

/// Everything that is wrong with `config` on any host, each with what to do about it.
pub(super) fn problems(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    let mut check = |good: bool, problem: &dyn Fn() -> String| {
        if !good {
            problems.push(problem());
        }
    };
    check((1..=limits::SETS_MAX).contains(&config.sets), &|| {
        format!("sets is {}: it must be between 1 and {}", config.sets, limits::SETS_MAX)
    });
    check(config.connections_per_set > 0, &|| "connections-per-set is 0: it must be at least 1".to_owned());
    let places = u64::from(config.sets) * u64::from(config.connections_per_set);
    check(config.connections.is_none_or(|connections| connections.0 > 0), &|| {
        "connections is 0: it must be at least 1".to_owned()
    });
    check(config.connections.is_none_or(|connections| u64::from(connections.0) <= places), &|| {
        format!(
            "connections is {}, but {} SETs of {} hold {places}: leave sets or connections-per-set out, and it follows from the others",
            config.connections.map_or(0, |connections| connections.0),
            config.sets,
            config.connections_per_set
        )
    });
    check(config.listen.port() == 0 || config.listen != config.metrics_listen, &|| {
        format!("listen and metrics-listen are both {}: give one of them another port", config.listen)
    });
    check(config.issue_rate != Rate::PerSecond(0) || !config.rounds.is_empty(), &|| {
        "issue-rate is 0/s and there are no rounds: nothing would ever be won; write at least 1/s".to_owned()
    });
    check(config.set_threads.is_none_or(|threads| (1..=limits::SETS_MAX).contains(&threads)), &|| {
        format!("set-threads must be between 1 and {}: leave it out for one a core", limits::SETS_MAX)
    });
    for (name, period, least, most) in [
        ("min-shake-interval", config.min_shake_interval, Period::seconds(0), Period::seconds(3600)),
        ("login-timeout", config.login_timeout, Period::millis(100), Period::millis(limits::DEADLINE_MS_MAX.into())),
        ("idle-timeout", config.idle_timeout, Period::millis(100), Period::millis(limits::DEADLINE_MS_MAX.into())),
        ("latency-budget", config.latency_budget, Period::seconds(0), Period::seconds(1)),
        ("gift-life", config.gift_life, Period::seconds(1), Period::seconds(366 * 24 * 3600)),
        ("drain-timeout", config.drain_timeout, Period::millis(100), Period::seconds(3600)),
    ] {
        check((least..=most).contains(&period), &|| {
            format!("{name} is {period}: it must be between {least} and {most}")
        });
    }
    let (pending, most) = (u64::from(config.gifts_pending.0), limits::GIFTS_PENDING_BOUND);
    check((1..=most).contains(&pending), &|| {
        format!("gifts-pending is {pending}: it must be between 1 and {most}; to send none for a while, pause gifts")
    });
    let segment = config.journal_segment_size;
    let (least, most) = (Size(limits::JOURNAL_SEGMENT_BYTES_MIN), Size(limits::JOURNAL_SEGMENT_BYTES_MAX));
    check((least..=most).contains(&segment) && segment.0.is_multiple_of(4096), &|| {
        format!("journal-segment-size is {segment}: it must be a multiple of 4KiB between {least} and {most}")
    });
    problems.extend(rounds::problems(&config.rounds));
    problems.extend(playbook_problems(&config.playbooks));
    problems
}

/// What is wrong with a configuration that names no campaign: the demo campaign, where `demo` allows it, is of one server on loopback.
pub(super) fn campaign_problems(config: &Config, demo: bool) -> Vec<String> {
    let mut problems = Vec::new();
    if !demo || config.folders.is_some() {
        return problems;
    }
    if !config.listen.ip().is_loopback() {
        problems.push(format!(
            "listen is {} but there is no campaign: name one with --seed-dir DIR and --data-dir DIR (the demo campaign \
             runs on loopback only)",
            config.listen
        ));
    }
    if config.server_id != DEMO_SERVER {
        problems.push(format!(
            "server-id is {} but there is no campaign: name one with --seed-dir DIR and --data-dir DIR",
            config.server_id
        ));
    }
    problems
}

/// The one server of the demo campaign.
const DEMO_SERVER: ServerId = ServerId(1);

/// Why the limit of open files does not allow the connections, and what does; `None` where it does.
pub fn connections_beyond_files(config: &Config, host: &Host) -> Option<String> {
    let allowed = connections_per_set_allowed(host, config.descriptors, config.sets);
    let wanted = config.connections_per_set;
    if wanted <= allowed {
        return None;
    }
    let table_is_full = is_direct(host, config.descriptors) && host.nofile >= u64::from(limits::DIRECT_DESCRIPTORS_MAX);
    let reason = if table_is_full {
        format!("a ring's table holds at most {allowed}")
    } else {
        let plain = if is_direct(host, config.descriptors) { "" } else { " with plain descriptors" };
        format!(
            "the hard limit of open files (RLIMIT_NOFILE) is {}, which leaves {allowed} to each of {} SETs{plain}",
            host.nofile, config.sets
        )
    };
    let all = u64::from(config.sets) * u64::from(wanted);
    let asked = config.connections.map_or(all, |connections| connections.0.into());
    let fitting = u32::try_from(asked).ok().and_then(|all| Shape::fitting(all, host, config.descriptors));
    let shape = fitting.map(|Shape { sets, connections_per_set }| {
        format!("use {sets} SETs of {connections_per_set} (`--connections {asked}` alone works them out)")
    });
    let raise = (!table_is_full).then(|| {
        "raise the limit (LimitNOFILE= in the systemd unit, `ulimit -Hn` in a shell, fs.nr_open above both)".to_owned()
    });
    let ways: Vec<String> = shape.into_iter().chain(raise).collect();
    let ways = if ways.is_empty() { "ask for fewer".to_owned() } else { ways.join(", or ") };
    Some(format!("connections-per-set is {wanted}: {reason}; {ways}"))
}
