//! What a server sends.

use serde::{Deserialize, Serialize};

use super::codec::{self, Decoded, Encoded, Fields, WireError};
use super::{GiftClosed, GiftRefusal, SERVER_FRAME_BYTES_MAX};
use crate::{Cents, Envelope, EnvelopeId, GiftId, Receipt, SponsorId, UserId};

const WELCOME: u8 = 0x81;
const ENVELOPE: u8 = 0x82;
const NONE: u8 = 0x83;
const USER_LIMIT: u8 = 0x84;
const SPONSOR_LIMIT: u8 = 0x85;
const OVERLOADED: u8 = 0x86;
const PONG: u8 = 0x87;
const GO_AWAY: u8 = 0x88;
const ERROR: u8 = 0x89;
const ROUND: u8 = 0x8B;
const GIFT_SENT: u8 = 0x90;
const GIFT_REFUSED: u8 = 0x91;
const GIFT_NOTICE: u8 = 0x92;
const GIFT_OPENED: u8 = 0x93;
const GIFT_CLOSED: u8 = 0x94;
const GIFT_LISTED: u8 = 0x95;

/// Flag of an envelope frame: won earlier, shown again after a login. Of a gift sent or opened: this is the repeated answer to a
/// repeated request. Of a gift notice: it belongs to a list.
const AGAIN: u8 = 0x01;

