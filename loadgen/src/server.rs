//! The daemon's side of a stage, from two scrapes of its `/metrics`. A daemon that cannot be asked costs a run its figures, never
//! the run: asking goes on beside the load, and an error is for the report's warnings.

mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use thiserror::Error;
use ureq::http::Uri;

use crate::limits::{SERVER_METRICS_BYTES_MAX, SERVER_METRICS_TIMEOUT_MS, SERVER_SETS_MAX};
use crate::report::ServerReport;

pub use watch::Watch;

const TIMEOUT: Duration = Duration::from_millis(SERVER_METRICS_TIMEOUT_MS);

/// Where the daemon's metrics are: `127.0.0.1:9866` or `http://127.0.0.1:9866/metrics`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(Uri);

impl FromStr for Target {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let wrong = || ServerError::Target(text.to_owned());
        let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let authority = uri
            .authority()
            .filter(|authority| authority.port_u16().is_some() && !authority.host().is_empty())
            .ok_or_else(wrong)?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong());
        }
        let path = match uri.path_and_query().map_or("/", |path| path.as_str()) {
            "/" => "/metrics",
            path => path,
        };
        Uri::builder()
            .scheme("http")
            .authority(authority.as_str())
            .path_and_query(path)
            .build()
            .map(Self)
            .map_err(|_| wrong())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why there are no figures of the daemon.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ServerError {
    /// The flag's value.
    #[error("{0:?} is no address of metrics: write it like 127.0.0.1:9866 or http://127.0.0.1:9866/metrics")]
    Target(String),
    /// Nobody answered, or not well, or not in time.
    #[error("asking {target} for the daemon's metrics: {reason}")]
    Unreachable {
        /// Who was asked.
        target: String,
        /// What went wrong.
        reason: String,
    },
    /// Somebody else's metrics.
    #[error("{0} tells no metrics of hongbaod: name the address of its --metrics-listen")]
    NotTheDaemon(String),
}

/// What the daemon said at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When it had said it.
    pub at: Instant,
    /// The figures.
    pub figures: Figures,
}

/// The few of the daemon's metrics that a report needs; its counters begin at 0 when it starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// When it started, in seconds since 1970 UTC: another one has begun to count where this differs.
    pub started_s: f64,
    /// User and system CPU.
    pub cpu_s: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Calls of `io_uring_enter` by its SETs.
    pub enters: u64,
    /// Shakes, by SET.
    pub shakes_by_set: BTreeMap<u32, u64>,
    /// Envelopes issued, by SET.
    pub envelopes_by_set: BTreeMap<u32, u64>,
}

/// Asks once and waits for the answer, some seconds at most.
pub fn fetch(target: &Target) -> Result<Sample, ServerError> {
    ask(target).finish()
}

/// A question that is on its way.
#[derive(Debug)]
pub struct Asked {
    target: Target,
    answer: Receiver<Result<Sample, ServerError>>,
    begun: Instant,
}

/// Asks on a thread of its own, so that whoever drives a load need not wait. The thread ends with the answer or its timeout.
pub fn ask(target: &Target) -> Asked {
    let (give, answer) = sync_channel(1);
    let asking = target.clone();
    // Where no thread can be had the channel is closed, which `finish` reports.
    drop(std::thread::Builder::new().name("server-metrics".to_owned()).spawn(move || drop(give.send(get(&asking)))));
    Asked { target: target.clone(), answer, begun: Instant::now() }
}

impl Asked {
    /// The answer; waits for it, at most some seconds from the question.
    pub fn finish(self) -> Result<Sample, ServerError> {
        // The request has its own timeout; this one holds even where a name is being looked up without end.
        let left = (2 * TIMEOUT).saturating_sub(self.begun.elapsed());
        self.answer.recv_timeout(left).unwrap_or_else(|error| {
            let reason = match error {
                RecvTimeoutError::Timeout => "no answer in time",
                RecvTimeoutError::Disconnected => "no thread could be started for it",
            };
            Err(ServerError::Unreachable { target: self.target.to_string(), reason: reason.to_owned() })
        })
    }
}

fn get(target: &Target) -> Result<Sample, ServerError> {
    let unreachable =
        |error: ureq::Error| ServerError::Unreachable { target: target.to_string(), reason: error.to_string() };
    // No proxy: the daemon stands beside the load, and a proxy of the environment would be asked from inside a namespace.
    let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).max_redirects(0).proxy(None).build();
    let mut response = ureq::Agent::new_with_config(config).get(&target.0).call().map_err(unreachable)?;
    let body = response.body_mut().with_config().limit(SERVER_METRICS_BYTES_MAX).lossy_utf8(true);
    let text = body.read_to_string().map_err(unreachable)?;
    let figures = parse(&text).ok_or_else(|| ServerError::NotTheDaemon(target.to_string()))?;
    Ok(Sample { at: Instant::now(), figures })
}

