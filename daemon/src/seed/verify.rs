//! `hongbaod seed verify`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Write;
use std::path::{Path, PathBuf};

use hongbao_protocol::seed::SeedBinding;

use super::command::written;
use super::file::{SeedFile, Tally, find};
use crate::exit::{Exit, Failure};
use crate::meter::Meter;

/// Checks all files below `paths` and writes a line for each file and each damage.
pub(super) fn run(paths: &[PathBuf], out: &mut impl Write) -> Result<(), Failure> {
    let files = find(paths)?;
    if files.is_empty() {
        return Err(Failure::new(
            Exit::Unavailable,
            "There is no seed file (*.hbs) there. Name the files, or their directory.",
        ));
    }
    let mut owners = BTreeMap::new();
    let (mut good, mut envelopes, mut cents) = (0_usize, 0_u64, 0_u128);
    let mut meter = Meter::new("files", files.len() as u64);
    let mut result = Ok(());
    for (done, path) in files.iter().enumerate() {
        let mut say = |line: String| {
            if result.is_ok() {
                result = meter.beside(|| writeln!(out, "{line}").and_then(|()| out.flush()));
            }
        };
        if let Some(tally) = check(path, &mut owners, &mut say) {
            good += 1;
            envelopes += tally.envelopes;
            cents += tally.cents;
        }
        meter.at(done as u64 + 1, files.len() as u64);
    }
    drop(meter);
    written(result)?;
    eprintln!("{good} of {} files are good: {envelopes} envelopes, {cents} cents", files.len());
    if good < files.len() {
        let damaged = files.len() - good;
        return Err(Failure::new(
            Exit::Data,
            format!("{damaged} of {} seed files are not good. Replace them from where they were made.", files.len()),
        ));
    }
    Ok(())
}

type Owners = BTreeMap<SeedBinding, PathBuf>;

/// Says what is to be said of one file; gives its tally where nothing is wrong with it.
fn check(path: &Path, owners: &mut Owners, say: &mut dyn FnMut(String)) -> Option<Tally> {
    let seed = SeedFile::open(path).map_err(|damage| say(damage.to_string())).ok()?;
    let tally = seed.walk(|_| {}, |damage| say(damage.to_string()));
    let (name, binding) = (path.display(), seed.header().binding);
    let bound = format!("campaign {}, server {}, shard {}", binding.campaign, binding.server, binding.shard);
    match owners.entry(binding) {
        Entry::Occupied(first) => {
            say(format!("{name}: duplicate: {bound} is {} already", first.get().display()));
            return None;
        }
        Entry::Vacant(place) => place.insert(path.to_path_buf()),
    };
    (tally.damages == 0).then(|| {
        say(format!("{name}: ok: {bound}, {} envelopes, {} cents", tally.envelopes, tally.cents));
        tally
    })
}
