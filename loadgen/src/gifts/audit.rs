//! The audit of gifts: every cent that was sent is with somebody it was meant for, waits, or is over; nobody has a share twice, and what
//! is asked again is answered the same.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use hdrhistogram::Histogram;
use hongbao_protocol::wire::GiftClosed;
use hongbao_protocol::{Cents, GiftId, UserId};
use serde::{Deserialize, Serialize};

use super::named::Named;
use super::told::{Opened, Sent, Told};
use crate::limits::{AUDIT_FINDINGS_SHOWN, AUDIT_GIFTS_MAX, HISTOGRAM_HIGHEST_US};

/// The audit's part of the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiftFindings {
    /// Gifts granted to users of this run.
    pub sent: u64,
    /// Cents in them.
    pub sent_cents: u64,
    /// Shares of them that were opened.
    pub opened: u64,
    /// Cents in those. `sent_cents` = `opened_cents` + `pending_cents` + `over_cents`.
    pub opened_cents: u64,
    /// Cents that nobody had opened at the end.
    pub pending_cents: u64,
    /// The same of gifts whose time was over: they went back to whoever paid.
    pub over_cents: u64,
    /// Shares opened of gifts that were not sent in this run, or whose send was never answered.
    pub others_opened: u64,
    /// Cents in those.
    pub others_opened_cents: u64,
    /// Answers that were told again, as they should be, to sends and opens that were repeated.
    pub told_again: u64,
    /// Shares of a gift beyond its number, or beyond its total, or that leave a rest when all are opened. Must be 0.
    pub unbalanced: u64,
    /// Shares that went to a user who had another one, or that were another when they were told again. Must be 0.
    pub altered: u64,
    /// Shares of users for whom the gift was not. Must be 0.
    pub strangers: u64,
    /// Requests that were granted twice, and gifts that were granted to two requests. Must be 0.
    pub duplicates: u64,
    /// Sends and opens that had been granted and were refused when they were repeated. Must be 0.
    pub denied: u64,
    /// What could not be audited for want of room. Above 0 the run is not valid.
    pub unaudited: u64,
    /// The first few of what must not be, in words.
    pub findings: Vec<String>,
}

impl GiftFindings {
    /// Whether nothing was found that must not be.
    pub fn is_clean(&self) -> bool {
        self.violations() == 0
    }

    /// How much was.
    pub fn violations(&self) -> u64 {
        self.unbalanced + self.altered + self.strangers + self.duplicates + self.denied
    }

    /// Adds another machine's, which has users and so gifts of its own.
    pub fn join(&mut self, other: &Self) {
        for (sum, part) in [
            (&mut self.sent, other.sent),
            (&mut self.sent_cents, other.sent_cents),
            (&mut self.opened, other.opened),
            (&mut self.opened_cents, other.opened_cents),
            (&mut self.pending_cents, other.pending_cents),
            (&mut self.over_cents, other.over_cents),
            (&mut self.others_opened, other.others_opened),
            (&mut self.others_opened_cents, other.others_opened_cents),
            (&mut self.told_again, other.told_again),
            (&mut self.unbalanced, other.unbalanced),
            (&mut self.altered, other.altered),
            (&mut self.strangers, other.strangers),
            (&mut self.duplicates, other.duplicates),
            (&mut self.denied, other.denied),
            (&mut self.unaudited, other.unaudited),
        ] {
            *sum = sum.saturating_add(part);
        }
        self.findings.extend(other.findings.iter().cloned());
        self.findings.truncate(AUDIT_FINDINGS_SHOWN);
    }
}

#[derive(Debug)]
struct Gift {
    sender: UserId,
    request: u64,
    total: Cents,
    named: Named,
    shares: u16,
    opened: u16,
    over: bool,
    opened_cents: u64,
    sent_ns: u64,
    /// When it is over, on the run's clock.
    expires_ns: u64,
    lap: Option<u32>,
}

/// A share of a gift that is not known yet: its sender's answer is on its way, or it was not sent in this run.
#[derive(Debug)]
struct Early {
    user: UserId,
    noticed_ns: u64,
}

