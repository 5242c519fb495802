//! What the daemon is configured with: flags, environment, file, defaults.
