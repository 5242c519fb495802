//! `hongbaod ledger backup` and `restore`: a whole copy of a ledger, of a running daemon's too.
//!
//! What the journal held at one moment is found first; nothing before that point changes any more, so that copying it up to there, and
//! zeros behind, is the ledger of that moment, whatever the daemon writes meanwhile. The copy is read again before it gets its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use clap::Args;

use super::accounts::{Accounts, Caps};
use super::error::LedgerError;
use super::journal::{SegmentFolder, SnapshotDamage};
use super::lock::DataLock;
use super::reading::JournalFiles;
use super::receipt::ReceiptKey;
use super::replay::{Replayed, replay, replay_in_use};
use super::text::rfc3339;
use crate::exit::{Exit, Failure};
use crate::limits::{BACKUP_TRIES_MAX, SNAPSHOT_STEP_BYTES};

/// What `backup` is told.
#[derive(Args, Clone, Debug)]
pub(super) struct BackupArgs {
    /// The data folder; its daemon may be running.
    #[arg(value_name = "DIR")]
    data_dir: PathBuf,
    /// The backup's folder, which must not be there yet. It holds the receipt key too: keep it as safe as the data folder.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

/// What `restore` is told.
#[derive(Args, Clone, Debug)]
pub(super) struct RestoreArgs {
    /// A folder that `backup` made.
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// The data folder, without a journal in it.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

/// What a copy holds.
struct Copied {
    records: u64,
    issued: u64,
    cents: u64,
    last_win_us: u64,
}

impl Copied {
    fn text(&self) -> String {
        let last = if self.last_win_us == 0 { "none".to_owned() } else { rfc3339(self.last_win_us) };
        format!("{} records, {} envelopes issued, {} cents, last win {last}", self.records, self.issued, self.cents)
    }
}

/// Makes a backup.
pub(super) fn backup(args: &BackupArgs, output: &mut dyn Write) -> Result<(), Failure> {
    let target = &args.output;
    if target.exists() {
        let message = format!("{}: something is there already. Name a folder that is not there yet", target.display());
        return Err(Failure::new(Exit::Unavailable, message));
    }
    let mut unfinished = target.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    let copied = copy_while_in_use(&args.data_dir, &unfinished)?;
    give_name(&unfinished, target)?;
    say(output, &format!("{}: whole: {}", target.display(), copied.text()))
}

/// Puts a backup in the place of a lost ledger.
pub(super) fn restore(args: &RestoreArgs, output: &mut dyn Write) -> Result<(), Failure> {
    let data_dir = &args.data_dir;
    let _lock = DataLock::acquire(data_dir)?;
    let (journal, key) = (data_dir.join("journal"), ReceiptKey::path(data_dir));
    for there in [&journal, &key] {
        if there.exists() {
            let message = format!(
                "{}: this data folder has a ledger. Move it away as a whole first (`mv {data} {data}.old`), and keep it",
                there.display(),
                data = data_dir.display()
            );
            return Err(Failure::new(Exit::Unavailable, message));
        }
    }
    let passing = data_dir.join("restoring");
    let copied = copy_while_in_use(&args.backup, &passing)?;
    hand_over(&passing, data_dir)?;
    let restored_key = ReceiptKey::path(&passing);
    if restored_key.exists() {
        give_name(&restored_key, &key)?;
    }
    // The journal last: with it the ledger is there.
    give_name(&passing.join("journal"), &journal)?;
    fs::remove_dir(&passing)
        .map_err(|error| Failure::io(format_args!("cannot remove {}", passing.display()), &error))?;
    let since = if copied.last_win_us == 0 { "its beginning".to_owned() } else { rfc3339(copied.last_win_us) };
    eprintln!(
        "{}: this ledger knows nothing of what was issued after {since}. A daemon that goes on with it and the same seeds can issue those \
         envelopes again: read deploy/RUNBOOK.md, \"Restoring a backup\", before you start one.",
        data_dir.display()
    );
    say(output, &format!("{}: restored: {}", data_dir.display(), copied.text()))
}

fn say(output: &mut dyn Write, line: &str) -> Result<(), Failure> {
    match writeln!(output, "{line}").and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::io("cannot write the output", &error)),
        _ => Ok(()),
    }
}

/// Copies what the ledger in `source` holds now, and checks the copy.
fn copy_while_in_use(source: &Path, target: &Path) -> Result<Copied, Failure> {
    if !SegmentFolder::of(source).path().is_dir() {
        let message = format!("{}: no journal is here. Give the daemon's data folder, or a backup", source.display());
        return Err(Failure::new(Exit::Unavailable, message));
    }
    for _ in 1..BACKUP_TRIES_MAX {
        match copy(source, target) {
            // A compaction of the running daemon removed what was to be copied: what is there now holds it.
            Err(error) if error.gone => {}
            copied => return copied.map_err(|error| error.failure),
        }
    }
    copy(source, target).map_err(|error| error.failure)
}

/// Why a copy was not made.
struct CopyError {
    failure: Failure,
    /// A file was there when the folder was listed, and is not any more.
    gone: bool,
}

