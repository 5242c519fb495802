//! What the daemon is configured with. Precedence: flag, environment (`HONGBAO_*`), file, default.

mod live;
mod settings;
mod shape;
mod validate;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use hongbao_protocol::ServerId;
use serde::Serialize;

pub use live::LIVE_KEYS;
pub use settings::{Descriptors, GiftFunding, JournalWrite, LogFormat, LogLevel, Settings};
pub use shape::{SPREAD_DEVIATIONS, Shape, places_for};
pub use validate::{Host, LISTENERS_AND_FILES, connections_beyond_files};

use crate::admin::Playbook;
use crate::exit::{Exit, Failure};
use crate::limits;
use crate::rounds::Round;
pub use crate::units::{Cap, Count, Period, Pin, Rate, Size, UnitError};

/// Everything in force, nothing left open. As JSON it is a configuration file that gives the same again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Address that clients connect to.
    pub listen: SocketAddr,
    /// Address of /metrics and /healthz.
    pub metrics_listen: SocketAddr,
    /// The schedule of the show.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<Round>,
    /// Rehearsed sets of orders, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub playbooks: BTreeMap<String, Playbook>,
    /// Where operators reach the daemon; `None` where it is not to be reached, but that the demo campaign always is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_socket: Option<PathBuf>,
    /// Folder of the seed files and folder of the ledger; `None` runs the demo campaign.
    #[serde(flatten)]
    pub folders: Option<Folders>,
    /// Which server of the campaign this is.
    pub server_id: ServerId,
    /// Connections over all SETs, where they were asked for so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<Count>,
    /// Whether any number of connections was asked for; otherwise they are as many as there may be.
    #[serde(skip)]
    pub connections_asked: bool,
    /// SETs.
    pub sets: u32,
    /// Connections of one SET, at most.
    pub connections_per_set: u32,
    /// Envelopes a second, over all SETs.
    pub issue_rate: Rate,
    /// Envelopes a user may win.
    pub cap_per_user: Cap,
    /// Envelopes of one sponsor that a user may win.
    pub cap_per_sponsor: Cap,
    /// Shortest time between two shakes of one connection that can win.
    pub min_shake_interval: Period,
    /// Time to say hello.
    pub login_timeout: Period,
    /// Time to say anything.
    pub idle_timeout: Period,
    /// How long a SET may wait for more work.
    pub latency_budget: Period,
    /// Where connections live.
    pub descriptors: Descriptors,
    /// Size of one file of the journal.
    pub journal_segment_size: Size,
    /// How a commit is made durable.
    pub journal_write: JournalWrite,
    /// Threads that the SETs share; where it was not said, as many as there are cores.
    pub set_threads: Option<u32>,
    /// Who pays for gifts.
    pub gift_funding: GiftFunding,
    /// How long a gift can be opened.
    pub gift_life: Period,
    /// Gifts that may wait to be opened.
    pub gifts_pending: Count,
    /// Cores of the SETs.
    pub pin: Pin,
    /// How long an orderly stop may take.
    pub drain_timeout: Period,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which are logged.
    pub log_level: LogLevel,
}

/// The two folders a campaign needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Folders {
    /// Seed files.
    pub seed_dir: PathBuf,
    /// Ledger.
    pub data_dir: PathBuf,
}

impl Config {
    /// Fills in the defaults for this host, and checks everything against it. All problems are told at once, one a line.
    pub fn resolve(settings: Settings, host: &Host) -> Result<Self, Failure> {
        let (config, mut problems) = Self::fill_in(settings, host);
        problems.extend(validate::campaign_problems(&config, problems.is_empty()));
        problems.extend(connections_beyond_files(&config, host));
        if problems.is_empty() { Ok(config) } else { Err(config_failure("the configuration", &problems)) }
    }

    /// As [`Config::resolve`], for those who want to know what this host lacks: neither a campaign is needed, nor must the connections
    /// fit the limit of open files.
    pub fn plan(settings: Settings, host: &Host) -> Result<Self, Failure> {
        let (config, problems) = Self::fill_in(settings, host);
        if problems.is_empty() { Ok(config) } else { Err(config_failure("the configuration", &problems)) }
    }

