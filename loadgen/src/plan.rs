//! What was typed, made whole: who connects from where, how the load is shared, and whether this machine can do it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::arguments::{CloseChoice, RunArguments, ScheduleChoice, Switch};
use crate::audit::Caps;
use crate::exit::Failure;
use crate::health;
use crate::host::Host;
use crate::limits::{
    CLOSED_WINDOW, CONNECTIONS_MAX, DEPTH_MAX, DESCRIPTORS_PER_RING_MAX, DESCRIPTORS_RESERVED, THREADS_MAX,
    TIMEOUT_SECONDS_MAX, WINDOW_MAX,
};
use crate::parse::Users;
use crate::schedule::{Poisson, Rotation, Schedule, Share};
use crate::sources::Sources;

/// The law of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Shakes leave at their intended times, whatever the server does.
    Open {
        /// Shakes a second over all threads.
        rate: u64,
        /// When.
        arrivals: Arrivals,
    },
    /// A connection shakes again when it was answered.
    Closed {
        /// Shakes of a connection under way at once.
        depth: u32,
    },
}

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

/// How connections are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connecting {
    /// Begun a second, a thread.
    pub rate: u64,
    /// Between connect and welcome at once, a thread.
    pub concurrency: u32,
    /// For one attempt.
    pub timeout: Duration,
    /// Whether broken connections are made again.
    pub reconnect: bool,
}

/// Everything a run is.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub target: SocketAddr,
    /// All connections.
    pub connections: u32,
    /// Who they are.
    pub users: Users,
    /// Local addresses; `None` leaves them to the system.
    pub sources: Option<Sources>,
    /// Threads, no more than connections.
    pub threads: u32,
    /// Whether connections are entries of the rings' own tables.
    pub direct: bool,
    /// The load.
    pub load: Load,
    /// Load before the measurement.
    pub warm_up: Duration,
    /// The measurement.
    pub duration: Duration,
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
    /// For the judgement of the run.
    pub bounds: health::Bounds,
    /// Connections this machine can reach, by ports and descriptors.
    pub reachable: u64,
}

impl Plan {
    /// Checks what was typed against itself and against the machine.
    pub fn new(arguments: &RunArguments, host: &Host, direct: bool) -> Result<Self, Failure> {
        let connections = bounded("--connections", arguments.connections, u64::from(CONNECTIONS_MAX))?;
        let tick = arguments.tick;
        if tick < Duration::from_micros(10) || tick > Duration::from_secs(1) {
            return Err(Failure::usage("--tick is 10us to 1s"));
        }
        if arguments.timeout.is_zero() || arguments.timeout.as_secs() > TIMEOUT_SECONDS_MAX {
            return Err(Failure::usage(format!("--timeout is above 0 and at most {TIMEOUT_SECONDS_MAX}s")));
        }
        if arguments.duration.is_zero() || arguments.connect_timeout.is_zero() {
            return Err(Failure::usage("--duration and --connect-timeout are above 0"));
        }
        let ports_comfortable = (host.ports() * 2 / 5).max(1);
        let sources = arguments.source_addresses.resolve(arguments.target.ip(), connections, ports_comfortable);
        if sources.is_some() && arguments.target.is_ipv6() {
            return Err(Failure::usage("--source-addresses are IPv4, the target is not; leave them at auto"));
        }
        let threads = threads(arguments, connections, host, direct)?;
        bounded("--connect-concurrency", u64::from(arguments.connect_concurrency), u64::from(CONNECTIONS_MAX))?;
        let reachable = reachable(connections, sources, threads, host, direct)?;
        let tick_us = tick.as_micros() as u64;
        let lateness_p99_us_max =
            arguments.lateness_max.map_or_else(|| health::lateness_bound_us(tick_us), |max| max.as_micros() as u64);
        Ok(Self {
            target: arguments.target,
            connections,
            users: arguments.users.unwrap_or(Users { first: 1, count: u64::from(connections) }),
            sources,
            threads,
            direct,
            load: load(arguments)?,
            warm_up: arguments.warm_up,
            duration: arguments.duration,
            timeout: arguments.timeout,
            tick,
            connecting: Connecting {
                rate: arguments.connect_rate.div_ceil(u64::from(threads)),
                concurrency: arguments.connect_concurrency.div_ceil(threads),
                timeout: arguments.connect_timeout,
                reconnect: arguments.reconnect == Switch::On,
            },
            obey_retry: arguments.obey_retry == Switch::On,
            close: arguments.close,
            caps: Caps { per_user: arguments.cap_per_user, per_sponsor: arguments.cap_per_sponsor },
            bounds: health::Bounds { lateness_p99_us_max },
            reachable,
        })
    }

    /// A thread's part of the connections.
    pub fn share(&self, thread: u32) -> Share {
        Share { thread, threads: self.threads, connections: self.connections }
    }

    /// A thread's intended times for a load that begins at `begin_unix_ns`; `None` in the closed loop.
    pub fn schedule(&self, share: Share, begin_unix_ns: u64) -> Option<Schedule> {
        let Load::Open { rate, arrivals } = self.load else { return None };
        Some(match arrivals {
            Arrivals::Wallclock => {
                Schedule::Rotation(Rotation::wallclock(share, rate, self.users.first, begin_unix_ns))
            }
            Arrivals::Uniform => Schedule::Rotation(Rotation::uniform(share, rate)),
            Arrivals::Poisson { seed } => Schedule::Poisson(Poisson::new(share, rate, seed)),
        })
    }

