//! Reports as files, for the commands that work on finished ones.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::exit::{Exit, Failure};
use crate::gifts::audit::GiftFindings;
use crate::limits::REPORT_BYTES_MAX;
use crate::report::{Report, SCHEMA};

/// Reads the report that `--json` wrote.
pub fn read(path: &Path) -> Result<Report, Failure> {
    let failed = |why: String| Failure::error(format!("reading the report {}: {why}", path.display()));
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(REPORT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    parse(&bytes).map_err(failed)
}

/// The report that these bytes hold; what is wrong with them otherwise.
pub fn parse(bytes: &[u8]) -> Result<Report, String> {
    if bytes.len() as u64 > REPORT_BYTES_MAX {
        return Err(format!("it is larger than {} MiB", REPORT_BYTES_MAX >> 20));
    }
    // The schema first: what another version wrote is told apart from what is damaged.
    let value: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|error| format!("it is not a whole JSON object: {error}"))?;
    match value.get("schema").and_then(|schema| schema.as_str()) {
        Some(SCHEMA) => {}
        Some(other) => return Err(format!("its schema is `{other}`, and this version reads `{SCHEMA}`")),
        None => return Err("it has no `schema`: it is no report of `hongbao-loadgen`".to_owned()),
    }
    serde_json::from_value(value).map_err(|error| format!("it is damaged: {error}"))
}

/// Makes sure that a file can be written there, before a load is spent on what would go into it.
pub fn check_writable(path: &Path) -> Result<(), Failure> {
    let opened = File::options().create(true).truncate(false).write(true).open(path);
    opened.map(drop).map_err(|error| Failure::error(format!("making {}: {error}", path.display())))
}

/// How a program ends that has this to report.
pub fn exit(report: &Report) -> Exit {
    if !report.valid {
        Exit::Invalid
    } else if report.passed && report.audit.is_clean() && report.gift_audit.as_ref().is_none_or(GiftFindings::is_clean)
    {
        Exit::Good
    } else {
        Exit::Threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_reports;

    #[test]
    fn what_is_no_report_is_told_apart_from_one_of_another_version_and_a_damaged_one() {
        let whole = serde_json::to_vec(&sample_reports::report()).unwrap();
        assert_eq!(parse(&whole).unwrap().requests, sample_reports::report().requests);
        for (bytes, word) in [
            (&b""[..], "not a whole JSON object"),
            (&whole[..whole.len() / 2], "not a whole JSON object"),
            (b"{}", "no `schema`"),
            (br#"{"schema":"hongbao-loadgen/run/1"}"#, "`hongbao-loadgen/run/1`"),
            (format!(r#"{{"schema":"{SCHEMA}"}}"#).as_bytes(), "damaged"),
        ] {
            let error = parse(bytes).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let failure = read(Path::new("/nowhere/report.json")).unwrap_err();
        assert!(failure.message.contains("/nowhere/report.json"), "{failure}");
    }
}
