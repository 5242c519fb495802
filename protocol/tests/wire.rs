//! Frames: what goes in comes out, and nothing else ever does.

mod common;

use common::{client_frame, server_frame};
use hongbao_protocol::wire::{
    CLIENT_FRAME_BYTES_MAX, CLIENT_SHORT_FRAME_BYTES_MAX, ClientFrame, Decoded, GIFT_RECIPIENTS_MAX, HEADER_BYTES,
    SERVER_FRAME_BYTES_MAX, ServerFrame, WireError, negotiate,
};
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_client_frame_is_read_as_it_was_written(frame in client_frame(), behind: Vec<u8>) {
        let mut bytes = frame.encode().as_bytes().to_vec();
        let length = bytes.len();
        prop_assert!(length <= CLIENT_FRAME_BYTES_MAX);
        prop_assert_eq!((bytes[2], usize::from(u16::from_le_bytes([bytes[0], bytes[1]]))), (frame.kind(), length));
        let is_gift = matches!(frame, ClientFrame::GiftSend { .. });
        prop_assert!(is_gift || length <= CLIENT_SHORT_FRAME_BYTES_MAX);
        bytes.extend(behind);
        prop_assert_eq!(ClientFrame::decode(&bytes), Ok(Decoded::Frame(frame, length)));
    }

    #[test]
    fn a_server_frame_is_read_as_it_was_written(frame in server_frame(), behind: Vec<u8>) {
        let mut bytes = frame.encode().as_bytes().to_vec();
        let length = bytes.len();
        prop_assert!(length <= SERVER_FRAME_BYTES_MAX);
        prop_assert_eq!((bytes[2], usize::from(u16::from_le_bytes([bytes[0], bytes[1]]))), (frame.kind(), length));
        bytes.extend(behind);
        prop_assert_eq!(ServerFrame::decode(&bytes), Ok(Decoded::Frame(frame, length)));
    }

    #[test]
    fn an_unfinished_frame_is_waited_for(client in client_frame(), server in server_frame()) {
        for length in 0..client.encode().as_bytes().len() {
            prop_assert_eq!(ClientFrame::decode(&client.encode().as_bytes()[..length]), Ok(Decoded::Incomplete));
        }
        for length in 0..server.encode().as_bytes().len() {
            prop_assert_eq!(ServerFrame::decode(&server.encode().as_bytes()[..length]), Ok(Decoded::Incomplete));
        }
    }

    /// Frames glued together and cut anywhere are the same frames: the reader keeps at most one unfinished frame.
    #[test]
    fn a_stream_cut_anywhere_gives_the_same_frames(
        frames in proptest::collection::vec(client_frame(), 0..20),
        pieces in proptest::collection::vec(1_usize..400, 1..50),
    ) {
        let stream: Vec<u8> = frames.iter().flat_map(|frame| frame.encode().as_bytes().to_vec()).collect();
        let (mut kept, mut read, mut at) = (Vec::new(), Vec::new(), 0);
        for piece in pieces.into_iter().cycle() {
            if at == stream.len() {
                break;
            }
            let end = stream.len().min(at + piece);
            kept.extend(&stream[at..end]);
            at = end;
            while let Decoded::Frame(frame, taken) = ClientFrame::decode(&kept).expect("good frames") {
                read.push(frame);
                kept.drain(..taken);
            }
            prop_assert!(kept.len() < CLIENT_FRAME_BYTES_MAX);
        }
        prop_assert_eq!(read, frames);
        prop_assert!(kept.is_empty());
    }
}

/// All 2^32 headers would take long; all kinds with all lengths that fit a byte, and those around the powers of two, do not.
#[test]
fn nonsense_is_known_from_the_header_alone() {
    let lengths: Vec<u16> =
        (0..=512).chain((9..16).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1])).chain([u16::MAX]).collect();
    let (mut client_kinds, mut server_kinds) = (0, 0);
    for kind in 0..=u8::MAX {
        let (mut client, mut server) = (Vec::new(), Vec::new());
        for &length in &lengths {
            let [low, high] = length.to_le_bytes();
            let header = [low, high, kind, 0];
            match ClientFrame::decode(&header) {
                Ok(Decoded::Incomplete) => client.push(usize::from(length)),
                Err(WireError::Kind { kind: named }) => assert_eq!(named, kind),
                Err(WireError::Length { kind: named, length: claimed }) => assert_eq!((named, claimed), (kind, length)),
                other => panic!("{kind:#04x} of {length} bytes gave {other:?}"),
            }
            match ServerFrame::decode(&header) {
                Ok(Decoded::Incomplete) => server.push(usize::from(length)),
                Err(WireError::Kind { kind: named }) => assert_eq!(named, kind),
                Err(WireError::Length { kind: named, length: claimed }) => assert_eq!((named, claimed), (kind, length)),
                other => panic!("{kind:#04x} of {length} bytes gave {other:?}"),
            }
        }
        assert!(
            (client.len() <= 1 || kind == 0x10 && client.len() == GIFT_RECIPIENTS_MAX)
                && client.iter().all(|length| (HEADER_BYTES + 1..=CLIENT_FRAME_BYTES_MAX).contains(length))
        );
        assert!(
            server.len() <= 1
                && server.iter().all(|length| (HEADER_BYTES + 1..=SERVER_FRAME_BYTES_MAX).contains(length))
        );
        assert!(client.is_empty() || kind < 0x80, "clients send kinds below 0x80");
        assert!(server.is_empty() || kind > 0x80, "servers send kinds above 0x80");
        client_kinds += usize::from(!client.is_empty());
        server_kinds += server.len();
    }
    assert_eq!((client_kinds, server_kinds), (6, 16));
}

#[test]
fn the_promised_sizes_are_kept() {
    let length = |frame: ServerFrame| frame.encode().as_bytes().len();
    assert!(ClientFrame::Shake { sequence: 1 }.encode().as_bytes().len() <= 16);
    assert!(length(ServerFrame::None { sequence: 1, retry_after_ms: 1 }) <= 16);
    let id = hongbao_protocol::EnvelopeId(1);
    let (sponsor, amount) = (hongbao_protocol::SponsorId(1), hongbao_protocol::Cents(1));
    let (envelope, receipt) =
        (hongbao_protocol::Envelope { id, sponsor, amount }, hongbao_protocol::Receipt::default());
    assert!(length(ServerFrame::Envelope { sequence: 1, envelope, shown_again: false, receipt }) <= 48);
}

#[test]
fn versions_meet_or_do_not() {
    assert_eq!(negotiate(1, 1), Some(1));
    assert_eq!(negotiate(0, 255), Some(1));
    assert_eq!(negotiate(2, 3), None);
    assert_eq!(negotiate(0, 0), None);
}
