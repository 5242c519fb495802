//! The SET: one thread, one ring, one listener, one slab of connections, one stock of envelopes.
