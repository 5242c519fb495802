//! Rings under a memory lock limit that bites. One test, since the limit is the whole process's.

use std::time::{Duration, Instant};

use hongbao_uring::{Errno, Network, RingError, RingOptions, Wait};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// `CAP_IPC_LOCK`, which lifts the limit.
const CAPABILITY: u32 = 14;

/// Of `capset(2)`, version 3: two words of each set, 32 capabilities a word.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Capabilities {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

#[repr(C)]
struct Header {
    version: u32,
    thread: i32,
}

/// Gives the capability up on this thread.
fn obey_the_limit() {
    let header = Header { version: 0x2008_0522, thread: 0 };
    let mut sets = [Capabilities::default(); 2];
    // SAFETY: the kernel reads the header and writes two elements, which is what version 3 says and what is there.
    let got = unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) };
    assert_eq!(got, 0, "capget: {}", Errno::last());
    sets[0].effective &= !(1 << CAPABILITY);
    // SAFETY: the kernel reads both.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    assert_eq!(set, 0, "capset: {}", Errno::last());
}

fn limit_to(soft: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_MEMLOCK).expect("a limit");
    setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard).expect("below the hard limit");
}

#[test]
fn little_lockable_memory_makes_rings_smaller_and_none_says_what_to_raise() {
    // A ring's table is bounded by the limit of open files too, which is not what is tried here.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit");
    let wanted = RingOptions::connecting(16_000).open().expect("no limit so far").features();
    obey_the_limit();
    limit_to(0);
    // Kernels before 6.14 do not count rings against the limit: there it never bites.
    let Err(error) = RingOptions::connecting(16_000).open() else { return };
    assert!(
        matches!(&error, RingError::Unavailable(unavailable) if unavailable.errno == Some(Errno::ENOMEM)),
        "{error}"
    );
    assert!(error.to_string().contains("LimitMEMLOCK=infinity"), "{error}");
    limit_to(128 << 10);
    // The kernel takes its time to give back what the first ring had, which an ordinary user is still charged for.
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut ring = loop {
        match RingOptions::connecting(16_000).open() {
            Ok(ring) => break ring,
            Err(error) => assert!(Instant::now() < deadline, "smaller ones fit: {error}"),
        }
        std::thread::yield_now();
    };
    let given = ring.features();
    let smaller = given.ring.completions < wanted.ring.completions || given.receive_buffers < wanted.receive_buffers;
    assert!(smaller, "{given}, as without the limit");
    ring.enter(Wait::NOT).expect("it works all the same");
}
