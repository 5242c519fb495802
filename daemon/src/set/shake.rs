//! The decision about one shake: pure, no clock, no socket, no queue.

use hongbao_protocol::UserId;

use crate::messages::Rules;

/// What the SET knows at the moment of a shake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shake {
    /// Who shakes.
    pub(super) user: UserId,
    /// The shake's number.
    pub(super) sequence: u32,
    /// Milliseconds since this connection's last shake that counted; `None` for its first.
    pub(super) since_last_ms: Option<u32>,
    /// Envelopes the user is known to have.
    pub(super) wins: u32,
    /// Whether an envelope is at hand.
    pub(super) stocked: bool,
    /// Whether the ledger's queue takes another claim.
    pub(super) ledger_has_room: bool,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Came before the interval was over: "none", and it does not count as a shake.
    TooEarly { retry_after_ms: u32 },
    /// The user can win no more.
    UserLimit,
    /// No envelope is at hand.
    None { retry_after_ms: u32 },
    /// The ledger cannot take the claim now.
    Overloaded { retry_after_ms: u32 },
    /// Take an envelope from the stock and claim it.
    Claim,
}

impl Rules {
    /// Whether a user with so many wins may win no more for now.
    pub(super) const fn is_at_cap(&self, wins: u32) -> bool {
        self.wins_per_user != 0 && wins >= self.wins_per_user
    }

    /// Whether no round to come will change that.
    pub(super) const fn gives_up(&self, wins: u32) -> bool {
        self.is_at_cap(wins) && self.wins_per_user_ever != 0 && wins >= self.wins_per_user_ever
    }
}

pub(super) fn decide(rules: &Rules, shake: &Shake) -> Decision {
    let interval_ms = rules.shake_interval_ms;
    match shake.since_last_ms {
        Some(since) if since < interval_ms => Decision::TooEarly { retry_after_ms: interval_ms - since },
        _ if rules.gives_up(shake.wins) => Decision::UserLimit,
        // A round to come may allow more.
        _ if rules.is_at_cap(shake.wins) => {
            Decision::None { retry_after_ms: retry_after_ms(rules, shake.user, shake.sequence) }
        }
        _ if !shake.stocked => Decision::None { retry_after_ms: retry_after_ms(rules, shake.user, shake.sequence) },
        _ if !shake.ledger_has_room => {
            Decision::Overloaded { retry_after_ms: retry_after_ms(rules, shake.user, shake.sequence) }
        }
        _ => Decision::Claim,
    }
}

/// How long to wait before the next shake: the interval and up to as much again (5 to 10 seconds at the default), spread by user
/// and shake so that clients who were answered together do not come back together.
pub(super) fn retry_after_ms(rules: &Rules, user: UserId, sequence: u32) -> u32 {
    let spread = (mix(user.0 ^ u64::from(sequence).rotate_left(32)) >> 32) * u64::from(rules.shake_interval_ms);
    rules.shake_interval_ms + (spread >> 32) as u32
}

/// The finalizer of splitmix64 (Steele, Lea, Flood 2014): a cheap mix in which every input bit reaches every output bit.
pub(super) const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        shake_interval_ms: 5000,
        login_timeout_ms: 5000,
        idle_timeout_ms: 120_000,
        wins_per_user: 3,
        wins_per_user_ever: 3,
    };

    fn shake() -> Shake {
        Shake { user: UserId(7), sequence: 1, since_last_ms: Some(6000), wins: 0, stocked: true, ledger_has_room: true }
    }

    #[test]
    fn a_shake_before_its_time_never_reaches_the_stock() {
        let early = Shake { since_last_ms: Some(4999), ..shake() };
        assert_eq!(decide(&RULES, &early), Decision::TooEarly { retry_after_ms: 1 });
        assert_eq!(decide(&RULES, &Shake { since_last_ms: Some(5000), ..shake() }), Decision::Claim);
        assert_eq!(decide(&RULES, &Shake { since_last_ms: None, ..shake() }), Decision::Claim);
    }

    #[test]
    fn a_user_with_all_they_may_have_takes_nothing_from_the_stock() {
        assert_eq!(decide(&RULES, &Shake { wins: 3, ..shake() }), Decision::UserLimit);
        let uncapped = Rules { wins_per_user: 0, ..RULES };
        assert_eq!(decide(&uncapped, &Shake { wins: 300, ..shake() }), Decision::Claim);
        for ever in [0, 5] {
            let more_to_come = Rules { wins_per_user_ever: ever, ..RULES };
            let decision = decide(&more_to_come, &Shake { wins: 3, ..shake() });
            assert!(matches!(decision, Decision::None { .. }), "nobody is told to give up: {decision:?}");
        }
    }

    #[test]
    fn a_full_ledger_queue_is_said_to_be_overload_only_where_an_envelope_was_at_stake() {
        let full = Shake { ledger_has_room: false, ..shake() };
        assert!(matches!(decide(&RULES, &full), Decision::Overloaded { .. }));
        assert!(matches!(decide(&RULES, &Shake { stocked: false, ..full }), Decision::None { .. }));
    }

    #[test]
    fn users_answered_together_do_not_come_back_together() {
        let mut seconds = [0_u32; 5];
        for user in 0..10_000 {
            let wait = retry_after_ms(&RULES, UserId(user), 1);
            assert!((5000..10_000).contains(&wait));
            seconds[(wait / 1000 - 5) as usize] += 1;
        }
        assert!(seconds.iter().all(|users| (1800..2200).contains(users)), "spread over the seconds: {seconds:?}");
    }
}