impl From<LedgerError> for CopyError {
    fn from(error: LedgerError) -> Self {
        Self { gone: error.is_of_a_file_that_is_gone(), failure: error.into() }
    }
}

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl Fn(io::Error) -> CopyError + 'a {
    move |error| CopyError {
        gone: doing == "read" && error.kind() == io::ErrorKind::NotFound,
        failure: Failure::io(format_args!("cannot {doing} {}", path.display()), &error),
    }
}

fn copy(source: &Path, target: &Path) -> Result<Copied, CopyError> {
    if target.exists() {
        fs::remove_dir_all(target).map_err(failed("remove", target))?;
    }
    let (found, accounts) = replay_in_use(source, || Accounts::new(Caps::UNLIMITED, 0))?;
    let folder = SegmentFolder::of(target);
    fs::DirBuilder::new().recursive(true).mode(0o750).create(folder.path()).map_err(failed("make", folder.path()))?;
    let base = found.files.base(&mut Vec::<SnapshotDamage>::new())?;
    let from = base.as_ref().map_or(0, |base| base.file().covers.0);
    if let Some(base) = &base {
        let file = base.file();
        copy_file(&file.path, file.bytes, file.bytes, &folder.snapshot_path(file.covers))?;
    }
    let end = found.point;
    for segment in found.files.segments.iter().filter(|segment| (from + 1..=end.segment.0).contains(&segment.number.0))
    {
        let content = if segment.number == end.segment { end.offset } else { segment.bytes };
        copy_file(&segment.path, content, segment.bytes, &folder.segment_path(segment.number))?;
    }
    let key = ReceiptKey::path(source);
    if key.exists() {
        copy_key(&key, &ReceiptKey::path(target)).map_err(failed("copy", &key))?;
    }
    for made in [folder.path(), target] {
        File::open(made).and_then(|made| made.sync_all()).map_err(failed("sync", made))?;
    }
    let copied = Copied {
        records: end.record.0 - 1,
        issued: accounts.issued(),
        cents: accounts.cents().0,
        last_win_us: found.last_win_us,
    };
    drop(accounts);
    let mut again = Accounts::new(Caps::UNLIMITED, 0);
    let Replayed { point, .. } = replay(JournalFiles::list(&folder)?, &mut again, &mut |_, _| {})?;
    if (point, again.issued(), again.cents().0) != (end, copied.issued, copied.cents) {
        let message = format!("{}: the copy does not hold what was copied: look at the disk", target.display());
        return Err(CopyError { failure: Failure::new(Exit::Data, message), gone: false });
    }
    Ok(copied)
}

/// Copies the first `content` bytes and fills up to `length` with zeros, in steps that are synced, so that a running daemon's commits
/// wait for one of them at most.
fn copy_file(from: &Path, content: u64, length: u64, to: &Path) -> Result<(), CopyError> {
    let mut source = File::open(from).map_err(failed("read", from))?.take(content);
    let mut target =
        OpenOptions::new().write(true).create_new(true).mode(0o640).open(to).map_err(failed("make", to))?;
    let mut step = vec![0; SNAPSHOT_STEP_BYTES];
    let mut done = 0;
    while done < length {
        let wanted = (length - done).min(SNAPSHOT_STEP_BYTES as u64) as usize;
        step[..wanted].fill(0);
        let mut filled = 0;
        while filled < wanted {
            match source.read(&mut step[filled..wanted]).map_err(failed("read", from))? {
                0 => break,
                count => filled += count,
            }
        }
        target.write_all(&step[..wanted]).and_then(|()| target.sync_data()).map_err(failed("write", to))?;
        done += wanted as u64;
    }
    target.sync_all().map_err(failed("sync", to))
}

fn copy_key(from: &Path, to: &Path) -> io::Result<()> {
    let bytes = fs::read(from)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    file.write_all(&bytes)?;
    file.sync_all()
}

/// Gives everything in `passing` to the owner of the data folder, as who restores is often root and the daemon is not.
fn hand_over(passing: &Path, data_dir: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io(format_args!("cannot hand over {}", passing.display()), &error);
    let owner = data_dir.metadata().map_err(failed)?;
    let mut places = vec![passing.join("journal"), ReceiptKey::path(passing)];
    for entry in passing.join("journal").read_dir().map_err(failed)? {
        places.push(entry.map_err(failed)?.path());
    }
    let places = places.into_iter().chain([data_dir.join("lock")]).filter(|place| place.exists());
    for place in places {
        let has = place.metadata().map_err(failed)?;
        if (has.uid(), has.gid()) != (owner.uid(), owner.gid()) {
            chown(&place, Some(owner.uid()), Some(owner.gid())).map_err(failed)?;
        }
    }
    Ok(())
}

/// Renames, durably.
fn give_name(from: &Path, to: &Path) -> Result<(), Failure> {
    let parent = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let renamed = fs::rename(from, to).and_then(|()| File::open(parent)?.sync_all());
    renamed.map_err(|error| Failure::io(format_args!("cannot rename {} to {}", from.display(), to.display()), &error))
}
