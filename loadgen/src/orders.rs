//! What the main thread tells the threads of a run, and what they show and give back.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rtrb::{Consumer, Producer};

use crate::book::Oddities;
use crate::gifts::desk::GiftOddities;
use crate::record::Lap;
use crate::segment::Segment;
use crate::sessions::Tally;

/// From the main thread to one thread, in order.
#[derive(Debug)]
pub enum Order {
    /// Connect users until these many of the whole run are.
    Connect {
        /// Over all threads.
        connections: u32,
    },
    /// A lap begins with the next segment; its figures go in here.
    Lap(Box<Lap>),
    /// Follow this segment from its begin.
    Segment(Segment),
    /// Close every connection and end. Comes when all threads have answered for their laps, so that closing disturbs none.
    Close,
}

/// End at once, whatever was ordered.
#[derive(Debug, Default)]
pub struct Abandon(AtomicBool);

impl Abandon {
    /// Tells all threads.
    pub fn tell(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was told.
    pub fn is_told(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What a thread shows of itself while it runs. Written by it alone.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Cells {
    /// Users logged in.
    pub established: AtomicU32,
    /// Users given up.
    pub given_up: AtomicU32,
    /// Users of the whole run for whom this thread's part has settled: logged in or given up, and nothing being tried.
    pub settled: AtomicU32,
}

/// A thread's ends of its queues.
pub struct ThreadEnds {
    /// Orders in.
    pub orders: Consumer<Order>,
    /// Laps out, filled.
    pub laps: Producer<Box<Lap>>,
}

/// What a thread hands back when it ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadReport {
    /// Its connections.
    pub tally: Tally,
    /// What did not fit.
    pub oddities: Oddities,
    /// The same of gifts.
    pub gifts: GiftOddities,
}
