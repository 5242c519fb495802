//! Randomness that replays: the same seed gives the same files with every version of every crate.

use rand::{Rng, TryRng};
use rand_pcg::Pcg64;

use crate::exit::{Exit, Failure};

/// A generator for one purpose: streams of different keys have nothing in common, not even where the keys are neighbours.
pub fn from_key(purpose: &str, key: &[u8]) -> Pcg64 {
    let hash = blake3::derive_key(purpose, key);
    let half = |at: usize| u128::from_le_bytes(hash[at..at + 16].try_into().expect("half of 32 bytes"));
    Pcg64::new(half(0), half(16))
}

/// A seed from the operating system.
pub fn entropy() -> Result<u64, Failure> {
    rand::rngs::SysRng.try_next_u64().map_err(|error| {
        Failure::new(
            Exit::Os,
            format!("the operating system gives no random numbers: {error}. Name a seed with --rng-seed."),
        )
    })
}

/// Uniform in `0..bound`, exactly: a product's low half tells the draws that would favour some values, and those are drawn again.
pub(super) fn below(rng: &mut impl Rng, bound: u64) -> u64 {
    assert!(bound > 0, "nothing is below 0");
    let mut product = u128::from(rng.next_u64()) * u128::from(bound);
    if (product as u64) < bound {
        let unfair = bound.wrapping_neg() % bound;
        while (product as u64) < unfair {
            product = u128::from(rng.next_u64()) * u128::from(bound);
        }
    }
    (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_below_a_bound_is_as_likely() {
        let mut rng = from_key("test", b"below");
        for bound in [1_u64, 2, 3, 7, 10] {
            let mut counts = vec![0_u32; bound as usize];
            for _ in 0..bound * 10_000 {
                counts[below(&mut rng, bound) as usize] += 1;
            }
            // Five standard deviations of a count that is 10,000 on average.
            assert!(counts.iter().all(|count| count.abs_diff(10_000) < 500), "{bound}: {counts:?}");
        }
    }

    #[test]
    fn a_bound_that_rejects_half_of_the_draws_still_ends() {
        let mut rng = from_key("test", b"rejecting");
        let bound = (1 << 63) + 1;
        assert!((0..1000).all(|_| below(&mut rng, bound) < bound));
    }

    #[test]
    fn a_replay_does_not_depend_on_crate_versions() {
        let mut rng = from_key("hongbao 2026 seed file", &[1, 2, 3]);
        assert_eq!([0; 3].map(|_: u8| below(&mut rng, 1_000_000)), [627_106, 462_572, 12_027]);
    }
}
