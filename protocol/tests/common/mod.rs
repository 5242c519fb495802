//! What the tests share: the vectors, and frames and envelopes at random.

// Each test file uses a part of this.
#![allow(dead_code, unreachable_pub)]

use std::path::PathBuf;

use hongbao_protocol::seed::SeedBinding;
use hongbao_protocol::wire::{
    ClientFrame, ErrorCode, GIFT_RECIPIENTS_MAX, GiftClosed, GiftRefusal, GoAwayReason, Recipients, ServerFrame,
};
use hongbao_protocol::{
    CampaignId, Cents, Envelope, EnvelopeId, GiftId, Receipt, ServerId, ShardId, SponsorId, UserId,
};
use proptest::prelude::*;

fn vector_path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file)
}

/// The text of a vector file.
pub fn vectors(file: &str) -> String {
    std::fs::read_to_string(vector_path(file)).expect("the vectors are part of the source")
}

/// The bytes of a file beside the vectors.
pub fn vector_bytes(file: &str) -> Vec<u8> {
    std::fs::read(vector_path(file)).expect("the vectors are part of the source")
}

/// Reads hexadecimal text.
pub fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "two digits a byte: {text}");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits"))
        .collect()
}

/// Any good frame of a client.
pub fn client_frame() -> impl Strategy<Value = ClientFrame> {
    prop_oneof![
        (any::<u8>(), any::<u8>(), any::<u64>()).prop_map(|(a, b, user)| ClientFrame::Hello {
            version_min: a.min(b),
            version_max: a.max(b),
            user: UserId(user),
        }),
        any::<u32>().prop_map(|sequence| ClientFrame::Shake { sequence }),
        any::<u32>().prop_map(|nonce| ClientFrame::Ping { nonce }),
        (any::<u64>(), any::<u64>(), any::<u16>(), recipients()).prop_map(|(request, total, shares, recipients)| {
            ClientFrame::GiftSend { request, total: Cents(total), shares, recipients }
        }),
        any::<u64>().prop_map(|gift| ClientFrame::GiftOpen { gift: GiftId(gift) }),
        (any::<u32>(), any::<u64>())
            .prop_map(|(request, after)| ClientFrame::GiftList { request, after: GiftId(after) }),
    ]
}

fn recipients() -> impl Strategy<Value = Recipients> {
    proptest::collection::vec(any::<u64>(), 1..=GIFT_RECIPIENTS_MAX).prop_map(|users| {
        let users: Vec<_> = users.into_iter().map(UserId).collect();
        Recipients::new(&users).expect("as many as there may be")
    })
}

/// Any good frame about gifts of a server.
fn gift_frame() -> impl Strategy<Value = ServerFrame> {
    let refusal = proptest::sample::select(GiftRefusal::ALL.to_vec());
    let closed = proptest::sample::select(GiftClosed::ALL.to_vec());
    let gift = || any::<u64>().prop_map(GiftId);
    prop_oneof![
        (any::<u64>(), gift(), any::<u32>(), any::<bool>()).prop_map(|(request, gift, expires_in_s, again)| {
            ServerFrame::GiftSent { request, gift, expires_in_s, again }
        }),
        (any::<u64>(), refusal, any::<u32>()).prop_map(|(request, reason, retry_after_ms)| {
            ServerFrame::GiftRefused { request, reason, retry_after_ms }
        }),
        (gift(), any::<u64>(), any::<u32>(), any::<bool>()).prop_map(|(gift, sender, expires_in_s, listed)| {
            ServerFrame::GiftNotice { gift, sender: UserId(sender), expires_in_s, listed }
        }),
        (gift(), 1_u64.., any::<u64>(), 1_u16.., any::<u16>(), any::<bool>()).prop_map(
            |(gift, share, luckiest, shares, remaining, again)| ServerFrame::GiftOpened {
                gift,
                share: Cents(share),
                luckiest: Cents(luckiest.max(share)),
                shares,
                remaining: remaining % shares,
                again,
            }
        ),
        (gift(), closed, any::<u32>())
            .prop_map(|(gift, reason, retry_after_ms)| { ServerFrame::GiftClosed { gift, reason, retry_after_ms } }),
        (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<bool>()).prop_map(
            |(request, shown, pending, retry_after_ms, overloaded)| ServerFrame::GiftListed {
                request,
                shown: if overloaded { 0 } else { shown.min(pending) },
                pending: if overloaded { 0 } else { pending },
                retry_after_ms: if overloaded { retry_after_ms } else { 0 },
            }
        ),
    ]
}

