//! `hongbaod ledger ...`: reading a journal, a live daemon's too. Nothing in the data folder is written or locked.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::accounts::{Accounts, Caps};
use super::backup::{self, BackupArgs, RestoreArgs};
use super::error::LedgerError;
use super::journal::{Record, SegmentFolder, Sequence};
use super::reading::JournalFiles;
use super::receipt_command::{self, CheckReceiptArgs};
use super::reconcile::{self, ReconcileArgs};
use super::recovery::Tail;
use super::replay::{Replayed, replay, replay_in_use};
use super::text::rfc3339;
use super::verify::verify_snapshots;
use crate::exit::{Exit, Failure};

/// Look into a ledger.
#[derive(Debug, Args)]
pub struct LedgerArgs {
    #[command(subcommand)]
    command: LedgerCommand,
}

#[derive(Debug, Subcommand)]
enum LedgerCommand {
    /// Check every block and record of a journal.
    ///
    /// Exits with 0 where the journal is whole, even while a daemon writes to it, and with 65 where it is damaged. A write that a crash
    /// left unfinished at the end is no damage: nobody was told of what it held, and the next start cuts it.
    #[command(
        after_help = "Examples:\n  hongbaod ledger verify /var/lib/hongbao\n  hongbaod ledger verify ./data && echo whole"
    )]
    Verify {
        /// The data folder.
        #[arg(value_name = "DIR")]
        data_dir: PathBuf,
    },
    /// Say what a ledger holds.
    #[command(
        after_help = "Examples:\n  hongbaod ledger show /var/lib/hongbao\n  hongbaod ledger show ./data --json | jq .issued"
    )]
    Show {
        /// The data folder.
        #[arg(value_name = "DIR")]
        data_dir: PathBuf,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Write every record to the standard output, the oldest first.
    ///
    /// Of a damaged journal, all that is whole up to the damage is written, and then it exits with 65.
    #[command(after_help = "Examples:\n  hongbaod ledger export /var/lib/hongbao --format jsonl > wins.jsonl\n  \
        hongbaod ledger export ./data | jq -r 'select(.kind == \"win\") | [.user, .amount_cents] | @csv'")]
    Export {
        /// The data folder.
        #[arg(value_name = "DIR")]
        data_dir: PathBuf,
        /// How.
        #[arg(long, value_enum, default_value_t = Format::Jsonl)]
        format: Format,
    },
    /// Hold seeds, journal and the clients' claims against each other.
    ///
    /// Each discrepancy is named by its kind. Exits with 65 where one costs money: an envelope issued twice, claimed but not issued,
    /// over a cap, with a wrong amount, foreign or unknown. One that was issued and never shown costs none: it waits for its winner, and
    /// goes on the re-issue list. Of a running daemon, take a backup first and reconcile that.
    #[command(after_help = RECONCILE_EXAMPLES)]
    Reconcile(ReconcileArgs),
    /// Copy a ledger, a running daemon's too.
    ///
    /// The copy is what the ledger held at one moment; every record told as won before the command began is in it. It is checked before it
    /// gets its name, and holds the receipt key.
    #[command(
        after_help = "Examples:\n  hongbaod ledger backup /var/lib/hongbao/ledger --output /backup/ledger-$(date +%Y%m%dT%H%M%S)"
    )]
    Backup(BackupArgs),
    /// Put a backup in the place of a lost ledger.
    ///
    /// What was issued after the backup was made is not in it, and would be issued again: read deploy/RUNBOOK.md, "Restoring a backup".
    #[command(after_help = "Examples:\n  mv /var/lib/hongbao/ledger /var/lib/hongbao/ledger.old\n  \
        hongbaod ledger restore /backup/ledger-20260217T120000 --data-dir /var/lib/hongbao/ledger")]
    Restore(RestoreArgs),
    /// Check a client's receipt with the receipt key alone, without the ledger.
    ///
    /// Exits with 0 where the server promised this very envelope to this user, and with 65 where it did not.
    #[command(after_help = CHECK_RECEIPT_EXAMPLES)]
    CheckReceipt(CheckReceiptArgs),
    /// Make a new receipt key where the old one is lost.
    ///
    /// Receipts that were given out under the old one can then not be checked any more.
    #[command(after_help = "Examples:\n  mv ./data/receipt.key ./receipt.key.old && hongbaod ledger renew-key ./data")]
    RenewKey {
        /// The data folder, which no daemon uses.
        #[arg(value_name = "DIR")]
        data_dir: PathBuf,
    },
}

