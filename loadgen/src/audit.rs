//! The client's own audit of the money: over all users of a run, no envelope twice and no cap exceeded.

use std::collections::HashMap;

use hongbao_protocol::{Cents, Envelope, EnvelopeId, SponsorId, UserId};
use serde::{Deserialize, Serialize};

use crate::limits::{AUDIT_ENVELOPES_MAX, AUDIT_FINDINGS_SHOWN};

/// An envelope as a user received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who received it.
    pub user: UserId,
    /// What.
    pub envelope: Envelope,
    /// The shake's number; 0 where `shown_again`.
    pub sequence: u32,
    /// An earlier win that followed a welcome.
    pub shown_again: bool,
    /// When it was read, in microseconds since 1970 UTC.
    pub time_us: u64,
    /// The server's proof.
    pub receipt: hongbao_protocol::Receipt,
}

/// The limits of the campaign, as the run was told them. 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Envelopes a user.
    pub per_user: u32,
    /// Envelopes a user of one sponsor.
    pub per_sponsor: u32,
}

/// The audit's part of the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Different envelopes received, those shown again included.
    pub envelopes: u64,
    /// Cents in them.
    pub amount_cents: u64,
    /// ... of which only shown again: won before this run, or won in it with the answer lost on the way.
    pub envelopes_only_shown_again: u64,
    /// Envelopes received as a win more than once, or by more than one user: each receipt too many counts. Must be 0.
    pub duplicates: u64,
    /// Receipts of an envelope whose sponsor or amount differed from the first. Must be 0.
    pub altered: u64,
    /// Envelopes beyond the cap of their user, or of their user and sponsor. Must be 0.
    pub over_cap: u64,
    /// Receipts that could not be audited for want of room or time. Above 0 the run is not valid.
    pub unaudited: u64,
    /// The first few of what must not be, in words.
    pub findings: Vec<String>,
}

impl Findings {
    /// Whether nothing was found that must not be.
    pub fn is_clean(&self) -> bool {
        self.duplicates == 0 && self.altered == 0 && self.over_cap == 0
    }
}

#[derive(Clone, Copy, Debug)]
struct Receipt {
    user: UserId,
    sponsor: SponsorId,
    amount: Cents,
    won: bool,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Audit {
    caps: Caps,
    received: HashMap<EnvelopeId, Receipt>,
    of_user: HashMap<UserId, u32>,
    of_user_and_sponsor: HashMap<(UserId, SponsorId), u32>,
    findings: Findings,
}

impl Audit {
    /// Nothing received yet.
    pub fn new(caps: Caps) -> Self {
        Self { caps, ..Self::default() }
    }

    /// Takes one receipt.
    pub fn take(&mut self, claim: &Claim) {
        let Claim { user, envelope: Envelope { id, sponsor, amount }, shown_again, .. } = *claim;
        if let Some(first) = self.received.get_mut(&id) {
            let first_seen = *first;
            first.won |= !shown_again;
            self.take_again(claim, first_seen);
            return;
        }
        if self.received.len() >= AUDIT_ENVELOPES_MAX {
            self.findings.unaudited += 1;
            return;
        }
        self.received.insert(id, Receipt { user, sponsor, amount, won: !shown_again });
        self.findings.envelopes += 1;
        self.findings.amount_cents = self.findings.amount_cents.saturating_add(amount.0);
        self.findings.envelopes_only_shown_again += u64::from(shown_again);
        self.count_against_caps(claim);
    }

    /// Receipts that were lost before they came here.
    pub fn lost(&mut self, count: u64) {
        self.findings.unaudited += count;
    }

    /// What was found.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    fn take_again(&mut self, claim: &Claim, first: Receipt) {
        let Claim { user, envelope: Envelope { id, sponsor, amount }, shown_again, .. } = *claim;
        if (first.sponsor, first.amount) != (sponsor, amount) {
            self.findings.altered += 1;
            self.tell(format!(
                "envelope {id}: {amount} of sponsor {sponsor} for user {user}, but {} of sponsor {} for user {} before",
                first.amount, first.sponsor, first.user
            ));
        }
        if first.user != user {
            self.findings.duplicates += 1;
            self.tell(format!("envelope {id} went to user {} and to user {user}", first.user));
        } else if shown_again {
            // The same user is shown what they have: as it should be.
        } else if first.won {
            self.findings.duplicates += 1;
            self.tell(format!("envelope {id} was won twice by user {user}"));
        } else {
            self.findings.envelopes_only_shown_again -= 1;
        }
    }

