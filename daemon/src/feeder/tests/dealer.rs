use proptest::prelude::*;

use super::super::dealer::Dealer;
use crate::limits::{DEALT_PER_TICK_MAX, ISSUE_BURST_MS, ISSUE_LATENESS_MS, ISSUE_RATE_UNLIMITED};
use std::time::Duration;

/// Any will do: the dealer goes by the clock.
const TICK: Duration = Duration::from_millis(5);
const PLENTY: usize = 1 << 20;

/// A dealer, its clock, and the SETs' counters.
struct Table {
    dealer: Dealer,
    now: Duration,
    shakes: Vec<u64>,
    dealt: Vec<u64>,
}

impl Table {
    fn new(sets: usize, rate: u64) -> Self {
        let dealer = Dealer::new(Duration::ZERO, rate, std::iter::repeat_n(0, sets));
        Self { dealer, now: Duration::ZERO, shakes: vec![0; sets], dealt: vec![0; sets] }
    }

    /// One tick `after` the last: gives what was dealt.
    fn tick(&mut self, after: Duration, fresh: &[u64], room: &[usize]) -> u64 {
        self.now += after;
        for (shakes, fresh) in self.shakes.iter_mut().zip(fresh) {
            *shakes += fresh;
        }
        self.dealer.observe(self.now, self.shakes.iter().copied());
        let count = self.dealer.offer(room);
        assert!(count <= DEALT_PER_TICK_MAX);
        let plan = self.dealer.split(count, room);
        assert_eq!(plan.iter().sum::<usize>(), count, "all that is taken from the bucket is dealt");
        for ((planned, room), dealt) in plan.iter().zip(room).zip(&mut self.dealt) {
            assert!(planned <= room, "never more than there is room for");
            *dealt += *planned as u64;
        }
        count as u64
    }

    fn total(&self) -> u64 {
        self.dealt.iter().sum()
    }
}

/// Jain's index of what was dealt over what was asked: 1 where all are served alike.
fn fairness(dealt: &[u64], asked: &[u64]) -> f64 {
    let ratios: Vec<_> =
        dealt.iter().zip(asked).filter(|(_, asked)| **asked > 0).map(|(d, a)| *d as f64 / *a as f64).collect();
    let (sum, squares) = ratios.iter().fold((0.0, 0.0), |(sum, squares), ratio| (sum + ratio, squares + ratio * ratio));
    sum * sum / (ratios.len() as f64 * squares)
}

