//! What goes wrong on purpose, drawn from the seed.
//!
//! A draw depends on the seed, on what is asked and on how often it was asked, and on nothing else: what other clients
//! do at the same time does not change it.

/// How often each fault strikes, per mille of the calls to `/v1`. Each call meets one at most, so the sum is 1,000 at
/// most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Status 500; nothing was done, and nothing is kept for the key.
    pub error_500_before: u32,
    /// Everything was done, and yet the answer is 500. It is kept for the key, so asking again gives the same 500.
    pub error_500_after: u32,
    /// Everything was done, but no answer comes; the connection is closed after `hang_ms`.
    pub hang_after: u32,
    /// The work is begun at once and done after `hang_ms`; meanwhile the key is in use.
    pub slow: u32,
    /// The connection is closed; nothing was done.
    pub reset_before: u32,
    /// Status 429 with `Retry-After: 0` or `1`; nothing was done.
    pub too_many_429: u32,
    /// How long `hang_after` and `slow` take, in milliseconds.
    pub hang_ms: u64,
}

/// What one call meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Error500Before,
    Error500After,
    HangAfter,
    Slow,
    ResetBefore,
    TooMany { retry_after_s: u64 },
}

impl Faults {
    pub(crate) fn pick(&self, draw: u64) -> Fault {
        let kinds = [
            (self.error_500_before, Fault::Error500Before),
            (self.error_500_after, Fault::Error500After),
            (self.hang_after, Fault::HangAfter),
            (self.slow, Fault::Slow),
            (self.reset_before, Fault::ResetBefore),
            (self.too_many_429, Fault::TooMany { retry_after_s: draw / 1_000 % 2 }),
        ];
        let mut left = draw % 1_000;
        for (permille, fault) in kinds {
            if left < u64::from(permille) {
                return fault;
            }
            left -= u64::from(permille);
        }
        Fault::None
    }
}

/// One number of the sequence `splitmix64`, from any input.
pub(crate) fn mix(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number for the `nth` time that `what` happens.
pub(crate) fn draw(seed: u64, what: &str, nth: u64) -> u64 {
    // FNV-1a: std's hasher may change between versions, and with it what a seed means.
    let hash = what
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
    mix(mix(seed ^ hash).wrapping_add(nth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_strikes_as_often_as_it_was_told() {
        let faults = Faults { error_500_before: 100, error_500_after: 50, reset_before: 200, ..Faults::default() };
        let picks: Vec<Fault> = (0..20_000).map(|nth| faults.pick(draw(7, "POST /v1/refunds", nth))).collect();
        let permille = |fault| picks.iter().filter(|&&pick| pick == fault).count() / 20;
        assert!((90..110).contains(&permille(Fault::Error500Before)));
        assert!((42..58).contains(&permille(Fault::Error500After)));
        assert!((185..215).contains(&permille(Fault::ResetBefore)));
        assert_eq!(permille(Fault::HangAfter), 0);
    }

    #[test]
    fn draws_depend_on_seed_subject_and_count_alone() {
        assert_eq!(draw(1, "a", 0), draw(1, "a", 0));
        assert_ne!(draw(1, "a", 0), draw(2, "a", 0));
        assert_ne!(draw(1, "a", 0), draw(1, "b", 0));
        assert_ne!(draw(1, "a", 0), draw(1, "a", 1));
    }
}
