//! One ring, as every loop of this crate needs it: made with the best flags the kernel knows, pushed to, entered, drained.
//! Below `Ring`, which speaks of connections, and `DiskRing`, which speaks of files.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, Submitter, opcode};
use nix::errno::Errno;

use crate::operation::{Kind, user_data};
use crate::set_up::{Features, Sizes, set_up};
use crate::{Doorbell, Token, Unavailable, Wait};

/// Rounds that one `enter` may take until the submission queue is empty and no overflow is left. Each round submits or reaps
/// something; a ring that needs more is broken.
const ENTER_ROUNDS_MAX: u32 = 1 << 20;

/// Tries to push on a full submission queue; each drains the completion queue first.
const PUSH_TRIES_MAX: u32 = 64;

/// One reaped completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reaped {
    pub(crate) user_data: u64,
    pub(crate) result: i32,
    pub(crate) flags: u32,
}

impl Reaped {
    /// The result as system calls give it.
    pub(crate) fn outcome(self) -> Result<u32, Errno> {
        u32::try_from(self.result).map_err(|_| Errno::from_raw(-self.result))
    }

    /// Whether more completions of the same operation follow.
    pub(crate) fn more(self) -> bool {
        io_uring::cqueue::more(self.flags)
    }
}

/// What the ring has done; plain counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CoreCounters {
    pub(crate) enters: u64,
    pub(crate) completions: u64,
    pub(crate) completion_overflows: u64,
    pub(crate) wakes_sent: u64,
}

/// One ring and what was reaped from it. Belongs to the thread that made it.
pub(crate) struct RingCore {
    ring: IoUring,
    features: Features,
    /// Reaped and not yet retired. `[..cursor]` was handed out, `[..batch]` is the last enter's; what follows was reaped
    /// while pushing and waits for the next enter.
    reaped: Vec<Reaped>,
    cursor: usize,
    batch: usize,
    /// Completions that the last enter itself reaped.
    waited_for: usize,
    counters: CoreCounters,
    /// Why a push could not be submitted: told by the next enter.
    push_failure: Option<io::Error>,
    /// The kernel takes submissions from the thread that made the ring and from no other.
    not_send: PhantomData<*mut ()>,
}

impl RingCore {
    /// Makes a ring on the calling thread. Where memory lacks, it is made smaller, down to a floor.
    /// `reaped_max`: completions that one enter may reap without an allocation.
    pub(crate) fn open(sizes: Sizes, reaped_max: usize) -> Result<Self, Unavailable> {
        Ok(Self::over(set_up(sizes)?, reaped_max))
    }

    /// Works with a ring that was set up.
    pub(crate) fn over((ring, features): (IoUring, Features), reaped_max: usize) -> Self {
        Self {
            ring,
            features,
            reaped: Vec::with_capacity(reaped_max),
            cursor: 0,
            batch: 0,
            waited_for: 0,
            counters: CoreCounters::default(),
            push_failure: None,
            not_send: PhantomData,
        }
    }

    /// What the kernel gave.
    pub(crate) fn features(&self) -> Features {
        self.features
    }

    /// What was done so far.
    pub(crate) fn counters(&self) -> CoreCounters {
        self.counters
    }

