//! Seed files on disk: generating, verifying and showing them. The format itself is `hongbao_protocol::seed`.

pub mod command;
mod deck;
pub mod file;
mod generate;
mod number;
mod plan;
mod random;
mod show;
pub mod split;
mod verify;

pub use generate::{GenerateOptions, GenerateSummary, GeneratedFile, Progress, generate};
pub use number::parse_number;
pub use plan::{file_name, server_directory};
pub use random::{entropy, from_key};
