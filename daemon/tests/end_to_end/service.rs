//! What a service manager sees of the daemon: a real notify socket, a SET that is really stuck, listeners that really pass from one
//! daemon to the next.

use std::fs;
use std::io::{BufRead, BufReader, IoSliceMut};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use hongbao_protocol::wire::ServerFrame;
use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use crate::client::{Client, hello};
use crate::daemon::{Campaign, Daemon, PATIENCE, refusal};
use crate::frozen::Frozen;

/// The service manager's end. A thread takes what comes, as the kernel keeps few messages and then lets the daemon wait.
struct Notified {
    messages: Receiver<Message>,
}

struct Message {
    text: String,
    descriptors: Vec<RawFd>,
}

impl Notified {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a path of our own");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (message, messages) = channel();
        thread::spawn(move || while next(&socket).is_some_and(|next| message.send(next).is_ok()) {});
        Self { messages }
    }

    /// The next message with this in it, and all that came before it.
    fn until(&self, part: &str) -> (Vec<Message>, Message) {
        let mut before = Vec::new();
        loop {
            let message = self.messages.recv_timeout(PATIENCE).expect("the daemon tells something in time");
            if message.text.contains(part) {
                return (before, message);
            }
            before.push(message);
            assert!(before.len() < 10_000, "{part} never comes");
        }
    }

    /// Forgets what has come so far.
    fn catch_up(&self) {
        while self.messages.try_recv().is_ok() {}
    }
}

fn next(socket: &UnixDatagram) -> Option<Message> {
    let mut text = [0; 4096];
    let mut space = nix::cmsg_space!([RawFd; 253]);
    let mut parts = [IoSliceMut::new(&mut text)];
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty()).ok()?;
    let mut descriptors = Vec::new();
    for control in received.cmsgs().expect("room for all") {
        if let ControlMessageOwned::ScmRights(passed) = control {
            descriptors.extend(passed);
        }
    }
    let length = received.bytes;
    Some(Message { text: String::from_utf8_lossy(&text[..length]).into_owned(), descriptors })
}

fn notified(serve: &mut Command, campaign: &Campaign, watchdog_us: u32) -> Notified {
    let path = campaign.path("notify");
    drop(fs::remove_file(&path));
    let notified = Notified::at(&path);
    serve.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", watchdog_us.to_string());
    notified
}

#[test]
fn readiness_comes_after_the_last_set_listens_and_life_is_told_until_the_end() {
    let campaign = Campaign::new();
    let mut serve = campaign.serve();
    serve.args(["--sets", "3"]);
    let manager = notified(&mut serve, &campaign, 200_000);
    let daemon = Daemon::start(serve);
    let (before, ready) = manager.until("READY=1");
    assert!(ready.text.contains("STATUS=serving on "), "{}", ready.text);
    let kept: Vec<&Message> = before.iter().filter(|message| message.text.contains("FDSTORE=1")).collect();
    assert_eq!(kept.iter().map(|message| message.descriptors.len()).sum::<usize>(), 3, "a listener for each SET");
    assert!(kept[0].text.contains("FDNAME=hongbao-set"));
    // Idle SETs are alive: nobody has connected yet.
    for _ in 0..12 {
        manager.until("WATCHDOG=1");
    }
    Client::login(daemon.listen, 7).0.is_served();
    let (_, status) = manager.until("STATUS=");
    assert!(status.text.contains("3 SETs"), "{}", status.text);
    daemon.signal(Signal::SIGTERM);
    manager.until("STOPPING=1");
    let (code, log) = daemon.end();
    assert_eq!(code, Some(0), "{log}");
    close(kept.iter().flat_map(|message| &message.descriptors));
}

fn close<'a>(descriptors: impl IntoIterator<Item = &'a RawFd>) {
    for descriptor in descriptors {
        nix::unistd::close(*descriptor).expect("it is open");
    }
}

#[test]
fn a_set_that_is_stuck_ends_the_signs_of_life_while_all_other_threads_go_on() {
    let campaign = Campaign::new();
    let mut serve = campaign.serve();
    serve.args(["--sets", "2"]);
    let manager = notified(&mut serve, &campaign, 100_000);
    let mut daemon = Daemon::start(serve);
    manager.until("WATCHDOG=1");
    let stuck = Frozen::thread(daemon.process(), "set-01");
    daemon.wait_for_line("the SET does not turn");
    manager.catch_up();
    let (before, status) = manager.until("STATUS=");
    assert!(status.text.contains("STUCK"), "{}", status.text);
    assert!(before.iter().all(|message| !message.text.contains("WATCHDOG=1")), "told as alive");
    let (head, _) = daemon.http("/healthz");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    drop(stuck);
    manager.until("WATCHDOG=1");
    daemon.wait_for_line("the SET turns again");
    daemon.stop();
}

/// Runs a daemon with these descriptors from 3 on, as the service manager does.
fn with_listeners(campaign: &Campaign, descriptors: &[RawFd], sets: usize, listen: &str) -> Command {
    let mut serve = campaign.serve();
    serve.args(["--sets", &sets.to_string(), "--listen", listen]);
    let names = vec!["hongbao-set"; descriptors.len()].join(":");
    let moved: Vec<String> =
        descriptors.iter().enumerate().map(|(place, from)| format!("{}<&{from}", 3 + place)).collect();
    let (count, moved) = (moved.len(), moved.join(" "));
    let script = format!("LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES={names} exec \"$@\" {moved}");
    let mut command = Command::new("bash");
    command.args(["-c", &script, "bash"]).arg(serve.get_program()).args(serve.get_args());
    command
}

