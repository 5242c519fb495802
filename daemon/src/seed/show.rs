//! `hongbaod seed show`.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

use hongbao_protocol::seed::{Header, SeedBinding};
use hongbao_protocol::{Cents, Envelope};
use serde::Serialize;

use super::command::written;
use super::file::SeedFile;
use crate::exit::{Exit, Failure};

/// What a file holds, for `--json`. Names end in their unit.
#[derive(Serialize)]
struct Shown<'a> {
    path: &'a Path,
    #[serde(flatten)]
    binding: SeedBinding,
    envelopes: u32,
    total_cents: Cents,
    smallest_cents: Cents,
    largest_cents: Cents,
    sponsors: usize,
    blocks: u32,
    file_bytes: u64,
    digest_blake3: String,
    damages: u64,
}

/// Shows one file: its header and what was counted, or its envelopes.
pub(super) fn run(path: &Path, json: bool, envelopes: bool, out: &mut impl Write) -> Result<(), Failure> {
    let seed = SeedFile::open(path).map_err(|damage| match damage.fault {
        super::file::Fault::Read(error) => Failure::io(format!("Cannot read {}", path.display()), &error),
        _ => Failure::new(Exit::Data, damage.to_string()),
    })?;
    let mut result = Ok(());
    let mut list = |envelope: &Envelope| {
        if envelopes && result.is_ok() {
            result = write_envelope(envelope, json, out);
        }
    };
    let (mut smallest, mut largest, mut sponsors) = (Cents(u64::MAX), Cents::ZERO, BTreeSet::new());
    let note = |envelope: Envelope| {
        smallest = smallest.min(envelope.amount);
        largest = largest.max(envelope.amount);
        sponsors.insert(envelope.sponsor);
        list(&envelope);
    };
    let tally = seed.walk(note, |damage| eprintln!("{damage}"));
    written(result)?;
    if !envelopes {
        let Header { binding, count, total, digest } = *seed.header();
        let shown = Shown {
            path,
            binding,
            envelopes: count,
            total_cents: total,
            smallest_cents: smallest.min(largest),
            largest_cents: largest,
            sponsors: sponsors.len(),
            blocks: seed.header().blocks(),
            file_bytes: seed.header().file_bytes(),
            digest_blake3: blake3::Hash::from_bytes(digest).to_hex().to_string(),
            damages: tally.damages,
        };
        written(if json { write_json(&shown, out) } else { write_text(&shown, out) })?;
    }
    if tally.damages > 0 {
        let message =
            format!("{} is damaged in {} places. Replace it from where it was made.", path.display(), tally.damages);
        return Err(Failure::new(Exit::Data, message));
    }
    Ok(())
}

fn write_envelope(envelope: &Envelope, json: bool, out: &mut impl Write) -> io::Result<()> {
    if json {
        return write_json(envelope, out);
    }
    writeln!(out, "{}\t{}\t{}", envelope.id, envelope.sponsor, envelope.amount.0)
}

fn write_json(value: &impl Serialize, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

fn write_text(shown: &Shown<'_>, out: &mut impl Write) -> io::Result<()> {
    let SeedBinding { campaign, server, shard } = shown.binding;
    let mean = Cents(shown.total_cents.0 / u64::from(shown.envelopes));
    writeln!(out, "file       {} ({} bytes, {} record blocks)", shown.path.display(), shown.file_bytes, shown.blocks)?;
    writeln!(out, "bound to   campaign {campaign}, server {server}, shard {shard}")?;
    writeln!(out, "envelopes  {} of {} sponsors", shown.envelopes, shown.sponsors)?;
    writeln!(out, "amounts    {} to {}, {mean} on average", shown.smallest_cents, shown.largest_cents)?;
    writeln!(out, "total      {}", shown.total_cents)?;
    writeln!(out, "digest     {}", shown.digest_blake3)
}
