//! How long an enter may wait, and for how much: the one lever that decides CPU per request.

/// What one enter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Return at once when this many completions are there.
    pub want: u32,
    /// Return after this many microseconds if at least one completion is there; 0: return at the first.
    pub min_wait_us: u32,
    /// Return after this many microseconds in any case.
    pub timeout_us: u32,
}

/// Chooses the next wait from how busy the ring was. (implemented by the ring layer's owner)
#[derive(Clone, Debug)]
pub struct Pace {}
