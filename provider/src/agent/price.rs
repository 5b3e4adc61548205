//! Prices: what a person says and what the exchange takes.
//!
//! A person says US dollars per million normalised tokens; the exchange takes credits per normalised token, to eight
//! decimals. 1 credit is $0.001, so the one is the other times a thousand. A price that eight decimals cannot hold is
//! refused, never rounded: the provider gets what was asked.

use std::{fmt, str::FromStr};

use rust_decimal::Decimal;

/// Dollars per million tokens to atoms (10^-8 credit) per token: a million tokens, a thousand credits to the dollar.
const USD_PER_MILLION_TO_ATOMS: Decimal = Decimal::from_parts(100_000, 0, 0, false, 0);

/// Atoms of a credit.
const ATOMS_PER_CREDIT: u64 = 100_000_000;

/// The most that is taken, in dollars per million tokens: far above any market, far below any overflow.
const USD_PER_MILLION_MAX: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);

/// A price per normalised token; prints as credits with eight decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price {
    atoms_per_token: u64,
}

impl Price {
    /// From US dollars per million normalised tokens.
    ///
    /// # Errors
    ///
    /// If the price is not positive, absurdly high, or finer than the exchange's smallest amount.
    pub fn from_usd_per_million(usd: Decimal) -> Result<Self, PriceError> {
        if usd <= Decimal::ZERO {
            return Err(PriceError::NotPositive);
        }
        if usd > USD_PER_MILLION_MAX {
            return Err(PriceError::TooHigh);
        }
        let atoms = (usd * USD_PER_MILLION_TO_ATOMS).normalize();
        if atoms.scale() > 0 {
            return Err(PriceError::TooFine);
        }
        u64::try_from(atoms).map(Price::from_atoms).map_err(|_| PriceError::TooHigh)
    }

    /// From atoms (10^-8 credit) per normalised token.
    pub(crate) fn from_atoms(atoms_per_token: u64) -> Self {
        Price { atoms_per_token }
    }

    /// Atoms (10^-8 credit) per normalised token.
    pub(crate) fn atoms(self) -> u64 {
        self.atoms_per_token
    }

    /// US dollars per million normalised tokens.
    pub fn usd_per_million(self) -> Decimal {
        (Decimal::from(self.atoms_per_token) / USD_PER_MILLION_TO_ATOMS).normalize()
    }

    /// Reads credits per normalised token, as the exchange writes them; `None` if it is no such number.
    pub(crate) fn from_credits(text: &str) -> Option<Self> {
        let atoms = (Decimal::from_str_exact(text).ok()? * Decimal::from(ATOMS_PER_CREDIT)).normalize();
        (atoms.scale() == 0).then(|| u64::try_from(atoms).ok().map(Price::from_atoms))?
    }
}

impl FromStr for Price {
    type Err = PriceError;

    /// Reads US dollars per million normalised tokens, such as `1.35`.
    fn from_str(text: &str) -> Result<Self, PriceError> {
        let usd = Decimal::from_str_exact(text).map_err(|_| PriceError::NotANumber)?;
        Price::from_usd_per_million(usd)
    }
}

impl fmt::Display for Price {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.atoms_per_token / ATOMS_PER_CREDIT, self.atoms_per_token % ATOMS_PER_CREDIT);
        write!(formatter, "{whole}.{fraction:08}")
    }
}

/// Why a price is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// Not a decimal number.
    #[error("a price is a decimal number of US dollars per million tokens, such as 1.35")]
    NotANumber,
    /// Zero or less.
    #[error("a price must be above zero")]
    NotPositive,
    /// More than a billion dollars for a million tokens.
    #[error("a price must not be above {USD_PER_MILLION_MAX} US dollars per million tokens")]
    TooHigh,
    /// Finer than the smallest amount.
    #[error("a price must have at most 5 decimals: the exchange counts in hundred-millionths of a credit")]
    TooFine,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(usd_per_million: &str, expected: Result<&str, PriceError>) {
        let price = usd_per_million.parse::<Price>().map(|price| price.to_string());
        assert_eq!(price, expected.map(str::to_owned), "{usd_per_million}");
    }

    #[test]
    fn dollars_per_million_become_credits_per_token() {
        check("1.35", Ok("0.00135000"));
        check("1", Ok("0.00100000"));
        check("2.50", Ok("0.00250000"));
        check("1000", Ok("1.00000000"));
        check("0.00001", Ok("0.00000001"));
        check("1.350000000", Ok("0.00135000"));
        check("1000000000", Ok("1000000.00000000"));
    }

    #[test]
    fn price_reads_back_what_the_exchange_writes() {
        for usd in ["1.35", "0.00001", "1000000000"] {
            let price: Price = usd.parse().unwrap();
            assert_eq!(Price::from_credits(&price.to_string()), Some(price));
            assert_eq!(price.usd_per_million().to_string(), usd);
        }
        for text in ["", "-1", "0.000000001", "dear"] {
            assert_eq!(Price::from_credits(text), None, "{text}");
        }
    }

    #[test]
    fn price_that_cannot_be_held_exactly_is_refused() {
        check("0.000001", Err(PriceError::TooFine));
        check("1.350001", Err(PriceError::TooFine));
        check("0", Err(PriceError::NotPositive));
        check("-1", Err(PriceError::NotPositive));
        check("1000000000.01", Err(PriceError::TooHigh));
        for text in ["", "$1", "1,35", "NaN", "1e3", "0.00000000000000000000000000000000001"] {
            check(text, Err(PriceError::NotANumber));
        }
    }
}
