//! The Wireshark dissector, run by tshark over the golden vectors: what a person sees of a capture is what the specification says.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The good frames of one side, as bytes, with what they mean.
fn vectors(side: &str) -> Vec<(Vec<u8>, Value)> {
    let text = fs::read_to_string(repository("protocol/vectors").join(side)).expect("the vectors");
    let vectors: Value = serde_json::from_str(&text).expect("JSON");
    let bytes = |hex: &str| {
        let digits: Vec<char> = hex.chars().collect();
        digits.chunks(2).map(|two| u8::from_str_radix(&String::from_iter(two), 16).expect("hex")).collect()
    };
    let good = vectors["good"].as_array().expect("a list");
    good.iter().map(|vector| (bytes(vector["hex"].as_str().expect("hex")), vector["value"].clone())).collect()
}

/// A capture file with one direction of one connection: each payload a segment of its own, as `text2pcap` would make it.
fn capture(from_server: bool, payloads: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    const RAW_IP: u32 = 101;
    let mut file = Vec::new();
    for number in [0xA1B2_C3D4_u32, 0x0004_0002, 0, 0, 65_535, RAW_IP] {
        file.extend(number.to_le_bytes());
    }
    let mut sequence = 1_u32;
    for payload in payloads {
        let (client, server) = (40_000_u16, 8866_u16);
        let (from, to) = if from_server { (server, client) } else { (client, server) };
        let length = 40 + payload.len();
        let mut packet = vec![0x45, 0];
        packet.extend((length as u16).to_be_bytes());
        packet.extend([0, 0, 0, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
        packet.extend(from.to_be_bytes());
        packet.extend(to.to_be_bytes());
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 1, 0x50, 0x18, 0xFF, 0xFF, 0, 0, 0, 0]);
        packet.extend(&payload);
        for number in [0_u32, 0, length as u32, length as u32] {
            file.extend(number.to_le_bytes());
        }
        file.extend(packet);
        sequence += payload.len() as u32;
    }
    file
}

/// What tshark shows of it, in full.
fn dissected(capture: &[u8]) -> Option<String> {
    let script = format!("lua_script:{}", repository("deploy/wireshark/hongbao.lua").display());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("capture.pcap");
    fs::File::create(&file).and_then(|mut file| file.write_all(capture)).expect("a folder of our own");
    let tshark = Command::new("tshark")
        .args(["-X", &script, "-V", "-O", "hongbao", "-r"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output();
    let Ok(output) = tshark else {
        println!("skipped: tshark is missing (apt install tshark)");
        return None;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("Lua"), "{said}");
    Some(String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn every_frame_and_field_of_the_golden_vectors_is_shown_as_it_is() {
    for (side, from_server) in [("client.json", false), ("server.json", true)] {
        let vectors = vectors(side);
        let Some(shown) = dissected(&capture(from_server, vectors.iter().map(|(bytes, _)| bytes.clone()))) else {
            return;
        };
        let frames: Vec<&str> = shown.split("hongbao: ").skip(1).collect();
        assert_eq!(frames.len(), vectors.len(), "{shown}");
        assert!(!shown.contains("no frame of version 1"), "{shown}");
        for (frame, (_, value)) in frames.iter().zip(&vectors) {
            let name = value["frame"].as_str().expect("a name").replace('_', " ");
            assert!(frame.starts_with(&name), "{value} is shown as {frame}");
            for (field, wanted) in value.as_object().expect("an object").iter().filter(|(_, value)| value.is_u64()) {
                // The header has a kind already.
                let field = if name == "error" && field == "kind" { "wrong_kind" } else { field };
                let line = format!("{field}: {wanted}");
                let told =
                    frame.lines().any(|shown| shown.trim() == line || shown.trim().starts_with(&format!("{line} ")));
                assert!(told, "{line} is not in {frame}");
            }
        }
    }
}

#[test]
fn a_frame_that_is_none_is_marked_and_a_stream_cut_anywhere_is_put_together() {
    let Some(shown) = dissected(&capture(false, [vec![8, 0, 0x7F, 0, 1, 2, 3, 4]].into_iter())) else { return };
    assert!(shown.contains("no frame of version 1"), "{shown}");
    let stream: Vec<u8> = vectors("client.json").into_iter().flat_map(|(bytes, _)| bytes).collect();
    let shown = dissected(&capture(false, stream.chunks(7).map(<[u8]>::to_vec))).expect("tshark was there");
    assert_eq!(shown.matches("hongbao: ").count(), vectors("client.json").len(), "{shown}");
}
