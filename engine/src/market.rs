//! A listed instrument: its contract specification, its book, and what follows from the specification and is asked of
//! every order: a price in ticks, what an order would hold.

use crate::book::Book;
use crate::contracts::ContractList;
use crate::ladder::Totals;
use crate::limits::ACCOUNT_ATOMS_MAX;
use crate::money::SMALL_ATOMS;
use crate::{
    Amount, Event, InstrumentId, InstrumentSpec, InstrumentState, OrderId, Price, Quantity, RejectReason, Side,
};

/// A listed instrument and its book.
#[derive(Debug)]
pub(crate) struct Market {
    pub(crate) book: Book,
    prices: Prices,
    hold_fee_bps: u16,
    pub(crate) state: InstrumentState,
    /// Some provider has a record on this market: measurements, a breaker.
    pub(crate) has_records: bool,
    /// Whether a deadline is set for the first of its contracts.
    pub(crate) contracts_due: bool,
    pub(crate) contracts: ContractList,
    spec: InstrumentSpec,
    /// Asks that may match once the market opens.
    pub(crate) waiting: Vec<OrderId>,
}

/// Which limits are good, and what they are in ticks.
#[derive(Clone, Copy, Debug)]
struct Prices {
    /// Lowest and highest limit inside both the range and the band.
    low: u64,
    high: u64,
    tick: u64,
    /// `ceil(2^64 / tick)`: a multiple of the tick times this, divided by 2^64, is exactly how many ticks it is while
    /// `ticks x tick < 2^64`, which [`crate::limits::PRICE_MAX`] sees to. 0 for a tick of 1, which has none.
    reciprocal: u64,
}

impl Prices {
    fn new(spec: &InstrumentSpec) -> Prices {
        let (low, high) = spec.band();
        let reciprocal = if spec.tick.0 == 1 { 0 } else { u64::MAX / spec.tick.0 + 1 };
        Prices { low: low.0, high: high.0, tick: spec.tick.0, reciprocal }
    }

    /// A good limit in ticks.
    #[inline(always)]
    fn ticks(&self, limit: u64) -> Option<u32> {
        if limit < self.low || limit > self.high {
            return None;
        }
        let ticks = match self.reciprocal {
            0 => limit,
            reciprocal => ((u128::from(limit) * u128::from(reciprocal)) >> 64) as u64,
        };
        (ticks.wrapping_mul(self.tick) == limit).then_some(ticks as u32) // At most LEVELS_MAX.
    }
}

impl Market {
    pub(crate) fn new(spec: InstrumentSpec) -> Market {
        let top = (spec.price_max.0 / spec.tick.0) as u32; // At most LEVELS_MAX.
        Market {
            book: Book::new(top),
            prices: Prices::new(&spec),
            hold_fee_bps: spec.maker_fee_bps.max(spec.taker_fee_bps),
            state: InstrumentState::Open,
            has_records: false,
            contracts_due: false,
            contracts: ContractList::default(),
            spec,
            waiting: Vec::new(),
        }
    }

    /// The contract specification.
    #[inline]
    pub(crate) fn spec(&self) -> &InstrumentSpec {
        &self.spec
    }

    /// Moves the reference price, and the price band with it.
    pub(crate) fn set_reference_price(&mut self, price: Price) {
        self.spec.reference_price = price;
        self.prices = Prices::new(&self.spec);
    }

    /// So many ticks as a price.
    #[inline(always)]
    pub(crate) fn price(&self, ticks: u32) -> Price {
        Price(u64::from(ticks).wrapping_mul(self.prices.tick)) // At most PRICE_MAX.
    }

    /// Whether it is open and no provider has a record on it.
    #[inline(always)]
    pub(crate) fn is_plain_open(&self) -> bool {
        self.state == InstrumentState::Open && !self.has_records
    }

    /// A limit in ticks, if it is a good one.
    #[inline(always)]
    pub(crate) fn good_limit(&self, limit: Price) -> Option<u32> {
        self.prices.ticks(limit.0)
    }