    /// For registrations. Only on the thread that made the ring.
    pub(crate) fn submitter(&self) -> Submitter<'_> {
        self.ring.submitter()
    }

    /// Puts one operation into the submission queue. Where that is full, it is submitted first, without waiting; should even that
    /// fail, the next enter says so.
    ///
    /// # Safety
    ///
    /// What the entry points to stays valid, and is not written to by others, until the operation has completed; or, where it
    /// completes only on failure, until the enter that submits it has returned.
    pub(crate) unsafe fn push(&mut self, entry: &Entry) {
        // SAFETY: the caller keeps what the entry points to, as this function's contract asks.
        unsafe { self.push_together(std::slice::from_ref(entry)) };
    }

    /// As `push`, for entries that are linked: they are submitted by one enter, as a chain does not reach into the next one.
    /// At most as many as the smallest submission queue holds.
    ///
    /// # Safety
    ///
    /// As for `push`, for each of the entries.
    pub(crate) unsafe fn push_together(&mut self, entries: &[Entry]) {
        for _ in 0..PUSH_TRIES_MAX {
            // SAFETY: the caller keeps what the entries point to, as this function's contract asks.
            if unsafe { self.ring.submission().push_multiple(entries) }.is_ok() {
                return;
            }
            self.submit_some();
        }
        self.push_failure.get_or_insert_with(|| io::Error::from(Errno::EBUSY));
    }

    /// Submits what was pushed, without waiting. Completions stay where they are until the next enter.
    pub(crate) fn submit(&mut self) {
        for _ in 0..PUSH_TRIES_MAX {
            if self.ring.submission().is_empty() {
                return;
            }
            self.submit_some();
        }
        self.push_failure.get_or_insert_with(|| io::Error::from(Errno::EBUSY));
    }

    /// Submits what was pushed, without waiting, and adds what that completed to the batch. Nothing else is worked off: what comes in
    /// meanwhile is the next enter's. Failures are told by that as well.
    pub(crate) fn submit_and_reap(&mut self) {
        for _ in 0..PUSH_TRIES_MAX {
            let unsubmitted = self.ring.submission().len() as u32;
            if unsubmitted == 0 {
                break;
            }
            self.counters.enters += 1;
            // SAFETY: the kernel is given no pointer. The entries were made sound by those who pushed them.
            let entered = unsafe { self.ring.submitter().enter::<u8>(unsubmitted, 0, 0, None) };
            self.drain();
            if let Err(error) = entered
                && !is_passing(errno_of(&error))
            {
                self.push_failure.get_or_insert(error);
                break;
            }
        }
        if self.ring.submission().cq_overflow()
            && let Err(error) = self.enter_until_settled(Wait::NOT)
        {
            self.push_failure.get_or_insert(error);
        }
        self.counters.completions += (self.reaped.len() - self.batch) as u64;
        self.batch = self.reaped.len();
    }

    fn submit_some(&mut self) {
        self.counters.enters += 1;
        if let Err(error) = self.ring.submitter().submit() {
            self.drain();
            if !is_passing(errno_of(&error)) {
                self.push_failure.get_or_insert(error);
            }
        }
    }

    /// Submits what was pushed, waits, and reaps all there is, so that after it the submission queue is empty and no
    /// completion of an operation that ended inside it is left in the kernel. What was reaped before is dropped.
    ///
    /// An error is fatal to the ring: submissions or completions were lost.
    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        self.retire();
        if let Some(error) = self.push_failure.take() {
            return Err(error);
        }
        if self.features.min_wait || wait.want <= 1 || wait.min_wait_us == 0 {
            self.enter_until_settled(wait)?;
        } else {
            let first = Wait { timeout_us: wait.min_wait_us.min(wait.timeout_us), ..wait };
            self.enter_until_settled(first)?;
            if self.reaped.is_empty() && wait.timeout_us > first.timeout_us {
                let rest = Wait { want: 1, min_wait_us: 0, timeout_us: wait.timeout_us - first.timeout_us };
                self.enter_until_settled(rest)?;
            }
        }
        self.batch = self.reaped.len();
        self.waited_for = self.batch;
        self.counters.completions += self.batch as u64;
        Ok(())
    }

    fn enter_until_settled(&mut self, wait: Wait) -> io::Result<()> {
        self.enter_once(wait)?;
        for _ in 0..ENTER_ROUNDS_MAX {
            let queue = self.ring.submission();
            let (overflown, unsubmitted) = (queue.cq_overflow(), !queue.is_empty());
            drop(queue);
            if !overflown && !unsubmitted {
                return Ok(());
            }
            self.counters.completion_overflows += u64::from(overflown);
            self.enter_once(Wait { want: 0, min_wait_us: 0, timeout_us: 0 })?;
        }
        Err(io::Error::other("io_uring: the submission queue does not empty"))
    }

    fn enter_once(&mut self, wait: Wait) -> io::Result<()> {
        let timeout =
            Timespec::new().sec(u64::from(wait.timeout_us / 1_000_000)).nsec(wait.timeout_us % 1_000_000 * 1000);
        let mut arguments = SubmitArgs::new().timespec(&timeout);
        if self.features.min_wait && wait.want > 1 {
            arguments = arguments.min_wait_usec(wait.min_wait_us.min(wait.timeout_us));
        }
        // With GETEVENTS even an enter that does not wait works off what is deferred and what has overflown.
        let mut flags = EnterFlags::EXT_ARG | EnterFlags::GETEVENTS;
        if self.features.no_iowait {
            flags |= EnterFlags::NO_IOWAIT;
        }
        let unsubmitted = self.ring.submission().len() as u32;
        self.counters.enters += 1;
        // SAFETY: with EXT_ARG the kernel reads a `SubmitArgs`, which is what it is given, and through it the timeout; both live
        // on this stack during the call. The entries were made sound by those who pushed them.
        let entered = unsafe { self.ring.submitter().enter(unsubmitted, wait.want, flags.bits(), Some(&arguments)) };
        self.drain();
        match entered {
            Ok(_) => Ok(()),
            Err(error) => match errno_of(&error) {
                // The time was up; or a signal came, and the loop's owner looks at its flags.
                Errno::ETIME | Errno::EINTR => Ok(()),
                errno if is_passing(errno) => Ok(()),
                // EBADR above all: the kernel had no memory for a completion and dropped it.
                errno => Err(io::Error::other(format!("io_uring_enter: {errno}; submissions or completions are lost"))),
            },
        }
    }

    /// Moves every completion that is there to `reaped`.
    fn drain(&mut self) {
        for entry in self.ring.completion() {
            self.reaped.push(Reaped { user_data: entry.user_data(), result: entry.result(), flags: entry.flags() });
        }
    }

    fn retire(&mut self) {
        self.reaped.drain(..self.batch);
        self.cursor = 0;
        self.batch = 0;
    }

    /// Whether an enter that does not wait would do anything. Reads memory that the kernel shares, and calls nothing.
    pub(crate) fn has_work(&mut self) -> bool {
        let queue = self.ring.submission();
        let (told, unsubmitted) = (queue.taskrun() || queue.cq_overflow(), !queue.is_empty());
        drop(queue);
        told || unsubmitted
            || self.reaped.len() > self.batch
            || self.push_failure.is_some()
            || !self.ring.completion().is_empty()
    }

    /// The next completion of the last enter.
    pub(crate) fn next(&mut self) -> Option<Reaped> {
        let next = *self.reaped[..self.batch].get(self.cursor)?;
        self.cursor += 1;
        Some(next)
    }

    /// The completions of the last enter.
    pub(crate) fn batch(&self) -> &[Reaped] {
        &self.reaped[..self.batch]
    }

    /// How many completions the last enter itself reaped.
    pub(crate) fn waited_for(&self) -> usize {
        self.waited_for
    }

    /// Whether `next` has handed out the whole batch.
    pub(crate) fn is_handled(&self) -> bool {
        self.cursor == self.batch
    }

    /// Tells a doorbell where this ring's thread is to be woken.
    pub(crate) fn attach(&self, doorbell: &Doorbell) -> io::Result<()> {
        // SAFETY: the descriptor is the ring's, which `self` keeps open during this call.
        let ring = unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) };
        doorbell.attach(ring.try_clone_to_owned()?);
        Ok(())
    }

    /// Wakes the owner of `doorbell` where it sleeps; rides on the next enter. Its ring reaps a [`Kind::Wake`].
    pub(crate) fn wake(&mut self, doorbell: &Doorbell) {
        if !doorbell.must_signal() {
            return;
        }
        let Some(ring) = doorbell.ring() else { return };
        let wake = user_data(Kind::Wake, Token::default());
        let entry = opcode::MsgRingData::new(Fd(ring.as_raw_fd()), 0, wake, None)
            .build()
            .flags(Flags::SKIP_SUCCESS)
            .user_data(user_data(Kind::WakeSent, Token::default()));
        // SAFETY: the entry points to no memory. Its descriptor is open until the doorbell is dropped; should that happen
        // before the enter, the message fails with an error, or is refused by whatever is no ring.
        unsafe { self.push(&entry) };
        self.counters.wakes_sent += 1;
    }
}

