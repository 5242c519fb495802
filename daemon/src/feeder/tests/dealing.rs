use std::collections::HashSet;

use super::super::Tally;
use super::*;

#[test]
fn every_envelope_is_dealt_once_and_the_issued_ones_not_at_all() {
    let dir = TempDir::new().unwrap();
    write_seed(&dir, "a.hbs", &header(0, 20_000));
    write_seed(&dir, "b.hbs", &header(1, 3_000));
    let before = issued((0..20_000).filter(|index| index % 3 == 0).map(|index| envelope(0, index)));
    let skipped = before.envelopes.len();
    let set = before.set.clone();
    let mut show = Show::start(dir.path(), before, 3, ISSUE_RATE_UNLIMITED);
    show.ready().unwrap();
    let mut taken = Vec::new();
    wait_until("all is dealt", || {
        for set in &mut show.sets {
            set.shake_and_take(10, &mut taken);
        }
        taken.len() == 23_000 - skipped
    });
    assert!(taken.iter().all(|envelope| !set.contains(envelope.id)));
    assert_eq!(taken.iter().map(|envelope| envelope.id).collect::<HashSet<_>>().len(), taken.len());
    let cells = show.cells.clone();
    let summary = show.end();
    assert_eq!(summary.dealt.envelopes, taken.len() as u64);
    assert_eq!(cells.dealt.get(), summary.dealt.envelopes);
    assert_eq!(cells.skipped_cents.get(), summary.skipped.amount.0);
    assert_eq!((cells.seeded.get(), cells.unissued.get(), cells.seed_files.get()), (23_000, 0, 2));
}

#[test]
fn the_end_of_the_seeds_is_told_once_and_returns_are_still_dealt() {
    let dir = TempDir::new().unwrap();
    write_seed(&dir, "a.hbs", &header(0, 100));
    let mut show = Show::start_unlimited(dir.path(), IssuedBefore::default());
    show.ready().unwrap();
    let mut taken = Vec::new();
    for round in 0..3 {
        wait_until("all is dealt, again", || {
            show.sets[0].shake_and_take(1, &mut taken);
            taken.len() == 100
        });
        for envelope in taken.drain(..) {
            wait_until("a return finds room", || show.sets[0].returns.push(envelope).is_ok());
        }
        wait_until("the returns are booked", || show.cells.returned.get() == 100 * (round + 1));
    }
    assert_eq!(show.log.text().matches("every seed file is dealt to its end").count(), 1);
    show.end();
}

#[test]
fn what_comes_back_is_dealt_before_anything_else() {
    let dir = TempDir::new().unwrap();
    write_seed(&dir, "a.hbs", &header(0, 20_000));
    let mut show = Show::start_unlimited(dir.path(), IssuedBefore::default());
    show.ready().unwrap();
    let mut taken = Vec::new();
    wait_until("something is dealt", || {
        show.sets[0].shake_and_take(1, &mut taken);
        !taken.is_empty()
    });
    let back = taken.remove(0);
    show.sets[0].returns.push(back).unwrap();
    wait_until("it is back, and the demand still there", || {
        show.sets[0].shake_and_take(1, &mut taken);
        taken.contains(&back)
    });
    let place = taken.iter().position(|envelope| *envelope == back).unwrap();
    assert!(place < 19_999, "dealt among the others, not after them");
    let rest: Vec<_> = taken.iter().filter(|envelope| **envelope != back).map(|envelope| envelope.id.index()).collect();
    assert!(rest.is_sorted());
    show.end();
}

#[test]
fn a_set_nobody_shakes_on_gets_nothing() {
    let dir = TempDir::new().unwrap();
    write_seed(&dir, "a.hbs", &header(0, 1000));
    let mut show = Show::start(dir.path(), IssuedBefore::default(), 2, ISSUE_RATE_UNLIMITED);
    show.ready().unwrap();
    let mut taken = Vec::new();
    wait_until("the shaken SET gets all", || {
        show.sets[0].shake_and_take(1, &mut taken);
        taken.len() == 1000
    });
    assert!(show.sets[1].stock.is_empty());
    show.end();
}

