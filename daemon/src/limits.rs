//! Every bound of the daemon in one place, with the asserts that relate them.

/// Earlier wins shown after a welcome, at most: the latest ones. With the usual cap of 3 it is all of them; the bound is for
/// campaigns that lift the cap.
pub const EARLIER_WINS_SHOWN_MAX: u32 = 16;

/// Requests to the ledger that all SETs together may have queued, and the bounds of one SET's share; a shake or login beyond it is
/// answered "overloaded". A queue's places are touched in turn and so all become resident, 96 bytes each with that of the answer:
/// 54 SETs of 4,096 took 21 MB. The ledger takes hundreds of thousands a second, so that what is queued is what comes while it
/// does not run.
pub const LEDGER_REQUESTS_QUEUED_MAX: usize = 65_536;
/// See [`LEDGER_REQUESTS_QUEUED_MAX`].
pub const LEDGER_REQUESTS_PER_SET_MIN: usize = 512;
/// See [`LEDGER_REQUESTS_QUEUED_MAX`].
pub const LEDGER_REQUESTS_PER_SET_MAX: usize = 4096;

/// Requests to the ledger that each of so many SETs may have queued.
pub const fn ledger_requests_per_set(sets: usize) -> usize {
    let share = LEDGER_REQUESTS_QUEUED_MAX / if sets == 0 { 1 } else { sets };
    if share < LEDGER_REQUESTS_PER_SET_MIN {
        LEDGER_REQUESTS_PER_SET_MIN
    } else if share > LEDGER_REQUESTS_PER_SET_MAX {
        LEDGER_REQUESTS_PER_SET_MAX
    } else {
        share
    }
}

/// Verdicts on their way to one SET: room for the answer to every queued request, and for one login's earlier wins and gifts.
/// The ledger takes a request only where the answer has room, so a full queue delays and never loses.
pub const fn ledger_verdicts_per_set(requests: usize) -> usize {
    requests + LEDGER_LOGIN_VERDICTS_MAX
}

/// Commands from control to one thread.
pub const COMMANDS_PER_THREAD: usize = 16;

/// Envelopes a SET may hold ready, by the issue rate: 50 ms worth of the whole machine's rate, so that one busy SET can take it
/// all; and never fewer than serve 51,200 a second, as the rate may be raised while it runs. What it does hold follows its shakes.
pub fn stock_capacity(issue_rate_per_second: u64) -> usize {
    (issue_rate_per_second / 20).clamp(512, 16_384) as usize
}

/// Users who may be barred at a time: each SET keeps them all.
pub const BARRED_USERS_MAX: usize = 1024;

// Rounds and playbooks.

/// Rounds of a schedule.
pub const ROUNDS_MAX: usize = 64;

/// Playbooks of a configuration, and actions of one.
pub const PLAYBOOKS_MAX: usize = 64;

/// Connections that a turn tells of a round, at most: the rest waits for the next turn.
pub const TOLD_PER_TURN: u32 = 256;

/// Over how long news of a round is spread, at most, in milliseconds; half of the time until its begin, where that is shorter.
pub const ROUND_NEWS_SPREAD_MS: u32 = 10_000;

// The admin socket.

/// Clients of the admin socket at a time; one more is told so.
pub const ADMIN_CLIENTS_MAX: usize = 16;

/// Bytes of a command, and so of a line from an admin client.
pub const ADMIN_LINE_BYTES_MAX: usize = 4096;

/// Bytes of an answer: the status of 256 SETs with room to spare.
pub const ADMIN_ANSWER_BYTES_MAX: usize = 256 * 1024;

/// How long an admin client may take for a command, and for reading its answer, in milliseconds. One that has nothing to say may stay, as
/// `ctl status --watch` does, for so long between two commands.
pub const ADMIN_PATIENCE_MS: u64 = 10_000;

/// How long an answer waits for the threads to obey, in milliseconds: what is not in force then is named in it.
pub const COMMAND_IN_FORCE_MS: u64 = 1_000;

/// How often control looks whether a command is in force, in milliseconds.
pub const COMMAND_LOOK_MS: u64 = 1;

/// How often control samples the counters for the rates it tells, in milliseconds, and how many samples it keeps.
pub const SAMPLE_EVERY_MS: u64 = 1_000;
/// See [`SAMPLE_EVERY_MS`].
pub const SAMPLES_KEPT: usize = 11;

// Seed files on disk.

/// Files of one campaign, over all servers.
pub const SEED_FILES_MAX: u64 = 65_536;

