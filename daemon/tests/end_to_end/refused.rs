//! Starts that must fail, each with its exit code and with words that say what to do.

use std::fs::{self, OpenOptions, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::Command;

use nix::unistd::Uid;

use crate::client::Client;
use crate::daemon::{BINARY, Campaign, Daemon, output_of, refusal, seed_files, through};

const USAGE: Option<i32> = Some(64);
const DATA: Option<i32> = Some(65);
const UNAVAILABLE: Option<i32> = Some(69);
const PERMISSION: Option<i32> = Some(77);
const CONFIG: Option<i32> = Some(78);

#[test]
fn a_port_that_is_taken_is_named() {
    let campaign = Campaign::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    for flag in ["--listen", "--metrics-listen"] {
        let mut serve = campaign.serve();
        serve.args([flag, &address]);
        let (code, said) = refusal(serve);
        assert_eq!(code, UNAVAILABLE, "{said}");
        assert!(said.contains(&address), "{said}");
    }
}

/// `SO_REUSEPORT` lets SETs share a port; a second daemon must not slip in with them.
#[test]
fn a_port_of_another_daemon_is_taken_too() {
    let (first, second) = (Campaign::new(), Campaign::new());
    let daemon = Daemon::start(first.serve());
    let mut serve = second.serve();
    serve.args(["--listen", &daemon.listen.to_string()]);
    let (code, said) = refusal(serve);
    assert_eq!(code, UNAVAILABLE, "{said}");
    assert!(said.contains(&daemon.listen.to_string()), "{said}");
    daemon.stop();
}

#[test]
fn a_second_daemon_on_the_same_data_is_refused() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve());
    let (code, said) = refusal(campaign.serve());
    assert_eq!(code, UNAVAILABLE, "{said}");
    assert!(said.contains("in use") && said.contains("--data-dir"), "{said}");
    Client::login(daemon.listen, 1).0.is_served();
    daemon.stop();
}

#[test]
fn a_seed_folder_that_is_missing_or_empty_is_named() {
    let campaign = Campaign::new();
    for (folder, code) in [("nowhere", UNAVAILABLE), ("empty", UNAVAILABLE)] {
        let path = campaign.path(folder);
        if folder == "empty" {
            fs::create_dir(&path).expect("own folder");
        }
        let mut serve = campaign.serve();
        serve.arg("--seed-dir").arg(&path);
        let (ended, said) = refusal(serve);
        assert_eq!(ended, code, "{said}");
        assert!(said.contains(&path.display().to_string()), "{said}");
    }
}

#[test]
fn a_data_folder_that_may_not_be_written_is_a_matter_of_permission() {
    let campaign = Campaign::new();
    fs::create_dir(campaign.data_dir()).expect("own folder");
    fs::set_permissions(campaign.data_dir(), Permissions::from_mode(0o555)).expect("own folder");
    // Root may write everywhere: be nobody then, who must be able to reach the binary.
    let binary = campaign.path("hongbaod");
    fs::copy(BINARY, &binary).expect("space for a copy");
    let mut serve = Command::new(&binary);
    campaign.arguments(&mut serve);
    if Uid::effective().is_root() {
        serve = through(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"], &serve);
    }
    let (code, said) = refusal(serve);
    assert_eq!(code, PERMISSION, "{said}");
    assert!(said.contains(&campaign.data_dir().display().to_string()), "{said}");
}

#[test]
fn a_data_folder_that_is_a_file_is_named() {
    let campaign = Campaign::new();
    fs::write(campaign.data_dir(), b"not a folder").expect("own folder");
    let (code, said) = refusal(campaign.serve());
    assert!(code != Some(0) && said.contains(&campaign.data_dir().display().to_string()), "{code:?} {said}");
}

/// Installs a filter that answers `io_uring_setup` with EPERM, as container runtimes do, and becomes the daemon.
const WITHOUT_IO_URING: &str = r#"
import ctypes, os, struct, sys
IO_URING_SETUP, EPERM, ALLOW, ERRNO = 425, 1, 0x7fff0000, 0x00050000
filters = [(0x20, 0, 0, 0), (0x15, 0, 1, IO_URING_SETUP), (0x06, 0, 0, ERRNO | EPERM), (0x06, 0, 0, ALLOW)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in filters))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
program = Program(len(filters), ctypes.cast(code, ctypes.c_void_p))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0, "no_new_privs"
assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0, "seccomp"
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn a_host_that_refuses_io_uring_is_told_what_to_change() {
    let campaign = Campaign::new();
    let (code, said) = refusal(through(&["python3", "-c", WITHOUT_IO_URING], &campaign.serve()));
    assert_eq!(code, UNAVAILABLE, "{said}");
    for part in ["io_uring", "seccomp", "kernel.io_uring_disabled"] {
        assert!(said.contains(part), "{part} is missing in: {said}");
    }
}