#[test]
fn a_pause_stops_the_dealing_and_a_resume_goes_on_at_the_rate_set_meanwhile() {
    let dir = TempDir::new().unwrap();
    write_seed(&dir, "a.hbs", &header(0, 1000));
    let mut show = Show::start(dir.path(), IssuedBefore::default(), 1, 0);
    show.ready().unwrap();
    assert_eq!(show.cells.issue_rate.get(), 0);
    show.commands.push(FeederCommand::Pause).unwrap();
    show.commands.push(FeederCommand::SetRate(5_000)).unwrap();
    wait_until("both commands are taken", || show.commands.slots() == 16);
    // The commands of a tick are obeyed before it deals.
    assert_eq!((show.cells.dealt.get(), show.cells.issue_rate.get()), (0, 0));
    show.commands.push(FeederCommand::Resume).unwrap();
    let mut taken = Vec::new();
    wait_until("all is dealt", || {
        show.sets[0].shake_and_take(1, &mut taken);
        taken.len() == 1000
    });
    assert_eq!(show.cells.issue_rate.get(), 5_000);
    show.end();
}

#[test]
fn after_a_stop_everything_the_sets_hold_is_taken_back_and_the_books_balance() {
    let dir = TempDir::new().unwrap();
    write_seed(&dir, "a.hbs", &header(0, 10_000));
    let mut show = Show::start(dir.path(), issued([envelope(0, 3)]), 4, ISSUE_RATE_UNLIMITED);
    show.ready().unwrap();
    let mut won = Vec::new();
    wait_until("some are won on every SET", || {
        for set in &mut show.sets {
            set.cells.shakes.add(1);
            won.extend(set.stock.pop());
        }
        won.len() > 500 && show.sets.iter().all(|set| !set.stock.is_empty())
    });
    show.commands.push(FeederCommand::Stop).unwrap();
    wait_until("the stop is taken and obeyed", || show.cells.issue_rate.get() == 0);
    let mut back = 0;
    for set in &mut show.sets {
        while let Ok(envelope) = set.stock.pop() {
            back += 1;
            wait_until("a return finds room", || set.returns.push(envelope).is_ok());
        }
    }
    let summary = show.end();
    assert_eq!(summary.returned.envelopes, back);
    assert_eq!(summary.skipped.envelopes, 1);
    assert_eq!(summary.unissued.envelopes, 10_000 - 1 - won.len() as u64);
    let won = won.iter().fold(Tally::NONE, |mut sum, envelope| {
        sum.add((*envelope).into());
        sum
    });
    assert_eq!(summary.dealt.envelopes - summary.returned.envelopes, won.envelopes);
    assert_eq!(summary.dealt.amount.0 - summary.returned.amount.0, won.amount.0);
}

#[test]
fn what_runs_beside_lives_on_the_same_thread_and_ends_with_the_feeder() {
    struct Watch(mpsc::Sender<std::thread::ThreadId>);
    impl Drop for Watch {
        fn drop(&mut self) {
            self.0.send(std::thread::current().id()).unwrap();
        }
    }
    let dir = TempDir::new().unwrap();
    let options =
        FeederOptions { scan: super::super::scan(dir.path(), SERVER).unwrap(), server: SERVER, issue_rate: 100 };
    let (sender, receiver) = mpsc::channel();
    let (watch, ready_sender) = (Watch(sender.clone()), sender.clone());
    let (stock, taken) = RingBuffer::new(16);
    let (given, returns) = RingBuffer::new(16);
    let (_commands, commands) = RingBuffer::new(16);
    let ends = FeederSetEnds { stock, returns, cells: Arc::default() };
    let feeder = Feeder::new(options, IssuedBefore::default(), vec![ends], Arc::default(), commands);
    let thread = std::thread::spawn(move || {
        let beside = move || async move {
            watch.0.send(std::thread::current().id()).unwrap();
            std::future::pending::<()>().await;
        };
        feeder.run(|_| ready_sender.send(std::thread::current().id()).unwrap(), beside)
    });
    let feeder_thread = thread.thread().id();
    for _ in 0..2 {
        assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), feeder_thread);
    }
    drop((taken, given));
    thread.join().unwrap();
    assert_eq!(receiver.try_recv().unwrap(), feeder_thread, "dropped before the feeder returned");
}
