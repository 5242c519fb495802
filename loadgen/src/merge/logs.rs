//! HDR logs of several machines as one: intervals of the same tag and the same time are added up.

use super::MergeArguments;
use crate::exit::{Exit, Failure};
use crate::hdr_log::{self, Interval, Log};
use crate::outputs::write_file;

/// Reads all, and writes the log that `--hdr-log` names.
pub(super) fn run(arguments: &MergeArguments) -> Result<Exit, Failure> {
    let outputs = &arguments.outputs;
    let Some(path) = outputs.hdr_log.as_deref() else {
        return Err(Failure::usage("say with --hdr-log where the merged log is to go"));
    };
    if outputs.json.is_some() || outputs.html.is_some() || !arguments.claims.is_empty() {
        return Err(Failure::usage(
            "HDR logs hold latencies and nothing else: --json, --html and --claims go with reports",
        ));
    }
    let logs = arguments.reports.iter().map(|path| hdr_log::read(path)).collect::<Result<Vec<_>, _>>();
    let merged = join(logs.map_err(|error| Failure::error(error.to_string()))?).map_err(Failure::error)?;
    write_file(path, &merged.write())?;
    Ok(Exit::Good)
}

/// An interval of the result, and the logs that are in it: two of the same log are never one.
struct Joined {
    interval: Interval,
    logs: Vec<usize>,
}

fn join(logs: Vec<Log>) -> Result<Log, String> {
    let mut all: Vec<(usize, Interval)> = logs
        .into_iter()
        .enumerate()
        .flat_map(|(log, Log { intervals })| intervals.into_iter().map(move |interval| (log, interval)))
        .collect();
    // One after the other, and at the same time those of the first log first.
    all.sort_by(|(_, one), (_, other)| one.begin_s.total_cmp(&other.begin_s));
    let mut joined: Vec<Joined> = Vec::new();
    // Intervals that may still take another one: none that ended before this one began.
    let mut open: Vec<usize> = Vec::new();
    for (log, interval) in all {
        open.retain(|place| {
            let Interval { begin_s, duration_s, .. } = joined[*place].interval;
            begin_s + duration_s > interval.begin_s
        });
        let fits = |place: &&usize| {
            let Joined { interval: other, logs } = &joined[**place];
            other.tag == interval.tag
                && !logs.contains(&log)
                && (interval.begin_s - other.begin_s).abs() < interval.duration_s.min(other.duration_s) / 2.0
        };
        if let Some(place) = open.iter().find(fits).copied() {
            let Joined { interval: other, logs } = &mut joined[place];
            let added = other.histogram.add(&interval.histogram);
            added.map_err(|error| format!("histograms do not fit together: {error:?}"))?;
            other.duration_s = other.duration_s.max(interval.duration_s);
            logs.push(log);
        } else {
            open.push(joined.len());
            joined.push(Joined { interval, logs: vec![log] });
        }
    }
    Ok(Log { intervals: joined.into_iter().map(|joined| joined.interval).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_reports;

    fn interval(tag: &str, begin_s: f64, duration_s: f64, values_us: &[u64]) -> Interval {
        Interval { tag: tag.to_owned(), begin_s, duration_s, histogram: sample_reports::histogram(values_us) }
    }

    fn joined(logs: [Vec<Interval>; 2]) -> Vec<Interval> {
        join(logs.map(|intervals| Log { intervals }).into()).unwrap().intervals
    }

    #[test]
    fn seconds_of_the_same_time_are_one_and_their_percentiles_are_of_the_sum() {
        let of = |values: [&[u64]; 3]| -> Vec<Interval> {
            (100..).zip(values).map(|(second, values)| interval("latency", f64::from(second), 1.0, values)).collect()
        };
        let all = joined([of([&[1], &[5, 6], &[9]]), of([&[2], &[7], &[8]])]);
        assert_eq!(all, of([&[1, 2], &[5, 6, 7], &[8, 9]]));
    }

    #[test]
    fn what_is_of_another_time_or_tag_or_of_the_same_log_stays_apart() {
        let one = vec![interval("a", 10.0, 1.0, &[1]), interval("a", 11.0, 1.0, &[2]), interval("b", 11.0, 1.0, &[3])];
        let two = vec![interval("a", 10.4, 1.0, &[4]), interval("a", 10.6, 1.0, &[5]), interval("c", 11.0, 1.0, &[6])];
        let all = joined([one, two]);
        let counts: Vec<(&str, u64)> = all.iter().map(|one| (one.tag.as_str(), one.histogram.len())).collect();
        assert_eq!(counts, [("a", 2), ("a", 2), ("b", 1), ("c", 1)], "10.4 with 10, and 10.6 with 11");
    }

    #[test]
    fn stages_that_began_a_little_apart_are_one() {
        let all = joined([vec![interval("service", 5.0, 60.0, &[1])], vec![interval("service", 5.2, 60.1, &[2])]]);
        assert_eq!(all.len(), 1);
        assert!((all[0].begin_s - 5.0).abs() < 1e-9 && (all[0].duration_s - 60.1).abs() < 1e-9);
    }

    #[test]
    fn logs_of_two_reports_merged_are_the_log_of_the_merged_report() {
        let report = sample_reports::million::report();
        let part = |name: &str| crate::merge::Part { name: name.to_owned(), report: report.clone() };
        let whole = crate::merge::join(&[part("one"), part("two")]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let read = |bytes: Vec<u8>| {
            let path = folder.path().join("x.hlog");
            std::fs::write(&path, bytes).unwrap();
            hdr_log::read(&path).unwrap()
        };
        let log = read(hdr_log::write(&report));
        let merged = read(join(vec![log.clone(), log]).unwrap().write());
        assert_eq!(merged, read(hdr_log::write(&whole)));
    }
}