/// See the module's text.
#[derive(Debug)]
pub struct GiftAudit {
    first_user: u64,
    gifts: HashMap<GiftId, Gift>,
    shares: HashMap<(GiftId, UserId), Cents>,
    early: HashMap<GiftId, Vec<Early>>,
    notices: BTreeMap<u32, Histogram<u64>>,
    findings: GiftFindings,
}

impl GiftAudit {
    /// Nothing sent yet, by users who are counted from this one.
    pub fn new(first_user: u64) -> Self {
        Self {
            first_user,
            gifts: HashMap::new(),
            shares: HashMap::new(),
            early: HashMap::new(),
            notices: BTreeMap::new(),
            findings: GiftFindings::default(),
        }
    }

    /// Takes what a thread told.
    pub fn take(&mut self, told: &Told) {
        match told {
            Told::Sent(sent) => self.take_sent(sent),
            Told::Opened(opened) => self.take_opened(opened),
            Told::Denied { gift, sender, request, reason } => {
                self.findings.denied += 1;
                self.tell(format_args!(
                    "gift {gift}: request {request} of user {sender} was granted, and refused ({reason:?}) when it was repeated"
                ));
            }
            Told::Closed { gift, user, reason, had_share, noticed_ns } => {
                if let Some(known) = self.gifts.get_mut(gift) {
                    known.over |= *reason == GiftClosed::Expired;
                    let (lap, sent_ns) = (known.lap, known.sent_ns);
                    self.note_notice(lap, sent_ns, *noticed_ns);
                }
                if *had_share {
                    self.findings.denied += 1;
                    self.tell(format_args!(
                        "gift {gift}: user {user} had a share, and was refused ({reason:?}) when asking again"
                    ));
                } else if *reason == GiftClosed::NotYours {
                    self.findings.strangers += 1;
                    self.tell(format_args!("gift {gift}: user {user} was told of it, and may not open it"));
                }
            }
        }
    }

    /// What was lost before it came here.
    pub fn lost(&mut self, count: u64) {
        self.findings.unaudited += count;
    }

    /// From the send to the notice of gifts of this lap, in microseconds.
    pub fn notices(&mut self, lap: u32) -> Option<Histogram<u64>> {
        self.notices.remove(&lap)
    }

    /// What was found, at this time of the run's clock.
    pub fn finish(&mut self, now_ns: u64) -> GiftFindings {
        let mut findings = self.findings.clone();
        for gift in self.gifts.values() {
            let rest = gift.total.0.saturating_sub(gift.opened_cents);
            let part = if gift.over || gift.expires_ns <= now_ns {
                &mut findings.over_cents
            } else {
                &mut findings.pending_cents
            };
            *part += rest;
        }
        for (gift, early) in &self.early {
            findings.others_opened += early.len() as u64;
            let cents = early.iter().filter_map(|early| self.shares.get(&(*gift, early.user)));
            findings.others_opened_cents += cents.map(|share| share.0).sum::<u64>();
        }
        findings
    }

    fn take_sent(&mut self, sent: &Sent) {
        let id = sent.gift;
        if let Some(before) = sent.before.filter(|before| *before != id) {
            self.findings.duplicates += 1;
            self.tell(format_args!("request {} of user {} is gift {before} and gift {id}", sent.request, sent.sender));
        }
        if let Some(known) = self.gifts.get(&id) {
            if (known.sender, known.request) == (sent.sender, sent.request) {
                self.findings.told_again += 1;
            } else {
                let (sender, request) = (known.sender, known.request);
                self.findings.duplicates += 1;
                self.tell(format_args!(
                    "gift {id} is request {request} of user {sender} and request {} of user {}",
                    sent.request, sent.sender
                ));
            }
            return;
        }
        if self.gifts.len() >= AUDIT_GIFTS_MAX {
            self.findings.unaudited += 1;
            return;
        }
        self.findings.sent += 1;
        self.findings.sent_cents = self.findings.sent_cents.saturating_add(sent.total.0);
        self.gifts.insert(
            id,
            Gift {
                sender: sent.sender,
                request: sent.request,
                total: sent.total,
                named: sent.named,
                shares: sent.shares,
                opened: 0,
                over: false,
                opened_cents: 0,
                sent_ns: sent.sent_ns,
                expires_ns: sent.told_ns.saturating_add(u64::from(sent.expires_in_s) * 1_000_000_000),
                lap: sent.lap,
            },
        );
        for Early { user, noticed_ns } in self.early.remove(&id).unwrap_or_default() {
            if let Some(share) = self.shares.get(&(id, user)).copied() {
                self.book(id, user, share, noticed_ns);
            }
        }
    }

