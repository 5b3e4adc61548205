//! Money as callers write it: decimal strings outside, whole atoms inside. How it is told is with the views
//! ([`gollem_projections::words`]).

use crate::error::ApiError;
use gollem_engine::{Amount, Price};
use rust_decimal::Decimal;

/// Decimals of a credit.
const CREDIT_DECIMALS: u32 = 8;
/// Decimals of a US dollar that atoms can hold: a credit is $0.001.
const DOLLAR_DECIMALS: u32 = CREDIT_DECIMALS + 3;

/// Atoms in US dollars, for people.
pub(crate) fn dollars(atoms: i128) -> Decimal {
    Decimal::from_i128_with_scale(atoms, DOLLAR_DECIMALS)
}

/// Reads a price in credits a unit.
///
/// # Errors
/// 400 naming `field` when it is no decimal, not above zero, or finer than 8 decimals.
pub(crate) fn parse_credits_per_unit(field: &'static str, text: &str) -> Result<Price, ApiError> {
    let atoms = parse(field, text, CREDIT_DECIMALS, "credits per unit")?;
    u64::try_from(atoms).map(Price).map_err(|_| ApiError::invalid(field, format!("{field} is too large")))
}

/// Reads a limit in credits, which may be 0.
///
/// # Errors
/// 400 naming `field` when it is no decimal, below zero, or finer than 8 decimals.
pub(crate) fn parse_credits(field: &'static str, text: &str) -> Result<Amount, ApiError> {
    if Decimal::from_str_exact(text).is_ok_and(|value| value.is_zero()) {
        return Ok(Amount::ZERO);
    }
    let atoms = parse(field, text, CREDIT_DECIMALS, "credits")?;
    i64::try_from(atoms).map(Amount).map_err(|_| ApiError::invalid(field, format!("{field} is too large")))
}

/// Reads a price in US dollars a unit, rounded down to atoms: a limit never grows by rounding.
///
/// # Errors
/// 400 naming `field` when it is no decimal or less than one atom.
pub(crate) fn parse_dollars_per_unit(field: &'static str, text: &str) -> Result<Price, ApiError> {
    let dollars = parse_decimal(field, text)?;
    let atoms = Decimal::from_i128_with_scale(10_i128.pow(DOLLAR_DECIMALS), 0).checked_mul(dollars);
    let atoms = atoms.and_then(|atoms| u64::try_from(atoms.trunc()).ok());
    match atoms {
        Some(atoms) if atoms > 0 => Ok(Price(atoms)),
        Some(_) => Err(ApiError::invalid(field, format!("{field} must be at least 0.00000000001 US dollars"))),
        None => Err(ApiError::invalid(field, format!("{field} is too large"))),
    }
}

/// Reads an amount in US dollars.
///
/// # Errors
/// 400 naming `field` when it is no decimal, not above zero, or has a fraction of a cent.
pub(crate) fn parse_dollars(field: &'static str, text: &str) -> Result<Amount, ApiError> {
    parse(field, text, 2, "US dollars").and_then(|cents| {
        cents
            .checked_mul(gollem_engine::ATOMS_PER_CENT.into())
            .and_then(|atoms| i64::try_from(atoms).ok())
            .map(Amount)
            .ok_or_else(|| ApiError::invalid(field, format!("{field} is too large")))
    })
}

/// Reads a positive decimal with at most `decimals` decimals as a whole number of its smallest unit.
fn parse(field: &'static str, text: &str, decimals: u32, unit: &str) -> Result<i128, ApiError> {
    let value = parse_decimal(field, text)?.normalize();
    if value.scale() > decimals {
        return Err(ApiError::invalid(field, format!("{field} may have at most {decimals} decimals ({unit})")));
    }
    let factor = 10_i128.pow(decimals - value.scale());
    value.mantissa().checked_mul(factor).ok_or_else(|| ApiError::invalid(field, format!("{field} is too large")))
}

fn parse_decimal(field: &'static str, text: &str) -> Result<Decimal, ApiError> {
    let parsed = Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text));
    let value = parsed.map_err(|_| {
        ApiError::invalid(field, format!("{field} must be a decimal number of at most 28 digits, such as \"0.00135\""))
    })?;
    if value.is_sign_negative() || value.is_zero() {
        return Err(ApiError::invalid(field, format!("{field} must be greater than 0")));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_convert_exactly() {
        assert_eq!(parse_credits_per_unit("price", "0.00135").unwrap(), Price(135_000));
        assert_eq!(parse_credits_per_unit("price", "1").unwrap(), Price(100_000_000));
        assert_eq!(parse_dollars_per_unit("x-max-price", "0.001").unwrap(), Price(100_000_000), "one credit");
        assert_eq!(parse_dollars_per_unit("x-max-price", "1.35e-6").unwrap(), Price(135_000));
        assert_eq!(parse_credits("limit", "0.5").unwrap(), Amount(50_000_000));
        assert_eq!(parse_credits("limit", "0").unwrap(), Amount::ZERO);
        assert!(parse_credits("limit", "-1").is_err() && parse_credits("limit", "x").is_err());
        assert_eq!(parse_dollars("amount_usd", "10.00").unwrap(), Amount(1_000_000_000_000));
        assert_eq!(dollars(1_000_000_000_000).normalize().to_string(), "10");
    }

    #[test]
    fn bad_money_is_refused_by_name() {
        let thirty_digits = "123456789012345678901234567890";
        for bad in ["-1", "0", "", "abc", "1,5", "NaN", "0.000000001", thirty_digits, "1e40"] {
            let error = parse_credits_per_unit("price", bad).expect_err(bad);
            assert_eq!((error.status.as_u16(), error.param), (400, Some("price".to_owned())), "{bad}");
        }
        assert!(parse_dollars("amount_usd", "1.005").is_err(), "half a cent");
        assert!(parse_dollars_per_unit("x-max-price", "1e-12").is_err(), "less than an atom");
    }
}