fn envelope() -> impl Strategy<Value = Envelope> {
    (any::<u64>(), any::<u32>(), 1_u64..).prop_map(|(id, sponsor, amount)| Envelope {
        id: EnvelopeId(id),
        sponsor: SponsorId(sponsor),
        amount: Cents(amount),
    })
}

fn welcome() -> impl Strategy<Value = ServerFrame> {
    (1_u8.., any::<u8>(), any::<u16>(), any::<u32>(), any::<u32>(), any::<u64>()).prop_map(
        |(version, shown, wins, shake_interval_ms, idle_timeout_ms, server_time_us)| ServerFrame::Welcome {
            version,
            earlier_wins_shown: shown,
            earlier_wins: wins.max(shown.into()),
            shake_interval_ms,
            idle_timeout_ms,
            server_time_us,
        },
    )
}

/// Any good frame of a server.
pub fn server_frame() -> impl Strategy<Value = ServerFrame> {
    let code = proptest::sample::select(vec![
        ErrorCode::BadLength,
        ErrorCode::UnknownKind,
        ErrorCode::ReservedBits,
        ErrorCode::BadValue,
        ErrorCode::OutOfOrder,
        ErrorCode::Version,
        ErrorCode::LoginTimeout,
    ]);
    let reason = proptest::sample::select(vec![
        GoAwayReason::Full,
        GoAwayReason::Stopping,
        GoAwayReason::Idle,
        GoAwayReason::Replaced,
        GoAwayReason::Dismissed,
        GoAwayReason::Barred,
    ]);
    let waits = || (any::<u32>(), any::<u32>());
    prop_oneof![
        welcome(),
        (any::<u32>(), envelope(), any::<bool>(), any::<[u8; 16]>()).prop_map(
            |(sequence, envelope, shown_again, receipt)| ServerFrame::Envelope {
                sequence: if shown_again { 0 } else { sequence },
                envelope,
                shown_again,
                receipt: Receipt(receipt),
            }
        ),
        waits().prop_map(|(sequence, retry_after_ms)| ServerFrame::None { sequence, retry_after_ms }),
        any::<u32>().prop_map(|sequence| ServerFrame::UserLimit { sequence }),
        waits().prop_map(|(sequence, retry_after_ms)| ServerFrame::SponsorLimit { sequence, retry_after_ms }),
        waits().prop_map(|(sequence, retry_after_ms)| ServerFrame::Overloaded { sequence, retry_after_ms }),
        (any::<u32>(), any::<u64>()).prop_map(|(nonce, server_time_us)| ServerFrame::Pong { nonce, server_time_us }),
        (reason, any::<u32>()).prop_map(|(reason, retry_after_ms)| ServerFrame::GoAway { reason, retry_after_ms }),
        (1_u16.., any::<u64>(), 0..u64::MAX).prop_map(|(round, server_time_us, start_us)| ServerFrame::Round {
            round,
            server_time_us,
            start_us,
            end_us: start_us + 1,
        }),
        (code, any::<u8>()).prop_map(|(code, kind)| ServerFrame::Error { code, kind }),
        gift_frame(),
    ]
}

/// Any binding of a seed file.
pub fn binding() -> impl Strategy<Value = SeedBinding> {
    (any::<u64>(), any::<u16>(), any::<u16>()).prop_map(|(campaign, server, shard)| SeedBinding {
        campaign: CampaignId(campaign),
        server: ServerId(server),
        shard: ShardId(shard),
    })
}

/// The records of one block.
pub fn records() -> impl Strategy<Value = Vec<(SponsorId, Cents)>> {
    proptest::collection::vec(
        (any::<u32>(), 1_u64..).prop_map(|(sponsor, cents)| (SponsorId(sponsor), Cents(cents))),
        1..=255,
    )
}
