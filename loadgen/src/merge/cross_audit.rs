//! The audit over the claims of all machines: an envelope that two machines received, and a user who was on two of them.

use std::path::{Path, PathBuf};

use crate::audit::{Audit, Caps, Findings};
use crate::claims;
use crate::exit::Failure;
use crate::report::Report;

/// Replaces the audit of the report by one over these files.
pub fn audit(report: &mut Report, paths: &[PathBuf], caps: Caps) -> Result<(), Failure> {
    let mut whole = Audit::new(caps);
    let mut envelopes_of_files = 0;
    for path in paths {
        envelopes_of_files += audit_file(path, caps, &mut whole)?;
    }
    // What the threads of a run could not hand over is in no file.
    whole.lost(report.audit.unaudited);
    let claimed = report.audit.envelopes;
    if envelopes_of_files != claimed {
        let reason = format!(
            "the claims hold {envelopes_of_files} envelopes and the reports {claimed}: a file is missing, or of another run"
        );
        report.invalid_reasons.push(reason);
        report.valid = false;
    }
    report.audit = whole.findings().clone();
    if report.audit.unaudited > 0 && report.valid {
        report.invalid_reasons.push(format!("{} receipts could not be audited", report.audit.unaudited));
        report.valid = false;
    }
    Ok(())
}

/// Adds a file's receipts; how many different envelopes it holds.
fn audit_file(path: &Path, caps: Caps, whole: &mut Audit) -> Result<u64, Failure> {
    let mut own = Audit::new(caps);
    claims::read(path, |claim| {
        own.take(&claim);
        whole.take(&claim);
    })?;
    let Findings { envelopes, .. } = own.findings();
    Ok(*envelopes)
}
