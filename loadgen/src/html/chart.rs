//! One chart as inline SVG. Its drawing is stretched over whatever width there is, while its words stand beside it as text of the page:
//! they stay readable on a phone. Colours are classes, so that the style sheet decides between light and dark.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::axis::Axis;
use super::thin;

/// Points of a line, at most.
const POINTS_MAX: usize = 600;

/// Places that tell their values when the pointer rests on them, at most.
const HINTS_MAX: usize = 120;

/// Size of the drawing's own coordinates.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 400.0;

/// One line of a chart.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: String,
    /// Class of the style sheet: `c1` to `c6`, `quiet`, `faint`.
    pub(super) class: &'static str,
    /// One for each of the chart's `xs`.
    pub(super) values: Vec<Option<f64>>,
}

/// A part of the horizontal axis that belongs to something: a stage, or its warm-up.
#[derive(Clone, Debug)]
pub(super) struct Band {
    /// Empty: nothing is written.
    pub(super) name: String,
    pub(super) class: &'static str,
    pub(super) from: f64,
    pub(super) to: f64,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) title: &'static str,
    pub(super) note: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) xs: Vec<f64>,
    pub(super) x_text: fn(f64) -> String,
    pub(super) y_text: fn(f64) -> String,
    pub(super) lines: Vec<Line>,
    pub(super) bands: Vec<Band>,
    /// Straight pieces of what was asked for, each from x and y to x and y.
    pub(super) asked: Vec<[f64; 4]>,
}

impl Chart {
    pub(super) fn draw(&self) -> Markup {
        // Beyond this many a phone shows every other one.
        let crowded = self.x.ticks.len() > 5;
        let bands_named = self.bands.iter().any(|band| !band.name.is_empty());
        html! {
            figure {
                figcaption {
                    h3 { (self.title) }
                    @if !self.note.is_empty() { p.note { (self.note) } }
                    @if self.lines.len() + usize::from(!self.asked.is_empty()) > 1 { (self.legend()) }
                }
                div.chart {
                    @if bands_named { div.names { @for band in &self.bands { (self.name_of(band)) } } }
                    div.y aria-hidden="true" {
                        @for (place, label) in &self.y.ticks { span style={ "bottom:" (percent(*place)) } { (label) } }
                    }
                    div.drawing { (self.svg()) }
                    div.x aria-hidden="true" {
                        @for (number, (place, label)) in self.x.ticks.iter().enumerate() {
                            span.spare[crowded && number % 2 == 1].end[*place > 0.97] style={ "left:" (percent(*place)) } { (label) }
                        }
                    }
                }
            }
        }
    }

    fn legend(&self) -> Markup {
        html! {
            ul.legend {
                @if !self.asked.is_empty() { li { i.asked {} "asked for" } }
                @for line in &self.lines { li { i class=(line.class) {} (line.name) } }
            }
        }
    }

    fn name_of(&self, band: &Band) -> Markup {
        let (left, right) = (self.x.place(band.from), self.x.place(band.to));
        html! {
            @if !band.name.is_empty() {
                span title=(band.name) style={ "left:" (percent(left)) ";width:" (percent(right - left)) } { (band.name) }
            }
        }
    }

    fn svg(&self) -> Markup {
        html! {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(self.title) {
                @for band in &self.bands {
                    rect class=(band.class) x=(number(self.across(band.from))) y="0" height=(HEIGHT)
                        width=(number((self.across(band.to) - self.across(band.from)).max(0.0))) {}
                }
                path.grid d=(self.grid()) {}
                @for [from_x, from_y, to_x, to_y] in &self.asked {
                    path.asked d={
                        "M" (number(self.across(*from_x))) " " (number(self.down(*from_y)))
                        "L" (number(self.across(*to_x))) " " (number(self.down(*to_y)))
                    } {}
                }
                @for line in &self.lines { path.line.(line.class) d=(self.path(line)) {} }
                @for hint in self.hints() { (hint) }
            }
        }
    }

    fn grid(&self) -> String {
        let mut path = String::new();
        for (place, _) in &self.y.ticks {
            let _ = write!(path, "M0 {0}H{WIDTH}", number(HEIGHT * (1.0 - place)));
        }
        path
    }

