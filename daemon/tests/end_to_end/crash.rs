//! kill -9: what was answered as won is in the journal, once, and within the caps; and the port is had again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use hongbao_protocol::wire::{ClientFrame, Decoded, ServerFrame};
use hongbao_protocol::{Envelope, UserId};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use crate::client::{Client, hello};
use crate::daemon::{BINARY, Campaign, Daemon, PATIENCE, output_of, until};

/// Kills; `make faults` asks for 200 and more.
fn rounds() -> u64 {
    std::env::var("HONGBAO_KILLS").map_or(3, |kills| kills.parse().expect("HONGBAO_KILLS is a number"))
}

/// Users that may win three each: more than a few hundred kills leave time for.
const USERS: u64 = 500_000;
const WINS_PER_ROUND: u64 = 300;
const CLIENTS: u64 = 8;
const CAP: usize = 3;

/// Logs in as one user after the other and shakes until the daemon dies under it; what it was told to have won.
pub(crate) fn shaker(
    listen: SocketAddr,
    next_user: &AtomicU64,
    wins: &AtomicU64,
    stop: &AtomicBool,
) -> Vec<(UserId, Envelope)> {
    let mut told = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let user = next_user.fetch_add(1, Ordering::Relaxed) % USERS;
        let Ok(mut stream) = TcpStream::connect(listen) else { return told };
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut bytes = hello(user).encode().as_bytes().to_vec();
        (1..=8).for_each(|sequence| bytes.extend_from_slice(ClientFrame::Shake { sequence }.encode().as_bytes()));
        if stream.write_all(&bytes).is_err() {
            return told;
        }
        let (mut received, mut answers, mut chunk) = (Vec::new(), 0, [0; 4096]);
        while answers < 8 {
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return told,
                Ok(count) => received.extend_from_slice(&chunk[..count]),
            }
            while let Ok(Decoded::Frame(frame, length)) = ServerFrame::decode(&received) {
                received.drain(..length);
                match frame {
                    ServerFrame::Envelope { envelope, shown_again, .. } => {
                        told.push((UserId(user), envelope));
                        wins.fetch_add(u64::from(!shown_again), Ordering::Relaxed);
                        answers += u32::from(!shown_again);
                    }
                    ServerFrame::Welcome { .. } => {}
                    _ => answers += 1,
                }
            }
        }
    }
    told
}

#[test]
fn kill_9_under_load_loses_no_win_issues_none_twice_and_keeps_the_caps() {
    let rounds = rounds();
    let campaign = Campaign::of(10_000 + rounds * 3000, (10_000 + rounds * 3000) * 100, 10);
    let mut told: Vec<(UserId, Envelope)> = Vec::new();
    for round in 1..=rounds {
        let mut serve = campaign.serve();
        serve.args(["--sets", "2"]);
        let daemon = Daemon::start(serve);
        let (next_user, wins, stop) =
            (Arc::new(AtomicU64::new(round * 577)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let shakers: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (next_user, wins, stop) = (Arc::clone(&next_user), Arc::clone(&wins), Arc::clone(&stop));
                let listen = daemon.listen;
                thread::spawn(move || shaker(listen, &next_user, &wins, &stop))
            })
            .collect();
        until("wins under load", || (wins.load(Ordering::Relaxed) >= WINS_PER_ROUND).then_some(()));
        daemon.signal(Signal::SIGKILL);
        assert_eq!(daemon.end().0, None, "killed");
        stop.store(true, Ordering::Relaxed);
        told.extend(shakers.into_iter().flat_map(|shaker| shaker.join().expect("no client panics")));
    }

    // What was issued is whole, snapshots included.
    output_of(Command::new(BINARY).args(["ledger", "verify"]).arg(campaign.data_dir()));
    // The restart finds all of it, and shows it to its winners.
    let daemon = Daemon::start(campaign.serve());
    assert_eq!(daemon.metric("hongbao_balance_difference_cents"), 0);
    for (user, envelope) in told.iter().rev().take(50) {
        let (_, earlier) = Client::login(daemon.listen, user.0);
        assert!(earlier.contains(envelope), "user {user} no longer has {envelope:?}");
    }
    daemon.stop();

    let mut owner = BTreeMap::new();
    let mut by_user: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for win in campaign.exported() {
        let field = |name: &str| win[name].as_u64().unwrap_or_else(|| panic!("{name} in {win}"));
        let issued = owner.insert(field("envelope"), (field("user"), field("amount_cents")));
        assert_eq!(issued, None, "issued twice: {win}");
        by_user.entry(field("user")).or_default().push(field("sponsor"));
    }
    for (user, envelope) in &told {
        assert_eq!(owner.get(&envelope.id.0), Some(&(user.0, envelope.amount.0)), "promised, and not in the ledger");
    }
    for (user, sponsors) in by_user {
        let distinct: BTreeSet<_> = sponsors.iter().collect();
        assert!(sponsors.len() <= CAP && distinct.len() == sponsors.len(), "user {user} is over a cap: {sponsors:?}");
    }
    assert!(told.len() as u64 >= rounds * WINS_PER_ROUND);
    println!("{rounds} kills: {} promises, 0 lost, 0 double, caps kept", told.len());
}

/// The kernel closes a dead daemon's connections in the background, and until then its listeners hold the port.
#[test]
fn a_daemon_killed_with_many_connections_is_started_again_at_once_on_its_port() {
    const CONNECTIONS: u64 = 3000;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit");
    let campaign = Campaign::new();
    let serve = |listen: &str| {
        let mut serve = campaign.serve();
        serve.args(["--connections-per-set", "4000", "--listen", listen]);
        serve
    };
    // Not one of the ports that the kernel gives to clients: while it is free, another test's connection could take it.
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let first = 10_000 + std::process::id() as u16 % 10_000;
    let port = (first..first + 1000).find(free).expect("a free port below those for clients");
    let daemon = Daemon::start(serve(&format!("127.0.0.1:{port}")));
    let listen = daemon.listen;
    let clients: Vec<_> = (0..CONNECTIONS).map(|user| Client::login(listen, user).0).collect();
    daemon.signal(Signal::SIGKILL);
    assert_eq!(daemon.end().0, None, "killed");
    let daemon = Daemon::start(serve(&listen.to_string()));
    Client::login(listen, 1).0.is_served();
    drop(clients);
    daemon.stop();
}
