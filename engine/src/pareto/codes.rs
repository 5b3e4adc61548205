//! Monotone codes of attributes and quantities, and the comparisons of whole arrays that yield bit masks.
//!
//! Holds: log-linear codes (small values exact, then equal steps per octave, then clamped) and the loops that the
//! compiler turns into vector instructions. Invariant: `x <= y` implies `code(x) <= code(y)`, so a comparison of codes
//! errs only between values of one code, and only towards "perhaps".
//!
//! Deliberately absent: intrinsics and target features.

use super::Rank;

/// Codes of attribute `a`: 8 steps per octave, exact below 8, clamped from 2^18.
pub(super) const A_CODES: usize = 64;
const A_STEPS: u32 = 2;
/// Codes of attribute `b`: 16 steps per octave, exact below 16, clamped from about 2^19.
const B_CODE_MAX: u32 = 255;
const B_STEPS: u32 = 4;
/// Codes of quantities: 1,024 steps per octave over all of `u64`.
const QUANTITY_STEPS: u32 = 10;

/// A bit per entry of a leaf, or per leaf of a block.
pub(super) type Mask = u64;
/// Bits in a [`Mask`].
pub(super) const LANES: usize = 64;

fn log_linear(value: u64, steps: u32) -> u32 {
    let base = 1_u64 << steps;
    if value < base {
        return low(value);
    }
    let octave = 63 - value.leading_zeros() - steps;
    ((octave + 1) << steps) + low((value >> octave) - base)
}

/// The low 32 bits; callers hold values that fit.
pub(super) fn low(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

impl Rank {
    /// Code of attribute `a`. Bids mirror it, so that the fine steps lie where real values lie.
    pub(super) fn a_code(self, a: u32) -> usize {
        let last = A_CODES as u32 - 1;
        let code = match self {
            Rank::Attributes => log_linear(u64::from(a), A_STEPS).min(last),
            Rank::Time => last - log_linear(u64::from(u32::MAX - a), A_STEPS).min(last),
        };
        code as usize
    }

    /// Code of attribute `b`, mirrored for asks.
    pub(super) fn b_code(self, b: u32) -> u8 {
        let code = match self {
            Rank::Attributes => B_CODE_MAX - log_linear(u64::from(u32::MAX - b), B_STEPS).min(B_CODE_MAX),
            Rank::Time => log_linear(u64::from(b), B_STEPS).min(B_CODE_MAX),
        };
        code as u8
    }
}

/// Code of a quantity: a lower code is a smaller quantity.
pub(super) fn quantity_code(quantity: u64) -> u16 {
    log_linear(quantity, QUANTITY_STEPS) as u16
}

/// One bit per flag; flags are 0 or 1.
fn pack(flags: &[u8; LANES]) -> Mask {
    let mut mask = 0;
    for (octet, eight) in flags.as_chunks::<8>().0.iter().enumerate() {
        // The product moves flag `i` to bit `56 + i`; no two terms meet, so nothing carries.
        let gathered = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        mask |= gathered << (8 * octet);
    }
    mask
}

/// `BITS[i]` is bit `i`.
const BITS: [u32; 32] = {
    let mut bits = [0; 32];
    let mut i = 0;
    while i < 32 {
        bits[i] = 1 << i;
        i += 1;
    }
    bits
};

/// Which pairs are at most `(a_max, b_max)` in both.
pub(super) fn within(a: &[u32; LANES], b: &[u32; LANES], a_max: u32, b_max: u32) -> Mask {
    halves(a, b, |a, b| (a <= a_max) & (b <= b_max))
}

/// Which pairs are at least `(a_min, b_min)` in both.
pub(super) fn beyond(a: &[u32; LANES], b: &[u32; LANES], a_min: u32, b_min: u32) -> Mask {
    halves(a, b, |a, b| (a >= a_min) & (b >= b_min))
}

#[inline(always)]
fn halves(a: &[u32; LANES], b: &[u32; LANES], holds: impl Fn(u32, u32) -> bool) -> Mask {
    let mut halves = [0_u32; 2];
    for (half, mask) in halves.iter_mut().enumerate() {
        for (i, bit) in BITS.iter().enumerate() {
            let at = half * 32 + i;
            *mask |= bit & 0_u32.wrapping_sub(u32::from(holds(a[at], b[at])));
        }
    }
    u64::from(halves[0]) | (u64::from(halves[1]) << 32)
}

/// Which of these are at least `min`.
pub(super) fn at_least(values: &[u16; LANES], min: u16) -> Mask {
    let mut flags = [0; LANES];
    for (flag, &value) in flags.iter_mut().zip(values) {
        *flag = u8::from(value >= min);
    }
    pack(&flags)
}

/// Which bytes are at most `max`.
pub(super) fn at_most(row: &[u8; LANES], max: u8) -> Mask {
    let mut flags = [0; LANES];
    for (flag, &value) in flags.iter_mut().zip(row) {
        *flag = u8::from(value <= max);
    }
    pack(&flags)
}

/// The bits of the first `count` lanes.
pub(super) fn first_lanes(count: usize) -> Mask {
    if count >= LANES { Mask::MAX } else { (1 << count) - 1 }
}
