//! What could go wrong with money, tried.

mod real_disk;
