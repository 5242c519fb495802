//! The drill of the runbook: a backup of a daemon that is winning meanwhile, restored, verified and served from.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use nix::sys::signal::Signal;

use crate::client::Client;
use crate::crash::shaker;
use crate::daemon::{BINARY, Campaign, Daemon, output_of, until};

fn ledger(arguments: &[&str], paths: &[&Path]) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("ledger").args(arguments);
    command.args(paths);
    command
}

fn wins_of(data_dir: &Path) -> Vec<String> {
    let output = output_of(&mut ledger(&["export"], &[data_dir]));
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

#[test]
fn a_backup_of_a_daemon_under_load_is_whole_and_a_daemon_goes_on_from_it() {
    let campaign = Campaign::of(100_000, 10_000_000, 10);
    let daemon = Daemon::start(campaign.serve());
    let (next_user, wins, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let backups: Vec<PathBuf> = (0..4).map(|number| campaign.path(&format!("backup-{number}"))).collect();
    let listen = daemon.listen;
    let told = thread::scope(|scope| {
        let shakers: Vec<_> = (0..4).map(|_| scope.spawn(|| shaker(listen, &next_user, &wins, &stop))).collect();
        for (number, backup) in backups.iter().enumerate() {
            until("wins", || (wins.load(Ordering::Relaxed) >= 500 * (number as u64 + 1)).then_some(()));
            let before = wins.load(Ordering::Relaxed);
            output_of(ledger(&["backup"], &[&campaign.data_dir()]).arg("--output").arg(backup));
            // One line is the binding. What a client was told before the backup began is in it.
            assert!(wins_of(backup).len() as u64 > before, "backup {number} lacks what was promised before it");
        }
        stop.store(true, Ordering::Relaxed);
        shakers.into_iter().flat_map(|shaker| shaker.join().expect("no client panics")).collect::<Vec<_>>()
    });
    daemon.signal(Signal::SIGKILL);
    daemon.end();
    let live = wins_of(&campaign.data_dir());
    for backup in &backups {
        output_of(&mut ledger(&["verify"], &[backup]));
        let copied = wins_of(backup);
        assert!(live.starts_with(&copied), "a backup is what the ledger was at one moment");
    }

    let restored = campaign.path("restored");
    output_of(ledger(&["restore"], &[&backups[3]]).arg("--data-dir").arg(&restored));
    assert_eq!(wins_of(&restored), wins_of(&backups[3]));
    let again = ledger(&["restore"], &[&backups[3]]).arg("--data-dir").arg(&restored).output().expect("runs");
    assert_eq!(again.status.code(), Some(69), "never over a ledger that is there");

    let mut serve = campaign.serve();
    serve.arg("--data-dir").arg(&restored);
    let arguments: Vec<_> = serve.get_args().map(std::ffi::OsStr::to_owned).collect();
    let mut moved = Command::new(BINARY);
    // The last --data-dir is the one to use: the first, with its value, is left out.
    let first = arguments.iter().position(|argument| argument == "--data-dir").expect("there");
    moved.args(arguments.iter().enumerate().filter(|(place, _)| ![first, first + 1].contains(place)).map(|(_, it)| it));
    let daemon = Daemon::start(moved);
    assert_eq!(daemon.metric("hongbao_balance_difference_cents"), 0);
    let held = wins_of(&restored);
    let (user, envelope) = told
        .iter()
        .find(|(_, envelope)| held.iter().any(|line| line.contains(&format!("\"envelope\":{},", envelope.id.0))))
        .expect("a win that is in the backup");
    let (_, earlier) = Client::login(daemon.listen, user.0);
    assert!(earlier.contains(envelope), "user {user} is shown what they won before the backup");
    daemon.stop();
}
