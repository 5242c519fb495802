//! The threads of a run, and what they hand over while it lasts. What they are told to do is the [`conductor`](crate::conductor)'s business.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use hdrhistogram::Histogram;
use hongbao_uring::{Descriptors, RingOptions};
use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::audit::{Audit, Claim};
use crate::book::Book;
use crate::claims::ClaimsFile;
use crate::clock::Clock;
use crate::driver::Driver;
use crate::exit::Failure;
use crate::gifts::audit::{GiftAudit, GiftFindings};
use crate::gifts::claims::GiftClaimsFile;
use crate::gifts::desk::Desk;
use crate::gifts::load;
use crate::gifts::told::Told;
use crate::lap::JoinedLap;
use crate::limits::{
    CLAIMS_QUEUED, CLAIMS_QUEUED_PER_THREAD_MIN, GIFTS_TOLD_QUEUED, LAPS_OPEN_MAX, ORDERS_QUEUED, SECONDS_PER_THREAD,
};
use crate::orders::{Abandon, Cells, Order, ThreadEnds, ThreadReport};
use crate::plan::Plan;
use crate::record::{Lap, Second, SecondsEnds};
use crate::series::Series;
use crate::window::Window;

/// Longest wait for a thread to take its orders: it does so in each turn.
const ORDER_WAIT: Duration = Duration::from_millis(1);
const ORDER_TRIES: u32 = 10_000;

/// The main thread's ends to one thread.
struct Thread {
    handle: Option<JoinHandle<Result<ThreadReport, Failure>>>,
    cells: Arc<Cells>,
    orders: Producer<Order>,
    laps: Consumer<Box<Lap>>,
    claims: Consumer<Claim>,
    told: Option<Consumer<Told>>,
    full: Consumer<Box<Second>>,
    empty: Producer<Box<Second>>,
}

