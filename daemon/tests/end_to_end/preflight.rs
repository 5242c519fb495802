//! What the daemon says of its host, before it starts and instead of starting.

use std::process::Command;

use crate::client::Client;
use crate::daemon::{BINARY, Campaign, Daemon};

fn preflight(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(BINARY).arg("preflight").args(arguments).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_program_can_ask_what_is_short_before_anything_is_served() {
    let (code, said, complaints) = preflight(&["--connections", "300", "--json"]);
    assert_eq!((code, complaints.as_str()), (Some(0), ""));
    let report: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(report["connections"], 300);
    for part in ["limits", "memory"] {
        assert!(report[part].as_array().is_some_and(|items| items.len() > 5), "{said}");
    }
}

#[test]
fn connections_that_cannot_fit_are_refused_below_the_whole_table() {
    let (code, said, complaints) = preflight(&["--sets", "1", "--connections-per-set", "3000000"]);
    assert_eq!(code, Some(78), "{complaints}");
    assert!(said.contains("impossible") && said.contains("net.core.somaxconn") && said.contains("kernel"), "{said}");
    assert!(complaints.contains("connections-per-set is 3000000"), "{complaints}");
}

#[test]
fn a_number_of_connections_is_enough_to_be_served() {
    let campaign = Campaign::new();
    let mut serve = Command::new(BINARY);
    serve.args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--connections", "400"]);
    serve.arg("--seed-dir").arg(campaign.seed_dir()).arg("--data-dir").arg(campaign.data_dir());
    let daemon = Daemon::start(serve);
    Client::login(daemon.listen, 1).0.is_served();
    daemon.stop();
}
