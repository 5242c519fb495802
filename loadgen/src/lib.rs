//! hongbao's load generator: virtual users on persistent connections, latency from the intended send time, and an audit of
//! the money. The binary is `hongbao-loadgen`.
//!
//! A run in the order of its modules: [`arguments`] and [`host`] make a [`plan`]; [`run`] starts a thread for each ring, whose
//! [`driver`] follows a [`schedule`] over its [`sessions`] and keeps a [`book`]; what the threads wrote down becomes the
//! [`series`], the [`audit`] and at the end, judged by [`health`], the [`report`].

pub mod arguments;
pub mod audit;
pub mod book;
pub mod capacity;
pub mod claims;
pub mod clock;
pub mod connector;
pub mod cpu;
pub mod dial;
pub mod distribution;
pub mod driver;
pub mod exit;
pub mod expect;
pub mod frames;
pub mod health;
pub mod host;
pub mod limits;
pub mod network;
pub mod parse;
pub mod parting;
pub mod plan;
pub mod progress;
pub mod reader;
pub mod record;
pub mod report;
pub mod reports;
pub mod run;
#[cfg(test)]
mod sample;
pub mod schedule;
pub mod search;
pub mod series;
pub mod sessions;
pub mod signals;
pub mod sources;
pub mod total;
pub mod user;
pub mod window;
