//! Where every envelope and every cent of the seed files is.

use hongbao_protocol::{CampaignId, Cents, Envelope};

use crate::cells::FeederCells;

/// Some envelopes and the money in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub envelopes: u64,
    /// What is in them together.
    pub amount: Cents,
}

impl Tally {
    /// No envelope.
    pub const NONE: Self = Self { envelopes: 0, amount: Cents::ZERO };

    /// Adds what an owner of part of the seeds can hold: never more than 64 bits of cents, as the scan has seen to.
    pub(super) fn add(&mut self, other: Self) {
        self.envelopes += other.envelopes;
        self.amount = self.amount.checked_add(other.amount).expect("the seeds' money fits 64 bits of cents");
    }

    fn subtract(&mut self, other: Self) {
        self.envelopes = self.envelopes.checked_sub(other.envelopes).expect("no more leaves than is there");
        self.amount = self.amount.checked_sub(other.amount).expect("no more money leaves than is there");
    }

    /// Adds to a total that only grows, and so may wrap: an envelope can be dealt and returned any number of times.
    fn accumulate(&mut self, other: Self) {
        self.envelopes = self.envelopes.wrapping_add(other.envelopes);
        self.amount = Cents(self.amount.0.wrapping_add(other.amount.0));
    }
}

impl From<Envelope> for Tally {
    fn from(envelope: Envelope) -> Self {
        Self { envelopes: 1, amount: envelope.amount }
    }
}

/// The feeder's books. At every moment, in envelopes and in cents:
/// `seeded = skipped + dealt - returned + unissued + damaged`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeederSummary {
    /// The campaign of the accepted files.
    pub campaign: Option<CampaignId>,
    /// Seed files accepted.
    pub files: u64,
    /// Seed files refused.
    pub files_refused: u64,
    /// In the accepted files, by their headers.
    pub seeded: Tally,
    /// Issued in earlier runs, by the journal, and so not dealt.
    pub skipped: Tally,
    /// Dealt to SETs; an envelope that came back and was dealt again counts twice.
    pub dealt: Tally,
    /// Come back from SETs.
    pub returned: Tally,
    /// In damaged blocks. Their cents are known when the rest of the file has been read, and count as unissued until then.
    pub damaged: Tally,
    /// Not dealt, or come back and not dealt again.
    pub unissued: Tally,
}

impl FeederSummary {
    /// Envelopes dealt and not returned.
    pub(super) fn out(&self) -> u64 {
        self.dealt.envelopes - self.returned.envelopes
    }

    /// The one equation: nothing is created and nothing is lost. Exact even where the running totals have wrapped.
    pub fn is_balanced(&self) -> bool {
        let holds = |of: fn(&Tally) -> u64| {
            let out = of(&self.dealt).wrapping_sub(of(&self.returned));
            of(&self.skipped).wrapping_add(out).wrapping_add(of(&self.unissued)).wrapping_add(of(&self.damaged))
                == of(&self.seeded)
        };
        holds(|tally| tally.envelopes) && holds(|tally| tally.amount.0)
    }

    /// A file was accepted.
    pub(super) fn seed(&mut self, tally: Tally) {
        self.files += 1;
        self.seeded.add(tally);
        self.unissued.add(tally);
        self.check();
    }

    /// The journal has these.
    pub(super) fn skip(&mut self, tally: Tally) {
        self.unissued.subtract(tally);
        self.skipped.add(tally);
        self.check();
    }

    /// These are lost to damage.
    pub(super) fn damage(&mut self, tally: Tally) {
        self.unissued.subtract(tally);
        self.damaged.add(tally);
        self.check();
    }

    /// These went to a SET.
    pub(super) fn deal(&mut self, tally: Tally) {
        self.unissued.subtract(tally);
        self.dealt.accumulate(tally);
        self.check();
    }

    /// These came back from a SET.
    pub(super) fn take_back(&mut self, tally: Tally) {
        self.returned.accumulate(tally);
        self.unissued.add(tally);
        self.check();
    }

    fn check(&self) {
        debug_assert!(self.is_balanced(), "the feeder's books do not balance: {self:?}");
    }

    /// Shows the books in the metrics.
    pub(super) fn publish(&self, cells: &FeederCells) {
        cells.seed_files.set(self.files);
        cells.seed_files_refused.set(self.files_refused);
        for (tally, envelopes, cents) in [
            (self.seeded, &cells.seeded, &cells.seeded_cents),
            (self.skipped, &cells.skipped, &cells.skipped_cents),
            (self.dealt, &cells.dealt, &cells.dealt_cents),
            (self.returned, &cells.returned, &cells.returned_cents),
            (self.damaged, &cells.damaged, &cells.damaged_cents),
            (self.unissued, &cells.unissued, &cells.unissued_cents),
        ] {
            envelopes.set(tally.envelopes);
            cents.set(tally.amount.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(envelopes: u64, cents: u64) -> Tally {
        Tally { envelopes, amount: Cents(cents) }
    }

    #[test]
    fn an_envelope_that_is_made_or_lost_shows_in_the_balance() {
        let mut books = FeederSummary::default();
        books.seed(tally(10, 1000));
        books.skip(tally(2, 300));
        books.deal(tally(5, 500));
        books.take_back(tally(1, 100));
        books.damage(tally(1, 0));
        assert!(books.is_balanced());
        assert_eq!(books.unissued, tally(3, 300));
        let mut lost = books.clone();
        lost.unissued.envelopes -= 1;
        assert!(!lost.is_balanced());
        let mut made = books;
        made.returned.amount.0 += 1;
        assert!(!made.is_balanced());
    }

    #[test]
    fn running_totals_that_wrap_still_balance() {
        let mut books = FeederSummary::default();
        books.seed(tally(1, u64::MAX));
        for _ in 0..5 {
            books.deal(tally(1, u64::MAX));
            books.take_back(tally(1, u64::MAX));
        }
        assert!(books.is_balanced());
    }
}