/// Sponsors of one campaign: the generator holds them all in memory.
pub const SEED_SPONSORS_MAX: u32 = 65_536;

/// Blocks that the generator writes at once: 1 MiB.
pub const SEED_WRITE_BLOCKS: usize = 256;

/// Blocks that `seed verify` and `seed show` read at once: 1 MiB.
pub const SEED_READ_BLOCKS: usize = 256;

/// How far below a directory that is named seed files are looked for.
pub const SEED_DIRECTORY_DEPTH_MAX: usize = 4;

// Configuration, metrics endpoint, control.

/// SETs of one process. Each needs a ring; a million connections at 20,000 a ring take 54.
pub const SETS_MAX: u32 = 256;

/// Connections over all SETs where none were asked for: what the daemon is built for.
pub const CONNECTIONS_DEFAULT_MAX: u32 = 1_000_000;

/// How long a SET under load may gather completions before it wakes, in microseconds, where it was not said: at 60,000 requests a second two
/// enters then serve some 75.
pub const LATENCY_BUDGET_US: u64 = 1_250;

/// A thread of several SETs comes by at each of them no more often, in microseconds, however small the budget.
pub const ROUND_US_MIN: u32 = 100;

/// Entries that the kernel allows in one ring's table of direct descriptors.
pub const DIRECT_DESCRIPTORS_MAX: u32 = 1 << 20;

/// Bytes of a journal segment: enough for a group commit, and few enough to be zero-filled ahead within seconds.
pub const JOURNAL_SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// See [`JOURNAL_SEGMENT_BYTES_MIN`].
pub const JOURNAL_SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// Scrapes and health checks served at one time; the oldest gives way to one more.
pub const SCRAPES_MAX: usize = 16;

/// A scrape's request and answer, from its first byte to its last, take no longer; in milliseconds.
pub const SCRAPE_TIME_MS: u64 = 10_000;

/// Bytes of a scrape's request head, the least that hyper can be told.
pub const SCRAPE_HEAD_BYTES: usize = 8192;

/// Network interfaces told of in the metrics; a host of containers has thousands.
pub const INTERFACES_MAX: usize = 64;

/// A SET that did not enter its ring for this long is told as stalled, in milliseconds. An idle one enters with each tick of its wheel.
pub const SET_STALLED_MS: u64 = 2_000;

/// Log lines a second, at most; what is more is counted and told with the next one.
pub const LOG_LINES_PER_SECOND: u64 = 200;

/// How often the service manager's status line is renewed, in milliseconds.
pub const STATUS_EVERY_MS: u64 = 5_000;

/// How often it is told that the daemon lives, at the most, in milliseconds, however short its watchdog is.
pub const HEARTBEAT_EVERY_MS_MIN: u64 = 20;

/// A stop may take this much longer than the drain timeout, which bounds the SETs alone: the ledger flushes and the feeder takes the
/// stock back; in milliseconds.
pub const STOP_GRACE_MS: u64 = 5_000;

/// Connections that are closed in a millisecond, at least, after the drain timeout: 40 were measured on two cores shared with the clients.
pub const CLOSED_PER_MS_MIN: u64 = 20;

/// How much longer than the drain timeout a stop with so many connections may take, in milliseconds.
pub const fn stop_grace_ms(connections: u64) -> u64 {
    STOP_GRACE_MS + connections / CLOSED_PER_MS_MIN
}

/// How long a start waits for a port that a daemon left behind which was killed, in milliseconds: the kernel closes its connections first.
pub const PORT_WAIT_MS: u64 = 60_000;

/// How often it tries, in milliseconds.
pub const PORT_TRY_EVERY_MS: u64 = 100;

const _: () = assert!(EARLIER_WINS_SHOWN_MAX <= u8::MAX as u32, "the welcome counts them in a byte");

// The feeder.

/// An issue rate that is no limit: envelopes go out as fast as they are demanded.
pub const ISSUE_RATE_UNLIMITED: u64 = u64::MAX;

/// How often the feeder deals, in milliseconds: short against the stock of a SET, long against a wake-up (about 40 us of CPU).
pub const FEEDER_TICK_MS: u64 = 10;

/// What the token bucket holds at most, in milliseconds of the issue rate: five ticks, so that a late tick loses nothing, and at most
/// 0.5 % over the rate in any ten seconds.
pub const ISSUE_BURST_MS: u64 = 50;

/// What it holds at low rates, where that would be less: one envelope, and what these milliseconds bring while it waits for its tick.
pub const ISSUE_LATENESS_MS: u64 = 4 * FEEDER_TICK_MS;

