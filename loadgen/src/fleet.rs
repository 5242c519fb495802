//! Many client machines as one load generator: an agent on each, and a coordinator that shares a scenario out, starts all at the same
//! time, and merges what they report. `FLEET.md` is for the person who sets this up.
//!
//! The pure parts are [`clocks`] (how far a machine's clock is off), [`split`] (who does what) and the messages of [`protocol`]; [`wire`]
//! carries them. An agent serves one coordinator at a time in a [`session`], and runs the load in a process of its own ([`child`]).

pub mod agent;
mod child;
mod clocks;
mod collect;
pub mod coordinator;
mod crew;
mod folder;
mod march;
mod protocol;
mod session;
mod split;
mod wire;

#[cfg(test)]
mod tests;