/// The error's number. Errors of this crate's system calls always have one.
pub(crate) fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Errors that a drained completion queue or a moment's patience cures.
fn is_passing(errno: Errno) -> bool {
    matches!(errno, Errno::EBUSY | Errno::EAGAIN | Errno::EINTR)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::Generation;
    use crate::operation::{kind_of, token_of};
    use crate::set_up::{SetUp, set_up_as};

    const SECOND: Wait = Wait::first(1_000_000);

    const SIZES: Sizes = Sizes { submissions: 32, completions: 128 };

    fn on(set_up: SetUp) -> RingCore {
        RingCore::over(set_up_as(set_up, SIZES), 1024)
    }

    fn push_nops(core: &mut RingCore, count: u32) {
        for slot in 0..count {
            let token = Token { slot, generation: Generation::new(3) };
            let entry = opcode::Nop::new().build().user_data(user_data(Kind::Flush, token));
            // SAFETY: a no-operation points to nothing.
            unsafe { core.push(&entry) };
        }
    }

    #[test]
    fn a_full_submission_queue_and_an_overflown_completion_queue_lose_nothing() {
        for set_up in SetUp::ALL {
            let mut core = on(set_up);
            push_nops(&mut core, 1000);
            core.enter(Wait::NOT).expect("enter");
            let slots: Vec<u32> =
                std::iter::from_fn(|| core.next()).map(|reaped| token_of(reaped.user_data).slot).collect();
            assert_eq!(slots, (0..1000).collect::<Vec<u32>>(), "{set_up:?}");
            assert!(core.is_handled() && core.counters().completion_overflows > 0, "{set_up:?} {:?}", core.counters());
            core.enter(Wait::NOT).expect("enter");
            assert_eq!(core.next(), None, "a completion is handed out once");
        }
    }

    #[test]
    fn an_idle_wait_ends_at_its_timeout_without_an_error() {
        for set_up in SetUp::ALL {
            let mut core = on(set_up);
            core.enter(Wait::first(1000)).expect("ETIME is normal");
            core.enter(Wait { want: 64, min_wait_us: 500, timeout_us: 1000 }).expect("ETIME is normal");
            assert!(core.batch().is_empty());
        }
    }

    #[test]
    fn a_kernel_without_min_wait_gets_the_same_by_two_enters() {
        let mut core = on(SetUp::Deferred);
        core.features.min_wait = false;
        core.enter(Wait { want: 64, min_wait_us: 500, timeout_us: 1000 }).expect("ETIME is normal");
        assert_eq!(core.counters().enters, 2);
        push_nops(&mut core, 2);
        core.enter(Wait { want: 64, min_wait_us: 500, timeout_us: 1_000_000 }).expect("enter");
        assert_eq!((core.batch().len(), core.counters().enters), (2, 3));
    }

    #[test]
    fn a_sleeping_thread_is_woken_through_its_doorbell() {
        for set_up in SetUp::ALL {
            wake_a_sleeper_on(set_up);
        }
    }

    fn wake_a_sleeper_on(set_up: SetUp) {
        let doorbell = Arc::new(Doorbell::default());
        let (asleep, is_asleep) = mpsc::channel();
        let sleeper = thread::spawn({
            let doorbell = Arc::clone(&doorbell);
            move || {
                let mut core = on(set_up);
                core.attach(&doorbell).expect("a descriptor is free");
                doorbell.going_to_sleep();
                asleep.send(()).expect("the test waits");
                for _ in 0..30 {
                    core.enter(SECOND).expect("enter");
                    if let Some(reaped) = core.next() {
                        doorbell.woke_up();
                        return kind_of(reaped.user_data);
                    }
                }
                panic!("not woken within 30 s");
            }
        });
        is_asleep.recv().expect("the sleeper lives");
        let mut core = on(SetUp::Deferred);
        core.wake(&doorbell);
        core.wake(&doorbell);
        core.enter(Wait::NOT).expect("enter");
        assert_eq!(core.next(), None, "a wake-up that arrived has no completion at the sender");
        assert_eq!(core.counters().wakes_sent, 1, "one signal for one sleep");
        assert_eq!(sleeper.join().expect("the sleeper ends"), Kind::Wake);
    }

    #[test]
    fn a_wake_up_for_a_ring_that_is_gone_harms_nobody() {
        let doorbell = Arc::new(Doorbell::default());
        thread::spawn({
            let doorbell = Arc::clone(&doorbell);
            move || on(SetUp::Deferred).attach(&doorbell).expect("a descriptor is free")
        })
        .join()
        .expect("the thread ends");
        doorbell.going_to_sleep();
        let mut core = on(SetUp::Deferred);
        core.wake(&doorbell);
        core.enter(Wait::NOT).expect("enter");
        assert!(core.batch().iter().all(|reaped| kind_of(reaped.user_data) == Kind::WakeSent));
    }
}
