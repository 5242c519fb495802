//! The service unit, held against systemd's own tools and against the daemon that it starts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hongbaod::exit::Exit;

/// Tenths. The worst that the sandbox may be; what is left is the network, and the tables of TCP in /proc.
const EXPOSURE_MAX: u32 = 12;

fn unit() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/hongbaod.service");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The values of a key, over all its lines.
fn values(key: &str) -> Vec<String> {
    let unit = unit();
    let lines = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.flat_map(str::split_ascii_whitespace).map(ToOwned::to_owned).collect()
}

/// The unit in a folder of its own, with the binary of this build.
fn installed(folder: &Path) -> PathBuf {
    let path = folder.join("hongbaod.service");
    fs::write(&path, unit().replace("/usr/bin/hongbaod", env!("CARGO_BIN_EXE_hongbaod"))).expect("a folder of our own");
    path
}

fn systemd_analyze(arguments: &[&str], unit: &Path) -> (bool, String) {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(unit)
        .output()
        .expect("systemd-analyze must be installed: apt-get install systemd (make test does it)");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn systemd_has_nothing_to_say_about_the_unit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (good, said) = systemd_analyze(&["verify", "--man=no"], &installed(folder.path()));
    assert!(good && said.trim().is_empty(), "{said}");
}

#[test]
fn the_sandbox_is_as_tight_as_it_was() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // The threshold is in tenths, and higher is worse.
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let (good, said) = systemd_analyze(&["security", "--offline=true", &threshold], &installed(folder.path()));
    assert!(good, "{said}");
}

#[test]
fn the_system_calls_that_everything_hangs_on_are_allowed_last() {
    let filters: Vec<String> =
        unit().lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")).map(ToOwned::to_owned).collect();
    let denied = filters.iter().rposition(|filter| filter.starts_with('~')).expect("some are denied");
    let allowed: BTreeSet<&str> = filters[denied + 1..].iter().flat_map(|filter| filter.split(' ')).collect();
    for call in ["io_uring_setup", "io_uring_enter", "io_uring_register", "sched_setaffinity", "prlimit64"] {
        assert!(allowed.contains(call), "{call} is not allowed after the last denial");
    }
}

#[test]
fn an_exit_that_only_a_person_can_mend_is_not_tried_again() {
    let hopeless: BTreeSet<String> = values("RestartPreventExitStatus").into_iter().collect();
    for exit in [Exit::Usage, Exit::Data, Exit::Permission, Exit::Config] {
        assert!(hopeless.contains(&(exit as u8).to_string()), "{exit:?}");
    }
    for exit in [Exit::Unavailable, Exit::Os, Exit::Io] {
        assert!(!hopeless.contains(&(exit as u8).to_string()), "{exit:?} may pass by itself");
    }
}

#[test]
fn there_is_room_for_a_million_and_for_every_listener_over_a_restart() {
    let number = |key: &str| values(key)[0].parse::<u64>().expect("a number");
    assert!(number("LimitNOFILE") >= 1_000_000 + 4096);
    assert!(number("FileDescriptorStoreMax") >= u64::from(hongbaod::limits::SETS_MAX));
    assert_eq!(values("LimitMEMLOCK"), ["infinity"]);
    assert!(number("TasksMax") > u64::from(hongbaod::limits::SETS_MAX) * 4);
}
