//! Real connections over a real ring, with direct and with plain descriptors.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::num::NonZeroU32;

use crate::support::{self, Answer, BOTH, Server, loopback, read_now, token};
use hongbao_uring::outbox::{SEND_SLOT_BYTES, SEND_SLOTS_PER_CONNECTION_MAX};
use hongbao_uring::{
    Descriptors, Doorbell, Errno, Event, ListenOptions, Listener, Network, Outbox, OutboxFull, Receive, RingOptions,
    Sent, Wait,
};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt};

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 % 251) as u8).collect()
}

/// A server whose sockets take little at a time.
fn narrow(descriptors: Descriptors, answer: Answer) -> Server {
    let options = ListenOptions { send_buffer_bytes: NonZeroU32::new(4096), ..loopback() };
    Server::with(&options, descriptors, answer)
}

#[test]
fn thousands_of_messages_come_back_in_order_whatever_their_sizes() {
    for descriptors in BOTH {
        let mut server = Server::open(descriptors, Answer::Echo);
        let mut clients: Vec<_> = (0..40).map(|_| server.client().0).collect();
        for round in 1..60 {
            let message = pattern(round * 7 % 400 + 1);
            for client in &mut clients {
                client.write_all(&message).expect("the server reads");
            }
            for client in &mut clients {
                assert_eq!(server.read_exactly(client, message.len()), message);
            }
        }
        let counters = server.ring.counters();
        assert_eq!((server.ring.failures(), counters.sends_deferred), (0, 0), "{counters:?}");
        assert_eq!(server.ring.send_slots_used(), 0);
    }
}

#[test]
fn a_send_that_ends_at_once_posts_nothing_and_one_that_cannot_fails_within_the_same_enter() {
    for descriptors in BOTH {
        let mut server = narrow(descriptors, Answer::Keep);
        let (_client, number) = server.client();
        let message = [7; SEND_SLOT_BYTES];
        let mut silent = 0;
        loop {
            let Server { ring, connections, .. } = &mut server;
            let connection = &mut connections[number];
            ring.append(&mut connection.outbox, &message).expect("room in the outbox");
            ring.flush(connection.socket.as_ref().expect("open"), token(number), &mut connection.outbox);
            assert!(!ring.is_sent(&connection.outbox), "in flight");
            ring.enter(Wait::NOT).expect("enter");
            let Some(completion) = ring.next() else {
                assert!(ring.is_sent(&connection.outbox), "silence means success");
                silent += 1;
                assert!(silent < 1_000_000, "the socket never fills");
                continue;
            };
            let Event::Send { outcome } = completion.event else { panic!("{completion:?}") };
            assert!(matches!(outcome, Err(Errno::EAGAIN)) || outcome.is_ok_and(|sent| sent < 256), "{outcome:?}");
            assert_eq!(ring.sent(&mut connection.outbox, outcome), Sent::More);
            assert!(ring.next().is_none());
            break;
        }
        assert!(silent > 0 && server.ring.counters().sends_deferred == 1);
    }
}

#[test]
fn a_slow_reader_gets_every_byte_in_order_through_short_sends() {
    for descriptors in BOTH {
        let mut server = narrow(descriptors, Answer::Keep);
        let (mut client, number) = server.client();
        let message = pattern(60_000);
        for _ in 0..40 {
            server.append(number, &message);
            assert!(server.read_exactly(&mut client, message.len()) == message, "out of order");
        }
        assert!(server.ring.counters().sends_deferred > 0, "{:?}", server.ring.counters());
        server.turn_until("the last completion", |server| server.ring.is_sent(&server.connections[number].outbox));
        assert_eq!(server.ring.send_slots_used(), 0);
    }
}

