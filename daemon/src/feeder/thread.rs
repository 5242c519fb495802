//! The feeder's thread: a tokio-uring runtime that scans, audits, and then deals tick by tick until every SET is gone.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hongbao_protocol::{Envelope, ServerId};
use rtrb::Consumer;
use tokio::time::MissedTickBehavior;

use super::dealer::Dealer;
use super::reader::{RingReads, SeedReads};
use super::round::{RoundPlan, Rounds};
use super::walker::Walker;
use super::{FeederSummary, Scan, SeedFile, Tally, audit::audit};
use crate::cells::FeederCells;
use crate::exit::{Exit, Failure};
use crate::issued::IssuedBefore;
use crate::limits::{FEEDER_TICK_MS, ISSUE_RATE_UNLIMITED};
use crate::messages::{FeederCommand, FeederSetEnds};

/// Entries of the feeder's submission queue: it has one read under way, or an open or a close.
const RING_ENTRIES: u32 = 16;

/// What the feeder is to do.
#[derive(Debug)]
pub struct FeederOptions {
    /// The seed files, as [`scan`](super::scan()) found them.
    pub scan: Scan,
    /// Which server this is.
    pub server: ServerId,
    /// Envelopes a second over all SETs; [`ISSUE_RATE_UNLIMITED`](crate::limits::ISSUE_RATE_UNLIMITED) for no limit.
    pub issue_rate: u64,
}

/// Ready to run on a thread of its own. It is the single producer of every SET's stock.
pub struct Feeder {
    options: FeederOptions,
    issued: IssuedBefore,
    sets: Vec<FeederSetEnds>,
    cells: Arc<FeederCells>,
    commands: Consumer<FeederCommand>,
}

impl Feeder {
    /// Takes its ends; reads nothing yet.
    pub fn new(
        options: FeederOptions,
        issued: IssuedBefore,
        sets: Vec<FeederSetEnds>,
        cells: Arc<FeederCells>,
        commands: Consumer<FeederCommand>,
    ) -> Self {
        Self { options, issued, sets, cells, commands }
    }

    /// Runs on the calling thread until every SET has dropped its ends, and returns the books.
    ///
    /// `ready` is called once: with the books after the start-up audit, just before the first envelope is dealt; or with the failure
    /// that forbids dealing, after which this returns at once.
    ///
    /// `beside` makes a future that runs on the same runtime from before the audit on, and is dropped when this returns. It shares the
    /// thread: while it computes, nothing is dealt. The dealing catches up on delays of up to
    /// [`ISSUE_BURST_MS`](crate::limits::ISSUE_BURST_MS); a longer one costs the envelopes of the excess. So it must not block, and
    /// must yield within a few milliseconds.
    pub fn run<B, F>(self, ready: impl FnOnce(Result<FeederSummary, Failure>), beside: B) -> FeederSummary
    where
        B: FnOnce() -> F,
        F: Future<Output = ()> + 'static,
    {
        let mut builder = tokio_uring::builder();
        builder.entries(RING_ENTRIES);
        let runtime = match tokio_uring::Runtime::new(&builder) {
            Ok(runtime) => runtime,
            Err(error) => {
                let message = format!(
                    "the feeder cannot make its io_uring: {error}. Look at kernel.io_uring_disabled, at the seccomp filter this runs \
                     under, and at the limits on descriptors and locked memory"
                );
                ready(Err(Failure::new(Exit::Unavailable, message)));
                return FeederSummary::default();
            }
        };
        runtime.block_on(async {
            tokio_uring::spawn(beside());
            self.audit_and_deal(ready).await
        })
    }

