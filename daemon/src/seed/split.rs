//! How an amount is split into shares: the double-mean rule.
//!
//! Each share but the last is uniform between 1 cent and twice the mean of what is left, keeping 1 cent for every share still
//! to come; the last takes the rest. So a share is at least 1 cent, and the shares sum to the total exactly.

use hongbao_protocol::Cents;
use rand::Rng;

use super::random::below;

/// What is left of an amount that is being split.
///
/// Every share has the same expectation, total / shares, wherever it stands in the order: the mean of what is left does not
/// drift. In whole cents that takes care. Twice the mean is a fraction, `2 * left / shares`, and a uniform draw from 1 to `top`
/// has the mean `(1 + top) / 2`. So `top` is drawn too, from the two whole numbers around `2 * left / shares - 1`, the larger as
/// often as the fraction asks for. Such a `top` always leaves 1 cent for each share still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    left: u64,
    shares: u64,
}

impl Split {
    /// A total to be split; `None` where there is no share, or not a cent for each.
    pub fn new(total: Cents, shares: u64) -> Option<Self> {
        (shares > 0 && total.0 >= shares).then_some(Self { left: total.0, shares })
    }

    /// What is left.
    pub fn left(&self) -> Cents {
        Cents(self.left)
    }

    /// How many shares are to come.
    pub fn shares(&self) -> u64 {
        self.shares
    }

    /// Draws the next share; `None` where all have been drawn.
    pub fn next(&mut self, rng: &mut impl Rng) -> Option<Cents> {
        let share = match self.shares {
            0 => return None,
            1 => self.left,
            shares => {
                let (mean, rest) = (self.left / shares, self.left % shares);
                // `shares / 2 <= rest` says that the doubled rest holds one more whole mean, without the sum that could overflow.
                let (double, rest) = match rest.checked_sub(shares - rest) {
                    Some(rest) => (2 * mean + 1, rest),
                    None => (2 * mean, 2 * rest),
                };
                let top = double - u64::from(below(rng, shares) >= rest);
                1 + below(rng, top)
            }
        };
        self.left -= share;
        self.shares -= 1;
        assert!(self.left >= self.shares, "a share left less than 1 cent for each share to come");
        Some(Cents(share))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::seed::from_key;

    fn drawn(total: u64, shares: u64, seed: u64) -> Vec<u64> {
        let mut rng = from_key("test", &seed.to_le_bytes());
        let mut split = Split::new(Cents(total), shares).expect("a cent for each");
        std::iter::from_fn(|| split.next(&mut rng)).map(|share| share.0).collect()
    }

    proptest! {
        #[test]
        fn no_cent_is_lost_made_or_denied(shares in 1_u64..400, over in 0_u64..1_000_000, seed: u64) {
            let total = shares + over;
            let drawn = drawn(total, shares, seed);
            prop_assert_eq!(drawn.len() as u64, shares);
            prop_assert_eq!(drawn.iter().sum::<u64>(), total);
            prop_assert!(drawn.iter().all(|share| *share >= 1));
        }

        #[test]
        fn no_share_but_the_last_is_above_twice_the_mean_of_what_is_left(
            shares in 1_u64..100,
            over in 0_u64..10_000,
            seed: u64,
        ) {
            let mut left = shares + over;
            for (place, share) in (0..).zip(drawn(left, shares, seed)) {
                let to_come = shares - place - 1;
                prop_assert!(to_come == 0 || share * (to_come + 1) <= 2 * left);
                left -= share;
                prop_assert!(left >= to_come);
            }
        }

        #[test]
        fn the_largest_amounts_split_as_well(short in 0_u64..1000, shares in 1_u64..50, seed: u64) {
            let total = u64::MAX - short;
            prop_assert_eq!(drawn(total, shares, seed).iter().map(|share| u128::from(*share)).sum::<u128>(), total.into());
        }
    }

    #[test]
    fn a_split_without_a_cent_for_each_is_refused() {
        assert_eq!(Split::new(Cents(2), 3), None);
        assert_eq!(Split::new(Cents(0), 0), None);
        assert_eq!(Split::new(Cents(5), 0), None);
        assert_eq!(drawn(3, 3, 0), [1, 1, 1]);
        assert_eq!(drawn(77, 1, 0), [77]);
    }

    /// Whoever opens first must not fare better than whoever opens last. The totals are chosen so that twice the mean is a whole
    /// number, just above one, and just below one; the smallest one is where a rounding error would weigh most.
    #[test]
    fn no_place_in_the_order_is_worth_more() {
        const ROUNDS: u32 = 200_000;
        for (total, shares) in [(12_u64, 10_u64), (15, 10), (39, 10), (1_000, 10), (1_003, 7)] {
            let mut sums = vec![0_u64; shares as usize];
            let mut squares = vec![0_u64; shares as usize];
            let mut rng = from_key("test", &total.to_le_bytes());
            for _ in 0..ROUNDS {
                let mut split = Split::new(Cents(total), shares).expect("a cent for each");
                for (sum, square) in sums.iter_mut().zip(&mut squares) {
                    let share = split.next(&mut rng).expect("a share for each place").0;
                    *sum += share;
                    *square += share * share;
                }
            }
            let (rounds, fair) = (f64::from(ROUNDS), total as f64 / shares as f64);
            for (place, (sum, square)) in sums.iter().zip(&squares).enumerate() {
                let mean = *sum as f64 / rounds;
                let deviation = ((*square as f64 / rounds - mean * mean) / rounds).sqrt();
                assert!(
                    (mean - fair).abs() < 4.5 * deviation,
                    "{total} over {shares}: place {place} gets {mean}, fair is {fair}"
                );
            }
        }
    }

    /// The first of two shares may be anything from 1 cent to all but 1 cent, each as likely.
    #[test]
    fn the_first_of_two_shares_is_uniform() {
        let mut counts = [0_u32; 9];
        let mut rng = from_key("test", b"two");
        for _ in 0..90_000 {
            let first = Split::new(Cents(10), 2).and_then(|mut split| split.next(&mut rng)).expect("a share").0;
            counts[first as usize - 1] += 1;
        }
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 500), "{counts:?}");
    }
}
