//! What a person sees while it runs: one live line on a terminal, a plain line a second elsewhere. All on standard error.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::series::Point;

/// See the module's text.
pub enum Progress {
    /// Nothing.
    Quiet,
    /// Plain lines.
    Lines {
        /// Last line of the ramp, in whole seconds of the run.
        ramp_second: u64,
    },
    /// One line that changes.
    Live(ProgressBar),
}

impl Progress {
    /// Chooses by what standard error is.
    pub fn new(quiet: bool) -> Self {
        if quiet {
            Self::Quiet
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::no_length();
            bar.enable_steady_tick(Duration::from_millis(250));
            Self::Live(bar)
        } else {
            Self::Lines { ramp_second: 0 }
        }
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        match self {
            Self::Quiet => {}
            Self::Lines { .. } => eprintln!("{line}"),
            Self::Live(bar) => bar.suspend(|| eprintln!("{line}")),
        }
    }

    /// How far the ramp is.
    pub fn ramp(&mut self, established: u64, target: u64, elapsed: Duration) {
        match self {
            Self::Quiet => {}
            Self::Lines { ramp_second } => {
                if elapsed.as_secs() > *ramp_second {
                    *ramp_second = elapsed.as_secs();
                    eprintln!("{ramp_second:>4}s  connections {established} of {target}");
                }
            }
            Self::Live(bar) => {
                if bar.length().is_none() {
                    bar.set_length(target);
                    bar.set_style(style("connecting {bar:30} {pos}/{len}  {per_sec}"));
                }
                bar.set_position(established);
            }
        }
    }

    /// The load begins.
    pub fn begin_load(&self, stage: &str, seconds: u64) {
        if let Self::Live(bar) = self {
            bar.reset();
            bar.set_length(seconds);
            bar.set_style(style(&format!("{stage} {{bar:30}} {{pos}}/{{len}}s  {{msg}}")));
        }
    }

    /// A second of the load is over.
    pub fn second(&self, point: &Point) {
        let line = format!(
            "{}/s answered, {} envelopes, p50 {:.2} ms, p99 {:.2} ms{}{}{}",
            point.answered,
            point.envelopes,
            point.p50_us as f64 / 1_000.0,
            point.p99_us as f64 / 1_000.0,
            if point.failed > 0 { format!(", {} failed", point.failed) } else { String::new() },
            gifts(point),
            if point.warm_up { " (warm-up)" } else { "" },
        );
        self.line(u64::from(point.second) + 1, line);
    }

    /// What there is to say after so many seconds of the load.
    pub fn line(&self, seconds: u64, line: String) {
        match self {
            Self::Quiet => {}
            Self::Lines { .. } => eprintln!("{seconds:>4}s  {line}"),
            Self::Live(bar) => {
                bar.set_position(seconds);
                bar.set_message(line);
            }
        }
    }

    /// Takes the live line away.
    pub fn finish(&self) {
        if let Self::Live(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Nothing where nothing happened.
fn gifts(point: &Point) -> String {
    if point.gifts + point.gifts_opened + point.gifts_failed == 0 {
        return String::new();
    }
    let failed =
        if point.gifts_failed > 0 { format!(", {} of both failed", point.gifts_failed) } else { String::new() };
    format!(", {} gifts, {} shares opened{failed}", point.gifts, point.gifts_opened)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
