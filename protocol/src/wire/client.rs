//! What a client sends.

use serde::{Deserialize, Serialize};

use super::codec::{self, Decoded, Encoded, Fields, WireError};
use crate::UserId;

const HELLO: u8 = 0x01;
const SHAKE: u8 = 0x02;
const PING: u8 = 0x03;

/// A frame from a client. 0x10 to 0x1F are kept for gifts.
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
}

const fn length_of(kind: u8) -> Option<usize> {
    match kind {
        HELLO => Some(16),
        SHAKE | PING => Some(8),
        _ => None,
    }
}

impl ClientFrame {
    /// The kind byte of the frame's header.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => HELLO,
            Self::Shake { .. } => SHAKE,
            Self::Ping { .. } => PING,
        }
    }

    /// The frame's bytes.
    pub fn encode(&self) -> Encoded {
        let encoded = Encoded::new(self.kind(), 0);
        match *self {
            Self::Hello { version_min, version_max, user } => {
                encoded.put([version_min, version_max, 0, 0]).put(user.0.to_le_bytes())
            }
            Self::Shake { sequence } => encoded.put(sequence.to_le_bytes()),
            Self::Ping { nonce } => encoded.put(nonce.to_le_bytes()),
        }
        .finish()
    }

    /// The frame that `bytes` start with.
    pub fn decode(bytes: &[u8]) -> Result<Decoded<Self>, WireError> {
        let Some((kind, flags, length)) = codec::header(bytes, length_of)? else { return Ok(Decoded::Incomplete) };
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
            _ => return Err(WireError::Kind { kind }),
        };
        Ok(Decoded::Frame(frame, length))
    }
}
