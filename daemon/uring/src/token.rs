//! What a completion is for: (slot, generation), never a pointer.

/// Tells two lives of one slot apart: 24 bits, counted up by whoever hands the slots out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Generation(u32);

impl Generation {
    const MASK: u32 = 0x00FF_FFFF;

    /// The generation of this number, modulo 2^24: by the time it comes round, no completion of its last bearer is alive.
    pub const fn new(number: u32) -> Self {
        Self(number & Self::MASK)
    }

    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(self.0.wrapping_add(1))
    }

    /// Its number, below 2^24.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Whom an operation belongs to. The ring adds the kind of operation beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Token {
    /// Place in the owner's slab.
    pub slot: u32,
    /// Which life of that place.
    pub generation: Generation,
}
