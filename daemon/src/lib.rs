//! hongbaod's parts. `main` only parses the command line; `launch` is the one place that sees all of them.

pub mod admin;
pub mod cells;
pub mod cli;
pub mod config;
pub mod control;
pub mod exit;
pub mod feeder;
pub mod issued;
pub mod launch;
pub mod ledger;
pub mod limits;
pub mod messages;
mod meter;
pub mod metrics;
pub mod planted;
pub mod preflight;
pub mod rounds;
pub mod seed;
pub mod service;
pub mod set;
pub mod units;