/// A frame from a server. 0x8A is kept for campaign notices; of 0x90 to 0x9F those not in use are kept for gifts.
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
        /// Proof of the promise, the same each time the win is shown.
        receipt: Receipt,
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
    /// When the round that runs, or the next one, begins and ends. `round` 0: none is scheduled.
    Round {
        /// Its place in the schedule, from 1.
        round: u16,
        /// The server's clock, in microseconds since 1970 UTC.
        server_time_us: u64,
        /// Its begin, by that clock; 0 where there is no round.
        start_us: u64,
        /// Its end; 0 where there is no round.
        end_us: u64,
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
    /// The gift is sent, durably; its recipients are being told.
    GiftSent {
        /// The send's number.
        request: u64,
        /// Names the gift.
        gift: GiftId,
        /// In how many seconds what nobody opened goes back.
        expires_in_s: u32,
        /// True where this very request was answered before: no second gift was sent.
        again: bool,
    },
    /// The gift was not sent.
    GiftRefused {
        /// The send's number.
        request: u64,
        /// Why.
        reason: GiftRefusal,
        /// How long to wait before trying again, in milliseconds; 0 where that would not help.
        retry_after_ms: u32,
    },
    /// A gift waits for this user. May come more than once; carries no money and promises none.
    GiftNotice {
        /// Names the gift.
        gift: GiftId,
        /// Who sent it.
        sender: UserId,
        /// In how many seconds it is over.
        expires_in_s: u32,
        /// True where it belongs to a list, whose end is a `GiftListed`.
        listed: bool,
    },
    /// The user has a share of the gift, durably.
    GiftOpened {
        /// The gift that was opened.
        gift: GiftId,
        /// The user's share; at least 1 cent.
        #[serde(rename = "share_cents")]
        share: Cents,
        /// The largest share opened so far, this one included.
        #[serde(rename = "luckiest_cents")]
        luckiest: Cents,
        /// Shares of the gift.
        shares: u16,
        /// Shares that nobody has opened yet.
        remaining: u16,
        /// True where the user had opened it before: the same share, told again.
        again: bool,
    },
    /// The open brought no share.
    GiftClosed {
        /// The gift that was to be opened.
        gift: GiftId,
        /// Why.
        reason: GiftClosed,
        /// How long to wait before trying again, in milliseconds; 0 where that would not help.
        retry_after_ms: u32,
    },
    /// The end of a list of gifts: behind a login that found some, and behind every question for them.
    GiftListed {
        /// The question's number; 0 behind a login.
        request: u32,
        /// How many notices came before it.
        shown: u32,
        /// How many gifts wait for the user in all.
        pending: u32,
        /// Not 0 where the server has too much to do and listed nothing: how long to wait before asking again, in milliseconds.
        retry_after_ms: u32,
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
    /// The user has logged in on another connection, which is the one that counts now.
    Replaced = 4,
    /// An operator ended this connection.
    Dismissed = 5,
    /// An operator barred this user.
    Barred = 6,
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
            4 => Self::Replaced,
            5 => Self::Dismissed,
            6 => Self::Barred,
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

/// Whether a frame of this kind may be so long; `None` of no kind.
fn fits(kind: u8, length: usize) -> Option<bool> {
    Some(match kind {
        WELCOME | GIFT_SENT | GIFT_NOTICE => length == 24,
        ENVELOPE => length == 44,
        NONE | SPONSOR_LIMIT | OVERLOADED | GO_AWAY => length == 12,
        USER_LIMIT | ERROR => length == 8,
        PONG => length == 16,
        GIFT_REFUSED | GIFT_CLOSED | GIFT_LISTED => length == 20,
        GIFT_OPENED | ROUND => length == 32,
        _ => return None,
    })
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
            Self::Round { .. } => ROUND,
            Self::GoAway { .. } => GO_AWAY,
            Self::Error { .. } => ERROR,
            Self::GiftSent { .. } => GIFT_SENT,
            Self::GiftRefused { .. } => GIFT_REFUSED,
            Self::GiftNotice { .. } => GIFT_NOTICE,
            Self::GiftOpened { .. } => GIFT_OPENED,
            Self::GiftClosed { .. } => GIFT_CLOSED,
            Self::GiftListed { .. } => GIFT_LISTED,
        }
    }

    const fn flags(&self) -> u8 {
        match self {
            Self::Envelope { shown_again: true, .. }
            | Self::GiftSent { again: true, .. }
            | Self::GiftNotice { listed: true, .. }
            | Self::GiftOpened { again: true, .. } => AGAIN,
            _ => 0,
        }
    }

    /// The frame's bytes.
    pub fn encode(&self) -> Encoded<SERVER_FRAME_BYTES_MAX> {
        let encoded = Encoded::new(self.kind(), self.flags());
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
            Self::Envelope { sequence, envelope, shown_again: _, receipt } => encoded
                .put(sequence.to_le_bytes())
                .put(envelope.id.0.to_le_bytes())
                .put(envelope.amount.0.to_le_bytes())
                .put(envelope.sponsor.0.to_le_bytes())
                .put(receipt.0),
            Self::None { sequence, retry_after_ms }
            | Self::SponsorLimit { sequence, retry_after_ms }
            | Self::Overloaded { sequence, retry_after_ms } => {
                encoded.put(sequence.to_le_bytes()).put(retry_after_ms.to_le_bytes())
            }
            Self::UserLimit { sequence } => encoded.put(sequence.to_le_bytes()),
            Self::Pong { nonce, server_time_us } => encoded.put(nonce.to_le_bytes()).put(server_time_us.to_le_bytes()),
            Self::Round { round, server_time_us, start_us, end_us } => encoded
                .put(round.to_le_bytes())
                .put([0; 2])
                .put(server_time_us.to_le_bytes())
                .put(start_us.to_le_bytes())
                .put(end_us.to_le_bytes()),
            Self::GoAway { reason, retry_after_ms } => {
                encoded.put((reason as u16).to_le_bytes()).put([0; 2]).put(retry_after_ms.to_le_bytes())
            }
            Self::Error { code, kind } => encoded.put((code as u16).to_le_bytes()).put([kind, 0]),
            Self::GiftSent { request, gift, expires_in_s, again: _ } => {
                encoded.put(request.to_le_bytes()).put(gift.0.to_le_bytes()).put(expires_in_s.to_le_bytes())
            }
            Self::GiftRefused { request, reason, retry_after_ms } => encoded
                .put(request.to_le_bytes())
                .put((reason as u16).to_le_bytes())
                .put([0; 2])
                .put(retry_after_ms.to_le_bytes()),
            Self::GiftNotice { gift, sender, expires_in_s, listed: _ } => {
                encoded.put(gift.0.to_le_bytes()).put(sender.0.to_le_bytes()).put(expires_in_s.to_le_bytes())
            }
            Self::GiftOpened { gift, share, luckiest, shares, remaining, again: _ } => encoded
                .put(gift.0.to_le_bytes())
                .put(share.0.to_le_bytes())
                .put(luckiest.0.to_le_bytes())
                .put(shares.to_le_bytes())
                .put(remaining.to_le_bytes()),
            Self::GiftClosed { gift, reason, retry_after_ms } => encoded
                .put(gift.0.to_le_bytes())
                .put((reason as u16).to_le_bytes())
                .put([0; 2])
                .put(retry_after_ms.to_le_bytes()),
            Self::GiftListed { request, shown, pending, retry_after_ms } => encoded
                .put(request.to_le_bytes())
                .put(shown.to_le_bytes())
                .put(pending.to_le_bytes())
                .put(retry_after_ms.to_le_bytes()),
        }
        .finish()
    }

    /// The frame that `bytes` start with.
    pub fn decode(bytes: &[u8]) -> Result<Decoded<Self>, WireError> {
        let Some((kind, flags, length)) = codec::header(bytes, fits)? else { return Ok(Decoded::Incomplete) };
        let value = || WireError::Value { kind };
        let known_flags = if matches!(kind, ENVELOPE | GIFT_SENT | GIFT_NOTICE | GIFT_OPENED) { AGAIN } else { 0 };
        if flags & !known_flags != 0 {
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
                shown_again: flags & AGAIN != 0,
                receipt: Receipt(fields.take()),
            },
            NONE => Self::None { sequence: fields.u32(), retry_after_ms: fields.u32() },
            USER_LIMIT => Self::UserLimit { sequence: fields.u32() },
            SPONSOR_LIMIT => Self::SponsorLimit { sequence: fields.u32(), retry_after_ms: fields.u32() },
            OVERLOADED => Self::Overloaded { sequence: fields.u32(), retry_after_ms: fields.u32() },
            PONG => Self::Pong { nonce: fields.u32(), server_time_us: fields.u64() },
            ROUND => {
                let (round, reserved) = (fields.u16(), fields.u16());
                if reserved != 0 {
                    return Err(WireError::Reserved { kind });
                }
                let (server_time_us, start_us, end_us) = (fields.u64(), fields.u64(), fields.u64());
                Self::Round { round, server_time_us, start_us, end_us }
            }
            GO_AWAY => {
                Self::GoAway { reason: code(&mut fields, kind, GoAwayReason::from_code)?, retry_after_ms: fields.u32() }
            }
            ERROR => {
                let (code, offending, reserved) = (fields.u16(), fields.u8(), fields.u8());
                if reserved != 0 {
                    return Err(WireError::Reserved { kind });
                }
                Self::Error { code: ErrorCode::from_code(code).ok_or_else(value)?, kind: offending }
            }
            GIFT_SENT..=GIFT_LISTED => Self::gift(kind, flags & AGAIN != 0, fields)?,
            _ => return Err(WireError::Kind { kind }),
        };
        if frame.is_possible() { Ok(Decoded::Frame(frame, length)) } else { Err(value()) }
    }

    /// A frame about gifts.
    fn gift(kind: u8, again: bool, mut fields: Fields<'_>) -> Result<Self, WireError> {
        Ok(match kind {
            GIFT_SENT => {
                Self::GiftSent { request: fields.u64(), gift: GiftId(fields.u64()), expires_in_s: fields.u32(), again }
            }
            GIFT_REFUSED => Self::GiftRefused {
                request: fields.u64(),
                reason: code(&mut fields, kind, GiftRefusal::from_code)?,
                retry_after_ms: fields.u32(),
            },
            GIFT_NOTICE => Self::GiftNotice {
                gift: GiftId(fields.u64()),
                sender: UserId(fields.u64()),
                expires_in_s: fields.u32(),
                listed: again,
            },
            GIFT_OPENED => Self::GiftOpened {
                gift: GiftId(fields.u64()),
                share: Cents(fields.u64()),
                luckiest: Cents(fields.u64()),
                shares: fields.u16(),
                remaining: fields.u16(),
                again,
            },
            GIFT_CLOSED => Self::GiftClosed {
                gift: GiftId(fields.u64()),
                reason: code(&mut fields, kind, GiftClosed::from_code)?,
                retry_after_ms: fields.u32(),
            },
            GIFT_LISTED => Self::GiftListed {
                request: fields.u32(),
                shown: fields.u32(),
                pending: fields.u32(),
                retry_after_ms: fields.u32(),
            },
            _ => return Err(WireError::Kind { kind }),
        })
    }

    /// Whether the fields' values go together, as far as a frame alone can tell.
    const fn is_possible(&self) -> bool {
        match self {
            Self::Welcome { version, earlier_wins_shown, earlier_wins, .. } => {
                *version != 0 && *earlier_wins_shown as u16 <= *earlier_wins
            }
            Self::Envelope { sequence, envelope, shown_again, .. } => {
                envelope.amount.0 != 0 && (!*shown_again || *sequence == 0)
            }
            Self::Round { round, start_us, end_us, .. } => {
                (*round == 0 && *start_us == 0 && *end_us == 0) || (*round != 0 && *start_us < *end_us)
            }
            Self::GiftOpened { share, luckiest, shares, remaining, .. } => {
                share.0 != 0 && luckiest.0 >= share.0 && *remaining < *shares
            }
            Self::GiftListed { shown, pending, retry_after_ms, .. } => {
                *shown <= *pending && (*retry_after_ms == 0 || *pending == 0)
            }
            _ => true,
        }
    }
}

/// A code of two bytes and the two reserved bytes behind it.
fn code<C>(fields: &mut Fields<'_>, kind: u8, from_code: impl FnOnce(u16) -> Option<C>) -> Result<C, WireError> {
    let (code, reserved) = (fields.u16(), fields.u16());
    if reserved != 0 {
        return Err(WireError::Reserved { kind });
    }
    from_code(code).ok_or(WireError::Value { kind })
}
