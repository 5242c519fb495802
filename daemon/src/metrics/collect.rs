//! One scrape: sums the cells of all threads and publishes them. Nothing here runs on a thread that serves clients.

use hongbao_protocol::wire::{GiftClosed, GiftRefusal};
use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::balance::Balance;
use super::catalogue::{self, Kind, Metric};
use super::render::Family;
use super::{Registry, host};
use crate::admin::Command;
use crate::cells::{Cell, CloseReason, CommandOutcome, SetCells};

/// Tells the recorder what each of its metrics is. Once, at the start.
pub(super) fn describe(recorder: &PrometheusRecorder) {
    for metric in catalogue::ALL {
        match metric.kind {
            Kind::Counter => recorder.describe_counter(metric.name.into(), None, metric.help.into()),
            Kind::Gauge => recorder.describe_gauge(metric.name.into(), None, metric.help.into()),
            Kind::Histogram => {}
        }
    }
}

/// The whole scrape, in Prometheus's text form.
pub(super) fn scrape(registry: &Registry) -> String {
    let publish = Publish(&registry.recorder);
    connections(registry, publish);
    requests(registry, publish);
    rings(registry, publish);
    ledger(registry, publish);
    gifts(registry, publish);
    seeds(registry, publish);
    control(registry, publish);
    tcp(publish);
    process(registry, publish);
    let mut text = registry.recorder.handle().render();
    rendered_here(registry, &mut text);
    text
}

/// Into the recorder: a counter's value is set, never added to, as the cells hold the truth.
#[derive(Clone, Copy)]
struct Publish<'a>(&'a PrometheusRecorder);

impl Publish<'_> {
    fn counter(self, metric: &'static Metric, labels: &[&str], value: u64) {
        debug_assert_eq!(metric.kind, Kind::Counter);
        self.0.register_counter(&key(metric, labels), &METADATA).absolute(value);
    }

    fn gauge(self, metric: &'static Metric, labels: &[&str], value: f64) {
        debug_assert_eq!(metric.kind, Kind::Gauge);
        self.0.register_gauge(&key(metric, labels), &METADATA).set(value);
    }
}

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

fn key(metric: &'static Metric, values: &[&str]) -> Key {
    assert_eq!(metric.labels.len(), values.len(), "{} has other labels", metric.name);
    let labels: Vec<Label> =
        metric.labels.iter().zip(values).map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    Key::from_parts(metric.name, labels)
}

fn total(registry: &Registry, cell: impl Fn(&SetCells) -> &Cell) -> u64 {
    registry.sets.iter().map(|set| cell(set).get()).sum()
}

fn connections(registry: &Registry, publish: Publish<'_>) {
    let sum = |cell: fn(&SetCells) -> &Cell| total(registry, cell);
    publish.counter(&catalogue::CONNECTIONS_OPENED, &[], sum(|set| &set.connections_opened));
    for (number, set) in registry.numbered_sets() {
        publish.gauge(&catalogue::CONNECTIONS_OPEN, &[&number], set.connections_open.get() as f64);
        publish.gauge(&catalogue::CONNECTIONS_CAPACITY, &[&number], f64::from(registry.connections_per_set));
        publish.gauge(&catalogue::STOCK, &[&number], set.stock.get() as f64);
        publish.counter(&catalogue::SET_SHAKES, &[&number], set.shakes.get());
        publish.counter(&catalogue::SET_TURNS, &[&number], set.ring_enters.get());
        publish.counter(&catalogue::SET_ENVELOPES_ISSUED, &[&number], set.envelopes_issued.get());
    }
    for reason in CloseReason::ALL {
        let closed = total(registry, |set| &set.connections_closed[reason as usize]);
        publish.counter(&catalogue::CONNECTIONS_CLOSED, &[reason.label()], closed);
    }
    publish.counter(&catalogue::ACCEPTS_FAILED, &[], sum(|set| &set.accepts_failed));
    publish.gauge(&catalogue::USERS_ONLINE, &[], sum(|set| &set.users_online) as f64);
    publish.counter(&catalogue::BYTES_RECEIVED, &[], sum(|set| &set.bytes_received));
    publish.counter(&catalogue::BYTES_SENT, &[], sum(|set| &set.bytes_sent));
}

