//! What a server sends.

use serde::{Deserialize, Serialize};

use super::codec::{self, Decoded, Encoded, Fields, WireError};
use crate::{Cents, Envelope, EnvelopeId, SponsorId};

const WELCOME: u8 = 0x81;
const ENVELOPE: u8 = 0x82;
const NONE: u8 = 0x83;
const USER_LIMIT: u8 = 0x84;
const SPONSOR_LIMIT: u8 = 0x85;
const OVERLOADED: u8 = 0x86;
const PONG: u8 = 0x87;
const GO_AWAY: u8 = 0x88;
const ERROR: u8 = 0x89;

/// Flag of an envelope frame: won earlier, shown again after a login.
const SHOWN_AGAIN: u8 = 0x01;

/// A frame from a server. 0x8A is kept for campaign notices, 0x90 to 0x9F for gifts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case", deny_unknown_fields)]
pub enum ServerFrame {
    /// Answers a good hello. `earlier_wins_shown` envelope frames with `shown_again` follow it, the oldest win first; answers to
    /// shakes may come between them.
    Welcome {
        /// The version both sides speak from here on.
        version: u8,
        /// How many envelope frames follow: the latest of the user's earlier wins. At most `earlier_wins`.
        earlier_wins_shown: u8,
        /// How many envelopes the user has won in all; stops at 65,535.
        earlier_wins: u16,
        /// The shortest time between two shakes, in milliseconds.
        shake_interval_ms: u32,
        /// After this long without a frame the server closes, in milliseconds. Send a ping before.
        idle_timeout_ms: u32,
        /// The server's clock, in microseconds since 1970 UTC.
        server_time_us: u64,
    },
    /// The shake won. The envelope is the user's, durably, before this is sent.
    Envelope {
        /// The shake's number; 0 where `shown_again`.
        sequence: u32,
        /// What was won; it holds at least 1 cent.
        envelope: Envelope,
        /// True for an earlier win that follows a welcome.
        shown_again: bool,
    },
    /// The shake won nothing.
    None {
        /// The shake's number.
        sequence: u32,
        /// How long to wait before the next shake, in milliseconds.
        retry_after_ms: u32,
    },
    /// The user has as many envelopes as one user may have: no shake of theirs will win again.
    UserLimit {
        /// The shake's number.
        sequence: u32,
    },
    /// The user has as many envelopes of this sponsor as one user may have; another shake may win.
    SponsorLimit {
        /// The shake's number.
        sequence: u32,
        /// How long to wait before the next shake, in milliseconds.
        retry_after_ms: u32,
    },
    /// The server has too much to do; nothing was decided.
    Overloaded {
        /// The shake's number; 0 where a hello was put off.
        sequence: u32,
        /// How long to wait before trying again, in milliseconds.
        retry_after_ms: u32,
    },
    /// Answers a ping.
    Pong {
        /// The ping's nonce.
        nonce: u32,
        /// The server's clock, in microseconds since 1970 UTC.
        server_time_us: u64,
    },
    /// The server will close this connection; it is nobody's fault.
    GoAway {
        /// Why.
        reason: GoAwayReason,
        /// How long to wait before connecting again, in milliseconds.
        retry_after_ms: u32,
    },
    /// The client broke the protocol; the server closes after this.
    Error {
        /// What was wrong.
        code: ErrorCode,
        /// Kind byte of the offending frame; 0 where there is none.
        kind: u8,
    },
}

/// Why a server sends its client away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u16)]
pub enum GoAwayReason {
    /// Every place is taken.
    Full = 1,
    /// The server is stopping.
    Stopping = 2,
    /// No frame arrived for longer than the idle timeout.
    Idle = 3,
}

/// What a client did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u16)]
pub enum ErrorCode {
    /// The header's length is not the length of its kind.
    BadLength = 1,
    /// No such kind in this version.
    UnknownKind = 2,
    /// Reserved bits are set.
    ReservedBits = 3,
    /// A field is out of range.
    BadValue = 4,
    /// The frame may not come now: anything before hello, or a second hello.
    OutOfOrder = 5,
    /// The version ranges do not meet.
    Version = 6,
    /// No hello in time.
    LoginTimeout = 7,
}

impl GoAwayReason {
    const fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            1 => Self::Full,
            2 => Self::Stopping,
            3 => Self::Idle,
            _ => return None,
        })
    }
}

impl ErrorCode {
    const fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            1 => Self::BadLength,
            2 => Self::UnknownKind,
            3 => Self::ReservedBits,
            4 => Self::BadValue,
            5 => Self::OutOfOrder,
            6 => Self::Version,
            7 => Self::LoginTimeout,
            _ => return None,
        })
    }
}

/// The error frame that answers bytes which are no frame.
impl From<WireError> for ServerFrame {
    fn from(error: WireError) -> Self {
        let (code, kind) = match error {
            WireError::Length { kind, .. } => (ErrorCode::BadLength, kind),
            WireError::Kind { kind } => (ErrorCode::UnknownKind, kind),
            WireError::Reserved { kind } => (ErrorCode::ReservedBits, kind),
            WireError::Value { kind } => (ErrorCode::BadValue, kind),
        };
        Self::Error { code, kind }
    }
}

const fn length_of(kind: u8) -> Option<usize> {
    match kind {
        WELCOME => Some(24),
        ENVELOPE => Some(28),
        NONE | SPONSOR_LIMIT | OVERLOADED | GO_AWAY => Some(12),
        USER_LIMIT | ERROR => Some(8),
        PONG => Some(16),
        _ => None,
    }
}

