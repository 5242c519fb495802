//! What was typed, made whole: who connects from where, how the load is shared, and whether this machine can do it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::arguments::{CloseChoice, Common, ScheduleChoice, Switch};
use crate::audit::Caps;
use crate::exit::Failure;
use crate::health;
use crate::host::Host;
use crate::limits::{
    CLOSED_WINDOW, CONNECT_ATTEMPTS, CONNECT_ATTEMPTS_RESTART, CONNECTIONS_MAX, DEPTH_MAX, DESCRIPTORS_PER_RING_MAX,
    DESCRIPTORS_RESERVED, LIVE_RATE_HEADROOM, RINGS_MAX, THREADS_MAX, TICK_MAX_US, TICK_MIN_US, TICK_US_PER_THREAD,
    TIMEOUT_SECONDS_MAX, WINDOW_MAX,
};
use crate::parse::Users;
use crate::scenario::Scenario;
use crate::schedule::Share;
use crate::sources::Sources;

/// Schedules of the open loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// By the wall clock.
    Wallclock,
    /// From the begin of the load.
    Uniform,
    /// Exponential gaps.
    Poisson {
        /// Of the generator.
        seed: u64,
    },
}

impl Arrivals {
    /// As reports and flags name it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Wallclock => "wallclock",
            Self::Uniform => "uniform",
            Self::Poisson { .. } => "poisson",
        }
    }
}

/// How connections are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connecting {
    /// Begun a second, a thread.
    pub rate: u64,
    /// Between connect and welcome at once, a thread.
    pub concurrency: u32,
    /// For one attempt.
    pub timeout: Duration,
    /// Attempts in a row until a user is given up.
    pub attempts_max: u8,
    /// Whether broken connections are made again.
    pub reconnect: bool,
}

/// Everything a run is, but its stages.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub target: SocketAddr,
    /// Connections of the stage that has the most.
    pub connections: u32,
    /// Who they are.
    pub users: Users,
    /// Local addresses; `None` leaves them to the system.
    pub sources: Option<Sources>,
    /// Threads, no more than connections.
    pub threads: u32,
    /// Connections that one ring holds.
    pub per_ring: u32,
    /// Whether connections are entries of the rings' own tables.
    pub direct: bool,
    /// Intended times.
    pub arrivals: Arrivals,
    /// The highest rate of any stage, in shakes a second; 0 in a closed loop.
    pub rate_max: u64,
    /// Shakes of a connection under way in a closed loop; 0 without one.
    pub depth_max: u32,
    /// For an answer.
    pub timeout: Duration,
    /// Between two turns of a thread.
    pub tick: Duration,
    /// How connections are made.
    pub connecting: Connecting,
    /// Whether users wait as they are told.
    pub obey_retry: bool,
    /// How they end.
    pub close: CloseChoice,
    /// For the audit.
    pub caps: Caps,
    /// The same where it was typed: then it holds for every stage.
    pub tick_typed: Option<Duration>,
    /// For the judgement of the run, where it was typed.
    pub lateness_max: Option<Duration>,
    /// Connections this machine can reach, by ports and descriptors.
    pub reachable: u64,
    /// The highest rate of gifts of any stage, in gifts a second, and the most recipients of one; none without gifts.
    pub gifts_max: Option<(u64, u64)>,
    /// Makes who is given to repeatable.
    pub rng_seed: u64,
}

