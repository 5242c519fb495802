//! What the journal says: records of a kind and a length.
//!
//! | at | bytes | every record |
//! |---|---|---|
//! | 0 | 1 | kind |
//! | 1 | 1 | zero |
//! | 2 | 2 | length in bytes, these four included; a multiple of 8 |
//!
//! | at | bytes | a win (kind 2, 40 bytes) | | at | bytes | the binding (kind 1, 40 bytes) |
//! |---|---|---|---|---|---|---|
//! | 4 | 4 | sponsor | | 4 | 2 | server |
//! | 8 | 8 | envelope | | 6 | 2 | zero |
//! | 16 | 8 | user | | 8 | 8 | campaign |
//! | 24 | 8 | amount in cents | | 16 | 16 | key that shares of gifts are drawn by, random |
//! | 32 | 8 | time | | 32 | 8 | time |
//!
//! Kinds 3 to 5 are those of gifts (`gift.rs`).
//!
//! Times are microseconds since 1970 and never zero. A record's sequence number is not stored: the block's header holds that of the first.

use hongbao_protocol::{CampaignId, Cents, Envelope, EnvelopeId, ServerId, SponsorId, UserId};
use thiserror::Error;

use super::gift::{self, GiftOpenedRecord, GiftRefundedRecord, GiftSentRecord};

const KIND_BINDING: u8 = 1;
const KIND_WIN: u8 = 2;

const BINDING_BYTES: usize = 40;
/// Bytes of a win in the journal.
pub const WIN_BYTES: usize = 40;

/// Whom a journal belongs to: its first record, and never a second one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The giveaway.
    pub campaign: CampaignId,
    /// The daemon of it.
    pub server: ServerId,
    /// What the shares of its gifts are drawn by: known to nobody but this journal.
    pub gift_key: [u8; 16],
    /// When the journal was begun, in microseconds since 1970.
    pub time_us: u64,
}

/// An envelope became a user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WinRecord {
    /// Whose.
    pub user: UserId,
    /// What.
    pub envelope: Envelope,
    /// When it was decided, in microseconds since 1970.
    pub time_us: u64,
}

/// One record.
#[expect(
    clippy::large_enum_variant,
    reason = "a record lives on the stack while it is handled; a box would be an allocation"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// Whom the journal belongs to.
    Binding(Binding),
    /// An envelope became a user's.
    Win(WinRecord),
    /// A gift was sent.
    GiftSent(GiftSentRecord),
    /// A share of a gift became a user's.
    GiftOpened(GiftOpenedRecord),
    /// What was left of a gift went back.
    GiftRefunded(GiftRefundedRecord),
}

/// A record that cannot be read, in a block whose checksum is right: written by a later version, or by a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Not known.
    #[error("a record of kind {0}, which this program does not know: it was written by a later version")]
    Kind(u8),
    /// Too long or too short.
    #[error("a record of kind {kind} that says it is {bytes} bytes long")]
    Length {
        /// The record's.
        kind: u8,
        /// As it says.
        bytes: usize,
    },
    /// A field holds what it cannot.
    #[error("a record with {0}")]
    Field(&'static str),
}

impl Record {
    /// Bytes it takes.
    pub const fn bytes(&self) -> usize {
        match self {
            Self::Binding(_) => BINDING_BYTES,
            Self::Win(_) => WIN_BYTES,
            Self::GiftSent(sent) => sent.bytes(),
            Self::GiftOpened(_) => GiftOpenedRecord::BYTES,
            Self::GiftRefunded(_) => GiftRefundedRecord::BYTES,
        }
    }

    /// Writes it to the start of `place`, which is large enough; returns the bytes taken.
    pub fn encode(&self, place: &mut [u8]) -> usize {
        let length = self.bytes();
        let place = &mut place[..length];
        place[1] = 0;
        place[2..4].copy_from_slice(&(length as u16).to_le_bytes());
        let time_us = match self {
            Self::Binding(binding) => {
                place[0] = KIND_BINDING;
                place[4..6].copy_from_slice(&binding.server.0.to_le_bytes());
                place[6..8].fill(0);
                place[8..16].copy_from_slice(&binding.campaign.0.to_le_bytes());
                place[16..32].copy_from_slice(&binding.gift_key);
                binding.time_us
            }
            Self::Win(win) => {
                place[0] = KIND_WIN;
                place[4..8].copy_from_slice(&win.envelope.sponsor.0.to_le_bytes());
                place[8..16].copy_from_slice(&win.envelope.id.0.to_le_bytes());
                place[16..24].copy_from_slice(&win.user.0.to_le_bytes());
                place[24..32].copy_from_slice(&win.envelope.amount.0.to_le_bytes());
                win.time_us
            }
            Self::GiftSent(sent) => {
                place[0] = gift::KIND_SENT;
                sent.encode(place);
                sent.time_us
            }
            Self::GiftOpened(opened) => {
                place[0] = gift::KIND_OPENED;
                opened.encode(place);
                opened.time_us
            }
            Self::GiftRefunded(refunded) => {
                place[0] = gift::KIND_REFUNDED;
                refunded.encode(place);
                refunded.time_us
            }
        };
        place[length - 8..].copy_from_slice(&time_us.max(1).to_le_bytes());
        length
    }

