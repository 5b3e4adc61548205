//! Contract specifications: what one unit of an instrument is and how it trades.

use crate::limits::{CONTRACT_TTL_NS_MAX, FEE_BPS_MAX, PRICE_MAX, QUANTITY_MAX, SYMBOL_BYTES_MAX};
use crate::{Price, Quantity, RejectReason};
use bincode::{Decode, Encode};

/// An instrument's public name: 1 to 64 of `a-z A-Z 0-9 . - _ / :`. Bounded by its type, so that no command
/// can outgrow a journal record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Symbol(String);

impl Symbol {
    /// The symbol of that name; `None` when it is too long or has other characters.
    pub fn new(name: &str) -> Option<Symbol> {
        let symbol = Symbol(name.to_owned());
        symbol.is_valid().then_some(symbol)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checked again when a listing is applied, since journaled bytes bypass [`Symbol::new`].
    fn is_valid(&self) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/:".contains(&byte);
        (1..=SYMBOL_BYTES_MAX).contains(&self.0.len()) && self.0.bytes().all(allowed)
    }
}

/// What one token of each kind counts for, in thousandths of a normalised token, so that one price
/// ranks all asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TokenWeights {
    /// A prompt token.
    pub input: u32,
    /// A prompt token the provider served from its cache.
    pub cached_input: u32,
    /// A generated token.
    pub output: u32,
}

impl TokenWeights {
    /// Normalised tokens of a call, rounded up to whole units; `cached` of the `input` tokens came
    /// from the provider's cache (never counted as more than `input`). `None` on overflow.
    pub fn units(&self, input: u64, cached: u64, output: u64) -> Option<Quantity> {
        let cached = cached.min(input);
        let thousandths = u128::from(input - cached) * u128::from(self.input)
            + u128::from(cached) * u128::from(self.cached_input)
            + u128::from(output) * u128::from(self.output);
        u64::try_from(thousandths.div_ceil(1_000)).ok().map(Quantity)
    }
}

/// A listed market's contract specification.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct InstrumentSpec {
    /// Public name, unique.
    pub symbol: Symbol,
    /// What a token of each kind counts for.
    pub weights: TokenWeights,
    /// Prices are multiples of this, at least 1 atom a unit.
    pub tick: Price,
    /// The limit of a bid that names no price; a multiple of `tick`.
    pub reference_price: Price,
    /// Most units in one order.
    pub quantity_max: Quantity,
    /// The platform's part of each delivery, in basis points.
    pub delivery_fee_bps: u16,
    /// How long a contract may be drawn on, in nanoseconds.
    pub contract_ttl_ns: u64,
}

impl InstrumentSpec {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first field out of bounds, as the reason that refuses the listing.
    pub fn check(&self) -> Result<(), RejectReason> {
        let invalid = |field| Err(RejectReason::InvalidInstrument { field });
        if !self.symbol.is_valid() {
            return invalid(InstrumentField::Symbol);
        }
        if self.weights.input == 0 || self.weights.output == 0 {
            return invalid(InstrumentField::Weights);
        }
        if self.tick.0 == 0 || self.tick.0 > PRICE_MAX {
            return invalid(InstrumentField::Tick);
        }
        let reference = self.reference_price.0;
        if reference == 0 || reference > PRICE_MAX || !reference.is_multiple_of(self.tick.0) {
            return invalid(InstrumentField::ReferencePrice);
        }
        if self.quantity_max.0 == 0 || self.quantity_max.0 > QUANTITY_MAX {
            return invalid(InstrumentField::QuantityMax);
        }
        if self.delivery_fee_bps > FEE_BPS_MAX {
            return invalid(InstrumentField::DeliveryFeeBps);
        }
        if self.contract_ttl_ns == 0 || self.contract_ttl_ns > CONTRACT_TTL_NS_MAX {
            return invalid(InstrumentField::ContractTtlNs);
        }
        Ok(())
    }
}

/// A field of an [`InstrumentSpec`], named in a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum InstrumentField {
    /// `symbol`
    Symbol,
    /// `weights`
    Weights,
    /// `tick`
    Tick,
    /// `reference_price`
    ReferencePrice,
    /// `quantity_max`
    QuantityMax,
    /// `delivery_fee_bps`
    DeliveryFeeBps,
    /// `contract_ttl_ns`
    ContractTtlNs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_is_short_and_plain() {
        assert!(Symbol::new("meta/llama-3.1:8b_q4").is_some());
        for bad in ["", "a b", "naïve", "a\n", &"x".repeat(65)] {
            assert_eq!(Symbol::new(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn units_follow_the_weights_and_round_up() {
        let weights = TokenWeights { input: 1_000, cached_input: 250, output: 4_000 };
        assert_eq!(weights.units(374, 0, 44), Some(Quantity(550)), "DESIGN's worked example");
        assert_eq!(weights.units(374, 0, 100), Some(Quantity(774)));
        assert_eq!(weights.units(1, 1, 0), Some(Quantity(1)), "a quarter of a unit rounds up");
        assert_eq!(weights.units(10, 99, 0), Some(Quantity(3)), "more cached than given counts as all cached");
        assert_eq!(weights.units(u64::MAX, 0, u64::MAX), None);
    }
}