const CHECK_RECEIPT_EXAMPLES: &str = "\
Examples:
  hongbaod ledger check-receipt --key /var/lib/hongbao/receipt.key --campaign 2027 --user 7 --envelope 281474976710656 \\
    --sponsor 3 --amount-cents 888 --receipt 000102030405060708090a0b0c0d0e0f && echo pay";

const RECONCILE_EXAMPLES: &str = "\
Examples:
  hongbaod ledger reconcile --data-dir /var/lib/hongbao --seeds seeds/server-01 --claims claims-*.jsonl
  hongbaod ledger reconcile --data-dir data --seeds seeds --claims claims.jsonl --report report.json --reissue reissue.jsonl
  hongbaod ledger reconcile --data-dir data --seeds seeds --claims claims.jsonl | jq '.kinds[] | select(.count > 0)'";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object a line.
    Jsonl,
}

/// Runs the command.
pub fn run(args: LedgerArgs) -> Result<(), Failure> {
    let output = &mut BufWriter::new(io::stdout().lock());
    let done = match args.command {
        LedgerCommand::Verify { data_dir } => verify(&data_dir, output),
        LedgerCommand::Show { data_dir, json } => show(&data_dir, json, output),
        LedgerCommand::Export { data_dir, format: Format::Jsonl } => export(&data_dir, output),
        LedgerCommand::Reconcile(args) => return reconcile::run(&args, output),
        LedgerCommand::Backup(args) => return backup::backup(&args, output),
        LedgerCommand::Restore(args) => return backup::restore(&args, output),
        LedgerCommand::CheckReceipt(args) => return receipt_command::check(&args, output),
        LedgerCommand::RenewKey { data_dir } => return receipt_command::renew(&data_dir),
    };
    let flushed = output.flush().map_err(CommandError::Output);
    match done.and(flushed) {
        // Whoever reads our output has seen enough.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(CommandError::Output(error)) => Err(Failure::io("cannot write the output", &error)),
        Err(CommandError::Missing(data_dir)) => Err(missing(&data_dir)),
        Err(CommandError::Ledger(error)) => Err(error.into()),
        Ok(()) => Ok(()),
    }
}

fn missing(data_dir: &Path) -> Failure {
    let message =
        format!("{}: no journal is here. Give the data folder, that of the daemon's --data-dir.", data_dir.display());
    Failure::new(Exit::Unavailable, message)
}