#[test]
fn who_connects_while_no_daemon_runs_is_served_by_the_next_one_whatever_its_number_of_sets() {
    let campaign = Campaign::new();
    let mut serve = campaign.serve();
    serve.args(["--sets", "2"]);
    let manager = notified(&mut serve, &campaign, 1_000_000);
    let daemon = Daemon::start(serve);
    let listen = daemon.listen.to_string();
    let (_, kept) = manager.until("FDSTORE=1");
    daemon.signal(Signal::SIGKILL);
    daemon.end();
    // The kernel's hash chooses either listener.
    let mut waiting: Vec<Client> = (1..=8).map(|_| Client::connect(listen.parse().expect("an address"))).collect();
    for sets in [2, 3] {
        let daemon = Daemon::start(with_listeners(&campaign, &kept.descriptors, sets, &listen));
        assert_eq!(daemon.listen.to_string(), listen);
        for (user, mut client) in (1..).zip(waiting.drain(..)) {
            client.send(&hello(user));
            assert!(matches!(client.frame(), ServerFrame::Welcome { .. }), "it connected before this daemon ran");
            client.is_served();
        }
        Client::login(daemon.listen, 100).0.is_served();
        let log = daemon.stop();
        assert!(log.contains("passed listeners"), "{log}");
    }
    // Elsewhere: they are of an earlier configuration.
    let daemon = Daemon::start(with_listeners(&campaign, &kept.descriptors, 1, "127.0.0.2:0"));
    let log = daemon.stop();
    assert!(log.contains("earlier configuration"), "{log}");
    close(&kept.descriptors);
}

#[test]
fn a_reload_is_told_from_its_begin_to_its_end_whether_it_is_taken_or_not() {
    let campaign = Campaign::new();
    let file = campaign.path("config.json");
    fs::write(&file, "{\"issue_rate\": \"5/s\"}").expect("a folder of our own");
    let mut serve = campaign.serve();
    serve.arg("--config").arg(&file);
    let manager = notified(&mut serve, &campaign, 1_000_000);
    let daemon = Daemon::start(serve);
    manager.until("READY=1");
    for (text, said) in [("{\"issue_rate\": \"6/s\"}", "read again"), ("{\"sets\": \"no\"}", "refused")] {
        fs::write(&file, text).expect("a folder of our own");
        daemon.signal(Signal::SIGHUP);
        let (_, reloading) = manager.until("RELOADING=1");
        assert!(reloading.text.contains("MONOTONIC_USEC="), "{}", reloading.text);
        let (_, ready) = manager.until("READY=1");
        assert!(ready.text.contains(said), "{}", ready.text);
    }
    daemon.stop();
}

/// The journal has a time and a priority for each line: what it is sent has no time, and the priority in front.
#[test]
fn lines_for_the_journal_have_priorities_and_no_time() {
    let campaign = Campaign::new();
    let (reader, writer) = std::os::unix::net::UnixStream::pair().expect("two sockets");
    let stream = nix::sys::stat::fstat(&writer).expect("a socket");
    let mut serve = campaign.serve();
    serve.args(["--log-format", "auto"]).env("JOURNAL_STREAM", format!("{}:{}", stream.st_dev, stream.st_ino));
    serve.stdout(Stdio::null()).stderr(std::os::fd::OwnedFd::from(writer));
    let mut child = serve.spawn().expect("the binary runs");
    drop(serve);
    let mut told = Vec::new();
    for line in BufReader::new(reader).lines().map_while(Result::ok) {
        if line.contains("\"ready\":true") {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)
                .expect("ours");
        } else {
            told.push(line);
        }
    }
    assert!(child.wait().expect("it ends").success());
    assert!(told.len() > 3 && told.iter().all(|line| line.starts_with("<6>") || line.starts_with("<4>")), "{told:#?}");
}

#[test]
fn a_socket_unit_can_start_it_and_one_that_does_not_fit_is_told() {
    if Command::new("systemd-socket-activate").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: systemd-socket-activate is missing (apt install systemd)");
        return;
    }
    let activated = |sets: &str| {
        let campaign = Campaign::new();
        let listen = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        let mut serve = campaign.serve();
        serve.args(["--sets", sets, "--listen", &listen.to_string()]);
        let mut command = Command::new("systemd-socket-activate");
        command.arg("-l").arg(listen.to_string()).arg(serve.get_program()).args(serve.get_args());
        (campaign, command, listen)
    };
    // It starts the daemon when somebody connects, which this thread does until somebody listens.
    let knock =
        |listen| thread::spawn(move || crate::daemon::until("the socket unit", || TcpStream::connect(listen).ok()));
    let (_campaign, command, listen) = activated("1");
    let first = knock(listen);
    let daemon = Daemon::start(command);
    assert_eq!(daemon.listen, listen);
    drop(first.join());
    Client::login(listen, 1).0.is_served();
    daemon.stop();

    let (_campaign, command, listen) = activated("2");
    let first = knock(listen);
    let (code, said) = refusal(command);
    drop(first.join());
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("ReusePort=yes"), "{said}");
}
