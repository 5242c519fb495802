//! Fewer points than were measured, without losing a peak: each stretch of them is drawn as its lowest and its highest.

use std::ops::Range;

/// Stretches of `count` points, at most `limit` of them, in order; together they hold each point once.
pub(super) fn stretches(count: usize, limit: usize) -> impl Iterator<Item = Range<usize>> {
    let length = count.div_ceil(limit.max(1)).max(1);
    (0..count).step_by(length).map(move |begin| begin..(begin + length).min(count))
}

/// Places of the points to draw: all where there are no more than `limit`, else the extremes of each stretch and every point where
/// nothing was measured, so that a gap stays one.
pub(super) fn places(values: &[Option<f64>], limit: usize) -> Vec<usize> {
    if values.len() <= limit {
        return (0..values.len()).collect();
    }
    stretches(values.len(), limit / 2).flat_map(|stretch| extremes(values, stretch)).collect()
}

fn extremes(values: &[Option<f64>], stretch: Range<usize>) -> Vec<usize> {
    let measured = || stretch.clone().filter_map(|place| values[place].map(|value| (place, value)));
    let lowest = measured().min_by(|(_, one), (_, other)| one.total_cmp(other));
    let highest = measured().max_by(|(_, one), (_, other)| one.total_cmp(other));
    let mut kept: Vec<usize> = lowest.into_iter().chain(highest).map(|(place, _)| place).collect();
    // One for all that is missing is enough to break the line.
    kept.extend(stretch.clone().find(|place| values[*place].is_none()));
    kept.sort_unstable();
    kept.dedup();
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_single_peak_among_a_day_of_seconds_is_drawn() {
        let mut values = vec![Some(5.0); 86_400];
        (values[40_000], values[70_000]) = (Some(900.0), Some(1.0));
        let kept = places(&values, 600);
        assert!(kept.contains(&40_000) && kept.contains(&70_000));
        assert!(kept.len() <= 600, "{}", kept.len());
    }

    proptest! {
        #[test]
        fn nothing_is_drawn_twice_or_out_of_order(values in prop::collection::vec(prop::option::of(0.0..1e6), 0..3_000), limit in 2..700usize) {
            let kept = places(&values, limit);
            prop_assert!(kept.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(kept.len() <= limit * 2 && kept.iter().all(|place| *place < values.len()));
            let covered: Vec<usize> = stretches(values.len(), limit).flatten().collect();
            prop_assert_eq!(covered, (0..values.len()).collect::<Vec<_>>());
        }
    }
}
