//! Prometheus's text form for what the `metrics` crate cannot hold: histograms whose buckets were filled elsewhere (the crate's own
//! keep every sample until upkeep, an allocation on the hot path), counters with a fraction, and labels that come and go (its
//! registry never forgets one).

use std::fmt::Write;

use super::catalogue::{Kind, Metric};
use crate::cells::HistogramCells;

/// A metric's lines, under its HELP and TYPE. Labels' values are in the order of the metric's label names.
pub(super) struct Family<'a> {
    metric: &'static Metric,
    text: &'a mut String,
}

impl<'a> Family<'a> {
    /// Starts a metric.
    pub(super) fn new(text: &'a mut String, metric: &'static Metric) -> Self {
        line(text, format_args!("# HELP {} {}", metric.name, metric.help));
        line(text, format_args!("# TYPE {} {}", metric.name, metric.kind.label()));
        Self { metric, text }
    }

    /// One value.
    pub(super) fn value(&mut self, labels: &[&str], value: impl std::fmt::Display) {
        let labels = pairs(self.metric, labels);
        line(self.text, format_args!("{}{} {value}", self.metric.name, braced(&labels)));
    }

    /// One histogram, over all of these. `divisor` turns what was recorded into the metric's unit.
    pub(super) fn histogram<const BUCKETS: usize>(
        &mut self,
        labels: &[&str],
        divisor: f64,
        cells: &[&HistogramCells<BUCKETS>],
    ) {
        debug_assert_eq!(self.metric.kind, Kind::Histogram);
        let name = self.metric.name;
        let labels = pairs(self.metric, labels);
        let comma = if labels.is_empty() { "" } else { "," };
        // Each bucket is read once and the count is their sum, so that one scrape agrees with itself while the writer runs on.
        let mut count = 0;
        for bucket in 0..BUCKETS {
            count += cells.iter().map(|cells| cells.bucket(bucket)).sum::<u64>();
            if bucket + 1 < BUCKETS {
                let bound = (1_u64 << bucket) as f64 / divisor;
                line(self.text, format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}"));
            }
        }
        line(self.text, format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}"));
        let sum: u64 = cells.iter().map(|cells| cells.sum()).sum();
        line(self.text, format_args!("{name}_sum{} {}", braced(&labels), sum as f64 / divisor));
        line(self.text, format_args!("{name}_count{} {count}", braced(&labels)));
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a string cannot fail");
    text.push('\n');
}

fn braced(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}

fn pairs(metric: &Metric, values: &[&str]) -> String {
    assert_eq!(metric.labels.len(), values.len(), "{} has other labels", metric.name);
    let mut text = String::new();
    for (name, value) in metric.labels.iter().zip(values) {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let comma = if text.is_empty() { "" } else { "," };
        write!(text, "{comma}{name}=\"{escaped}\"").expect("writing to a string cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::catalogue;

    #[test]
    fn a_histogram_is_cumulative_and_ends_with_infinity() {
        let (cells, others) = (HistogramCells::<4>::default(), HistogramCells::<4>::default());
        for value in [1, 2, 1000] {
            cells.record(value);
        }
        others.record(2);
        let mut text = String::new();
        Family::new(&mut text, &catalogue::TURN_DURATION).histogram(&[], 1e6, &[&cells, &others]);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "hongbao_turn_duration_seconds_bucket{le=\"0.000001\"} 1",
                "hongbao_turn_duration_seconds_bucket{le=\"0.000002\"} 3",
                "hongbao_turn_duration_seconds_bucket{le=\"0.000004\"} 3",
                "hongbao_turn_duration_seconds_bucket{le=\"+Inf\"} 4",
                "hongbao_turn_duration_seconds_sum 0.001005",
                "hongbao_turn_duration_seconds_count 4",
            ]
        );
    }

    #[test]
    fn a_strange_interface_name_cannot_break_the_scrape() {
        let mut text = String::new();
        Family::new(&mut text, &catalogue::INTERFACE_PACKETS).value(&["a\"b\\c\nd", "in"], 1);
        assert!(text.ends_with("{interface=\"a\\\"b\\\\c\\nd\",direction=\"in\"} 1\n"), "{text}");
        assert_eq!(text.lines().count(), 3);
    }
}
