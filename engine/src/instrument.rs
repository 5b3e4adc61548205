//! Contract specifications: what one unit of an instrument is and how it trades.

use crate::limits::{
    BAND_BPS_MAX, CONTRACT_TTL_NS_MAX, FEE_BPS_MAX, LEVELS_MAX, PRICE_MAX, QUANTITY_MAX, REBATE_BPS_MAX,
    SYMBOL_BYTES_MAX, TOLERANCE_BPS_MAX,
};
use crate::{Price, Quantity, RejectReason};
use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use std::fmt;

/// An instrument's public name: 1 to 64 of `a-z A-Z 0-9 . - _ / :`. Bounded by its type, so that no command
/// can outgrow a journal record, and kept in place, so that copying it allocates nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Symbol {
    /// The name, then zeros: ordered as the names are.
    bytes: [u8; SYMBOL_BYTES_MAX],
    len: u8,
}

impl Symbol {
    /// The symbol of that name; `None` when it is too long or has other characters.
    pub fn new(name: &str) -> Option<Symbol> {
        Symbol::of(name).filter(Symbol::is_valid)
    }

    /// Any short string; what is in it is checked when a listing is applied.
    fn of(name: &str) -> Option<Symbol> {
        let mut bytes = [0; SYMBOL_BYTES_MAX];
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        Some(Symbol { bytes, len: name.len() as u8 }) // At most 64.
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }

    fn is_valid(&self) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/:".contains(&byte);
        self.len > 0 && self.as_str().bytes().all(allowed)
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Symbol({:?})", self.as_str())
    }
}

// As a string.

impl Encode for Symbol {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.as_str().encode(encoder)
    }
}

impl<C> Decode<C> for Symbol {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Symbol, DecodeError> {
        let name = String::decode(decoder)?;
        Symbol::of(&name).ok_or(DecodeError::Other("a symbol is too long"))
    }
}

bincode::impl_borrow_decode!(Symbol);

/// What one token of each kind counts for, in thousandths of a normalised token, so that one price
/// ranks all asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
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

/// Whether a market takes orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
pub enum InstrumentState {
    /// Orders are taken and matched.
    #[default]
    Open,
    /// Orders may only be cancelled or reduced; nothing matches.
    CancelOnly,
    /// Orders may not be touched; nothing matches. Deliveries, expiries and deadlines go on.
    Halted,
}

/// A listed market's contract specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
pub struct InstrumentSpec {
    /// Public name, unique.
    pub symbol: Symbol,
    /// What a token of each kind counts for.
    pub weights: TokenWeights,
    /// Prices are multiples of this, at least 1 atom a unit.
    pub tick: Price,
    /// Highest price; a multiple of `tick`, at most [`LEVELS_MAX`] ticks.
    pub price_max: Price,
    /// The limit of a bid that names no price, and the middle of the price band; a multiple of `tick`.
    pub reference_price: Price,
    /// How far from the reference price a limit may be, in basis points of it; 0 for no band.
    pub band_bps: u32,
    /// Quantities are multiples of this, at least 1 unit.
    pub lot: Quantity,
    /// Fewest units in one order; a multiple of `lot`.
    pub quantity_min: Quantity,
    /// Most units in one order.
    pub quantity_max: Quantity,
    /// What the platform takes of each delivery from the side whose order rested, in basis points.
    pub maker_fee_bps: u16,
    /// What the platform takes of each delivery from the side whose order arrived, in basis points.
    pub taker_fee_bps: u16,
    /// What the platform takes of each delivery from the provider besides, in basis points.
    pub delivery_fee_bps: u16,
    /// How far a delivery may miss the promised latency or throughput before a rebate is due, in basis points of
    /// the promise.
    pub tolerance_bps: u16,
    /// What a breach returns to the buyer, in basis points of the delivery.
    pub rebate_bps: u16,
    /// How long a contract may be drawn on, in nanoseconds.
    pub contract_ttl_ns: u64,
}

