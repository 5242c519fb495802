//! The test stand: one SET, and every queue's other end in the test's hands.

use std::cell::Cell;
use std::sync::Arc;

use hongbao_protocol::wire::{ClientFrame, Decoded, ServerFrame};
use hongbao_protocol::{Cents, Envelope, EnvelopeId, Receipt, SponsorId, UserId};
use hongbao_uring::simulated::{PeerId, SimulatedNetwork, SimulatedOptions};
use hongbao_uring::{Doorbell, Pace};
use hongbaod::cells::SetCells;
use hongbaod::messages::{Request, SetCommand, SetEnds, Verdict};
use hongbaod::set::{Moment, Reactor, Rules, Turn};
use rtrb::{Consumer, Producer, RingBuffer};

pub(crate) const RULES: Rules = Rules {
    shake_interval_ms: 5000,
    login_timeout_ms: 5000,
    idle_timeout_ms: 60_000,
    wins_per_user: 3,
    wins_per_user_ever: 3,
};

/// The ledger's, which a SET passes on as it is.
pub(crate) const RECEIPT: Receipt = Receipt([7; 16]);

pub(crate) struct Stand {
    pub(crate) set: Reactor<SimulatedNetwork>,
    pub(crate) stock: Producer<Envelope>,
    pub(crate) returns: Consumer<Envelope>,
    pub(crate) requests: Consumer<Request>,
    pub(crate) verdicts: Producer<Verdict>,
    pub(crate) commands: Producer<SetCommand>,
    pub(crate) cells: Arc<SetCells>,
    pub(crate) elapsed_ms: Cell<u64>,
}

impl Stand {
    pub(crate) fn new() -> Self {
        Self::with(RULES, 8, 16, SimulatedOptions::default())
    }

    pub(crate) fn with(rules: Rules, places: u32, ledger_queue: usize, network: SimulatedOptions) -> Self {
        let (stock, stock_end) = RingBuffer::new(64);
        let (returns_end, returns) = RingBuffer::new(64);
        let (requests_end, requests) = RingBuffer::new(ledger_queue);
        let (verdicts, verdicts_end) = RingBuffer::new(64);
        let (commands, commands_end) = RingBuffer::new(4);
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
        let set = Reactor::new(SimulatedNetwork::new(network), rules, places, Pace::new(1000, 64), 2000, ends);
        Self { set, stock, returns, requests, verdicts, commands, cells, elapsed_ms: Cell::new(0) }
    }

    /// One turn at the present time.
    pub(crate) fn turn(&mut self) -> Turn {
        let elapsed_ms = self.elapsed_ms.get();
        let moment = Moment { elapsed_us: elapsed_ms * 1000, unix_us: 1_700_000_000_000_000 + elapsed_ms * 1000 };
        self.set.turn(|| moment).expect("the simulated ring does not fail")
    }

    /// As many turns as it takes for what was set in motion to come to rest.
    pub(crate) fn settle(&mut self) {
        for _ in 0..6 {
            self.turn();
        }
    }

    /// Lets time pass, with a turn each tick of the wheel as the real loop has.
    pub(crate) fn pass_ms(&mut self, ms: u64) {
        let end = self.elapsed_ms.get() + ms;
        while self.elapsed_ms.get() < end {
            self.elapsed_ms.set((self.elapsed_ms.get() + 250).min(end));
            self.turn();
            self.turn();
        }
    }

    pub(crate) fn connect(&mut self) -> PeerId {
        let peer = self.set.network().peer_connect();
        self.settle();
        peer
    }

    pub(crate) fn write(&mut self, peer: PeerId, bytes: &[u8]) {
        self.set.network().peer_write(peer, bytes);
        self.settle();
    }

    pub(crate) fn say(&mut self, peer: PeerId, frame: &ClientFrame) {
        self.write(peer, frame.encode().as_bytes());
    }

    pub(crate) fn hello(&mut self, peer: PeerId, user: u64) {
        self.say(peer, &ClientFrame::Hello { version_min: 1, version_max: 1, user: UserId(user) });
    }

    pub(crate) fn shake(&mut self, peer: PeerId, sequence: u32) {
        self.say(peer, &ClientFrame::Shake { sequence });
    }

    /// Everything the peer was sent since the last look.
    pub(crate) fn heard(&mut self, peer: PeerId) -> Vec<ServerFrame> {
        let bytes = self.set.network().peer_read(peer);
        let mut frames = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let Ok(Decoded::Frame(frame, taken)) = ServerFrame::decode(rest) else { panic!("not a frame: {rest:?}") };
            frames.push(frame);
            rest = &rest[taken..];
        }
        frames
    }

    /// Plays the ledger for one login: the user has won `earlier`.
    pub(crate) fn grant_login(&mut self, earlier: &[Envelope]) {
        let Ok(Request::Login { caller, .. }) = self.requests.pop() else { panic!("a login was to be asked for") };
        let count = earlier.len() as u32;
        self.verdicts.push(Verdict::Account { caller, wins: count, shown: count }).expect("room");
        for envelope in earlier {
            self.verdicts.push(Verdict::Earlier { caller, envelope: *envelope, receipt: RECEIPT }).expect("room");
        }
        self.settle();
    }

    /// A client that is logged in, its welcome read.
    pub(crate) fn online(&mut self, user: u64) -> PeerId {
        let peer = self.connect();
        self.hello(peer, user);
        self.grant_login(&[]);
        assert!(matches!(self.heard(peer)[..], [ServerFrame::Welcome { earlier_wins: 0, .. }]));
        peer
    }
}

pub(crate) fn envelope(index: u32) -> Envelope {
    Envelope { id: EnvelopeId(u64::from(index)), sponsor: SponsorId(index % 3), amount: Cents(100 + u64::from(index)) }
}
