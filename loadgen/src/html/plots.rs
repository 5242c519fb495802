//! Which charts a report has, and what is drawn in them.

use hdrhistogram::Histogram;

use super::axis::Axis;
use super::chart::{Band, Chart, Line};
use crate::distribution::Distribution;
use crate::human;
use crate::report::{Report, StageReport};
use crate::series::Point;

/// Seconds in a row of which the chart of envelopes shows the mean, as expectations judge them.
const ENVELOPES_WINDOW: usize = 10;

/// Places of a distribution that are drawn.
const QUANTILES: u32 = 160;

/// Stages that are told apart by colour.
const STAGES_COLOURED: usize = 6;

const COLOURS: [&str; STAGES_COLOURED] = ["c1", "c2", "c3", "c4", "c5", "c6"];

/// Charts over the time of the run; none where no second was recorded.
pub(super) fn over_time(report: &Report) -> Vec<Chart> {
    let points = &report.seconds;
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let over = OverTime {
        x: Axis::clock(f64::from(first.second), f64::from(last.second) + 1.0),
        // What a second tells is drawn in its middle.
        xs: points.iter().map(|point| f64::from(point.second) + 0.5).collect(),
        bands: bands(&report.stages),
        points,
    };
    let mut charts =
        vec![over.shakes(&report.stages), over.latency(), over.envelopes(), over.failures(), over.connections()];
    if points.iter().any(|point| point.gifts + point.gifts_opened + point.gifts_failed > 0) {
        charts.push(over.gifts(&report.stages));
    }
    if points.iter().any(|point| point.segments_in + point.segments_out > 0) {
        charts.push(over.segments());
    }
    charts
}

fn bands(stages: &[StageReport]) -> Vec<Band> {
    let of_stage = |(number, stage): (usize, &StageReport)| {
        let class = if number % 2 == 0 { "stage" } else { "stage other" };
        let measured = stage.begun_s + stage.warm_up_s;
        let end = measured + stage.duration_s;
        let warm_up = Band { name: String::new(), class: "warm-up", from: stage.begun_s, to: measured };
        let name = Band { name: stage.name.clone(), class, from: measured, to: end };
        [warm_up, name]
    };
    stages.iter().enumerate().flat_map(of_stage).filter(|band| band.to > band.from).collect()
}

struct OverTime<'a> {
    points: &'a [Point],
    x: Axis,
    xs: Vec<f64>,
    bands: Vec<Band>,
}

