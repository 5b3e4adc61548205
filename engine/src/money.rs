//! Amounts, prices and quantities as whole numbers with the unit in the type.
//!
//! Invariant: nothing here rounds except [`Amount::fee`], which says in whose favour.

use bincode::{Decode, Encode};

/// Atoms in one credit; a credit is $0.001.
pub const ATOMS_PER_CREDIT: i64 = 100_000_000;
/// Atoms in one US cent (ten credits).
pub const ATOMS_PER_CENT: i64 = 10 * ATOMS_PER_CREDIT;

/// Amounts below this have their basis points worked out in one step: 16 bits more fit. $2,800.
pub(crate) const SMALL_ATOMS: u64 = 1 << 48;

/// An amount of money in atoms (10^-8 credit).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
pub struct Amount(pub i64);

impl Amount {
    /// No money.
    pub const ZERO: Amount = Amount(0);

    /// The part of this amount that `bps` basis points are, rounded down; for amounts of at least zero.
    ///
    /// Large ones in two steps so that 64 bits suffice:
    /// `floor(a b / 10^4) = (a div 10^4) b + floor((a mod 10^4) b / 10^4)`.
    #[inline(always)]
    pub fn fee(self, bps: u16) -> Amount {
        let (atoms, bps) = (self.0 as u64, u64::from(bps)); // Never below zero; whole numbers divide faster so.
        if atoms < SMALL_ATOMS {
            return Amount((atoms * bps / 10_000) as i64);
        }
        Amount((atoms / 10_000 * bps + atoms % 10_000 * bps / 10_000) as i64)
    }

    /// This amount less its fraction of a cent: what a bank transfer can carry.
    pub fn whole_cents(self) -> Amount {
        Amount(self.0 - self.0 % ATOMS_PER_CENT)
    }
}

/// A price in atoms per unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
pub struct Price(pub u64);

impl Price {
    /// What `quantity` units cost at this price; `None` on overflow, never a wrap.
    pub fn notional(self, quantity: Quantity) -> Option<Amount> {
        let atoms = u128::from(self.0) * u128::from(quantity.0);
        i64::try_from(atoms).ok().map(Amount)
    }
}

/// A number of units: normalised tokens of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
pub struct Quantity(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fee_rounds_towards_the_provider() {
        assert_eq!(Amount(74_250_000).fee(100), Amount(742_500), "DESIGN's worked example");
        assert_eq!(Amount(199).fee(100), Amount(1));
        assert_eq!(Amount(99).fee(100), Amount::ZERO);
        assert_eq!(Amount(i64::MAX).fee(10_000), Amount(i64::MAX), "no overflow at the largest amount");
    }

    #[test]
    fn a_fee_is_exact_whatever_the_amount() {
        let near = |atoms: u64| [atoms - 1, atoms, atoms + 1, atoms + 9_999];
        for atoms in [1, 10_000, SMALL_ATOMS, 1 << 50, 1 << 62].into_iter().flat_map(near) {
            for bps in [0, 1, 7, 2_500, 9_999, 10_000] {
                let expected = u128::from(atoms) * u128::from(bps) / 10_000;
                assert_eq!(Amount(atoms as i64).fee(bps).0 as u128, expected, "{bps} of {atoms}");
            }
        }
    }

    #[test]
    fn a_notional_overflows_to_none() {
        assert_eq!(Price(135_000).notional(Quantity(774)), Some(Amount(104_490_000)));
        assert_eq!(Price(u64::MAX).notional(Quantity(u64::MAX)), None);
        assert_eq!(Price(i64::MAX as u64).notional(Quantity(1)), Some(Amount(i64::MAX)));
    }

    #[test]
    fn whole_cents_never_round_up() {
        assert_eq!(Amount(ATOMS_PER_CENT * 7 + 999_999_999).whole_cents(), Amount(ATOMS_PER_CENT * 7));
    }
}
