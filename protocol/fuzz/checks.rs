// What must hold for any bytes whatever. The fuzz targets and the smoke run of the ordinary tests share this file.

use hongbao_protocol::seed::{BLOCK_BYTES, Header, RECORDS_PER_BLOCK, RecordBlock, SeedBinding, encode_block};
use hongbao_protocol::wire::{ClientFrame, Decoded, Encoded, HEADER_BYTES, ServerFrame, WireError};
use hongbao_protocol::{CampaignId, ServerId, ShardId};

/// Reads `bytes` as a stream from a client.
pub(crate) fn wire_client(bytes: &[u8]) {
    check_stream(bytes, ClientFrame::decode, ClientFrame::encode);
}

/// Reads `bytes` as a stream from a server.
pub(crate) fn wire_server(bytes: &[u8]) {
    check_stream(bytes, ServerFrame::decode, ServerFrame::encode);
}

fn check_stream<F: PartialEq + std::fmt::Debug, const N: usize>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<Decoded<F>, WireError>,
    encode: impl Fn(&F) -> Encoded<N>,
) {
    let mut rest = bytes;
    loop {
        match decode(rest) {
            Ok(Decoded::Frame(frame, taken)) => {
                assert!((HEADER_BYTES..=N).contains(&taken) && taken <= rest.len());
                // Each frame has one encoding, so nothing in the bytes was passed over.
                assert_eq!(encode(&frame).as_bytes(), &rest[..taken]);
                // What stands behind a frame is not looked at, and what is missing of it is waited for.
                assert_eq!(decode(&rest[..taken]), Ok(Decoded::Frame(frame, taken)));
                for length in 0..taken {
                    assert_eq!(decode(&rest[..length]), Ok(Decoded::Incomplete));
                }
                rest = &rest[taken..];
            }
            Ok(Decoded::Incomplete) => {
                assert!(rest.len() < N, "a reader's buffer of the longest frame would be full for ever");
                return;
            }
            Err(error) => {
                if let WireError::Kind { .. } | WireError::Length { .. } = error {
                    assert_eq!(decode(&rest[..HEADER_BYTES]), Err(error), "known from the header alone");
                }
                let answer = ServerFrame::from(error);
                let encoded = answer.encode();
                let length = encoded.as_bytes().len();
                assert_eq!(ServerFrame::decode(encoded.as_bytes()), Ok(Decoded::Frame(answer, length)));
                return;
            }
        }
    }
}

/// Reads `bytes` as a seed file: as it is, and once more with the magics and checksums put right, which no mutation could guess.
pub(crate) fn seed(bytes: &[u8]) {
    let mut file: Vec<[u8; BLOCK_BYTES]> = bytes.chunks(BLOCK_BYTES).take(3).map(padded).collect();
    check_seed(&file);
    let Some((header, blocks)) = file.split_first_mut() else { return };
    header[0..8].copy_from_slice(b"HBSEED\r\n");
    let crc = crc32c::crc32c(&header[..BLOCK_BYTES - 4]);
    header[BLOCK_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    if let Ok(Header { binding, .. }) = Header::decode(header) {
        for block in blocks {
            block[0..4].copy_from_slice(b"HBSB");
            let mut covered = Vec::with_capacity(BLOCK_BYTES);
            covered.extend(binding.campaign.0.to_le_bytes());
            covered.extend(binding.server.0.to_le_bytes());
            covered.extend(binding.shard.0.to_le_bytes());
            covered.extend(&block[0..12]);
            covered.extend(&block[16..]);
            block[12..16].copy_from_slice(&crc32c::crc32c(&covered).to_le_bytes());
        }
    }
    check_seed(&file);
}

fn padded(chunk: &[u8]) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    block[..chunk.len()].copy_from_slice(chunk);
    block
}

fn check_seed(file: &[[u8; BLOCK_BYTES]]) {
    let Some((first, blocks)) = file.split_first() else { return };
    let nobody = SeedBinding { campaign: CampaignId(0), server: ServerId(0), shard: ShardId(0) };
    let header = Header::decode(first).ok();
    let binding = header.map_or(nobody, |header| header.binding);
    if let Some(header) = header {
        assert_eq!(header.encode(), *first, "each header has one encoding");
        assert!(header.count > 0 && u64::from(header.count) <= header.total.0);
        assert!(header.records_in(header.blocks() - 1) > 0 && header.records_in(header.blocks()) == 0);
    }
    for block in blocks {
        // The block's own claims, what the header asks for, and what no header can ask for.
        let claim = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        let asked = header.map_or(0, |header| header.records_in(claim(4)));
        for (number, expected) in
            [(claim(4), asked), (claim(4), claim(8) as usize), (0, 256), (u32::MAX, 1), (claim(4), usize::MAX)]
        {
            let Ok(records) = RecordBlock::decode(&binding, number, expected, block) else { continue };
            assert!(records.envelopes().len() == expected && expected <= RECORDS_PER_BLOCK);
            assert!(
                records.envelopes().all(|envelope| envelope.amount.0 > 0 && envelope.id.server() == binding.server)
            );
            let mut again = [0; BLOCK_BYTES];
            encode_block(&binding, number, records.envelopes().map(|one| (one.sponsor, one.amount)), &mut again);
            assert_eq!(again, *block, "each block has one encoding");
        }
    }
}
