//! The envelopes a SET has at hand: those the feeder dealt, and those a refused claim brought back.

use hongbao_protocol::{Cents, Envelope};
use rtrb::{Consumer, Producer};

/// The stock. Every envelope in it can be given to one shake.
pub(super) struct Stock {
    dealt: Consumer<Envelope>,
    /// From refused claims; they go first, as they have waited longest. Bounded by the claims that can be out at once.
    refused: Vec<Envelope>,
    returns: Producer<Envelope>,
}

impl Stock {
    /// `requests_max`: places of the queue to the ledger.
    pub(super) fn new(dealt: Consumer<Envelope>, returns: Producer<Envelope>, requests_max: usize) -> Self {
        // A claim stays counted until its verdict is handled: in the request queue, at the ledger, or in the verdict queue.
        Self { dealt, refused: Vec::with_capacity(3 * requests_max), returns }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.refused.is_empty() && self.dealt.is_empty()
    }

    /// Takes one for a claim.
    pub(super) fn take(&mut self) -> Option<Envelope> {
        self.refused.pop().or_else(|| self.dealt.pop().ok())
    }

    /// Takes back what a claim did not win.
    pub(super) fn take_back(&mut self, envelope: Envelope) {
        debug_assert!(self.refused.len() < self.refused.capacity(), "claims out at once are bounded");
        self.refused.push(envelope);
    }

    /// Envelopes at hand.
    pub(super) fn count(&self) -> usize {
        self.refused.len() + self.dealt.slots()
    }

    /// Sum of their amounts: looks at each, so not for every turn.
    pub(super) fn cents(&mut self) -> Cents {
        let refused: Cents = self.refused.iter().map(|envelope| envelope.amount).sum();
        let chunk = self.dealt.read_chunk(self.dealt.slots()).expect("as many as there are");
        let (first, second) = chunk.as_slices();
        let dealt: Cents = first.iter().chain(second).map(|envelope| envelope.amount).sum();
        refused.checked_add(dealt).expect("a stock's sum fits")
    }

    /// Gives everything back to the feeder, as far as its queue takes it; says how many.
    pub(super) fn give_back(&mut self) -> u64 {
        let mut given = 0;
        while !self.returns.is_full() {
            let Some(envelope) = self.take() else { break };
            self.returns.push(envelope).expect("it was not full, and only this end fills it");
            given += 1;
        }
        given
    }
}
