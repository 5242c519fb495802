use super::*;
use crate::limits::{FEEDER_READ_BLOCKS, FEEDER_READS_AHEAD};

/// Deals everything there is on one SET, until the books have no envelope left.
fn deal_all(show: &mut Show) -> Vec<Envelope> {
    let mut taken = Vec::new();
    wait_until("all is dealt or booked as damaged", || {
        show.sets[0].shake_and_take(100, &mut taken);
        show.cells.unissued.get() == 0 && show.cells.dealt.get() == taken.len() as u64
    });
    taken
}

#[test]
fn a_damaged_block_is_named_and_the_rest_of_the_file_and_the_others_go_on() {
    let dir = TempDir::new().unwrap();
    write_seed(&dir, "a.hbs", &header(0, 700));
    let mut bytes = seed_bytes(&header(1, 700));
    bytes[2 * BLOCK_BYTES + 20] ^= 0x10;
    write_file(&dir, "b.hbs", &bytes);
    write_seed(&dir, "c.hbs", &header(2, 700));
    let mut show = Show::start_unlimited(dir.path(), IssuedBefore::default());
    show.ready().unwrap();
    let taken = deal_all(&mut show);
    let expected: Vec<_> = (0..3)
        .flat_map(|shard| (0..700).map(move |index| envelope(shard, index)))
        .filter(|envelope| envelope.id.shard() != ShardId(1) || !(255..510).contains(&envelope.id.index()))
        .collect();
    assert_eq!(taken, expected);
    let log = show.log.text();
    assert!(log.contains("b.hbs, block 2 (offset 8192): checksum"), "{log}");
    let summary = show.end();
    assert_eq!(summary.damaged.envelopes, 255);
    assert_eq!(summary.damaged.amount, (255..510).map(|index| prize(index).1).sum());
    assert_eq!(summary.unissued, super::super::Tally::NONE);
}

#[test]
fn two_blocks_that_changed_places_are_both_refused() {
    let dir = TempDir::new().unwrap();
    let good = seed_bytes(&header(0, 1000));
    let (one, two) = (BLOCK_BYTES..2 * BLOCK_BYTES, 2 * BLOCK_BYTES..3 * BLOCK_BYTES);
    let mut swapped = good.clone();
    swapped[one.clone()].copy_from_slice(&good[two.clone()]);
    swapped[two].copy_from_slice(&good[one]);
    write_file(&dir, "a.hbs", &swapped);
    let mut show = Show::start_unlimited(dir.path(), IssuedBefore::default());
    show.ready().unwrap();
    let taken = deal_all(&mut show);
    assert_eq!(taken, (510..1000).map(|index| envelope(0, index)).collect::<Vec<_>>());
    assert!(show.log.text().contains("block is number 1, expected 0"), "{}", show.log.text());
    show.end();
}

#[test]
fn a_file_cut_after_the_scan_gives_what_is_left_of_it() {
    // Cut beyond what is read ahead while nothing is demanded.
    const LEFT: u32 = FEEDER_READ_BLOCKS * FEEDER_READS_AHEAD as u32 + 20;
    let dir = TempDir::new().unwrap();
    let path = write_seed(&dir, "a.hbs", &header(0, 100_000));
    let mut show = Show::start_unlimited(dir.path(), IssuedBefore::default());
    show.ready().unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(u64::from(LEFT + 1) * BLOCK_BYTES as u64 + 7).unwrap();
    let taken = deal_all(&mut show);
    assert!(taken.into_iter().eq((0..LEFT * RECORDS_PER_BLOCK as u32).map(|index| envelope(0, index))));
    let log = show.log.text();
    assert!(
        log.contains(&format!("block {} (offset", LEFT + 1)) && log.contains("the file ends before the block does"),
        "{log}"
    );
    assert!(!log.contains("block is number"), "nothing is read twice: {log}");
    let summary = show.end();
    assert_eq!(summary.damaged.envelopes, 100_000 - u64::from(LEFT) * RECORDS_PER_BLOCK as u64);
    assert_eq!(summary.unissued, super::super::Tally::NONE);
}

#[test]
fn a_file_replaced_after_the_scan_is_not_dealt() {
    let dir = TempDir::new().unwrap();
    write_seed(&dir, "a.hbs", &header(0, 300));
    let scan = super::super::scan(dir.path(), SERVER).unwrap();
    write_seed(&dir, "a.hbs", &header(0, 299));
    let (files, summary): (std::rc::Rc<[_]>, _) = (scan.accepted.into(), FeederSummary::default());
    let mut books = summary;
    books.seed(super::super::Tally { envelopes: 300, amount: header(0, 300).total });
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, || {
        tokio_uring::start(async {
            let nothing = vec![super::super::Tally::NONE];
            let mut walker = super::super::walker::Walker::new(
                &super::super::reader::RingReads,
                files,
                nothing,
                crate::issued::IssuedSet::default(),
            );
            let deadline = Instant::now() + PATIENCE;
            while !walker.is_exhausted() {
                assert_eq!(walker.fill(100, &mut books), 0);
                assert!(Instant::now() < deadline, "the walk ends");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    });
    assert_eq!(books.damaged, books.seeded);
    assert!(
        log.text().contains("a.hbs, block 1 (offset 4096): the file was changed after the start"),
        "{}",
        log.text()
    );
}

#[test]
fn a_block_with_more_money_than_the_header_promised_is_refused() {
    let dir = TempDir::new().unwrap();
    let whole = header(0, 510).total;
    let first: Cents = (0..255).map(|index| prize(index).1).sum();
    write_seed(&dir, "a.hbs", &Header { total: Cents(whole.0 - 1), ..header(0, 510) });
    let mut show = Show::start_unlimited(dir.path(), IssuedBefore::default());
    show.ready().unwrap();
    assert_eq!(deal_all(&mut show).len(), 255);
    assert!(show.log.text().contains("more than the header's total leaves"));
    let summary = show.end();
    assert_eq!((summary.dealt.amount, summary.damaged.amount), (first, Cents(whole.0 - 1 - first.0)));
}

#[test]
fn money_that_the_header_promised_and_no_envelope_holds_is_told_and_booked() {
    let dir = TempDir::new().unwrap();
    let whole = header(0, 300).total;
    write_seed(&dir, "a.hbs", &Header { total: Cents(whole.0 + 9), ..header(0, 300) });
    let mut show = Show::start_unlimited(dir.path(), IssuedBefore::default());
    show.ready().unwrap();
    deal_all(&mut show);
    assert!(show.log.text().contains("promises 9 cents more than its envelopes hold"));
    let summary = show.end();
    assert_eq!(summary.damaged, super::super::Tally { envelopes: 0, amount: Cents(9) });
}

#[test]
fn a_file_damaged_all_over_does_not_flood_the_log() {
    let dir = TempDir::new().unwrap();
    let mut bytes = seed_bytes(&header(0, 255 * 200));
    for block in bytes.chunks_mut(BLOCK_BYTES).skip(1) {
        block[40] ^= 1;
    }
    write_file(&dir, "a.hbs", &bytes);
    let mut show = Show::start_unlimited(dir.path(), IssuedBefore::default());
    show.ready().unwrap();
    assert_eq!(deal_all(&mut show), []);
    let log = show.log.text();
    assert!(log.lines().count() <= 20, "{log}");
    assert!(log.contains("200 damaged blocks in all"), "{log}");
    show.end();
}
