//! The command: reads the three, in this order, and tells what it found.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::num::NonZero;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;

use clap::Args;
use hongbao_protocol::seed::SeedBinding;
use hongbao_protocol::{CampaignId, Envelope, EnvelopeId, ServerId, UserId};

use super::books::{Books, Sum, over_caps};
use super::claims::{ClaimsFile, Outcome, Pieces};
use super::finding::{Findings, Kind};
use super::report::{ClaimsRead, JournalRead, KindCount, ReissueList, Report, SeedsRead};
use crate::exit::{Exit, Failure};
use crate::ledger::accounts::Caps;
use crate::ledger::error::LedgerError;
use crate::ledger::journal::{Binding, Record, SegmentFolder};
use crate::ledger::reading::{self, JournalFiles};
use crate::ledger::receipt::{ReceiptKey, Receipts};
use crate::limits::RECONCILE_READERS_MAX;
use crate::meter::Meter;
use crate::seed::file::{SeedFile, find};

/// What `reconcile` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReconcileArgs {
    /// The data folder of the daemon, or a backup of it.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Seed files, or folders of them; those of other servers are passed over.
    #[arg(long, value_name = "DIR", required = true, num_args = 1..)]
    seeds: Vec<PathBuf>,
    /// What the clients were shown, as `hongbao-loadgen run --claims` writes it.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    claims: Vec<PathBuf>,
    /// The receipt key, where it is not in the data folder.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Envelopes a user may have; 0: no cap.
    #[arg(long, value_name = "N", default_value_t = 3)]
    cap_per_user: u32,
    /// Envelopes of one sponsor that a user may have; 0: no cap.
    #[arg(long, value_name = "N", default_value_t = 1)]
    cap_per_sponsor: u32,
    /// Where the report goes, one JSON object; without it, to the standard output.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Where the envelopes go that are still to be shown to their winners, one JSON object a line.
    #[arg(long, value_name = "FILE", default_value = "reissue.jsonl")]
    reissue: PathBuf,
}

/// Reconciles.
pub(crate) fn run(args: &ReconcileArgs, output: &mut dyn Write) -> Result<(), Failure> {
    let files = open_claims(&args.claims)?;
    let binding = binding_of(&args.data_dir)?;
    let mut findings = Findings::default();
    let receipts = receipts(args, binding.campaign)?;
    let checked = receipts.is_some();
    let mut books = Books::new(binding.campaign, binding.server, receipts);
    let seeds = read_seeds(&args.seeds, &mut books)?;
    let records = read_journal(&args.data_dir, &mut books, &mut findings)?;
    let wins = books.close();
    let caps = Caps { per_user: args.cap_per_user, per_sponsor: args.cap_per_sponsor };
    let unwritable = |error: io::Error| Failure::io(format_args!("cannot write {}", args.reissue.display()), &error);
    let mut reissue = ReissueList::create(&args.reissue).map_err(unwritable)?;
    let claims = thread::scope(|scope| {
        let over = scope.spawn(|| over_caps(caps, wins));
        let mut owed =
            |user, envelope: &Envelope| reissue.add(Kind::ClaimedNotIssued, user, envelope).map_err(unwritable);
        let claims = read_claims(&files, &books, &mut findings, &mut owed);
        over.join().expect("sorting does not panic").into_iter().for_each(|finding| findings.add(finding));
        claims
    })?;
    let claims = ClaimsRead { receipts_checked: if checked { claims.receipts_checked } else { 0 }, ..claims };
    for (user, envelope) in books.never_shown() {
        reissue.add(Kind::IssuedNeverShown, user, &envelope).map_err(unwritable)?;
        findings.add_never_shown(user, &envelope);
    }
    let reissued = reissue.finish().map_err(unwritable)?;
    let kinds = KindCount::all(&findings);
    let clean = !findings.cost_money() && claims.unreadable_lines == 0;
    let (CampaignId(campaign), ServerId(server)) = books.owner();
    let journal = JournalRead { records, issued: books.issued() };
    let findings_not_listed = KindCount::not_listed(&kinds);
    let findings = findings.sorted();
    let report = Report {
        clean,
        campaign,
        server,
        seeds,
        journal,
        claims,
        kinds,
        findings,
        findings_not_listed,
        reissue: reissued,
    };
    write_report(&report, args.report.as_deref(), output)?;
    // Nothing is left to tell where even stderr is closed.
    drop(writeln!(io::stderr(), "{}", report.summary()));
    if clean { Ok(()) } else { Err(not_clean(&report)) }
}