/// Reads the names it knows and passes over everything else, broken lines included. `None`: no SET is told of, so that this is no
/// daemon's scrape.
fn parse(text: &str) -> Option<Figures> {
    let mut figures = Figures::default();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, labels, value)) = split(line) else { continue };
        let by_set = |counts: &mut BTreeMap<u32, u64>| {
            let set = label(labels, "set").and_then(|set| set.parse().ok());
            if let Some(set) = set.filter(|set| *set < SERVER_SETS_MAX) {
                counts.insert(set, value as u64);
            }
        };
        match name {
            "process_start_time_seconds" => figures.started_s = value,
            "process_cpu_seconds_total" => figures.cpu_s = value,
            "process_resident_memory_bytes" => figures.resident_bytes = value as u64,
            "hongbao_ring_enters_total" => figures.enters = value as u64,
            "hongbao_set_shakes_total" => by_set(&mut figures.shakes_by_set),
            "hongbao_set_envelopes_issued_total" => by_set(&mut figures.envelopes_by_set),
            _ => {}
        }
    }
    (!figures.shakes_by_set.is_empty()).then_some(figures)
}

/// Name, what stands between the braces, and the value. A label value with a brace in it is none of those looked for here.
fn split(line: &str) -> Option<(&str, &str, f64)> {
    let (series, values) = match line.find('{') {
        Some(_) => line.split_once('}')?,
        None => line.split_once([' ', '\t'])?,
    };
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let value = values.split_ascii_whitespace().next()?.parse::<f64>().ok()?;
    Some((name.trim(), labels, value))
}

fn label<'a>(labels: &'a str, wanted: &str) -> Option<&'a str> {
    let mut pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
    let (_, quoted) = pairs.find(|(name, _)| name.trim() == wanted)?;
    Some(quoted.trim().trim_matches('"'))
}

/// What the daemon did from one sample to the next. Where it was started again in between, what it did since that start.
pub fn between(before: &Sample, after: &Sample) -> ServerReport {
    let fresh = Figures::default();
    // The start is told as a float of seconds; two tellings of the same one differ by less than this.
    let restarted = (after.figures.started_s - before.figures.started_s).abs() > 0.5;
    let (earlier, later) = (if restarted { &fresh } else { &before.figures }, &after.figures);
    let shakes_by_set = increase(&earlier.shakes_by_set, &later.shakes_by_set);
    let envelopes_by_set = increase(&earlier.envelopes_by_set, &later.envelopes_by_set);
    let elapsed_s = after.at.saturating_duration_since(before.at).as_secs_f64();
    let cpu_s = (later.cpu_s - earlier.cpu_s).max(0.0);
    let requests = shakes_by_set.iter().sum::<u64>() as f64;
    let ratio = |of: f64, by: f64| if by > 0.0 { of / by } else { 0.0 };
    ServerReport {
        cpu_cores: ratio(cpu_s, elapsed_s),
        cpu_us_per_request: ratio(cpu_s * 1e6, requests),
        resident_bytes: later.resident_bytes,
        enters_per_request: ratio(later.enters.saturating_sub(earlier.enters) as f64, requests),
        fairness: fairness(&shakes_by_set, &envelopes_by_set),
        shakes_by_set,
        envelopes_by_set,
    }
}

/// By SET from 0 to the last one there is.
fn increase(earlier: &BTreeMap<u32, u64>, later: &BTreeMap<u32, u64>) -> Vec<u64> {
    let sets = later.last_key_value().map_or(0, |(set, _)| set + 1);
    let of = |counts: &BTreeMap<u32, u64>, set| counts.get(&set).copied().unwrap_or(0);
    (0..sets).map(|set| of(later, set).saturating_sub(of(earlier, set))).collect()
}

/// Jain's index of envelopes a shake over the SETs that were shaken on: (sum x)^2 / (n * sum x^2). Where nothing was issued, nobody
/// was treated worse than another: 1.
fn fairness(shakes: &[u64], envelopes: &[u64]) -> f64 {
    let issued = envelopes.iter().chain(std::iter::repeat(&0));
    let dealt = shakes.iter().zip(issued).filter(|(shakes, _)| **shakes > 0);
    let rates: Vec<f64> = dealt.map(|(shakes, issued)| *issued as f64 / *shakes as f64).collect();
    let squares: f64 = rates.iter().map(|rate| rate * rate).sum();
    if squares > 0.0 { rates.iter().sum::<f64>().powi(2) / (rates.len() as f64 * squares) } else { 1.0 }
}

#[cfg(test)]
mod tests;
