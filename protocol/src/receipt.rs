//! The receipt of a win: what a client keeps, and cannot make itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{CampaignId, Envelope, UserId};

/// Proof that a server promised an envelope to a user: the first 16 bytes of a keyed BLAKE3 over both. Only who holds the server's key can
/// make one, or tell a right one from a wrong one. In JSON it is written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Receipt(pub [u8; Self::BYTES]);

/// Stands before what is authenticated, so that the key can never be made to speak of anything else.
const CONTEXT: [u8; 8] = *b"HBRCPT\r\n";

impl Receipt {
    /// Bytes of a receipt.
    pub const BYTES: usize = 16;

    /// The receipt for this win, under the server's key. It is the same each time the win is shown. One compression of BLAKE3: about 0.1 us.
    pub fn new(key: &[u8; 32], campaign: CampaignId, user: UserId, envelope: &Envelope) -> Self {
        let mut message = [0; 44];
        message[0..8].copy_from_slice(&CONTEXT);
        message[8..16].copy_from_slice(&campaign.0.to_le_bytes());
        message[16..24].copy_from_slice(&user.0.to_le_bytes());
        message[24..32].copy_from_slice(&envelope.id.0.to_le_bytes());
        message[32..40].copy_from_slice(&envelope.amount.0.to_le_bytes());
        message[40..44].copy_from_slice(&envelope.sponsor.0.to_le_bytes());
        let digest = blake3::keyed_hash(key, &message);
        let mut receipt = [0; Self::BYTES];
        receipt.copy_from_slice(&digest.as_bytes()[..Self::BYTES]);
        Self(receipt)
    }

    /// Whether two are the same, in a time that does not tell how much of them is.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Receipt {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a receipt is 32 hexadecimal digits";
        let digits = text.as_bytes();
        let mut receipt = [0; Self::BYTES];
        if digits.len() != 2 * Self::BYTES {
            return Err(WRONG);
        }
        for (byte, pair) in receipt.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |place: usize| char::from(pair[place]).to_digit(16).ok_or(WRONG);
            *byte = (digit(0)? << 4 | digit(1)?) as u8;
        }
        Ok(Self(receipt))
    }
}

impl From<Receipt> for String {
    fn from(receipt: Receipt) -> Self {
        receipt.to_string()
    }
}

impl TryFrom<String> for Receipt {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cents, EnvelopeId, SponsorId};

    #[test]
    fn nothing_of_a_win_can_change_under_its_receipt() {
        let envelope = Envelope { id: EnvelopeId(1), sponsor: SponsorId(2), amount: Cents(3) };
        let of = |campaign, user, envelope| Receipt::new(&[7; 32], CampaignId(campaign), UserId(user), &envelope);
        let right = of(4, 5, envelope);
        assert!(right.matches(&of(4, 5, envelope)));
        let others = [
            of(5, 5, envelope),
            of(4, 4, envelope),
            of(4, 5, Envelope { id: EnvelopeId(2), ..envelope }),
            of(4, 5, Envelope { sponsor: SponsorId(3), ..envelope }),
            of(4, 5, Envelope { amount: Cents(4), ..envelope }),
            Receipt::new(&[8; 32], CampaignId(4), UserId(5), &envelope),
        ];
        assert!(others.iter().all(|other| !right.matches(other)));
        assert_eq!(right.to_string().parse(), Ok(right));
        for wrong in ["", "00", "zz000000000000000000000000000000", "é000000000000000000000000000000"] {
            assert!(wrong.parse::<Receipt>().is_err(), "{wrong}");
        }
    }
}
