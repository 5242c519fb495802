//! Reading claims files, on as many threads as there are cores: each takes the next piece of a file, with the lines that begin in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;

use hongbao_protocol::{Cents, Envelope, EnvelopeId, Receipt, SponsorId, UserId};
use serde::Deserialize;

use super::books::{Books, Claim};
use super::finding::{Finding, Kind, Source};
use crate::limits::{CLAIM_LINE_BYTES_MAX, RECONCILE_CHUNK_BYTES};

/// One line, as `hongbao-loadgen run --claims` writes it.
#[derive(Deserialize)]
struct Line {
    envelope: EnvelopeId,
    user: UserId,
    sponsor: SponsorId,
    amount_cents: Cents,
    shown_again: bool,
    receipt: Option<Receipt>,
}

/// An open claims file.
#[derive(Debug)]
pub(super) struct ClaimsFile {
    /// As it was named.
    pub(super) path: PathBuf,
    file: File,
    /// Its length when it was opened; what is appended later is not looked at.
    pub(super) bytes: u64,
}

impl ClaimsFile {
    /// Opens it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes })
    }
}

/// A piece of a file.
#[derive(Clone, Copy, Debug)]
struct Piece {
    file: usize,
    offset: u64,
}

/// What is to be read, piece by piece.
#[derive(Debug)]
pub(super) struct Pieces<'a> {
    files: &'a [ClaimsFile],
    all: Vec<Piece>,
    next: AtomicUsize,
}

/// What came of one piece.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Bytes of the piece.
    pub(super) bytes: u64,
    /// Lines.
    pub(super) lines: u64,
    /// What they claim, in cents.
    pub(super) cents: u64,
    /// Lines that are no claim.
    pub(super) unreadable: u64,
    /// The first of them: file, offset, why.
    pub(super) first_unreadable: Option<(usize, u64, String)>,
    /// What was found.
    pub(super) findings: Vec<Finding>,
    /// What was promised, by its receipt, and is not in the journal.
    pub(super) owed: Vec<(UserId, Envelope)>,
    /// Receipts checked.
    pub(super) receipts: u64,
}

impl<'a> Pieces<'a> {
    /// All pieces of these files.
    pub(super) fn new(files: &'a [ClaimsFile]) -> Self {
        let pieces = files.iter().enumerate().flat_map(|(file, opened)| {
            (0..opened.bytes).step_by(RECONCILE_CHUNK_BYTES).map(move |offset| Piece { file, offset })
        });
        Self { files, all: pieces.collect(), next: AtomicUsize::new(0) }
    }

    /// Reads pieces until none is left, and tells what came of each. Ends early where nobody listens any more.
    pub(super) fn work(&self, books: &Books, outcomes: &SyncSender<Result<Outcome, (PathBuf, io::Error)>>) {
        let mut buffer = vec![0; 1 + RECONCILE_CHUNK_BYTES + CLAIM_LINE_BYTES_MAX];
        while let Some(piece) = self.all.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let opened = &self.files[piece.file];
            let outcome = read_piece(opened, *piece, books, &mut buffer).map_err(|error| (opened.path.clone(), error));
            if outcomes.send(outcome).is_err() {
                return;
            }
        }
    }
}

/// Reads the lines that begin in a piece.
fn read_piece(opened: &ClaimsFile, piece: Piece, books: &Books, buffer: &mut [u8]) -> io::Result<Outcome> {
    // One byte before tells whether a line begins with the piece; some behind hold the end of its last line.
    let before = u64::from(piece.offset > 0);
    let start = piece.offset - before;
    let end = opened.bytes.min(piece.offset + RECONCILE_CHUNK_BYTES as u64);
    let read_end = opened.bytes.min(end + CLAIM_LINE_BYTES_MAX as u64);
    let bytes = &mut buffer[..(read_end - start) as usize];
    opened.file.read_exact_at(bytes, start)?;
    let mut outcome = Outcome { bytes: end - piece.offset, ..Outcome::default() };
    let mut at = match before {
        0 => 0,
        _ => memchr(bytes).map_or(bytes.len(), |newline| newline + 1),
    };
    while start + (at as u64) < end {
        let rest = &bytes[at..];
        let length = memchr(rest).map_or(rest.len(), |newline| newline + 1);
        take_line(&rest[..length], piece.file, start + at as u64, books, &mut outcome);
        at += length;
    }
    Ok(outcome)
}

fn memchr(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}

fn take_line(text: &[u8], file: usize, offset: u64, books: &Books, outcome: &mut Outcome) {
    let line: Line = match serde_json::from_slice(text) {
        Ok(line) => line,
        Err(error) => {
            outcome.unreadable += 1;
            outcome.first_unreadable.get_or_insert_with(|| (file, offset, error.to_string()));
            return;
        }
    };
    outcome.lines += 1;
    outcome.receipts += u64::from(line.receipt.is_some());
    outcome.cents = outcome.cents.saturating_add(line.amount_cents.0);
    let claim = Claim {
        user: line.user,
        envelope: Envelope { id: line.envelope, sponsor: line.sponsor, amount: line.amount_cents },
        shown_again: line.shown_again,
        receipt: line.receipt,
    };
    let Some(finding) = books.claim(&claim, Source::Claims { file, offset }) else { return };
    outcome.findings.push(finding);
    if finding.kind == Kind::ClaimedNotIssued && books.receipt_is_right(&claim) == Some(true) {
        outcome.owed.push((claim.user, claim.envelope));
    }
}
