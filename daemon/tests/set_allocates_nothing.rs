//! No allocation in a SET's steady state: the real reactor on a real ring, with real clients, a ledger and a feeder around it, while
//! the allocator counts what this thread asks of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hongbao_protocol::wire::{ClientFrame, Recipients};
use hongbao_protocol::{Cents, Envelope, EnvelopeId, GiftId, Receipt, SponsorId, UserId};
use hongbao_uring::{Doorbell, ListenOptions, Listener, Pace, RingOptions};
use hongbaod::cells::SetCells;
use hongbaod::limits::REFUSED_AT_ONCE;
use hongbaod::messages::{Refusal, Request, SetEnds, Verdict};
use hongbaod::set::{Moment, Reactor, Rules};
use rtrb::{Consumer, Producer, RingBuffer};

const CLIENTS: u64 = 50;
/// More than all who ever come: on a busy machine those who left are seen off late, and nobody is to be sent away for that.
const PLACES: u32 = 1000;
/// More than are asked while the ledger's thread does not get to run: a hello that finds the queue full is put off, and these clients shake
/// all the same.
const REQUESTS: usize = 8192;

/// Clients that shake and ping as fast as they are answered, some of them byte by byte, and come again every now and then.
fn play_clients(address: SocketAddr, stop: &AtomicBool) {
    let connect = |user: u64| {
        let mut stream = TcpStream::connect(address).expect("the SET listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        let hello = ClientFrame::Hello { version_min: 1, version_max: 1, user: UserId(user) };
        stream.write_all(hello.encode().as_bytes()).expect("sent");
        stream
    };
    let mut streams: Vec<TcpStream> = (0..CLIENTS).map(connect).collect();
    let mut answers = [0; 4096];
    for round in 0_u32.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        for (user, stream) in streams.iter_mut().enumerate() {
            // The pong comes at once; a win or a refusal comes when the ledger has spoken and something else wakes the SET.
            let shake = ClientFrame::Shake { sequence: round }.encode();
            let ping = ClientFrame::Ping { nonce: round }.encode();
            let recipients = Recipients::new(&[UserId(900), UserId(901), UserId(902)]).expect("three");
            let (request, total) = (u64::from(round), Cents(30));
            let send = ClientFrame::GiftSend { request, total, shares: 3, recipients }.encode();
            let open = ClientFrame::GiftOpen { gift: GiftId(request) }.encode();
            let frames = [send.as_bytes(), open.as_bytes(), shake.as_bytes(), ping.as_bytes()].concat();
            let piece = if user % 10 == 0 { 1 } else { frames.len() };
            frames.chunks(piece).try_for_each(|piece| stream.write_all(piece)).expect("sent");
        }
        for stream in &mut streams {
            // At least one answer; what else has come is taken along.
            assert_ne!(stream.read(&mut answers).expect("answered"), 0, "the SET closes nobody here");
        }
        let leaver = round as usize % streams.len();
        streams[leaver] = connect(leaver as u64);
    }
}

