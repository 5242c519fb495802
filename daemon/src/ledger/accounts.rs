//! Who has won what, and the decision on a claim. Pure: no clock, no file.
//!
//! Every win is 24 bytes in one vector, chained per user from the newest to the oldest; a user is 17 bytes in a hash table. Three
//! million wins of as many users take about 145 MB. Room for the wins expected is reserved at the start, as address space that becomes
//! memory only where it is used; the users' tables grow as winners come, each by itself ([`Users`]).

use hongbao_protocol::{Cents, Envelope, EnvelopeId, SponsorId, UserId};

use super::gifts::{GiftContradiction, Gifts};
use super::journal::GiftSentRecord;
use super::users::{User, Users};
use crate::cells::GiftTotals;
use crate::issued::IssuedSet;
use crate::messages::Refusal;

/// How many envelopes one user may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// In all; 0: as many as there are.
    pub per_user: u32,
    /// Of one sponsor; 0: as many as there are.
    pub per_sponsor: u32,
}

impl Caps {
    /// No cap at all.
    pub const UNLIMITED: Self = Self { per_user: 0, per_sponsor: 0 };
}

/// A win's place in the order of all wins. The journal's order: what is durable is a prefix of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WinIndex(pub u32);

/// Where the wins and gifts that are on the disk end, and where their money is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    /// Wins before it are.
    pub wins: WinIndex,
    /// Gifts with lower numbers are.
    pub next_gift: u64,
    /// Where the money is then.
    pub totals: GiftTotals,
}

/// "No earlier win": one beyond the last index there can be.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Win {
    envelope: EnvelopeId,
    amount: Cents,
    sponsor: SponsorId,
    /// The same user's win before this one.
    previous: u32,
}

const _: () = assert!(size_of::<Win>() == 24, "the module's text states the memory");

/// All wins, those included that are decided but not yet durable.
#[derive(Debug)]
pub struct Accounts {
    caps: Caps,
    wins: Vec<Win>,
    users: Users<User>,
    issued: IssuedSet,
    cents: Cents,
    /// What users send each other, and their balances.
    gifts: Gifts,
}

impl Accounts {
    /// No wins, with room for `wins_expected` of them.
    pub fn new(caps: Caps, wins_expected: usize) -> Self {
        Self {
            caps,
            wins: Vec::with_capacity(wins_expected),
            users: Users::new(),
            issued: IssuedSet::default(),
            cents: Cents::ZERO,
            gifts: Gifts::new(),
        }
    }

    /// Decides by these caps from now on.
    pub fn set_caps(&mut self, caps: Caps) {
        self.caps = caps;
    }

    /// Makes room for this many more wins.
    pub fn reserve(&mut self, wins: usize) {
        self.wins.reserve(wins);
    }

