//! How long to wait before another attempt: longer each time, and by chance a little different, so that what failed
//! together is not tried again together.
//!
//! Chance is drawn from the run's seed, the task and the attempt: the same run always waits the same.

use crate::ids::TaskIndex;
use crate::spec::Retry;

/// Milliseconds to wait after this many failures in a row (from 1).
pub fn delay_ms(retry: &Retry, failures: u32, seed: u64, task: TaskIndex) -> u64 {
    let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
    // Bounded, since nothing times infinity would be no number.
    let delay = retry.initial_delay_ms as f64 * retry.base.max(1.0).powi(exponent).min(f64::MAX);
    let delay = delay.min(retry.max_delay_ms as f64);
    let chance = part(seed ^ (u64::from(task.0) << 32 | u64::from(failures)));
    let shift = retry.jitter.clamp(0.0, 1.0) * (2.0 * chance - 1.0);
    (delay * (1.0 + shift)).round().clamp(0.0, retry.max_delay_ms as f64) as u64
}

/// A number from 0 to 1, one for each seed. Source: the mixing function of SplitMix64 (Steele, Lea, Flood 2014).
fn part(seed: u64) -> f64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry =
        Retry { max_attempts: 9, initial_delay_ms: 100, max_delay_ms: 1_000, base: 2.0, jitter: 0.0 };

    #[test]
    fn delays_double_up_to_the_most() {
        let delays: Vec<u64> = (1..7).map(|failures| delay_ms(&RETRY, failures, 7, TaskIndex(0))).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(delay_ms(&RETRY, u32::MAX, 7, TaskIndex(0)), 1_000);
        assert_eq!(delay_ms(&Retry { initial_delay_ms: 0, ..RETRY }, u32::MAX, 7, TaskIndex(0)), 0);
    }

    #[test]
    fn chance_is_the_same_in_every_version() {
        let retry = Retry { jitter: 1.0, initial_delay_ms: 1_000_000, max_delay_ms: 10_000_000, ..RETRY };
        let delay = |failures, seed, task| delay_ms(&retry, failures, seed, TaskIndex(task));
        assert_eq!(
            [delay(1, 0, 0), delay(1, 7, 0), delay(2, 7, 0), delay(1, 7, 5)],
            [1_133_123, 1_479_634, 1_547_072, 1_527_459]
        );
    }

    #[test]
    fn chance_is_mixed_as_published() {
        // The first number that SplitMix64 makes of each seed.
        for (seed, number) in [(0, 0xe220_a839_7b1d_cdaf_u64), (1_234_567, 6_457_827_717_110_365_317)] {
            assert_eq!(part(seed), (number >> 11) as f64 / 9_007_199_254_740_992.0, "{seed}");
        }
    }

    #[test]
    fn chance_stays_within_its_part_and_is_the_same_for_the_same_seed() {
        let retry = Retry { jitter: 0.5, max_delay_ms: 10_000, ..RETRY };
        let delays: Vec<u64> = (0..1000).map(|task| delay_ms(&retry, 1, 7, TaskIndex(task))).collect();
        assert!(delays.iter().all(|delay| (50..=150).contains(delay)));
        assert!(delays.iter().min() < Some(&55) && delays.iter().max() > Some(&145));
        assert_eq!(delays[5], delay_ms(&retry, 1, 7, TaskIndex(5)));
        assert_ne!(delays[5], delay_ms(&retry, 1, 8, TaskIndex(5)));
    }
}