impl InstrumentSpec {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first field out of bounds, as the reason that refuses the listing.
    pub fn check(&self) -> Result<(), RejectReason> {
        let tick_is_sound = self.tick.0 > 0 && self.tick.0 <= PRICE_MAX;
        let priced = |price: Price| tick_is_sound && price.0 > 0 && price.0.is_multiple_of(self.tick.0);
        let highest = u128::from(LEVELS_MAX) * u128::from(self.tick.0);
        let lots = |quantity: Quantity| quantity.0 > 0 && quantity.0.is_multiple_of(self.lot.0.max(1));
        let rules = [
            (self.symbol.is_valid(), InstrumentField::Symbol),
            (self.weights.input > 0 && self.weights.output > 0, InstrumentField::Weights),
            (tick_is_sound, InstrumentField::Tick),
            (
                priced(self.price_max) && self.price_max.0 <= PRICE_MAX && u128::from(self.price_max.0) <= highest,
                InstrumentField::PriceMax,
            ),
            (priced(self.reference_price) && self.reference_price <= self.price_max, InstrumentField::ReferencePrice),
            (self.band_bps <= BAND_BPS_MAX, InstrumentField::BandBps),
            (self.lot.0 > 0 && self.lot.0 <= QUANTITY_MAX, InstrumentField::Lot),
            (lots(self.quantity_min) && self.quantity_min.0 <= QUANTITY_MAX, InstrumentField::QuantityMin),
            (
                self.quantity_max >= self.quantity_min && self.quantity_max.0 <= QUANTITY_MAX,
                InstrumentField::QuantityMax,
            ),
            (self.maker_fee_bps <= FEE_BPS_MAX, InstrumentField::MakerFeeBps),
            (self.taker_fee_bps <= FEE_BPS_MAX, InstrumentField::TakerFeeBps),
            (self.delivery_fee_bps <= FEE_BPS_MAX, InstrumentField::DeliveryFeeBps),
            (self.tolerance_bps <= TOLERANCE_BPS_MAX, InstrumentField::ToleranceBps),
            (self.rebate_bps <= REBATE_BPS_MAX, InstrumentField::RebateBps),
            ((1..=CONTRACT_TTL_NS_MAX).contains(&self.contract_ttl_ns), InstrumentField::ContractTtlNs),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, field)) => Err(RejectReason::InvalidInstrument { field }),
            None => Ok(()),
        }
    }

    /// Lowest and highest limit the price band allows, both included; the whole range without a band.
    pub fn band(&self) -> (Price, Price) {
        if self.band_bps == 0 {
            return (self.tick, self.price_max);
        }
        let width = u128::from(self.reference_price.0) * u128::from(self.band_bps) / 10_000;
        let width = u64::try_from(width).unwrap_or(u64::MAX); // At most 100 times PRICE_MAX.
        let lowest = self.reference_price.0.saturating_sub(width).max(self.tick.0);
        let highest = self.reference_price.0.saturating_add(width).min(self.price_max.0);
        (Price(lowest), Price(highest))
    }
}

/// A field of an [`InstrumentSpec`], named in a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
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
    /// `price_max`
    PriceMax,
    /// `band_bps`
    BandBps,
    /// `lot`
    Lot,
    /// `quantity_min`
    QuantityMin,
    /// `maker_fee_bps`
    MakerFeeBps,
    /// `taker_fee_bps`
    TakerFeeBps,
    /// `tolerance_bps`
    ToleranceBps,
    /// `rebate_bps`
    RebateBps,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_is_a_string_in_the_journal_and_none_that_is_too_long() {
        let config = bincode::config::legacy();
        for name in ["a", "llama-3.3-70b/eu:1", &"x".repeat(SYMBOL_BYTES_MAX)] {
            let symbol = Symbol::new(name).unwrap();
            let bytes = bincode::encode_to_vec(symbol, config).unwrap();
            assert_eq!(bytes, bincode::encode_to_vec(name, config).unwrap());
            assert_eq!(bincode::decode_from_slice(&bytes, config).unwrap(), (symbol, bytes.len()));
        }
        let long = bincode::encode_to_vec("x".repeat(SYMBOL_BYTES_MAX + 1), config).unwrap();
        assert!(bincode::decode_from_slice::<Symbol, _>(&long, config).is_err());
        assert!(Symbol::new("b") > Symbol::new("ab") && Symbol::new("ab") > Symbol::new("a"), "ordered as strings");
    }

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
