//! Progress for people: a bar on a terminal, now and then a line anywhere else.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const LINE_EVERY: Duration = Duration::from_secs(2);

/// Shows on stderr how far a command has come.
pub(crate) struct Meter {
    what: &'static str,
    bar: Option<ProgressBar>,
    line_at: Instant,
}

impl Meter {
    /// `what` is counted, `of` is all of it.
    pub(crate) fn new(what: &'static str, of: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {msg} ({per_sec}, {eta} left)")
                .expect("a template that is right");
            ProgressBar::with_draw_target(Some(of), ProgressDrawTarget::stderr()).with_style(style).with_message(what)
        });
        Self { what, bar, line_at: Instant::now() + LINE_EVERY }
    }

    /// So many are done.
    pub(crate) fn at(&mut self, done: u64, of: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        } else if Instant::now() >= self.line_at {
            eprintln!("{done} of {of} {}", self.what);
            self.line_at = Instant::now() + LINE_EVERY;
        }
    }

    /// Writes a line to another stream without tearing the bar.
    pub(crate) fn beside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
