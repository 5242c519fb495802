use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use super::*;
use crate::set_up::{SetUp, set_up_as};
use crate::{ListenOptions, Receive};

const TOKEN: Token = Token { slot: 1, generation: Generation::new(2) };
const ENTERS_MAX: usize = 10_000;

fn ring(set_up: SetUp, descriptors: Descriptors) -> Ring {
    let listener = Listener::bind(&ListenOptions::at((Ipv4Addr::LOCALHOST, 0).into())).expect("a free port");
    let options = RingOptions { descriptors, ..RingOptions::listening(16, listener) };
    let sizes = sizes(options.connections, options.receive_buffers_max);
    Ring::over(RingCore::over(set_up_as(set_up, sizes.queues), sizes.reaped_max), options).expect("io_uring works here")
}

/// Enters until something happens.
fn next(ring: &mut Ring) -> Event {
    for _ in 0..ENTERS_MAX {
        if let Some(completion) = ring.next() {
            return completion.event;
        }
        ring.enter(Wait::first(1000)).expect("enter");
    }
    panic!("nothing happened");
}

/// Sends until the socket is full, and then all the rest.
fn fill_and_empty(ring: &mut Ring, socket: &Socket, client: &mut TcpStream) {
    let mut outbox = Outbox::default();
    let mut total = 0;
    let first = (0..ENTERS_MAX).find_map(|_| {
        ring.append(&mut outbox, &[7; 16_000]).expect("room");
        total += 16_000;
        ring.flush(socket, TOKEN, &mut outbox);
        ring.enter(Wait::NOT).expect("enter");
        ring.next()
    });
    let Some(Completion { token: TOKEN, event: Event::Send { outcome } }) = first else { panic!("{first:?}") };
    assert_eq!(ring.sent(&mut outbox, outcome), Sent::More);
    assert!(ring.next().is_none());
    ring.flush(socket, TOKEN, &mut outbox);
    ring.enter(Wait::NOT).expect("enter");
    let mut bytes = vec![0; total];
    let reader = std::thread::scope(|scope| {
        let reader = scope.spawn(|| client.read_exact(&mut bytes));
        loop {
            let Event::Send { outcome } = next(ring) else { panic!("only the send is in flight") };
            match ring.sent(&mut outbox, outcome) {
                Sent::Empty => break,
                Sent::More => assert!(ring.next().is_none()),
                Sent::Failed(errno) => panic!("{errno}"),
            }
            ring.flush(socket, TOKEN, &mut outbox);
        }
        reader.join().expect("the reader ends")
    });
    reader.expect("all bytes come");
    assert!(bytes.iter().all(|byte| *byte == 7));
}

#[test]
fn every_fallback_of_the_set_up_carries_connections() {
    for set_up in SetUp::ALL {
        for descriptors in [Descriptors::Direct, Descriptors::Plain] {
            let mut ring = ring(set_up, descriptors);
            ring.accept(TOKEN);
            let mut client = TcpStream::connect(ring.local_addr().expect("it listens")).expect("the backlog takes it");
            let Event::Accept { outcome: Ok(socket), more: true } = next(&mut ring) else {
                panic!("{set_up:?}: no accept")
            };
            ring.receive(&socket, TOKEN);
            for _ in 0..3 {
                client.write_all(b"shake").expect("connected");
                let Event::Receive { outcome: Receive::Data(received), more: true } = next(&mut ring) else {
                    panic!("{set_up:?}: no data");
                };
                assert_eq!(ring.bytes(&received), b"shake", "{set_up:?}");
                ring.give_back(received);
                assert!(ring.next().is_none());
            }
            fill_and_empty(&mut ring, &socket, &mut client);
            ring.shutdown(&socket);
            let end = next(&mut ring);
            assert!(matches!(end, Event::Receive { outcome: Receive::EndOfFile, more: false }), "{set_up:?} {end:?}");
            ring.close(socket);
            assert_eq!(client.read(&mut [0; 16]).expect("a clean end"), 0, "{set_up:?}");
            for _ in 0..ENTERS_MAX {
                ring.enter(Wait::first(1000)).expect("enter");
                assert!(ring.next().is_none(), "{set_up:?}: nothing more is told");
                // The accept stays; the shutdown ends, and the close that waited for it goes out.
                if ring.in_flight == 1 && ring.table.open().count() == 0 {
                    break;
                }
            }
            assert_eq!((ring.failures(), ring.in_flight), (0, 1), "{set_up:?}");
        }
    }
}

#[test]
fn sizes_grow_with_the_connections_and_stay_within_what_the_kernel_gives() {
    for connections in [1, 1000, 20_000, CONNECTIONS_MAX] {
        let sizes = sizes(connections, u16::MAX);
        assert!(sizes.receive_buffers.is_power_of_two());
        assert!(sizes.queues.submissions <= 32_768 && sizes.queues.completions <= 65_536);
        assert!(
            u32::from(sizes.receive_buffers) < sizes.queues.completions,
            "a turn that fills all buffers does not overflow"
        );
        assert!(sizes.send_slots >= 2 * (connections as usize).min(1 << 17));
    }
}