enum CommandError {
    Ledger(LedgerError),
    Missing(PathBuf),
    Output(io::Error),
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<LedgerError> for CommandError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

/// What `show` prints.
#[derive(Debug, Serialize)]
struct Summary {
    campaign: Option<u64>,
    server: Option<u16>,
    journal: Option<String>,
    begun: Option<String>,
    segments: usize,
    segment_bytes: u64,
    snapshots: usize,
    snapshot_bytes: u64,
    blocks: u64,
    records: u64,
    issued: u64,
    issued_cents: u64,
    users: u64,
    last_block: u64,
    last_win: Option<String>,
    end_segment: u32,
    end_offset: u64,
    unfinished_bytes: u64,
}

impl Summary {
    fn new(replayed: &Replayed, accounts: &Accounts) -> Self {
        let point = &replayed.point;
        Self {
            campaign: replayed.binding.map(|binding| binding.campaign.0),
            server: replayed.binding.map(|binding| binding.server.0),
            journal: point.journal.map(|journal| format!("{:032x}", journal.0)),
            begun: replayed.binding.map(|binding| rfc3339(binding.time_us)),
            segments: replayed.files.segments.len(),
            segment_bytes: replayed.files.segments.iter().map(|segment| segment.bytes).sum(),
            snapshots: replayed.files.snapshots.len(),
            snapshot_bytes: replayed.files.snapshots.iter().map(|snapshot| snapshot.bytes).sum(),
            blocks: point.block - 1,
            records: point.record.0 - 1,
            issued: accounts.issued(),
            issued_cents: accounts.cents().0,
            users: accounts.users(),
            last_block: point.block - 1,
            last_win: (replayed.last_win_us > 0).then(|| rfc3339(replayed.last_win_us)),
            end_segment: point.segment.0,
            end_offset: point.offset,
            unfinished_bytes: match &replayed.tail {
                Tail::Clean => 0,
                Tail::Torn(range) => range.end - range.start,
            },
        }
    }
}

fn read(data_dir: &Path) -> Result<(Replayed, Accounts), CommandError> {
    if !SegmentFolder::of(data_dir).path().is_dir() {
        return Err(CommandError::Missing(data_dir.to_owned()));
    }
    Ok(replay_in_use(data_dir, || Accounts::new(Caps::UNLIMITED, 0))?)
}

/// What `verify` checks, with nothing written.
///
/// # Errors
/// As the command's.
pub fn verify_quietly(data_dir: &Path) -> Result<(), Failure> {
    verify(data_dir, &mut io::sink()).map_err(|error| match error {
        CommandError::Ledger(error) => error.into(),
        CommandError::Missing(data_dir) => missing(&data_dir),
        CommandError::Output(error) => Failure::io("cannot write the output", &error),
    })
}

fn verify(data_dir: &Path, output: &mut dyn Write) -> Result<(), CommandError> {
    let (replayed, accounts) = read(data_dir)?;
    match verify_snapshots(&replayed.files) {
        // A compaction of the running daemon came between: what there is now is looked at.
        Err(error) if error.is_of_a_file_that_is_gone() => {
            verify_snapshots(&JournalFiles::list(&replayed.files.folder)?)?;
        }
        verified => verified?,
    }
    let summary = Summary::new(&replayed, &accounts);
    writeln!(
        output,
        "{}: whole: {} records in {} blocks, {} segments and {} snapshots, {} envelopes issued, {} cents",
        data_dir.display(),
        summary.records,
        summary.blocks,
        summary.segments,
        summary.snapshots,
        summary.issued,
        summary.issued_cents
    )?;
    if let Tail::Torn(range) = &replayed.tail {
        writeln!(
            output,
            "{}: bytes {} to {} are a write that is not finished, by a crash or by the daemon that is running; nobody was told of it",
            SegmentFolder::of(data_dir).segment_path(replayed.point.segment).display(),
            range.start,
            range.end
        )?;
    }
    Ok(())
}

fn show(data_dir: &Path, json: bool, output: &mut dyn Write) -> Result<(), CommandError> {
    let (replayed, accounts) = read(data_dir)?;
    let summary = Summary::new(&replayed, &accounts);
    if json {
        serde_json::to_writer(&mut *output, &summary).map_err(io::Error::from)?;
        return Ok(writeln!(output)?);
    }
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    let number = |number: Option<u64>| number.map_or_else(|| "none".to_owned(), |number| number.to_string());
    let lines = [
        ("campaign", number(summary.campaign)),
        ("server", number(summary.server.map(u64::from))),
        ("journal", or_none(&summary.journal)),
        ("begun", or_none(&summary.begun)),
        ("segments", format!("{} ({} bytes)", summary.segments, summary.segment_bytes)),
        ("snapshots", format!("{} ({} bytes)", summary.snapshots, summary.snapshot_bytes)),
        ("records", summary.records.to_string()),
        ("envelopes issued", summary.issued.to_string()),
        ("cents issued", summary.issued_cents.to_string()),
        ("users", summary.users.to_string()),
        ("last block", summary.last_block.to_string()),
        ("last win", or_none(&summary.last_win)),
        ("end", format!("segment {}, offset {}", replayed.point.segment, summary.end_offset)),
        ("unfinished bytes", summary.unfinished_bytes.to_string()),
    ];
    for (name, value) in lines {
        writeln!(output, "{name:<18}{value}")?;
    }
    Ok(())
}

/// One line of `export`.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Binding {
        sequence: u64,
        campaign: u64,
        server: u16,
        time: String,
    },
    Win {
        sequence: u64,
        envelope: u64,
        sponsor: u32,
        user: u64,
        amount_cents: u64,
        time: String,
    },
    GiftSent {
        sequence: u64,
        gift: u64,
        user: u64,
        request: u64,
        amount_cents: u64,
        shares: u16,
        recipients: Vec<u64>,
        house_pays: bool,
        expires: String,
        time: String,
    },
    GiftOpened {
        sequence: u64,
        gift: u64,
        user: u64,
        amount_cents: u64,
        time: String,
    },
    GiftRefunded {
        sequence: u64,
        gift: u64,
        amount_cents: u64,
        time: String,
    },
}

