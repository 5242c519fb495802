//! What a person may set: one struct that is the flags of `serve`, the `HONGBAO_*` variables and the keys of the file at once.
//! Nothing here is defaulted or checked against the machine; that is [`Config`](super::Config)'s work.

// The comments on flags are help texts, in which backticks would only stand about.
#![allow(clippy::doc_markdown)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::admin::Playbook;
use crate::rounds::Round;
use crate::units::{Cap, Count, Period, Pin, Rate, Size};

/// Settings of one layer; `None` leaves the setting to the layer below.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Address that clients connect to; port 0 takes a free one [default: 127.0.0.1:8866]
    #[arg(long, env = "HONGBAO_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Address of /metrics and /healthz; port 0 takes a free one [default: 127.0.0.1:9866]
    #[arg(long, env = "HONGBAO_METRICS_LISTEN", value_name = "ADDRESS")]
    pub metrics_listen: Option<SocketAddr>,
    /// Unix socket for `hongbaod ctl`; without it this daemon takes no orders while it runs
    #[arg(long, env = "HONGBAO_ADMIN_SOCKET", value_name = "PATH")]
    pub admin_socket: Option<PathBuf>,
    /// Folder of the seed files
    #[arg(long, env = "HONGBAO_SEED_DIR", value_name = "DIR")]
    pub seed_dir: Option<PathBuf>,
    /// Folder of the ledger; made where it is missing
    #[arg(long, env = "HONGBAO_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Which server of the campaign this is: only seed files made for it are dealt [default: 1]
    #[arg(long, env = "HONGBAO_SERVER_ID", value_name = "N")]
    pub server_id: Option<u16>,
    /// Connections over all SETs, as in 200k or 1M: as many SETs are made as they need, with room for an uneven spread over them
    /// [default: sets times connections-per-set]
    #[arg(long, env = "HONGBAO_CONNECTIONS", value_name = "N")]
    pub connections: Option<Count>,
    /// SETs, each a thread with its own ring and listener [default: the cores this process may use, or what connections need]
    #[arg(long, env = "HONGBAO_SETS", value_name = "N")]
    pub sets: Option<u32>,
    /// Connections that one SET holds at most [default: what RLIMIT_NOFILE allows, up to a million over all SETs]
    #[arg(long, env = "HONGBAO_CONNECTIONS_PER_SET", value_name = "N")]
    pub connections_per_set: Option<u32>,
    /// Envelopes issued a second, all SETs together: a number as in 200/s, or unlimited [default: 200/s]
    #[arg(long, env = "HONGBAO_ISSUE_RATE", value_name = "RATE")]
    pub issue_rate: Option<Rate>,
    /// Envelopes that one user may win, or unlimited [default: 3]
    #[arg(long, env = "HONGBAO_CAP_PER_USER", value_name = "N")]
    pub cap_per_user: Option<Cap>,
    /// Envelopes of one sponsor that one user may win, or unlimited [default: 1]
    #[arg(long, env = "HONGBAO_CAP_PER_SPONSOR", value_name = "N")]
    pub cap_per_sponsor: Option<Cap>,
    /// Shortest time between two shakes of one connection that can win [default: 5s]
    #[arg(long, env = "HONGBAO_MIN_SHAKE_INTERVAL", value_name = "TIME")]
    pub min_shake_interval: Option<Period>,
    /// A connection that has not said hello by then is closed [default: 5s]
    #[arg(long, env = "HONGBAO_LOGIN_TIMEOUT", value_name = "TIME")]
    pub login_timeout: Option<Period>,
    /// A connection that was silent for so long is closed [default: 2m]
    #[arg(long, env = "HONGBAO_IDLE_TIMEOUT", value_name = "TIME")]
    pub idle_timeout: Option<Period>,
    /// How long a SET under load may wait to gather more work before it wakes [default: 1250us]
    #[arg(long, env = "HONGBAO_LATENCY_BUDGET", value_name = "TIME")]
    pub latency_budget: Option<Period>,
    /// Where connections live: in each ring's own table, in the process's, or whichever suits the kernel [default: auto]
    #[arg(long, env = "HONGBAO_DESCRIPTORS", value_enum, value_name = "MODE")]
    pub descriptors: Option<Descriptors>,
    /// Size of one file of the journal [default: 64MiB]
    #[arg(long, env = "HONGBAO_JOURNAL_SEGMENT_SIZE", value_name = "SIZE")]
    pub journal_segment_size: Option<Size>,
    /// How a commit is made durable [default: dsync]
    #[arg(long, env = "HONGBAO_JOURNAL_WRITE", value_enum, value_name = "HOW")]
    pub journal_write: Option<JournalWrite>,
    /// Threads that the SETs share, each with every n-th SET [default: one a core]
    #[arg(long, env = "HONGBAO_SET_THREADS", value_name = "N")]
    pub set_threads: Option<u32>,
    /// Who pays for gifts: their senders, out of what they won, or the house, for tests and campaigns [default: balance]
    #[arg(long, env = "HONGBAO_GIFT_FUNDING", value_enum, value_name = "WHO")]
    pub gift_funding: Option<GiftFunding>,
    /// How long a gift can be opened; then what is left goes back [default: 24h]
    #[arg(long, env = "HONGBAO_GIFT_LIFE", value_name = "TIME")]
    pub gift_life: Option<Period>,
    /// Gifts that may wait to be opened, all together; 128 bytes of memory each [default: 4M]
    #[arg(long, env = "HONGBAO_GIFTS_PENDING", value_name = "N")]
    pub gifts_pending: Option<Count>,
    /// Cores that SETs are pinned to: auto (where one is left over for other threads), off, or a list as in 0,2-5 [default: auto]
    #[arg(long, env = "HONGBAO_PIN", value_name = "CORES")]
    pub pin: Option<Pin>,
    /// How long an orderly stop may take before the process ends anyway [default: 10s]
    #[arg(long, env = "HONGBAO_DRAIN_TIMEOUT", value_name = "TIME")]
    pub drain_timeout: Option<Period>,
    /// Log lines as text or JSON; auto is text on a terminal and JSON elsewhere [default: auto]
    #[arg(long, env = "HONGBAO_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// The rounds of the show; in the file alone
    #[arg(skip)]
    pub rounds: Option<Vec<Round>>,
    /// Sets of orders for `ctl playbook`, by name; in the file alone
    #[arg(skip)]
    pub playbooks: Option<BTreeMap<String, Playbook>>,
    /// Least severe level that is logged [default: info]
    #[arg(long, env = "HONGBAO_LOG_LEVEL", value_enum, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
}

