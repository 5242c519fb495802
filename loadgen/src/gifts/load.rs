//! How many gifts a stage asks for and what they are, as scenarios and flags say it, and as a thread follows it.

use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::limits::{GIFT_CENTS_PER_SHARE, GIFT_RECIPIENTS, GIFT_RECIPIENTS_MAX, GIFT_TOTAL_MAX};
use crate::scenario::{Count, RateRange};

/// Of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GiftLoad {
    /// Gifts a second: `200`, or `100..1k` for a rate that goes evenly from one to the other.
    pub rate: RateRange,
    /// Users whom each gift is for.
    #[serde(default = "GiftLoad::recipients")]
    pub recipients: u64,
    /// Shares of each; as many as recipients where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    /// Cents in each; 100 a share where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_cents: Option<Count>,
}

impl GiftLoad {
    /// Where none are given.
    pub const fn recipients() -> u64 {
        GIFT_RECIPIENTS
    }

    /// Shares of each gift.
    pub fn shares(&self) -> u64 {
        self.shares.unwrap_or(self.recipients)
    }

    /// Cents in each.
    pub fn total_cents(&self) -> u64 {
        self.total_cents.map_or_else(|| self.shares().saturating_mul(GIFT_CENTS_PER_SHARE), |total| total.0)
    }

    /// What is wrong with it, if anything: a gift that every server refuses is no load.
    pub fn check(&self, connections: u64) -> Result<(), String> {
        let (recipients, shares, total) = (self.recipients, self.shares(), self.total_cents());
        if !(1..=GIFT_RECIPIENTS_MAX).contains(&recipients) {
            return Err(format!("a gift has 1 to {GIFT_RECIPIENTS_MAX} recipients, not {recipients}"));
        }
        if recipients >= connections {
            return Err(format!(
                "a gift for {recipients} users needs more than {recipients} connections: nobody sends to themselves"
            ));
        }
        if shares == 0 || shares > recipients {
            return Err(format!("a gift for {recipients} users has 1 to {recipients} shares, not {shares}"));
        }
        if total < shares || total > GIFT_TOTAL_MAX {
            return Err(format!("a gift of {shares} shares holds {shares} to {GIFT_TOTAL_MAX} cents, not {total}"));
        }
        Ok(())
    }
}

/// The gifts of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GiftLaw {
    /// A second over all threads, at the begin and at the end.
    pub rate: RateRange,
    /// Users whom each gift is for.
    pub recipients: u8,
    /// Shares of each.
    pub shares: u16,
    /// Cents in each.
    pub total_cents: u64,
    /// Gifts of the lap before this segment: the turns go on where they were.
    pub first_slot: u64,
}

impl From<&GiftLoad> for GiftLaw {
    fn from(load: &GiftLoad) -> Self {
        Self {
            rate: load.rate,
            recipients: load.recipients as u8,
            shares: load.shares() as u16,
            total_cents: load.total_cents(),
            first_slot: 0,
        }
    }
}

/// The number that the first gift of a run's thread has: above those of every earlier run, as a user's numbers must rise.
pub fn first_request(clock: &Clock) -> u64 {
    clock.unix_ns(0) / 1_000
}