impl OverTime<'_> {
    fn line(&self, name: &str, class: &'static str, of: impl Fn(&Point) -> u64) -> Line {
        let values = self.points.iter().map(|point| Some(of(point) as f64)).collect();
        Line { name: name.to_owned(), class, values }
    }

    fn counted(&self, title: &'static str, note: &str, lines: Vec<Line>, asked: Vec<[f64; 4]>) -> Chart {
        let highest = highest(&lines).max(asked.iter().flat_map(|piece| [piece[1], piece[3]]).fold(0.0, f64::max));
        Chart {
            title,
            note: note.to_owned(),
            x: self.x.clone(),
            y: Axis::from_zero(highest, human::count),
            xs: self.xs.clone(),
            x_text: human::clock,
            y_text: |value| human::exact(value.round() as u64),
            lines,
            bands: self.bands.clone(),
            asked,
        }
    }

    fn shakes(&self, stages: &[StageReport]) -> Chart {
        let piece = |stage: &StageReport| {
            let (from, to) = (stage.rate_from_qps.or(stage.rate_target_qps)?, stage.rate_target_qps?);
            let end = stage.begun_s + stage.warm_up_s + stage.duration_s;
            Some([stage.begun_s, from as f64, end, to as f64])
        };
        let lines =
            vec![self.line("sent", "c2", |point| point.sent), self.line("answered", "c1", |point| point.answered)];
        self.counted("Shakes a second", "", lines, stages.iter().filter_map(piece).collect())
    }

    fn latency(&self) -> Chart {
        let line = |name: &str, class, of: fn(&Point) -> u64| {
            let measured = |point: &Point| point.answered + point.failed > 0;
            let values = self.points.iter().map(|point| measured(point).then(|| of(point) as f64)).collect();
            Line { name: name.to_owned(), class, values }
        };
        let lines = vec![
            line("longest", "faint", |point| point.max_us),
            line("p99.9", "c3", |point| point.p99_9_us),
            line("p99", "c5", |point| point.p99_us),
            line("median", "c1", |point| point.p50_us),
        ];
        let values =
            || lines.iter().flat_map(|line| line.values.iter().flatten().copied()).filter(|value| *value > 0.0);
        let lowest = values().reduce(f64::min).unwrap_or(1.0);
        Chart {
            title: "Latency",
            note: "From the time a shake was due to its answer. Logarithmic.".to_owned(),
            x: self.x.clone(),
            y: Axis::logarithmic(lowest, values().fold(lowest, f64::max), human::time),
            xs: self.xs.clone(),
            x_text: human::clock,
            y_text: human::time,
            lines,
            bands: self.bands.clone(),
            asked: Vec::new(),
        }
    }

    fn envelopes(&self) -> Chart {
        let single = self.line("each second", "faint", |point| point.envelopes);
        // Within a stage: between two of them nobody shakes.
        let in_stage = self.points.iter().map(|point| point.stage.map(|_| point.envelopes as f64)).collect::<Vec<_>>();
        let name = format!("mean of {ENVELOPES_WINDOW} s");
        let mean = Line { name, class: "c1", values: trailing_mean(&in_stage, ENVELOPES_WINDOW) };
        self.counted("Envelopes a second", "", vec![single, mean], Vec::new())
    }

    fn gifts(&self, stages: &[StageReport]) -> Chart {
        let piece = |stage: &StageReport| {
            let rate = stage.gifts.as_ref()?.rate_target as f64;
            Some([stage.begun_s, rate, stage.begun_s + stage.warm_up_s + stage.duration_s, rate])
        };
        let lines = vec![
            self.line("shares opened", "c2", |point| point.gifts_opened),
            self.line("gifts granted", "c1", |point| point.gifts),
            self.line("failed", "c6", |point| point.gifts_failed),
        ];
        self.counted("Gifts a second", "", lines, stages.iter().filter_map(piece).collect())
    }

    fn failures(&self) -> Chart {
        let lines = vec![self.line("timed out or lost", "c6", |point| point.failed)];
        let note = if highest(&lines) > 0.0 {
            "Timed out, or lost with their connection."
        } else {
            "None: every shake was answered in time."
        };
        self.counted("Failed shakes a second", note, lines, Vec::new())
    }

    fn connections(&self) -> Chart {
        let lines = vec![self.line("logged in", "c1", |point| point.connections)];
        self.counted("Connections", "Logged in at the end of each second.", lines, Vec::new())
    }

    fn segments(&self) -> Chart {
        let lines =
            vec![self.line("in", "c1", |point| point.segments_in), self.line("out", "c2", |point| point.segments_out)];
        let note = "Of the load generator's network namespace; on loopback both ends count.";
        self.counted("TCP segments a second", note, lines, Vec::new())
    }
}

fn highest(lines: &[Line]) -> f64 {
    lines.iter().flat_map(|line| line.values.iter().flatten().copied()).fold(0.0, f64::max)
}

/// The mean of the `window` values up to each place; none where they are not all there.
fn trailing_mean(values: &[Option<f64>], window: usize) -> Vec<Option<f64>> {
    let mut means = vec![None; values.len().min(window - 1)];
    let sum = |values: &[Option<f64>]| values.iter().copied().sum::<Option<f64>>();
    means.extend(values.windows(window).map(|values| sum(values).map(|sum| sum / values.len() as f64)));
    means
}

