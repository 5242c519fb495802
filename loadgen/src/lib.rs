//! hongbao's load generator: virtual users on persistent connections, latency from the intended send time, and an audit of
//! the money. The binary is `hongbao-loadgen`.
//!
//! A run in the order of its modules: [`arguments`] make a [`scenario`], and with the [`host`] a [`plan`]; [`command`] starts a [`run`]:
//! threads, each with its [`rings`], whose [`driver`] follows the [`orders`] of the [`conductor`], segment by [`segment`], over its [`sessions`], and
//! keeps a [`book`]; what the threads wrote down becomes the [`series`], the [`audit`] and each stage's [`outcome`], and at the end, as a
//! [`total`] judged by [`health`] and by what was [expected](expect), the [`report`].
//!
//! Beside a run: a [`fleet`] of client machines does one together, and [`merge`] makes one report of theirs; [`capacity`] plans.

pub mod arguments;
pub mod audit;
pub mod book;
pub mod capacity;
pub mod claims;
pub mod clock;
pub mod command;
pub mod compare;
pub mod conductor;
pub mod connector;
pub mod control;
pub mod cpu;
pub mod dial;
pub mod distribution;
pub mod driver;
pub mod exit;
pub mod expect;
pub mod exporter;
pub mod fleet;
pub mod frames;
pub mod gifts;
pub mod hdr_log;
pub mod health;
pub mod host;
pub mod html;
pub mod human;
pub mod lap;
pub mod limits;
pub mod merge;
pub mod network;
pub mod orders;
pub mod outcome;
pub mod outputs;
pub mod packets;
pub mod pages;
pub mod parse;
pub mod parting;
pub mod plan;
pub mod progress;
pub mod reader;
pub mod record;
pub mod report;
pub mod reports;
pub mod rings;
pub mod run;
#[cfg(test)]
mod sample_reports;
pub mod scenario;
pub mod schedule;
pub mod search;
pub mod segment;
pub mod series;
pub mod server;
pub mod sessions;
pub mod signals;
pub mod sources;
pub mod steadiness;
pub mod total;
pub mod user;
pub mod window;
