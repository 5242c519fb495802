//! Waking a thread that sleeps in its ring: `MSG_RING`, as the doorbells do it, against an eventfd with a read armed.
//!
//! Two threads wake each other in turn. A message rides on the waker's next enter; an eventfd takes a write. Printed as one line of JSON a
//! measurement, and the ratio of the medians last; run with `cargo bench -p hongbao-uring --bench wake`.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hongbao_uring::{Doorbell, ListenOptions, Listener, Network, Ring, RingOptions, Wait};
use io_uring::{IoUring, opcode, types};
use nix::sys::eventfd::EventFd;
use nix::sys::resource::{UsageWho, getrusage};

const ROUNDS: u64 = 50_000;
const ALTERNATIONS: usize = 7;
/// Names the read's completions.
const READ: u64 = 1;
const FOREVER: Wait = Wait::first(10_000_000);

/// Whose turn it is: even rounds are the first thread's.
struct Turn(AtomicU64);

impl Turn {
    fn is_mine(&self, side: u64) -> bool {
        let round = self.0.load(Ordering::Acquire);
        round % 2 == side || round >= ROUNDS
    }

    fn pass(&self) -> bool {
        self.0.fetch_add(1, Ordering::AcqRel) + 1 < ROUNDS
    }
}

fn ring() -> Ring {
    let listener = Listener::bind(&ListenOptions::at(([127, 0, 0, 1], 0).into())).expect("a free port");
    RingOptions::listening(4, listener).open().expect("io_uring")
}

/// One side by `MSG_RING`.
fn by_message(side: u64, turn: &Turn, own: &Doorbell, other: &Doorbell) {
    let mut ring = ring();
    ring.attach(own).expect("a descriptor");
    loop {
        own.going_to_sleep();
        ring.enter(if turn.is_mine(side) { Wait::NOT } else { FOREVER }).expect("entered");
        own.woke_up();
        while ring.next().is_some() {}
        if turn.is_mine(side) {
            let goes_on = turn.pass();
            ring.ring_doorbell(other);
            if !goes_on {
                ring.enter(Wait::NOT).expect("entered");
                return;
            }
        }
    }
}

/// One side by eventfd: a read is always armed on its own, and the other's is written to by a system call (through the ring, a worker
/// thread would do it: an eventfd takes no write without blocking).
fn by_eventfd(side: u64, turn: &Turn, own: &EventFd, other: &EventFd) {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun();
    let mut ring: IoUring = builder.build(32).expect("io_uring");
    let mut count = Box::new(0_u64);
    let mut arm = true;
    loop {
        if arm {
            let read = opcode::Read::new(types::Fd(own.as_fd().as_raw_fd()), (&raw mut *count).cast(), 8)
                .build()
                .user_data(READ);
            // SAFETY: `count` outlives the ring, which is dropped first, and is not looked at.
            unsafe { ring.submission().push(&read) }.expect("room");
        }
        ring.submit_and_wait(usize::from(!turn.is_mine(side))).expect("entered");
        let woken = ring.completion().filter(|completion| completion.user_data() == READ).count();
        arm = woken > 0;
        if turn.is_mine(side) {
            let goes_on = turn.pass();
            other.write(1).expect("room in the counter");
            if !goes_on {
                return;
            }
        }
    }
}

/// Runs both sides; (microseconds a wake-up, CPU microseconds a wake-up).
fn measure<F: Fn(u64, &Turn) + Send + Sync + 'static>(side: F) -> (f64, f64) {
    let cpu_us = || {
        let usage = getrusage(UsageWho::RUSAGE_SELF).expect("usage");
        [usage.user_time(), usage.system_time()]
            .iter()
            .map(|t| t.tv_sec() as f64 * 1e6 + t.tv_usec() as f64)
            .sum::<f64>()
    };
    let (side, turn) = (Arc::new(side), Arc::new(Turn(AtomicU64::new(0))));
    let (begin, cpu) = (Instant::now(), cpu_us());
    let threads: Vec<_> = (0..2)
        .map(|number| {
            let (side, turn) = (Arc::clone(&side), Arc::clone(&turn));
            std::thread::spawn(move || side(number, &turn))
        })
        .collect();
    for thread in threads {
        thread.join().expect("a side that ended");
    }
    (begin.elapsed().as_secs_f64() * 1e6 / ROUNDS as f64, (cpu_us() - cpu) / ROUNDS as f64)
}

fn median(values: &mut [(f64, f64)]) -> (f64, f64) {
    let middle = values.len() / 2;
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let wall = values[middle].0;
    values.sort_by(|a, b| a.1.total_cmp(&b.1));
    (wall, values[middle].1)
}

fn main() {
    let (mut message, mut eventfd) = (Vec::new(), Vec::new());
    for _ in 0..ALTERNATIONS {
        let doorbells = [Doorbell::default(), Doorbell::default()];
        message.push(measure(move |side, turn| {
            let side = side as usize;
            by_message(side as u64, turn, &doorbells[side], &doorbells[1 - side]);
        }));
        println!(
            "{{\"way\":\"MSG_RING\",\"us\":{:.3},\"cpu_us\":{:.3}}}",
            message.last().unwrap().0,
            message.last().unwrap().1
        );
        let events = [0, 1].map(|_| EventFd::new().expect("an eventfd"));
        eventfd.push(measure(move |side, turn| {
            let side = side as usize;
            by_eventfd(side as u64, turn, &events[side], &events[1 - side]);
        }));
        println!(
            "{{\"way\":\"eventfd\",\"us\":{:.3},\"cpu_us\":{:.3}}}",
            eventfd.last().unwrap().0,
            eventfd.last().unwrap().1
        );
    }
    let (message, eventfd) = (median(&mut message), median(&mut eventfd));
    println!("MSG_RING by eventfd: {:.2} of the time, {:.2} of the CPU", message.0 / eventfd.0, message.1 / eventfd.1);
}
