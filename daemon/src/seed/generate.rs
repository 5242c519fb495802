//! Writing the seed files of a campaign.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hongbao_protocol::seed::{BLOCK_BYTES, Header, encode_block};
use hongbao_protocol::{CampaignId, Cents, SponsorId};
use tempfile::TempPath;

use super::deck::Deck;
use super::file::{SeedFile, find};
use super::plan::{FilePlan, plan};
use super::random::from_key;
use super::split::Split;
use crate::exit::{Exit, Failure};
use crate::limits::SEED_WRITE_BLOCKS;

/// What to generate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerateOptions {
    /// The giveaway that the envelopes belong to.
    pub campaign: CampaignId,
    /// Envelopes in all.
    pub count: u64,
    /// Sum of their amounts; at least 1 cent an envelope.
    pub total: Cents,
    /// Sponsors, numbered from 1. Each has as many envelopes as any other, to within one a file.
    pub sponsors: u32,
    /// Servers, numbered from 1.
    pub servers: u16,
    /// Files for each server, numbered from 0.
    pub shards_per_server: u16,
    /// Directory that gets a directory for each server.
    pub output: PathBuf,
    /// The same seed and options give the same bytes.
    pub rng_seed: u64,
    /// Whether files of the same names may be replaced.
    pub force: bool,
}

/// How far a generation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Envelopes written.
    pub envelopes: u64,
    /// Envelopes asked for.
    pub of: u64,
}

/// One file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedFile {
    /// Where it is.
    pub path: PathBuf,
    /// What its header says.
    pub header: Header,
}

/// What was written. Counts and totals are what was asked for, exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerateSummary {
    /// The files, by server and shard.
    pub files: Vec<GeneratedFile>,
}

/// Writes all files of a campaign, or none: each is written under a temporary name and synced, and only when all are complete
/// do they get their names.
pub fn generate(options: &GenerateOptions, progress: &mut dyn FnMut(Progress)) -> Result<GenerateSummary, Failure> {
    let plans = plan(options)?;
    refuse_collisions(options, &plans)?;
    let mut written = Vec::with_capacity(plans.len());
    let mut envelopes = 0;
    for plan in &plans {
        let step = &mut |count| {
            envelopes += count;
            progress(Progress { envelopes, of: options.count });
        };
        let file = write(options, plan, step).map_err(|error| explain(&plan.path, &error))?;
        written.push(file);
    }
    let mut files = Vec::with_capacity(plans.len());
    for (FilePlan { path, .. }, (temporary, header)) in plans.into_iter().zip(written) {
        let placed = if options.force { temporary.persist(&path) } else { temporary.persist_noclobber(&path) };
        placed.map_err(|failed| explain(&path, &failed.error))?;
        files.push(GeneratedFile { path, header });
    }
    let directories: BTreeSet<&Path> = files.iter().filter_map(|file| file.path.parent()).collect();
    for directory in directories.into_iter().chain([options.output.as_path()]) {
        File::open(directory).and_then(|open| open.sync_all()).map_err(|error| explain(directory, &error))?;
    }
    Ok(GenerateSummary { files })
}

/// Nothing is replaced that was not meant; and a file of the same campaign which would stay beside the new ones would be money
/// that nobody planned.
fn refuse_collisions(options: &GenerateOptions, plans: &[FilePlan]) -> Result<(), Failure> {
    if !options.output.exists() {
        return Ok(());
    }
    let planned: BTreeSet<&Path> = plans.iter().map(|plan| plan.path.as_path()).collect();
    for existing in find(std::slice::from_ref(&options.output))? {
        let name = existing.display();
        if planned.contains(existing.as_path()) {
            if !options.force {
                let message = format!("{name} exists. Choose another --output, or replace it with --force.");
                return Err(Failure::new(Exit::Unavailable, message));
            }
        } else if SeedFile::open(&existing).is_ok_and(|seed| seed.header().binding.campaign == options.campaign) {
            let message = format!(
                "{name} belongs to campaign {} too, and not to what would be generated: its envelopes would come on top. \
                 Remove it, or choose another --output or --campaign.",
                options.campaign
            );
            return Err(Failure::new(Exit::Unavailable, message));
        }
    }
    Ok(())
}