impl Thread {
    fn is_finished(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

/// See the module's text.
pub struct Run {
    plan: Plan,
    clock: Clock,
    abandon: Arc<Abandon>,
    threads: Vec<Thread>,
    /// Laps that some threads have given back, and others not yet.
    laps: Vec<JoinedLap>,
    /// Every envelope received.
    pub audit: Audit,
    claims: ClaimsFile,
    /// Every gift, where the run has some.
    gifts: Option<(GiftAudit, GiftClaimsFile)>,
    /// Every second.
    pub series: Series,
}

impl Run {
    /// Starts the threads; they wait for orders.
    pub fn start(plan: Plan, claims: ClaimsFile, gift_claims: Option<&Path>) -> Result<Self, Failure> {
        let clock = Clock::start();
        // Made in any case: a file that was asked for is there, and empty where there are no gifts.
        let gift_claims = GiftClaimsFile::create(gift_claims, plan.users.first, clock)?;
        let mut run = Self {
            clock,
            abandon: Arc::default(),
            threads: Vec::with_capacity(plan.threads as usize),
            laps: Vec::with_capacity(LAPS_OPEN_MAX),
            audit: Audit::new(plan.caps),
            claims,
            gifts: plan.gifts_max.map(|_| (GiftAudit::new(plan.users.first), gift_claims)),
            series: Series::new(plan.threads),
            plan,
        };
        for number in 0..run.plan.threads {
            match run.start_thread(number) {
                Ok(thread) => run.threads.push(thread),
                Err(error) => {
                    run.abandon();
                    drop(run.join());
                    return Err(Failure::error(format!("starting thread {number}: {error}")));
                }
            }
        }
        Ok(run)
    }

    fn start_thread(&self, number: u32) -> io::Result<Thread> {
        let (plan, clock, abandon) = (self.plan.clone(), self.clock, Arc::clone(&self.abandon));
        let share = plan.share(number);
        let cells = Arc::<Cells>::default();
        let claims_queued = (CLAIMS_QUEUED / plan.threads as usize).max(CLAIMS_QUEUED_PER_THREAD_MIN);
        let (claims_in, claims) = RingBuffer::new(claims_queued);
        let (full_in, full) = RingBuffer::new(SECONDS_PER_THREAD);
        let (mut empty, empty_out) = RingBuffer::new(SECONDS_PER_THREAD);
        while empty.push(Second::new()).is_ok() {}
        let (orders, orders_out) = RingBuffer::new(ORDERS_QUEUED);
        let (laps_in, laps) = RingBuffer::new(LAPS_OPEN_MAX);
        let shared = (abandon, Arc::clone(&cells));
        let (told_in, told) = plan
            .gifts_room(share)
            .map(|room| (room, RingBuffer::new(GIFTS_TOLD_QUEUED)))
            .map_or((None, None), |(room, (told_in, told))| (Some((room, told_in)), Some(told)));
        let handle = std::thread::Builder::new().name(format!("load-{number:02}")).spawn(move || {
            let rings = plan.rings_of(share);
            let open = || {
                let options = RingOptions {
                    descriptors: if plan.direct { Descriptors::Direct } else { Descriptors::Plain },
                    receive_buffers_max: hongbao_uring::receive_buffers_max(rings * plan.threads),
                    ..RingOptions::connecting(share.len().div_ceil(rings))
                };
                options.open().map_err(|error| Failure::error(error.to_string()))
            };
            let rings = (0..rings).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
            let seconds = SecondsEnds { full: full_in, empty: empty_out };
            let vacancies = (plan.depth_max > 0).then(|| share.len() as usize * plan.depth_max as usize);
            let timeout_us = plan.timeout.as_micros() as u32;
            let gifts = told_in.map(|(room, told)| {
                Box::new(Desk::new(share, plan.users, plan.rng_seed, load::first_request(&clock), room, told))
            });
            let window = Window::new(plan.window(share));
            let book = Book::new(clock, window, seconds, claims_in, timeout_us, vacancies, gifts);
            let ends = ThreadEnds { orders: orders_out, laps: laps_in };
            Driver::new(rings, plan, share, clock, shared, ends, book).run()
        })?;
        Ok(Thread { handle: Some(handle), cells, orders, laps, claims, told, full, empty })
    }

    /// What is run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The run's clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Tells every thread. One that has ended is passed over: its end is seen elsewhere.
    pub fn order(&mut self, order: impl Fn() -> Order) -> Result<(), Failure> {
        for thread in &mut self.threads {
            let mut order = order();
            let mut tries = 0;
            while let Err(PushError::Full(refused)) = thread.orders.push(order) {
                if thread.is_finished() || tries == ORDER_TRIES {
                    break;
                }
                (order, tries) = (refused, tries + 1);
                std::thread::sleep(ORDER_WAIT);
            }
            if tries == ORDER_TRIES {
                return Err(Failure::error("a thread of the load generator takes no orders any more"));
            }
        }
        Ok(())
    }

    /// Ends every thread at once.
    pub fn abandon(&self) {
        self.abandon.tell();
    }

    /// Users logged in.
    pub fn established(&self) -> u64 {
        self.sum(|cells| cells.established.load(Ordering::Relaxed))
    }

    /// Users given up.
    pub fn given_up(&self) -> u64 {
        self.sum(|cells| cells.given_up.load(Ordering::Relaxed))
    }

    /// Whether each of the first `connections` users is logged in or given up, and nothing is being tried.
    pub fn is_settled(&self, connections: u32) -> bool {
        self.threads.iter().all(|thread| thread.cells.settled.load(Ordering::Acquire) == connections)
    }

    fn sum(&self, cell: impl Fn(&Cells) -> u32) -> u64 {
        self.threads.iter().map(|thread| u64::from(cell(&thread.cells))).sum()
    }

    /// Whether some thread has ended, which none does by itself but for a failure.
    pub fn any_ended(&self) -> bool {
        self.threads.iter().any(Thread::is_finished)
    }

    /// Whether all have.
    pub fn all_ended(&self) -> bool {
        self.threads.iter().all(Thread::is_finished)
    }

    /// Takes in what the threads handed over.
    pub fn take_in(&mut self) -> Result<(), Failure> {
        let mut seconds = 0;
        for (number, thread) in self.threads.iter_mut().enumerate() {
            // As many as are there now: a thread that goes on writing cannot hold this one up.
            for _ in 0..thread.claims.slots() {
                let Ok(claim) = thread.claims.pop() else { break };
                self.audit.take(&claim);
                self.claims.write(&claim)?;
            }
            if let (Some(told), Some((audit, file))) = (&mut thread.told, &mut self.gifts) {
                for _ in 0..told.slots() {
                    let Ok(told) = told.pop() else { break };
                    audit.take(&told);
                    file.write(&told)?;
                }
            }
            while let Ok(second) = thread.full.pop() {
                self.series.take(number as u32, &second);
                seconds += 1;
                // The queue of empty ones holds all there are.
                drop(thread.empty.push(second));
            }
            while let Ok(lap) = thread.laps.pop() {
                match self.laps.iter_mut().find(|joined| joined.number() == lap.number) {
                    Some(joined) => joined.add(&lap),
                    None => self.laps.push(JoinedLap::of(&lap)),
                }
            }
        }
        if seconds > 0 {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if let Some((_, file)) = &mut self.gifts {
            file.flush()?;
        }
        self.claims.flush()
    }

    /// A lap that every thread has given back.
    pub fn take_lap(&mut self, number: u32) -> Option<JoinedLap> {
        let threads = self.plan.threads;
        let place = self.laps.iter().position(|lap| lap.number() == number && lap.threads() == threads)?;
        Some(self.laps.swap_remove(place))
    }

    /// From the send to the notice of a lap's gifts, when all has been taken in.
    pub fn take_notices(&mut self, lap: u32) -> Option<Histogram<u64>> {
        self.gifts.as_mut().and_then(|(audit, _)| audit.notices(lap))
    }

    /// What the audit of gifts found; `unaudited` never came to it. None where the run has no gifts.
    pub fn gift_findings(&mut self, unaudited: u64) -> Option<GiftFindings> {
        let now_ns = self.clock.now_ns();
        self.gifts.as_mut().map(|(audit, _)| {
            audit.lost(unaudited);
            audit.finish(now_ns)
        })
    }

    /// Waits for the threads, which have been told to end, and takes in the rest.
    pub fn join(&mut self) -> Result<Vec<ThreadReport>, Failure> {
        let join = |thread: &mut Thread| match thread.handle.take().map(JoinHandle::join) {
            Some(Ok(report)) => report,
            Some(Err(_)) | None => Err(Failure::error("a thread of the load generator panicked")),
        };
        let all: Vec<Result<ThreadReport, Failure>> = self.threads.iter_mut().map(join).collect();
        self.take_in()?;
        self.flush()?;
        all.into_iter().collect()
    }
}
