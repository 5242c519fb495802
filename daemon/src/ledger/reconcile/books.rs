//! What seeds and journal say of every envelope, and what a claim is held against. Pure.
//!
//! An envelope takes 25 bytes, whatever was issued of it; a win takes 16 more while the caps are checked. Ten million of both: 410 MB.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, Ordering};

use hongbao_protocol::{CampaignId, Cents, Envelope, EnvelopeId, Receipt, ServerId, SponsorId, UserId};

use super::finding::{Finding, Findings, Kind, Source};
use crate::ledger::accounts::Caps;
use crate::ledger::journal::{Sequence, WinRecord};
use crate::ledger::receipt::Receipts;
use crate::limits::RECONCILE_STRAYS_MAX;

/// What is known of a seeded envelope: the seed's prize, and from its issue on the journal's.
#[derive(Clone, Copy, Debug)]
struct Entry {
    amount: Cents,
    winner: UserId,
    sponsor: SponsorId,
    issued: bool,
}

const _: () = assert!(size_of::<Entry>() == 24, "the module's text states the memory");

/// A client was shown it as a new win.
const SHOWN_NEW: u8 = 1;
/// A client was shown it again after a login.
const SHOWN_AGAIN: u8 = 2;

#[derive(Debug, Default)]
struct Shard {
    entries: Vec<Entry>,
    shown: Vec<AtomicU8>,
}

/// A line of a claims file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// Who was shown it.
    pub(super) user: UserId,
    /// What.
    pub(super) envelope: Envelope,
    /// Whether as an earlier win.
    pub(super) shown_again: bool,
    /// The server's proof; `None` where the file has none.
    pub(super) receipt: Option<Receipt>,
}

/// Envelopes and cents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Sum {
    /// How many.
    pub(super) envelopes: u64,
    /// What is in them.
    pub(super) cents: u64,
}

impl Sum {
    /// Adds one envelope.
    pub(super) fn add(&mut self, amount: Cents) {
        self.envelopes += 1;
        self.cents = self.cents.saturating_add(amount.0);
    }
}

/// Everything that is known, one server's.
#[derive(Debug)]
pub(super) struct Books {
    campaign: CampaignId,
    server: ServerId,
    /// By shard number.
    shards: Vec<Shard>,
    /// What claims are checked with, where the key is there.
    receipts: Option<Receipts>,
    seeded: Sum,
    issued: Sum,
    /// Wins that have no entry of their own: told already, so that a claim on them says nothing new.
    strays: BTreeSet<(EnvelopeId, UserId)>,
    /// Who won of whom, until the caps are checked.
    wins: Vec<(UserId, SponsorId)>,
}

impl Books {
    /// Empty books of this server.
    pub(super) fn new(campaign: CampaignId, server: ServerId, receipts: Option<Receipts>) -> Self {
        Self {
            campaign,
            server,
            shards: Vec::new(),
            receipts,
            seeded: Sum::default(),
            issued: Sum::default(),
            strays: BTreeSet::new(),
            wins: Vec::new(),
        }
    }

    /// Whose envelopes these are.
    pub(super) fn owner(&self) -> (CampaignId, ServerId) {
        (self.campaign, self.server)
    }

    /// What the seeds hold.
    pub(super) fn seeded(&self) -> Sum {
        self.seeded
    }

    /// What the journal issued.
    pub(super) fn issued(&self) -> Sum {
        self.issued
    }

    /// Makes room for a seed file's envelopes.
    pub(super) fn reserve(&mut self, first: EnvelopeId, count: usize) {
        self.shard_mut(first).entries.reserve_exact(count);
    }

    /// Enters an envelope of a seed file; a file's come in order.
    pub(super) fn seed(&mut self, envelope: &Envelope) {
        self.seeded.add(envelope.amount);
        let entry = Entry { amount: envelope.amount, winner: UserId(0), sponsor: envelope.sponsor, issued: false };
        let entries = &mut self.shard_mut(envelope.id).entries;
        // A gap is a damaged block, and its file is refused when it has been read.
        entries.resize(envelope.id.index() as usize, entry);
        entries.push(entry);
    }

    fn shard_mut(&mut self, id: EnvelopeId) -> &mut Shard {
        let shard = usize::from(id.shard().0);
        if self.shards.len() <= shard {
            self.shards.resize_with(shard + 1, Shard::default);
        }
        &mut self.shards[shard]
    }

    /// Enters a win of the journal.
    pub(super) fn issue(&mut self, sequence: Sequence, win: &WinRecord, findings: &mut Findings) {
        let (envelope, user) = (&win.envelope, win.user);
        self.issued.add(envelope.amount);
        self.wins.push((user, envelope.sponsor));
        let finding = |kind| Finding::of(kind, user, envelope, Source::Journal { sequence: sequence.0 });
        if envelope.id.server() != self.server {
            findings.add(finding(Kind::Foreign));
            return self.keep_stray(envelope.id, user);
        }
        let (shard, index) = (usize::from(envelope.id.shard().0), envelope.id.index() as usize);
        let entry = self.shards.get_mut(shard).and_then(|shard| shard.entries.get_mut(index));
        let Some(entry) = entry else {
            findings.add(finding(Kind::Unknown));
            return self.keep_stray(envelope.id, user);
        };
        if entry.issued {
            findings.add(Finding { other_user: Some(entry.winner), ..finding(Kind::IssuedTwice) });
            return self.keep_stray(envelope.id, user);
        }
        if (entry.amount, entry.sponsor) != (envelope.amount, envelope.sponsor) {
            findings.add(wrong(finding(Kind::WrongAmount), entry));
        }
        // From here on what the client was shown is held against what the journal says.
        *entry = Entry { amount: envelope.amount, winner: user, sponsor: envelope.sponsor, issued: true };
    }

