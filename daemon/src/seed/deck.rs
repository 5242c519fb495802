//! Whose envelope comes next.

use hongbao_protocol::SponsorId;
use rand::Rng;

use super::random::below;

/// Sponsors are dealt like cards: each comes once before any comes again, in an order that is shuffled anew every time. So all
/// have the same number of envelopes to within one a file, and no rhythm of the dealing to SETs can keep a sponsor from one.
pub(super) struct Deck {
    cards: Vec<SponsorId>,
    dealt: usize,
}

impl Deck {
    /// Sponsors 1 to `sponsors`, of which there is at least one.
    pub(super) fn new(sponsors: u32) -> Self {
        assert!(sponsors > 0, "a deck has at least one card");
        Self { cards: (1..=sponsors).map(SponsorId).collect(), dealt: 0 }
    }

    pub(super) fn deal(&mut self, rng: &mut impl Rng) -> SponsorId {
        let left = self.cards.len() - self.dealt;
        let drawn = self.dealt + below(rng, left as u64) as usize;
        self.cards.swap(self.dealt, drawn);
        let card = self.cards[self.dealt];
        self.dealt = (self.dealt + 1) % self.cards.len();
        card
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::from_key;

    #[test]
    fn no_sponsor_comes_again_before_all_came_once() {
        let (mut deck, mut rng) = (Deck::new(7), from_key("test", b"deck"));
        let mut orders = Vec::new();
        for _ in 0..100 {
            let order: Vec<u32> = (0..7).map(|_| deck.deal(&mut rng).0).collect();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [1, 2, 3, 4, 5, 6, 7]);
            orders.push(order);
        }
        orders.dedup();
        assert!(orders.len() > 90, "the deck is shuffled anew each time");
    }
}