    /// Settings and defaults, and what is wrong with them on any host.
    fn fill_in(settings: Settings, host: &Host) -> (Self, Vec<String>) {
        let descriptors = settings.descriptors.unwrap_or(Descriptors::Auto);
        let shape = Shape::work_out(&settings, host, descriptors);
        let mut problems = Vec::new();
        let folders = match (settings.seed_dir, settings.data_dir) {
            (Some(seed_dir), Some(data_dir)) => Some(Folders { seed_dir, data_dir }),
            (None, None) => None,
            (Some(_), None) => {
                problems.push("data-dir is missing: name the ledger's folder with --data-dir DIR".to_owned());
                None
            }
            (None, Some(_)) => {
                problems.push("seed-dir is missing: name the seed files' folder with --seed-dir DIR".to_owned());
                None
            }
        };
        let config = Self {
            listen: settings.listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8866))),
            metrics_listen: settings.metrics_listen.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 9866))),
            rounds: settings.rounds.unwrap_or_default(),
            playbooks: settings.playbooks.unwrap_or_default(),
            admin_socket: settings.admin_socket,
            folders,
            server_id: ServerId(settings.server_id.unwrap_or(1)),
            connections: settings.connections,
            connections_asked: settings.connections.is_some() || settings.connections_per_set.is_some(),
            sets: shape.sets,
            connections_per_set: shape.connections_per_set,
            issue_rate: settings.issue_rate.unwrap_or(Rate::PerSecond(200)),
            cap_per_user: settings.cap_per_user.unwrap_or(Cap::AtMost(3)),
            cap_per_sponsor: settings.cap_per_sponsor.unwrap_or(Cap::AtMost(1)),
            min_shake_interval: settings.min_shake_interval.unwrap_or(Period::seconds(5)),
            login_timeout: settings.login_timeout.unwrap_or(Period::seconds(5)),
            idle_timeout: settings.idle_timeout.unwrap_or(Period::seconds(120)),
            latency_budget: settings.latency_budget.unwrap_or(Period::micros(limits::LATENCY_BUDGET_US)),
            descriptors,
            journal_segment_size: settings.journal_segment_size.unwrap_or(Size(64 << 20)),
            journal_write: settings.journal_write.unwrap_or(JournalWrite::Dsync),
            set_threads: settings.set_threads,
            gift_funding: settings.gift_funding.unwrap_or(GiftFunding::Balance),
            gift_life: settings.gift_life.unwrap_or(Period::micros(limits::GIFT_LIFE_US)),
            gifts_pending: settings.gifts_pending.unwrap_or(Count(limits::GIFTS_PENDING_MAX as u32)),
            pin: settings.pin.unwrap_or(Pin::Auto),
            drain_timeout: settings.drain_timeout.unwrap_or(Period::seconds(10)),
            log_format: settings.log_format.unwrap_or(LogFormat::Auto),
            log_level: settings.log_level.unwrap_or(LogLevel::Info),
        };
        problems.extend(validate::problems(&config));
        (config, problems)
    }

    /// Resolves flags and environment (one layer, as clap reads both) over the file, where one is named.
    pub fn load(flags: Settings, file: Option<&Path>, host: &Host) -> Result<Self, Failure> {
        Self::resolve(flags.over(below(file)?), host)
    }

    /// Plans with flags and environment over the file, where one is named.
    pub fn load_plan(flags: Settings, file: Option<&Path>, host: &Host) -> Result<Self, Failure> {
        Self::plan(flags.over(below(file)?), host)
    }
}

fn below(file: Option<&Path>) -> Result<Settings, Failure> {
    Ok(file.map(read_file).transpose()?.unwrap_or_default())
}

/// The settings in a configuration file. Every problem is told, with the path of its key.
pub fn read_file(path: &Path) -> Result<Settings, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::io(format_args!("reading the configuration file {}", path.display()), &error))?;
    Settings::from_json(&text).map_err(|problems| config_failure(&path.display().to_string(), &problems))
}

fn config_failure(what: &str, problems: &[String]) -> Failure {
    let mut message = format!("{what} has {} problem{}:", problems.len(), if problems.len() == 1 { "" } else { "s" });
    for problem in problems {
        message.push_str("\n  - ");
        message.push_str(problem);
    }
    Failure::new(Exit::Config, message)
}

#[cfg(test)]
mod tests;