fn not_clean(report: &Report<'_>) -> Failure {
    let unreadable = match report.claims.unreadable_lines {
        0 => String::new(),
        count => format!(" {count} lines of the claims files could not be read, and what they held is missing here."),
    };
    Failure::new(
        Exit::Data,
        format!(
            "seeds, journal and claims contradict each other.{unreadable} Keep all three as they are, stop issuing, and take the \
             findings one by one: deploy/RUNBOOK.md says what each kind means and what to do"
        ),
    )
}

/// What receipts are checked with. Without a key there is nothing to check them with, and that is said.
fn receipts(args: &ReconcileArgs, campaign: CampaignId) -> Result<Option<Receipts>, Failure> {
    let path = args.key.clone().unwrap_or_else(|| ReceiptKey::path(&args.data_dir));
    if args.key.is_none() && !path.exists() {
        eprintln!("{}: no receipt key is here: receipts are not checked (--key names one)", path.display());
        return Ok(None);
    }
    let key = ReceiptKey::read(&path).map_err(LedgerError::from)?;
    Ok(Some(Receipts::new(key, campaign)))
}

/// Opens them all before anything is read: a name that is wrong is told at once, and a file that is named twice would find everything twice.
fn open_claims(paths: &[PathBuf]) -> Result<Vec<ClaimsFile>, Failure> {
    let mut seen = BTreeSet::new();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let cannot = |error: io::Error| Failure::io(format_args!("cannot read the claims {}", path.display()), &error);
        let metadata = path.metadata().map_err(cannot)?;
        if !seen.insert((metadata.dev(), metadata.ino())) {
            return Err(Failure::new(Exit::Usage, format!("{} is named twice", path.display())));
        }
        files.push(ClaimsFile::open(path).map_err(cannot)?);
    }
    Ok(files)
}

/// Whose journal it is: its first record says so.
fn binding_of(data_dir: &Path) -> Result<Binding, Failure> {
    let nothing = || {
        let message =
            format!("{}: no journal is here, or nothing is in it. Give the daemon's --data-dir", data_dir.display());
        Failure::new(Exit::Unavailable, message)
    };
    let folder = SegmentFolder::of(data_dir);
    if !folder.path().is_dir() {
        return Err(nothing());
    }
    JournalFiles::list(&folder)?.binding()?.ok_or_else(nothing)
}

fn read_seeds(paths: &[PathBuf], books: &mut Books) -> Result<SeedsRead, Failure> {
    let (campaign, server) = books.owner();
    let mut read = SeedsRead { files: 0, files_of_others: 0, seeded: Sum::default() };
    let mut files = Vec::new();
    let mut shards = BTreeSet::new();
    for path in find(paths)? {
        let file = SeedFile::open(&path).map_err(|damage| damaged_seed(&damage))?;
        let SeedBinding { campaign: of_campaign, server: of_server, shard } = file.header().binding;
        if (of_campaign, of_server) != (campaign, server) {
            read.files_of_others += 1;
        } else if shards.insert(shard) {
            read.files += 1;
            files.push(file);
        } else {
            let message = format!("{}: shard {shard} is in another of these files already", path.display());
            return Err(Failure::new(Exit::Data, message));
        }
    }
    if files.is_empty() {
        let message =
            format!("there is no seed file (*.hbs) of campaign {campaign}, server {server}, whose journal this is");
        return Err(Failure::new(Exit::Unavailable, message));
    }
    let of = files.iter().map(|file| u64::from(file.header().count)).sum();
    let mut meter = Meter::new("seeded envelopes", of);
    for file in &files {
        let mut damaged = None;
        books.reserve(EnvelopeId::new(server, file.header().binding.shard, 0), file.header().count as usize);
        file.walk(
            |envelope| books.seed(&envelope),
            |damage| {
                damaged.get_or_insert(damage);
            },
        );
        if let Some(damage) = damaged {
            return Err(damaged_seed(&damage));
        }
        meter.at(books.seeded().envelopes, of);
    }
    read.seeded = books.seeded();
    Ok(read)
}

