//! Each gift granted and each share told, as one JSON object a line: the client's side of the ledger's gifts. The names are those of
//! `hongbaod ledger export`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::told::Told;
use crate::clock::Clock;
use crate::exit::Failure;

/// One line. Times are microseconds since 1970 UTC.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    GiftSent {
        gift: u64,
        user: u64,
        request: u64,
        amount_cents: u64,
        shares: u16,
        recipients: Vec<u64>,
        again: bool,
        time_us: u64,
    },
    GiftOpened {
        gift: u64,
        user: u64,
        amount_cents: u64,
        again: bool,
        time_us: u64,
    },
}

/// The file, or nothing where none was asked for.
pub struct GiftClaimsFile {
    file: Option<(PathBuf, BufWriter<File>)>,
    first_user: u64,
    clock: Clock,
}

impl GiftClaimsFile {
    /// Makes the file anew. Users are counted from this one.
    pub fn create(path: Option<&Path>, first_user: u64, clock: Clock) -> Result<Self, Failure> {
        let file = match path {
            None => None,
            Some(path) => {
                let file = File::create(path).map_err(|error| failed(path, &error))?;
                Some((path.to_owned(), BufWriter::with_capacity(1 << 16, file)))
            }
        };
        Ok(Self { file, first_user, clock })
    }

    /// Adds a line, where what was told is one.
    pub fn write(&mut self, told: &Told) -> Result<(), Failure> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let line = match told {
            Told::Sent(sent) => Line::GiftSent {
                gift: sent.gift.0,
                user: sent.sender.0,
                request: sent.request,
                amount_cents: sent.total.0,
                shares: sent.shares,
                recipients: sent.named.users(self.first_user).map(|user| user.0).collect(),
                again: sent.again,
                time_us: self.clock.unix_ns(sent.told_ns) / 1_000,
            },
            Told::Opened(opened) => Line::GiftOpened {
                gift: opened.gift.0,
                user: opened.user.0,
                amount_cents: opened.share.0,
                again: opened.again,
                time_us: self.clock.unix_ns(opened.told_ns) / 1_000,
            },
            Told::Denied { .. } | Told::Closed { .. } => return Ok(()),
        };
        let written =
            serde_json::to_writer(&mut *file, &line).map_err(io::Error::from).and_then(|()| file.write_all(b"\n"));
        written.map_err(|error| failed(path, &error))
    }

    /// Hands all lines to the system, so that they outlive this process.
    pub fn flush(&mut self) -> Result<(), Failure> {
        match &mut self.file {
            Some((path, file)) => file.flush().map_err(|error| failed(path, &error)),
            None => Ok(()),
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::error(format!("writing the gifts to {}: {error}", path.display()))
}
