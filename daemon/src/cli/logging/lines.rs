//! Where log lines go: to stderr, at most so many a second; and where stderr is the journal's, each with its priority before it.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::stat::fstat;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use crate::limits::LOG_LINES_PER_SECOND;

/// Whether stderr goes to the journal: systemd names the stream's device and inode, which a program that redirected it no longer has.
pub(super) fn stderr_is_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    fstat(io::stderr().as_fd()).is_ok_and(|found| named == format!("{}:{}", found.st_dev, found.st_ino))
}

/// Makes a writer for each line.
pub(super) struct Lines {
    journal: bool,
    start: Instant,
    limiter: Mutex<Limiter>,
}

impl Lines {
    pub(super) fn new(journal: bool) -> Self {
        Self { journal, start: Instant::now(), limiter: Mutex::default() }
    }

    fn line(&self, level: Level) -> Line {
        let priority = self.journal.then(|| priority(level));
        let now = self.start.elapsed();
        // What is behind the lock cannot be left half done.
        let admitted = self.limiter.lock().unwrap_or_else(PoisonError::into_inner).admit(now, LOG_LINES_PER_SECOND);
        Line { priority, admitted }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        self.line(Level::INFO)
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        self.line(*metadata.level())
    }
}

/// As syslog numbers them.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// One line on its way.
pub(super) struct Line {
    priority: Option<u8>,
    admitted: Option<u64>,
}

impl Write for Line {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut out = io::stderr().lock();
        if let Some(left_out) = self.admitted {
            out.write_all(&shaped(self.priority, left_out, &String::from_utf8_lossy(text)))?;
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The bytes of one line, which a message of several lines makes several of.
fn shaped(priority: Option<u8>, left_out: u64, text: &str) -> Vec<u8> {
    let mut shaped = String::with_capacity(text.len() + 8);
    let prefix = priority.map(|priority| format!("<{priority}>")).unwrap_or_default();
    if left_out > 0 {
        let warning = priority.map(|_| "<4>").unwrap_or_default();
        let told = [
            warning,
            &left_out.to_string(),
            " log lines were left out: more came than may be written in a second
",
        ];
        shaped.extend(told);
    }
    for line in text.split_inclusive('\n') {
        shaped.push_str(&prefix);
        shaped.push_str(line);
    }
    shaped.into_bytes()
}

/// Counts the lines of the current second: pure.
#[derive(Debug, Default)]
struct Limiter {
    second: u64,
    lines: u64,
    left_out: u64,
}

impl Limiter {
    /// Whether one more line may be written now; if so, how many were left out before it.
    fn admit(&mut self, now: Duration, lines_per_second: u64) -> Option<u64> {
        if now.as_secs() != self.second {
            (self.second, self.lines) = (now.as_secs(), 0);
        }
        if self.lines == lines_per_second {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_cut_and_told() {
        let mut limiter = Limiter::default();
        let second = Duration::from_secs;
        assert_eq!((0..3).map(|_| limiter.admit(second(7), 2)).collect::<Vec<_>>(), [Some(0), Some(0), None]);
        assert_eq!(limiter.admit(second(7), 2), None);
        assert_eq!(limiter.admit(second(8), 2), Some(2));
        assert_eq!(limiter.admit(second(9), 2), Some(0));
    }

    #[test]
    fn every_line_of_a_message_keeps_its_priority_in_the_journal() {
        assert_eq!(shaped(Some(3), 0, "broken:\n  - this\n"), b"<3>broken:\n<3>  - this\n");
        assert_eq!(shaped(None, 0, "text\n"), b"text\n");
        let told = String::from_utf8(shaped(Some(6), 9, "text\n")).expect("text");
        assert!(told.starts_with("<4>9 log lines were left out") && told.ends_with("\n<6>text\n"), "{told}");
    }
}