#[test]
fn a_peer_that_never_reads_holds_64_kib_and_no_more_and_can_be_thrown_out() {
    for descriptors in BOTH {
        let mut server = narrow(descriptors, Answer::Keep);
        let (client, number) = server.client();
        let (mut reading, other) = server.client();
        let mut appended = 0_usize;
        let full = (0..100_000).find_map(|_| {
            let connection = &mut server.connections[number];
            let outcome = server.ring.append(&mut connection.outbox, &[7; 100]);
            connection.dirty = true;
            appended += 100;
            server.turn(Wait::NOT);
            outcome.err()
        });
        assert_eq!(full, Some(OutboxFull), "after {appended} bytes");
        assert!(server.ring.send_slots_used() <= SEND_SLOTS_PER_CONNECTION_MAX);
        server.append(other, b"still served");
        assert_eq!(server.read_exactly(&mut reading, 12), b"still served");
        server.ring.shutdown(server.connections[number].socket.as_ref().expect("open"));
        server.turn_until("the end of the receive and of the send", |server| {
            let connection = &server.connections[number];
            !connection.armed && server.ring.is_sent(&connection.outbox)
        });
        assert_eq!(server.connections[number].send_failed, Some(Errno::EPIPE));
        server.close(number);
        server.turn(Wait::NOT);
        assert_eq!((server.ring.send_slots_used(), server.ring.failures()), (0, 0));
        drop(client);
    }
}

#[test]
fn when_buffers_run_out_receives_are_armed_again_and_no_byte_is_lost() {
    for descriptors in BOTH {
        let mut server = Server::open(descriptors, Answer::Hoard);
        let buffers = usize::from(server.ring.features().receive_buffers);
        let mut clients: Vec<_> = (0..30).map(|_| server.client()).collect();
        let message = pattern(64 * buffers / 10);
        for (client, _) in &mut clients {
            client.write_all(&message).expect("the socket's buffer takes it");
        }
        server.turn_until("all bytes", |server| server.connections.iter().all(|one| one.heard.len() == message.len()));
        assert!(server.ring.counters().buffers_exhausted > 0, "{:?}", server.ring.counters());
        assert!(server.connections.iter().all(|connection| connection.heard == message), "out of order");
    }
}

#[test]
fn last_words_and_the_end_that_come_together_are_both_heard_whoever_comes_first() {
    for descriptors in BOTH {
        let mut server = Server::open(descriptors, Answer::Keep);
        // As long as a buffer, a little more, a little less, and longer than one turn reads.
        for length in [1, 63, 64, 65, 128, 64 * 40] {
            let (mut client, number) = server.client();
            client.write_all(&pattern(length)).expect("connected");
            drop(client);
            server.turn_until("the end of file", |server| server.connections[number].ended.is_some());
            assert_eq!(server.connections[number].ended, Some(Ok(())));
            assert!(server.connections[number].heard == pattern(length), "{length} bytes");
            server.close(number);
        }
        server.turn(Wait::NOT);
        assert_eq!(server.ring.failures(), 0);
    }
}

#[test]
fn who_sends_without_end_keeps_nobody_waiting() {
    for descriptors in BOTH {
        let mut server = Server::open(descriptors, Answer::Keep);
        let (mut flooding, flooder) = server.client();
        let (mut modest, number) = server.client();
        flooding.write_all(&pattern(200_000)).expect("the socket's buffer takes it");
        modest.write_all(b"shake").expect("the socket's buffer takes it");
        server.turn_until("the shake", |server| server.connections[number].heard == b"shake");
        assert!(server.connections[flooder].heard.len() < 2_000, "{}", server.connections[flooder].heard.len());
        server.turn_until("all bytes", |server| server.connections[flooder].heard.len() == 200_000);
        assert!(server.connections[flooder].heard == pattern(200_000), "out of order");
    }
}

#[test]
fn messages_that_arrive_while_others_are_read_are_not_left_lying() {
    for descriptors in BOTH {
        let mut server = Server::open(descriptors, Answer::Keep);
        let (client, number) = server.client();
        let writer = std::thread::spawn(move || {
            let mut client = client;
            for message in 0..20_000_u32 {
                client.write_all(&message.to_le_bytes()).expect("the server reads");
                if message % 64 == 0 {
                    std::thread::yield_now();
                }
            }
            client
        });
        // The last one too, although nothing comes behind it that would tell of it again.
        server.turn_until("all of them", |server| server.connections[number].heard.len() == 80_000);
        let expected: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
        assert!(server.connections[number].heard == expected, "out of order");
        drop(writer.join().expect("the writer ends"));
    }
}

