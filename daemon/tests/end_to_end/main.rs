//! End to end: a real daemon on port 0 of loopback, and small clients on plain `std::net` as independent witnesses.
//!
//! Every wait has a bound. No test knows a port, a clock or another test.

mod backup;
mod client;
mod control;
mod crash;
mod daemon;
mod disk;
mod faults;
mod frames;
mod frozen;
mod gifts;
mod lifecycle;
mod peers;
mod preflight;
mod refused;
mod scrape;
mod service;
