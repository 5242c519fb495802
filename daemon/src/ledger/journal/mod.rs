//! The journal's format and its writing end.
//!
//! ```text
//! DATA/journal/00000001.segment   blocks of 4 KiB to 256 KiB, one a commit, then zeros
//! DATA/journal/00000002.segment   the spare: all zeros, made and synced before it is needed
//! DATA/journal/00000001.snapshot  every record of the segments up to this one, packed
//! ```
//!
//! A block is a header of 128 bytes, records, and zeros up to a multiple of 4 KiB. Each header holds the hash of the block before,
//! so that the blocks are one chain over all segments. A block that does not fit the rest of a segment goes to the next one. All
//! numbers are little-endian.

mod block;
mod gift;
mod record;
mod segment;
mod snapshot;
mod spare;
mod writer;

pub use block::{Block, BlockError, BlockHash, BlockHeader, JournalId, Sequence};
pub use gift::{GIFT_SENT_BYTES_MAX, GiftOpenedRecord, GiftRefundedRecord, GiftSentRecord};
pub use record::{Binding, Record, RecordError, RecordReader, WIN_BYTES, WinRecord};
pub use segment::{SegmentError, SegmentFile, SegmentFolder, SegmentNumber};
pub use snapshot::{Snapshot, SnapshotDamage, SnapshotError, SnapshotFile, SnapshotWriter};
pub use spare::{SegmentSource, SpareMaker};
pub use writer::{ChainPoint, JournalWriter, Placed};