    fn count_against_caps(&mut self, claim: &Claim) {
        let (user, sponsor) = (claim.user, claim.envelope.sponsor);
        let mut over = false;
        if self.caps.per_user > 0 {
            let count = self.of_user.entry(user).or_default();
            *count += 1;
            over |= *count > self.caps.per_user;
        }
        if self.caps.per_sponsor > 0 {
            let count = self.of_user_and_sponsor.entry((user, sponsor)).or_default();
            *count += 1;
            over |= *count > self.caps.per_sponsor;
        }
        if over {
            self.findings.over_cap += 1;
            self.tell(format!("envelope {} of sponsor {sponsor} takes user {user} over a cap", claim.envelope.id));
        }
    }

    fn tell(&mut self, finding: String) {
        if self.findings.findings.len() < AUDIT_FINDINGS_SHOWN {
            self.findings.findings.push(finding);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(user: u64, id: u64, sponsor: u32, shown_again: bool) -> Claim {
        let envelope = Envelope { id: EnvelopeId(id), sponsor: SponsorId(sponsor), amount: Cents(10 + id) };
        Claim {
            user: UserId(user),
            envelope,
            sequence: 1,
            shown_again,
            time_us: 0,
            receipt: hongbao_protocol::Receipt::default(),
        }
    }

    fn audited(caps: Caps, claims: &[Claim]) -> Findings {
        let mut audit = Audit::new(caps);
        for claim in claims {
            audit.take(claim);
        }
        audit.findings().clone()
    }

    const CAPS: Caps = Caps { per_user: 3, per_sponsor: 1 };

    #[test]
    fn an_envelope_for_two_users_and_one_won_twice_are_duplicates() {
        let found = audited(CAPS, &[claim(1, 7, 1, false), claim(2, 7, 1, false), claim(1, 7, 1, false)]);
        assert_eq!((found.envelopes, found.duplicates, found.amount_cents), (1, 2, 17));
        assert_eq!(found.findings.len(), 2);
        assert!(!found.is_clean());
    }

    #[test]
    fn an_earlier_win_shown_again_is_no_duplicate_but_shown_to_another_it_is() {
        let found =
            audited(CAPS, &[claim(1, 7, 1, false), claim(1, 7, 1, true), claim(1, 8, 2, true), claim(1, 8, 2, false)]);
        assert_eq!((found.envelopes, found.duplicates, found.envelopes_only_shown_again), (2, 0, 0));
        assert_eq!(audited(CAPS, &[claim(1, 7, 1, false), claim(2, 7, 1, true)]).duplicates, 1);
    }

    #[test]
    fn an_altered_amount_is_found() {
        let mut other = claim(1, 7, 1, true);
        other.envelope.amount = Cents(1);
        assert_eq!(audited(CAPS, &[claim(1, 7, 1, false), other]).altered, 1);
    }

    #[test]
    fn each_envelope_beyond_a_cap_counts_once() {
        let of_user: Vec<Claim> = (0..5).map(|n| claim(1, n, n as u32, false)).collect();
        assert_eq!(audited(CAPS, &of_user).over_cap, 2);
        assert_eq!(
            audited(CAPS, &[claim(1, 1, 9, false), claim(1, 2, 9, true)]).over_cap,
            1,
            "shown again counts as well"
        );
        assert_eq!(audited(Caps::default(), &of_user).over_cap, 0, "0 is no cap");
    }

    proptest! {
        #[test]
        fn every_planted_duplicate_and_breach_is_found(
            duplicates in prop::collection::vec((0u64..200, 1000u64..1100), 0..30), greedy in 0u64..20,
        ) {
            // 200 users with 3 envelopes of 3 sponsors each, then what must not be.
            let mut claims: Vec<Claim> = (0..600).map(|n| claim(n / 3, n, (n % 3) as u32, false)).collect();
            claims.extend(duplicates.iter().map(|(id, user)| claim(*user, *id, (*id % 3) as u32, false)));
            claims.extend((0..greedy).map(|n| claim(n, 10_000 + n, 100, false)));
            let found = audited(CAPS, &claims);
            prop_assert_eq!(found.duplicates, duplicates.len() as u64);
            prop_assert_eq!(found.over_cap, greedy);
            prop_assert_eq!(found.envelopes, 600 + greedy);
            prop_assert_eq!(found.amount_cents, claims[..600].iter().chain(&claims[600 + duplicates.len()..]).map(|claim| claim.envelope.amount.0).sum::<u64>());
        }
    }
}