fn requests(registry: &Registry, publish: Publish<'_>) {
    let sum = |cell: fn(&SetCells) -> &Cell| total(registry, cell);
    for (kind, received) in [
        ("hello", sum(|set| &set.hellos)),
        ("shake", sum(|set| &set.shakes)),
        ("ping", sum(|set| &set.pings)),
        ("gift_send", sum(|set| &set.gift_sends)),
        ("gift_open", sum(|set| &set.gift_opens)),
        ("gift_list", sum(|set| &set.gift_lists)),
    ] {
        publish.counter(&catalogue::REQUESTS, &[kind], received);
    }
    publish.counter(&catalogue::BAD_FRAMES, &[], sum(|set| &set.bad_frames));
    for (outcome, answered) in [
        ("envelope", sum(|set| &set.answered_envelope)),
        ("none", sum(|set| &set.answered_none)),
        ("too_early", sum(|set| &set.answered_too_early)),
        ("user_limit", sum(|set| &set.answered_user_limit)),
        ("sponsor_limit", sum(|set| &set.answered_sponsor_limit)),
        ("overloaded", sum(|set| &set.answered_overloaded)),
    ] {
        publish.counter(&catalogue::SHAKE_ANSWERS, &[outcome], answered);
    }
    publish.counter(&catalogue::CENTS_ANSWERED, &[], sum(|set| &set.cents_answered));
    publish.counter(&catalogue::WINS_UNDELIVERED, &[], sum(|set| &set.wins_undelivered));
    publish.counter(&catalogue::WINS_SHOWN_AGAIN, &[], sum(|set| &set.wins_shown_again));
    publish.gauge(&catalogue::CLAIMS_PENDING, &[], sum(|set| &set.claims_pending) as f64);
    publish.gauge(&catalogue::STOCK_CENTS, &[], sum(|set| &set.stock_cents) as f64);
    publish.counter(&catalogue::STOCK_RETURNED, &[], sum(|set| &set.stock_returned));
}

fn rings(registry: &Registry, publish: Publish<'_>) {
    let sum = |cell: fn(&SetCells) -> &Cell| total(registry, cell);
    publish.counter(&catalogue::RING_ENTERS, &[], sum(|set| &set.ring_enters));
    publish.counter(&catalogue::RING_COMPLETIONS, &[], sum(|set| &set.ring_completions));
    publish.counter(&catalogue::RING_SENDS, &[], sum(|set| &set.ring_sends));
    publish.counter(&catalogue::RING_SENDS_DEFERRED, &[], sum(|set| &set.ring_sends_deferred));
    publish.counter(&catalogue::RING_BUFFERS_EXHAUSTED, &[], sum(|set| &set.ring_buffers_exhausted));
    publish.counter(&catalogue::RING_OVERFLOWS, &[], sum(|set| &set.ring_completion_overflows));
    publish.counter(&catalogue::RING_WAKES, &[], sum(|set| &set.ring_wakes_sent));
}

fn ledger(registry: &Registry, publish: Publish<'_>) {
    let ledger = &registry.ledger;
    publish.counter(&catalogue::ISSUED, &[], ledger.issued.get());
    publish.counter(&catalogue::ISSUED_CENTS, &[], ledger.issued_cents.get());
    publish.counter(&catalogue::WINS, &[], ledger.wins.get());
    for (reason, refused) in [
        ("user_limit", &ledger.refused_user_limit),
        ("sponsor_limit", &ledger.refused_sponsor_limit),
        ("already_issued", &ledger.refused_already_issued),
        ("halted", &ledger.refused_halted),
    ] {
        publish.counter(&catalogue::CLAIMS_REFUSED, &[reason], refused.get());
    }
    publish.counter(&catalogue::LEDGER_LOGINS, &[], ledger.logins.get());
    publish.gauge(&catalogue::LEDGER_USERS, &[], ledger.users.get() as f64);
    publish.counter(&catalogue::JOURNAL_COMMITS, &[], ledger.commits.get());
    publish.counter(&catalogue::JOURNAL_BYTES, &[], ledger.journal_bytes.get());
    publish.gauge(&catalogue::JOURNAL_SEGMENTS, &[], ledger.journal_segments.get() as f64);
    publish.counter(&catalogue::JOURNAL_SPARES_FAILED, &[], ledger.spares_failed.get());
    publish.counter(&catalogue::JOURNAL_SNAPSHOTS, &["made"], ledger.snapshots.get());
    publish.counter(&catalogue::JOURNAL_SNAPSHOTS, &["failed"], ledger.snapshots_failed.get());
    publish.gauge(&catalogue::WINS_OVER_CAP, &[], ledger.wins_over_cap.get() as f64);
    let space = host::space(&registry.data_dir);
    publish.gauge(&catalogue::DATA_FREE, &[], space.free_bytes as f64);
    publish.gauge(&catalogue::DATA_SIZE, &[], space.size_bytes as f64);
    publish.gauge(&catalogue::JOURNAL_HALTED, &[], ledger.halted.get() as f64);
}

