//! The histograms of a run as an HDR interval log, which the tools of every HDR histogram library read.
//!
//! Each second is an interval with the tag `latency`, or `warm-up` where the figures leave it out; each stage adds one interval each with
//! the tags `service` and `lateness`. Values are microseconds; times count from the log's base time, the run's first second.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag};
use thiserror::Error;

use crate::distribution;
use crate::limits::HDR_LOG_BYTES_MAX;
use crate::report::{Report, StageReport};
use crate::series::Point;

/// Tag of a measured second's latency.
pub const LATENCY: &str = "latency";
/// Tag of the latency of a second in a warm-up.
pub const WARM_UP: &str = "warm-up";
/// Tag of a stage's time from the send to the answer.
pub const SERVICE: &str = "service";
/// Tag of a stage's time from the intended time to the send.
pub const LATENESS: &str = "lateness";

/// Microseconds in the unit of the log's column of largest values, which people read: milliseconds.
const US_PER_MAX: f64 = 1_000.0;

/// A log that was read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// In the order of the log.
    pub intervals: Vec<Interval>,
}

/// One histogram of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Interval {
    /// What it is of; empty where the log does not say.
    pub tag: String,
    /// Its begin, in seconds since 1970 UTC where the log has a start or a base time, else as the log has it.
    pub begin_s: f64,
    /// How long it was, in seconds.
    pub duration_s: f64,
    /// Values, in microseconds in the logs of this program.
    pub histogram: Histogram<u64>,
}

/// Why a log cannot be read.
#[derive(Debug, Error)]
pub enum HdrLogError {
    /// No file, or no right to it.
    #[error("reading the HDR log {path}: {error}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// More than a run of a day.
    #[error("the HDR log {0} is larger than {max} MiB", max = HDR_LOG_BYTES_MAX >> 20)]
    TooLarge(String),
    /// Not a log, or a damaged one.
    #[error("the HDR log {path} cannot be understood: {what}")]
    Damaged {
        /// Which.
        path: String,
        /// What and where.
        what: String,
    },
}

/// The log of a finished run.
pub fn write(report: &Report) -> Vec<u8> {
    let mut intervals: Vec<Interval> = report.seconds.iter().filter_map(of_second).collect();
    intervals.extend(report.stages.iter().flat_map(of_stage));
    put(
        &format!("hongbao-loadgen {}, {}: values are microseconds", report.version, report.scenario),
        report.started_unix_s,
        intervals,
    )
}

impl Log {
    /// As text. Its base time is the whole second in which the first interval began.
    pub fn write(&self) -> Vec<u8> {
        let first_s = self.intervals.iter().map(|interval| interval.begin_s).fold(f64::INFINITY, f64::min);
        let began_s = if first_s.is_finite() { first_s.max(0.0) as u64 } else { 0 };
        let since = |interval: &Interval| Interval { begin_s: interval.begin_s - began_s as f64, ..interval.clone() };
        put(concat!("hongbao-loadgen ", env!("CARGO_PKG_VERSION")), began_s, self.intervals.iter().map(since).collect())
    }
}