    /// Whether this user may have this envelope. An envelope issued before is told first, as it must never go back to a stock.
    /// The walk over the user's wins is as long as the caps let them be.
    pub fn decide(&self, user: UserId, envelope: &Envelope) -> Result<(), Refusal> {
        if self.issued.contains(envelope.id) {
            return Err(Refusal::AlreadyIssued);
        }
        match self.over_cap(user, envelope.sponsor) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    /// The cap, if any, that one more envelope of this sponsor would break.
    pub fn over_cap(&self, user: UserId, sponsor: SponsorId) -> Option<Refusal> {
        let entry = self.users.get(user)?;
        if self.caps.per_user != 0 && entry.count >= self.caps.per_user {
            return Some(Refusal::UserLimit);
        }
        if self.caps.per_sponsor != 0 {
            let of_sponsor = self.chain(entry.newest).filter(|(_, win)| win.sponsor == sponsor);
            if of_sponsor.take(self.caps.per_sponsor as usize).count() == self.caps.per_sponsor as usize {
                return Some(Refusal::SponsorLimit);
            }
        }
        None
    }

    /// Books a win that was decided, or read from the journal. Returns how many the user has now, or the envelope's earlier issue as
    /// an error, with nothing changed.
    pub fn apply(&mut self, user: UserId, envelope: &Envelope) -> Result<u32, AlreadyIssued> {
        if !self.issued.insert(envelope.id) {
            return Err(AlreadyIssued(envelope.id));
        }
        let index = self.wins.len() as u32;
        assert!(index != NONE, "one ledger holds fewer than 2^32 wins");
        let entry = self.users.or_insert_with(user, || User { newest: NONE, count: 0 });
        self.wins.push(Win {
            envelope: envelope.id,
            amount: envelope.amount,
            sponsor: envelope.sponsor,
            previous: entry.newest,
        });
        *entry = User { newest: index, count: entry.count + 1 };
        self.cents = self.cents.checked_add(envelope.amount).expect("all money issued fits 64 bits of cents");
        self.gifts.won(user, envelope.amount);
        Ok(entry.count)
    }

    /// What is durable once all that was booked is on the disk.
    pub fn durable_when_flushed(&self) -> Durable {
        Durable { wins: self.next_index(), next_gift: self.gifts.next_number(), totals: self.gifts.totals() }
    }

    /// Gifts and balances.
    pub fn gifts(&self) -> &Gifts {
        &self.gifts
    }

    /// Gifts and balances, to book in them.
    pub fn gifts_mut(&mut self) -> &mut Gifts {
        &mut self.gifts
    }

    /// What a user has to spend: won, opened and refunded, less what was sent.
    pub fn balance(&self, user: UserId) -> Cents {
        self.gifts.balance(user).unwrap_or_else(|| won(&self.wins, &self.users, user))
    }

    /// Books a gift that was decided, or read from the journal.
    pub fn send_gift(&mut self, gift: &GiftSentRecord) -> Result<(), GiftContradiction> {
        self.gifts.send(gift, &|user| won(&self.wins, &self.users, user))
    }

    /// Whether all wins of this user come before `durable`.
    pub fn is_settled(&self, user: UserId, durable: WinIndex) -> bool {
        self.users.get(user).is_none_or(|entry| entry.newest < durable.0)
    }

    /// How many wins before `durable` this user has, and the latest `limit` of them, oldest first, into `shown` (cleared first).
    pub fn settled(&self, user: UserId, durable: WinIndex, limit: usize, shown: &mut Vec<Envelope>) -> u32 {
        shown.clear();
        let Some(entry) = self.users.get(user) else { return 0 };
        let pending = self.chain(entry.newest).take_while(|(index, _)| *index >= durable.0).count();
        let settled = self.chain(entry.newest).skip(pending).take(limit);
        shown.extend(settled.map(|(_, win)| win.as_envelope()));
        shown.reverse();
        entry.count - pending as u32
    }

    fn chain(&self, newest: u32) -> impl Iterator<Item = (u32, &Win)> {
        chain(&self.wins, newest)
    }

    /// The index that the next win will have; right after a flush of everything, the bound of what is durable.
    pub fn next_index(&self) -> WinIndex {
        WinIndex(self.wins.len() as u32)
    }

    /// Wins.
    pub fn issued(&self) -> u64 {
        self.wins.len() as u64
    }

    /// The envelopes won, as a set.
    pub fn issued_set(&self) -> &IssuedSet {
        &self.issued
    }

    /// The envelopes won, in the order they were.
    pub fn envelopes(&self) -> impl ExactSizeIterator<Item = Envelope> {
        self.wins.iter().map(Win::as_envelope)
    }

    /// Cents in them.
    pub fn cents(&self) -> Cents {
        self.cents
    }

    /// Users with at least one win.
    pub fn users(&self) -> u64 {
        self.users.len() as u64
    }
}

/// The wins of a user, from the newest on.
fn chain(wins: &[Win], newest: u32) -> impl Iterator<Item = (u32, &Win)> {
    let at = |index: u32| (index != NONE).then(|| (index, &wins[index as usize]));
    std::iter::successors(at(newest), move |(_, win)| at(win.previous))
}

/// What a user has won in all.
fn won(wins: &[Win], users: &Users<User>, user: UserId) -> Cents {
    users.get(user).map(|entry| chain(wins, entry.newest).map(|(_, win)| win.amount).sum()).unwrap_or_default()
}

/// This envelope has been issued before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyIssued(pub EnvelopeId);

impl Win {
    fn as_envelope(&self) -> Envelope {
        Envelope { id: self.envelope, sponsor: self.sponsor, amount: self.amount }
    }
}

#[cfg(test)]
mod tests {
    use hongbao_protocol::{ServerId, ShardId};

