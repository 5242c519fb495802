//! The service manager, as far as there is one: what the daemon tells it (readiness, states, a status line, the watchdog), and the
//! listeners that it keeps for the daemon over a restart.
//!
//! systemd's protocol is a datagram socket named by `NOTIFY_SOCKET`. Without it, as on a terminal, everything here does nothing.

mod heartbeat;
mod inherited;
mod liveness;
mod manager;

pub use heartbeat::Heartbeat;
pub use inherited::Inherited;
pub use manager::Manager;