impl Settings {
    /// This layer over `lower`: what is set here wins.
    #[must_use]
    pub fn over(self, lower: Self) -> Self {
        Self {
            listen: self.listen.or(lower.listen),
            metrics_listen: self.metrics_listen.or(lower.metrics_listen),
            admin_socket: self.admin_socket.or(lower.admin_socket),
            seed_dir: self.seed_dir.or(lower.seed_dir),
            data_dir: self.data_dir.or(lower.data_dir),
            server_id: self.server_id.or(lower.server_id),
            connections: self.connections.or(lower.connections),
            sets: self.sets.or(lower.sets),
            connections_per_set: self.connections_per_set.or(lower.connections_per_set),
            issue_rate: self.issue_rate.or(lower.issue_rate),
            cap_per_user: self.cap_per_user.or(lower.cap_per_user),
            cap_per_sponsor: self.cap_per_sponsor.or(lower.cap_per_sponsor),
            min_shake_interval: self.min_shake_interval.or(lower.min_shake_interval),
            login_timeout: self.login_timeout.or(lower.login_timeout),
            idle_timeout: self.idle_timeout.or(lower.idle_timeout),
            latency_budget: self.latency_budget.or(lower.latency_budget),
            descriptors: self.descriptors.or(lower.descriptors),
            journal_segment_size: self.journal_segment_size.or(lower.journal_segment_size),
            journal_write: self.journal_write.or(lower.journal_write),
            set_threads: self.set_threads.or(lower.set_threads),
            gift_funding: self.gift_funding.or(lower.gift_funding),
            gift_life: self.gift_life.or(lower.gift_life),
            gifts_pending: self.gifts_pending.or(lower.gifts_pending),
            pin: self.pin.or(lower.pin),
            drain_timeout: self.drain_timeout.or(lower.drain_timeout),
            log_format: self.log_format.or(lower.log_format),
            rounds: self.rounds.or(lower.rounds),
            playbooks: self.playbooks.or(lower.playbooks),
            log_level: self.log_level.or(lower.log_level),
        }
    }

    /// Reads a configuration file's text. Every problem of every key is told, each with the path of its key.
    pub fn from_json(text: &str) -> Result<Self, Vec<String>> {
        let error = match serde_json::from_str(text) {
            Ok(settings) => return Ok(settings),
            Err(error) => error,
        };
        // The whole stops at its first error; each key by itself shows them all.
        let Ok(keys) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) else {
            return Err(vec![format!("not a JSON object of settings: {error}")]);
        };
        let problems: Vec<String> = keys
            .into_iter()
            .filter_map(|(key, value)| {
                let alone = serde_json::Value::Object([(key.clone(), value)].into_iter().collect());
                let error = serde_json::from_value::<Self>(alone).err()?;
                Some(format!("{key}: {error}"))
            })
            .collect();
        // None by itself: a key stands there twice.
        Err(if problems.is_empty() { vec![error.to_string()] } else { problems })
    }
}

/// Where a connection's descriptor lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Descriptors {
    /// Direct where the kernel releases them out of order (6.13 and later), else plain.
    Auto,
    /// In the ring's own table: RLIMIT_NOFILE bounds each SET.
    Direct,
    /// In the process's table: RLIMIT_NOFILE bounds all SETs together.
    Plain,
}

/// How a commit to the journal is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JournalWrite {
    /// Each write by itself, past the page cache (O_DIRECT, RWF_DSYNC).
    Dsync,
    /// A write and, linked to it, an fdatasync.
    Fdatasync,
}

/// Who pays for the gifts that users send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GiftFunding {
    /// The sender, out of what was won, opened and refunded, less what was sent.
    Balance,
    /// The house: no balance falls, and what nobody opens goes back to it.
    House,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// The least severe level that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What went wrong.
    Error,
    /// And what may need a person.
    Warn,
    /// And what happens at starts, stops and changes.
    Info,
    /// And how.
    Debug,
}
