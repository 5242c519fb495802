use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// One connection of the model: what was appended and has not arrived, and what the peer's socket takes now.
#[derive(Default)]
struct Model {
    outbox: Outbox,
    unsent: VecDeque<u8>,
    in_flight: Option<Departure>,
}

#[derive(Clone, Debug)]
enum Step {
    Append { connection: usize, length: usize },
    Turn { taken: Vec<usize>, broken: Option<usize> },
    Discard { connection: usize },
}

const CONNECTIONS: usize = 4;
const SLOTS: usize = 1200;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..CONNECTIONS, 0_usize..700).prop_map(|(connection, length)| Step::Append { connection, length }),
        1 => (0..CONNECTIONS, 5_000_usize..70_000).prop_map(|(connection, length)| Step::Append { connection, length }),
        6 => (prop::collection::vec(prop_oneof![Just(0_usize), 1..600_usize, Just(usize::MAX)], CONNECTIONS),
              prop::option::weighted(0.1, 0..CONNECTIONS))
            .prop_map(|(taken, broken)| Step::Turn { taken, broken }),
        1 => (0..CONNECTIONS).prop_map(|connection| Step::Discard { connection }),
    ];
    prop::collection::vec(step, 1..80)
}

/// Sends of this turn, then the kernel's part, then their completions; the order that the ring has.
fn turn(pool: &mut Outboxes, models: &mut [Model], taken: &[usize], broken: Option<usize>) {
    pool.settle();
    let mut submitted = [None; CONNECTIONS];
    for (model, departure) in models.iter_mut().zip(&mut submitted) {
        *departure = pool.depart(&mut model.outbox);
        if let Some(departure) = departure.filter(|departure| !departure.at_once) {
            assert!(model.in_flight.replace(departure).is_none(), "two sends of one connection are in flight");
        }
    }
    let mut completions = Vec::new();
    for (index, model) in models.iter_mut().enumerate() {
        let at_once = submitted[index].filter(|departure| departure.at_once);
        let Some(departure) = at_once.or(model.in_flight) else { continue };
        let bytes = pool.copy_of(departure);
        let count = bytes.len().min(taken[index]);
        assert!(model.unsent.iter().zip(&bytes).all(|(unsent, byte)| unsent == byte), "out of order");
        assert!(model.unsent.len() >= bytes.len());
        if broken == Some(index) {
            completions.push((index, Err(Errno::ECONNRESET)));
            model.unsent.clear();
            model.in_flight = None;
            continue;
        }
        if !departure.at_once && count < bytes.len() {
            continue;
        }
        model.unsent.drain(..count);
        if !departure.at_once {
            model.in_flight = None;
        }
        if !departure.at_once || count < bytes.len() {
            completions.push((index, if count == 0 { Err(Errno::EAGAIN) } else { Ok(count as u32) }));
        }
    }
    pool.entered(!completions.is_empty());
    for (index, outcome) in completions {
        let model = &mut models[index];
        let sent = pool.sent(&mut model.outbox, outcome);
        match outcome {
            Err(errno) if errno != Errno::EAGAIN => assert_eq!(sent, Sent::Failed(errno)),
            _ => assert_eq!(sent == Sent::Empty, model.unsent.is_empty()),
        }
    }
    pool.settle();
    for model in &models[..] {
        assert_eq!(pool.is_sent(&model.outbox), model.unsent.is_empty());
    }
}

proptest! {
    #[test]
    fn no_byte_is_lost_doubled_or_out_of_order_whatever_the_socket_takes(steps in steps()) {
        let mut pool = Outboxes::new(SLOTS).expect("memory");
        let mut models: [Model; CONNECTIONS] = Default::default();
        let mut next = 0_u8;
        for step in steps {
            match step {
                Step::Append { connection, length } => {
                    let bytes: Vec<u8> = (0..length).map(|_| { next = next.wrapping_mul(5).wrapping_add(17); next }).collect();
                    let model = &mut models[connection];
                    let held = model.unsent.len();
                    match pool.append(&mut model.outbox, &bytes) {
                        Ok(()) => model.unsent.extend(bytes),
                        Err(OutboxFull) => prop_assert!(held + length > SEND_SLOT_BYTES * 2, "{held} and {length}"),
                    }
                }
                Step::Turn { taken, broken } => turn(&mut pool, &mut models, &taken, broken),
                Step::Discard { connection } => {
                    let model = &mut models[connection];
                    pool.discard(&mut model.outbox);
                    let kept = model.in_flight.map_or(0, |departure| pool.copy_of(departure).len());
                    model.unsent.truncate(kept);
                }
            }
        }
        for _ in 0..200 {
            turn(&mut pool, &mut models, &[usize::MAX; CONNECTIONS], None);
        }
        prop_assert!(models.iter().all(|model| model.unsent.is_empty()));
        prop_assert_eq!(pool.used(), 0, "slots leaked");
    }
}

#[test]
fn one_connection_holds_64_kib_at_most_and_full_means_nothing_was_added() {
    let mut pool = Outboxes::new(1024).expect("memory");
    let mut outbox = Outbox::default();
    let bound = SEND_SLOT_BYTES * SEND_SLOTS_PER_CONNECTION_MAX;
    assert_eq!(pool.append(&mut outbox, &vec![7; bound - 10]), Ok(()));
    assert_eq!(pool.append(&mut outbox, &[7; 11]), Err(OutboxFull));
    assert_eq!(pool.append(&mut outbox, &[7; 10]), Ok(()));
    assert_eq!(pool.append(&mut outbox, &[7; 1]), Err(OutboxFull));
    pool.discard(&mut outbox);
    assert_eq!(pool.used(), 0);
}

#[test]
fn peers_who_do_not_read_leave_slots_to_the_others() {
    let mut pool = Outboxes::new(1024).expect("memory");
    let mut greedy: [Outbox; 8] = Default::default();
    for outbox in &mut greedy {
        while pool.append(outbox, &[7; SEND_SLOT_BYTES]).is_ok() {}
    }
    assert!(pool.used() <= 1024 / 2 + 1 + greedy.len() * SEND_SLOTS_PER_CONNECTION_SCARCE, "{}", pool.used());
    assert_eq!(pool.append(&mut Outbox::default(), &[7; 1000]), Ok(()));
}

#[test]
fn a_pool_that_is_used_up_says_so_and_recovers() {
    let mut pool = Outboxes::new(3).expect("memory");
    let mut outboxes: [Outbox; 4] = Default::default();
    let filled = outboxes.each_mut().map(|outbox| pool.append(outbox, b"x"));
    assert_eq!(filled, [Ok(()), Ok(()), Ok(()), Err(OutboxFull)]);
    pool.discard(&mut outboxes[0]);
    assert_eq!(pool.append(&mut outboxes[3], b"x"), Ok(()));
}

#[test]
#[should_panic(expected = "second flush")]
fn a_second_flush_in_a_turn_is_a_defect_of_the_caller() {
    let mut pool = Outboxes::new(8).expect("memory");
    let mut outbox = Outbox::default();
    for _ in 0..2 {
        pool.append(&mut outbox, b"x").expect("room");
        pool.depart(&mut outbox);
    }
}
