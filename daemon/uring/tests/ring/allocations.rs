//! Once a ring is open, it allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;

use crate::support::{self, Answer, BOTH, Server, read_now, token};
use hongbao_uring::{Event, Network, Outbox, Receive, Received, Sent, Wait};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // During a thread's end its counter is gone, and nobody asks for it.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: hands every call on to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Echoes what comes to these connections, with nothing of its own that allocates. Buffers are kept until none is left.
fn turn(server: &mut Server, outboxes: &mut [Outbox; 8], kept: &mut Vec<Received>) {
    let (mut dirty, mut disarmed) = ([false; 8], [false; 8]);
    server.ring.enter(Wait::first(1000)).expect("enter");
    while let Some(completion) = server.ring.next() {
        let number = completion.token.slot as usize;
        match completion.event {
            Event::Receive { outcome: Receive::Data(received), more } => {
                let mut bytes = [0; 64];
                let length = server.ring.bytes(&received).len();
                bytes[..length].copy_from_slice(server.ring.bytes(&received));
                kept.push(received);
                server.ring.append(&mut outboxes[number], &bytes[..length]).expect("room");
                dirty[number] = true;
                disarmed[number] = !more;
            }
            Event::Receive { outcome: Receive::NoBuffers, .. } => {
                disarmed[number] = true;
                kept.drain(..).for_each(|received| server.ring.give_back(received));
            }
            Event::Send { outcome } => dirty[number] |= server.ring.sent(&mut outboxes[number], outcome) == Sent::More,
            other => panic!("{other:?}"),
        }
    }
    for number in 0..outboxes.len() {
        let socket = server.connections[number].socket.as_ref().expect("open");
        if disarmed[number] {
            server.ring.receive(socket, token(number));
        }
        if dirty[number] {
            server.ring.flush(socket, token(number), &mut outboxes[number]);
        }
    }
}

#[test]
fn a_ring_in_use_allocates_nothing_from_its_first_message_on() {
    for descriptors in BOTH {
        let mut server = Server::open(descriptors, Answer::Keep);
        let mut clients: Vec<_> = (0..8).map(|_| server.client().0).collect();
        server.turn(Wait::NOT);
        let mut outboxes: [Outbox; 8] = Default::default();
        let message = [7; 3000];
        let mut kept = Vec::with_capacity(usize::from(server.ring.features().receive_buffers));
        for _ in 0..100 {
            for client in &mut clients {
                client.set_nonblocking(false).expect("a socket");
                client.write_all(&message).expect("the server reads");
            }
            let mut read = [0_usize; 8];
            for _ in 0..support::TURNS_MAX {
                let before = ALLOCATIONS.get();
                turn(&mut server, &mut outboxes, &mut kept);
                assert_eq!(ALLOCATIONS.get(), before, "a turn allocated");
                for (client, read) in clients.iter_mut().zip(&mut read) {
                    *read += read_now(client, &mut [0; 4096]).map_or(0, |outcome| outcome.expect("connected"));
                }
                if read == [message.len(); 8] {
                    break;
                }
            }
            assert_eq!(read, [message.len(); 8]);
        }
        assert!(ALLOCATIONS.get() > 0, "the count works");
        assert!(server.ring.counters().buffers_exhausted > 0, "arming again was tried too");
    }
}