impl Plan {
    /// Checks what was typed against itself and against the machine.
    pub fn new(
        scenario: &Scenario,
        target: SocketAddr,
        arguments: &Common,
        host: &Host,
        direct: bool,
    ) -> Result<Self, Failure> {
        let behaviour = &arguments.behaviour;
        scenario.check().map_err(|problem| Failure::usage(format!("the scenario `{}`: {problem}", scenario.name)))?;
        let connections = bounded("--connections", scenario.connections_max(), u64::from(CONNECTIONS_MAX))?;
        if behaviour.timeout.is_zero() || behaviour.timeout.as_secs() > TIMEOUT_SECONDS_MAX {
            return Err(Failure::usage(format!("--timeout is above 0 and at most {TIMEOUT_SECONDS_MAX}s")));
        }
        if behaviour.connect_timeout.is_zero() {
            return Err(Failure::usage("--connect-timeout is above 0"));
        }
        let ports_comfortable = (host.ports() * 2 / 5).max(1);
        let sources = arguments.source_addresses.resolve(target.ip(), connections, ports_comfortable);
        if sources.is_some() && target.is_ipv6() {
            return Err(Failure::usage("--source-addresses are IPv4, the target is not; leave them at auto"));
        }
        let per_ring = per_ring(host, direct);
        let threads = threads(arguments, connections, host, per_ring)?;
        let tick = tick(behaviour.tick.or(scenario.tick.map(|tick| tick.0)), threads)?;
        bounded("--connect-concurrency", u64::from(arguments.connect_concurrency), u64::from(CONNECTIONS_MAX))?;
        let depth_max = scenario.depth_max();
        if depth_max > DEPTH_MAX {
            return Err(Failure::usage(format!("--depth is 1 to {DEPTH_MAX}")));
        }
        let reachable = reachable(connections, sources, per_ring, host, direct)?;
        let restarts = scenario.restarts();
        let users = arguments.users.unwrap_or(Users { first: 1, count: u64::from(connections) });
        let gifts_max = scenario.gifts_max();
        if let Some((_, recipients)) = gifts_max.filter(|(_, recipients)| *recipients >= users.count) {
            return Err(Failure::usage(format!(
                "{} users are too few for gifts to {recipients} of them: nobody sends to themselves",
                users.count
            )));
        }
        Ok(Self {
            target,
            connections,
            users,
            sources,
            threads,
            per_ring,
            direct,
            arrivals: match scenario.schedule {
                ScheduleChoice::Wallclock => Arrivals::Wallclock,
                ScheduleChoice::Poisson => Arrivals::Poisson { seed: behaviour.rng_seed },
                ScheduleChoice::Uniform | ScheduleChoice::Closed => Arrivals::Uniform,
            },
            rate_max: scenario.rate_max(),
            depth_max,
            timeout: behaviour.timeout,
            tick,
            connecting: Connecting {
                rate: behaviour.connect_rate.div_ceil(u64::from(threads)),
                concurrency: arguments.connect_concurrency.div_ceil(threads),
                timeout: behaviour.connect_timeout,
                attempts_max: if restarts { CONNECT_ATTEMPTS_RESTART } else { CONNECT_ATTEMPTS },
                reconnect: behaviour.reconnect == Switch::On || restarts,
            },
            obey_retry: behaviour.obey_retry == Switch::On,
            close: arguments.close,
            caps: Caps { per_user: behaviour.cap_per_user, per_sponsor: behaviour.cap_per_sponsor },
            tick_typed: behaviour.tick,
            lateness_max: behaviour.lateness_max,
            reachable,
            gifts_max,
            rng_seed: behaviour.rng_seed,
        })
    }

    /// Between two turns of a thread in a stage that asks for this.
    pub fn tick_of(&self, stage: Option<Duration>) -> Duration {
        self.tick_typed.or(stage).unwrap_or(self.tick)
    }

    /// What a load with such a tick is judged by.
    pub fn bounds(&self, tick: Duration) -> health::Bounds {
        let by_tick = || health::lateness_bound_us(tick.as_micros() as u64);
        health::Bounds { lateness_p99_us_max: self.lateness_max.map_or_else(by_tick, |max| max.as_micros() as u64) }
    }

    /// A thread's part of the connections.
    pub fn share(&self, thread: u32) -> Share {
        Share { thread, threads: self.threads, connections: self.connections }
    }

    /// Rings that a thread needs for its part.
    pub fn rings_of(&self, share: Share) -> u32 {
        share.len().div_ceil(self.per_ring).max(1)
    }

    /// The highest rate that can be asked for while it runs: the windows are made for it.
    pub const fn live_rate_max(&self) -> u64 {
        self.rate_max * LIVE_RATE_HEADROOM
    }

