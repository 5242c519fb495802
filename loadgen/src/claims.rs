//! Each envelope received, as one JSON object a line: the client's side of the ledger.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use hongbao_protocol::{Cents, EnvelopeId, SponsorId, UserId};
use serde::Serialize;

use crate::audit::Claim;
use crate::exit::Failure;

/// One line.
#[derive(Serialize)]
struct Line {
    envelope: EnvelopeId,
    user: UserId,
    sponsor: SponsorId,
    amount_cents: Cents,
    sequence: u32,
    shown_again: bool,
    /// Microseconds since 1970 UTC.
    time_us: u64,
}

/// The file, or nothing where none was asked for.
pub struct ClaimsFile {
    file: Option<(PathBuf, BufWriter<File>)>,
}

impl ClaimsFile {
    /// Makes the file anew.
    pub fn create(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self { file: None }) };
        let file = File::create(path).map_err(|error| failed(path, &error))?;
        Ok(Self { file: Some((path.to_owned(), BufWriter::with_capacity(1 << 16, file))) })
    }

    /// Adds a line.
    pub fn write(&mut self, claim: &Claim) -> Result<(), Failure> {
        self.with(|file| {
            let line = Line {
                envelope: claim.envelope.id,
                user: claim.user,
                sponsor: claim.envelope.sponsor,
                amount_cents: claim.envelope.amount,
                sequence: claim.sequence,
                shown_again: claim.shown_again,
                time_us: claim.time_us,
            };
            serde_json::to_writer(&mut *file, &line)?;
            file.write_all(b"\n")
        })
    }

    /// Hands all lines to the system, so that they outlive this process.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.with(BufWriter::flush)
    }

    fn with(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<(), Failure> {
        match &mut self.file {
            Some((path, file)) => write(file).map_err(|error| failed(path, &error)),
            None => Ok(()),
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::error(format!("writing the claims to {}: {error}", path.display()))
}
