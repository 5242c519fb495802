use super::*;
use crate::Generation;

const AT_ONCE: Wait = Wait { want: 0, min_wait_us: 0, timeout_us: 0 };
const TOKEN: Token = Token { slot: 5, generation: Generation::new(6) };

fn accepted() -> (SimulatedNetwork, PeerId, Socket) {
    let mut network = SimulatedNetwork::new(SimulatedOptions::default());
    let peer = network.peer_connect();
    network.accept(TOKEN);
    network.enter(AT_ONCE).expect("enter");
    let Some(Completion { event: Event::Accept { outcome: Ok(socket), more: true }, .. }) = network.next() else {
        panic!("not accepted");
    };
    assert!(network.next().is_none());
    network.receive(&socket, TOKEN);
    (network, peer, socket)
}

fn events(network: &mut SimulatedNetwork) -> Vec<Event> {
    network.enter(AT_ONCE).expect("enter");
    (0..network.reaped()).filter_map(|_| network.next()).map(|completion| completion.event).collect()
}

#[test]
fn a_peer_is_heard_answered_and_let_go() {
    let (mut network, peer, socket) = accepted();
    network.peer_write(peer, b"shake");
    network.enter(AT_ONCE).expect("enter");
    let Some(Completion { token: TOKEN, event: Event::Receive { outcome: Receive::Data(received), more: true } }) =
        network.next()
    else {
        panic!("no data");
    };
    assert_eq!(network.bytes(&received), b"shake");
    network.give_back(received);
    assert!(network.next().is_none());
    let mut outbox = Outbox::default();
    network.append(&mut outbox, b"none").expect("room");
    network.flush(&socket, TOKEN, &mut outbox);
    network.shutdown_write(&socket);
    assert!(!network.is_sent(&outbox));
    assert!(events(&mut network).is_empty(), "a send that ends at once is silent");
    assert!(network.is_sent(&outbox));
    assert_eq!((network.peer_read(peer), network.peer_end(peer)), (b"none".to_vec(), Some(PeerEnd::EndOfFile)));
    network.peer_close(peer);
    let events = events(&mut network);
    assert!(matches!(events[..], [Event::Receive { outcome: Receive::EndOfFile, more: false }]), "{events:?}");
    network.close(socket);
    network.enter(AT_ONCE).expect("enter");
    assert_eq!((network.open_connections(), network.send_slots_used()), (0, 0));
}

#[test]
fn a_peer_that_stops_reading_defers_the_send_until_it_reads_again() {
    let (mut network, peer, socket) = accepted();
    let mut outbox = Outbox::default();
    network.peer_takes(peer, 2);
    network.append(&mut outbox, b"none").expect("room");
    network.flush(&socket, TOKEN, &mut outbox);
    let deferred = events(&mut network);
    let [Event::Send { outcome }] = deferred[..] else { panic!("{deferred:?}") };
    assert_eq!((outcome, network.sent(&mut outbox, outcome)), (Ok(2), Sent::More));
    network.flush(&socket, TOKEN, &mut outbox);
    assert!(events(&mut network).is_empty(), "the peer does not read");
    network.append(&mut outbox, b"more").expect("room");
    network.flush(&socket, TOKEN, &mut outbox);
    network.peer_takes(peer, usize::MAX);
    let ended = events(&mut network);
    let [Event::Send { outcome }] = ended[..] else { panic!("{ended:?}") };
    assert_eq!((outcome, network.sent(&mut outbox, outcome)), (Ok(2), Sent::More));
    network.flush(&socket, TOKEN, &mut outbox);
    assert!(events(&mut network).is_empty());
    assert_eq!((network.peer_read(peer), network.is_sent(&outbox)), (b"nonemore".to_vec(), true));
}

#[test]
fn a_reset_ends_the_receive_and_fails_the_send() {
    let (mut network, peer, socket) = accepted();
    let mut outbox = Outbox::default();
    network.append(&mut outbox, b"none").expect("room");
    network.flush(&socket, TOKEN, &mut outbox);
    network.peer_reset(peer);
    let failures = events(&mut network);
    let [Event::Send { outcome }, Event::Receive { outcome: Receive::Failed(Errno::ECONNRESET), more: false }] =
        failures[..]
    else {
        panic!("{failures:?}");
    };
    assert_eq!(network.sent(&mut outbox, outcome), Sent::Failed(Errno::ECONNRESET));
    assert!(network.is_sent(&outbox));
}

#[test]
fn without_buffers_the_receive_ends_and_no_byte_is_lost() {
    let (mut network, peer, socket) = accepted();
    network.hold_buffers(0);
    network.peer_write(peer, b"shake");
    assert!(matches!(events(&mut network)[..], [Event::Receive { outcome: Receive::NoBuffers, more: false }]));
    network.return_buffers();
    network.receive(&socket, TOKEN);
    let heard = events(&mut network);
    assert!(matches!(heard[..], [Event::Receive { outcome: Receive::Data(_), more: true }]), "{heard:?}");
}

#[test]
#[should_panic(expected = "not given back")]
fn a_buffer_that_is_kept_is_a_defect_of_the_caller() {
    let (mut network, peer, _socket) = accepted();
    network.peer_write(peer, b"shake");
    drop(events(&mut network));
    drop(events(&mut network));
}

#[test]
#[should_panic(expected = "with a receive armed")]
fn a_close_under_an_armed_receive_is_a_defect_of_the_caller() {
    let (mut network, _peer, socket) = accepted();
    drop(events(&mut network));
    network.close(socket);
}

#[test]
#[should_panic(expected = "second flush")]
fn a_second_flush_in_a_turn_is_a_defect_of_the_caller() {
    let (mut network, _peer, socket) = accepted();
    let mut outbox = Outbox::default();
    for _ in 0..2 {
        network.append(&mut outbox, b"x").expect("room");
        network.flush(&socket, TOKEN, &mut outbox);
    }
}
