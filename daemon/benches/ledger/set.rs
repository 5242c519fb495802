//! A SET's side of a ledger: real queues, real doorbells, no sockets.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hongbao_protocol::{Cents, Envelope, EnvelopeId, ServerId, ShardId, SponsorId, UserId};
use hongbao_uring::{Disk, DiskRing, Doorbell, Token, Wait, WritePath};
use hongbaod::cells::LedgerCells;
use hongbaod::ledger::{Ledger, LedgerError, LedgerSummary};
use hongbaod::limits::{ledger_requests_per_set, ledger_verdicts_per_set};
use hongbaod::messages::{LedgerSetEnds, Refusal, Request, Verdict};
use rtrb::{Consumer, Producer, RingBuffer};

/// Requests that may be queued.
pub(crate) const REQUESTS: usize = ledger_requests_per_set(1);

/// A SET's side of a ledger on a thread: real queues, real doorbells, no sockets.
pub(crate) struct SimulatedSet {
    ring: DiskRing,
    requests: Producer<Request>,
    verdicts: Consumer<Verdict>,
    doorbell: Arc<Doorbell>,
    ledger_doorbell: Arc<Doorbell>,
    pub(crate) cells: Arc<LedgerCells>,
    thread: JoinHandle<Result<LedgerSummary, LedgerError>>,
    pub(crate) next: u32,
    pub(crate) refused: VecDeque<u32>,
    pub(crate) in_flight: usize,
}

impl SimulatedSet {
    pub(crate) fn start(ledger: Ledger) -> Self {
        let (requests, ledger_requests) = RingBuffer::new(REQUESTS);
        let (ledger_verdicts, verdicts) = RingBuffer::new(ledger_verdicts_per_set(REQUESTS));
        let doorbell: Arc<Doorbell> = Arc::default();
        let ledger_doorbell: Arc<Doorbell> = Arc::default();
        let cells: Arc<LedgerCells> = Arc::default();
        let ends =
            LedgerSetEnds { requests: ledger_requests, verdicts: ledger_verdicts, doorbell: Arc::clone(&doorbell) };
        let (_, no_commands) = RingBuffer::new(1);
        let thread = thread::spawn({
            let (doorbell, cells) = (Arc::clone(&ledger_doorbell), Arc::clone(&cells));
            move || ledger.run(vec![ends], no_commands, &doorbell, cells)
        });
        let ring = DiskRing::open(WritePath::Linked, &doorbell).expect("io_uring works here");
        let refused = VecDeque::new();
        Self { ring, requests, verdicts, doorbell, ledger_doorbell, cells, thread, next: 0, refused, in_flight: 0 }
    }

    /// One turn: takes what was answered, asks until `window` requests are out, waits. Returns the wins.
    pub(crate) fn turn(&mut self, window: usize, more: bool) -> u32 {
        let mut wins = 0;
        while let Ok(verdict) = self.verdicts.pop() {
            self.in_flight -= 1;
            match verdict {
                Verdict::Won { .. } => wins += 1,
                // The next segment is not ready: asked again, as its stock would be.
                Verdict::Refused { sequence, refusal: Refusal::Halted, .. } => self.refused.push_back(sequence),
                other => panic!("{other:?}"),
            }
        }
        let asked = self.in_flight;
        while more && self.in_flight < window {
            let index = self.refused.pop_front().unwrap_or_else(|| {
                self.next += 1;
                self.next - 1
            });
            let envelope = Envelope {
                id: EnvelopeId::new(ServerId(1), ShardId(0), index),
                sponsor: SponsorId(index % 100),
                amount: Cents(100),
            };
            // Neighbours in time are no neighbours in the table.
            let user = UserId(u64::from(index).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let claim = Request::Claim { caller: Token::default(), sequence: index, user, envelope };
            if self.requests.push(claim).is_err() {
                break;
            }
            self.in_flight += 1;
        }
        if self.in_flight > asked {
            self.ring.ring_doorbell(&self.ledger_doorbell);
        }
        self.doorbell.going_to_sleep();
        let wait = Wait { want: u32::from(self.verdicts.is_empty()), min_wait_us: 0, timeout_us: 1000 };
        self.ring.enter(wait).expect("the ring works");
        while self.ring.next().is_some() {}
        self.doorbell.woke_up();
        wins
    }

    pub(crate) fn stop(mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.in_flight > 0 {
            self.turn(0, false);
            assert!(Instant::now() < deadline, "{} answers are missing", self.in_flight);
        }
        drop(self.requests);
        self.thread.join().expect("no panic").expect("the ledger ends well");
    }
}
