//! How far an agent's clock is from the coordinator's, from pings: the one with the shortest way there and back tells most.
//!
//! A ping leaves at `sent`, and its answer, with the agent's time, is back at `received`, both on the coordinator's clock. Had both ways taken
//! as long, the agent's clock would be off by its time less the middle of the two. However the ways differ, the error is at most half of
//! the round trip. The schedule of a load does not depend on it, as each agent is told its begin by its own clock; the seconds of
//! the reports do, as they are joined by the wall clock of each machine.

use std::fmt;
use std::time::Duration;

/// One ping. Microseconds since 1970 UTC.
#[expect(clippy::struct_field_names, reason = "the unit comes last")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ping {
    /// The coordinator's clock.
    pub(super) sent_us: u64,
    /// The agent's clock.
    pub(super) agent_us: u64,
    /// The coordinator's clock.
    pub(super) received_us: u64,
}

/// What is known of an agent's clock, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offset {
    /// The agent's clock less the coordinator's.
    pub(super) ahead_us: i64,
    /// The shortest way there and back; the offset is right to half of it.
    pub(super) round_trip_us: u64,
}

impl Offset {
    /// The best that these pings tell; none of none.
    pub(super) fn of(pings: &[Ping]) -> Option<Self> {
        // A clock that was set back in the middle of a ping makes that one useless.
        let best = pings
            .iter()
            .filter(|ping| ping.received_us >= ping.sent_us)
            .min_by_key(|ping| ping.received_us - ping.sent_us)?;
        let round_trip_us = best.received_us - best.sent_us;
        let middle_us = best.sent_us + round_trip_us / 2;
        Some(Self { ahead_us: best.agent_us.wrapping_sub(middle_us).cast_signed(), round_trip_us })
    }

    /// Furthest that the clocks can be apart.
    pub(super) fn apart_us_max(&self) -> u64 {
        self.ahead_us.unsigned_abs().saturating_add(self.round_trip_us.div_ceil(2))
    }

    /// Whether the clocks are certainly no further apart.
    pub(super) fn is_within(&self, max: Duration) -> bool {
        u128::from(self.apart_us_max()) <= max.as_micros()
    }

    /// A time of the coordinator's clock on the agent's.
    pub(super) fn to_agent_us(self, coordinator_us: u64) -> u64 {
        coordinator_us.saturating_add_signed(self.ahead_us)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:+.3} ms, right to {:.3} ms (round trip {:.3} ms)",
            self.ahead_us as f64 / 1e3,
            self.round_trip_us as f64 / 2e3,
            self.round_trip_us as f64 / 1e3
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_quickest_ping_is_believed() {
        let slow = Ping { sent_us: 1_000, agent_us: 9_000, received_us: 9_000 };
        let quick = Ping { sent_us: 10_000, agent_us: 10_150, received_us: 10_100 };
        let set_back = Ping { sent_us: 20_000, agent_us: 20_000, received_us: 19_000 };
        let offset = Offset::of(&[slow, quick, set_back]).unwrap();
        assert_eq!(offset, Offset { ahead_us: 100, round_trip_us: 100 });
        assert_eq!((offset.to_agent_us(1_000), offset.apart_us_max()), (1_100, 150));
        assert_eq!(offset.to_string(), "+0.100 ms, right to 0.050 ms (round trip 0.100 ms)");
        assert_eq!((Offset::of(&[]), Offset::of(&[set_back])), (None, None));
    }

    #[test]
    fn a_clock_is_refused_that_may_be_further_off_than_the_bound() {
        let bound = Duration::from_millis(5);
        assert!(Offset { ahead_us: -4_900, round_trip_us: 200 }.is_within(bound));
        assert!(!Offset { ahead_us: -4_901, round_trip_us: 200 }.is_within(bound));
        assert!(!Offset { ahead_us: 0, round_trip_us: 10_002 }.is_within(bound), "nobody knows");
        assert!(!Offset { ahead_us: i64::MIN, round_trip_us: u64::MAX }.is_within(bound));
    }

    proptest! {
        #[test]
        fn the_true_offset_is_never_further_from_the_measured_one_than_half_a_round_trip(
            begin in 1_000_000_000u64..1 << 50, ahead in -100_000_000i64..100_000_000,
            ways in prop::collection::vec((0u64..50_000, 0u64..50_000), 1..20),
        ) {
            let pings: Vec<Ping> = ways
                .iter()
                .zip(0u64..)
                .map(|((there, back), number)| {
                    let sent_us = begin + number * 200_000;
                    let agent_us = (sent_us + there).saturating_add_signed(ahead);
                    Ping { sent_us, agent_us, received_us: sent_us + there + back }
                })
                .collect();
            let offset = Offset::of(&pings).unwrap();
            let error = (offset.ahead_us - ahead).unsigned_abs();
            prop_assert!(error <= offset.round_trip_us.div_ceil(2), "{offset:?}");
            prop_assert!(ahead.unsigned_abs() <= offset.apart_us_max());
        }
    }
}
