//! A server of the tests: plain `std::net`, a thread a connection, and answers by a script. An independent witness of what the
//! load generator sends and is given.

pub(crate) mod bank;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hongbao_protocol::wire::{ClientFrame, Decoded, ServerFrame, VERSION};
use hongbao_protocol::{Cents, Envelope, EnvelopeId, Receipt, SponsorId, UserId};

use bank::Bank;

/// A shake, as the script sees it.
pub(crate) struct Asked {
    pub(crate) user: UserId,
    pub(crate) sequence: u32,
    /// Number of this shake over all connections, from 0.
    pub(crate) number: u64,
    /// Number of this shake on its connection, from 0.
    pub(crate) on_connection: u64,
}

/// What the script wants done.
pub(crate) enum Reply {
    Frame(ServerFrame),
    /// Byte for byte, each in a segment of its own.
    Trickle(ServerFrame),
    Silence,
    Close,
    /// Raw bytes, whatever they are.
    Garbage(Vec<u8>),
}

type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

/// What the server saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) shakes: AtomicU64,
    pub(crate) logins: AtomicU64,
    /// Every envelope sent as a win: (user, envelope).
    pub(crate) wins: Mutex<Vec<(UserId, Envelope)>>,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
}

impl Server {
    /// Runs until the test process ends.
    pub(crate) fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with_earlier_wins(Vec::new(), script)
    }

    /// As `start`, and gifts are answered by a bank.
    pub(crate) fn start_with_bank(bank: &Arc<Bank>, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(Vec::new(), Some(Arc::clone(bank)), script)
    }

    /// As `start`, and every welcome is followed by these earlier wins.
    pub(crate) fn start_with_earlier_wins(
        earlier: Vec<Envelope>,
        script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::serve(earlier, None, script)
    }

    fn serve(
        earlier: Vec<Envelope>,
        bank: Option<Arc<Bank>>,
        script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound listener has an address");
        let seen = Arc::<Seen>::default();
        let (script, earlier): (Arc<Script>, Arc<[Envelope]>) = (Arc::new(script), earlier.into());
        let accepting = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (script, seen, earlier) = (Arc::clone(&script), Arc::clone(&accepting), Arc::clone(&earlier));
                let bank = bank.clone();
                // The load generator resets its connections at the end: an error here is as good as an end.
                thread::spawn(move || drop(serve(stream, &*script, &seen, &earlier, bank.as_deref())));
            }
        });
        Self { address, seen }
    }
}

fn serve(
    mut stream: TcpStream,
    script: &Script,
    seen: &Seen,
    earlier: &[Envelope],
    bank: Option<&Bank>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    // Notices are written by other threads, between the frames of this one.
    let line = Arc::new(Mutex::new(stream.try_clone()?));
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    let (mut user, mut on_connection) = (UserId(0), 0);
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&chunk[..count]);
        while let Decoded::Frame(frame, length) =
            ClientFrame::decode(&bytes).expect("the load generator sends good frames")
        {
            bytes.drain(..length);
            match frame {
                ClientFrame::Hello { user: id, .. } => {
                    user = id;
                    seen.logins.fetch_add(1, Ordering::Relaxed);
                    stream.write_all(&welcome(earlier))?;
                    if let Some(bank) = bank {
                        bank.log_in(user, &line)?;
                    }
                }
                ClientFrame::Shake { sequence } => {
                    let number = seen.shakes.fetch_add(1, Ordering::Relaxed);
                    let asked = Asked { user, sequence, number, on_connection };
                    on_connection += 1;
                    match script(&asked) {
                        Reply::Frame(frame) => {
                            note_win(seen, user, &frame);
                            let bytes = frame.encode();
                            line.lock().expect("no test thread panics with it").write_all(bytes.as_bytes())?;
                        }
                        Reply::Trickle(frame) => {
                            note_win(seen, user, &frame);
                            for byte in frame.encode().as_bytes() {
                                stream.write_all(&[*byte])?;
                                thread::yield_now();
                            }
                        }
                        Reply::Silence => {}
                        Reply::Close => return Ok(()),
                        Reply::Garbage(garbage) => stream.write_all(&garbage)?,
                    }
                }
                ClientFrame::Ping { nonce } => {
                    stream.write_all(ServerFrame::Pong { nonce, server_time_us: 0 }.encode().as_bytes())?;
                }
                gift => {
                    let bank = bank.unwrap_or_else(|| panic!("no script answers {gift:?}"));
                    if !bank.answer(user, &line, &gift)? {
                        stream.shutdown(std::net::Shutdown::Both)?;
                        return Ok(());
                    }
                }
            }
        }
    }
}

fn welcome(earlier: &[Envelope]) -> Vec<u8> {
    let welcome = ServerFrame::Welcome {
        version: VERSION,
        earlier_wins_shown: earlier.len() as u8,
        earlier_wins: earlier.len() as u16,
        shake_interval_ms: 1,
        idle_timeout_ms: 60_000,
        server_time_us: 0,
    };
    let mut bytes = welcome.encode().as_bytes().to_vec();
    for envelope in earlier {
        let shown =
            ServerFrame::Envelope { sequence: 0, envelope: *envelope, shown_again: true, receipt: Receipt::default() };
        bytes.extend_from_slice(shown.encode().as_bytes());
    }
    bytes
}

fn note_win(seen: &Seen, user: UserId, frame: &ServerFrame) {
    if let ServerFrame::Envelope { envelope, .. } = frame {
        seen.wins.lock().expect("no test thread panics with it").push((user, *envelope));
    }
}

pub(crate) fn none(asked: &Asked) -> Reply {
    Reply::Frame(ServerFrame::None { sequence: asked.sequence, retry_after_ms: 5_000 })
}

pub(crate) fn envelope(id: u64, sponsor: u32) -> Envelope {
    Envelope { id: EnvelopeId(id), sponsor: SponsorId(sponsor), amount: Cents(100 + id % 7) }
}

pub(crate) fn win(asked: &Asked, envelope: Envelope) -> ServerFrame {
    ServerFrame::Envelope { sequence: asked.sequence, envelope, shown_again: false, receipt: Receipt::default() }
}

/// A server that holds every answer back for this long, once, when it has this many shakes: every connection stands still.
pub(crate) fn stalling(after: u64, stall: Duration) -> impl Fn(&Asked) -> Reply + Send + Sync {
    let gate = Mutex::new(false);
    move |asked| {
        let mut stalled = gate.lock().expect("no test thread panics with it");
        if asked.number >= after && !*stalled {
            *stalled = true;
            // The others wait at the gate meanwhile.
            thread::sleep(stall);
        }
        drop(stalled);
        none(asked)
    }
}