/// A ledger that grants every third claim and welcomes everyone, and a feeder that keeps the stock full.
fn play_ledger_and_feeder(
    mut requests: Consumer<Request>,
    mut verdicts: Producer<Verdict>,
    mut stock: Producer<Envelope>,
    stop: &AtomicBool,
) {
    let receipt = Receipt([7; 16]);
    let mut index = 0;
    while !stop.load(Ordering::Relaxed) {
        while !stock.is_full() {
            index += 1;
            let envelope = Envelope { id: EnvelopeId(index), sponsor: SponsorId(1), amount: Cents(100) };
            stock.push(envelope).expect("not full");
        }
        while verdicts.slots() > 2 {
            let Ok(request) = requests.pop() else { break };
            match request {
                Request::Login { caller, .. } => {
                    verdicts.push(Verdict::Account { caller, wins: 1, shown: 1 }).expect("room");
                    let envelope = Envelope { id: EnvelopeId(0), sponsor: SponsorId(1), amount: Cents(100) };
                    verdicts.push(Verdict::Earlier { caller, envelope, receipt }).expect("room");
                }
                Request::GiftSend { caller, request, .. } => {
                    let (gift, expires_in_s) = (GiftId(request), 60);
                    verdicts
                        .push(Verdict::GiftSent { caller, request, gift, expires_in_s, again: false })
                        .expect("room");
                    let sender = UserId(1);
                    let notice = Verdict::GiftNotice { caller, gift, sender, expires_in_s, listed: false };
                    verdicts.push(notice).expect("room");
                }
                Request::GiftOpen { caller, gift, .. } => {
                    let (share, luckiest) = (Cents(1), Cents(2));
                    let (shares, remaining, again) = (3, 1, false);
                    let opened = Verdict::GiftOpened { caller, gift, share, luckiest, shares, remaining, again };
                    verdicts.push(opened).expect("room");
                }
                Request::GiftTo { .. } | Request::GiftList { .. } => {}
                Request::Claim { caller, sequence, envelope, .. } if sequence % 3 == 0 => {
                    verdicts.push(Verdict::Won { caller, sequence, envelope, wins: 1, receipt }).expect("room");
                }
                Request::Claim { caller, sequence, envelope, .. } => {
                    let refusal = Refusal::SponsorLimit;
                    verdicts.push(Verdict::Refused { caller, sequence, envelope, refusal }).expect("room");
                }
            }
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_set_at_work_allocates_nothing() {
    let listener = Listener::bind(&ListenOptions::at(([127, 0, 0, 1], 0).into())).expect("a free port");
    let address = listener.local_addr();
    let ring = RingOptions::listening(PLACES + REFUSED_AT_ONCE, listener).open().expect("io_uring");
    let (stock, stock_end) = RingBuffer::new(256);
    let (returns_end, _returns) = RingBuffer::new(256);
    let (requests_end, requests) = RingBuffer::new(REQUESTS);
    let (verdicts, verdicts_end) = RingBuffer::new(REQUESTS);
    let (_commands, commands_end) = RingBuffer::new(4);
    let cells = Arc::new(SetCells::default());
    let ends = SetEnds {
        stock: stock_end,
        returns: returns_end,
        requests: requests_end,
        verdicts: verdicts_end,
        commands: commands_end,
        doorbell: Arc::new(Doorbell::default()),
        ledger_doorbell: Arc::new(Doorbell::default()),
        cells: Arc::clone(&cells),
    };
    let rules = Rules {
        shake_interval_ms: 0,
        login_timeout_ms: 5000,
        idle_timeout_ms: 60_000,
        wins_per_user: 0,
        wins_per_user_ever: 0,
    };
    let pace = Pace::new(200, u32::from(ring.features().receive_buffers));
    let mut set = Reactor::new(ring, rules, PLACES, pace, 1000, ends);
    let start = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));

    let clients = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || play_clients(address, &stop))
    };
    let others = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || play_ledger_and_feeder(requests, verdicts, stock, &stop))
    };
    let mut turn_until = |shakes: u64| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while cells.shakes.get() < shakes {
            set.turn(|| Moment::now(start)).expect("the ring works");
            assert!(Instant::now() < deadline, "{} shakes", cells.shakes.get());
        }
    };
    // The first turns may grow what was reserved lazily; from here on nothing may.
    turn_until(2000);
    let counted = allocation_counter::measure(|| turn_until(20_000));
    stop.store(true, Ordering::Relaxed);
    // The clients wait for answers until they look at the flag.
    while !clients.is_finished() {
        set.turn(|| Moment::now(start)).expect("the ring works");
    }
    clients.join().expect("the clients were answered");
    others.join().expect("the ledger went on");
    assert_eq!(counted.count_total, 0, "{counted:?}");
    assert!(cells.answered_envelope.get() > 100 && cells.answered_sponsor_limit.get() > 100);
    assert!(cells.gifts_sent.get() > 100 && cells.gifts_opened.get() > 100 && cells.notices_delivered.get() > 100);
    assert!(cells.connections_opened.get() > CLIENTS + 100, "connections came and went meanwhile");
}
