//! Which envelopes have been issued: what the ledger knows after its replay and the feeder needs before it deals.

use std::collections::BTreeMap;

use hongbao_protocol::{CampaignId, Cents, Envelope, EnvelopeId, ServerId, ShardId, SponsorId};

/// A set of envelopes of one campaign and server, as one bitmap a shard, grown as needed.
#[derive(Clone, Debug, Default)]
pub struct IssuedSet {
    shards: BTreeMap<(ServerId, ShardId), Vec<u64>>,
    count: u64,
}

impl IssuedSet {
    /// Adds an envelope. False where it was there already.
    pub fn insert(&mut self, id: EnvelopeId) -> bool {
        let words = self.shards.entry((id.server(), id.shard())).or_default();
        let (word, bit) = (id.index() as usize / 64, 1 << (id.index() % 64));
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        let fresh = words[word] & bit == 0;
        words[word] |= bit;
        self.count += u64::from(fresh);
        fresh
    }

    /// Whether the envelope is in the set.
    pub fn contains(&self, id: EnvelopeId) -> bool {
        self.shards
            .get(&(id.server(), id.shard()))
            .and_then(|words| words.get(id.index() as usize / 64))
            .is_some_and(|word| word & (1 << (id.index() % 64)) != 0)
    }

    /// Envelopes in the set.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// What the journal says was issued before this start; the feeder holds it against the seed files and then skips it.
#[derive(Clone, Debug, Default)]
pub struct IssuedBefore {
    /// The campaign the journal is bound to, where it holds anything.
    pub campaign: Option<CampaignId>,
    /// Quick membership.
    pub set: IssuedSet,
    /// Every issued envelope with what the journal says of it, sorted by id.
    pub envelopes: Vec<Envelope>,
}

impl IssuedBefore {
    /// Sum of the amounts issued.
    pub fn total(&self) -> Cents {
        self.envelopes.iter().map(|envelope| envelope.amount).sum()
    }
}

/// What an auditor compares: kept here so that both sides mean the same.
pub fn same_prize(a: (SponsorId, Cents), b: &Envelope) -> bool {
    a.0 == b.sponsor && a.1 == b.amount
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_enters_the_set_once() {
        let mut set = IssuedSet::default();
        let id = EnvelopeId::new(ServerId(1), ShardId(2), 1_000_000);
        assert!(!set.contains(id));
        assert!(set.insert(id));
        assert!(!set.insert(id));
        assert!(set.contains(id));
        assert!(!set.contains(EnvelopeId::new(ServerId(1), ShardId(2), 999_999)));
        assert_eq!(set.len(), 1);
    }
}
