//! What travels between hongbao's programs: wire frames, seed-file records, ids and money.
//!
//! No I/O, no clock, no `unsafe`; decoding never allocates, never panics and never reads past its input. The prose
//! specification, from which a client can be written in any language, is `protocol/SPEC.md`.

mod ids;
mod money;
mod receipt;
pub mod seed;
pub mod wire;

pub use ids::{CampaignId, EnvelopeId, GiftId, ServerId, ShardId, SponsorId, UserId};
pub use money::Cents;
pub use receipt::Receipt;

/// One prize, as a seed file holds it and as a winner gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Envelope {
    /// Names the envelope over all servers of a campaign.
    pub id: EnvelopeId,
    /// Who pays for it.
    pub sponsor: SponsorId,
    /// What is in it.
    #[serde(rename = "amount_cents")]
    pub amount: Cents,
}
