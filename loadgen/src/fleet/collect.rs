//! What the agents' loads have left, as one report.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::crew::{Crew, Member, failed};
use super::folder::Folder;
use super::protocol::{Product, Reply, Request};
use crate::audit::Caps;
use crate::exit::Failure;
use crate::expect::Expectation;
use crate::limits::{FLEET_CLAIMS_BYTES_MAX, REPORT_BYTES_MAX};
use crate::merge::{self, Part};
use crate::report::{Expected, Report};
use crate::reports;
use crate::scenario::Scenario;

/// Takes reports and claims in, merges them, and judges the whole by what the scenario expects. The claims of all go into one file where
/// one is given.
pub(super) fn collect(
    crew: &mut Crew,
    scenario: &Scenario,
    caps: Caps,
    claims: Option<&Path>,
) -> Result<Report, Failure> {
    let folder = Folder::make("coordinator").map_err(|error| Failure::error(error.to_string()))?;
    let mut parts = Vec::with_capacity(crew.0.len());
    let mut files = Vec::with_capacity(crew.0.len());
    for (place, member) in crew.0.iter_mut().enumerate() {
        let mut bytes = Vec::new();
        take(member, Product::Report, REPORT_BYTES_MAX, &mut bytes)?;
        let report = reports::parse(&bytes).map_err(|why| failed(&member.name, &format!("its report: {why}")))?;
        parts.push(Part { name: member.name.clone(), report });
        let path = folder.file(&format!("{place}.claims"));
        let file = File::create(&path).map_err(|error| written(&path, &error))?;
        take(member, Product::Claims, FLEET_CLAIMS_BYTES_MAX, file)?;
        files.push(path);
    }
    let mut report = merge::join(&parts)
        .map_err(|why| Failure::error(format!("the reports of the agents do not make one: {why}")))?;
    expect(&mut report, scenario);
    merge::audit_across(&mut report, &files, caps)?;
    merge::judge(&mut report).map_err(Failure::error)?;
    if let Some(path) = claims {
        concatenate(&files, path).map_err(|error| written(path, &error))?;
    }
    Ok(report)
}

/// The agents were told no expectations: those are of all of them together.
fn expect(report: &mut Report, scenario: &Scenario) {
    let unjudged = |expectations: &[Expectation]| {
        let expected =
            |one: &Expectation| Expected { expectation: one.to_string(), measured: "-".to_owned(), held: false };
        expectations.iter().map(expected).collect()
    };
    report.expectations = unjudged(&scenario.expect);
    for (stage, asked) in report.stages.iter_mut().zip(&scenario.stages) {
        stage.expectations = unjudged(&asked.expect);
    }
}

fn take(member: &mut Member, product: Product, bytes_max: u64, to: impl io::Write) -> Result<(), Failure> {
    let sent = member.wire.send(&Request::Collect(product));
    sent.map_err(|error| failed(&member.name, &error.to_string()))?;
    let Reply::Product { bytes } = member.receive()? else {
        return Err(failed(&member.name, "it answers with no product"));
    };
    let taken = member.wire.receive_product(bytes, bytes_max, to);
    taken.map_err(|error| failed(&member.name, &format!("taking over what it measured: {error}")))
}

fn concatenate(files: &[PathBuf], path: &Path) -> io::Result<()> {
    let mut whole = File::create(path)?;
    for file in files {
        io::copy(&mut File::open(file)?, &mut whole)?;
    }
    Ok(())
}

fn written(path: &Path, error: &io::Error) -> Failure {
    Failure::error(format!("writing {}: {error}", path.display()))
}