    /// Shakes that a thread may have under way: all that can be sent within a timeout at the highest rate of the plan, or within a shorter
    /// time at a higher one; and a quarter more for bursts.
    pub fn window(&self, share: Share) -> u32 {
        let depth = u64::from(self.depth_max);
        let closed = if depth == 0 {
            0
        } else {
            (CLOSED_WINDOW / u64::from(self.threads)).max(4 * u64::from(share.len()) * depth)
        };
        let of_thread = (self.rate_max * u64::from(share.len())).div_ceil(u64::from(self.connections));
        let in_timeout = (u128::from(of_thread) * self.timeout.as_micros()).div_ceil(1_000_000) as u64;
        let open = in_timeout + in_timeout / 4 + u64::from(share.len()).min(of_thread);
        open.max(closed).clamp(1024, WINDOW_MAX) as u32
    }

    /// Gifts that a thread may have sent without an answer, and opened: all of a timeout at the highest rate, and a half more.
    pub fn gifts_room(&self, share: Share) -> Option<(usize, usize)> {
        let (rate, recipients) = self.gifts_max?;
        let of_thread = (rate * u64::from(share.len())).div_ceil(u64::from(self.connections));
        let sends = (u128::from(of_thread) * self.timeout.as_micros() * 3 / 2).div_ceil(1_000_000) as u64 + 1_024;
        Some((sends as usize, (sends * recipients) as usize))
    }

    /// Bytes that the run's tables take; the kernel's part is about 4 kB a connection besides.
    pub fn memory_bytes(&self) -> u64 {
        let windows: u64 =
            (0..self.threads).map(|thread| 16 * u64::from(self.window(self.share(thread)).next_power_of_two())).sum();
        windows + u64::from(self.connections) * size_of::<crate::user::User>() as u64
    }
}

/// The preflight, for the person at the terminal.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, threads, target, users, tick, .. } = self;
        write!(
            f,
            "{connections} connections to {target} on {threads} thread(s), a turn every {tick:?}, users {users}, from "
        )?;
        match &self.sources {
            Some(sources) => write!(f, "{sources}")?,
            None => write!(f, "the system's choice of address")?,
        }
        write!(
            f,
            "; up to {} reachable by ports and descriptors. Tables: {} MiB",
            self.reachable,
            self.memory_bytes() >> 20
        )
    }
}

fn bounded(name: &str, value: u64, max: u64) -> Result<u32, Failure> {
    if (1..=max).contains(&value) { Ok(value as u32) } else { Err(Failure::usage(format!("{name} is 1 to {max}"))) }
}

/// As typed; otherwise by the number of threads, as very many that all wake every millisecond do little else.
fn tick(typed: Option<Duration>, threads: u32) -> Result<Duration, Failure> {
    let tick = typed.unwrap_or_else(|| {
        Duration::from_micros((u64::from(threads) * TICK_US_PER_THREAD).next_multiple_of(1000))
            .max(Duration::from_millis(1))
    });
    if tick < Duration::from_micros(TICK_MIN_US) || tick > Duration::from_micros(TICK_MAX_US) {
        return Err(Failure::usage("--tick is 10us to 1s"));
    }
    Ok(tick)
}

/// Connections that one ring holds: with direct descriptors its table is bounded by the limit of open files.
fn per_ring(host: &Host, direct: bool) -> u32 {
    let entries = if direct { host.open_files.min(DESCRIPTORS_PER_RING_MAX) } else { u64::from(CONNECTIONS_MAX) };
    entries.max(1) as u32
}

/// As typed; otherwise as many as rings are needed, but no more than cores: a thread drives many rings as well as one.
fn threads(arguments: &Common, connections: u32, host: &Host, per_ring: u32) -> Result<u32, Failure> {
    let threads = arguments.threads.unwrap_or(connections.div_ceil(per_ring).min(host.cores));
    bounded("--threads", u64::from(threads), u64::from(THREADS_MAX.min(connections)))
}

