//! Every bound of the load generator in one place, with the asserts that relate them.

/// Connections one run may ask for.
pub const CONNECTIONS_MAX: u32 = 16_000_000;

/// Requests a second one run may ask for.
pub const RATE_MAX: u64 = 100_000_000;

/// Threads, each with one ring or more.
pub const THREADS_MAX: u32 = 1024;

/// Rings over all threads.
pub const RINGS_MAX: u32 = 1024;

/// Entries of one ring's descriptor table, as the kernel has it.
pub const DESCRIPTORS_PER_RING_MAX: u64 = 1 << 20;

/// Descriptors a process needs besides its plain connections: standard streams, rings, files, sockets being made.
pub const DESCRIPTORS_RESERVED: u64 = 128;

/// Shakes of one connection under way at once in the closed loop.
pub const DEPTH_MAX: u32 = 64;

/// Longest time to wait for an answer, in seconds: half the span of the 32-bit microseconds that the window keeps.
pub const TIMEOUT_SECONDS_MAX: u64 = 2_000;

/// Numbers that the closed loop keeps under way over all threads, at most: an answer overtaken by as many others is given up.
pub const CLOSED_WINDOW: u64 = 1 << 20;

/// Entries of one thread's window, at most. 16 bytes each.
pub const WINDOW_MAX: u64 = 1 << 26;

/// Shakes prepared between two enters, at most. More that are due wait for the next turn, which comes at once.
pub const SHAKES_PER_TURN: u32 = 4096;

/// Connects begun between two enters, at most.
pub const CONNECTS_PER_TURN: u32 = 256;

/// Attempts to connect and log in, a connection.
pub const CONNECT_ATTEMPTS: u8 = 6;

/// The same where the scenario restarts the server: as many as there are, the stage's time is the bound.
pub const CONNECT_ATTEMPTS_RESTART: u8 = u8::MAX;

/// Wait before the second attempt, in milliseconds; doubled for each one after it.
pub const BACK_OFF_FIRST_MS: u64 = 100;

/// Longest wait between two attempts, in milliseconds.
pub const BACK_OFF_MAX_MS: u64 = 5_000;

/// Longest wait that a retry time of the server is followed for while logging in, in milliseconds.
pub const LOGIN_RETRY_MAX_MS: u64 = 60_000;

/// Highest value of the histograms, in microseconds: ten minutes. Larger ones count as this.
pub const HISTOGRAM_HIGHEST_US: u64 = 600_000_000;

/// Records of one second that a thread owns; while the main thread holds all, a second's figures join the next one's.
pub const SECONDS_PER_THREAD: usize = 4;

/// Shortest time between two turns of a thread, in microseconds.
pub const TICK_MIN_US: u64 = 10;

/// Longest, in microseconds.
pub const TICK_MAX_US: u64 = 1_000_000;

/// Where no tick is asked for: this times the number of threads, and at least a millisecond. Bounds the turns of all threads together to
/// 14,000 a second, which cost a quarter of a core.
pub const TICK_US_PER_THREAD: u64 = 70;

/// A rate that is asked for while it runs may be so many times the highest of the plan.
pub const LIVE_RATE_HEADROOM: u64 = 4;

/// Stages of one scenario.
pub const STAGES_MAX: usize = 64;

/// Who steers a run waits so long until it says again that the server is to be restarted, in seconds.
pub const RESTART_NOTICE_S: u64 = 10;

/// Who may be connected to the control socket at one time.
pub const CONTROL_CLIENTS_MAX: usize = 16;

/// Bytes of a command.
pub const CONTROL_LINE_MAX: usize = 256;

/// Laps with shakes under way on a thread: the last one and the one before.
pub const LAPS_OPEN_MAX: usize = 2;

/// Orders on their way to one thread.
pub const ORDERS_QUEUED: usize = 16;

/// Segments that a thread knows of beyond the one it follows: more wait in its queue of orders.
pub const SEGMENTS_AHEAD_MAX: usize = 8;

/// Turns of a thread that has nothing to do but keep its connections alive, in microseconds.
pub const HOLD_TURN_US: u64 = 10_000;

/// Received envelopes on their way to the audit, over all threads.
pub const CLAIMS_QUEUED: usize = 131_072;

/// Received envelopes on their way to the audit, of one thread, at least.
pub const CLAIMS_QUEUED_PER_THREAD_MIN: usize = 4_096;

/// Envelopes the audit remembers; about 60 bytes each. Beyond it the run is declared invalid, as duplicates could go unseen.
pub const AUDIT_ENVELOPES_MAX: usize = 1 << 24;

/// Findings of the audit that are spelled out in the report.
pub const AUDIT_FINDINGS_SHOWN: usize = 16;

/// Seconds kept in the report's series; a longer run keeps its first ones.
pub const SERIES_SECONDS_MAX: usize = 86_400;

/// Partial frames a thread has room for at the start. There can be one a connection; the store grows to that where it must.
pub const PARTIAL_FRAMES: usize = 256;

/// Longest wait after the end for connections to end in an orderly way, in milliseconds.
pub const CLOSE_WAIT_MS: u64 = 2_000;

/// Bytes of an HDR log that are read: a day's seconds are about 100 MB.
pub const HDR_LOG_BYTES_MAX: u64 = 1 << 28;

// Gifts.

/// Recipients of one gift, as the wire has it.
pub const GIFT_RECIPIENTS_MAX: u64 = hongbao_protocol::wire::GIFT_RECIPIENTS_MAX as u64;

/// Recipients of a gift where none are asked for.
pub const GIFT_RECIPIENTS: u64 = 3;

