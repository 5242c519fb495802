//! What must be true, kept apart from the daemon's own books: it knows what was seeded and what clients were told, and holds both
//! against what the daemon tells them next and what a start finds in the journal.

use hongbao_protocol::{Cents, Envelope, EnvelopeId, Receipt, UserId};
use hongbaod::ledger::accounts::{Accounts, Caps};

/// A promise was broken: which, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) String);

pub(crate) type Checked = Result<(), Violation>;

/// Fails with this text.
macro_rules! violated {
    ($($text:tt)*) => { return Err($crate::model::Violation(format!($($text)*))) };
}
pub(crate) use violated;

/// One seeded envelope.
#[derive(Clone, Debug)]
struct Seeded {
    envelope: Envelope,
    /// Whose it is, as far as anybody was told or a start has found.
    owner: Option<UserId>,
    /// What its owner was given for it.
    receipt: Option<Receipt>,
    /// A shake was answered with it.
    answered: bool,
    /// Its owner was told, or a start has found it: it must never be lost again.
    promised: bool,
}

/// A user, by number.
#[derive(Clone, Debug, Default)]
struct Person {
    shakes: u64,
    promised: u32,
    /// Was told in this run to have as many as one may have.
    told_limit: bool,
}

/// The model.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    seeded: Vec<Seeded>,
    persons: Vec<Person>,
    caps: Caps,
    /// Envelopes in each seed file.
    per_file: usize,
}

impl Model {
    /// `seeded` is in the order of the files, each with `per_file` envelopes; users are numbered from 1.
    pub(crate) fn new(seeded: &[Envelope], per_file: usize, users: usize, caps: Caps) -> Self {
        let unowned = |envelope: &Envelope| Seeded {
            envelope: *envelope,
            owner: None,
            receipt: None,
            answered: false,
            promised: false,
        };
        let persons = vec![Person::default(); users];
        Self { seeded: seeded.iter().map(unowned).collect(), persons, caps, per_file }
    }

    fn find(&mut self, id: EnvelopeId) -> Option<&mut Seeded> {
        let place = usize::from(id.shard().0) * self.per_file + id.index() as usize;
        self.seeded.get_mut(place).filter(|seeded| seeded.envelope.id == id)
    }

    fn person(&mut self, user: UserId) -> &mut Person {
        &mut self.persons[user.0 as usize - 1]
    }

    /// The user shakes.
    pub(crate) fn shakes(&mut self, user: UserId) {
        self.person(user).shakes += 1;
    }

    /// Everything that this user was promised.
    pub(crate) fn promised(&self, user: UserId) -> Vec<EnvelopeId> {
        let own = self.seeded.iter().filter(|seeded| seeded.promised && seeded.owner == Some(user));
        own.map(|seeded| seeded.envelope.id).collect()
    }

    /// The user was told to have as many as one may have.
    pub(crate) fn told_limit(&mut self, user: UserId) {
        self.person(user).told_limit = true;
    }

    /// The user was shown an envelope: as the answer to a shake, or again.
    pub(crate) fn shown(&mut self, user: UserId, envelope: &Envelope, receipt: Receipt, again: bool) -> Checked {
        let Some(seeded) = self.find(envelope.id) else {
            violated!("envelope {} was shown, which nobody seeded", envelope.id)
        };
        if seeded.envelope != *envelope {
            violated!("{envelope:?} was shown, and {:?} was seeded", seeded.envelope);
        }
        if seeded.owner.is_some_and(|owner| owner != user) {
            violated!(
                "envelope {} was shown to user {user}, and is user {}'s",
                envelope.id,
                seeded.owner.unwrap_or(user)
            );
        }
        if !again && seeded.answered {
            violated!("envelope {} answered two shakes", envelope.id);
        }
        seeded.answered |= !again;
        if *seeded.receipt.get_or_insert(receipt) != receipt {
            violated!("envelope {} came with another receipt than before", envelope.id);
        }
        self.own(user, envelope.id)
    }

    /// Books a promise, and holds the user's promises against the caps.
    fn own(&mut self, user: UserId, id: EnvelopeId) -> Checked {
        let Some(seeded) = self.find(id) else { violated!("envelope {id} was never seeded") };
        if std::mem::replace(&mut seeded.promised, true) {
            return Ok(());
        }
        seeded.owner = Some(user);
        let sponsor = seeded.envelope.sponsor;
        let person = self.person(user);
        person.promised += 1;
        let (shakes, wins) = (person.shakes, u64::from(person.promised));
        if wins > shakes {
            violated!("user {user} has {wins} envelopes and shook {shakes} times");
        }
        let Caps { per_user, per_sponsor } = self.caps;
        if per_user != 0 && wins > u64::from(per_user) {
            violated!("user {user} has {wins} envelopes; the cap is {per_user}");
        }
        let own = self.seeded.iter().filter(|seeded| seeded.promised && seeded.owner == Some(user));
        let of_sponsor = own.filter(|seeded| seeded.envelope.sponsor == sponsor).count();
        if per_sponsor != 0 && of_sponsor > per_sponsor as usize {
            violated!("user {user} has {of_sponsor} envelopes of sponsor {sponsor}; the cap is {per_sponsor}");
        }
        Ok(())
    }

    /// A start has read the journal. `orderly`: the run before ended by itself.
    pub(crate) fn recovered(&mut self, accounts: &Accounts, orderly: bool) -> Checked {
        let mut shown = Vec::new();
        let mut wins = 0;
        let mut cents = 0;
        for user in (1..=self.persons.len()).map(|user| UserId(user as u64)) {
            accounts.settled(user, accounts.next_index(), usize::MAX, &mut shown);
            for envelope in &shown {
                let Some(seeded) = self.find(envelope.id) else {
                    violated!("the journal holds envelope {}, which nobody seeded", envelope.id)
                };
                if seeded.envelope != *envelope {
                    violated!("the journal holds {envelope:?}, and {:?} was seeded", seeded.envelope);
                }
                if seeded.owner.is_some_and(|owner| owner != user) {
                    violated!("the journal gives envelope {} of another to user {user}", envelope.id);
                }
                self.own(user, envelope.id)?;
                cents += envelope.amount.0;
            }
            let mut found: Vec<_> = shown.iter().map(|envelope| envelope.id).collect();
            found.sort_unstable();
            if found.windows(2).any(|pair| pair[0] == pair[1]) {
                violated!("the journal issues an envelope twice to user {user}");
            }
            if let Some(lost) = self.promised(user).iter().find(|id| found.binary_search(id).is_err()) {
                violated!("envelope {lost} was promised to user {user} and is lost");
            }
            wins += found.len() as u64;
            let per_user = self.caps.per_user;
            let person = self.person(user);
            if std::mem::take(&mut person.told_limit) && orderly && (found.len() as u32) < per_user {
                violated!("user {user} was told to have all of {per_user} envelopes, and has {}", found.len());
            }
        }
        if (accounts.issued(), accounts.cents()) != (wins, Cents(cents)) {
            let (issued, all) = (accounts.issued(), accounts.cents().0);
            violated!("the journal holds {issued} wins of {all} cents, and the users have {wins} of {cents}");
        }
        Ok(())
    }

    /// Envelopes and cents in all seed files.
    pub(crate) fn seeded(&self) -> (u64, u64) {
        (self.seeded.len() as u64, self.seeded.iter().map(|seeded| seeded.envelope.amount.0).sum())
    }
}