    fn take_opened(&mut self, opened: &Opened) {
        let Opened { gift, user, share, luckiest, shares, .. } = *opened;
        if let Some(known) = self.gifts.get(&gift)
            && (known.shares != shares || luckiest > known.total)
        {
            let (of, total) = (known.shares, known.total);
            self.findings.altered += 1;
            self.tell(format_args!(
                "gift {gift} has {shares} shares, the largest of {luckiest}; it was sent with {total} in {of}"
            ));
        }
        if let Some(first) = self.shares.get(&(gift, user)).copied() {
            self.findings.told_again += u64::from(first == share);
            if first != share {
                self.findings.altered += 1;
                self.tell(format_args!("gift {gift}: the share of user {user} was {first} and is {share}"));
            }
            return;
        }
        if self.shares.len() >= AUDIT_GIFTS_MAX {
            self.findings.unaudited += 1;
            return;
        }
        self.shares.insert((gift, user), share);
        if self.gifts.contains_key(&gift) {
            self.book(gift, user, share, opened.noticed_ns);
        } else {
            self.early.entry(gift).or_default().push(Early { user, noticed_ns: opened.noticed_ns });
        }
    }

    /// The first time that a user's share of a known gift is seen.
    fn book(&mut self, id: GiftId, user: UserId, share: Cents, noticed_ns: u64) {
        let Some(gift) = self.gifts.get_mut(&id) else { return };
        gift.opened += 1;
        gift.opened_cents = gift.opened_cents.saturating_add(share.0);
        let (opened, shares, cents, total) = (gift.opened, gift.shares, gift.opened_cents, gift.total.0);
        let (lap, sent_ns) = (gift.lap, gift.sent_ns);
        let is_named = gift.named.users(self.first_user).any(|named| named == user);
        self.findings.opened += 1;
        self.findings.opened_cents = self.findings.opened_cents.saturating_add(share.0);
        self.note_notice(lap, sent_ns, noticed_ns);
        if !is_named {
            self.findings.strangers += 1;
            self.tell(format_args!("gift {id}: user {user} opened a share, and the gift was not for them"));
        }
        // What the shares to come need at least is theirs: one cent each.
        let left = u64::from(shares.saturating_sub(opened));
        if opened > shares || cents.saturating_add(left) > total || (opened == shares && cents != total) {
            self.findings.unbalanced += 1;
            self.tell(format_args!("gift {id}: {opened} of {shares} shares hold {cents} of {total} cents"));
        }
    }

    fn note_notice(&mut self, lap: Option<u32>, sent_ns: u64, noticed_ns: u64) {
        let Some(lap) = lap.filter(|_| noticed_ns > 0) else { return };
        let empty = || Histogram::new_with_bounds(1, HISTOGRAM_HIGHEST_US, 3).expect("the bounds are sound");
        let histogram = self.notices.entry(lap).or_insert_with(empty);
        histogram.saturating_record(noticed_ns.saturating_sub(sent_ns) / 1_000);
    }

    fn tell(&mut self, finding: fmt::Arguments<'_>) {
        if self.findings.findings.len() < AUDIT_FINDINGS_SHOWN {
            self.findings.findings.push(finding.to_string());
        }
    }
}

#[cfg(test)]
mod tests;
