//! Providers' list prices, and how the two prices of a list become the one price of an ask.
//!
//! An ask has one price per normalised token, where an input token counts 1 and an output token 4. A list has a price
//! per input token and one per output token. The ask's price is the one at which a reference mix of tokens costs what the
//! list says: `(input price x 1155 + output price x 211) / (1155 + 4 x 211)`, rounded up to the tick. The mix
//! is the mean request of the trace the demo plays (1,155 tokens in, 211 out).

use gollem_engine::Price;
use rust_decimal::Decimal;
use serde::Deserialize;
use std::collections::BTreeMap;

const LIST: &str = include_str!("../../../data/provider_list_prices.csv");

/// Mean input tokens of a request in the trace.
const MIX_INPUT: i64 = 1_155;
/// Mean output tokens of a request in the trace.
const MIX_OUTPUT: i64 = 211;
/// Normalised tokens of an output token.
const OUTPUT_WEIGHT: i64 = 4;
/// Atoms in a US dollar.
const ATOMS_PER_DOLLAR: i64 = 100_000_000_000;
/// Atoms in a price step: $0.0001 a million normalised tokens.
pub(super) const TICK_ATOMS: u64 = 10;

#[derive(Debug, Deserialize)]
struct Row {
    model: String,
    provider: String,
    input_usd_per_token: Decimal,
    output_usd_per_token: Decimal,
}

/// One provider's offer of a model.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) provider: String,
    pub(super) price: Price,
}

/// Offers by model.
#[derive(Debug)]
pub(super) struct Prices {
    pub(super) models: BTreeMap<String, Vec<Offer>>,
}

/// Reads the list.
pub(super) fn load() -> anyhow::Result<Prices> {
    let mut models: BTreeMap<String, Vec<Offer>> = BTreeMap::new();
    for row in csv::Reader::from_reader(LIST.as_bytes()).deserialize() {
        let row: Row = row?;
        let price = per_normalised_token(row.input_usd_per_token, row.output_usd_per_token)
            .ok_or_else(|| anyhow::anyhow!("{} of {}: the price is out of range", row.model, row.provider))?;
        models.entry(row.model).or_default().push(Offer { provider: row.provider, price });
    }
    Ok(Prices { models })
}

/// The price of an ask in atoms per normalised token; `None` when it is out of range.
fn per_normalised_token(input: Decimal, output: Decimal) -> Option<Price> {
    let mix_cost = input.checked_mul(MIX_INPUT.into())?.checked_add(output.checked_mul(MIX_OUTPUT.into())?)?;
    let units = Decimal::from(MIX_INPUT + OUTPUT_WEIGHT * MIX_OUTPUT);
    let atoms = mix_cost.checked_mul(ATOMS_PER_DOLLAR.into())?.checked_div(units)?;
    let atoms = u64::try_from(atoms.ceil()).ok()?;
    atoms.checked_next_multiple_of(TICK_ATOMS).filter(|atoms| *atoms > 0).map(Price)
}

impl Prices {
    /// The dearest offer of a model.
    pub(super) fn dearest(&self, model: &str) -> Option<Price> {
        self.models.get(model)?.iter().map(|offer| offer.price).max()
    }

    /// The median offer of a model: the upper one of two.
    pub(super) fn median(&self, model: &str) -> Option<Price> {
        let mut prices: Vec<Price> = self.models.get(model)?.iter().map(|offer| offer.price).collect();
        prices.sort_unstable();
        prices.get(prices.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gollem_engine::limits::LEVELS_MAX;

    #[test]
    fn the_list_has_fifteen_models_and_192_offers() {
        let prices = load().unwrap();
        let offers: usize = prices.models.values().map(Vec::len).sum();
        assert_eq!((prices.models.len(), offers), (15, 192));
        for (model, offers) in &prices.models {
            let (median, dearest) = (prices.median(model).unwrap(), prices.dearest(model).unwrap());
            assert!(dearest.0 <= LEVELS_MAX * TICK_ATOMS, "{model}: a book has no level for its dearest offer");
            assert!(median <= dearest && offers.iter().any(|offer| offer.price == median));
        }
    }

    #[test]
    fn a_list_that_charges_output_by_its_weight_keeps_its_input_price() {
        let dollars = |text: &str| Decimal::from_str_exact(text).unwrap();
        let price = per_normalised_token(dollars("0.00000135"), dollars("0.0000054")).unwrap();
        assert_eq!(price, Price(135_000), "$1.35 a million, as in DESIGN's worked example");
        let cheap_output = per_normalised_token(dollars("0.00000135"), dollars("0.00000135")).unwrap();
        assert!(cheap_output < price);
    }
}