#[test]
fn too_little_lockable_memory_names_the_limit() {
    let campaign = Campaign::new();
    let mut serve = campaign.serve();
    serve.args(["--sets", "16"]);
    let mut wrapper = vec!["prlimit", "--memlock=65536:65536"];
    if Uid::effective().is_root() {
        // Who may lock memory without limit is not stopped by one.
        wrapper.extend(["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"]);
    }
    let (code, said) = refusal(through(&wrapper, &serve));
    assert_eq!(code, UNAVAILABLE, "{said}");
    assert!(said.contains("LimitMEMLOCK") || said.contains("ulimit -l"), "{said}");
}

#[test]
fn damaged_foreign_and_doubled_seed_files_are_refused_and_the_others_dealt() {
    let campaign = Campaign::new();
    let seeds = campaign.seed_dir();
    let good = seed_files(&seeds).pop().expect("one file");
    let cut = seeds.join("cut.hbs");
    fs::copy(&good, &cut).expect("space");
    OpenOptions::new().write(true).open(&cut).expect("own file").set_len(8192).expect("cut");
    let flipped = seeds.join("flipped.hbs");
    fs::copy(&good, &flipped).expect("space");
    OpenOptions::new().write(true).open(&flipped).expect("own file").write_all_at(&[0xFF], 100).expect("flip");
    fs::copy(&good, seeds.join("z-doubled.hbs")).expect("space");
    let other = campaign.path("other");
    let mut generate = Command::new(BINARY);
    generate.args([
        "seed",
        "generate",
        "--count",
        "100",
        "--total",
        "1000",
        "--sponsors",
        "1",
        "--servers",
        "2",
        "--output",
    ]);
    output_of(generate.arg(&other));
    let foreign = seed_files(&other.join("server-02")).pop().expect("one file");
    fs::copy(foreign, seeds.join("foreign.hbs")).expect("space");

    let daemon = Daemon::start(campaign.serve());
    assert_eq!(daemon.metric("hongbao_seed_files{state=\"accepted\"}"), 1);
    assert_eq!(daemon.metric("hongbao_seed_files{state=\"refused\"}"), 4);
    Client::login(daemon.listen, 1).0.win();
    let log = daemon.stop();
    for name in ["cut.hbs", "flipped.hbs", "z-doubled.hbs", "foreign.hbs"] {
        assert!(log.contains(name), "{name} is not named in\n{log}");
    }
}

#[test]
fn a_damaged_block_is_named_and_the_other_blocks_are_dealt() {
    let campaign = Campaign::new();
    let file = seed_files(&campaign.seed_dir()).pop().expect("one file");
    OpenOptions::new()
        .write(true)
        .open(&file)
        .expect("own file")
        .write_all_at(&[0xFF; 8], 3 * 4096 + 100)
        .expect("flip");
    let mut serve = campaign.serve();
    serve.args(["--cap-per-user", "unlimited", "--cap-per-sponsor", "unlimited"]);
    let daemon = Daemon::start(serve);
    let (mut client, _) = Client::login(daemon.listen, 1);
    let mut sequence = 0;
    crate::daemon::until("the damaged block", || {
        for _ in 0..100 {
            sequence += 1;
            client.shake(sequence);
        }
        (daemon.metric("hongbao_balance_envelopes{state=\"damaged\"}") > 0).then_some(())
    });
    client.win();
    assert_eq!(daemon.metric("hongbao_balance_difference_cents"), 0);
    let log = daemon.stop();
    assert!(log.contains("block 3") && log.contains("12288"), "{log}");
}

#[test]
fn a_journal_of_another_campaign_is_refused() {
    let campaign = Campaign::new();
    let daemon = Daemon::start(campaign.serve());
    Client::login(daemon.listen, 1).0.win();
    daemon.stop();
    let other = campaign.path("other");
    let mut generate = Command::new(BINARY);
    generate.args(["seed", "generate", "--count", "100", "--total", "1000", "--sponsors", "1", "--servers", "1"]);
    output_of(generate.args(["--campaign", "2", "--output"]).arg(&other));
    let mut serve = campaign.serve();
    serve.arg("--seed-dir").arg(other.join("server-01"));
    let (code, said) = refusal(serve);
    assert!(code == CONFIG || code == DATA, "{code:?} {said}");
    assert!(said.contains("campaign"), "{said}");
}

#[test]
fn a_wrong_command_line_and_a_wrong_configuration_have_their_own_codes() {
    let campaign = Campaign::new();
    let mut serve = campaign.serve();
    serve.args(["--sets", "many"]);
    assert_eq!(refusal(serve).0, USAGE);
    let file = campaign.path("config.json");
    fs::write(&file, r#"{"sets": "many", "lisen": 1}"#).expect("own folder");
    let mut serve = campaign.serve();
    serve.arg("--config").arg(&file);
    let (code, said) = refusal(serve);
    assert_eq!(code, CONFIG, "{said}");
    assert!(said.contains("sets: ") && said.contains("lisen: ") && said.contains("config.json"), "{said}");
    let mut serve = campaign.serve();
    serve.args(["--connections-per-set", "4000000000"]);
    assert_eq!(refusal(serve).0, CONFIG);
}
