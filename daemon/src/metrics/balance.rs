//! Where the money is. Rule 7 of the business: seeded = issued + in stock + unissued, at every instant.

use hongbao_protocol::Cents;

use crate::cells::{FeederCells, GiftTotals, LedgerCells};

/// Envelopes and the money in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub envelopes: u64,
    /// Their sum.
    pub cents: u64,
}

impl Amount {
    fn plus(self, other: Self) -> Self {
        Self { envelopes: self.envelopes + other.envelopes, cents: self.cents + other.cents }
    }

    fn minus(self, other: Self) -> Option<Self> {
        Some(Self {
            envelopes: self.envelopes.checked_sub(other.envelopes)?,
            cents: self.cents.checked_sub(other.cents)?,
        })
    }
}

/// All the seeded money, by where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// In the accepted seed files.
    pub seeded: Amount,
    /// Issued from them, in this run and before.
    pub issued: Amount,
    /// Dealt and not yet back: in stock, in a claim, or on the way between threads.
    pub with_sets: Amount,
    /// Not dealt.
    pub unissued: Amount,
    /// In blocks that are damaged.
    pub damaged: Amount,
    /// What users sent each other, and their balances.
    pub gifts: GiftTotals,
    /// Seeded cents less the sum of their places; where these agree, what is missing among gifts and balances. Anything but 0 is a
    /// defect.
    pub difference_cents: i128,
}

impl Balance {
    /// Computes it from the cells. `issued_at_start` is what the ledger's replay found.
    ///
    /// It is exact while the other threads run on: the ledger is read first, and an envelope is dealt before it can be issued, so
    /// what was dealt always covers what was issued. The feeder's cells agree with each other where it is not in the midst of a
    /// deal; the exporter runs on its thread, between two deals.
    pub fn read(ledger: &LedgerCells, feeder: &FeederCells, issued_at_start: Amount) -> Self {
        let issued = Amount { envelopes: ledger.issued.get(), cents: ledger.issued_cents.get() };
        let of = |envelopes: &crate::cells::Cell, cents: &crate::cells::Cell| Amount {
            envelopes: envelopes.get(),
            cents: cents.get(),
        };
        let skipped = of(&feeder.skipped, &feeder.skipped_cents);
        let won = issued.minus(issued_at_start).unwrap_or_default();
        // Both only grow, as an envelope may be dealt and returned any number of times, and so may wrap.
        let out = Amount {
            envelopes: feeder.dealt.get().wrapping_sub(feeder.returned.get()),
            cents: feeder.dealt_cents.get().wrapping_sub(feeder.returned_cents.get()),
        };
        Self::new(
            of(&feeder.seeded, &feeder.seeded_cents),
            skipped.plus(won),
            // More issued than dealt: nothing is with the SETs, and the difference shows what is too much.
            out.minus(won).unwrap_or_default(),
            of(&feeder.unissued, &feeder.unissued_cents),
            of(&feeder.damaged, &feeder.damaged_cents),
            ledger.gifts.read(),
        )
    }

    fn new(
        seeded: Amount,
        issued: Amount,
        with_sets: Amount,
        unissued: Amount,
        damaged: Amount,
        gifts: GiftTotals,
    ) -> Self {
        let found = [issued, with_sets, unissued, damaged].map(|amount| i128::from(amount.cents)).iter().sum::<i128>();
        let differences = [i128::from(seeded.cents) - found].into_iter().chain(gift_differences(&gifts));
        let difference_cents = differences.into_iter().find(|difference| *difference != 0).unwrap_or(0);
        Self { seeded, issued, with_sets, unissued, damaged, gifts, difference_cents }
    }