proptest! {
    #[test]
    fn no_span_of_time_sees_more_than_the_rate_and_one_burst(
        rate in prop_oneof![0..10_u64, 1..100_000_u64],
        ticks in prop::collection::vec((0..200_u64, prop::collection::vec(0..50_u64, 3), prop::collection::vec(0..500_usize, 3)), 1..80),
    ) {
        let mut table = Table::new(3, rate);
        let mut history = vec![];
        for (after_ms, fresh, room) in &ticks {
            let count = table.tick(Duration::from_millis(*after_ms), fresh, room);
            history.push((table.now, count));
        }
        let of_ms = |ms: u64| rate as f64 * ms as f64 / 1000.0;
        let burst = of_ms(ISSUE_BURST_MS).max(1.0 + of_ms(ISSUE_LATENESS_MS));
        for start in 0..history.len() {
            let mut sum = 0;
            for (at, count) in &history[start..] {
                sum += count;
                let seconds = at.saturating_sub(history[start].0).as_secs_f64();
                prop_assert!(sum as f64 <= rate as f64 * seconds + burst + 1e-6, "{sum} in {seconds} s at {rate}/s");
            }
        }
    }

    #[test]
    fn no_envelope_of_the_rate_is_lost_while_it_is_demanded(
        rate in prop_oneof![1..50_u64, 1..200_000_u64],
        ticks in prop::collection::vec((1..20_000_u64, prop::collection::vec(0..50_u64, 4)), 1..300),
    ) {
        let mut table = Table::new(4, rate);
        for (after_us, mut fresh) in ticks {
            fresh[0] += 1;
            table.tick(Duration::from_micros(after_us), &fresh, &[PLENTY; 4]);
        }
        let earned = u128::from(rate) * table.now.as_nanos() / 1_000_000_000;
        prop_assert_eq!(u128::from(table.total()), earned);
    }

    #[test]
    fn each_set_is_dealt_its_share_of_the_shakes_to_within_one_envelope_for_each_set(
        rate in 1..100_000_u64,
        weights in prop::collection::vec(0..1000_u64, 1..20),
        ticks in 1..3000_usize,
    ) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let mut table = Table::new(weights.len(), rate);
        for _ in 0..ticks {
            table.tick(TICK, &weights, &vec![PLENTY; weights.len()]);
        }
        let (total, asked) = (table.total() as f64, weights.iter().sum::<u64>() as f64);
        for (dealt, weight) in table.dealt.iter().zip(&weights) {
            let fair = total * *weight as f64 / asked;
            prop_assert!((*dealt as f64 - fair).abs() <= weights.len() as f64, "{dealt} of {total}, fair is {fair}");
            prop_assert!(*weight > 0 || *dealt == 0);
        }
    }

    #[test]
    fn demand_that_comes_and_goes_and_rings_that_fill_lose_nothing_and_owe_nobody_for_long(
        rate in 1..50_000_u64,
        ticks in prop::collection::vec(prop::collection::vec((0..3_u64, 0..40_usize), 5), 100..400),
    ) {
        let mut table = Table::new(5, rate);
        for tick in &ticks {
            let (fresh, room): (Vec<_>, Vec<_>) = tick.iter().copied().unzip();
            table.tick(TICK, &fresh, &room);
        }
        // From here on all want the same: nobody may be ahead by more than the old fractions.
        let before = table.dealt.clone();
        for _ in 0..2000 {
            table.tick(TICK, &[1; 5], &[PLENTY; 5]);
        }
        let gained: Vec<_> = table.dealt.iter().zip(&before).map(|(now, before)| now - before).collect();
        let spread = gained.iter().max().unwrap() - gained.iter().min().unwrap();
        // The weights of the past need a while to fade; they shift less than 64 ticks' worth.
        prop_assert!(spread as f64 <= rate as f64 * 0.005 * 64.0 + 10.0, "{gained:?}");
    }
}

#[test]
fn at_200_a_second_every_ten_seconds_are_within_half_a_percent_though_ticks_come_late() {
    let mut table = Table::new(8, 200);
    let mut dealt_at = vec![];
    // A minute of ticks, 0 to 14 ms late; after the first second the bucket is in its steady state.
    for tick in 0_u64..7000 {
        let late = Duration::from_millis(tick * 7919 % 15);
        let count = table.tick(TICK + late, &[3; 8], &[16; 8]);
        dealt_at.push((table.now, count));
    }
    let end = table.now.saturating_sub(Duration::from_secs(10));
    for (start, _) in dealt_at.iter().filter(|(at, _)| *at <= end) {
        let window = *start..*start + Duration::from_secs(10);
        let sum: u64 = dealt_at.iter().filter(|(at, _)| window.contains(at)).map(|(_, count)| count).sum();
        assert!((1990..=2010).contains(&sum), "{sum} envelopes from {start:?} on");
    }
}

#[test]
fn fewer_envelopes_than_ticks_are_still_dealt_in_turn() {
    let mut table = Table::new(5, 7);
    for _ in 0..200 * 100 {
        table.tick(TICK, &[2; 5], &[16; 5]);
    }
    assert_eq!(table.total(), 700);
    assert!(table.dealt.iter().all(|dealt| (139..=141).contains(dealt)), "{:?}", table.dealt);
}

#[test]
fn random_demand_is_served_fairly_in_the_long_run() {
    let mut table = Table::new(6, 200);
    let (mut state, mut asked) = (1_u64, vec![0; 6]);
    for _ in 0..200 * 120 {
        let fresh: Vec<_> = (1..=6)
            .map(|set| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % (8 * set)
            })
            .collect();
        for (asked, fresh) in asked.iter_mut().zip(&fresh) {
            *asked += fresh;
        }
        table.tick(TICK, &fresh, &[16; 6]);
    }
    let fairness = fairness(&table.dealt, &asked);
    assert!(fairness >= 0.999, "Jain {fairness}: {:?} for {asked:?}", table.dealt);
}

#[test]
fn without_demand_tokens_only_fill_the_burst() {
    let mut table = Table::new(2, 200);
    for _ in 0..10_000 {
        assert_eq!(table.tick(TICK, &[0, 0], &[PLENTY; 2]), 0);
    }
    assert_eq!(table.tick(TICK, &[1, 0], &[PLENTY; 2]), 10);
    assert_eq!(table.dealt, [10, 0]);
}

