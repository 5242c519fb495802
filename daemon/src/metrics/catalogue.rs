//! Every metric there is, in one table. `daemon/METRICS.md` shows the same table to people; a test holds the two and a live
//! scrape against each other.

/// What a metric does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts values by size.
    Histogram,
}

impl Kind {
    /// As Prometheus writes it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Full name, as scraped.
    pub name: &'static str,
    /// What it does over time.
    pub kind: Kind,
    /// What one unit of its value is.
    pub unit: &'static str,
    /// Label names, in the order of their values.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

macro_rules! catalogue {
    ($($id:ident = $kind:ident $name:literal $unit:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub static $id: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                unit: $unit,
                labels: &[$($label),*],
                help: $help,
            };
        )*

        /// All of them, in the order of the table.
        pub static ALL: &[&Metric] = &[$(&$id),*];
    };
}

catalogue! {
    BUILD_INFO = Gauge "hongbao_build_info" "1" ["version", "protocol"]
        "Always 1; the labels tell which build this is and which protocol version it speaks.";

    CONNECTIONS_OPENED = Counter "hongbao_connections_opened_total" "connections" [] "Connections accepted.";
    CONNECTIONS_OPEN = Gauge "hongbao_connections_open" "connections" ["set"] "Connections open now.";
    CONNECTIONS_CAPACITY = Gauge "hongbao_connections_capacity" "connections" ["set"]
        "Connections that the SET can hold; one more is sent away.";
    CONNECTIONS_CLOSED = Counter "hongbao_connections_closed_total" "connections" ["reason"]
        "Connections closed, by who or what ended them.";
    ACCEPTS_FAILED = Counter "hongbao_accepts_failed_total" "accepts" [] "Accepts that failed: look at the limits of open files.";
    USERS_ONLINE = Gauge "hongbao_users_online" "users" [] "Connections that have said hello.";

    REQUESTS = Counter "hongbao_requests_total" "frames" ["kind"] "Requests received, by kind. Its rate is the QPS.";
    SET_SHAKES = Counter "hongbao_set_shakes_total" "frames" ["set"] "Shakes received by each SET.";
    SET_ENVELOPES_ISSUED = Counter "hongbao_set_envelopes_issued_total" "envelopes" ["set"]
        "Envelopes issued, durably, to shakes of each SET; delivered or not.";
    BAD_FRAMES = Counter "hongbao_bad_frames_total" "frames" [] "Bytes received that were no frame, or one out of order.";
    SHAKE_ANSWERS = Counter "hongbao_shake_answers_total" "frames" ["outcome"]
        "Shakes answered, by outcome; overloaded counts hellos that were put off, too.";
    CENTS_ANSWERED = Counter "hongbao_answered_cents_total" "cents" [] "Money in the envelopes that were sent to winners.";
    WINS_UNDELIVERED = Counter "hongbao_wins_undelivered_total" "envelopes" []
        "Wins whose winner was gone before the answer: shown at the next login.";
    WINS_SHOWN_AGAIN = Counter "hongbao_wins_shown_again_total" "envelopes" [] "Earlier wins shown again after a login.";
    CLAIMS_PENDING = Gauge "hongbao_claims_pending" "claims" [] "Claims that wait for the ledger now.";
    BYTES_RECEIVED = Counter "hongbao_received_bytes_total" "bytes" [] "Bytes received from clients.";
    BYTES_SENT = Counter "hongbao_sent_bytes_total" "bytes" [] "Bytes handed to sends to clients.";

    STOCK = Gauge "hongbao_stock_envelopes" "envelopes" ["set"] "Envelopes that the SET holds ready now.";
    STOCK_CENTS = Gauge "hongbao_stock_cents" "cents" [] "Money in the envelopes that the SETs hold ready now.";
    STOCK_RETURNED = Counter "hongbao_stock_returned_total" "envelopes" [] "Unused envelopes that the SETs gave back.";

    RING_ENTERS = Counter "hongbao_ring_enters_total" "calls" [] "Calls of io_uring_enter by the SETs.";
    RING_COMPLETIONS = Counter "hongbao_ring_completions_total" "completions" [] "Completions that the SETs reaped.";
    RING_SENDS = Counter "hongbao_ring_sends_total" "sends" [] "Sends submitted: one a connection and turn, whatever it holds.";
    RING_SENDS_DEFERRED = Counter "hongbao_ring_sends_deferred_total" "sends" []
        "Sends that could not be finished at once, as the peer reads slowly.";
    RING_BUFFERS_EXHAUSTED = Counter "hongbao_ring_buffers_exhausted_total" "receives" []
        "Receives that found no free buffer and had to be armed again.";
    RING_OVERFLOWS = Counter "hongbao_ring_completion_overflows_total" "overflows" []
        "Overflows of a completion queue: nothing is lost, but receives have to be armed again.";
    RING_WAKES = Counter "hongbao_ring_wakes_total" "wakes" [] "Wake-ups that the SETs sent to other threads.";
    SET_TURNS = Counter "hongbao_set_turns_total" "turns" ["set"]
        "Turns of each SET's loop; an idle one makes four a second, a stuck one none.";
    SET_BUSY = Counter "hongbao_set_busy_seconds_total" "seconds" ["set"]
        "Time each SET spent handling completions; its rate is the share of a core.";
    TURN_DURATION = Histogram "hongbao_turn_duration_seconds" "seconds" []
        "From reaping a turn's completions to the end of handling them, over all SETs.";
    TURN_COMPLETIONS = Histogram "hongbao_turn_completions" "completions" [] "Completions handled in one turn, over all SETs.";

    ISSUED = Counter "hongbao_issued_envelopes_total" "envelopes" []
        "Envelopes issued, durably; those of earlier runs are counted from the journal.";
    ISSUED_CENTS = Counter "hongbao_issued_cents_total" "cents" [] "Money in the envelopes issued, earlier runs included.";
    WINS = Counter "hongbao_ledger_wins_total" "envelopes" [] "Envelopes issued since the start.";
    CLAIMS_REFUSED = Counter "hongbao_claims_refused_total" "claims" ["reason"]
        "Claims that the ledger refused; any that were already_issued are a defect.";
    LEDGER_LOGINS = Counter "hongbao_ledger_logins_total" "logins" [] "Logins whose earlier wins the ledger looked up.";
    LEDGER_USERS = Gauge "hongbao_ledger_users" "users" [] "Users with at least one win.";
    WINS_OVER_CAP = Gauge "hongbao_ledger_wins_over_cap" "envelopes" []
        "Wins beyond the caps in force, found in the journal at the start: a cap was lowered, or one was breached.";
    DATA_FREE = Gauge "hongbao_data_free_bytes" "bytes" [] "Free space of the file system that holds the ledger, for this user.";
    DATA_SIZE = Gauge "hongbao_data_size_bytes" "bytes" [] "Size of the file system that holds the ledger.";
    GIFT_SENDS = Counter "hongbao_gift_sends_total" "gifts" ["outcome"]
        "Sends of gifts answered, by outcome: sent, sent_again for a repeated request, or why they were refused.";
    GIFT_OPENS = Counter "hongbao_gift_opens_total" "shares" ["outcome"]
        "Opens of gifts answered, by outcome: opened, opened_again for a repeated open, or why there was no share.";
    GIFT_NOTICES = Counter "hongbao_gift_notices_total" "notices" ["outcome"]
        "Notices of gifts: delivered, listed at a login or on demand, missed by a connection that had gone, absent where the user never logged in, or dropped.";
    GIFTS = Gauge "hongbao_gifts" "gifts" ["state"]
        "Gifts and shares, durably, earlier runs included: gifts sent, shares opened, gifts refunded in part or whole, gifts pending.";
    GIFT_CENTS = Gauge "hongbao_gift_cents" "cents" ["state"]
        "Money of gifts by where it is: sent is opened plus refunded plus pending.";
    GIFT_HOUSE_CENTS = Gauge "hongbao_gift_house_cents" "cents" [] "Money that the house paid for gifts, less what came back to it.";
    USER_BALANCES_CENTS = Gauge "hongbao_user_balances_cents" "cents" []
        "Money that all users have: won, opened and refunded, less sent. With what is pending it is what was won and what the house paid.";
    JOURNAL_COMMITS = Counter "hongbao_journal_commits_total" "commits" [] "Commits to the journal: one flush each, many wins.";
    JOURNAL_BYTES = Counter "hongbao_journal_bytes_total" "bytes" [] "Bytes written to the journal, padding included.";
    JOURNAL_SEGMENTS = Gauge "hongbao_journal_segments" "files" [] "Journal segments in use now.";
    JOURNAL_SPARES_FAILED = Counter "hongbao_journal_spares_failed_total" "tries" []
        "Tries to make the next journal segment that failed: issue halts when the one in use is full.";
    JOURNAL_SNAPSHOTS = Counter "hongbao_journal_snapshots_total" "snapshots" ["outcome"]
        "Snapshots of the journal, made or failed; while they fail the journal grows.";
    JOURNAL_HALTED = Gauge "hongbao_journal_halted" "1" [] "1 while the journal can take no record, so that nothing is issued.";
    COMMIT_DURATION = Histogram "hongbao_journal_commit_duration_seconds" "seconds" [] "From submitting a commit to its flush.";
    COMMIT_RECORDS = Histogram "hongbao_journal_commit_records" "records" [] "Records in one commit.";

    SEED_FILES = Gauge "hongbao_seed_files" "files" ["state"] "Seed files found at the start, accepted or refused.";
    ISSUE_RATE = Gauge "hongbao_issue_rate_envelopes" "envelopes per second" [] "Issue rate in force; +Inf where there is none.";
    DEALT = Counter "hongbao_dealt_envelopes_total" "envelopes" [] "Envelopes dealt to SETs, again after a return included.";
    RETURNED = Counter "hongbao_returned_envelopes_total" "envelopes" [] "Envelopes taken back from SETs.";
    SEEDED = Gauge "hongbao_seeded_envelopes" "envelopes" [] "Envelopes in the accepted seed files.";
    SEEDED_CENTS = Gauge "hongbao_seeded_cents" "cents" [] "Money in the accepted seed files.";
    BALANCE = Gauge "hongbao_balance_envelopes" "envelopes" ["state"]
        "Where the seeded envelopes are: issued, with the SETs, not yet issued, or in a damaged block.";
    BALANCE_CENTS = Gauge "hongbao_balance_cents" "cents" ["state"]
        "Where the seeded money is: issued, with the SETs, not yet issued, or in a damaged block.";
    BALANCE_DIFFERENCE = Gauge "hongbao_balance_difference_cents" "cents" []
        "Seeded money less the sum of where it is. Anything but 0 is an alarm.";

    ROUND = Gauge "hongbao_round" "1" []
        "The round that runs, by its place in the schedule from 1; 0 where none does.";
    ROUND_PLANNED = Gauge "hongbao_round_planned_envelopes" "envelopes" []
        "Envelopes that the round is to issue, those carried over included; +Inf where there is no limit.";
    ROUND_CARRIED = Gauge "hongbao_round_carried_envelopes" "envelopes" []
        "Envelopes that the round before left to this one.";
    ROUND_DEALT = Gauge "hongbao_round_dealt_envelopes" "envelopes" []
        "Envelopes dealt to SETs in this round, less those that came back.";
    ROUNDS_TOLD = Counter "hongbao_round_frames_total" "frames" []
        "Frames that told a client of a round.";

    COMMANDS = Counter "hongbao_commands_total" "commands" ["command", "outcome"]
        "Commands of operators: done, refused, or late, where a thread had not obeyed within a second.";
    CONFIG_RELOADS = Counter "hongbao_config_reloads_total" "reloads" ["outcome"]
        "Times the configuration was read again, by ctl reload or SIGHUP: done, or refused with nothing changed.";

    INTERFACE_PACKETS = Counter "hongbao_interface_packets_total" "packets" ["interface", "direction"]
        "Packets of each network interface as the kernel counts its links (/proc/net/dev), of all processes. Its rate is the PPS.";
    INTERFACE_BYTES = Counter "hongbao_interface_bytes_total" "bytes" ["interface", "direction"]
        "Bytes of each network interface as the kernel counts its links (/proc/net/dev), of all processes.";
    TCP_SEGMENTS = Counter "hongbao_tcp_segments_total" "segments" ["direction"]
        "TCP segments in, out and retransmitted (/proc/self/net/snmp), of all processes; loopback counts both ends.";

    PROCESS_CPU = Counter "process_cpu_seconds_total" "seconds" [] "User and system CPU time of the daemon.";
    PROCESS_RESIDENT = Gauge "process_resident_memory_bytes" "bytes" [] "Resident memory of the daemon.";
    PROCESS_VIRTUAL = Gauge "process_virtual_memory_bytes" "bytes" [] "Virtual memory of the daemon.";
    PROCESS_THREADS = Gauge "process_threads" "threads" [] "Threads of the daemon.";
    PROCESS_OPEN_FDS = Gauge "process_open_fds" "files" [] "Open file descriptors; direct ones of the rings are not among them.";
    PROCESS_MAX_FDS = Gauge "process_max_fds" "files" [] "Most file descriptors that may be open.";
    PROCESS_START_TIME = Gauge "process_start_time_seconds" "seconds" [] "Start of the daemon since 1970 UTC.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        for metric in ALL {
            let name = metric.name;
            assert!(name.starts_with("hongbao_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert!(metric.help.ends_with('.') && !metric.help.contains('|'), "{name}");
            assert!(metric.labels.iter().all(|label| !["user", "address", "peer"].contains(label)), "{name}");
            assert_eq!(ALL.iter().filter(|other| other.name == name).count(), 1, "{name} stands there twice");
        }
    }
}
