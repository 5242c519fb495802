//! A real ring with real sockets.

mod allocations;
mod connections;
mod support;