    /// A limit in ticks.
    #[inline(always)]
    pub(crate) fn ticks(&self, limit: Price) -> Result<u32, RejectReason> {
        self.prices.ticks(limit.0).ok_or_else(|| self.price_refusal(limit))
    }

    /// What is wrong with a limit that is not good.
    #[cold]
    fn price_refusal(&self, limit: Price) -> RejectReason {
        let (tick, max) = (self.spec.tick, self.spec.price_max);
        let (low, high) = self.spec.band();
        if limit < tick || limit > max {
            RejectReason::PriceOutOfRange { min: tick, max }
        } else if !limit.0.is_multiple_of(tick.0) {
            RejectReason::PriceOffTick { tick }
        } else {
            RejectReason::PriceOutsideBand { min: low, max: high }
        }
    }

    /// Refuses a quantity outside its bounds or off the lot.
    #[inline(always)]
    pub(crate) fn check_quantity(&self, quantity: Quantity) -> Result<(), RejectReason> {
        let (min, max, lot) = (self.spec.quantity_min, self.spec.quantity_max, self.spec.lot);
        if quantity < min || quantity > max {
            return Err(RejectReason::QuantityOutOfRange { min, max });
        }
        if lot.0 != 1 && !quantity.0.is_multiple_of(lot.0) {
            return Err(RejectReason::QuantityOffLot { lot });
        }
        Ok(())
    }

    /// What a bid for so many units holds: its limit for each, and fees on that. None if it is more than an account may
    /// own.
    #[inline(always)]
    pub(crate) fn hold_of(&self, ticks: u32, units: u64) -> Option<Amount> {
        let notional = u128::from(self.price(ticks).0) * u128::from(units);
        if notional < u128::from(SMALL_ATOMS) {
            let (atoms, bps) = (notional as u64, u64::from(self.hold_fee_bps));
            return Some(Amount((atoms + atoms * bps / 10_000) as i64)); // 2^48 x 2,500 fits 63 bits.
        }
        self.large_hold(notional)
    }

    #[cold]
    #[inline(never)]
    fn large_hold(&self, notional: u128) -> Option<Amount> {
        if notional > ACCOUNT_ATOMS_MAX as u128 {
            return None;
        }
        let amount = Amount(notional as i64); // Just compared.
        let amount = Amount(amount.0 + amount.fee(self.hold_fee_bps).0); // A quarter more at most: it fits.
        (amount.0 <= ACCOUNT_ATOMS_MAX).then_some(amount)
    }

    /// The same, or the refusal.
    #[inline(always)]
    pub(crate) fn hold(&self, ticks: u32, units: u64) -> Result<Amount, RejectReason> {
        self.hold_of(ticks, units).ok_or(RejectReason::NotionalTooLarge { max: Amount(ACCOUNT_ATOMS_MAX) })
    }

    /// What an accepted bid holds for so many units.
    #[inline(always)]
    pub(crate) fn held(&self, ticks: u32, units: u64) -> Amount {
        crate::invariant(self.hold_of(ticks, units), "checked when the order was accepted")
    }

    /// Whether an order is worth at most half of what an account may own: room for any fee, so that most asks need no
    /// look at it.
    #[inline(always)]
    pub(crate) fn is_small(&self, ticks: u32, units: u64) -> bool {
        u128::from(self.price(ticks).0) * u128::from(units) <= ACCOUNT_ATOMS_MAX as u128 / 2
    }

    /// Refuses an ask so large that a bid of its size would be refused. It holds nothing.
    #[inline(always)]
    pub(crate) fn check_size(&self, ticks: u32, units: u64) -> Result<(), RejectReason> {
        if self.is_small(ticks, units) { Ok(()) } else { self.hold(ticks, units).map(|_| ()) }
    }

