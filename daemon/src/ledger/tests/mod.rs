//! What could go wrong with money, tried.

mod compaction;
mod real_disk;
