//! The seed file: the envelopes of one shard, in blocks that are each checked before an envelope of theirs is dealt.
//!
//! A file is one header block and then record blocks, all of [`BLOCK_BYTES`]. Layout and checksums: `protocol/SPEC.md`.

mod block;
mod header;

pub use block::{RECORDS_PER_BLOCK, RecordBlock, encode_block};
pub use header::{Header, SeedBinding};

use thiserror::Error;

/// How the name of a finished seed file ends. Anything else in a seed directory is left alone.
pub const FILE_EXTENSION: &str = "hbs";

/// Bytes of every block, the header's included: a page, and the unit of a torn read.
pub const BLOCK_BYTES: usize = 4096;

/// What is wrong with a block of a seed file. The caller adds the file's name and the block's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SeedError {
    /// The first bytes are not those of a seed file.
    #[error("not a seed file (bad magic)")]
    Magic,
    /// A version that this program does not know.
    #[error("seed format version {0} is not known (this program reads version 1)")]
    Version(u16),
    /// A checksum does not match what it covers.
    #[error("checksum {found:#010x} does not match {expected:#010x}")]
    Checksum {
        /// The checksum that was computed.
        found: u32,
        /// The checksum that stands in the block.
        expected: u32,
    },
    /// The block stands in the wrong place, or in the wrong file.
    #[error("block is number {found}, expected {expected}")]
    Misplaced {
        /// Number in the block.
        found: u32,
        /// Number of the place it was read from.
        expected: u32,
    },
    /// Bytes that version 1 keeps at zero are not.
    #[error("reserved bytes are set")]
    Reserved,
    /// A field holds a value that it cannot have.
    #[error("{0}")]
    Field(&'static str),
}