    async fn audit_and_deal(self, ready: impl FnOnce(Result<FeederSummary, Failure>)) -> FeederSummary {
        let mut dealing = match self.audit(&RingReads).await {
            Ok(dealing) => dealing,
            Err((books, failure)) => {
                ready(Err(failure));
                return books;
            }
        };
        let start = Instant::now();
        ready(Ok(dealing.books.clone()));
        let mut ticks = tokio::time::interval(Duration::from_millis(FEEDER_TICK_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !dealing.turn(start.elapsed()) {
            ticks.tick().await;
        }
        dealing.books
    }

    /// Everything before the first envelope is dealt. An error forbids dealing; the books are beside it.
    pub async fn audit(self, reads: &dyn SeedReads) -> Result<Dealing, (FeederSummary, Failure)> {
        let Self { options: FeederOptions { scan, server, issue_rate }, issued, sets, cells, commands } = self;
        let mut books = open_books(&scan);
        let files: Rc<[SeedFile]> = scan.accepted.into();
        books.publish(&cells);
        let skipped = match audit(reads, &files, scan.campaign, server, &issued).await {
            Ok(skipped) => skipped,
            Err(failure) => return Err((books, failure)),
        };
        for tally in &skipped {
            books.skip(*tally);
        }
        books.publish(&cells);
        let IssuedBefore { set, .. } = issued;
        let walker = Walker::new(reads, files, skipped, set);
        Ok(Dealing::new(books, walker, sets, cells, commands, issue_rate))
    }
}

/// The books at the start, and the log's lines on what they are made of.
fn open_books(scan: &Scan) -> FeederSummary {
    let mut books =
        FeederSummary { campaign: scan.campaign, files_refused: scan.refused.len() as u64, ..FeederSummary::default() };
    for refused in &scan.refused {
        tracing::error!("seed file {} is refused: {}", refused.path.display(), refused.reason);
    }
    for file in &scan.accepted {
        books.seed(Tally { envelopes: u64::from(file.header.count), amount: file.header.total });
    }
    books
}

/// What is between the seed files and the SETs.
pub struct Dealing {
    books: FeederSummary,
    walker: Walker,
    dealer: Dealer,
    sets: Vec<FeederSetEnds>,
    /// Free places in each SET's stock, as of this tick; none in that of a SET that is gone.
    room: Vec<usize>,
    /// Come back, and to be dealt first.
    returned: VecDeque<Envelope>,
    /// How many of them are held; beyond it they stay in the SETs' rings.
    returned_max: usize,
    cells: Arc<FeederCells>,
    commands: Consumer<FeederCommand>,
    /// The rate that was set last, whether or not it is in force.
    rate: u64,
    paused: bool,
    rounds: Rounds,
    stopping: bool,
    told_exhausted: bool,
}

impl Dealing {
    fn new(
        books: FeederSummary,
        walker: Walker,
        sets: Vec<FeederSetEnds>,
        cells: Arc<FeederCells>,
        commands: Consumer<FeederCommand>,
        rate: u64,
    ) -> Self {
        let returned_max = sets.iter().map(|set| set.returns.buffer().capacity()).sum();
        cells.issue_rate.set(rate);
        Self {
            books,
            walker,
            dealer: Dealer::new(Duration::ZERO, rate, sets.iter().map(|set| set.cells.shakes.get())),
            room: vec![0; sets.len()],
            sets,
            returned: VecDeque::with_capacity(returned_max),
            returned_max,
            cells,
            commands,
            rate,
            paused: false,
            rounds: Rounds::default(),
            stopping: false,
            told_exhausted: false,
        }
    }

    /// One tick, `now` after the start. True when every SET is gone and all they returned is taken back.
    pub fn turn(&mut self, now: Duration) -> bool {
        self.obey(now);
        let ended = self.take_back();
        if !self.stopping && !ended {
            self.deal(now);
        }
        debug_assert_eq!(
            self.books.unissued.envelopes,
            self.walker.remaining() + self.returned.len() as u64,
            "what the books call unissued is there"
        );
        self.books.publish(&self.cells);
        self.publish_round();
        ended
    }

    /// Where every envelope and cent is.
    pub fn books(&self) -> &FeederSummary {
        &self.books
    }

    fn obey(&mut self, now: Duration) {
        let mut obeyed = 0;
        while let Ok(command) = self.commands.pop() {
            obeyed += 1;
            match command {
                FeederCommand::SetRate(rate) => self.rate = rate,
                FeederCommand::FollowRounds(follows) => self.rounds.ignored = !follows,
                FeederCommand::Round(order) => self.rounds.begin(order, now, self.books.out()),
                FeederCommand::Pause => self.paused = true,
                FeederCommand::Resume => self.paused = false,
                FeederCommand::Stop => self.stopping = true,
            }
        }
        let rate = if self.paused || self.stopping { 0 } else { self.planned_rate(now) };
        if rate != self.dealer.rate() {
            self.dealer.set_rate(now, rate);
            self.cells.issue_rate.set(rate);
        }
        self.cells.commands_obeyed.add(obeyed);
    }

    fn planned_rate(&self, now: Duration) -> u64 {
        let Some(round) = self.rounds.followed() else { return self.rate };
        round.rate(now, self.books.out()).unwrap_or(ISSUE_RATE_UNLIMITED)
    }

    fn publish_round(&self) {
        let (cells, round) = (&self.cells, self.rounds.running());
        cells.round.set(round.map_or(0, |round| round.number().into()));
        cells.round_planned.set(round.map_or(0, |round| round.target().unwrap_or(u64::MAX)));
        cells.round_carried.set(round.map_or(0, RoundPlan::carried));
        cells.round_dealt.set(round.map_or(0, |round| round.issued(self.books.out())));
    }

    /// Takes what the SETs have returned. True where it is the last they can.
    fn take_back(&mut self) -> bool {
        // Asked before the rings are emptied: what a SET returned before it went is then certainly seen.
        let gone = self.sets.iter().all(|set| set.returns.is_abandoned());
        let max = if gone || self.stopping { usize::MAX } else { self.returned_max };
        for set in &mut self.sets {
            while self.returned.len() < max
                && let Ok(envelope) = set.returns.pop()
            {
                self.books.take_back(envelope.into());
                self.returned.push_back(envelope);
            }
        }
        gone
    }

    fn deal(&mut self, now: Duration) {
        self.dealer.observe(now, self.sets.iter().map(|set| set.cells.shakes.get()));
        for (index, (set, room)) in self.sets.iter().zip(&mut self.room).enumerate() {
            let free = set.stock.slots();
            let held = set.stock.buffer().capacity() - free;
            let wanted = self.dealer.appetite(index).saturating_sub(held);
            *room = if set.stock.is_abandoned() { 0 } else { free.min(wanted) };
        }
        let allowance = self.rounds.followed().map_or(u64::MAX, |round| round.allowance(now, self.books.out()));
        let offered = self.dealer.offer(&self.room).min(usize::try_from(allowance).unwrap_or(usize::MAX));
        let returned = offered.min(self.returned.len());
        let count = returned + self.walker.fill(offered - returned, &mut self.books).min(offered - returned);
        let plan = self.dealer.split(count, &self.room);
        for (set, planned) in self.sets.iter_mut().zip(plan) {
            for _ in 0..*planned {
                let envelope =
                    self.returned.pop_front().or_else(|| self.walker.pop()).expect("as many as were counted");
                self.books.deal(envelope.into());
                set.stock.push(envelope).expect("as many as there was room for");
            }
        }
        if self.walker.is_exhausted() && !self.told_exhausted {
            self.told_exhausted = true;
            tracing::warn!(
                "every seed file is dealt to its end: from now on only envelopes that SETs return are dealt. Add seed files and start \
                 again to go on"
            );
        }
    }
}