    /// Shakes that a thread may have under way: all that can be sent within a timeout, and a quarter more for bursts.
    pub fn window(&self, share: Share) -> u32 {
        let places = match self.load {
            Load::Open { rate, .. } => {
                let of_thread = (rate * u64::from(share.len())).div_ceil(u64::from(self.connections));
                let in_timeout = (u128::from(of_thread) * self.timeout.as_micros()).div_ceil(1_000_000) as u64;
                in_timeout + in_timeout / 4 + u64::from(share.len())
            }
            Load::Closed { depth } => {
                (CLOSED_WINDOW / u64::from(self.threads)).max(4 * u64::from(share.len()) * u64::from(depth))
            }
        };
        places.clamp(1024, WINDOW_MAX) as u32
    }

    /// Milliseconds between two shakes of one connection; `None` in the closed loop.
    pub fn period_ms(&self) -> Option<u64> {
        match self.load {
            Load::Open { rate, .. } => Some(u64::from(self.connections) * 1_000 / rate),
            Load::Closed { .. } => None,
        }
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
        let Self { connections, threads, target, users, .. } = self;
        write!(f, "{connections} connections to {target} on {threads} thread(s), users {users}, from ")?;
        match &self.sources {
            Some(sources) => write!(f, "{sources}")?,
            None => write!(f, "the system's choice of address")?,
        }
        write!(f, "; up to {} reachable by ports and descriptors. Load: ", self.reachable)?;
        match self.load {
            Load::Open { rate, arrivals } => {
                let law = match arrivals {
                    Arrivals::Wallclock => "by the wall clock",
                    Arrivals::Uniform => "uniform",
                    Arrivals::Poisson { .. } => "poisson",
                };
                write!(f, "{rate}/s {law}, open loop")?;
            }
            Load::Closed { depth } => write!(f, "closed loop, depth {depth}")?,
        }
        write!(
            f,
            ", {:?} after {:?} of warm-up. Tables: {} MiB",
            self.duration,
            self.warm_up,
            self.memory_bytes() >> 20
        )
    }
}

fn bounded(name: &str, value: u64, max: u64) -> Result<u32, Failure> {
    if (1..=max).contains(&value) { Ok(value as u32) } else { Err(Failure::usage(format!("{name} is 1 to {max}"))) }
}

fn load(arguments: &RunArguments) -> Result<Load, Failure> {
    let open = |arrivals| match arguments.rate {
        Some(rate) => Ok(Load::Open { rate, arrivals }),
        None => Err(Failure::usage("--rate is needed: an open loop has one. For saturation use --schedule closed")),
    };
    match arguments.schedule {
        ScheduleChoice::Wallclock => open(Arrivals::Wallclock),
        ScheduleChoice::Uniform => open(Arrivals::Uniform),
        ScheduleChoice::Poisson => open(Arrivals::Poisson { seed: arguments.rng_seed }),
        ScheduleChoice::Closed if arguments.rate.is_some() => {
            Err(Failure::usage("--schedule closed has no --rate: it goes as fast as it is answered"))
        }
        ScheduleChoice::Closed => {
            Ok(Load::Closed { depth: bounded("--depth", u64::from(arguments.depth), u64::from(DEPTH_MAX))? })
        }
    }
}

fn threads(arguments: &RunArguments, connections: u32, host: &Host, direct: bool) -> Result<u32, Failure> {
    let per_ring = if direct { host.open_files.min(DESCRIPTORS_PER_RING_MAX) } else { u64::from(CONNECTIONS_MAX) };
    let needed = u64::from(connections).div_ceil(per_ring.max(1));
    let threads = arguments.threads.map_or(needed, u64::from);
    if threads < needed {
        return Err(Failure::error(format!(
            "{threads} thread(s) hold {} connections, as a ring's table holds {per_ring} (the limit of open files): use --threads {needed}, or raise `ulimit -n`",
            threads * per_ring
        )));
    }
    bounded("--threads", threads, u64::from(THREADS_MAX.min(connections)))
}

fn reachable(
    connections: u32,
    sources: Option<Sources>,
    threads: u32,
    host: &Host,
    direct: bool,
) -> Result<u64, Failure> {
    let addresses = sources.map_or(1, |sources| sources.count());
    let by_ports = u64::from(addresses) * u64::from(host.ports());
    let by_descriptors = if direct {
        u64::from(threads) * host.open_files.min(DESCRIPTORS_PER_RING_MAX)
    } else {
        host.open_files.saturating_sub(DESCRIPTORS_RESERVED + u64::from(threads))
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

    const HOST: Host = Host { open_files: 20_000, port_low: 32_768, port_high: 60_999 };

    fn plan(line: &str, direct: bool) -> Result<Plan, Failure> {
        let words = "hongbao-loadgen run --target 127.0.0.1:1".split(' ').chain(line.split_whitespace());
        let Command::Run(arguments) = CommandLine::try_parse_from(words).unwrap().command;
        Plan::new(&arguments, &HOST, direct)
    }

    #[test]
    fn one_thread_is_enough_until_its_table_is_full() {
        assert_eq!(plan("--connections 20k --rate 60k", true).unwrap().threads, 1);
        let million = plan("--connections 1M --rate 60k", true).unwrap();
        assert_eq!(million.threads, 50);
        assert_eq!((0..50).map(|thread| u64::from(million.share(thread).len())).sum::<u64>(), 1_000_000);
        assert!(million.sources.unwrap().count() >= 36);
    }

    #[test]
    fn what_the_machine_cannot_do_is_refused_with_what_to_raise() {
        for (line, direct, word) in [
            ("--connections 20k --rate 1k", false, "ulimit -n"),
            ("--connections 50k --rate 1k --threads 2", true, "--threads 3"),
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