#[test]
fn a_shake_long_ago_is_no_demand() {
    let mut table = Table::new(2, 1000);
    table.tick(TICK, &[1, 1_000_000], &[PLENTY; 2]);
    for _ in 0..2000 {
        table.tick(TICK, &[0, 0], &[PLENTY; 2]);
    }
    let before = table.total();
    for _ in 0..100 {
        assert_eq!(table.tick(TICK, &[0, 0], &[PLENTY; 2]), 0);
    }
    assert_eq!(table.total(), before);
}

#[test]
fn a_full_ring_passes_its_share_on_and_is_not_owed_it_later() {
    let mut table = Table::new(3, 3000);
    for _ in 0..200 {
        table.tick(TICK, &[1; 3], &[PLENTY, 0, PLENTY]);
    }
    assert_eq!(table.dealt[1], 0);
    assert_eq!(table.total(), 3000);
    assert!(table.dealt[0].abs_diff(table.dealt[2]) <= 2, "{:?}", table.dealt);
    let before = table.dealt.clone();
    for _ in 0..200 {
        table.tick(TICK, &[1; 3], &[PLENTY; 3]);
    }
    for (now, before) in table.dealt.iter().zip(&before) {
        assert!((now - before).abs_diff(1000) <= 3, "{:?} after {before:?}", table.dealt);
    }
}

#[test]
fn a_ring_with_little_room_takes_what_it_can_and_the_others_take_the_rest() {
    let mut table = Table::new(3, 20_000);
    table.tick(Duration::from_millis(40), &[1; 3], &[5, PLENTY, 100]);
    assert_eq!(table.dealt, [5, 695, 100]);
}

#[test]
fn a_share_that_is_passed_on_is_split_by_demand_and_is_no_debt() {
    let mut table = Table::new(3, 20_000);
    table.tick(TICK, &[10, 30, 1000], &[PLENTY, PLENTY, 8]);
    assert_eq!(table.dealt, [23, 69, 8]);
    let before = table.dealt.clone();
    // The weights go on in the same proportion.
    table.tick(TICK, &[10, 30, 1000], &[PLENTY; 3]);
    for ((now, before), fair) in table.dealt.iter().zip(before).zip([0.96, 2.88, 96.15]) {
        assert!(((now - before) as f64 - fair).abs() <= 1.0, "{:?}", table.dealt);
    }
}

#[test]
fn without_a_limit_the_rings_are_filled_where_there_is_demand() {
    let mut table = Table::new(3, ISSUE_RATE_UNLIMITED);
    assert_eq!(table.tick(TICK, &[1, 0, 1000], &[4000, 4000, 4000]), 8000);
    assert_eq!(table.dealt, [4000, 0, 4000]);
    table.tick(TICK, &[1, 1, 1], &[PLENTY; 3]);
    assert_eq!(table.total(), 8000 + DEALT_PER_TICK_MAX as u64);
}

#[test]
fn a_new_rate_holds_from_now_on_and_no_rate_deals_nothing() {
    let mut table = Table::new(1, 1000);
    for _ in 0..200 {
        table.tick(TICK, &[1], &[PLENTY]);
    }
    assert_eq!(table.total(), 1000);
    table.dealer.set_rate(table.now, 0);
    for _ in 0..200 {
        assert_eq!(table.tick(TICK, &[1], &[PLENTY]), 0);
    }
    table.dealer.set_rate(table.now, 5000);
    assert_eq!(table.dealer.rate(), 5000);
    for _ in 0..200 {
        table.tick(TICK, &[1], &[PLENTY]);
    }
    assert_eq!(table.total(), 6000, "the pause earned nothing");
}

#[test]
fn a_set_may_hold_what_it_is_shaken_on_for_and_no_more() {
    let mut table = Table::new(2, u64::MAX);
    for _ in 0..200 {
        table.tick(TICK, &[100, 0], &[0, 0]);
    }
    // A hundred shakes a tick, faded over 32 ticks.
    assert!((2500..=3300).contains(&table.dealer.appetite(0)), "{}", table.dealer.appetite(0));
    assert_eq!(table.dealer.appetite(1), 1, "one is there for the first who shakes");
}