    /// Reads the record at the start of `bytes`, which is not empty.
    fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let kind = bytes[0];
        let stated = bytes.get(2..4).map_or(0, |field| u16::from_le_bytes([field[0], field[1]])) as usize;
        let fits = match kind {
            KIND_BINDING => stated == BINDING_BYTES,
            KIND_WIN => stated == WIN_BYTES,
            _ => gift::fits(kind, stated).ok_or(RecordError::Kind(kind))?,
        };
        let Some(bytes) = bytes.get(..stated).filter(|_| fits) else {
            return Err(RecordError::Length { kind, bytes: stated });
        };
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let time_us = u64_at(stated - 8);
        if bytes[1] != 0 {
            return Err(RecordError::Field("bits set that must be zero"));
        }
        if time_us == 0 {
            return Err(RecordError::Field("no time"));
        }
        match kind {
            KIND_WIN => {
                let envelope =
                    Envelope { id: EnvelopeId(u64_at(8)), sponsor: SponsorId(u32_at(4)), amount: Cents(u64_at(24)) };
                return Ok(Self::Win(WinRecord { user: UserId(u64_at(16)), envelope, time_us }));
            }
            gift::KIND_SENT => return GiftSentRecord::decode(bytes, time_us).map(Self::GiftSent),
            gift::KIND_OPENED => return GiftOpenedRecord::decode(bytes, time_us).map(Self::GiftOpened),
            gift::KIND_REFUNDED => return GiftRefundedRecord::decode(bytes, time_us).map(Self::GiftRefunded),
            _ => {}
        }
        if bytes[6..8] != [0; 2] {
            return Err(RecordError::Field("bits set that must be zero"));
        }
        let server = ServerId(u16::from_le_bytes([bytes[4], bytes[5]]));
        let gift_key = bytes[16..32].try_into().expect("16 bytes");
        Ok(Self::Binding(Binding { campaign: CampaignId(u64_at(8)), server, gift_key, time_us }))
    }
}

/// The records of a block's payload, in order; ends after the first error.
#[derive(Clone, Debug)]
pub struct RecordReader<'a> {
    rest: &'a [u8],
}

impl<'a> RecordReader<'a> {
    /// Reads this payload.
    pub fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }
}

impl Iterator for RecordReader<'_> {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = Record::decode(self.rest);
        self.rest = record.as_ref().map_or(&[], |record| &self.rest[record.bytes()..]);
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use hongbao_protocol::GiftId;
    use hongbao_protocol::wire::Recipients;
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::gifts::Order;

    proptest! {
        #[test]
        fn a_win_reads_back_as_it_was_written(user: u64, id: u64, sponsor: u32, amount: u64, time_us in 1..u64::MAX) {
            let envelope = Envelope { id: EnvelopeId(id), sponsor: SponsorId(sponsor), amount: Cents(amount) };
            let record = Record::Win(WinRecord { user: UserId(user), envelope, time_us });
            let mut place = [0xFF; WIN_BYTES];
            prop_assert_eq!(record.encode(&mut place), WIN_BYTES);
            prop_assert_eq!(RecordReader::new(&place).collect::<Vec<_>>(), [Ok(record)]);
        }

        #[test]
        fn records_of_gifts_read_back_as_they_were_written(
            numbers: [u64; 6],
            shares: u16,
            house_pays: bool,
            users in prop::collection::vec(any::<u64>(), 1..=32),
            time_us in 1..u64::MAX,
        ) {
            let [gift, sender, request, total, expires_us, amount] = numbers;
            let gift = GiftId(gift);
            let users: Vec<_> = users.into_iter().map(UserId).collect();
            let recipients = Recipients::new(&users).expect("as many as there may be");
            let order = Order { sender: UserId(sender), request, total: Cents(total), shares, recipients };
            let sent = GiftSentRecord { gift, order, house_pays, expires_us, time_us };
            let opened = GiftOpenedRecord { gift, user: UserId(sender), share: Cents(amount), time_us };
            let refunded = GiftRefundedRecord { gift, amount: Cents(amount), time_us };
            let records = [Record::GiftSent(sent), Record::GiftOpened(opened), Record::GiftRefunded(refunded)];
            let mut bytes = [0xFF; 512];
            let length = records.iter().fold(0, |at, record| at + record.encode(&mut bytes[at..]));
            prop_assert!(length.is_multiple_of(8) && records[0].bytes() <= gift::GIFT_SENT_BYTES_MAX);
            let read: Result<Vec<_>, _> = RecordReader::new(&bytes[..length]).collect();
            prop_assert_eq!(read, Ok(records.to_vec()));
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for record in RecordReader::new(&bytes) {
                let _ = record;
            }
        }
    }

    #[test]
    fn a_record_of_a_later_version_is_named_and_ends_the_reading() {
        let mut payload = [0; 64];
        payload[0] = 9;
        payload[2] = 64;
        assert_eq!(RecordReader::new(&payload).collect::<Vec<_>>(), [Err(RecordError::Kind(9))]);
    }

    #[test]
    fn a_record_longer_than_its_block_is_refused() {
        let binding = Binding { campaign: CampaignId(1), server: ServerId(2), gift_key: [7; 16], time_us: 3 };
        let mut place = [0; BINDING_BYTES];
        Record::Binding(binding).encode(&mut place);
        assert_eq!(RecordReader::new(&place).collect::<Vec<_>>(), [Ok(Record::Binding(binding))]);
        let cut: Vec<_> = RecordReader::new(&place[..20]).collect();
        assert_eq!(cut, [Err(RecordError::Length { kind: 1, bytes: 40 })]);
    }
}
