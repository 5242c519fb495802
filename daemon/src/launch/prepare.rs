//! Everything that can be refused before the first thread runs: limits, ports, seeds, ledger.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use hongbao_uring::Listener;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::port;
use crate::config::{Config, Folders, GiftFunding, Host, JournalWrite};
use crate::exit::{Exit, Failure};
use crate::feeder::{self, Scan};
use crate::issued::IssuedBefore;
use crate::ledger::accounts::Caps;
use crate::ledger::gifts::GiftOptions;
use crate::ledger::{Ledger, LedgerOptions, WritePath};
use crate::preflight;
use crate::service::Manager;

/// All of it, ready for the threads.
pub(super) struct Prepared {
    pub(super) scan: Scan,
    pub(super) ledger: Ledger,
    pub(super) issued: IssuedBefore,
    /// One a SET, all at `listen`.
    pub(super) listeners: Vec<Listener>,
    pub(super) listen: SocketAddr,
    pub(super) metrics: TcpListener,
    pub(super) metrics_listen: SocketAddr,
    /// Where the ledger is.
    pub(super) data_dir: PathBuf,
}

impl Prepared {
    pub(super) fn new(config: &Config, host: &Host, folders: &Folders, manager: Manager) -> Result<Self, Failure> {
        raise_limits()?;
        let report = preflight::look(config, host);
        if let Some(refusal) = report.refusal() {
            return Err(refusal);
        }
        report.log();
        // Ports first: they are the cheapest to refuse, and a journal may take seconds to read.
        let listeners = port::listen(config, manager)?;
        let listen = listeners.first().map_or(config.listen, Listener::local_addr);
        let named = |error| Failure::io(format_args!("listening on {} for metrics", config.metrics_listen), &error);
        let metrics = TcpListener::bind(config.metrics_listen).map_err(named)?;
        let metrics_listen = metrics.local_addr().map_err(named)?;
        let (scan, mut ledger) = (scan(config, folders)?, open_ledger(config, folders)?);
        if let Some(campaign) = scan.campaign {
            ledger.bind(campaign, config.server_id)?;
        }
        let issued = ledger.issued_before();
        let data_dir = folders.data_dir.clone();
        Ok(Self { scan, ledger, issued, listeners, listen, metrics, metrics_listen, data_dir })
    }
}

/// Raises the soft limits of open files and of locked memory to the hard ones, as each program has to do for itself.
pub fn raise_limits() -> Result<(), Failure> {
    for (resource, name) in [
        (Resource::RLIMIT_NOFILE, "open files (RLIMIT_NOFILE)"),
        (Resource::RLIMIT_MEMLOCK, "locked memory (RLIMIT_MEMLOCK)"),
    ] {
        getrlimit(resource)
            .and_then(|(_, hard)| setrlimit(resource, hard, hard))
            .map_err(|errno| Failure::new(Exit::Os, format!("raising the soft limit of {name}: {errno}")))?;
    }
    Ok(())
}

/// Which seed files there are. Those refused are told; without a good one there is nothing to serve.
fn scan(config: &Config, folders: &Folders) -> Result<Scan, Failure> {
    let server = config.server_id;
    let scan = feeder::scan(&folders.seed_dir, server)?;
    if scan.campaign.is_some() {
        return Ok(scan);
    }
    let folder = folders.seed_dir.display();
    if scan.refused.is_empty() {
        let message = format!(
            "{folder} holds no seed file (*.hbs). Make some with `hongbaod seed generate`, or name the folder of server {server} \
             with --seed-dir"
        );
        return Err(Failure::new(Exit::Unavailable, message));
    }
    let lines = scan.refused.iter().map(|refused| format!("\n  - {}: {}", refused.path.display(), refused.reason));
    let reasons: String = lines.collect();
    let message = format!("{folder} holds no seed file that server {server} can deal from:{reasons}");
    Err(Failure::new(Exit::Data, message))
}

fn open_ledger(config: &Config, folders: &Folders) -> Result<Ledger, Failure> {
    let caps = Caps { per_user: config.cap_per_user.number(), per_sponsor: config.cap_per_sponsor.number() };
    let mut options = LedgerOptions::new(&folders.data_dir, caps);
    options.segment_bytes = config.journal_segment_size.0;
    options.write_path = match config.journal_write {
        JournalWrite::Dsync => WritePath::Direct,
        JournalWrite::Fdatasync => WritePath::Linked,
    };
    options.gifts = GiftOptions {
        house_pays: config.gift_funding == GiftFunding::House,
        life_us: u64::try_from(config.gift_life.0.as_micros()).unwrap_or(u64::MAX),
        pending_max: config.gifts_pending.0.into(),
        paused: false,
    };
    Ok(Ledger::open(options)?)
}
