//! The axes of a chart: from values to places between 0 and 1, and the ticks that people read.

use crate::human;

/// See the module's text.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    logarithmic: bool,
    low: f64,
    high: f64,
    /// Place from 0 to 1, and what is written there.
    pub(super) ticks: Vec<(f64, String)>,
}

/// Ticks that an axis has at most, about.
const TICKS: f64 = 5.0;

/// Steps of a time axis, in seconds.
const CLOCK_STEPS: [f64; 15] =
    [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0];

impl Axis {
    /// From 0 to a round number above `highest`.
    pub(super) fn from_zero(highest: f64, label: fn(f64) -> String) -> Self {
        if highest <= 0.0 {
            return Self { logarithmic: false, low: 0.0, high: 1.0, ticks: Vec::new() }.with_ticks(1.0, label);
        }
        let highest = highest * 1.05;
        let rough = highest / TICKS;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let axis = Self { logarithmic: false, low: 0.0, high: (highest / step).ceil() * step, ticks: Vec::new() };
        axis.with_ticks(step, label)
    }

    /// Of the run's clock, in seconds.
    pub(super) fn clock(first: f64, last: f64) -> Self {
        let span = (last - first).max(1.0);
        let wanted = |step: &f64| *step >= span / 6.0;
        let day = 86_400.0;
        let step = CLOCK_STEPS.into_iter().find(wanted).unwrap_or_else(|| (span / 6.0 / day).ceil() * day);
        Self { logarithmic: false, low: first, high: first + span, ticks: Vec::new() }.with_ticks(step, human::clock)
    }

    /// Over powers of ten that hold both ends.
    pub(super) fn logarithmic(lowest: f64, highest: f64, label: fn(f64) -> String) -> Self {
        let lowest = lowest.max(1e-6);
        let low = lowest.log10().floor();
        let high = highest.max(lowest).log10().ceil().max(low + 1.0);
        let mut axis = Self { logarithmic: true, low: 10f64.powf(low), high: 10f64.powf(high), ticks: Vec::new() };
        // Within two powers of ten those alone would be too few to read by.
        let factors: &[f64] = if high - low <= 2.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let values =
            (low as i32..=high as i32).flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)));
        let values: Vec<f64> = values.filter(|value| *value <= axis.high * 1.000_001).collect();
        axis.ticks = values.into_iter().map(|value| (axis.place(value), label(value))).collect();
        axis
    }

    /// Of quantiles as 1 / (1 - quantile), named in percent, up to the one that is a single value among `count`.
    pub(super) fn quantiles(count: f64) -> Self {
        let high = count.max(10.0);
        let mut axis = Self { logarithmic: true, low: 1.0, high, ticks: Vec::new() };
        let nines = high.log10().floor() as usize;
        let label = |nines: usize| match nines {
            0 => "0".to_owned(),
            1 => "90".to_owned(),
            2 => "99".to_owned(),
            _ => format!("99.{}", "9".repeat(nines - 2)),
        };
        axis.ticks = (0..=nines).map(|nines| (axis.place(10f64.powf(nines as f64)), label(nines))).collect();
        axis
    }

    /// From 0 to 1; what lies outside the axis is put at its end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let on = |value: f64| if self.logarithmic { value.max(self.low).log10() } else { value };
        ((on(value) - on(self.low)) / (on(self.high) - on(self.low))).clamp(0.0, 1.0)
    }

    fn with_ticks(mut self, step: f64, label: fn(f64) -> String) -> Self {
        let first = (self.low / step).ceil() as u64;
        let last = (self.high / step * 1.000_001).floor() as u64;
        self.ticks = (first..=last).map(|tick| (self.place(tick as f64 * step), label(tick as f64 * step))).collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_numbers_and_the_highest_value_stays_below_the_edge() {
        let axis = Axis::from_zero(60_000.0, human::count);
        assert_eq!(labels(&axis), ["0", "20k", "40k", "60k", "80k"]);
        assert!((axis.place(60_000.0) - 0.75).abs() < 1e-9);
        assert_eq!(labels(&Axis::from_zero(0.0, human::count)), ["0", "1"]);
        for highest in [0.001, 1.0, 3.0, 7.7, 99.0, 1e9, 1e15] {
            let axis = Axis::from_zero(highest, human::count);
            assert!((3..=7).contains(&axis.ticks.len()), "{highest}: {:?}", axis.ticks);
            assert!((0.5..1.0).contains(&axis.place(highest)), "{highest}");
        }
    }

    #[test]
    fn a_run_of_any_length_has_a_handful_of_times() {
        assert_eq!(labels(&Axis::clock(0.0, 300.0)), ["0 s", "1:00", "2:00", "3:00", "4:00", "5:00"]);
        for last in [0.0, 1.0, 7.0, 61.0, 3_600.0, 86_400.0, 1e7] {
            let ticks = Axis::clock(0.0, last).ticks.len();
            assert!((1..=8).contains(&ticks), "{last}: {ticks}");
        }
    }

    #[test]
    fn a_logarithmic_axis_holds_its_values_and_takes_zero_for_its_low_end() {
        let axis = Axis::logarithmic(300.0, 2_000_000.0, human::time);
        assert_eq!(labels(&axis), ["100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s"]);
        assert!(axis.place(0.0).abs() < 1e-9 && (axis.place(1e9) - 1.0).abs() < 1e-9);
        let narrow = Axis::logarithmic(1_500.0, 1_500.0, human::time);
        assert_eq!(labels(&narrow), ["1 ms", "2 ms", "5 ms", "10 ms"]);
    }

    #[test]
    fn quantiles_are_named_by_their_nines() {
        assert_eq!(labels(&Axis::quantiles(50_000.0)), ["0", "90", "99", "99.9", "99.99"]);
        assert_eq!(labels(&Axis::quantiles(0.0)), ["0", "90"]);
    }
}
