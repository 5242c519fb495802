//! Whether a run may be believed: the load generator judges itself, not the server.

/// What a run is judged by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Ended by a signal.
    pub interrupted: bool,
    /// Closed loop: there are no intended times to be late for.
    pub closed_loop: bool,
    /// Connections asked for.
    pub connections_target: u64,
    /// Connections that were logged in when the load began.
    pub connections_established: u64,
    /// Shakes due.
    pub scheduled: u64,
    /// Due and not sent because the connection was gone or blocked.
    pub not_sent: u64,
    /// Between two shakes of one user, in milliseconds; none in the closed loop.
    pub period_ms: Option<u64>,
    /// What the server asks to be between them at least, in milliseconds.
    pub shake_interval_ms: u32,
    /// 99th percentile of intended-to-sent, in microseconds.
    pub lateness_p99_us: u64,
    /// Share of a core that the busiest thread used.
    pub busiest_thread_share: f64,
    /// Receipts that could not be audited.
    pub unaudited: u64,
    /// Answers that fitted no shake.
    pub unknown_answers: u64,
}

/// The bounds of a valid run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Highest 99th percentile of intended-to-sent, in microseconds.
    pub lateness_p99_us_max: u64,
}

/// A thread busier than this share of a core has no room left: what it measures is itself.
pub const THREAD_SHARE_MAX: f64 = 0.97;

/// Share of the shakes that may stay unsent because connections were gone: beyond it, the load was not the one asked for.
pub const NOT_SENT_SHARE_MAX: f64 = 0.01;

/// The lateness that spoils a run, where the command line names none: 10 ms or four ticks, whichever is more. A shake waits
/// half a tick on average and one at most before it can be sent.
pub fn lateness_bound_us(tick_us: u64) -> u64 {
    (4 * tick_us).max(10_000)
}

/// Reasons why the run is not valid; none: it is.
pub fn reasons(facts: &Facts, bounds: &Bounds) -> Vec<String> {
    let mut reasons = Vec::new();
    if facts.interrupted {
        reasons.push("interrupted: a signal ended the run early".to_owned());
    }
    if facts.connections_established < facts.connections_target {
        reasons.push(format!(
            "connections: {} of {} were established; see connections.attempts_failed for why",
            facts.connections_established, facts.connections_target
        ));
    }
    if facts.not_sent as f64 > facts.scheduled as f64 * NOT_SENT_SHARE_MAX {
        reasons.push(format!(
            "not sent: {} of {} shakes found their connection gone or blocked; see connections.dropped",
            facts.not_sent, facts.scheduled
        ));
    }
    if !facts.closed_loop && facts.lateness_p99_us > bounds.lateness_p99_us_max {
        reasons.push(format!(
            "late: the 99th percentile of intended-to-sent was {} us, the bound is {} us; give it more CPU, more --threads or a lower --rate",
            facts.lateness_p99_us, bounds.lateness_p99_us_max
        ));
    }
    if !facts.closed_loop && facts.busiest_thread_share > THREAD_SHARE_MAX {
        reasons.push(format!(
            "starved: a thread used {:.0} % of a core, the bound is {:.0} %; more --threads or a longer --tick",
            facts.busiest_thread_share * 100.0,
            THREAD_SHARE_MAX * 100.0
        ));
    }
    if facts.unaudited > 0 {
        reasons.push(format!("audit: {} envelopes or gifts could not be audited for want of room", facts.unaudited));
    }
    if facts.unknown_answers > 0 {
        reasons.push(format!("protocol: {} answers fitted no question of their connection", facts.unknown_answers));
    }
    reasons
}

/// What a reader of a valid report should know all the same.
pub fn warnings(facts: &Facts) -> Vec<String> {
    let mut warnings = Vec::new();
    if facts.closed_loop {
        warnings.push(
            "closed loop: each connection waited for its answers, so latency hides what a slow server did to users"
                .to_owned(),
        );
        if facts.busiest_thread_share > THREAD_SHARE_MAX {
            warnings.push(
                "a thread of the load generator was at its limit: it, not the server, may be what was measured"
                    .to_owned(),
            );
        }
    }
    if let Some(period_ms) = facts.period_ms.filter(|period_ms| *period_ms < u64::from(facts.shake_interval_ms)) {
        warnings.push(format!(
            "impatient: each user shakes every {period_ms} ms, the server asks for {} ms between two shakes",
            facts.shake_interval_ms
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { lateness_p99_us_max: 10_000 };

    fn good() -> Facts {
        Facts {
            connections_target: 10,
            connections_established: 10,
            scheduled: 1_000,
            lateness_p99_us: 1_000,
            busiest_thread_share: 0.5,
            ..Facts::default()
        }
    }

    #[test]
    fn each_way_to_spoil_a_run_is_named() {
        assert_eq!(reasons(&good(), &BOUNDS), Vec::<String>::new());
        for (spoilt, word) in [
            (Facts { interrupted: true, ..good() }, "interrupted"),
            (Facts { connections_established: 9, ..good() }, "connections"),
            (Facts { not_sent: 11, ..good() }, "not sent"),
            (Facts { lateness_p99_us: 10_001, ..good() }, "late"),
            (Facts { busiest_thread_share: 0.98, ..good() }, "starved"),
            (Facts { unaudited: 1, ..good() }, "audit"),
            (Facts { unknown_answers: 1, ..good() }, "protocol"),
        ] {
            let found = reasons(&spoilt, &BOUNDS);
            assert!(found.len() == 1 && found[0].starts_with(word), "{found:?}");
        }
    }

    #[test]
    fn a_closed_loop_is_never_late_but_says_what_it_is() {
        let facts = Facts { closed_loop: true, lateness_p99_us: 1 << 40, busiest_thread_share: 1.0, ..good() };
        assert_eq!(reasons(&facts, &BOUNDS), Vec::<String>::new());
        assert_eq!(warnings(&facts).len(), 2);
    }
}
