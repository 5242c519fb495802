//! `hongbao-loadgen run`: starts the threads, takes in what they hand over, and reports.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use hongbao_uring::{Descriptors, RingOptions, Support};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::arguments::{DescriptorChoice, RunArguments};
use crate::audit::{Audit, Claim};
use crate::book::Book;
use crate::claims::ClaimsFile;
use crate::clock::Clock;
use crate::driver::{Cells, Driver, Signals, ThreadReport};
use crate::exit::{Exit, Failure};
use crate::host::Host;
use crate::limits::{CLAIMS_QUEUED, CLAIMS_QUEUED_PER_THREAD_MIN, SECONDS_PER_THREAD};
use crate::plan::{Load, Plan};
use crate::progress::Progress;
use crate::record::{Second, SecondsEnds};
use crate::report::Report;
use crate::series::Series;
use crate::signals::Interrupts;
use crate::total::{Timing, Total};
use crate::window::Window;

/// How often the main thread looks at what the threads handed over.
const LOOK: Duration = Duration::from_millis(50);

/// From the decision to the begin of the load: every thread sees it in time.
const LEAD_NS: u64 = 20_000_000;

/// Runs, reports, and says how it ended.
pub fn run(arguments: &RunArguments) -> Result<Exit, Failure> {
    let host =
        Host::prepare().map_err(|error| Failure::error(format!("reading the limits of this machine: {error}")))?;
    let support = hongbao_uring::probe().map_err(|unavailable| Failure::error(unavailable.to_string()))?;
    let plan = Plan::new(arguments, &host, is_direct(arguments.descriptors, &support))?;
    let mut progress = Progress::new(arguments.quiet);
    progress.say(&format!("hongbao-loadgen: {plan}\nhongbao-loadgen: {support}"));
    // Made before the load, so that a path that cannot be written costs no run.
    let json = arguments.json.as_deref().map(Output::create).transpose()?;
    let claims = ClaimsFile::create(arguments.claims.as_deref())?;
    let interrupts = Interrupts::take_over()?;
    let mut run = Run::start(plan, claims)?;
    let outcome = run.supervise(&interrupts, &mut progress);
    progress.finish();
    let threads = run.join();
    outcome?;
    let report = run.report(&threads?)?;
    if !arguments.quiet {
        eprint!("{}", report.table());
    }
    if let Some(json) = json {
        json.write(&report)?;
    }
    Ok(if !report.valid {
        Exit::Invalid
    } else if report.audit.is_clean() {
        Exit::Good
    } else {
        Exit::Threshold
    })
}

const fn is_direct(choice: DescriptorChoice, support: &Support) -> bool {
    match choice {
        DescriptorChoice::Auto => support.direct_descriptors,
        DescriptorChoice::Direct => true,
        DescriptorChoice::Plain => false,
    }
}

/// The main thread's ends to one thread.
struct Thread {
    handle: Option<JoinHandle<Result<ThreadReport, Failure>>>,
    cells: Arc<Cells>,
    claims: Consumer<Claim>,
    full: Consumer<Box<Second>>,
    empty: Producer<Box<Second>>,
}