fn reachable(
    connections: u32,
    sources: Option<Sources>,
    per_ring: u32,
    host: &Host,
    direct: bool,
) -> Result<u64, Failure> {
    let addresses = sources.map_or(1, |sources| sources.count());
    let by_ports = u64::from(addresses) * u64::from(host.ports());
    let by_descriptors = if direct {
        u64::from(RINGS_MAX) * u64::from(per_ring)
    } else {
        host.open_files.saturating_sub(DESCRIPTORS_RESERVED)
    };
    let wanted = u64::from(connections);
    if wanted > by_ports {
        return Err(Failure::error(format!(
            "{addresses} source address(es) with the ports {} to {} reach {by_ports} connections: name {} or more --source-addresses, or widen the range: sysctl -w net.ipv4.ip_local_port_range='1024 65535'",
            host.port_low,
            host.port_high,
            wanted.div_ceil(u64::from(host.ports()))
        )));
    }
    if wanted > by_descriptors {
        return Err(Failure::error(format!(
            "plain descriptors reach {by_descriptors} connections: raise the limit of open files (`ulimit -n`, now {}), or use --descriptors direct",
            host.open_files
        )));
    }
    Ok(by_ports.min(by_descriptors))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Command, CommandLine};

    const HOST: Host = Host { cores: 2, open_files: 20_000, port_low: 32_768, port_high: 60_999 };

    fn plan(line: &str, direct: bool) -> Result<Plan, Failure> {
        let words = "hongbao-loadgen run --target 127.0.0.1:1".split(' ').chain(line.split_whitespace());
        let Command::Run(arguments) = CommandLine::try_parse_from(words).unwrap().command else {
            panic!("it says run")
        };
        Plan::new(
            &Scenario::of_flags(arguments.connections, &arguments.load, &arguments.expect)?,
            arguments.target,
            &arguments.common,
            &HOST,
            direct,
        )
    }

    #[test]
    fn one_thread_is_enough_until_its_table_is_full() {
        assert_eq!(plan("--connections 20k --rate 60k", true).unwrap().threads, 1);
        let million = plan("--connections 1M --rate 60k", true).unwrap();
        assert_eq!((million.threads, million.rings_of(million.share(0))), (2, 25), "a thread a core");
        assert_eq!((0..2).map(|thread| u64::from(million.share(thread).len())).sum::<u64>(), 1_000_000);
        assert!(million.sources.unwrap().count() >= 36);
        let many = plan("--connections 1M --rate 60k --threads 50", true).unwrap();
        assert_eq!(many.tick, Duration::from_millis(4), "fifty threads that wake every millisecond do little else");
    }

    #[test]
    fn what_the_machine_cannot_do_is_refused_with_what_to_raise() {
        for (line, direct, word) in [
            ("--connections 20k --rate 1k", false, "ulimit -n"),
            ("--connections 50k --rate 1k --source-addresses 127.1.0.1", true, "ip_local_port_range"),
        ] {
            let failure = plan(line, direct).unwrap_err();
            assert_eq!(failure.exit, crate::exit::Exit::Error);
            assert!(failure.message.contains(word), "{}", failure.message);
        }
    }

    #[test]
    fn what_contradicts_itself_is_a_usage_error() {
        for line in [
            "--connections 10",
            "--connections 0 --rate 1",
            "--connections 10 --rate 1 --schedule closed",
            "--connections 10 --schedule closed --depth 0",
            "--connections 10 --rate 1 --threads 11",
            "--connections 10 --rate 1 --tick 1us",
            "--connections 10 --rate 1 --timeout 3h",
            "--connections 10 --rate 1 --duration 0s",
        ] {
            let failure = plan(line, true).map(|_| ()).expect_err(line);
            assert_eq!(failure.exit, crate::exit::Exit::Usage, "{line}: {}", failure.message);
        }
    }

    #[test]
    fn the_window_holds_all_that_can_be_sent_within_a_timeout() {
        let plan = plan("--connections 18k --rate 60k --timeout 5s", true).unwrap();
        assert!(plan.window(plan.share(0)) >= 300_000);
        assert!(plan.memory_bytes() < 16 << 20, "{} bytes", plan.memory_bytes());
    }
}