impl Line {
    fn new(sequence: Sequence, record: &Record) -> Self {
        let sequence = sequence.0;
        match record {
            Record::Binding(binding) => Self::Binding {
                sequence,
                campaign: binding.campaign.0,
                server: binding.server.0,
                time: rfc3339(binding.time_us),
            },
            Record::Win(win) => Self::Win {
                sequence,
                envelope: win.envelope.id.0,
                sponsor: win.envelope.sponsor.0,
                user: win.user.0,
                amount_cents: win.envelope.amount.0,
                time: rfc3339(win.time_us),
            },
            Record::GiftSent(sent) => Self::GiftSent {
                sequence,
                gift: sent.gift.0,
                user: sent.order.sender.0,
                request: sent.order.request,
                amount_cents: sent.order.total.0,
                shares: sent.order.shares,
                recipients: sent.order.recipients.as_slice().iter().map(|user| user.0).collect(),
                house_pays: sent.house_pays,
                expires: rfc3339(sent.expires_us),
                time: rfc3339(sent.time_us),
            },
            Record::GiftOpened(opened) => Self::GiftOpened {
                sequence,
                gift: opened.gift.0,
                user: opened.user.0,
                amount_cents: opened.share.0,
                time: rfc3339(opened.time_us),
            },
            Record::GiftRefunded(refunded) => Self::GiftRefunded {
                sequence,
                gift: refunded.gift.0,
                amount_cents: refunded.amount.0,
                time: rfc3339(refunded.time_us),
            },
        }
    }
}

/// First finds out how far the journal is whole, then writes that far: a daemon may be writing on.
fn export(data_dir: &Path, output: &mut dyn Write) -> Result<(), CommandError> {
    let (end, verdict) = match read(data_dir) {
        Ok((replayed, _)) => (replayed.point.record, Ok(())),
        Err(CommandError::Ledger(error @ LedgerError::Damaged { .. })) => (Sequence(u64::MAX), Err(error)),
        Err(error) => return Err(error),
    };
    let mut written = Ok(());
    let folder = SegmentFolder::of(data_dir);
    let files = JournalFiles::list(&folder)?;
    let mut accounts = Accounts::new(Caps::UNLIMITED, 0);
    let walked = replay(files, &mut accounts, &mut |sequence, record| {
        if sequence < end && written.is_ok() {
            written = serde_json::to_writer(&mut *output, &Line::new(sequence, record))
                .map_err(io::Error::from)
                .and_then(|()| writeln!(output));
        }
    });
    written?;
    verdict?;
    match walked {
        // Damage behind the end of the first walk is the daemon's writing.
        Ok(_) | Err(LedgerError::Damaged { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_journal_is_refused_with_what_to_give() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let args = LedgerArgs { command: LedgerCommand::Verify { data_dir: dir.path().to_owned() } };
        let failure = run(args).expect_err("nothing is there");
        assert_eq!(failure.exit, Exit::Unavailable);
        assert!(failure.message.contains("--data-dir"), "{}", failure.message);
    }
}