impl ServerFrame {
    /// The kind byte of the frame's header.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Welcome { .. } => WELCOME,
            Self::Envelope { .. } => ENVELOPE,
            Self::None { .. } => NONE,
            Self::UserLimit { .. } => USER_LIMIT,
            Self::SponsorLimit { .. } => SPONSOR_LIMIT,
            Self::Overloaded { .. } => OVERLOADED,
            Self::Pong { .. } => PONG,
            Self::GoAway { .. } => GO_AWAY,
            Self::Error { .. } => ERROR,
        }
    }

    /// The frame's bytes.
    pub fn encode(&self) -> Encoded {
        let flags = if let Self::Envelope { shown_again: true, .. } = self { SHOWN_AGAIN } else { 0 };
        let encoded = Encoded::new(self.kind(), flags);
        match *self {
            Self::Welcome {
                version,
                earlier_wins_shown,
                earlier_wins,
                shake_interval_ms,
                idle_timeout_ms,
                server_time_us,
            } => encoded
                .put([version, earlier_wins_shown])
                .put(earlier_wins.to_le_bytes())
                .put(shake_interval_ms.to_le_bytes())
                .put(idle_timeout_ms.to_le_bytes())
                .put(server_time_us.to_le_bytes()),
            Self::Envelope { sequence, envelope, shown_again: _ } => encoded
                .put(sequence.to_le_bytes())
                .put(envelope.id.0.to_le_bytes())
                .put(envelope.amount.0.to_le_bytes())
                .put(envelope.sponsor.0.to_le_bytes()),
            Self::None { sequence, retry_after_ms }
            | Self::SponsorLimit { sequence, retry_after_ms }
            | Self::Overloaded { sequence, retry_after_ms } => {
                encoded.put(sequence.to_le_bytes()).put(retry_after_ms.to_le_bytes())
            }
            Self::UserLimit { sequence } => encoded.put(sequence.to_le_bytes()),
            Self::Pong { nonce, server_time_us } => encoded.put(nonce.to_le_bytes()).put(server_time_us.to_le_bytes()),
            Self::GoAway { reason, retry_after_ms } => {
                encoded.put((reason as u16).to_le_bytes()).put([0; 2]).put(retry_after_ms.to_le_bytes())
            }
            Self::Error { code, kind } => encoded.put((code as u16).to_le_bytes()).put([kind, 0]),
        }
        .finish()
    }

    /// The frame that `bytes` start with.
    pub fn decode(bytes: &[u8]) -> Result<Decoded<Self>, WireError> {
        let Some((kind, flags, length)) = codec::header(bytes, length_of)? else { return Ok(Decoded::Incomplete) };
        let value = || WireError::Value { kind };
        if flags & !(if kind == ENVELOPE { SHOWN_AGAIN } else { 0 }) != 0 {
            return Err(WireError::Reserved { kind });
        }
        let mut fields = Fields(&bytes[super::HEADER_BYTES..length]);
        let frame = match kind {
            WELCOME => Self::Welcome {
                version: fields.u8(),
                earlier_wins_shown: fields.u8(),
                earlier_wins: fields.u16(),
                shake_interval_ms: fields.u32(),
                idle_timeout_ms: fields.u32(),
                server_time_us: fields.u64(),
            },
            ENVELOPE => Self::Envelope {
                sequence: fields.u32(),
                envelope: Envelope {
                    id: EnvelopeId(fields.u64()),
                    amount: Cents(fields.u64()),
                    sponsor: SponsorId(fields.u32()),
                },
                shown_again: flags & SHOWN_AGAIN != 0,
            },
            NONE => Self::None { sequence: fields.u32(), retry_after_ms: fields.u32() },
            USER_LIMIT => Self::UserLimit { sequence: fields.u32() },
            SPONSOR_LIMIT => Self::SponsorLimit { sequence: fields.u32(), retry_after_ms: fields.u32() },
            OVERLOADED => Self::Overloaded { sequence: fields.u32(), retry_after_ms: fields.u32() },
            PONG => Self::Pong { nonce: fields.u32(), server_time_us: fields.u64() },
            GO_AWAY => {
                let (reason, reserved) = (fields.u16(), fields.u16());
                if reserved != 0 {
                    return Err(WireError::Reserved { kind });
                }
                Self::GoAway {
                    reason: GoAwayReason::from_code(reason).ok_or_else(value)?,
                    retry_after_ms: fields.u32(),
                }
            }
            ERROR => {
                let (code, offending, reserved) = (fields.u16(), fields.u8(), fields.u8());
                if reserved != 0 {
                    return Err(WireError::Reserved { kind });
                }
                Self::Error { code: ErrorCode::from_code(code).ok_or_else(value)?, kind: offending }
            }
            _ => return Err(WireError::Kind { kind }),
        };
        if frame.is_possible() { Ok(Decoded::Frame(frame, length)) } else { Err(value()) }
    }

    /// Whether the fields' values go together, as far as a frame alone can tell.
    const fn is_possible(&self) -> bool {
        match self {
            Self::Welcome { version, earlier_wins_shown, earlier_wins, .. } => {
                *version != 0 && *earlier_wins_shown as u16 <= *earlier_wins
            }
            Self::Envelope { sequence, envelope, shown_again } => {
                envelope.amount.0 != 0 && (!*shown_again || *sequence == 0)
            }
            _ => true,
        }
    }
}
