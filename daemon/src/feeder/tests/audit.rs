use super::*;
use crate::exit::Exit;

/// A feeder over one file of 1000 and an empty shard, with this journal: what it says when asked whether it is ready.
fn ready_with(journal: IssuedBefore) -> (Result<FeederSummary, Failure>, String) {
    let dir = TempDir::new().unwrap();
    write_seed(&dir, "a.hbs", &header(0, 1000));
    write_seed(&dir, "b.hbs", &header(3, 40_000));
    let show = Show::start_unlimited(dir.path(), journal);
    let ready = show.ready();
    let log = show.log.clone();
    show.end();
    (ready, log.text())
}

fn refusal(journal: IssuedBefore) -> String {
    let failure = ready_with(journal).0.unwrap_err();
    assert_eq!(failure.exit, Exit::Config);
    failure.message
}

#[test]
fn a_journal_that_fits_is_skipped_and_counted_before_the_first_envelope_is_dealt() {
    let before = issued(
        [0, 1, 254, 255, 999]
            .map(|index| envelope(0, index))
            .into_iter()
            .chain((0..40_000).map(|index| envelope(3, index))),
    );
    let total = before.total();
    let (ready, log) = ready_with(before);
    let summary = ready.unwrap();
    assert_eq!(summary.skipped, super::super::Tally { envelopes: 40_005, amount: total });
    assert_eq!(summary.unissued.envelopes, 995);
    assert_eq!(log, "");
}

#[test]
fn an_envelope_issued_with_another_amount_than_the_seed_holds_forbids_the_start() {
    let mut wrong = envelope(3, 39_000);
    wrong.amount.0 += 1;
    let message = refusal(issued([envelope(0, 7), wrong]));
    assert!(message.contains(&format!("envelope {}", wrong.id)), "{message}");
    // Record block 152 is the file's block 153.
    assert!(message.contains("b.hbs (block 153, offset 626688)"), "{message}");
}

#[test]
fn an_envelope_issued_of_another_sponsor_forbids_the_start() {
    let mut wrong = envelope(0, 999);
    wrong.sponsor.0 += 1;
    assert!(refusal(issued([wrong])).contains("a.hbs (block 4,"));
}

#[test]
fn an_index_beyond_the_file_forbids_the_start() {
    let message = refusal(issued([envelope(0, 5), envelope(0, 1000)]));
    assert!(message.contains("index 1000") && message.contains("a.hbs holds only 1000"), "{message}");
}

#[test]
fn a_journal_of_another_campaign_or_server_forbids_the_start() {
    let other_campaign = IssuedBefore { campaign: Some(CampaignId(1)), ..issued([envelope(0, 5)]) };
    assert!(refusal(other_campaign).contains("the journal is of campaign 1, the seed files are of campaign 2015"));
    let mut foreign = envelope(0, 5);
    foreign.id = EnvelopeId::new(ServerId(9), ShardId(0), 5);
    assert!(refusal(issued([foreign])).contains("of server 9, and this is server 7"));
}

#[test]
fn a_journal_with_more_money_than_the_file_forbids_the_start_without_overflow() {
    let rich = |index| Envelope { amount: Cents(u64::MAX), ..envelope(0, index) };
    assert!(refusal(issued([rich(1), rich(2)])).contains("more money"));
}

#[test]
fn issued_envelopes_of_retired_files_are_told_and_do_not_forbid_the_start() {
    let (ready, log) =
        ready_with(issued([envelope(0, 5), envelope(1, 5), envelope(1, 6), envelope(3, 8), envelope(4, 0)]));
    assert_eq!(ready.unwrap().skipped.envelopes, 2);
    assert!(
        log.contains("3 envelopes that the journal has as issued are of shards that are not in the seed directory"),
        "{log}"
    );
}

#[test]
fn a_damaged_block_contradicts_nothing_and_its_issued_envelopes_stay_skipped() {
    let dir = TempDir::new().unwrap();
    let mut bytes = seed_bytes(&header(0, 600));
    bytes[2 * BLOCK_BYTES + 100] ^= 1;
    write_file(&dir, "a.hbs", &bytes);
    // Two issued in the damaged second block (255..510), one in a good one.
    let mut show = Show::start_unlimited(dir.path(), issued([1, 255, 300].map(|index| envelope(0, index))));
    assert_eq!(show.ready().unwrap().skipped.envelopes, 3);
    let mut taken = Vec::new();
    wait_until("every good envelope is dealt", || {
        show.sets[0].shake_and_take(100, &mut taken);
        taken.len() == 600 - 255 - 1
    });
    wait_until("the damage is counted", || {
        show.sets[0].shake_and_take(100, &mut taken);
        show.cells.damaged.get() == 253
    });
    let log = show.log.text();
    assert!(log.contains("2 issued envelopes stand in damaged seed blocks"), "{log}");
    let summary = show.end();
    assert_eq!(summary.unissued, super::super::Tally::NONE);
    assert_eq!(summary.damaged.amount, (255..510).filter(|i| ![255, 300].contains(i)).map(|i| prize(i).1).sum());
}
