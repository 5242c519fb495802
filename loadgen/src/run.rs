//! `hongbao-loadgen run`: starts the threads, takes in what they hand over, and reports.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use hdrhistogram::Histogram;
use hongbao_uring::{Descriptors, RingOptions, Support};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::arguments::{DescriptorChoice, RunArguments};
use crate::audit::{Audit, Claim};
use crate::book::{Book, Oddities};
use crate::claims::ClaimsFile;
use crate::clock::Clock;
use crate::cpu::Cpu;
use crate::driver::{Cells, Driver, Signals, ThreadReport};
use crate::exit::{Exit, Failure};
use crate::health;
use crate::host::Host;
use crate::limits::{CLAIMS_QUEUED, CLAIMS_QUEUED_PER_THREAD_MIN, SECONDS_PER_THREAD};
use crate::plan::{Arrivals, Load, Plan};
use crate::progress::Progress;
use crate::record::{Requests, Second, SecondsEnds};
use crate::report::{Connections, CpuReport, Quantiles, Report, RingReport, SCHEMA};
use crate::series::{Point, Series};
use crate::sessions::Tally;
use crate::signals::Interrupts;
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
        let duration = self.measured();
        let closed_loop = matches!(self.plan.load, Load::Closed { .. });
        let audit = self.audit.findings().clone();
        let lateness_us = Quantiles::from(&total.lateness);
        let facts = health::Facts {
            interrupted: self.interrupts > 0,
            closed_loop,
            connections_target: u64::from(self.plan.connections),
            connections_established: total.established,
            scheduled: total.requests.scheduled,
            not_sent: total.requests.not_sent.disconnected + total.requests.not_sent.overdue,
            period_ms: self.plan.period_ms(),
            shake_interval_ms: total.tally.shake_interval_ms,
            lateness_p99_us: lateness_us.p99,
            busiest_thread_share: total.busiest_thread_share,
            unaudited: audit.unaudited,
            unknown_answers: total.oddities.unknown_answers,
        };
        let invalid_reasons = health::reasons(&facts, &self.plan.bounds);
        let points = self.series.finish();
        let (schedule, rate_target_qps, depth) = describe(&self.plan.load);
        Ok(Report {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            command: std::env::args().collect(),
            begun_unix_us: if self.begin_ns > 0 { self.clock.unix_ns(self.begin_ns) / 1_000 } else { 0 },
            valid: invalid_reasons.is_empty(),
            invalid_reasons,
            warnings: health::warnings(&facts),
            loop_kind: if closed_loop { "closed" } else { "open" },
            schedule,
            rate_target_qps,
            depth,
            duration_s: duration.as_secs_f64(),
            warm_up_s: self.plan.warm_up.as_secs_f64(),
            threads: self.plan.threads,
            tick_us: self.plan.tick.as_micros() as u64,
            connections: Connections {
                target: u64::from(self.plan.connections),
                established: total.established,
                failed: u64::from(total.tally.given_up),
                dropped: total.tally.dropped.total(),
                reconnected: total.tally.reconnected,
                attempts: total.tally.attempts,
                attempts_failed: total.tally.attempts_failed.by_name(),
                dropped_by_reason: total.tally.dropped.by_name(),
                establish_ms: self.establish_ns / 1_000_000,
            },
            rate_qps: rate(&total, closed_loop, duration),
            requests: total.requests,
            latency_us: Quantiles::from(&total.latency),
            service_us: Quantiles::from(&total.service),
            lateness_us,
            lateness_p99_us_max: self.plan.bounds.lateness_p99_us_max,
            audit,
            unknown_answers: total.oddities.unknown_answers,
            cpu: total.cpu_report(&points),
            ring: total.ring,
            seconds: points,
        })
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

const fn describe(load: &Load) -> (&'static str, Option<u64>, Option<u32>) {
    match *load {
        Load::Open { rate, arrivals } => {
            let name = match arrivals {
                Arrivals::Wallclock => "wallclock",
                Arrivals::Uniform => "uniform",
                Arrivals::Poisson { .. } => "poisson",
            };
            (name, Some(rate), None)
        }
        Load::Closed { depth } => ("closed", None, Some(depth)),
    }
}

/// Answers a second. In the closed loop what is answered after the end is left out: it was begun before it.
fn rate(total: &Total, closed_loop: bool, duration: Duration) -> f64 {
    let answered = if closed_loop { total.answered_in_load } else { total.requests.answered };
    if duration.is_zero() { 0.0 } else { (answered as f64 / duration.as_secs_f64() * 10.0).round() / 10.0 }
}

/// All threads together.
struct Total {
    requests: Requests,
    answered_in_load: u64,
    latency: Histogram<u64>,
    service: Histogram<u64>,
    lateness: Histogram<u64>,
    tally: Tally,
    established: u64,
    oddities: Oddities,
    cpu: Cpu,
    busiest_thread_share: f64,
    ring: RingReport,
}

impl Total {
    fn of(threads: &[ThreadReport]) -> Result<Self, Failure> {
        let empty = || Histogram::new_from(&Histogram::<u64>::new_from(&crate::record::histogram()));
        let mut total = Self {
            requests: Requests::default(),
            answered_in_load: 0,
            latency: empty(),
            service: empty(),
            lateness: empty(),
            tally: Tally::default(),
            established: 0,
            oddities: Oddities::default(),
            cpu: Cpu::default(),
            busiest_thread_share: 0.0,
            ring: RingReport::default(),
        };
        for thread in threads {
            total.requests += thread.requests;
            total.answered_in_load += thread.answered_in_load;
            add(&mut total.latency, &thread.latencies.latency);
            add(&mut total.service, &thread.latencies.service);
            add(&mut total.lateness, &thread.latencies.lateness);
            total.tally.add(&thread.tally);
            total.established += u64::from(thread.established);
            total.oddities.unknown_answers += thread.oddities.unknown_answers;
            total.oddities.unaudited += thread.oddities.unaudited;
            total.cpu.user += thread.cpu.user;
            total.cpu.system += thread.cpu.system;
            total.cpu.waited += thread.cpu.waited;
            total.cpu.wall = total.cpu.wall.max(thread.cpu.wall);
            total.busiest_thread_share = total.busiest_thread_share.max(thread.cpu.share());
            total.ring.add(&thread.ring);
        }
        if total.requests.balance() {
            Ok(total)
        } else {
            Err(Failure::error(format!(
                "the shakes do not add up, which is a defect of this program: {:?}",
                total.requests
            )))
        }
    }

    fn cpu_report(&self, points: &[Point]) -> CpuReport {
        let sent: u64 = points.iter().map(|point| point.sent).sum();
        let used = (self.cpu.user + self.cpu.system).as_secs_f64();
        CpuReport {
            user_s: self.cpu.user.as_secs_f64(),
            system_s: self.cpu.system.as_secs_f64(),
            waited_s: self.cpu.waited.as_secs_f64(),
            cores: self.cpu.share(),
            busiest_thread_share: self.busiest_thread_share,
            us_per_request: if sent == 0 { 0.0 } else { used * 1e6 / sent as f64 },
        }
    }
}

/// Counters of 32 bits into those of 64.
fn add(total: &mut Histogram<u64>, part: &Histogram<u32>) {
    for recorded in part.iter_recorded() {
        total.saturating_record_n(recorded.value_iterated_to(), u64::from(recorded.count_at_value()));
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