impl Thread {
    fn is_finished(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

/// A run under way.
struct Run {
    plan: Plan,
    clock: Clock,
    signals: Arc<Signals>,
    threads: Vec<Thread>,
    audit: Audit,
    claims: ClaimsFile,
    series: Series,
    establish_ns: u64,
    begin_ns: u64,
    end_ns: u64,
    interrupts: u32,
}

impl Run {
    fn start(plan: Plan, claims: ClaimsFile) -> Result<Self, Failure> {
        let mut run = Self {
            clock: Clock::start(),
            signals: Arc::default(),
            threads: Vec::with_capacity(plan.threads as usize),
            audit: Audit::new(plan.caps),
            claims,
            series: Series::new(plan.threads, plan.warm_up.as_secs_f64()),
            establish_ns: 0,
            begin_ns: 0,
            end_ns: 0,
            interrupts: 0,
            plan,
        };
        for number in 0..run.plan.threads {
            match run.start_thread(number) {
                Ok(thread) => run.threads.push(thread),
                Err(error) => {
                    run.signals.abandon();
                    drop(run.join());
                    return Err(Failure::error(format!("starting thread {number}: {error}")));
                }
            }
        }
        Ok(run)
    }

    fn start_thread(&self, number: u32) -> io::Result<Thread> {
        let (plan, clock, signals) = (self.plan.clone(), self.clock, Arc::clone(&self.signals));
        let share = plan.share(number);
        let cells = Arc::<Cells>::default();
        let claims_queued = (CLAIMS_QUEUED / plan.threads as usize).max(CLAIMS_QUEUED_PER_THREAD_MIN);
        let (claims_in, claims) = RingBuffer::new(claims_queued);
        let (full_in, full) = RingBuffer::new(SECONDS_PER_THREAD);
        let (mut empty, empty_out) = RingBuffer::new(SECONDS_PER_THREAD);
        while empty.push(Second::new()).is_ok() {}
        let thread_cells = Arc::clone(&cells);
        let handle = std::thread::Builder::new().name(format!("load-{number:02}")).spawn(move || {
            let options = RingOptions {
                descriptors: if plan.direct { Descriptors::Direct } else { Descriptors::Plain },
                ..RingOptions::connecting(share.len())
            };
            let network = options.open().map_err(|error| Failure::error(error.to_string()))?;
            let seconds = SecondsEnds { full: full_in, empty: empty_out };
            let vacancies = match plan.load {
                Load::Open { .. } => None,
                Load::Closed { depth } => Some(share.len() as usize * depth as usize),
            };
            let timeout_us = plan.timeout.as_micros() as u32;
            let book = Book::new(clock, Window::new(plan.window(share)), seconds, claims_in, timeout_us, vacancies);
            Driver::new(network, plan, share, clock, signals, thread_cells, book).run()
        })?;
        Ok(Thread { handle: Some(handle), cells, claims, full, empty })
    }

    /// Watches over the run until every thread has ended.
    fn supervise(&mut self, interrupts: &Interrupts, progress: &mut Progress) -> Result<(), Failure> {
        let watched = self.watch_ramp(interrupts, progress).and_then(|()| self.watch_load(interrupts, progress));
        if watched.is_err() {
            self.signals.abandon();
        }
        watched
    }

    fn watch_ramp(&mut self, interrupts: &Interrupts, progress: &mut Progress) -> Result<(), Failure> {
        let target = u64::from(self.plan.connections);
        loop {
            self.pause(interrupts);
            self.take_in(None)?;
            let all = |cell: fn(&Cells) -> u32| self.threads.iter().map(|thread| u64::from(cell(&thread.cells))).sum();
            let established: u64 = all(|cells| cells.established.load(Ordering::Relaxed));
            progress.ramp(established, target, Duration::from_nanos(self.clock.now_ns()));
            let settled = self.threads.iter().all(|thread| thread.cells.settled.load(Ordering::Acquire));
            if self.signals.is_stopped() || self.any_failed() {
                self.signals.abandon();
                return Ok(());
            }
            if settled {
                self.establish_ns = self.clock.now_ns();
                let given_up: u64 = all(|cells| cells.given_up.load(Ordering::Relaxed));
                if established == 0 && given_up > 0 {
                    // The threads end by themselves, and the report says why.
                    self.signals.abandon();
                    return Ok(());
                }
                self.begin_ns = self.clock.now_ns() + LEAD_NS;
                self.signals.begin_at(self.begin_ns);
                progress
                    .say(&format!("{established} of {target} connections in {:.1} s", self.establish_ns as f64 / 1e9));
                return Ok(());
            }
        }
    }

    fn watch_load(&mut self, interrupts: &Interrupts, progress: &mut Progress) -> Result<(), Failure> {
        progress.begin_load((self.plan.warm_up + self.plan.duration).as_secs());
        while !self.threads.iter().all(Thread::is_finished) {
            self.pause(interrupts);
            self.take_in(Some(progress))?;
            if self.any_failed() {
                self.signals.abandon();
            }
        }
        self.take_in(Some(progress))?;
        self.claims.flush()
    }

    fn pause(&mut self, interrupts: &Interrupts) {
        if interrupts.sleep(LOOK) {
            self.interrupts += 1;
            self.end_ns = self.clock.now_ns();
            if self.interrupts == 1 { self.signals.stop() } else { self.signals.abandon() }
        }
    }

    /// A thread that has ended before the load has failed.
    fn any_failed(&self) -> bool {
        self.threads.iter().any(|thread| thread.is_finished() && !thread.cells.settled.load(Ordering::Acquire))
    }

    /// Takes in what the threads handed over.
    fn take_in(&mut self, progress: Option<&mut Progress>) -> Result<(), Failure> {
        let mut seconds = 0;
        for (number, thread) in self.threads.iter_mut().enumerate() {
            // As many as are there now: a thread that goes on writing cannot hold this one up.
            for _ in 0..thread.claims.slots() {
                let Ok(claim) = thread.claims.pop() else { break };
                self.audit.take(&claim);
                self.claims.write(&claim)?;
            }
            while let Ok(second) = thread.full.pop() {
                self.series.take(number as u32, &second);
                seconds += 1;
                // The queue of empty ones holds all there are.
                drop(thread.empty.push(second));
            }
        }
        if seconds > 0 {
            self.claims.flush()?;
        }
        if let Some(progress) = progress {
            while let Some(point) = self.series.complete() {
                progress.second(point);
            }
        }
        Ok(())
    }

    fn join(&mut self) -> Result<Vec<ThreadReport>, Failure> {
        let join = |thread: &mut Thread| match thread.handle.take().map(JoinHandle::join) {
            Some(Ok(report)) => report,
            Some(Err(_)) | None => Err(Failure::error("a thread of the load generator panicked")),
        };
        let all: Vec<Result<ThreadReport, Failure>> = self.threads.iter_mut().map(join).collect();
        all.into_iter().collect()
    }

    fn report(mut self, threads: &[ThreadReport]) -> Result<Report, Failure> {
        self.take_in(None)?;
        self.claims.flush()?;
        let total = Total::of(threads)?;
        self.audit.lost(total.oddities.unaudited);
        let timing = Timing {
            begun_unix_us: if self.begin_ns > 0 { self.clock.unix_ns(self.begin_ns) / 1_000 } else { 0 },
            establish_ms: self.establish_ns / 1_000_000,
            measured: self.measured(),
            interrupted: self.interrupts > 0,
        };
        Ok(total.report(&self.plan, &timing, self.audit.findings().clone(), self.series.finish()))
    }

    /// How long was measured: as planned, or until a signal came.
    fn measured(&self) -> Duration {
        if self.begin_ns == 0 {
            return Duration::ZERO;
        }
        let planned = self.plan.duration;
        if self.interrupts == 0 {
            return planned;
        }
        let load = Duration::from_nanos(self.end_ns.saturating_sub(self.begin_ns));
        load.saturating_sub(self.plan.warm_up).min(planned)
    }
}

/// Where the JSON goes.
enum Output {
    Standard,
    File(Box<Path>, File),
}

impl Output {
    fn create(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self::Standard);
        }
        let file = File::create(path).map_err(|error| Failure::error(format!("making {}: {error}", path.display())))?;
        Ok(Self::File(path.into(), file))
    }

    fn write(self, report: &Report) -> Result<(), Failure> {
        let mut bytes =
            serde_json::to_vec_pretty(report).map_err(|error| Failure::error(format!("the report: {error}")))?;
        bytes.push(b'\n');
        let (name, written) = match self {
            Self::Standard => ("standard output".to_owned(), io::stdout().lock().write_all(&bytes)),
            Self::File(path, mut file) => (path.display().to_string(), file.write_all(&bytes)),
        };
        written.map_err(|error| Failure::error(format!("writing the report to {name}: {error}")))
    }
}