fn gifts(registry: &Registry, publish: Publish<'_>) {
    let sum = |cell: fn(&SetCells) -> &Cell| total(registry, cell);
    publish.counter(&catalogue::GIFT_SENDS, &["sent"], sum(|set| &set.gifts_sent));
    publish.counter(&catalogue::GIFT_SENDS, &["sent_again"], sum(|set| &set.gifts_sent_again));
    for reason in GiftRefusal::ALL {
        let refused = total(registry, |set| &set.gifts_refused[reason as usize - 1]);
        publish.counter(&catalogue::GIFT_SENDS, &[reason.name()], refused);
    }
    publish.counter(&catalogue::GIFT_OPENS, &["opened"], sum(|set| &set.gifts_opened));
    publish.counter(&catalogue::GIFT_OPENS, &["opened_again"], sum(|set| &set.gifts_opened_again));
    for reason in GiftClosed::ALL {
        let closed = total(registry, |set| &set.gifts_closed[reason as usize - 1]);
        publish.counter(&catalogue::GIFT_OPENS, &[reason.name()], closed);
    }
    let ledger = &registry.ledger;
    for (outcome, notices) in [
        ("delivered", sum(|set| &set.notices_delivered)),
        ("listed", sum(|set| &set.notices_listed)),
        ("missed", sum(|set| &set.notices_missed)),
        ("absent", ledger.notices_absent.get()),
        ("dropped", ledger.notices_dropped.get()),
    ] {
        publish.counter(&catalogue::GIFT_NOTICES, &[outcome], notices);
    }
    let totals = ledger.gifts.read();
    for (state, (number, cents)) in
        [("sent", totals.sent), ("opened", totals.opened), ("refunded", totals.refunded), ("pending", totals.pending)]
    {
        publish.gauge(&catalogue::GIFTS, &[state], number as f64);
        publish.gauge(&catalogue::GIFT_CENTS, &[state], cents as f64);
    }
    publish.gauge(&catalogue::GIFT_HOUSE_CENTS, &[], totals.house_cents as f64);
    publish.gauge(&catalogue::USER_BALANCES_CENTS, &[], totals.balances_cents as f64);
}

fn seeds(registry: &Registry, publish: Publish<'_>) {
    let feeder = &registry.feeder;
    publish.gauge(&catalogue::SEED_FILES, &["accepted"], feeder.seed_files.get() as f64);
    publish.gauge(&catalogue::SEED_FILES, &["refused"], feeder.seed_files_refused.get() as f64);
    let rate = feeder.issue_rate.get();
    publish.gauge(&catalogue::ISSUE_RATE, &[], if rate == u64::MAX { f64::INFINITY } else { rate as f64 });
    publish.counter(&catalogue::DEALT, &[], feeder.dealt.get());
    publish.counter(&catalogue::RETURNED, &[], feeder.returned.get());
    let balance = Balance::read(&registry.ledger, feeder, registry.issued_at_start);
    publish.gauge(&catalogue::SEEDED, &[], balance.seeded.envelopes as f64);
    publish.gauge(&catalogue::SEEDED_CENTS, &[], balance.seeded.cents as f64);
    for (place, amount) in balance.places() {
        publish.gauge(&catalogue::BALANCE, &[place], amount.envelopes as f64);
        publish.gauge(&catalogue::BALANCE_CENTS, &[place], amount.cents as f64);
    }
    publish.gauge(&catalogue::BALANCE_DIFFERENCE, &[], balance.difference_cents as f64);
}

