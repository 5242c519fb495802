//! What a reconciliation can find.

use hongbao_protocol::{Cents, Envelope, EnvelopeId, SponsorId, UserId};
use serde::Serialize;

use crate::limits::RECONCILE_LISTED_MAX;

/// A discrepancy between seeds, journal and claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// One envelope is two people's, by the journal or by what clients were shown; or was shown to one user twice as a new win.
    IssuedTwice,
    /// A client was shown an envelope that the journal does not have as issued.
    ClaimedNotIssued,
    /// The journal has an envelope as issued that no client was shown. The user is shown it at the next login.
    IssuedNeverShown,
    /// A user has more envelopes, or more of one sponsor, than the caps allow.
    OverCap,
    /// Amount or sponsor are not those of the seed, or the client was shown others than the journal has.
    WrongAmount,
    /// An envelope of another server's seeds.
    Foreign,
    /// An envelope that is in no seed file.
    Unknown,
    /// A claim whose receipt this server did not make: changed or invented, and nothing that was promised.
    BadReceipt,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 8] = [
        Self::IssuedTwice,
        Self::ClaimedNotIssued,
        Self::IssuedNeverShown,
        Self::OverCap,
        Self::WrongAmount,
        Self::Foreign,
        Self::Unknown,
        Self::BadReceipt,
    ];

    /// Whether somebody has, or was promised, money that the rules did not give. An envelope issued and never shown is its winner's
    /// and waits for them; a claim that the receipt shows to be false is not paid.
    pub(super) const fn costs_money(self) -> bool {
        !matches!(self, Self::IssuedNeverShown | Self::BadReceipt)
    }

    /// For people.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::IssuedTwice => "issued twice",
            Self::ClaimedNotIssued => "claimed but not issued",
            Self::IssuedNeverShown => "issued but never shown",
            Self::OverCap => "over cap",
            Self::WrongAmount => "wrong amount",
            Self::Foreign => "foreign",
            Self::Unknown => "unknown",
            Self::BadReceipt => "bad receipt",
        }
    }
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "source")]
pub(super) enum Source {
    /// A record of the journal.
    Journal {
        /// Its number; 0 where it is about several.
        sequence: u64,
    },
    /// A line of a claims file.
    Claims {
        /// Index of the file in the report.
        file: usize,
        /// Where the line begins.
        offset: u64,
    },
}

/// One discrepancy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Finding {
    /// Of what kind.
    pub(super) kind: Kind,
    /// Whose envelope it is, by that source.
    pub(super) user: UserId,
    /// Which; none where it is about all of a user's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) envelope: Option<EnvelopeId>,
    /// Of whom; none where it is about all of a user's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sponsor: Option<SponsorId>,
    /// What is in it; of envelopes over a cap, nothing.
    pub(super) amount_cents: Cents,
    /// The other user who has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) other_user: Option<UserId>,
    /// What it should hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expected_cents: Option<Cents>,
    /// Whose it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expected_sponsor: Option<SponsorId>,
    /// How many envelopes the user has, where that is too many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wins: Option<u32>,
    /// Who says so.
    #[serde(flatten)]
    pub(super) source: Source,
}

impl Finding {
    /// A discrepancy about this envelope.
    pub(super) fn of(kind: Kind, user: UserId, envelope: &Envelope, source: Source) -> Self {
        Self {
            kind,
            user,
            envelope: Some(envelope.id),
            sponsor: Some(envelope.sponsor),
            amount_cents: envelope.amount,
            other_user: None,
            expected_cents: None,
            expected_sponsor: None,
            wins: None,
            source,
        }
    }

    /// A user over a cap, that for one sponsor where it is named.
    pub(super) fn over_cap(user: UserId, sponsor: Option<SponsorId>, wins: u32) -> Self {
        Self {
            kind: Kind::OverCap,
            user,
            envelope: None,
            sponsor,
            amount_cents: Cents::ZERO,
            other_user: None,
            expected_cents: None,
            expected_sponsor: None,
            wins: Some(wins),
            source: Source::Journal { sequence: 0 },
        }
    }
}

/// How often a kind was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Count {
    /// How often.
    pub(super) count: u64,
    /// Cents in the envelopes.
    pub(super) cents: u64,
}

/// All that was found, listed as far as the limit goes.
#[derive(Debug, Default)]
pub(super) struct Findings {
    counts: [Count; Kind::ALL.len()],
    listed: Vec<Finding>,
}

impl Findings {
    /// Adds one.
    pub(super) fn add(&mut self, finding: Finding) {
        let count = &mut self.counts[finding.kind as usize];
        if count.count < RECONCILE_LISTED_MAX as u64 {
            self.listed.push(finding);
        }
        count.count += 1;
        count.cents = count.cents.saturating_add(finding.amount_cents.0);
    }

    /// Adds an envelope that was issued and never shown.
    pub(super) fn add_never_shown(&mut self, user: UserId, envelope: &Envelope) {
        self.add(Finding::of(Kind::IssuedNeverShown, user, envelope, Source::Journal { sequence: 0 }));
    }

    /// How often this was found.
    pub(super) fn count(&self, kind: Kind) -> Count {
        self.counts[kind as usize]
    }

    /// Whether any of it costs money.
    pub(super) fn cost_money(&self) -> bool {
        Kind::ALL.into_iter().any(|kind| kind.costs_money() && self.count(kind).count > 0)
    }

    /// Those listed, by kind and user.
    pub(super) fn sorted(&mut self) -> &[Finding] {
        self.listed.sort_unstable();
        &self.listed
    }
}