#[test]
fn a_connection_closed_while_its_peer_is_talking_leaves_nothing_to_the_next() {
    for descriptors in BOTH {
        let mut server = Server::open(descriptors, Answer::Keep);
        for round in 0..200 {
            let (mut client, number) = server.client();
            client.write_all(b"one").expect("connected");
            if round % 2 == 0 {
                server.turn(Wait::first(1000));
            }
            // The removal of the poll meets a poll that has something to say.
            client.write_all(b"two").expect("connected");
            server.ring.cancel_receive(server.connections[number].socket.as_ref().expect("open"));
            client.write_all(b"three").expect("connected");
            server.turn_until("the end of the receive", |server| server.connections[number].ended.is_some());
            assert_eq!(server.connections[number].ended, Some(Err(Errno::ECANCELED)));
            assert!(b"onetwothree".starts_with(&server.connections[number].heard), "in order, what was heard of it");
            server.close(number);
            assert!(server.read_to_end(&mut client).0.is_empty());
        }
        assert_eq!(server.ring.failures(), 0);
    }
}

#[test]
fn a_client_that_has_said_all_still_gets_its_answer_and_then_the_end() {
    for descriptors in BOTH {
        let mut server = Server::open(descriptors, Answer::Keep);
        let (mut client, number) = server.client();
        client.write_all(b"last words").expect("the server reads");
        client.shutdown(Shutdown::Write).expect("connected");
        server.turn_until("the end of file", |server| server.connections[number].ended.is_some());
        assert_eq!(server.connections[number].ended, Some(Ok(())));
        assert_eq!(server.connections[number].heard, b"last words");
        server.append(number, b"answer");
        let Server { ring, connections, .. } = &mut server;
        let connection = &mut connections[number];
        connection.dirty = false;
        ring.flush(connection.socket.as_ref().expect("open"), token(number), &mut connection.outbox);
        ring.shutdown_write(connection.socket.as_ref().expect("open"));
        let (bytes, end) = server.read_to_end(&mut client);
        assert_eq!(bytes, b"answer", "what was flushed before goes out before");
        assert!(end.is_ok(), "{end:?}");
        server.close(number);
        server.turn(Wait::NOT);
        assert_eq!(server.ring.failures(), 0);
    }
}

#[test]
fn a_reset_ends_the_receive_by_name() {
    for descriptors in BOTH {
        let mut server = Server::open(descriptors, Answer::Keep);
        let (client, number) = server.client();
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&client, sockopt::Linger, &linger).expect("a socket");
        drop(client);
        server.turn_until("the reset", |server| server.connections[number].ended.is_some());
        assert_eq!(server.connections[number].ended, Some(Err(Errno::ECONNRESET)));
        server.append(number, b"too late");
        server.turn_until("the failure", |server| server.connections[number].send_failed.is_some());
        assert_eq!(server.connections[number].send_failed, Some(Errno::EPIPE));
        server.close(number);
        server.turn(Wait::NOT);
    }
}

#[test]
fn a_shutdown_never_hits_the_next_bearer_of_a_descriptor() {
    for descriptors in BOTH {
        let mut server = Server::open(descriptors, Answer::Echo);
        for _ in 0..200 {
            let (mut client, number) = server.client();
            client.shutdown(Shutdown::Write).expect("connected");
            server.turn_until("the end of file", |server| server.connections[number].ended.is_some());
            // The receive has ended, so nothing tells when the shutdown is done; the close must wait for it by itself.
            server.ring.shutdown(server.connections[number].socket.as_ref().expect("open"));
            server.close(number);
            let (mut next, _) = server.client();
            next.write_all(b"alive").expect("connected");
            assert_eq!(server.read_exactly(&mut next, 5), b"alive");
            assert!(server.read_to_end(&mut client).1.is_ok());
        }
        assert_eq!(server.ring.failures(), 0);
    }
}

