//! Which files of the seed directory the feeder deals from: decided by their headers, before anything else starts.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hongbao_protocol::seed::{BLOCK_BYTES, Header, SeedError};
use hongbao_protocol::{CampaignId, Cents, ServerId, ShardId};
use thiserror::Error;

use crate::exit::{Exit, Failure};
use crate::limits::SEED_FILES_MAX;

/// A seed file whose header and length are right. Its blocks are verified when they are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself.
    pub header: Header,
}

/// A seed file that nothing is dealt from.
#[derive(Debug)]
pub struct RefusedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Why.
    pub reason: SeedRefusal,
}

/// Why a seed file was refused as a whole.
#[derive(Debug, Error)]
pub enum SeedRefusal {
    /// It could not be opened or read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Its first block is damaged, or is not a header.
    #[error("block 0 (the header, offset 0): {0}")]
    Header(#[from] SeedError),
    /// It ends too early.
    #[error("cut in block {} (offset {found} of {expected}): copy it again", found / BLOCK_BYTES as u64)]
    Truncated {
        /// Its length in bytes.
        found: u64,
        /// What the header asks for.
        expected: u64,
    },
    /// Something follows the last block.
    #[error("{found} bytes long where its header allows {expected}: copy it again")]
    Overlong {
        /// Its length in bytes.
        found: u64,
        /// What the header asks for.
        expected: u64,
    },
    /// It was made for another server.
    #[error("made for server {found}, and this is server {expected}")]
    Foreign {
        /// The file's server.
        found: ServerId,
        /// This one.
        expected: ServerId,
    },
    /// It belongs to another campaign than the files that were accepted.
    #[error("of campaign {found}; the directory's files are dealt for campaign {expected}")]
    OtherCampaign {
        /// The file's campaign.
        found: CampaignId,
        /// The one that is dealt.
        expected: CampaignId,
    },
    /// Its shard was accepted from another file already.
    #[error("holds shard {shard} again, which is dealt from {}", first.display())]
    Duplicate {
        /// The shard.
        shard: ShardId,
        /// The file it is dealt from.
        first: PathBuf,
    },
    /// With it the money of all files would not fit 64 bits of cents.
    #[error("promises {0} cents, more than can be counted with the other files")]
    TooMuchMoney(u64),
}

/// What was found in a seed directory.
#[derive(Debug, Default)]
pub struct Scan {
    /// The campaign of the accepted files; `None` where there is none.
    pub campaign: Option<CampaignId>,
    /// The files to deal from, by shard.
    pub accepted: Vec<SeedFile>,
    /// The others, each with its reason, by name.
    pub refused: Vec<RefusedFile>,
}

/// Reads the header of every `*.hbs` file in `dir` (not below it) and decides which of them `server` deals from.
///
/// Where files of several campaigns lie there, the campaign with the most envelopes is dealt (at a tie the one with the lower
/// number): a stray file must not displace the show. Where a shard is there twice, the first by file name is dealt.
/// Directories, links that lead nowhere and whatever else is no regular file are passed over.
///
/// # Errors
/// Where the directory itself cannot be read, or holds more than [`SEED_FILES_MAX`] seed files.
pub fn scan(dir: &Path, server: ServerId) -> Result<Scan, Failure> {
    let mut scan = Scan::default();
    let mut intact = Vec::new();
    for path in seed_paths(dir)? {
        match read_header(&path, server) {
            Ok(header) => intact.push(SeedFile { path, header }),
            Err(reason) => scan.refused.push(RefusedFile { path, reason }),
        }
    }
    scan.campaign = choose_campaign(&intact);
    let mut total = Cents::ZERO;
    for file in intact {
        match admit(&file, &scan, total) {
            Ok(sum) => {
                total = sum;
                let place =
                    scan.accepted.partition_point(|other| other.header.binding.shard < file.header.binding.shard);
                scan.accepted.insert(place, file);
            }
            Err(reason) => scan.refused.push(RefusedFile { path: file.path, reason }),
        }
    }
    scan.refused.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(scan)
}

/// The seed files' names, sorted, so that every start decides alike.
fn seed_paths(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| Failure::io(format_args!("cannot read the seed directory {}", dir.display()), &error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_none_or(|extension| extension != hongbao_protocol::seed::FILE_EXTENSION) {
            continue;
        }
        match std::fs::metadata(&path) {
            Ok(found) if found.is_file() => paths.push(path),
            Ok(_) => {}
            Err(error) => tracing::warn!("seed file {} is passed over: {error}", path.display()),
        }
        if paths.len() as u64 > SEED_FILES_MAX {
            let message = format!(
                "{} holds more than {SEED_FILES_MAX} seed files; a server has fewer: move the others away",
                dir.display()
            );
            return Err(Failure::new(Exit::Config, message));
        }
    }
    paths.sort();
    Ok(paths)
}

/// What can be said of a file by itself.
fn read_header(path: &Path, server: ServerId) -> Result<Header, SeedRefusal> {
    let mut file = File::open(path)?;
    let found = file.metadata()?.len();
    if found < BLOCK_BYTES as u64 {
        return Err(SeedRefusal::Truncated { found, expected: BLOCK_BYTES as u64 });
    }
    let mut block = [0; BLOCK_BYTES];
    file.read_exact(&mut block)?;
    let header = Header::decode(&block)?;
    if header.binding.server != server {
        return Err(SeedRefusal::Foreign { found: header.binding.server, expected: server });
    }
    let expected = header.file_bytes();
    if found < expected {
        return Err(SeedRefusal::Truncated { found, expected });
    }
    if found > expected {
        return Err(SeedRefusal::Overlong { found, expected });
    }
    Ok(header)
}

fn choose_campaign(files: &[SeedFile]) -> Option<CampaignId> {
    let mut envelopes = std::collections::BTreeMap::<CampaignId, u64>::new();
    for file in files {
        *envelopes.entry(file.header.binding.campaign).or_default() += u64::from(file.header.count);
    }
    // `max_by_key` keeps the last of equals; reversed, that is the lowest number.
    envelopes.into_iter().rev().max_by_key(|(_, count)| *count).map(|(campaign, _)| campaign)
}

/// What can be said of a file beside those accepted so far, which hold `total`. Gives the new total.
fn admit(file: &SeedFile, scan: &Scan, total: Cents) -> Result<Cents, SeedRefusal> {
    let binding = file.header.binding;
    let expected = scan.campaign.expect("chosen from these files");
    if binding.campaign != expected {
        return Err(SeedRefusal::OtherCampaign { found: binding.campaign, expected });
    }
    if let Ok(first) = scan.accepted.binary_search_by_key(&binding.shard, |other| other.header.binding.shard) {
        return Err(SeedRefusal::Duplicate { shard: binding.shard, first: scan.accepted[first].path.clone() });
    }
    total.checked_add(file.header.total).ok_or(SeedRefusal::TooMuchMoney(file.header.total.0))
}