    fn keep_stray(&mut self, id: EnvelopeId, user: UserId) {
        if self.strays.len() < RECONCILE_STRAYS_MAX {
            self.strays.insert((id, user));
        }
    }

    /// Ends the journal and gets ready for claims. What is returned is for [`over_caps`].
    pub(super) fn close(&mut self) -> Vec<(UserId, SponsorId)> {
        for shard in &mut self.shards {
            shard.shown.resize_with(shard.entries.len(), AtomicU8::default);
        }
        std::mem::take(&mut self.wins)
    }

    /// Holds a claim against seeds and journal; many threads may.
    pub(super) fn claim(&self, claim: &Claim, source: Source) -> Option<Finding> {
        let (envelope, user) = (&claim.envelope, claim.user);
        let finding = |kind| Some(Finding::of(kind, user, envelope, source));
        // A receipt that is not right says that no server showed this: whatever else is wrong with it follows from that.
        if self.receipt_is_right(claim) == Some(false) {
            return finding(Kind::BadReceipt);
        }
        let stray = || self.strays.contains(&(envelope.id, user));
        if envelope.id.server() != self.server {
            return if stray() { None } else { finding(Kind::Foreign) };
        }
        let index = envelope.id.index() as usize;
        let shard = self.shards.get(usize::from(envelope.id.shard().0));
        let Some((shard, entry)) = shard.and_then(|shard| Some((shard, shard.entries.get(index)?))) else {
            return if stray() { None } else { finding(Kind::Unknown) };
        };
        if !entry.issued {
            return finding(Kind::ClaimedNotIssued);
        }
        if entry.winner != user {
            return if stray() {
                None
            } else {
                finding(Kind::IssuedTwice).map(|found| Finding { other_user: Some(entry.winner), ..found })
            };
        }
        let mark = if claim.shown_again { SHOWN_AGAIN } else { SHOWN_NEW };
        let before = shard.shown[index].fetch_or(mark, Ordering::Relaxed);
        if (entry.amount, entry.sponsor) != (envelope.amount, envelope.sponsor) {
            return finding(Kind::WrongAmount).map(|found| wrong(found, entry));
        }
        if before & mark & SHOWN_NEW != 0 {
            return finding(Kind::IssuedTwice).map(|found| Finding { other_user: Some(user), ..found });
        }
        None
    }

    /// Whether the claim's receipt is this server's; `None` where it has none, or the key is not there.
    pub(super) fn receipt_is_right(&self, claim: &Claim) -> Option<bool> {
        let (receipts, receipt) = (self.receipts.as_ref()?, claim.receipt.as_ref()?);
        Some(receipts.is_right(claim.user, &claim.envelope, receipt))
    }

    /// What was issued and no client was shown, in the order of the seeds.
    pub(super) fn never_shown(&self) -> impl Iterator<Item = (UserId, Envelope)> {
        let shards = (0_u16..).zip(&self.shards);
        shards.flat_map(move |(number, shard)| {
            let entries = (0_u32..).zip(shard.entries.iter().zip(&shard.shown));
            entries.filter(|(_, (entry, shown))| entry.issued && shown.load(Ordering::Relaxed) == 0).map(
                move |(index, (entry, _))| {
                    let id = EnvelopeId::new(self.server, hongbao_protocol::ShardId(number), index);
                    (entry.winner, Envelope { id, sponsor: entry.sponsor, amount: entry.amount })
                },
            )
        })
    }
}

fn wrong(finding: Finding, entry: &Entry) -> Finding {
    Finding { expected_cents: Some(entry.amount), expected_sponsor: Some(entry.sponsor), ..finding }
}

/// The users who have more than the caps allow: in all, or of one sponsor. Sorts `wins` in place.
pub(super) fn over_caps(caps: Caps, mut wins: Vec<(UserId, SponsorId)>) -> Vec<Finding> {
    wins.sort_unstable();
    let mut found = Vec::new();
    for of_user in wins.chunk_by(|a, b| a.0 == b.0) {
        let (user, count) = (of_user[0].0, of_user.len() as u32);
        if caps.per_user != 0 && count > caps.per_user {
            found.push(Finding::over_cap(user, None, count));
        }
        for of_sponsor in of_user.chunk_by(|a, b| a.1 == b.1) {
            let count = of_sponsor.len() as u32;
            if caps.per_sponsor != 0 && count > caps.per_sponsor {
                found.push(Finding::over_cap(user, Some(of_sponsor[0].1), count));
            }
        }
    }
    found
}
