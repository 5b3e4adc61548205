//! The levels of one market, best price first, and the checksum of the best ten of each side.
//!
//! The checksum is Kraken's: CRC-32 (IEEE) over the ten best asks from low to high, then the ten best bids from high to
//! low, of each the price and then the quantity as they are written, without the point and leading zeros.

use gollem_engine::{Price, Side};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Levels a side that the checksum covers.
pub(super) const CHECKED_LEVELS: usize = 10;

/// What rests at a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) quantity: u64,
    pub(super) orders: u32,
}

/// A price of one side by how good it is: the best has the lowest rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(u64);

impl Rank {
    pub(super) fn of(side: Side, price: Price) -> Rank {
        match side {
            Side::Bid => Rank(u64::MAX - price.0),
            Side::Ask => Rank(price.0),
        }
    }

    pub(super) fn price(self, side: Side) -> Price {
        match side {
            Side::Bid => Price(u64::MAX - self.0),
            Side::Ask => Price(self.0),
        }
    }
}

/// The levels of one side.
pub(super) type Half = BTreeMap<Rank, Level>;

/// Both sides of a market.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Book {
    bids: Half,
    asks: Half,
}

impl Book {
    /// Sets a level, or removes it; returns what was there.
    pub(super) fn set(&mut self, side: Side, rank: Rank, level: Option<Level>) -> Option<Level> {
        let half = match side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        };
        match level {
            Some(level) => half.insert(rank, level),
            None => half.remove(&rank),
        }
    }

    pub(super) fn half(&self, side: Side) -> &Half {
        match side {
            Side::Bid => &self.bids,
            Side::Ask => &self.asks,
        }
    }

    /// The best price with what rests there.
    pub(super) fn best(&self, side: Side) -> Option<(Price, Level)> {
        self.half(side).first_key_value().map(|(rank, level)| (rank.price(side), *level))
    }

    /// Prices have eight decimals, always: without point and leading zeros one is its number of atoms.
    pub(super) fn checksum(&self) -> u32 {
        let mut text = String::with_capacity(512);
        for side in [Side::Ask, Side::Bid] {
            for (rank, level) in self.half(side).iter().take(CHECKED_LEVELS) {
                // Writing to a string cannot fail.
                write!(text, "{}{}", rank.price(side).0, level.quantity).ok();
            }
        }
        crc32fast::hash(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gollem_projections::words::credits_per_unit;

    /// The rule word for word, over levels as the API writes them.
    fn by_kraken_s_rule(book: &Book) -> u32 {
        let digits = |text: String| text.replace('.', "").trim_start_matches('0').to_owned();
        let levels = |side| book.half(side).iter().take(10).map(move |(rank, level)| (rank.price(side), *level));
        let text: String = levels(Side::Ask)
            .chain(levels(Side::Bid))
            .map(|(price, level)| digits(credits_per_unit(price)) + &digits(level.quantity.to_string()))
            .collect();
        crc32fast::hash(text.as_bytes())
    }

    fn book(bids: &[(u64, u64)], asks: &[(u64, u64)]) -> Book {
        let mut book = Book::default();
        for (side, levels) in [(Side::Bid, bids), (Side::Ask, asks)] {
            for (price, quantity) in levels {
                let level = Level { quantity: *quantity, orders: 1 };
                book.set(side, Rank::of(side, Price(*price)), Some(level));
            }
        }
        book
    }

    #[test]
    fn the_documentation_s_example_has_the_checksum_it_says() {
        let book = book(&[(199_000, 500), (198_500, 20)], &[(200_000, 1_000), (201_000, 75)]);
        let page = include_str!("../../../docs/websocket.md");
        let stated = |lead: &str| page.split(lead).nth(1).and_then(|rest| rest.split('`').next()).unwrap_or_default();
        assert_eq!(stated("checked text is `"), "20000010002010007519900050019850020");
        assert_eq!(stated("checksum is `"), book.checksum().to_string());
        assert_eq!(book.checksum(), by_kraken_s_rule(&book));
    }

    #[test]
    fn only_the_ten_best_of_each_side_count() {
        let levels = |from: u64| (from..from + 12).map(|price| (price, price * 3)).collect::<Vec<_>>();
        let full = book(&levels(1_000), &levels(100_000_000));
        assert_eq!(full.checksum(), by_kraken_s_rule(&full));
        let mut changed = full.clone();
        changed.set(Side::Ask, Rank::of(Side::Ask, Price(100_000_010)), None);
        changed.set(Side::Bid, Rank::of(Side::Bid, Price(1_001)), None);
        assert_eq!(changed.checksum(), full.checksum(), "the eleventh best");
        changed.set(Side::Bid, Rank::of(Side::Bid, Price(1_002)), None);
        assert_ne!(changed.checksum(), full.checksum(), "the tenth best");
    }
}
