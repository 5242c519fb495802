//! What a reconciliation writes: the report for programs and people, and the list of what is to be given again.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use hongbao_protocol::{Envelope, UserId};
use serde::Serialize;

use super::books::Sum;
use super::finding::{Count, Finding, Findings, Kind};
use crate::limits::RECONCILE_LISTED_MAX;

/// The claims files, added up.
#[derive(Debug, Default, Serialize)]
pub(super) struct ClaimsRead {
    /// In the order in which findings number them, from 0.
    pub(super) files: Vec<PathBuf>,
    /// Lines that are claims.
    pub(super) lines: u64,
    /// What they claim.
    pub(super) cents: u64,
    /// Claims whose receipt was checked.
    pub(super) receipts_checked: u64,
    /// Lines that are none. What they held is missing here.
    pub(super) unreadable_lines: u64,
}

/// The journal.
#[derive(Debug, Serialize)]
pub(super) struct JournalRead {
    /// Records of every kind.
    pub(super) records: u64,
    /// Wins.
    #[serde(flatten)]
    pub(super) issued: Sum,
}

/// The seed files of this server.
#[derive(Debug, Serialize)]
pub(super) struct SeedsRead {
    /// How many.
    pub(super) files: u64,
    /// Those of other servers or campaigns, which were passed over.
    pub(super) files_of_others: u64,
    /// What they hold.
    #[serde(flatten)]
    pub(super) seeded: Sum,
}

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    /// Whether nothing was found that costs money, and every claim could be read.
    pub(super) clean: bool,
    /// Whose journal it is.
    pub(super) campaign: u64,
    /// Whose journal it is.
    pub(super) server: u16,
    /// What was read.
    pub(super) seeds: SeedsRead,
    /// What was read.
    pub(super) journal: JournalRead,
    /// What was read.
    pub(super) claims: ClaimsRead,
    /// How often each kind was found, whether it costs money.
    pub(super) kinds: Vec<KindCount>,
    /// Each of them, as far as the limit goes.
    pub(super) findings: &'a [Finding],
    /// Findings beyond the limit of each kind.
    pub(super) findings_not_listed: u64,
    /// The re-issue list.
    pub(super) reissue: Reissued,
}

/// A line of the summary.
#[derive(Debug, Serialize)]
pub(super) struct KindCount {
    kind: Kind,
    costs_money: bool,
    #[serde(flatten)]
    count: Count,
}

impl KindCount {
    /// All kinds.
    pub(super) fn all(findings: &Findings) -> Vec<Self> {
        let of = |kind: Kind| Self { kind, costs_money: kind.costs_money(), count: findings.count(kind) };
        Kind::ALL.into_iter().map(of).collect()
    }

    /// How many findings were not listed.
    pub(super) fn not_listed(kinds: &[Self]) -> u64 {
        kinds.iter().map(|kind| kind.count.count.saturating_sub(RECONCILE_LISTED_MAX as u64)).sum()
    }
}

impl Report<'_> {
    /// The summary for people.
    pub(super) fn summary(&self) -> String {
        let mut lines = vec![
            format!(
                "campaign {}, server {}: {} envelopes seeded, {} issued ({} cents), {} claims in {} files",
                self.campaign,
                self.server,
                self.seeds.seeded.envelopes,
                self.journal.issued.envelopes,
                self.journal.issued.cents,
                self.claims.lines,
                self.claims.files.len()
            ),
            format!("{:<24}{:>12}{:>16}", "discrepancy", "found", "cents"),
        ];
        lines.extend(self.kinds.iter().map(|kind| {
            let note = match kind.kind {
                Kind::IssuedNeverShown => "   costs nothing: its winner is shown it at the next login",
                Kind::BadReceipt => "   costs nothing: not what this server promised, not to be paid",
                _ => "",
            };
            format!("{:<24}{:>12}{:>16}{note}", kind.kind.label(), kind.count.count, kind.count.cents)
        }));
        let verdict =
            if self.clean { "nothing was found that costs money" } else { "NOT CLEAN: see the findings in the report" };
        lines.push(verdict.to_owned());
        lines.join("\n")
    }
}

/// The re-issue list, added up.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Reissued {
    /// Where it is.
    pub(super) file: PathBuf,
    /// What is on it.
    #[serde(flatten)]
    pub(super) sum: Sum,
}

/// A line of the re-issue list: an envelope to be shown or given to its user.
#[derive(Debug, Serialize)]
struct ReissueLine {
    reason: Kind,
    user: UserId,
    envelope: u64,
    sponsor: u32,
    amount_cents: u64,
}

/// The list, while it is written.
#[derive(Debug)]
pub(super) struct ReissueList {
    reissued: Reissued,
    file: BufWriter<File>,
}

impl ReissueList {
    /// Makes the file anew.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 16, File::create(path)?);
        Ok(Self { reissued: Reissued { file: path.to_owned(), sum: Sum::default() }, file })
    }

    /// Adds an envelope.
    pub(super) fn add(&mut self, reason: Kind, user: UserId, envelope: &Envelope) -> io::Result<()> {
        self.reissued.sum.add(envelope.amount);
        let (id, sponsor, amount_cents) = (envelope.id.0, envelope.sponsor.0, envelope.amount.0);
        serde_json::to_writer(&mut self.file, &ReissueLine { reason, user, envelope: id, sponsor, amount_cents })?;
        self.file.write_all(b"\n")
    }

    /// Hands everything to the system.
    pub(super) fn finish(mut self) -> io::Result<Reissued> {
        self.file.flush()?;
        Ok(self.reissued)
    }
}
