//! What keeps the ledger from opening or running, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use hongbao_protocol::{CampaignId, ServerId};
use hongbao_uring::Unavailable;
use thiserror::Error;

use super::journal::{SegmentError, SegmentFolder, Sequence, SnapshotError};
use super::receipt::KeyError;
use super::recovery::{Contradiction, Damage};
use crate::exit::{Exit, Failure};

/// The ledger cannot be opened, bound or run.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// Another process holds the data.
    #[error(
        "{}: the data is in use by {holder}. Stop that daemon first, or give this one a folder of its own (--data-dir).", data_dir.display()
    )]
    Locked {
        /// The data folder.
        data_dir: PathBuf,
        /// `process N`, as far as it is known.
        holder: String,
    },
    /// The data folder cannot be used.
    #[error("cannot {doing} {}: {error}. The data folder must exist or be makeable, and belong to the daemon's user: `chown -R USER {}`.",
        path.display(), data_dir.display())]
    DataDir {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The data folder.
        data_dir: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A file of the journal cannot be used.
    #[error("{0}")]
    Segment(#[from] SegmentError),
    /// The journal is damaged.
    #[error(
        "{}: {damage}. Nothing was changed. Keep a copy of the folder (`cp -a {data} {data}.damaged`), see \
         what is readable with `hongbaod ledger verify {data}` and `hongbaod ledger export {data} --format jsonl`, and look for \
         failing memory or disks; the daemon starts only with a whole journal (deploy/RUNBOOK.md, \"The journal is damaged\").",
        file.display(), data = data_dir.display()
    )]
    Damaged {
        /// The segment's file.
        file: PathBuf,
        /// The data folder.
        data_dir: PathBuf,
        /// Where and what.
        damage: Damage,
    },
    /// A snapshot cannot be used.
    #[error(
        "{error}. Nothing was changed. Keep a copy of the folder (`cp -a {data} {data}.damaged`), see all that is wrong with \
         `hongbaod ledger verify {data}`, look for failing memory or disks, and restore a backup (`hongbaod ledger restore`); \
         deploy/RUNBOOK.md, \"The journal is damaged\".", data = data_dir.display()
    )]
    Snapshot {
        /// The data folder.
        data_dir: PathBuf,
        /// Which file, where in it, and what.
        error: SnapshotError,
    },
    /// A snapshot does not hold what the segments hold.
    #[error(
        "{}: the snapshot says something else than the one before it and the segments between. Nothing was changed. Keep a copy of the \
         folder (`cp -a {data} {data}.damaged`); deploy/RUNBOOK.md, \"The journal is damaged\".", file.display(), data = data_dir.display()
    )]
    SnapshotDiffers {
        /// The snapshot.
        file: PathBuf,
        /// The data folder.
        data_dir: PathBuf,
    },
    /// Records of a snapshot contradict each other.
    #[error(
        "{}: record {} {contradiction}. Nothing was changed. Keep a copy of the folder (`cp -a {data} {data}.damaged`) and restore a backup \
         (`hongbaod ledger restore`); deploy/RUNBOOK.md, \"The journal is damaged\".", file.display(), sequence.0, data = data_dir.display()
    )]
    SnapshotContradiction {
        /// The snapshot.
        file: PathBuf,
        /// The data folder.
        data_dir: PathBuf,
        /// Which record.
        sequence: Sequence,
        /// How.
        contradiction: Contradiction,
    },
    /// The receipt key cannot be used.
    #[error(
        "{0}. Put the file back from a backup. Only where there is none: move what is left of it away and make a new key with \
         `hongbaod ledger renew-key DATA`; receipts given out so far can then not be checked any more (deploy/RUNBOOK.md, \"The receipt \
         key\")."
    )]
    Key(#[from] KeyError),
    /// The journal is of another campaign or server.
    #[error(
        "{}: the journal belongs to campaign {found_campaign}, server {found_server}, and the seeds to campaign {campaign}, server \
         {server}. Start with the seeds of that campaign and --server-id {found_server}, or with another --data-dir.", data_dir.display()
    )]
    BoundElsewhere {
        /// The data folder.
        data_dir: PathBuf,
        /// As the journal says.
        found_campaign: CampaignId,
        /// As the journal says.
        found_server: ServerId,
        /// As asked for.
        campaign: CampaignId,
        /// As asked for.
        server: ServerId,
    },
    /// An option has a value that it cannot have.
    #[error("{0}")]
    Option(String),
    /// No ring.
    #[error("{0}")]
    Unavailable(#[from] Unavailable),
    /// The ring broke.
    #[error("the ledger's ring failed: {0}. Acknowledged wins are safe; start the daemon again.")]
    Ring(io::Error),
}

impl LedgerError {
    pub(super) fn data_dir(doing: &'static str, path: &Path, data_dir: &Path) -> impl FnOnce(io::Error) -> Self {
        let (path, data_dir) = (path.to_owned(), data_dir.to_owned());
        move |error| Self::DataDir { doing, path, data_dir, error }
    }

    pub(super) fn damaged(folder: &SegmentFolder, damage: Damage) -> Self {
        Self::Damaged { file: folder.segment_path(damage.segment), data_dir: folder.data_dir().to_owned(), damage }
    }

    /// Whether a file that was there when the folder was listed is not there any more.
    pub(super) fn is_of_a_file_that_is_gone(&self) -> bool {
        match self {
            Self::Segment(SegmentError::Io { error, .. })
            | Self::Snapshot { error: SnapshotError::Io { error, .. }, .. } => error.kind() == io::ErrorKind::NotFound,
            Self::Segment(SegmentError::Missing { .. }) => true,
            _ => false,
        }
    }

    fn exit(&self) -> Exit {
        let of_io = |error: &io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied => Exit::Permission,
            io::ErrorKind::NotFound => Exit::Unavailable,
            _ => Exit::Io,
        };
        match self {
            Self::Locked { .. } | Self::Unavailable(_) => Exit::Unavailable,
            Self::DataDir { error, .. }
            | Self::Segment(SegmentError::Io { error, .. })
            | Self::Snapshot { error: SnapshotError::Io { error, .. }, .. }
            | Self::Key(KeyError::Io { error, .. }) => of_io(error),
            Self::Segment(SegmentError::Missing { .. } | SegmentError::Length { .. })
            | Self::Damaged { .. }
            | Self::Snapshot { error: SnapshotError::Damaged(_), .. }
            | Self::SnapshotContradiction { .. }
            | Self::SnapshotDiffers { .. }
            | Self::Key(KeyError::Damaged { .. } | KeyError::Missing { .. }) => Exit::Data,
            Self::BoundElsewhere { .. } => Exit::Config,
            Self::Option(_) => Exit::Usage,
            Self::Ring(_) => Exit::Os,
        }
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::new(error.exit(), error.to_string())
    }
}
