//! The figures of a lap, joined over the threads.

use hdrhistogram::Histogram;

use crate::cpu::Cpu;
use crate::gifts::record::{GiftCounts, GiftLap};
use crate::record::{self, Lap, Requests};
use crate::report::{CpuReport, RingReport};

/// See the module's text. Also several laps together.
#[derive(Clone, Debug)]
pub struct JoinedLap {
    number: u32,
    threads: u32,
    /// Shakes.
    pub requests: Requests,
    /// Answered when the lap ended.
    pub answered_at_end: u64,
    /// Intended time to answer, in microseconds.
    pub latency: Histogram<u64>,
    /// Sent to answer.
    pub service: Histogram<u64>,
    /// Intended time to sent.
    pub lateness: Histogram<u64>,
    /// Share of a core that the busiest thread used.
    pub busiest_thread_share: f64,
    /// What the rings did.
    pub ring: RingReport,
    /// Gifts, where there were some.
    pub gifts: Option<JoinedGifts>,
    cpu: Cpu,
    sent_in_all: u64,
}

/// The gifts of a lap, joined over the threads. Histograms are of microseconds.
#[derive(Clone, Debug)]
pub struct JoinedGifts {
    /// What happened.
    pub counts: GiftCounts,
    /// Intended time of a send to its answer.
    pub send: Histogram<u64>,
    /// Intended time of a send to the send.
    pub lateness: Histogram<u64>,
    /// Send to the notice. The audit knows it: who is told sits on another thread than who sends.
    pub notice: Histogram<u64>,
    /// Open to its answer.
    pub open: Histogram<u64>,
}

impl Default for JoinedGifts {
    fn default() -> Self {
        let counts = GiftCounts::default();
        Self { counts, send: empty(), lateness: empty(), notice: empty(), open: empty() }
    }
}

impl JoinedGifts {
    fn add(&mut self, gifts: &GiftLap) {
        self.counts += gifts.counts;
        widen(&mut self.send, &gifts.send);
        widen(&mut self.lateness, &gifts.lateness);
        widen(&mut self.open, &gifts.open);
    }

    fn follow(&mut self, later: &Self) {
        self.counts += later.counts;
        for (sum, part) in [
            (&mut self.send, &later.send),
            (&mut self.lateness, &later.lateness),
            (&mut self.notice, &later.notice),
            (&mut self.open, &later.open),
        ] {
            sum.add(part).expect("all have the same bounds");
        }
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new_from(&Histogram::<u64>::new_from(&record::histogram()))
}

impl JoinedLap {
    /// Nothing joined yet.
    pub fn empty(number: u32) -> Self {
        Self {
            number,
            threads: 0,
            requests: Requests::default(),
            answered_at_end: 0,
            latency: empty(),
            service: empty(),
            lateness: empty(),
            busiest_thread_share: 0.0,
            ring: RingReport::default(),
            gifts: None,
            cpu: Cpu::default(),
            sent_in_all: 0,
        }
    }

    /// One thread's.
    pub fn of(lap: &Lap) -> Self {
        let mut joined = Self::empty(lap.number);
        joined.add(lap);
        joined
    }

    /// Which lap.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Threads that are in it.
    pub const fn threads(&self) -> u32 {
        self.threads
    }

    /// Adds another thread's, which ran at the same time.
    pub fn add(&mut self, lap: &Lap) {
        self.threads += 1;
        self.requests += lap.requests;
        self.answered_at_end += lap.answered_at_end;
        widen(&mut self.latency, &lap.latencies.latency);
        widen(&mut self.service, &lap.latencies.service);
        widen(&mut self.lateness, &lap.latencies.lateness);
        self.busiest_thread_share = self.busiest_thread_share.max(lap.cpu.share());
        self.ring.add(&lap.ring);
        self.cpu.user += lap.cpu.user;
        self.cpu.system += lap.cpu.system;
        self.cpu.waited += lap.cpu.waited;
        self.cpu.wall = self.cpu.wall.max(lap.cpu.wall);
        self.sent_in_all += lap.sent_in_all;
        if let Some(gifts) = &lap.gifts {
            self.gifts.get_or_insert_default().add(gifts);
        }
    }

    /// Adds another lap of all threads, which came after.
    pub fn follow(&mut self, later: &Self) {
        self.requests += later.requests;
        self.answered_at_end += later.answered_at_end;
        for (sum, part) in [
            (&mut self.latency, &later.latency),
            (&mut self.service, &later.service),
            (&mut self.lateness, &later.lateness),
        ] {
            sum.add(part).expect("all have the same bounds");
        }
        self.busiest_thread_share = self.busiest_thread_share.max(later.busiest_thread_share);
        self.ring.join(&later.ring);
        self.cpu.user += later.cpu.user;
        self.cpu.system += later.cpu.system;
        self.cpu.waited += later.cpu.waited;
        self.cpu.wall += later.cpu.wall;
        self.sent_in_all += later.sent_in_all;
        if let Some(gifts) = &later.gifts {
            self.gifts.get_or_insert_default().follow(gifts);
        }
    }

    /// CPU from the begin to the end, warm-up included.
    pub fn cpu_report(&self) -> CpuReport {
        let used = (self.cpu.user + self.cpu.system).as_secs_f64();
        CpuReport {
            user_s: self.cpu.user.as_secs_f64(),
            system_s: self.cpu.system.as_secs_f64(),
            waited_s: self.cpu.waited.as_secs_f64(),
            cores: self.cpu.share(),
            busiest_thread_share: self.busiest_thread_share,
            us_per_request: if self.sent_in_all == 0 { 0.0 } else { used * 1e6 / self.sent_in_all as f64 },
        }
    }
}

/// Counters of 32 bits into those of 64.
fn widen(total: &mut Histogram<u64>, part: &Histogram<u32>) {
    for recorded in part.iter_recorded() {
        total.saturating_record_n(recorded.value_iterated_to(), u64::from(recorded.count_at_value()));
    }
}
