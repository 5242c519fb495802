//! What a coordinator and an agent say to each other: JSON objects, one a line; an answer to each request, in order. A product follows its
//! answer as raw bytes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::arguments::{Behaviour, Switch};
use crate::audit::Caps;
use crate::control::Status;
use crate::limits::RATE_MAX;
use crate::parse::Users;
use crate::scenario::Scenario;

/// Bumped when a message changes its meaning or goes.
pub(super) const PROTOCOL: &str = "hongbao-loadgen/fleet/1";

/// From the coordinator. The first is `Hello`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Request {
    /// Who asks.
    Hello {
        /// [`PROTOCOL`].
        protocol: String,
        /// Of the program.
        version: String,
    },
    /// For the clock check.
    Ping,
    /// Start a load: connect, and wait for `Begin` where the order says so.
    Prepare(Box<Order>),
    /// How far is it?
    Status,
    /// Begin the load at this time of the agent's clock, in microseconds since 1970 UTC.
    Begin { unix_us: u64 },
    /// Go on at so many shakes a second.
    Rate { qps: u64 },
    /// Nobody shakes.
    Pause,
    /// They do again.
    Resume,
    /// End in order, with a report.
    Stop,
    /// Hand over what the load has left.
    Collect(Product),
}

/// What a load leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Product {
    /// As of `--json`.
    Report,
    /// As of `--claims`.
    Claims,
}

/// From the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Reply {
    /// To `Hello`.
    Welcome(Welcome),
    /// To `Ping`.
    Pong {
        /// The agent's clock, in microseconds since 1970 UTC.
        unix_us: u64,
    },
    /// It is done.
    Done,
    /// To `Status`.
    Status(Progress),
    /// To `Collect`: so many bytes follow.
    Product { bytes: u64 },
    /// It cannot be done.
    Refused { error: String },
}

/// What an agent is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Welcome {
    /// [`PROTOCOL`].
    pub(super) protocol: String,
    /// Of the program.
    pub(super) version: String,
    /// The server that it loads, as its own command line says.
    pub(super) target: String,
    /// The most it may be told.
    pub(super) limits: Limits,
}

/// Bounds that the agent's own command line sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Limits {
    /// Connections.
    pub(super) connections: u64,
    /// Shakes a second.
    pub(super) rate_qps: u64,
}

impl Limits {
    /// Says what of the scenario is beyond them.
    pub(super) fn check(&self, scenario: &Scenario) -> Result<(), String> {
        scenario.check()?;
        let (connections, rate) = (scenario.connections_max(), scenario.rate_max());
        let gifts = scenario.gifts_max().map_or(0, |(rate, _)| rate);
        if connections > self.connections {
            return Err(format!(
                "{connections} connections are more than the {} of --connections-max",
                self.connections
            ));
        }
        if rate > self.rate_qps {
            return Err(format!("{rate} shakes a second are more than the {} of --rate-max", self.rate_qps));
        }
        if gifts > self.rate_qps {
            return Err(format!("{gifts} gifts a second are more than the {} of --rate-max", self.rate_qps));
        }
        if scenario.depth_max() > 0 && self.rate_qps < RATE_MAX {
            return Err(format!(
                "a closed loop knows no rate, and --rate-max allows {} shakes a second",
                self.rate_qps
            ));
        }
        Ok(())
    }
}

/// One agent's part of a load. Nothing in it names a file, a command or an address: those are the agent's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    pub(super) scenario: Scenario,
    /// The first user's id.
    pub(super) users_first: u64,
    /// How many.
    pub(super) users_count: u64,
    /// Wait for `Begin` before the first load.
    pub(super) hold: bool,
    pub(super) settings: Settings,
}

impl Order {
    pub(super) const fn users(&self) -> Users {
        Users { first: self.users_first, count: self.users_count }
    }
}

/// What is the same for all agents. Times in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) timeout_us: u64,
    pub(super) obey_retry: bool,
    pub(super) reconnect: bool,
    /// Connects a second, an agent.
    pub(super) connect_rate: u64,
    pub(super) connect_timeout_us: u64,
    pub(super) tick_us: Option<u64>,
    pub(super) rng_seed: u64,
    pub(super) lateness_max_us: Option<u64>,
    pub(super) cap_per_user: u32,
    pub(super) cap_per_sponsor: u32,
}

impl From<&Behaviour> for Settings {
    fn from(behaviour: &Behaviour) -> Self {
        let us = |time: Duration| time.as_micros() as u64;
        Self {
            timeout_us: us(behaviour.timeout),
            obey_retry: behaviour.obey_retry == Switch::On,
            reconnect: behaviour.reconnect == Switch::On,
            connect_rate: behaviour.connect_rate,
            connect_timeout_us: us(behaviour.connect_timeout),
            tick_us: behaviour.tick.map(us),
            rng_seed: behaviour.rng_seed,
            lateness_max_us: behaviour.lateness_max.map(us),
            cap_per_user: behaviour.cap_per_user,
            cap_per_sponsor: behaviour.cap_per_sponsor,
        }
    }
}

impl Settings {
    pub(super) const fn caps(&self) -> Caps {
        Caps { per_user: self.cap_per_user, per_sponsor: self.cap_per_sponsor }
    }

    /// As flags of `hongbao-loadgen scenario`.
    pub(super) fn flags(&self) -> Vec<String> {
        let switch = |on: bool| if on { "on" } else { "off" }.to_owned();
        let us = |us: u64| format!("{us}us");
        let mut flags = vec![
            ("--timeout", us(self.timeout_us)),
            ("--obey-retry", switch(self.obey_retry)),
            ("--reconnect", switch(self.reconnect)),
            ("--connect-rate", self.connect_rate.to_string()),
            ("--connect-timeout", us(self.connect_timeout_us)),
            ("--rng-seed", self.rng_seed.to_string()),
            ("--cap-per-user", self.cap_per_user.to_string()),
            ("--cap-per-sponsor", self.cap_per_sponsor.to_string()),
        ];
        flags.extend(self.tick_us.map(|tick| ("--tick", us(tick))));
        flags.extend(self.lateness_max_us.map(|max| ("--lateness-max", us(max))));
        flags.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }
}

/// How far an agent's load is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Progress {
    /// What the run itself says; none before it listens and after its end.
    pub(super) run: Option<Status>,
    /// How it ended, once it has.
    pub(super) ended: Option<Ended>,
}

/// How a load ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ended {
    /// Whether there is a report, be the run valid or not.
    pub(super) reported: bool,
    /// The exit code, and the last words on standard error.
    pub(super) words: String,
}