/// Cents a share where no total is asked for.
pub const GIFT_CENTS_PER_SHARE: u64 = 100;

/// Cents in one gift, as hongbaod has it.
pub const GIFT_TOTAL_MAX: u64 = 1 << 40;

/// Gifts sent between two enters, at most, and questions about gifts as many again.
pub const GIFTS_PER_TURN: u32 = 4_096;

/// Sends without an answer on one thread, and opens: beyond it the oldest is given up.
pub const GIFTS_UNDER_WAY_MAX: usize = 1 << 18;

/// Sends that were given up and are asked again after the next login, of one thread; opens as many.
pub const GIFTS_GIVEN_UP_MAX: usize = 1 << 16;

/// Questions of one thread that the server put off.
pub const GIFTS_LATER_MAX: usize = 1 << 16;

/// How often a send or an open is asked again for want of an answer.
pub const GIFT_ATTEMPTS_MAX: u8 = 16;

/// One of so many gifts sent, and of so many shares opened, is asked for again on purpose: the answer must be the same.
pub const GIFT_REPEATED_OF: u64 = 64;

/// A user for whom more gifts wait than a list shows asks again after so long, in milliseconds: those shown are opened by then.
pub const GIFT_LIST_WAIT_MS: u64 = 1_000;

/// After the end of a load with gifts, notices may still come for so long, in milliseconds.
pub const GIFT_GRACE_MS: u64 = 500;

/// What the threads told the audit of gifts and it has not looked at yet, of one thread.
pub const GIFTS_TOLD_QUEUED: usize = 1 << 16;

/// Gifts that the audit remembers, and shares: about 250 bytes a gift of three. Beyond it the run is declared invalid.
pub const AUDIT_GIFTS_MAX: usize = 1 << 23;

// The load generator's own metrics (exporter.rs).

/// A scrape's request and answer, from its first byte to its last, take no longer; in milliseconds. The next scraper waits as long.
pub const SCRAPE_TIME_MS: u64 = 2_000;

/// Bytes of a scrape's request head, the least that hyper can be told.
pub const SCRAPE_HEAD_BYTES: usize = 8_192;

// The daemon's metrics (server.rs).

/// Longest wait for the daemon's metrics, in milliseconds.
pub const SERVER_METRICS_TIMEOUT_MS: u64 = 2_000;

/// Bytes of the daemon's metrics that are read at most: 50 SETs tell about 100 kB.
pub const SERVER_METRICS_BYTES_MAX: u64 = 16 << 20;

/// SETs that are told apart in the metrics of the daemon, which has 256 at most.
pub const SERVER_SETS_MAX: u32 = 1_024;

// The search for the highest rate that holds.

/// Trials of a search, at most; one takes as long as its run.
pub const SEARCH_TRIALS_MAX: u32 = 64;

/// Finest resolution of a search, as a share of the rate. Runs of seconds tell no less apart.
pub const SEARCH_RESOLUTION_MIN: f64 = 0.001;

/// Coarsest.
pub const SEARCH_RESOLUTION_MAX: f64 = 0.5;

// What is read back.

/// Bytes of a report: that of a day's run, its seconds with their histograms, has about 100 MB.
pub const REPORT_BYTES_MAX: u64 = 1 << 28;

/// Longest line of claims that is read, in bytes. Ours are below 200.
pub const CLAIM_LINE_BYTES_MAX: u64 = 4_096;

// Many client machines: agents and their coordinator.

/// Agents of one coordinator.
pub const AGENTS_MAX: usize = 256;

/// Longest message between them, in bytes: a scenario of all stages fits.
pub const FLEET_LINE_BYTES_MAX: usize = 1 << 17;

/// Longest wait for a connection, an answer, or the next bytes of a product, in milliseconds. An agent may wait 10 s for its run.
pub const FLEET_TIMEOUT_MS: u64 = 15_000;

/// An agent whose coordinator was silent for so long, in milliseconds, ends the load: nobody steers it any more.
pub const FLEET_SILENCE_MS: u64 = 30_000;

/// ... once its load has ended: the coordinator may be collecting from others.
pub const FLEET_COLLECT_MS: u64 = 600_000;

/// Longest wait for all agents to stand, and for the end beyond the time that the stages take, in milliseconds.
pub const FLEET_GRACE_MS: u64 = 600_000;

/// From the order to begin to the begin, at least, in milliseconds: it reaches every agent in time.
pub const FLEET_LEAD_MS: u64 = 1_500;

/// Pings to an agent's clock.
pub const FLEET_PINGS: usize = 20;

/// Most bytes of claims taken from one agent.
pub const FLEET_CLAIMS_BYTES_MAX: u64 = 1 << 32;

/// Last words of a failed load that are passed on, in bytes.
pub const FLEET_WORDS_MAX: usize = 2_000;

const _: () =
    assert!(FLEET_TIMEOUT_MS < FLEET_SILENCE_MS, "an agent outwaits a coordinator that waits for another agent");
const _: () = assert!(FLEET_WORDS_MAX * 6 < FLEET_LINE_BYTES_MAX, "words fit into a message, escaped");

const _: () = assert!(
    TIMEOUT_SECONDS_MAX * 1_000_000 <= (u32::MAX / 2) as u64,
    "ages are told from 32-bit microseconds, which must not come round within a timeout"
);
const _: () = assert!(WINDOW_MAX <= 1 << 31, "a number's age in the window is told from 32 bits");
const _: () = assert!(CLAIMS_QUEUED_PER_THREAD_MIN <= CLAIMS_QUEUED);