/// The three histograms of the whole run by percentile; `None` where nothing was measured.
pub(super) fn percentiles(report: &Report) -> Option<Chart> {
    let named = [
        ("latency", "c1", &report.latency_us),
        ("service", "c2", &report.service_us),
        ("lateness", "c3", &report.lateness_us),
    ];
    let lines =
        named.into_iter().filter_map(|(name, class, of)| Some((name.to_owned(), class, histogram(of)?))).collect();
    by_percentile("All shakes by percentile", lines)
}

/// The latency of each stage by percentile, where there are several to compare and few enough to tell apart.
pub(super) fn percentiles_by_stage(report: &Report) -> Option<Chart> {
    let with_load = report.stages.iter().filter_map(|stage| Some((stage.name.clone(), histogram(&stage.latency_us)?)));
    let loads: Vec<_> = with_load.collect();
    if !(2..=STAGES_COLOURED).contains(&loads.len()) {
        return None;
    }
    let lines = loads.into_iter().zip(COLOURS).map(|((name, histogram), class)| (name, class, histogram)).collect();
    by_percentile("Latency by stage and percentile", lines)
}

fn histogram(of: &Distribution) -> Option<Histogram<u64>> {
    of.histogram().filter(|histogram| !histogram.is_empty())
}

fn by_percentile(title: &'static str, of: Vec<(String, &'static str, Histogram<u64>)>) -> Option<Chart> {
    let count = of.iter().map(|(_, _, histogram)| histogram.len()).max()? as f64;
    let x = Axis::quantiles(count);
    let steps = f64::from(QUANTILES);
    // Equal distances on the axis: each is the same factor of 1 / (1 - quantile).
    let xs: Vec<f64> = (0..=QUANTILES).map(|step| count.powf(f64::from(step) / steps)).collect();
    let line = |(name, class, histogram): (String, &'static str, Histogram<u64>)| {
        let own_count = histogram.len() as f64 * 1.000_001;
        let at = |x: &f64| (*x <= own_count).then(|| histogram.value_at_quantile(1.0 - 1.0 / x).max(1) as f64);
        Line { name, class, values: xs.iter().map(at).collect() }
    };
    let lines: Vec<Line> = of.into_iter().map(line).collect();
    let lowest = lines.iter().flat_map(|line| line.values.iter().flatten().copied()).fold(f64::INFINITY, f64::min);
    Some(Chart {
        title,
        note: "So many percent of the shakes took at most so long. Both axes are logarithmic.".to_owned(),
        y: Axis::logarithmic(lowest, highest(&lines), human::time),
        x,
        xs,
        x_text: percentile,
        y_text: human::time,
        lines,
        bands: Vec::new(),
        asked: Vec::new(),
    })
}

/// Of 1 / (1 - quantile), with as many digits as tell it from its neighbours.
fn percentile(x: f64) -> String {
    let digits = (x.log10().ceil() as usize).saturating_sub(1);
    format!("{:.digits$} %", (1.0 - 1.0 / x) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_needs_its_whole_window() {
        let values: Vec<Option<f64>> = [1.0, 2.0, 3.0, 4.0].map(Some).into();
        assert_eq!(trailing_mean(&values, 3), [None, None, Some(2.0), Some(3.0)]);
        assert_eq!(trailing_mean(&[Some(1.0), None, Some(3.0), Some(4.0)], 2), [None, None, None, Some(3.5)]);
        assert_eq!(trailing_mean(&values[..1], 3), [None]);
        assert_eq!(trailing_mean(&[], 3), []);
    }

    #[test]
    fn percentiles_have_the_digits_that_matter() {
        assert_eq!(
            [1.0, 2.0, 10.0, 100.0, 1e3, 1e6].map(percentile),
            ["0 %", "50 %", "90 %", "99.0 %", "99.90 %", "99.99990 %"]
        );
    }
}
