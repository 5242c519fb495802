//! `hongbaod seed` as an operator meets it: what is printed where, and how it ends.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn hongbaod(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hongbaod")).arg("seed").args(arguments).output().expect("the binary runs")
}

fn generate(output: &Path, more: &[&str]) -> Output {
    let output = output.to_str().expect("text");
    let base =
        ["generate", "--count", "1_000", "--total", "50k", "--sponsors", "3", "--servers", "2", "--output", output];
    hongbaod(&[&base, more].concat())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn data_goes_to_stdout_and_everything_else_to_stderr() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = generate(folder.path(), &[]);
    assert_eq!(run.status.code(), Some(0), "{}", text(&run.stderr));
    let paths: Vec<&str> = text(&run.stdout).lines().collect();
    assert_eq!(paths.len(), 2);
    assert!(paths.iter().all(|path| Path::new(path).is_file()));
    let seed = text(&run.stderr).trim_end().rsplit(' ').next().expect("the seed is told").to_owned();

    // The seed that was told makes the same files again.
    let again = tempfile::tempdir().expect("a folder");
    assert_eq!(generate(again.path(), &["--rng-seed", &seed]).status.code(), Some(0));
    let name = "server-02/seed-1-s02-00.hbs";
    assert_eq!(fs::read(folder.path().join(name)).expect("a file"), fs::read(again.path().join(name)).expect("a file"));

    let run = hongbaod(&["show", paths[1], "--json"]);
    assert_eq!((run.status.code(), text(&run.stderr)), (Some(0), ""));
    let shown: serde_json::Value = serde_json::from_slice(&run.stdout).expect("one JSON object");
    let (server, envelopes, total_cents) = (&shown["server"], &shown["envelopes"], &shown["total_cents"]);
    assert_eq!((server, envelopes, total_cents), (&2.into(), &500.into(), &25_000.into()));

    let run = hongbaod(&["show", paths[1], "--json", "--envelopes"]);
    let lines: Vec<serde_json::Value> =
        text(&run.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    let cents: u64 = lines.iter().map(|line| line["amount_cents"].as_u64().expect("a number")).sum();
    assert_eq!((lines.len(), cents), (500, 25_000));
}

#[test]
fn verify_names_every_damage_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = folder.path().to_str().expect("text");
    assert_eq!(generate(folder.path(), &["--shards-per-server", "2"]).status.code(), Some(0));
    let run = hongbaod(&["verify", directory]);
    assert_eq!(run.status.code(), Some(0));
    assert_eq!(text(&run.stdout).lines().filter(|line| line.contains(": ok: campaign 1, server ")).count(), 4);

    let path = |name: &str| folder.path().join(name);
    let mut bytes = fs::read(path("server-01/seed-1-s01-00.hbs")).expect("a file");
    bytes[4096 + 1000] ^= 8;
    fs::write(path("server-01/seed-1-s01-00.hbs"), &bytes).expect("a file");
    bytes.truncate(100);
    fs::write(path("server-01/seed-1-s01-01.hbs"), &bytes).expect("a file");
    fs::copy(path("server-02/seed-1-s02-00.hbs"), path("server-02/zzz.hbs")).expect("a copy");
    fs::write(path("server-02/notes.txt"), "no seed file, and not taken for one").expect("a file");

    let run = hongbaod(&["verify", directory]);
    assert_eq!(run.status.code(), Some(65));
    let told = text(&run.stdout);
    assert_eq!(told.lines().count(), 5, "{told}");
    assert!(told.contains("seed-1-s01-00.hbs: block 0 at byte 4096: checksum"), "{told}");
    assert!(told.contains("seed-1-s01-01.hbs: header at byte 0: cut off: the file has 100 bytes"), "{told}");
    assert!(told.contains("zzz.hbs: duplicate: campaign 1, server 2, shard 0 is "), "{told}");
    assert_eq!(told.lines().filter(|line| line.contains(": ok: ")).count(), 2, "{told}");
    assert!(text(&run.stderr).contains("3 of 5 seed files are not good"), "{}", text(&run.stderr));

    let run = hongbaod(&["show", path("server-01/seed-1-s01-00.hbs").to_str().expect("text")]);
    assert_eq!(run.status.code(), Some(65));
    assert!(text(&run.stderr).contains("block 0 at byte 4096"), "{}", text(&run.stderr));
}

#[test]
fn what_cannot_be_done_says_so_with_its_exit_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let ends = |run: Output, code: i32, says: &str| {
        let told = text(&run.stderr);
        assert!(run.status.code() == Some(code) && told.contains(says), "{:?}: {told}", run.status);
    };
    ends(hongbaod(&["verify", "/nonexistent"]), 69, "/nonexistent");
    ends(hongbaod(&["verify", folder.path().to_str().expect("text")]), 69, "no seed file");
    ends(hongbaod(&["show", "/nonexistent"]), 69, "/nonexistent");
    ends(hongbaod(&["show", env!("CARGO_BIN_EXE_hongbaod")]), 65, "not a seed file");
    ends(hongbaod(&["generate", "--count", "many"]), 64, "--count");
    let few = ["generate", "--count", "9", "--total", "8", "--sponsors", "1", "--servers", "1", "--output", "never"];
    ends(hongbaod(&few), 64, "--total");
    // Not even root makes a directory there.
    ends(generate(Path::new("/sys/hongbao-seeds"), &[]), 77, "Choose an --output that you may write to");
    assert_eq!(generate(folder.path(), &[]).status.code(), Some(0));
    ends(generate(folder.path(), &[]), 69, "--force");
    assert_eq!(generate(folder.path(), &["--force"]).status.code(), Some(0));
}

/// On a real file system of 1 MiB, in a mount namespace that nobody else sees.
#[test]
fn a_full_disk_is_told_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = "mount -t tmpfs -o size=1m tmpfs \"$1\" || exit 99
        \"$0\" seed generate --count 1M --total 1M --sponsors 1 --servers 2 --output \"$1\"
        code=$?
        find \"$1\" -type f
        exit $code";
    let mut unshare = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_hongbaod")]).arg(folder.path());
    let run = unshare.output().expect("unshare runs");
    let told = text(&run.stderr);
    assert_eq!(run.status.code(), Some(74), "{told}");
    assert!(told.contains("server-01/seed-1-s01-00.hbs") && told.contains("Free some space"), "{told}");
    assert_eq!(text(&run.stdout), "", "files left behind");
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().to_str().expect("text");
    let many =
        ["generate", "--count", "100k", "--total", "1M", "--sponsors", "2", "--servers", "1", "--output", output];
    assert_eq!(hongbaod(&many).status.code(), Some(0));
    let mut show = Command::new(env!("CARGO_BIN_EXE_hongbaod"))
        .args(["seed", "show", "--envelopes"])
        .arg(folder.path().join("server-01/seed-1-s01-00.hbs"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut start = [0; 20];
    show.stdout.take().expect("a pipe").read_exact(&mut start).expect("the first envelope");
    let run = show.wait_with_output().expect("it ends");
    assert_eq!((run.status.code(), text(&run.stderr)), (Some(0), ""));
}
