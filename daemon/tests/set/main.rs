//! The SET on a simulated network: the test plays clients, feeder, ledger, control and clock, one turn at a time.

mod conduct;
mod departures;
mod orders;
mod shakes;
mod stand;
