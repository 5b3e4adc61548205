//! Numbers that look random and are not: a hash of a seed and a counter.
//!
//! The same seed and counter give the same number on every machine, so a run can be repeated and no generator needs a
//! lock. Good enough to spread failures, words and waits; worth nothing against an adversary.

/// The odd number nearest to 2^64 divided by the golden ratio: consecutive counters land far apart.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The number that belongs to `counter` under `seed`, spread evenly over all of `u64`.
pub(crate) const fn draw(seed: u64, counter: u64) -> u64 {
    mix(mix(seed.wrapping_add(GOLDEN)).wrapping_add(counter.wrapping_mul(GOLDEN)))
}

/// As [`draw`], scaled down to `0..bound`; zero when the bound is zero.
pub(crate) fn draw_below(seed: u64, counter: u64, bound: u64) -> u64 {
    let scaled = (u128::from(draw(seed, counter)) * u128::from(bound)) >> 64;
    u64::try_from(scaled).unwrap_or(bound) // Never taken: the product of two u64 shifted by 64 is a u64.
}

/// The finaliser of SplitMix64: every input bit reaches every output bit.
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::{draw, draw_below};

    #[test]
    fn same_seed_and_counter_give_the_same_number() {
        assert_eq!(draw(1, 7), draw(1, 7));
        assert_ne!(draw(1, 7), draw(2, 7));
        assert_ne!(draw(1, 7), draw(1, 8));
    }

    #[test]
    fn numbers_below_a_bound_are_spread_over_it() {
        let mut counts = [0_u32; 10];
        for counter in 0..10_000 {
            counts[usize::try_from(draw_below(3, counter, 10)).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
        assert_eq!(draw_below(3, 1, 0), 0);
    }
}
