//! Which of the things that were on their way arrive.

use crate::dice::Dice;

/// Which of some things arrive, of those that were on their way when the end came.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pattern {
    None,
    All,
    /// The first so many.
    First(usize),
    /// All but the first so many.
    ButFirst(usize),
    /// All but one.
    But(usize),
    /// Each by chance: the bits.
    Some([u64; 8]),
}

impl Pattern {
    pub(super) fn draw(dice: &mut Dice, count: usize) -> Self {
        if count == 0 {
            return Self::All;
        }
        match dice.below(6) {
            0 => Self::None,
            1 => Self::All,
            2 => Self::First(dice.below(count + 1)),
            3 => Self::ButFirst(dice.below(count + 1)),
            4 => Self::But(dice.below(count)),
            _ => Self::Some(std::array::from_fn(|_| dice.any())),
        }
    }

    pub(super) fn has(&self, index: usize) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::First(count) => index < *count,
            Self::ButFirst(count) => index >= *count,
            Self::But(one) => index != *one,
            Self::Some(bits) => bits[index / 64 % 8] & (1 << (index % 64)) != 0,
        }
    }
}
