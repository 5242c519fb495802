//! The feeder: reads the seed files and deals envelopes to the SETs, at the rate and by demand.