    /// The places, each with its label value.
    pub fn places(&self) -> [(&'static str, Amount); 4] {
        [("issued", self.issued), ("with_sets", self.with_sets), ("unissued", self.unissued), ("damaged", self.damaged)]
    }
}

/// What was sent less where it is, and what was won or paid by the house less where that is.
fn gift_differences(gifts: &GiftTotals) -> [i128; 2] {
    let sum = |parts: &[u64]| parts.iter().map(|part| i128::from(*part)).sum::<i128>();
    [
        sum(&[gifts.sent.1]) - sum(&[gifts.opened.1, gifts.refunded.1, gifts.pending.1]),
        sum(&[gifts.won_cents, gifts.house_cents]) - sum(&[gifts.balances_cents, gifts.pending.1]),
    ]
}

impl std::fmt::Display for Balance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let part = |amount: Amount| format!("{} ({} envelopes)", Cents(amount.cents), amount.envelopes);
        write!(f, "seeded {}", part(self.seeded))?;
        for (index, (place, amount)) in self.places().into_iter().enumerate() {
            write!(f, " {} {} {}", if index == 0 { "=" } else { "+" }, place.replace('_', " "), part(amount))?;
        }
        let gifts = &self.gifts;
        if gifts.sent.0 > 0 {
            let part = |(number, cents): (u64, u64), of: &str| format!("{} ({number} {of})", Cents(cents));
            write!(
                f,
                "; gifts sent {} = opened {} + refunded {} + pending {}; won {} + paid by the house {} = balances {} + pending {}",
                part(gifts.sent, "gifts"),
                part(gifts.opened, "shares"),
                part(gifts.refunded, "gifts"),
                part(gifts.pending, "gifts"),
                Cents(gifts.won_cents),
                Cents(gifts.house_cents),
                Cents(gifts.balances_cents),
                Cents(gifts.pending.1)
            )?;
        }
        if self.difference_cents != 0 {
            write!(f, "; DIFFERENCE {} cents", self.difference_cents)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells() -> (LedgerCells, FeederCells) {
        let (ledger, feeder) = (LedgerCells::default(), FeederCells::default());
        // 100 envelopes of 10 cents: 20 issued before, 40 dealt (5 of them back), 10 of those won, 3 damaged, 42 left.
        for (cell, value) in [
            (&ledger.issued, 30),
            (&ledger.issued_cents, 300),
            (&feeder.seeded, 100),
            (&feeder.seeded_cents, 1000),
            (&feeder.skipped, 20),
            (&feeder.skipped_cents, 200),
            (&feeder.dealt, 40),
            (&feeder.dealt_cents, 400),
            (&feeder.returned, 5),
            (&feeder.returned_cents, 50),
            (&feeder.unissued, 42),
            (&feeder.unissued_cents, 420),
            (&feeder.damaged, 3),
            (&feeder.damaged_cents, 30),
        ] {
            cell.set(value);
        }
        (ledger, feeder)
    }

    const BEFORE: Amount = Amount { envelopes: 20, cents: 200 };

    #[test]
    fn every_cent_is_somewhere() {
        let (ledger, feeder) = cells();
        let balance = Balance::read(&ledger, &feeder, BEFORE);
        assert_eq!(balance.difference_cents, 0);
        assert_eq!(balance.issued, Amount { envelopes: 30, cents: 300 });
        assert_eq!(balance.with_sets, Amount { envelopes: 25, cents: 250 });
        assert_eq!(balance.places().iter().map(|(_, amount)| amount.envelopes).sum::<u64>(), balance.seeded.envelopes);
    }

    #[test]
    fn money_from_nowhere_shows() {
        let (ledger, feeder) = cells();
        feeder.unissued_cents.set(421);
        assert_eq!(Balance::read(&ledger, &feeder, BEFORE).difference_cents, -1);
        let (ledger, feeder) = cells();
        ledger.issued_cents.set(200 + 351);
        assert_eq!(Balance::read(&ledger, &feeder, BEFORE).difference_cents, -1, "one cent more issued than dealt");
        assert!(Balance::read(&ledger, &feeder, BEFORE).to_string().contains("DIFFERENCE"));
    }

    #[test]
    fn a_cent_astray_among_gifts_shows() {
        let (ledger, feeder) = cells();
        let right = GiftTotals {
            sent: (3, 100),
            opened: (4, 60),
            refunded: (1, 10),
            pending: (1, 30),
            house_cents: 20,
            balances_cents: 290,
            won_cents: 300,
        };
        let difference = |gifts: GiftTotals| {
            ledger.gifts.publish(&gifts);
            Balance::read(&ledger, &feeder, BEFORE).difference_cents
        };
        assert_eq!(difference(right), 0);
        assert_eq!(difference(GiftTotals { opened: (4, 61), ..right }), -1);
        assert_eq!(difference(GiftTotals { balances_cents: 289, ..right }), 1);
        assert_eq!(difference(GiftTotals { house_cents: 19, ..right }), -1);
    }
}
