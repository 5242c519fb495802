//! Reading seed files with plain blocking calls: for `verify`, `show` and audits. The feeder reads them through its ring.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hongbao_protocol::seed::{BLOCK_BYTES, Header, RecordBlock, SeedError};
use hongbao_protocol::{Cents, Envelope};
use thiserror::Error;

use crate::exit::Failure;
use crate::limits::{SEED_DIRECTORY_DEPTH_MAX, SEED_READ_BLOCKS};

/// Where in a seed file something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The header block.
    Header,
    /// A record block, numbered from 0.
    Block(u32),
    /// The file as a whole.
    File,
}

impl Place {
    /// The first byte of the place, counted from the start of the file.
    pub const fn offset(self) -> u64 {
        match self {
            Self::Header | Self::File => 0,
            Self::Block(number) => (number as u64 + 1) * BLOCK_BYTES as u64,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => write!(f, "header at byte 0"),
            Self::Block(number) => write!(f, "block {number} at byte {}", self.offset()),
            Self::File => write!(f, "whole file"),
        }
    }
}

/// What is wrong there.
#[derive(Debug, Error)]
pub enum Fault {
    /// The operating system could not read it.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The block is not what it must be.
    #[error(transparent)]
    Block(#[from] SeedError),
    /// The file ends before this place does.
    #[error("cut off: the file has {bytes} bytes of {expected}")]
    Cut {
        /// Bytes in the file.
        bytes: u64,
        /// Bytes that it must have.
        expected: u64,
    },
    /// There is something behind the last block.
    #[error("too long: the file has {bytes} bytes, expected {expected}")]
    TooLong {
        /// Bytes in the file.
        bytes: u64,
        /// Bytes that it must have.
        expected: u64,
    },
    /// Every block is good, and still they are not the ones that the header was made for.
    #[error("the digest of all blocks does not match the header's")]
    Digest,
    /// The amounts do not sum to the header's total.
    #[error("the amounts sum to {found} cents, and the header says {expected}")]
    Total {
        /// Sum of the amounts, in cents.
        found: u128,
        /// The header's total, in cents.
        expected: u64,
    },
}

/// One thing that is wrong with one file. Prints as `FILE: PLACE: FAULT`.
#[derive(Debug)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where in it.
    pub place: Place,
    /// What.
    pub fault: Fault,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.path.display(), self.place, self.fault)
    }
}

/// What a walk over a file found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Envelopes in good blocks.
    pub envelopes: u64,
    /// Sum of their amounts, in cents. Wider than money, as a file may lie.
    pub cents: u128,
    /// Things that are wrong.
    pub damages: u64,
}

/// A seed file whose header is good.
#[derive(Debug)]
pub struct SeedFile {
    path: PathBuf,
    file: File,
    header: Header,
    bytes: u64,
}

impl SeedFile {
    /// Opens a file and checks its header.
    pub fn open(path: &Path) -> Result<Self, Damage> {
        let damage = |fault| Damage { path: path.to_path_buf(), place: Place::Header, fault };
        let read = || -> Result<Self, Fault> {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(Fault::Read(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
            }
            let bytes = metadata.len();
            if bytes < BLOCK_BYTES as u64 {
                return Err(Fault::Cut { bytes, expected: BLOCK_BYTES as u64 });
            }
            let mut block = [0; BLOCK_BYTES];
            file.read_exact_at(&mut block, 0)?;
            Ok(Self { path: path.to_path_buf(), file, header: Header::decode(&block)?, bytes })
        };
        read().map_err(damage)
    }

    /// What the header says.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The file's path, as it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads all blocks in order and checks each, then the digest, the count and the total. `envelope` gets every envelope of
    /// every good block; `damage` everything that is wrong, after which the walk goes on with the next block.
    pub fn walk(&self, mut envelope: impl FnMut(Envelope), mut damage: impl FnMut(Damage)) -> Tally {
        let mut tally = Tally::default();
        let mut report = |tally: &mut Tally, place, fault| {
            tally.damages += 1;
            damage(Damage { path: self.path.clone(), place, fault });
        };
        let mut digest = blake3::Hasher::new();
        let mut buffer = vec![[0; BLOCK_BYTES]; SEED_READ_BLOCKS.min(self.header.blocks() as usize)];
        let expected = self.header.file_bytes();
        let whole_blocks = (self.bytes.min(expected) / BLOCK_BYTES as u64 - 1) as u32;
        for first in (0..whole_blocks).step_by(SEED_READ_BLOCKS) {
            let blocks = &mut buffer[..SEED_READ_BLOCKS.min((whole_blocks - first) as usize)];
            let read = self.file.read_exact_at(blocks.as_flattened_mut(), Place::Block(first).offset());
            for (number, block) in (first..).zip(blocks.iter_mut()) {
                // A bad sector spoils one read of many blocks: the others of them are read one by one.
                if read.is_err()
                    && let Err(error) = self.file.read_exact_at(block, Place::Block(number).offset())
                {
                    report(&mut tally, Place::Block(number), error.into());
                    continue;
                }
                match RecordBlock::decode(&self.header.binding, number, self.header.records_in(number), block) {
                    Ok(records) => records.envelopes().for_each(|one| {
                        tally.envelopes += 1;
                        tally.cents += u128::from(one.amount.0);
                        envelope(one);
                    }),
                    Err(error) => report(&mut tally, Place::Block(number), error.into()),
                }
            }
            digest.update(blocks.as_flattened());
        }
        if self.bytes < expected {
            report(&mut tally, Place::Block(whole_blocks), Fault::Cut { bytes: self.bytes, expected });
        }
        if self.bytes > expected {
            let place = Place::Block(self.header.blocks());
            report(&mut tally, place, Fault::TooLong { bytes: self.bytes, expected });
        }
        // With a block damaged or missing these two could only say so again.
        if tally.envelopes == u64::from(self.header.count) {
            if *digest.finalize().as_bytes() != self.header.digest {
                report(&mut tally, Place::File, Fault::Digest);
            }
            let (found, Cents(expected)) = (tally.cents, self.header.total);
            if found != u128::from(expected) {
                report(&mut tally, Place::File, Fault::Total { found, expected });
            }
        }
        tally
    }
}

/// The seed files that `paths` name, sorted and each once: a file is taken whatever its name, a directory gives the files in it
/// and below whose names end in `.hbs`.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        let metadata = path.metadata().map_err(|error| Failure::io(format!("{}", path.display()), &error))?;
        if metadata.is_dir() {
            find_below(path, 0, &mut found)?;
        } else {
            found.push(path.clone());
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn find_below(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io(format!("Cannot list {}", directory.display()), &error);
    for entry in directory.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        // Links to directories are not followed, so that no circle of them can hold us.
        if entry.file_type().map_err(failed)?.is_dir() {
            if depth < SEED_DIRECTORY_DEPTH_MAX {
                find_below(&path, depth + 1, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == hongbao_protocol::seed::FILE_EXTENSION) {
            found.push(path);
        }
    }
    Ok(())
}