    /// That an order has a new price or size.
    #[inline(always)]
    pub(crate) fn replaced(&self, order: OrderId, ticks: u32, quantity: u64, remaining: u64) -> Event {
        let (price, quantity, remaining) = (self.price(ticks), Quantity(quantity), Quantity(remaining));
        Event::OrderReplaced { order, price, quantity, remaining }
    }

    /// That a level has new totals.
    #[inline(always)]
    pub(crate) fn level(&self, instrument: InstrumentId, side: Side, ticks: u32, totals: Totals) -> Event {
        let (price, quantity, orders) = (self.price(ticks), Quantity(totals.quantity), totals.orders);
        Event::LevelChanged { instrument, side, price, quantity, orders }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{LEVELS_MAX, PRICE_MAX};
    use crate::{Symbol, TokenWeights};

    fn market(tick: u64, price_max: u64) -> Market {
        let spec = InstrumentSpec {
            symbol: Symbol::new("x").unwrap(),
            weights: TokenWeights { input: 1, cached_input: 1, output: 1 },
            tick: Price(tick),
            price_max: Price(price_max),
            reference_price: Price(tick),
            band_bps: 0,
            lot: Quantity(1),
            quantity_min: Quantity(1),
            quantity_max: Quantity(1_000),
            maker_fee_bps: 7,
            taker_fee_bps: 3,
            delivery_fee_bps: 0,
            tolerance_bps: 0,
            rebate_bps: 0,
            contract_ttl_ns: 1,
        };
        spec.check().unwrap();
        Market::new(spec)
    }

    #[test]
    fn a_limit_in_ticks_is_exact_for_every_tick_there_may_be() {
        let ticks = [1, 2, 3, 7, 10, 1_000, 999_983, 1 << 20, 95_367_431, 10_000_000_019, PRICE_MAX / 2, PRICE_MAX];
        for tick in ticks {
            let levels = (PRICE_MAX / tick).min(LEVELS_MAX);
            let market = market(tick, tick * levels);
            for level in
                [1, 2, 3, levels / 2, levels - 1, levels].into_iter().filter(|level| (1..=levels).contains(level))
            {
                let price = level * tick;
                assert_eq!(market.ticks(Price(price)), Ok(level as u32), "{level} ticks of {tick}");
                assert_eq!(market.price(level as u32), Price(price));
                if tick > 1 && level < levels {
                    let off = RejectReason::PriceOffTick { tick: Price(tick) };
                    assert_eq!(market.ticks(Price(price + 1)), Err(off));
                    assert_eq!(market.ticks(Price(price + tick - 1)), Err(off));
                }
            }
            let (min, max) = (Price(tick), Price(tick * levels));
            let range = RejectReason::PriceOutOfRange { min, max };
            assert_eq!(market.ticks(Price(tick - 1)), Err(range));
            assert_eq!(market.ticks(Price(tick * levels + 1)), Err(range));
        }
    }

    #[test]
    fn a_hold_is_exact_on_both_sides_of_where_it_takes_two_steps() {
        let mut market = market(1, 1_000);
        market.hold_fee_bps = 2_500;
        for units in [1, 9_999, SMALL_ATOMS - 1, SMALL_ATOMS, SMALL_ATOMS + 1, 1 << 60] {
            let expected = u128::from(units) + u128::from(units) * 2_500 / 10_000;
            assert_eq!(market.hold_of(1, units), Some(Amount(expected as i64)), "{units}");
        }
        assert_eq!(market.hold_of(1, 1 << 62), None);
    }

    #[test]
    fn an_ask_is_refused_for_its_size_exactly_when_a_bid_would_be() {
        let market = market(PRICE_MAX, PRICE_MAX);
        for units in [1, 20_000, 23_000, 46_000, 46_080, 46_083, 46_084, 46_090, 46_200, 92_233, 92_234, 1 << 40] {
            assert_eq!(market.check_size(1, units), market.hold(1, units).map(|_| ()), "{units}");
        }
        assert!(market.hold(1, 46_000).is_ok() && market.hold(1, 46_200).is_err(), "both cases are covered");
    }
}