/// Envelopes dealt in one tick, at most: 1.6 million a second.
pub const DEALT_PER_TICK_MAX: usize = 16_384;

/// Blocks in one of the feeder's reads: 256 KiB.
pub const FEEDER_READ_BLOCKS: u32 = 64;

/// Reads done ahead of the dealing: 1 MiB of buffers, 65,280 envelopes.
pub const FEEDER_READS_AHEAD: usize = 4;

/// Log lines on damaged blocks of one seed file, at most; what lies beyond is counted only.
pub const FEEDER_DAMAGE_LINES_MAX: u32 = 16;

const _: () = assert!(ISSUE_LATENESS_MS < ISSUE_BURST_MS, "a few late ticks must not cost envelopes");

// The ledger.

/// Unit of the journal: blocks are padded to it, and so no write touches a page that holds acknowledged records.
pub const JOURNAL_PAGE_BYTES: usize = 4096;

/// A block, and so a commit, is at most this long: 6,550 wins, more than arrive during a flush.
pub const JOURNAL_BLOCK_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a segment, unless told otherwise: at 200 wins a second, each a commit of its own, it lasts 80 seconds.
pub const JOURNAL_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// Wins that the ledger reserves room for at the start, beyond those it has: address space that is used as wins come.
pub const LEDGER_WINS_EXPECTED: usize = 3_500_000;

/// Requests taken from one SET before the next one's turn.
pub const LEDGER_REQUESTS_PER_SET_AND_TURN: usize = 512;

/// Logins that may wait for one flush; beyond it requests stay queued.
pub const LEDGER_LOGINS_WAITING_MAX: usize = 4096;

/// Time between two tries to make a segment, in microseconds: soon enough to resume, rare enough to leave a full disk alone.
pub const LEDGER_SPARE_RETRY_US: u64 = 1_000_000;

/// Longest sleep of an idle ledger, in microseconds: bounds how late it sees a SET end or a segment made, of which no doorbell tells.
pub const LEDGER_IDLE_WAIT_US: u32 = 50_000;

/// Sleep of a ledger whose requests wait for room in a SET's verdict queue, in microseconds: no doorbell tells of that.
pub const LEDGER_BLOCKED_WAIT_US: u32 = 1_000;

/// Verdict slots that the answer to a login takes at most.
pub const LEDGER_LOGIN_VERDICTS_MAX: usize = EARLIER_WINS_SHOWN_MAX as usize + 1 + LEDGER_LIST_VERDICTS_MAX;

/// Verdict slots that a list of gifts takes at most.
pub const LEDGER_LIST_VERDICTS_MAX: usize = GIFTS_SHOWN_MAX + 1;

/// Notices of gifts that wait for room in a verdict queue, over all SETs; what does not fit is dropped and counted, and the
/// recipient finds the gift in the next list.
pub const NOTICES_WAITING_MAX: usize = 65_536;

/// Segments that a snapshot covers newly, at least.
pub const SNAPSHOT_SEGMENTS_MIN: usize = 4;

/// A snapshot is written in steps of so many bytes, each synced, so that a commit meanwhile waits for one of them at most.
pub const SNAPSHOT_STEP_BYTES: usize = 1024 * 1024;

/// Times that a backup begins anew because the running daemon compacted its journal meanwhile.
pub const BACKUP_TRIES_MAX: u32 = 5;

/// Findings of one kind that a reconciliation lists, at most; what lies beyond is counted only.
pub const RECONCILE_LISTED_MAX: usize = 100_000;

/// Wins of the journal that fit no seeded envelope, or whose envelope it had issued, that a reconciliation keeps apart; beyond
/// these, a claim on one counts once more.
pub const RECONCILE_STRAYS_MAX: usize = 1_000_000;

/// Threads that read claims.
pub const RECONCILE_READERS_MAX: usize = 16;

/// Bytes of a claims file that one thread reads at once.
pub const RECONCILE_CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of a line of a claims file, at most.
pub const CLAIM_LINE_BYTES_MAX: usize = 4096;

// Gifts.

/// Cents in one gift, at most: 11 thousand million of the usual unit.
pub const GIFT_CENTS_MAX: u64 = 1 << 40;

/// Cents that the house may have in gifts and in what was opened of them, so that with all that is won the sum fits 64 bits.
pub const HOUSE_CENTS_MAX: u64 = 1 << 62;

/// How long a gift can be opened where the configuration says nothing, in microseconds: 24 hours.
pub const GIFT_LIFE_US: u64 = 24 * 60 * 60 * 1_000_000;

