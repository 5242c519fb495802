//! Ids as types of their own, so that a user can never be taken for an envelope.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A user, as the login service numbers them.
    UserId(u64)
);
id!(
    /// Who pays for an envelope.
    SponsorId(u32)
);
id!(
    /// One giveaway. Envelope ids are unique within it.
    CampaignId(u64)
);
id!(
    /// One daemon of a campaign. A seed file is bound to one.
    ServerId(u16)
);
id!(
    /// One seed file of one server.
    ShardId(u16)
);
id!(
    /// An envelope: where it stands in the seed files of its campaign.
    ///
    /// | bits | meaning |
    /// |---|---|
    /// | 63..48 | server |
    /// | 47..32 | shard |
    /// | 31..0 | index within the shard |
    EnvelopeId(u64)
);

id!(
    /// A gift from user to user: its number among all that one server's ledger holds, from 1, below the server.
    ///
    /// | bits | meaning |
    /// |---|---|
    /// | 63..48 | server |
    /// | 47..0 | number |
    GiftId(u64)
);

impl GiftId {
    /// The id of the gift with this number, which fits 48 bits.
    pub const fn new(server: ServerId, number: u64) -> Self {
        assert!(number >> 48 == 0);
        Self((server.0 as u64) << 48 | number)
    }

    /// The server that keeps it.
    pub const fn server(self) -> ServerId {
        ServerId((self.0 >> 48) as u16)
    }

    /// Its number there.
    pub const fn number(self) -> u64 {
        self.0 & ((1 << 48) - 1)
    }
}

impl EnvelopeId {
    /// The id of the envelope at `index` of the seed file (`server`, `shard`).
    pub const fn new(server: ServerId, shard: ShardId, index: u32) -> Self {
        Self((server.0 as u64) << 48 | (shard.0 as u64) << 32 | index as u64)
    }

    /// The server whose seed file holds it.
    pub const fn server(self) -> ServerId {
        ServerId((self.0 >> 48) as u16)
    }

    /// The seed file that holds it.
    pub const fn shard(self) -> ShardId {
        ShardId((self.0 >> 32) as u16)
    }

    /// Its place in that file.
    pub const fn index(self) -> u32 {
        self.0 as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_id_gives_back_its_parts() {
        let id = EnvelopeId::new(ServerId(0xABCD), ShardId(0x1234), 0xDEAD_BEEF);
        assert_eq!(id.0, 0xABCD_1234_DEAD_BEEF);
        assert_eq!((id.server(), id.shard(), id.index()), (ServerId(0xABCD), ShardId(0x1234), 0xDEAD_BEEF));
    }
}