    fn path(&self, line: &Line) -> String {
        let mut path = String::new();
        let places = thin::places(&line.values, POINTS_MAX);
        for piece in places.split(|place| line.values[*place].is_none()) {
            let points = piece.iter().filter_map(|place| line.values[*place].map(|value| (self.xs[*place], value)));
            for (count, (x, y)) in points.enumerate() {
                let letter = if count == 0 { 'M' } else { 'L' };
                // Writing to a string does not fail.
                let _ = write!(path, "{letter}{} {}", number(self.across(x)), number(self.down(y)));
            }
            if piece.len() == 1 {
                // A stroke of no length with round ends: a point that stands alone shows.
                path.push_str("h0");
            }
        }
        path
    }

    /// Columns over the whole height, invisible but for the pointer.
    fn hints(&self) -> Vec<Markup> {
        let stretches: Vec<_> = thin::stretches(self.xs.len(), HINTS_MAX).collect();
        let between = |left: f64, right: f64| f64::midpoint(self.across(left), self.across(right));
        let hint = |stretch: &std::ops::Range<usize>| {
            let (first, last) = (stretch.start, stretch.end - 1);
            let left = if first == 0 { 0.0 } else { between(self.xs[first - 1], self.xs[first]) };
            let right = self.xs.get(stretch.end).map_or(WIDTH, |next| between(self.xs[last], *next));
            html! {
                rect.hint x=(number(left)) y="0" width=(number((right - left).max(0.0))) height=(HEIGHT) {
                    title { (self.hint_text(first, last)) }
                }
            }
        };
        stretches.iter().map(hint).collect()
    }

    fn hint_text(&self, first: usize, last: usize) -> String {
        let mut text = (self.x_text)(self.xs[first]);
        if last > first {
            let _ = write!(text, " to {}", (self.x_text)(self.xs[last]));
        }
        for line in &self.lines {
            let values = || line.values[first..=last].iter().flatten().copied();
            let (Some(low), Some(high)) = (values().reduce(f64::min), values().reduce(f64::max)) else { continue };
            let (low, high) = ((self.y_text)(low), (self.y_text)(high));
            let _ = write!(text, "\n{}: {low}", line.name);
            if low != high {
                let _ = write!(text, " to {high}");
            }
        }
        text
    }

    fn across(&self, x: f64) -> f64 {
        self.x.place(x) * WIDTH
    }

    fn down(&self, y: f64) -> f64 {
        (1.0 - self.y.place(y)) * HEIGHT
    }
}

/// One decimal of a thousandth of the width is finer than a screen.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), ToOwned::to_owned)
}

fn percent(place: f64) -> String {
    format!("{}%", number(place * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::human;

    fn chart(values: &[Option<f64>]) -> Chart {
        Chart {
            title: "A chart",
            note: String::new(),
            x: Axis::clock(0.0, values.len() as f64),
            y: Axis::from_zero(9.0, human::count),
            xs: (0..values.len()).map(|x| x as f64).collect(),
            x_text: human::clock,
            y_text: human::count,
            lines: vec![Line { name: "a line".to_owned(), class: "c1", values: values.to_vec() }],
            bands: Vec::new(),
            asked: Vec::new(),
        }
    }

    #[test]
    fn a_line_breaks_where_nothing_was_measured_and_a_lone_point_shows() {
        let path = |values: &[Option<f64>]| {
            let chart = chart(values);
            chart.path(&chart.lines[0])
        };
        assert_eq!(path(&[Some(0.0), Some(5.0), None, Some(10.0)]), "M0 400L250 200M750 0h0");
        assert_eq!(path(&[Some(0.0)]), "M0 400h0");
        assert_eq!(path(&[None, None]), "");
        assert_eq!(path(&[]), "");
    }

    #[test]
    fn hints_cover_every_point_and_tell_both_extremes() {
        let values: Vec<Option<f64>> = (0..1_000).map(|second| Some(f64::from(second))).collect();
        let hints = chart(&values).hints();
        assert!(hints.len() <= HINTS_MAX && hints.len() > HINTS_MAX / 2, "{}", hints.len());
        assert_eq!(chart(&values).hint_text(0, 8), "0 s to 8 s\na line: 0 to 8");
        assert_eq!(chart(&values).hint_text(7, 7), "7 s\na line: 7");
        assert!(chart(&[]).hints().is_empty());
    }
}
