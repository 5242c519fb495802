//! Each envelope received, as one JSON object a line: the client's side of the ledger.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use hongbao_protocol::{Cents, EnvelopeId, SponsorId, UserId};
use humantime::{Rfc3339Timestamp, format_rfc3339_micros};
use serde::{Serialize, Serializer};

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
    /// As `hongbaod ledger export` writes it: RFC 3339 with microseconds.
    #[serde(serialize_with = "as_text")]
    time: Rfc3339Timestamp,
}

fn as_text<S: Serializer>(time: &Rfc3339Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
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
                time: format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(claim.time_us)),
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

#[cfg(test)]
mod tests {
    use hongbao_protocol::Envelope;

    use super::*;

    #[test]
    fn a_line_has_the_fields_of_the_ledger_s_export() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let envelope = Envelope { id: EnvelopeId(u64::MAX), sponsor: SponsorId(3), amount: Cents(250) };
        let time_us = 1_423_915_200_000_042;
        let mut claims = ClaimsFile::create(Some(file.path())).expect("a file");
        claims.write(&Claim { user: UserId(9), envelope, sequence: 4, shown_again: false, time_us }).expect("a line");
        claims.flush().expect("written");
        assert_eq!(
            std::fs::read_to_string(file.path()).expect("readable"),
            concat!(
                r#"{"envelope":18446744073709551615,"user":9,"sponsor":3,"amount_cents":250,"sequence":4,"#,
                r#""shown_again":false,"time":"2015-02-14T12:00:00.000042Z"}"#,
                "\n"
            )
        );
    }
}
