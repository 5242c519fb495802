//! How even the load and the envelopes of a stage were, from the seconds of its measured part.

use crate::report::Steadiness;
use crate::series::Point;

/// Seconds in a row over which envelopes are counted: at 200 a second, a window holds 2,000 of them.
const WINDOW_SECONDS: usize = 10;

/// One second of the stage.
#[derive(Clone, Copy, Default)]
struct Second {
    answered: u64,
    envelopes: u64,
}

/// Judges the whole seconds of `stage` after its warm-up. `rate` is the one asked for, a second; none in the closed loop and in a
/// ramp. Its first and its last second are left out, as a load seldom begins or ends with a second of the wall clock.
pub fn of(points: &[Point], stage: u32, rate: Option<u64>) -> Steadiness {
    let seconds = whole_seconds(points, stage);
    let envelopes: Vec<u64> = seconds.iter().map(|second| second.envelopes).collect();
    let windows = || envelopes.windows(WINDOW_SECONDS).map(|window| window.iter().sum::<u64>());
    let a_second = |sum: u64| sum as f64 / WINDOW_SECONDS as f64;
    let furthest = |rate: u64| seconds.iter().map(move |second| second.answered.abs_diff(rate) as f64 / rate as f64);
    Steadiness {
        qps_deviation_max: rate.filter(|rate| *rate > 0).and_then(|rate| furthest(rate).reduce(f64::max)),
        envelopes_per_s: envelopes.iter().sum::<u64>() as f64 / envelopes.len().max(1) as f64,
        envelopes_per_s_lowest: windows().min().map(a_second),
        envelopes_per_s_highest: windows().max().map(a_second),
    }
}

/// The whole measured seconds in a row. One that no thread wrote down stands as a second without answers: that is what it was.
fn whole_seconds(points: &[Point], stage: u32) -> Vec<Second> {
    let of_stage = || points.iter().filter(|point| point.stage == Some(stage));
    let Some((first, last)) = of_stage().map(|point| point.second).fold(None, |ends: Option<(u32, u32)>, second| {
        ends.map_or(Some((second, second)), |(first, last)| Some((first.min(second), last.max(second))))
    }) else {
        return Vec::new();
    };
    let measured = || of_stage().filter(|point| !point.warm_up && point.second > first && point.second < last);
    let Some(begin) = measured().map(|point| point.second).min() else { return Vec::new() };
    let mut seconds = vec![Second::default(); (last - begin) as usize];
    for point in measured() {
        let second = &mut seconds[(point.second - begin) as usize];
        second.answered += point.answered;
        second.envelopes += point.envelopes;
    }
    seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(second: u32, stage: u32, answered: u64, envelopes: u64) -> Point {
        let figures = serde_json::json!({
            "second": second, "stage": stage, "warm_up": false, "connections": 1, "scheduled": answered, "sent": answered,
            "answered": answered, "envelopes": envelopes, "failed": 0, "p50_us": 1, "p99_us": 1, "p99_9_us": 1, "max_us": 1,
            "segments_in": 0, "segments_out": 0, "histogram": "",
        });
        serde_json::from_value(figures).unwrap()
    }

    #[test]
    fn the_worst_second_decides_and_the_partial_ones_at_the_ends_do_not() {
        let answered = [3, 1000, 990, 1020, 1000, 400];
        let points: Vec<Point> = (7..).zip(answered).map(|(second, answered)| point(second, 2, answered, 0)).collect();
        assert_eq!(of(&points, 2, Some(1000)).qps_deviation_max, Some(0.02));
        assert_eq!(of(&points, 2, None).qps_deviation_max, None, "a ramp has no one rate");
        assert_eq!(of(&points, 1, Some(1000)), Steadiness::default(), "another stage's seconds");
    }

    #[test]
    fn a_second_that_nobody_wrote_down_was_one_without_answers() {
        let points: Vec<Point> = [0, 1, 2, 4, 5].map(|second| point(second, 0, 1000, 0)).into();
        assert_eq!(of(&points, 0, Some(1000)).qps_deviation_max, Some(1.0));
    }

    #[test]
    fn windows_slide_by_a_second_over_the_measured_part_only() {
        // Second 0 is partial and second 1 warm-up; then 200 a second, with one second dry and one double.
        let mut points: Vec<Point> = (0..32).map(|second| point(second, 0, 1000, 200)).collect();
        points[0].warm_up = true;
        points[1].warm_up = true;
        (points[1].envelopes, points[10].envelopes, points[25].envelopes) = (9_999, 0, 400);
        let found = of(&points, 0, None);
        assert_eq!(Some(found.envelopes_per_s), Some(200.0));
        assert_eq!((found.envelopes_per_s_lowest, found.envelopes_per_s_highest), (Some(180.0), Some(220.0)));
    }

    #[test]
    fn too_few_seconds_give_no_window_and_none_at_all_no_figure() {
        let few: Vec<Point> = (0..11).map(|second| point(second, 0, 10, 7)).collect();
        let found = of(&few, 0, Some(10));
        assert_eq!((found.envelopes_per_s, found.envelopes_per_s_lowest), (7.0, None));
        for points in [&few[..0], &few[..1], &few[..2]] {
            assert_eq!(of(points, 0, Some(10)), Steadiness::default());
        }
    }
}
