//! The arithmetic: demand at the peak, divided by what one server may carry, rounded up.

use serde::Serialize;

use super::traffic::{ShakeBytes, Traffic};

/// What the show asks for. Rates are of the peak, over all servers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Demand {
    /// Users of the show.
    pub(super) users: f64,
    /// Users connected at once.
    pub(super) connected: f64,
    /// Shakes a second, as told.
    pub(super) qps: Option<f64>,
    /// Shakes in the busiest minute.
    pub(super) shakes_per_minute: Option<f64>,
    /// Seconds between two shakes of a connected user.
    pub(super) shake_interval_s: Option<f64>,
    /// Shakes over the whole show.
    pub(super) shakes: Option<f64>,
    /// Its length.
    pub(super) hours: Option<f64>,
    /// Envelopes issued a second.
    pub(super) envelopes_per_s: f64,
    /// Envelopes over the whole show.
    pub(super) envelopes: Option<f64>,
}

impl Demand {
    /// Shakes a second at the peak: the highest that any of the ways to tell it gives.
    fn qps_peak(&self) -> Option<f64> {
        let by_minute = self.shakes_per_minute.map(|shakes| shakes / 60.0);
        let by_interval = self.shake_interval_s.map(|seconds| self.connected / seconds);
        [self.qps, by_minute, by_interval].into_iter().flatten().reduce(f64::max)
    }

    fn qps_average(&self) -> Option<f64> {
        Some(self.shakes? / (self.hours? * 3_600.0))
    }
}

/// What one server was measured to carry, and how much of that is kept free.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Limits {
    pub(super) connections: f64,
    pub(super) qps: f64,
    /// Share.
    pub(super) headroom: f64,
}

impl Limits {
    pub(super) fn connections_usable(&self) -> f64 {
        self.connections * (1.0 - self.headroom)
    }

    pub(super) fn qps_usable(&self) -> f64 {
        self.qps * (1.0 - self.headroom)
    }
}

/// What asks for the most servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Binding {
    Connections,
    Qps,
}

/// How many servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Servers {
    /// For the connections.
    pub(super) by_connections: u64,
    /// For the shakes.
    pub(super) by_qps: u64,
    /// Which of the two is more.
    pub(super) binding: Binding,
    /// The more of the two.
    pub(super) needed: u64,
    /// Beyond them.
    pub(super) spare: u64,
    /// That carry load: those needed, or those there are without the spare ones.
    pub(super) serving: u64,
    /// Serving and spare.
    pub(super) total: u64,
}

/// What one serving server carries at the peak.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Each {
    pub(super) connections: f64,
    /// Share of its limit.
    pub(super) connections_of_limit: f64,
    pub(super) qps: f64,
    /// Share of its limit.
    pub(super) qps_of_limit: f64,
    pub(super) envelopes_per_s: f64,
    /// In its seed files; none where the demand does not say.
    pub(super) envelopes: Option<f64>,
    pub(super) traffic: Traffic,
}

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Estimate {
    pub(super) demand: Demand,
    pub(super) qps_peak: f64,
    pub(super) qps_average: Option<f64>,
    pub(super) limits: Limits,
    pub(super) servers: Servers,
    /// Whether the serving ones are as many as needed.
    pub(super) suffices: bool,
    pub(super) each: Each,
    /// Over all servers.
    pub(super) traffic: Traffic,
    pub(super) shake_bytes: ShakeBytes,
}

impl Estimate {
    /// Says what is wrong where the figures cannot be.
    pub(super) fn new(demand: Demand, limits: Limits, spare: u32, there_are: Option<u32>) -> Result<Self, String> {
        let qps_peak = checked(&demand, &limits)?;
        let qps_average = demand.qps_average();
        if qps_average.is_some_and(|average| average > qps_peak) {
            return Err(format!(
                "--shakes in --hours are more a second on average than the {qps_peak:.0} a second of the peak"
            ));
        }
        let servers = servers(demand.connected, qps_peak, &limits, u64::from(spare), there_are.map(u64::from))?;
        let of_each = 1.0 / servers.serving as f64;
        let shake_bytes = ShakeBytes::of_the_protocol();
        let (connections, qps) = (demand.connected * of_each, qps_peak * of_each);
        let each = Each {
            connections,
            connections_of_limit: connections / limits.connections,
            qps,
            qps_of_limit: qps / limits.qps,
            envelopes_per_s: demand.envelopes_per_s * of_each,
            envelopes: demand.envelopes.map(|envelopes| envelopes * of_each),
            traffic: shake_bytes.at(qps, demand.envelopes_per_s * of_each),
        };
        Ok(Self {
            qps_peak,
            qps_average,
            limits,
            servers,
            suffices: servers.serving >= servers.needed,
            each,
            traffic: shake_bytes.at(qps_peak, demand.envelopes_per_s),
            shake_bytes,
            demand,
        })
    }
}

fn checked(demand: &Demand, limits: &Limits) -> Result<f64, String> {
    if demand.users < 1.0 || demand.connected < 1.0 {
        return Err("--users and --connected leave nobody who is connected".to_owned());
    }
    if demand.shake_interval_s == Some(0.0) || demand.hours == Some(0.0) {
        return Err("--shake-interval and --hours are above 0".to_owned());
    }
    if limits.connections < 1.0 || limits.qps < 1.0 || limits.headroom >= 1.0 {
        return Err(
            "one server carries something: --connections-limit and --qps-limit are at least 1, and --headroom is below 100%"
                .to_owned(),
        );
    }
    let qps_peak = demand
        .qps_peak()
        .filter(|qps| *qps > 0.0)
        .ok_or("how many shakes at the peak? give --qps, --shakes-per-minute or --shake-interval")?;
    if demand.envelopes_per_s > qps_peak {
        return Err(format!("--envelope-rate is above the {qps_peak:.0} shakes a second of the peak"));
    }
    Ok(qps_peak)
}

fn servers(connected: f64, qps: f64, limits: &Limits, spare: u64, there_are: Option<u64>) -> Result<Servers, String> {
    // A whole number of servers that fits exactly must not become one more by the last bit of a product.
    let for_load = |load: f64, usable: f64| ((load / usable) * (1.0 - 1e-12)).ceil().max(1.0) as u64;
    let by_connections = for_load(connected, limits.connections_usable());
    let by_qps = for_load(qps, limits.qps_usable());
    let needed = by_connections.max(by_qps);
    let serving = match there_are {
        None => needed,
        Some(there_are) if there_are > spare => there_are - spare,
        Some(there_are) => {
            return Err(format!("of {there_are} servers {spare} are spare: none is left; give fewer as --spare"));
        }
    };
    let binding = if by_connections > by_qps { Binding::Connections } else { Binding::Qps };
    Ok(Servers { by_connections, by_qps, binding, needed, spare, serving, total: serving + spare })
}
