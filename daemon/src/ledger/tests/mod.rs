//! What could go wrong with money, tried.

mod commands;
mod crashes;
mod machine;
mod model;
mod promises;
mod real_disk;