fn control(registry: &Registry, publish: Publish<'_>) {
    let feeder = &registry.feeder;
    let planned = feeder.round_planned.get();
    publish.gauge(&catalogue::ROUND, &[], feeder.round.get() as f64);
    publish.gauge(&catalogue::ROUND_PLANNED, &[], if planned == u64::MAX { f64::INFINITY } else { planned as f64 });
    publish.gauge(&catalogue::ROUND_CARRIED, &[], feeder.round_carried.get() as f64);
    publish.gauge(&catalogue::ROUND_DEALT, &[], feeder.round_dealt.get() as f64);
    publish.counter(&catalogue::ROUNDS_TOLD, &[], total(registry, |set| &set.rounds_told));
    for (name, outcomes) in Command::NAMES.iter().zip(&registry.control.commands) {
        for outcome in CommandOutcome::ALL {
            publish.counter(&catalogue::COMMANDS, &[name, outcome.label()], outcomes[outcome as usize].get());
        }
    }
    for (outcome, count) in ["refused", "done"].iter().zip(&registry.control.reloads) {
        publish.counter(&catalogue::CONFIG_RELOADS, &[outcome], count.get());
    }
}

fn tcp(publish: Publish<'_>) {
    let segments = host::tcp_segments();
    publish.counter(&catalogue::TCP_SEGMENTS, &["in"], segments.received);
    publish.counter(&catalogue::TCP_SEGMENTS, &["out"], segments.sent);
    publish.counter(&catalogue::TCP_SEGMENTS, &["retransmitted"], segments.retransmitted);
}

fn process(registry: &Registry, publish: Publish<'_>) {
    let process = host::process();
    publish.gauge(&catalogue::PROCESS_RESIDENT, &[], process.resident_bytes as f64);
    publish.gauge(&catalogue::PROCESS_VIRTUAL, &[], process.virtual_bytes as f64);
    publish.gauge(&catalogue::PROCESS_THREADS, &[], process.threads as f64);
    publish.gauge(&catalogue::PROCESS_OPEN_FDS, &[], process.open_files as f64);
    publish.gauge(&catalogue::PROCESS_MAX_FDS, &[], process.files_max as f64);
    publish.gauge(&catalogue::PROCESS_START_TIME, &[], registry.started_unix_seconds);
    let protocol = hongbao_protocol::wire::VERSION.to_string();
    publish.gauge(&catalogue::BUILD_INFO, &[env!("CARGO_PKG_VERSION"), &protocol], 1.0);
}

/// What the recorder cannot hold.
fn rendered_here(registry: &Registry, text: &mut String) {
    let interfaces = host::interfaces();
    let mut packets = Family::new(text, &catalogue::INTERFACE_PACKETS);
    for interface in &interfaces {
        packets.value(&[&interface.name, "in"], interface.packets_in);
        packets.value(&[&interface.name, "out"], interface.packets_out);
    }
    let mut bytes = Family::new(text, &catalogue::INTERFACE_BYTES);
    for interface in &interfaces {
        bytes.value(&[&interface.name, "in"], interface.bytes_in);
        bytes.value(&[&interface.name, "out"], interface.bytes_out);
    }
    Family::new(text, &catalogue::PROCESS_CPU).value(&[], host::process().cpu_seconds);
    let mut busy = Family::new(text, &catalogue::SET_BUSY);
    for (number, set) in registry.numbered_sets() {
        busy.value(&[&number], set.turn_microseconds.sum() as f64 / MICROSECONDS);
    }
    // One histogram over all SETs: 54 of each kind were three quarters of the scrape, and nobody reads a percentile of one SET.
    let durations: Vec<_> = registry.sets.iter().map(|set| &set.turn_microseconds).collect();
    Family::new(text, &catalogue::TURN_DURATION).histogram(&[], MICROSECONDS, &durations);
    let completions: Vec<_> = registry.sets.iter().map(|set| &set.turn_completions).collect();
    Family::new(text, &catalogue::TURN_COMPLETIONS).histogram(&[], 1.0, &completions);
    let ledger = &registry.ledger;
    Family::new(text, &catalogue::COMMIT_DURATION).histogram(&[], MICROSECONDS, &[&ledger.commit_microseconds]);
    Family::new(text, &catalogue::COMMIT_RECORDS).histogram(&[], 1.0, &[&ledger.commit_records]);
}

/// In a second.
const MICROSECONDS: f64 = 1e6;