    use super::*;

    fn envelope(index: u32, sponsor: u32) -> Envelope {
        Envelope {
            id: EnvelopeId::new(ServerId(1), ShardId(0), index),
            sponsor: SponsorId(sponsor),
            amount: Cents(100 + u64::from(index)),
        }
    }

    fn with_wins(caps: Caps, wins: &[(u64, u32, u32)]) -> Accounts {
        let mut accounts = Accounts::new(caps, 0);
        for (user, index, sponsor) in wins {
            accounts.apply(UserId(*user), &envelope(*index, *sponsor)).expect("each envelope once");
        }
        accounts
    }

    #[test]
    fn a_user_cannot_pass_either_cap() {
        let accounts = with_wins(Caps { per_user: 2, per_sponsor: 1 }, &[(7, 0, 1), (8, 1, 1), (8, 2, 2)]);
        assert_eq!(accounts.decide(UserId(7), &envelope(9, 1)), Err(Refusal::SponsorLimit));
        assert_eq!(accounts.decide(UserId(7), &envelope(9, 2)), Ok(()));
        assert_eq!(accounts.decide(UserId(8), &envelope(9, 3)), Err(Refusal::UserLimit));
        assert_eq!(accounts.decide(UserId(9), &envelope(9, 1)), Ok(()));
    }

    #[test]
    fn zero_means_no_cap() {
        let wins: Vec<_> = (0..100).map(|index| (7, index, 1)).collect();
        let accounts = with_wins(Caps::UNLIMITED, &wins);
        assert_eq!(accounts.decide(UserId(7), &envelope(100, 1)), Ok(()));
    }

    #[test]
    fn an_envelope_issued_before_is_told_even_to_a_user_over_the_cap() {
        let mut accounts = with_wins(Caps { per_user: 1, per_sponsor: 1 }, &[(7, 0, 1)]);
        assert_eq!(accounts.decide(UserId(7), &envelope(0, 1)), Err(Refusal::AlreadyIssued));
        assert_eq!(accounts.apply(UserId(8), &envelope(0, 1)), Err(AlreadyIssued(envelope(0, 1).id)));
        assert_eq!((accounts.issued(), accounts.users(), accounts.cents()), (1, 1, Cents(100)));
    }

    #[test]
    fn wins_that_are_not_durable_are_not_told() {
        let accounts = with_wins(Caps::UNLIMITED, &[(7, 0, 1), (8, 1, 1), (7, 2, 1), (7, 3, 1)]);
        let mut shown = Vec::new();
        assert!(!accounts.is_settled(UserId(7), WinIndex(3)));
        assert!(accounts.is_settled(UserId(8), WinIndex(3)));
        assert!(accounts.is_settled(UserId(9), WinIndex(0)));
        assert_eq!(accounts.settled(UserId(7), WinIndex(3), 16, &mut shown), 2);
        assert_eq!(shown, [envelope(0, 1), envelope(2, 1)]);
        assert_eq!(accounts.settled(UserId(7), WinIndex(4), 2, &mut shown), 3);
        assert_eq!(shown, [envelope(2, 1), envelope(3, 1)]);
        assert_eq!(accounts.settled(UserId(9), WinIndex(4), 2, &mut shown), 0);
        assert!(shown.is_empty());
    }
}