/// Intervals whose begins count from `started_unix_s`.
fn put(comment: &str, started_unix_s: u64, mut intervals: Vec<Interval>) -> Vec<u8> {
    intervals.sort_by(|one, other| one.begin_s.total_cmp(&other.begin_s));
    let began = UNIX_EPOCH.checked_add(Duration::from_secs(started_unix_s)).unwrap_or(UNIX_EPOCH);
    let (mut bytes, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut writer = IntervalLogWriterBuilder::new()
        .add_comment(comment)
        .with_start_time(began)
        .with_base_time(began)
        .with_max_value_divisor(US_PER_MAX)
        .begin_log_with(&mut bytes, &mut serializer)
        .expect("a vector takes all that is written");
    for interval in &intervals {
        let time = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let tag = Tag::new(&interval.tag);
        writer
            .write_histogram(&interval.histogram, time(interval.begin_s), time(interval.duration_s), tag)
            .expect("a vector takes all that is written, and the bounds of the histograms are sound");
    }
    bytes
}

fn of_second(point: &Point) -> Option<Interval> {
    let histogram = distribution::decode(&point.histogram)?;
    let tag = if point.warm_up { WARM_UP } else { LATENCY };
    Some(Interval { tag: tag.to_owned(), begin_s: f64::from(point.second), duration_s: 1.0, histogram })
}

fn of_stage(stage: &StageReport) -> impl Iterator<Item = Interval> {
    let (begin_s, duration_s) = (stage.begun_s + stage.warm_up_s, stage.duration_s);
    let interval = move |(tag, of): (&str, &distribution::Distribution)| {
        let histogram = of.histogram().filter(|histogram| !histogram.is_empty())?;
        Some(Interval { tag: tag.to_owned(), begin_s, duration_s, histogram })
    };
    [(SERVICE, &stage.service_us), (LATENESS, &stage.lateness_us)].into_iter().filter_map(interval)
}

/// Reads a log, of this program or of another.
pub fn read(path: &Path) -> Result<Log, HdrLogError> {
    let name = || path.display().to_string();
    let unreadable = |error| HdrLogError::Unreadable { path: name(), error };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(HDR_LOG_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > HDR_LOG_BYTES_MAX {
        return Err(HdrLogError::TooLarge(name()));
    }
    parse(&bytes).map_err(|what| HdrLogError::Damaged { path: name(), what })
}

fn parse(bytes: &[u8]) -> Result<Log, String> {
    let (mut start, mut base) = (None, None);
    let mut intervals = Vec::new();
    for entry in IntervalLogIterator::new(bytes) {
        match entry.map_err(|error| format!("{error:?}"))? {
            LogEntry::StartTime(time) => start = Some(time),
            LogEntry::BaseTime(time) => base = Some(time),
            LogEntry::Interval(interval) => {
                let since = base.or(start).unwrap_or_default();
                let number = intervals.len() + 1;
                let histogram = distribution::decode(interval.encoded_histogram())
                    .ok_or_else(|| format!("the histogram of interval {number} is damaged"))?;
                intervals.push(Interval {
                    tag: interval.tag().map(|tag| tag.as_str().to_owned()).unwrap_or_default(),
                    begin_s: since.as_secs_f64() + interval.start_timestamp().as_secs_f64(),
                    duration_s: interval.duration().as_secs_f64(),
                    histogram,
                });
            }
        }
    }
    if intervals.is_empty() { Err("it has no intervals".to_owned()) } else { Ok(Log { intervals }) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::sample_reports::million;

    /// One second of two values, as the Java library's writer puts it.
    const FOREIGN: &str = "#[Histogram log format version 1.3]\n#[StartTime: 1700000000.250 (seconds since epoch), Tue Nov 14 2023]\n\
        \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n";

    fn sum(intervals: &[Interval], tag: &str) -> Histogram<u64> {
        let mut sum = Histogram::new_with_bounds(1, 600_000_000, 3).unwrap();
        for interval in intervals.iter().filter(|interval| interval.tag == tag) {
            sum.add(&interval.histogram).unwrap();
        }
        sum
    }

    #[test]
    fn every_second_and_every_stage_comes_back_with_its_time_and_values() {
        let report = million::report();
        let log = parse(&write(&report)).unwrap();
        let with_load: Vec<&Point> = report.seconds.iter().filter(|point| !point.histogram.is_empty()).collect();
        let of_seconds = |tag| log.intervals.iter().filter(move |interval| interval.tag == tag);
        assert_eq!(of_seconds(LATENCY).count() + of_seconds(WARM_UP).count(), with_load.len());
        assert_eq!(of_seconds(WARM_UP).count(), 10);
        let first = of_seconds(WARM_UP).next().unwrap();
        let began = report.started_unix_s as f64;
        assert!((first.begin_s - began - f64::from(with_load[0].second)).abs() < 1e-3 && first.duration_s > 0.999);
        assert_eq!(first.histogram, distribution::decode(&with_load[0].histogram).unwrap());
        let mut service = report.stages[0].service_us.histogram().unwrap();
        service.add(report.stages[1].service_us.histogram().unwrap()).unwrap();
        assert_eq!(sum(&log.intervals, SERVICE), service);
        assert_eq!(sum(&log.intervals, LATENESS).len(), service.len());
        assert!(log.intervals.windows(2).all(|pair| pair[0].begin_s <= pair[1].begin_s));
    }

    #[test]
    fn the_head_is_that_of_every_hdr_log() {
        let mut report = million::report();
        report.scenario = "two\nlines".to_owned();
        let text = String::from_utf8(write(&report)).unwrap();
        assert!(text.starts_with("#hongbao-loadgen "), "{}", &text[..80]);
        let started = report.started_unix_s;
        assert!(text.contains(&format!("#[StartTime: {started}.000 (seconds since epoch)]\n")));
        assert!(text.contains("\nTag=latency,"));
        assert!(parse(text.as_bytes()).is_ok(), "no name breaks the log");
    }

    #[test]
    fn a_log_of_another_program_is_read() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 10_000, 2).unwrap();
        histogram.record_n(500, 2).unwrap();
        let line = format!("1.500,2.000,0.500,{}\n", distribution::encode(&histogram));
        let log = parse(format!("{FOREIGN}{line}").as_bytes()).unwrap();
        assert_eq!(log.intervals.len(), 1);
        let interval = &log.intervals[0];
        assert_eq!((interval.tag.as_str(), interval.histogram.len()), ("", 2));
        assert!((interval.begin_s - 1_700_000_001.75).abs() < 1e-3 && (interval.duration_s - 2.0).abs() < 1e-3);
    }

    #[test]
    fn what_is_no_log_or_a_damaged_one_is_named() {
        let whole = write(&million::report());
        for (bytes, word) in [
            (&b""[..], "no intervals"),
            (FOREIGN.as_bytes(), "no intervals"),
            (b"{}\n", "ParseError"),
            (&whole[..whole.len() - 40], "ParseError"),
            (b"0.000,1.000,5.000,AAAA\n", "interval 1 is damaged"),
        ] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(bytes).unwrap();
            let error = read(file.path()).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains(&file.path().display().to_string()), "{error}");
        }
        assert!(read(Path::new("/nowhere/x.hlog")).unwrap_err().to_string().contains("/nowhere/x.hlog"));
    }
}
