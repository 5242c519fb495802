//! Each envelope received, as one JSON object a line: the client's side of the ledger.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use hongbao_protocol::{Cents, Envelope, EnvelopeId, Receipt, SponsorId, UserId};
use serde::{Deserialize, Serialize};

use crate::audit::Claim;
use crate::exit::Failure;
use crate::limits::CLAIM_LINE_BYTES_MAX;

/// One line.
#[derive(Serialize, Deserialize)]
struct Line {
    envelope: EnvelopeId,
    user: UserId,
    sponsor: SponsorId,
    amount_cents: Cents,
    sequence: u32,
    shown_again: bool,
    /// Microseconds since 1970 UTC.
    time_us: u64,
    receipt: Receipt,
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
                receipt: claim.receipt,
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

/// Gives every receipt of a file out. A damaged line is an error: what it held would be missing from the audit.
pub fn read(path: &Path, mut take: impl FnMut(Claim)) -> Result<(), Failure> {
    let failed = |why: String| Failure::error(format!("reading the claims {}: {why}", path.display()));
    let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(|error| failed(error.to_string()))?);
    let mut text = Vec::new();
    for number in 1_u64.. {
        text.clear();
        let length = (&mut file).take(CLAIM_LINE_BYTES_MAX).read_until(b'\n', &mut text);
        if length.map_err(|error| failed(error.to_string()))? == 0 {
            break;
        }
        let line: Line = serde_json::from_slice(&text)
            .map_err(|error| failed(format!("line {number} is no claim of `run --claims`: {error}")))?;
        take(Claim {
            user: line.user,
            envelope: Envelope { id: line.envelope, sponsor: line.sponsor, amount: line.amount_cents },
            sequence: line.sequence,
            shown_again: line.shown_again,
            time_us: line.time_us,
            receipt: line.receipt,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_what_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let envelope = Envelope { id: EnvelopeId(7), sponsor: SponsorId(3), amount: Cents(150) };
        let claims: Vec<Claim> = (0..5)
            .map(|n| Claim {
                user: UserId(n),
                envelope,
                sequence: 9,
                shown_again: n % 2 == 0,
                time_us: 1 << n,
                receipt: Receipt([n as u8; 16]),
            })
            .collect();
        let mut written = ClaimsFile::create(Some(file.path())).unwrap();
        for claim in &claims {
            written.write(claim).unwrap();
        }
        written.flush().unwrap();
        let mut seen = Vec::new();
        read(file.path(), |claim| seen.push(claim)).unwrap();
        assert_eq!(seen, claims);
    }

    #[test]
    fn a_damaged_line_is_an_error_with_its_number() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let line = r#"{"envelope":1,"user":1,"sponsor":1,"amount_cents":1,"sequence":1,"shown_again":false,"time_us":1,"receipt":"000102030405060708090a0b0c0d0e0f"}"#;
        for second in [&line[..40], "", "{}", &"x".repeat(10_000)] {
            std::fs::write(file.path(), format!("{line}\n{second}\n")).unwrap();
            let failure = read(file.path(), |_| {}).unwrap_err();
            assert!(failure.message.contains("line 2"), "{failure}");
        }
    }
}