/// Gifts that may wait to be opened where the configuration says nothing: half a gigabyte, address space until it is used.
pub const GIFTS_PENDING_MAX: u64 = 4_000_000;

/// Gifts remembered after all was opened or refunded, for those who ask again: the latest of them, up to 120 MB.
pub const GIFTS_FINISHED_KEPT_MAX: usize = 1_000_000;

/// A user's latest gifts whose request numbers are known again.
pub const GIFT_REQUESTS_REMEMBERED: u32 = 16;

/// Gifts in one list, which also follows each login.
pub const GIFTS_SHOWN_MAX: usize = 16;

/// Steps that the walk to a list's beginning takes, at most.
pub const GIFT_LIST_STEPS_MAX: u32 = 1024;

/// Gifts refunded in one turn of the ledger, so that many that end together do not hold up the wins.
pub const REFUNDS_PER_TURN: usize = 256;

/// More cannot be configured.
pub const GIFTS_PENDING_BOUND: u64 = 100_000_000;

const _: () = assert!(GIFTS_PENDING_MAX <= GIFTS_PENDING_BOUND);
const _: () =
    assert!(GIFTS_PENDING_BOUND + (GIFTS_FINISHED_KEPT_MAX as u64) < u32::MAX as u64 / 32, "places fit 32 bits");

const _: () = assert!(JOURNAL_BLOCK_BYTES_MAX.is_multiple_of(JOURNAL_PAGE_BYTES));
const _: () = assert!(JOURNAL_SEGMENT_BYTES.is_multiple_of(JOURNAL_PAGE_BYTES as u64));
const _: () = assert!(JOURNAL_SEGMENT_BYTES_MIN >= JOURNAL_BLOCK_BYTES_MAX as u64, "every block fits an empty segment");
const _: () = assert!(
    ledger_verdicts_per_set(LEDGER_REQUESTS_PER_SET_MIN) >= LEDGER_LOGIN_VERDICTS_MAX,
    "else a login could never be answered"
);

// The SET.

/// Of a SET's queue to the ledger, one part in so many is kept for claims and logins when gifts fill it.
pub const LEDGER_REQUESTS_KEPT_SHARE: usize = 4;

/// Starts of long frames that a SET keeps until their rest arrives.
pub const LONG_FRAMES_PER_SET: usize = 32;

const _: () = assert!(LONG_FRAMES_PER_SET <= u8::MAX as usize, "a place fits a byte");

/// Places kept, beyond the configured connections, for telling those who find every place taken to come back later. When
/// these are taken too, the SET stops accepting and newcomers wait in the kernel's backlog.
pub const REFUSED_AT_ONCE: u32 = 64;

/// Bytes of user-space memory an idle connection may take.
pub const CONNECTION_BYTES_MAX: usize = 64;

/// Milliseconds between two ticks of a SET's wheel: how exact deadlines are.
pub const WHEEL_TICK_MS: u32 = 250;

/// Buckets of the wheel: deadlines up to 128 seconds ahead are visited once.
pub const WHEEL_BUCKETS: u16 = 512;

/// The longest deadline the wheel can tell from one that has passed, in milliseconds: over an hour.
pub const DEADLINE_MS_MAX: u32 = 60 * 60 * 1000;

/// Connections that a turn looks at for their deadlines, for being sent away, or for arming their receive again: what is more waits
/// for the next turn, which then does not sleep.
pub const HOUSEKEEPING_PER_TURN: u32 = 1024;

/// Verdicts and commands that a turn handles.
pub const VERDICTS_PER_TURN: u32 = 4096;

/// How long a connection that was sent away has to read its last frame and close, in milliseconds.
pub const LINGER_MS: u32 = 1000;

/// Ticks without a shake after which a SET gives its stock back to the feeder: one second.
pub const STOCK_IDLE_TICKS: u32 = 4;

/// How long accepting rests after the kernel ran out of descriptors, in ticks.
pub const ACCEPT_BACKOFF_TICKS: u32 = 2;

/// How long clients that find every place taken, or a stopping daemon, are to stay away at least, in milliseconds; spread by as much again.
pub const AWAY_MS: u32 = 5000;

const _: () = assert!(WHEEL_BUCKETS >= 4 && WHEEL_BUCKETS.is_power_of_two());
const _: () = assert!(DEADLINE_MS_MAX / WHEEL_TICK_MS + 2 < u16::MAX as u32 / 2, "ticks are compared modulo 2^16");