fn damaged_seed(damage: &crate::seed::file::Damage) -> Failure {
    Failure::new(
        Exit::Data,
        format!("{damage}. Replace the seed file from where it was made; `hongbaod seed verify` names all damage"),
    )
}

/// Returns how many records there are.
fn read_journal(data_dir: &Path, books: &mut Books, findings: &mut Findings) -> Result<u64, Failure> {
    let files = JournalFiles::list(&SegmentFolder::of(data_dir))?;
    let base = files.base(&mut Vec::new())?;
    let of = files.bytes();
    let mut meter = Meter::new("bytes of the journal", of);
    let mut done = 0;
    let mut records = 0;
    let mut visit = |sequence, record: &Record| {
        records += 1;
        if let Record::Win(win) = record {
            books.issue(sequence, win, findings);
        }
        Ok(())
    };
    reading::read(&files, base.as_ref(), &mut visit, &mut |bytes| {
        done += bytes;
        meter.at(done, of);
    })?;
    Ok(records)
}

fn read_claims(
    files: &[ClaimsFile],
    books: &Books,
    findings: &mut Findings,
    owed: &mut dyn FnMut(UserId, &Envelope) -> Result<(), Failure>,
) -> Result<ClaimsRead, Failure> {
    let mut read = ClaimsRead { files: files.iter().map(|file| file.path.clone()).collect(), ..ClaimsRead::default() };
    let of = files.iter().map(|file| file.bytes).sum();
    let mut meter = Meter::new("bytes of claims", of);
    let pieces = Pieces::new(files);
    let readers = thread::available_parallelism().map_or(1, NonZero::get).min(RECONCILE_READERS_MAX);
    let (send, outcomes) = sync_channel(readers);
    thread::scope(|scope| {
        for _ in 0..readers {
            let (send, pieces) = (send.clone(), &pieces);
            scope.spawn(move || pieces.work(books, &send));
        }
        drop(send);
        let mut done = 0;
        for outcome in outcomes {
            let outcome: Outcome = outcome.map_err(|(path, error)| {
                Failure::io(format_args!("cannot read the claims {}", path.display()), &error)
            })?;
            read.lines += outcome.lines;
            read.cents = read.cents.saturating_add(outcome.cents);
            read.receipts_checked += outcome.receipts;
            if let (0, Some((file, offset, why))) = (read.unreadable_lines, outcome.first_unreadable) {
                let path = files[file].path.display();
                meter.beside(|| {
                    eprintln!("{path}: the line at byte {offset} is no claim of `hongbao-loadgen run --claims`: {why}");
                });
            }
            read.unreadable_lines += outcome.unreadable;
            outcome.findings.into_iter().for_each(|finding| findings.add(finding));
            outcome.owed.iter().try_for_each(|(user, envelope)| owed(*user, envelope))?;
            done += outcome.bytes;
            meter.at(done, of);
        }
        Ok::<(), Failure>(())
    })?;
    Ok(read)
}

fn write_report(report: &Report<'_>, path: Option<&Path>, output: &mut dyn Write) -> Result<(), Failure> {
    let write = |output: &mut dyn Write| {
        serde_json::to_writer(&mut *output, report).map_err(io::Error::from)?;
        writeln!(output).and_then(|()| output.flush())
    };
    let Some(path) = path else {
        return match write(output) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::io("cannot write the report", &error))
            }
            _ => Ok(()),
        };
    };
    let file = std::fs::File::create(path).and_then(|file| write(&mut io::BufWriter::new(file)));
    file.map_err(|error| Failure::io(format_args!("cannot write {}", path.display()), &error))
}