/// Writes one file under a temporary name, complete and synced. `step` hears how many envelopes went into each chunk.
fn write(options: &GenerateOptions, plan: &FilePlan, step: &mut dyn FnMut(u64)) -> io::Result<(TempPath, Header)> {
    let directory = plan.path.parent().expect("a planned file stands in its server's directory");
    std::fs::create_dir_all(directory)?;
    let temporary = tempfile::Builder::new()
        .prefix(".seed-")
        .suffix(".partial")
        // What any program would ask for; the default of temporary files would keep the daemon's user out.
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(directory)?;

    let mut envelopes = Envelopes::new(options, plan);
    let mut digest = blake3::Hasher::new();
    let mut header = Header { binding: plan.binding, count: plan.count, total: plan.total, digest: [0; 32] };
    let mut chunk = vec![[0; BLOCK_BYTES]; SEED_WRITE_BLOCKS.min(header.blocks() as usize)];
    for first in (0..header.blocks()).step_by(SEED_WRITE_BLOCKS) {
        let blocks = &mut chunk[..SEED_WRITE_BLOCKS.min((header.blocks() - first) as usize)];
        let mut count = 0;
        for (number, block) in (first..).zip(blocks.iter_mut()) {
            let records = header.records_in(number);
            encode_block(&plan.binding, number, (0..records).map(|_| envelopes.draw()), block);
            count += records as u64;
        }
        digest.update(blocks.as_flattened());
        temporary.as_file().write_all_at(blocks.as_flattened(), (u64::from(first) + 1) * BLOCK_BYTES as u64)?;
        step(count);
    }
    assert_eq!(envelopes.split.shares(), 0, "every envelope of the plan is in a block");
    header.digest = *digest.finalize().as_bytes();
    temporary.as_file().write_all_at(&header.encode(), 0)?;
    temporary.as_file().sync_all()?;
    Ok((temporary.into_temp_path(), header))
}

/// The envelopes of one file, in order. They depend on the seed, the binding and the file's share, and on no other file.
struct Envelopes {
    rng: rand_pcg::Pcg64,
    split: Split,
    deck: Deck,
}

impl Envelopes {
    fn new(options: &GenerateOptions, plan: &FilePlan) -> Self {
        let mut key = [0; 20];
        key[0..8].copy_from_slice(&options.rng_seed.to_le_bytes());
        key[8..16].copy_from_slice(&plan.binding.campaign.0.to_le_bytes());
        key[16..18].copy_from_slice(&plan.binding.server.0.to_le_bytes());
        key[18..20].copy_from_slice(&plan.binding.shard.0.to_le_bytes());
        Self {
            rng: from_key("hongbao 2026 envelopes of a seed file", &key),
            split: Split::new(plan.total, plan.count.into()).expect("a plan has at least a cent for each envelope"),
            deck: Deck::new(options.sponsors),
        }
    }

    fn draw(&mut self) -> (SponsorId, Cents) {
        let amount = self.split.next(&mut self.rng).expect("the plan counts the envelopes");
        (self.deck.deal(&mut self.rng), amount)
    }
}

fn explain(path: &Path, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "Free some space or choose another --output.",
        io::ErrorKind::PermissionDenied => "Choose an --output that you may write to.",
        io::ErrorKind::ReadOnlyFilesystem => "Choose an --output on a file system that can be written to.",
        io::ErrorKind::AlreadyExists => "It appeared while the files were generated: is another generate running?",
        _ => "Nothing of the campaign can be used before a generate has ended well.",
    };
    let mut failure = Failure::io(format!("Cannot write {}", path.display()), error);
    if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
        failure.exit = Exit::Permission;
    }
    failure.message = format!("{}. {advice}", failure.message);
    failure
}