#[test]
fn stop_accepting_ends_with_a_terminal_completion_and_can_be_undone() {
    for descriptors in BOTH {
        let mut server = Server::open(descriptors, Answer::Keep);
        server.turn(Wait::NOT);
        server.ring.stop_accepting();
        server.turn_until("the end of the accept", |server| !server.accepting);
        assert_eq!(server.accept_error, Some(Errno::ECANCELED));
        let _waiting = TcpStream::connect(server.address()).expect("the backlog takes it");
        server.turn(Wait::first(10_000));
        assert!(server.connections.is_empty());
        server.ring.accept(token(0));
        server.turn_until("the accept", |server| server.connections.len() == 1);
    }
}

#[test]
fn a_dropped_ring_lets_go_of_everything_even_when_a_doorbell_keeps_its_descriptor() {
    for descriptors in BOTH {
        let doorbell = Doorbell::default();
        let mut server = narrow(descriptors, Answer::Keep);
        server.ring.attach(&doorbell).expect("a descriptor is free");
        let (mut stuffed, number) = server.client();
        let mut idle: Vec<_> = (0..100).map(|_| server.client().0).collect();
        while server.ring.append(&mut server.connections[number].outbox, &[7; 256]).is_ok() {
            server.connections[number].dirty = true;
            server.turn(Wait::NOT);
        }
        let address = server.address();
        drop(server);
        for client in &mut idle {
            let end = (0..1000).find_map(|_| {
                let end = read_now(client, &mut [0; 16]);
                if end.is_none() {
                    std::thread::yield_now();
                }
                end
            });
            assert!(matches!(end, Some(Ok(0) | Err(_))), "{end:?}: the connection is still open");
        }
        assert!(TcpStream::connect(address).is_err(), "the listener is still open");
        let mut bytes = [0; 4096];
        while matches!(read_now(&mut stuffed, &mut bytes), Some(Ok(1..))) {
            assert!(bytes.iter().all(|byte| matches!(byte, 0 | 7)), "freed memory was sent");
        }
        drop(doorbell);
    }
}

#[test]
fn a_connecting_ring_reaches_a_listening_one_and_learns_of_a_refusal() {
    for descriptors in BOTH {
        let mut server = Server::open(descriptors, Answer::Echo);
        let mut ring = RingOptions { descriptors, ..RingOptions::connecting(600) }.open().expect("io_uring works here");
        let tcp = || {
            socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a descriptor is free")
        };
        let refused = {
            let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            gone.local_addr().expect("bound")
        };
        // More than the addresses that are staged at a time.
        let sockets: Vec<_> = (0..520).map(|_| ring.adopt(tcp()).expect("room in the table")).collect();
        for (number, socket) in sockets.iter().enumerate() {
            let address = if number % 2 == 0 { server.address() } else { refused };
            ring.connect(socket, address, token(number));
        }
        let mut outcomes = vec![None; sockets.len()];
        let mut ends = 0;
        for _ in 0..support::TURNS_MAX {
            ring.enter(Wait::first(1000)).expect("enter");
            while let Some(completion) = ring.next() {
                let Event::Connect { outcome } = completion.event else { panic!("{completion:?}") };
                outcomes[completion.token.slot as usize] = Some(outcome);
                ends += 1;
            }
            server.turn(Wait::NOT);
            if ends == sockets.len() {
                break;
            }
        }
        for (number, outcome) in outcomes.into_iter().enumerate() {
            assert_eq!(outcome, Some(if number % 2 == 0 { Ok(()) } else { Err(Errno::ECONNREFUSED) }), "{number}");
        }
        exchange(&mut ring, &sockets[0], &mut server);
        for socket in sockets {
            ring.shutdown(&socket);
            ring.close(socket);
        }
    }
}

