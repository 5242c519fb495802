//! What a shake costs on the wire of the server: Ethernet, IPv4, TCP with timestamps, and the frames of `protocol/SPEC.md`.

use hongbao_protocol::wire::{ClientFrame, ServerFrame};
use hongbao_protocol::{Cents, Envelope, EnvelopeId, Receipt, SponsorId};
use serde::Serialize;

/// Around each packet: preamble and start 8, addresses and type 14, checksum 4, gap to the next frame 12 (IEEE 802.3).
const ETHERNET_BYTES: u64 = 8 + 14 + 4 + 12;

/// Payload of the shortest Ethernet frame; a shorter one is padded.
const ETHERNET_PAYLOAD_MIN: u64 = 46;

/// IPv4 without options (RFC 791).
const IP_BYTES: u64 = 20;

/// TCP (RFC 9293) with the timestamps that Linux and phones agree on: 20, and 12 of option with its padding (RFC 7323).
const TCP_BYTES: u64 = 20 + 12;

/// A packet with so many bytes of ours in it.
const fn packet_bytes(payload: u64) -> u64 {
    let packet = IP_BYTES + TCP_BYTES + payload;
    ETHERNET_BYTES + if packet < ETHERNET_PAYLOAD_MIN { ETHERNET_PAYLOAD_MIN } else { packet }
}

/// One direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Flow {
    /// Packets a second.
    pub(super) packets_per_s: f64,
    /// Bits a second on the wire.
    pub(super) bits_per_s: f64,
}

/// Both directions, as the server sees them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Traffic {
    /// Shakes, and the acknowledgements of their answers.
    pub(super) inbound: Flow,
    /// Answers, which acknowledge their shakes: they leave sooner than a delayed acknowledgement would.
    pub(super) outbound: Flow,
}

/// What one shake costs, in bytes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ShakeBytes {
    /// The shake and the acknowledgement of its answer.
    pub(super) inbound: u64,
    /// An answer that won nothing.
    pub(super) none: u64,
    /// An envelope.
    pub(super) envelope: u64,
}

impl ShakeBytes {
    /// By the frames of the protocol.
    pub(super) fn of_the_protocol() -> Self {
        let envelope = Envelope { id: EnvelopeId(1), sponsor: SponsorId(1), amount: Cents(1) };
        let shake = ClientFrame::Shake { sequence: 1 }.encode().as_bytes().len() as u64;
        let none = ServerFrame::None { sequence: 1, retry_after_ms: 1 }.encode().as_bytes().len() as u64;
        let won = ServerFrame::Envelope { sequence: 1, envelope, shown_again: false, receipt: Receipt::default() }
            .encode()
            .as_bytes()
            .len() as u64;
        Self { inbound: packet_bytes(shake) + packet_bytes(0), none: packet_bytes(none), envelope: packet_bytes(won) }
    }

    /// The traffic of so many shakes and wins a second.
    pub(super) fn at(&self, qps: f64, envelopes_per_s: f64) -> Traffic {
        let wins = envelopes_per_s.min(qps);
        let bytes_out = (qps - wins) * self.none as f64 + wins * self.envelope as f64;
        Traffic {
            inbound: Flow { packets_per_s: 2.0 * qps, bits_per_s: 8.0 * qps * self.inbound as f64 },
            outbound: Flow { packets_per_s: qps, bits_per_s: 8.0 * bytes_out },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shake_costs_what_its_frames_and_their_headers_are_long() {
        let bytes = ShakeBytes::of_the_protocol();
        // 38 of Ethernet, 20 of IPv4, 32 of TCP around 8, 0, 12 and 44 bytes.
        assert_eq!(bytes, ShakeBytes { inbound: (90 + 8) + 90, none: 90 + 12, envelope: 90 + 44 });
    }

    #[test]
    fn the_packets_are_those_that_the_prototype_counted_at_60_000_shakes_a_second() {
        let traffic = ShakeBytes::of_the_protocol().at(60_000.0, 200.0);
        let share = |flow: Flow, counted: f64| (flow.packets_per_s / counted - 1.0).abs();
        assert!(share(traffic.inbound, 119_257.0) < 0.01);
        // It sent a quarter more packets than answers: not every acknowledgement found one to go with.
        assert!(share(traffic.outbound, 74_735.0) < 0.2);
    }

    #[test]
    fn more_wins_than_shakes_there_cannot_be() {
        let bytes = ShakeBytes::of_the_protocol();
        assert_eq!(bytes.at(10.0, 50.0), bytes.at(10.0, 10.0));
    }
}
