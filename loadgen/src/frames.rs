//! Bytes in, frames out. A frame that arrives in pieces waits in a small stash until it is whole.

use hongbao_protocol::wire::{Decoded, SERVER_FRAME_BYTES_MAX, ServerFrame, WireError};

/// The beginning of a frame whose rest has not arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stash {
    bytes: [u8; SERVER_FRAME_BYTES_MAX],
    length: u8,
}

/// Hands every whole frame of `stash` and then `bytes` to `each`, which says whether to go on. Gives back what is left over.
pub fn decode(
    stash: Option<Stash>,
    mut bytes: &[u8],
    mut each: impl FnMut(ServerFrame) -> bool,
) -> Result<Option<Stash>, WireError> {
    if let Some(mut stash) = stash {
        let begun = usize::from(stash.length);
        let more = bytes.len().min(SERVER_FRAME_BYTES_MAX - begun);
        stash.bytes[begun..begun + more].copy_from_slice(&bytes[..more]);
        stash.length += more as u8;
        match ServerFrame::decode(&stash.bytes[..begun + more])? {
            // A stash is never a whole frame, so the frame took at least one byte of the new ones.
            Decoded::Frame(frame, length) => {
                bytes = &bytes[length - begun..];
                if !each(frame) {
                    return Ok(None);
                }
            }
            Decoded::Incomplete => return Ok(Some(stash)),
        }
    }
    loop {
        match ServerFrame::decode(bytes)? {
            Decoded::Frame(frame, length) => {
                bytes = &bytes[length..];
                if !each(frame) {
                    return Ok(None);
                }
            }
            Decoded::Incomplete if bytes.is_empty() => return Ok(None),
            Decoded::Incomplete => {
                let mut stash = Stash { bytes: [0; SERVER_FRAME_BYTES_MAX], length: bytes.len() as u8 };
                stash.bytes[..bytes.len()].copy_from_slice(bytes);
                return Ok(Some(stash));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hongbao_protocol::{Cents, Envelope, EnvelopeId, Receipt, SponsorId};
    use proptest::prelude::*;

    use super::*;

    fn frames() -> Vec<ServerFrame> {
        let envelope = Envelope { id: EnvelopeId(7), sponsor: SponsorId(3), amount: Cents(100) };
        let receipt = Receipt([9; 16]);
        (0..40)
            .map(|sequence| match sequence % 4 {
                0 => ServerFrame::None { sequence, retry_after_ms: 5_000 },
                1 => ServerFrame::Envelope { sequence, envelope, shown_again: false, receipt },
                2 => ServerFrame::UserLimit { sequence },
                _ => ServerFrame::Pong { nonce: sequence, server_time_us: 1 },
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_stream_cut_anywhere_gives_the_same_frames(cuts in prop::collection::vec(1usize..60, 1..400)) {
            let stream: Vec<u8> = frames().iter().flat_map(|frame| frame.encode().as_bytes().to_vec()).collect();
            let (mut seen, mut stash, mut at) = (Vec::new(), None, 0);
            for cut in cuts.iter().cycle() {
                let end = (at + cut).min(stream.len());
                stash = decode(stash, &stream[at..end], |frame| { seen.push(frame); true }).unwrap();
                at = end;
                if at == stream.len() { break }
            }
            prop_assert_eq!(seen, frames());
            prop_assert_eq!(stash, None);
        }

        #[test]
        fn arbitrary_bytes_never_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..8)) {
            let mut stash = None;
            for piece in pieces {
                match decode(stash, &piece, |_| true) {
                    Ok(left) => stash = left,
                    Err(_) => break,
                }
            }
        }
    }
}
