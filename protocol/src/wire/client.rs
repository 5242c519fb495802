//! What a client sends.

use serde::{Deserialize, Serialize};

use super::codec::{self, Decoded, Encoded, Fields, WireError};
use super::{CLIENT_FRAME_BYTES_MAX, GIFT_RECIPIENTS_MAX, Recipients};
use crate::{Cents, GiftId, UserId};

const HELLO: u8 = 0x01;
const SHAKE: u8 = 0x02;
const PING: u8 = 0x03;
const GIFT_SEND: u8 = 0x10;
const GIFT_OPEN: u8 = 0x11;
const GIFT_LIST: u8 = 0x12;

/// Bytes of a gift that is sent, before its recipients.
const GIFT_SEND_BYTES: usize = 24;

/// A frame from a client. Of 0x10 to 0x1F those not in use are kept for gifts.
#[expect(
    clippy::large_enum_variant,
    reason = "a frame lives on the stack while it is handled; a box would be an allocation"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientFrame {
    /// First on every connection, once.
    Hello {
        /// Lowest version the client speaks.
        version_min: u8,
        /// Highest version the client speaks.
        version_max: u8,
        /// Who logs in.
        user: UserId,
    },
    /// Asks for an envelope.
    Shake {
        /// The client's own number for this shake; the answer carries it.
        sequence: u32,
    },
    /// Shows that the client is alive; answered by a pong.
    Ping {
        /// Comes back in the pong.
        nonce: u32,
    },
    /// Sends a gift. Any numbers are a good frame: what is wrong with them is told in a refusal.
    GiftSend {
        /// The client's own number for this gift: rises from gift to gift of a user, and makes a repeated send harmless.
        request: u64,
        /// What is in it.
        #[serde(rename = "total_cents")]
        total: Cents,
        /// Over how many shares it is split.
        shares: u16,
        /// Who may open it.
        recipients: Recipients,
    },
    /// Opens a gift.
    GiftOpen {
        /// As the notice named it.
        gift: GiftId,
    },
    /// Asks for the gifts that wait for this user.
    GiftList {
        /// The client's own number for this question.
        request: u32,
        /// Only gifts behind this one; 0 for all.
        after: GiftId,
    },
}

/// Whether a frame of this kind may be so long; `None` of no kind.
fn fits(kind: u8, length: usize) -> Option<bool> {
    Some(match kind {
        HELLO | GIFT_LIST => length == 16,
        SHAKE | PING => length == 8,
        GIFT_OPEN => length == 12,
        GIFT_SEND => {
            let recipients = length.saturating_sub(GIFT_SEND_BYTES);
            recipients.is_multiple_of(8) && (1..=GIFT_RECIPIENTS_MAX).contains(&(recipients / 8))
        }
        _ => return None,
    })
}

impl ClientFrame {
    /// The kind byte of the frame's header.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => HELLO,
            Self::Shake { .. } => SHAKE,
            Self::Ping { .. } => PING,
            Self::GiftSend { .. } => GIFT_SEND,
            Self::GiftOpen { .. } => GIFT_OPEN,
            Self::GiftList { .. } => GIFT_LIST,
        }
    }

    /// The frame's bytes.
    pub fn encode(&self) -> Encoded<CLIENT_FRAME_BYTES_MAX> {
        let encoded = Encoded::new(self.kind(), 0);
        match self {
            Self::Hello { version_min, version_max, user } => {
                encoded.put([*version_min, *version_max, 0, 0]).put(user.0.to_le_bytes())
            }
            Self::Shake { sequence } => encoded.put(sequence.to_le_bytes()),
            Self::Ping { nonce } => encoded.put(nonce.to_le_bytes()),
            Self::GiftSend { request, total, shares, recipients } => {
                let encoded =
                    encoded.put(shares.to_le_bytes()).put([0; 2]).put(request.to_le_bytes()).put(total.0.to_le_bytes());
                recipients.as_slice().iter().fold(encoded, |encoded, user| encoded.put(user.0.to_le_bytes()))
            }
            Self::GiftOpen { gift } => encoded.put(gift.0.to_le_bytes()),
            Self::GiftList { request, after } => encoded.put(request.to_le_bytes()).put(after.0.to_le_bytes()),
        }
        .finish()
    }

    /// The frame that `bytes` start with.
    pub fn decode(bytes: &[u8]) -> Result<Decoded<Self>, WireError> {
        let Some((kind, flags, length)) = codec::header(bytes, fits)? else { return Ok(Decoded::Incomplete) };
        if flags != 0 {
            return Err(WireError::Reserved { kind });
        }
        let mut fields = Fields(&bytes[super::HEADER_BYTES..length]);
        let frame = match kind {
            HELLO => {
                let (version_min, version_max, reserved) = (fields.u8(), fields.u8(), fields.u16());
                if reserved != 0 {
                    return Err(WireError::Reserved { kind });
                }
                if version_min > version_max {
                    return Err(WireError::Value { kind });
                }
                Self::Hello { version_min, version_max, user: UserId(fields.u64()) }
            }
            SHAKE => Self::Shake { sequence: fields.u32() },
            PING => Self::Ping { nonce: fields.u32() },
            GIFT_SEND => Self::gift_send(fields, length)?,
            GIFT_OPEN => Self::GiftOpen { gift: GiftId(fields.u64()) },
            GIFT_LIST => Self::GiftList { request: fields.u32(), after: GiftId(fields.u64()) },
            _ => return Err(WireError::Kind { kind }),
        };
        Ok(Decoded::Frame(frame, length))
    }

    /// Apart from the others, so that reading a shake does not carry a gift's room about.
    #[inline(never)]
    fn gift_send(mut fields: Fields<'_>, length: usize) -> Result<Self, WireError> {
        let (shares, reserved) = (fields.u16(), fields.u16());
        if reserved != 0 {
            return Err(WireError::Reserved { kind: GIFT_SEND });
        }
        let (request, total) = (fields.u64(), Cents(fields.u64()));
        let mut users = [UserId(0); GIFT_RECIPIENTS_MAX];
        let users = &mut users[..(length - GIFT_SEND_BYTES) / 8];
        users.fill_with(|| UserId(fields.u64()));
        let recipients = Recipients::new(users).ok_or(WireError::Length { kind: GIFT_SEND, length: length as u16 })?;
        Ok(Self::GiftSend { request, total, shares, recipients })
    }
}