/// Sends on a connected socket and hears the echo.
fn exchange(ring: &mut hongbao_uring::Ring, socket: &hongbao_uring::Socket, server: &mut Server) {
    let mut outbox = Outbox::default();
    ring.receive(socket, token(0));
    ring.append(&mut outbox, b"shake").expect("room in the outbox");
    ring.flush(socket, token(0), &mut outbox);
    let mut heard = Vec::new();
    for _ in 0..support::TURNS_MAX {
        ring.enter(Wait::first(1000)).expect("enter");
        while let Some(completion) = ring.next() {
            let Event::Receive { outcome: Receive::Data(received), more: true } = completion.event else {
                panic!("{completion:?}");
            };
            heard.extend_from_slice(ring.bytes(&received));
            ring.give_back(received);
        }
        server.turn(Wait::NOT);
        if heard.len() >= 5 {
            break;
        }
    }
    assert_eq!(heard, b"shake");
    ring.shutdown(socket);
    let mut ended = false;
    for _ in 0..support::TURNS_MAX {
        ring.enter(Wait::first(1000)).expect("enter");
        while let Some(completion) = ring.next() {
            ended |= matches!(completion.event, Event::Receive { outcome: Receive::EndOfFile, more: false });
        }
        if ended {
            break;
        }
    }
    assert!(ended, "a shutdown ends the receive");
}

#[test]
fn an_overflown_completion_queue_ends_no_connection_unheard() {
    for descriptors in BOTH {
        // So many that the completion queue holds fewer.
        let listener = Listener::bind(&loopback()).expect("a free port");
        let options = RingOptions { descriptors, ..RingOptions::listening(8000, listener) };
        let mut server = Server::over(options, Answer::Keep);
        let completions = server.ring.features().ring.completions;
        let clients: Vec<_> = (0..completions + 300).map(|_| server.client().0).collect();
        drop(clients);
        let all = server.connections.len() as u32;
        server.turn(Wait { want: all, min_wait_us: 0, timeout_us: 1_000_000 });
        server.turn_until("every end", |server| server.connections.iter().all(|connection| connection.ended.is_some()));
        assert!(server.ring.counters().completion_overflows > 0, "{:?}", server.ring.counters());
        for number in 0..server.connections.len() {
            server.close(number);
        }
        server.turn(Wait::NOT);
        assert_eq!(server.ring.failures(), 0);
    }
}

#[test]
fn a_full_table_refuses_by_name_and_takes_the_next_one_after_a_close() {
    let listener = Listener::bind(&loopback()).expect("a free port");
    let options = RingOptions { descriptors: Descriptors::Direct, ..RingOptions::listening(1, listener) };
    let mut server = Server::over(options, Answer::Keep);
    let clients: Vec<_> =
        (0..200).map(|_| TcpStream::connect(server.address()).expect("the backlog takes it")).collect();
    server.turn_until("a refusal", |server| server.accept_error.is_some());
    assert_eq!(server.accept_error, Some(Errno::ENFILE));
    let open = server.connections.len();
    assert!((1..clients.len()).contains(&open), "{open}");
    server.ring.shutdown(server.connections[0].socket.as_ref().expect("open"));
    server.turn_until("the end of the receive", |server| !server.connections[0].armed);
    server.close(0);
    server.turn(Wait::NOT);
    if !server.accepting {
        server.ring.accept(token(0));
    }
    let _late = TcpStream::connect(server.address()).expect("the backlog takes it");
    server.turn_until("an accept", |server| server.connections.len() == open + 1);
}

#[test]
fn one_ring_wakes_another() {
    let open = || RingOptions::connecting(1).open().expect("io_uring works here");
    let (mut awake, mut asleep) = (open(), open());
    let doorbell = Doorbell::default();
    asleep.attach(&doorbell).expect("a descriptor is free");
    awake.ring_doorbell(&doorbell);
    doorbell.going_to_sleep();
    awake.ring_doorbell(&doorbell);
    awake.ring_doorbell(&doorbell);
    awake.enter(Wait::NOT).expect("enter");
    asleep.enter(Wait::first(1_000_000)).expect("enter");
    assert!(matches!(asleep.next().map(|completion| completion.event), Some(Event::Wake)));
    assert!(asleep.next().is_none());
    assert_eq!((awake.counters().wakes_sent, awake.failures()), (1, 0));
}
