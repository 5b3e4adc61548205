//! Quotes: what a bid could take now, and why it could or could not take a certain ask. Nothing here changes the state.
//!
//! A bid may take an ask that is in the book at or below its limit, meets its constraints, is large enough for a single
//! bid, and is another account's (its own too with [`SelfTrade::Allow`]). Of these the *frontier* are those that no other
//! *dominates*: costs no more, answers no later and is no slower, and is better in one of the three. Attributes are
//! effective ones. Asks that are equal in all three do not dominate each other.
//!
//! What else a bid must meet to be accepted (account, credits, limits, minimum quantity) is not looked at, nor its side:
//! an ask asks as a bid without demands.

use crate::book::{Demand, category_accepted, preference_rank};
use crate::flags::Flags;
use crate::ids::dense_index;
use crate::limits::{QUOTE_ASKS_MAX, QUOTE_CANDIDATES_MAX, QUOTE_SMALL_ASKS_MAX};
use crate::market::Market;
use crate::orders::{Hot, Slot};
use crate::trading::demand;
use crate::{
    AccountId, Engine, GpuClass, InstrumentState, NewOrder, OrderId, Precision, Preference, Price, Quantity, Region,
    RejectReason, SelfTrade,
};
use std::collections::BTreeMap;

/// An ask on the frontier of a bid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The ask.
    pub order: OrderId,
    /// Who would deliver.
    pub provider: AccountId,
    /// What a trade would cost, atoms a unit.
    pub price: Price,
    /// Effective milliseconds to the first token.
    pub latency_ms: u32,
    /// Effective tokens a second.
    pub throughput_tps: u32,
    /// What it runs on.
    pub gpu: GpuClass,
    /// Where it runs.
    pub region: Region,
    /// How precise the served weights are.
    pub precision: Precision,
    /// Units it has left.
    pub remaining: Quantity,
}

/// Why a bid would not take an ask first: the first rule that excludes it, in this order; or that it would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No open ask has that number.
    UnknownAsk,
    /// It is quoted on another market.
    OtherInstrument,
    /// The market takes no orders now.
    InstrumentNotOpen {
        /// The market's state.
        state: InstrumentState,
    },
    /// Its provider's breaker is not closed: the ask is out of the book.
    ProviderSuspended,
    /// It costs more than the bid's limit.
    Price {
        /// The limit; of a bid without one the reference price.
        limit: Price,
    },
    /// It answers later than the bid accepts.
    Latency {
        /// Its effective latency in milliseconds.
        effective: u32,
        /// The most that the bid accepts.
        max: u32,
    },
    /// It is slower than the bid accepts.
    Throughput {
        /// Its effective tokens a second.
        effective: u32,
        /// The fewest that the bid accepts.
        min: u32,
    },
    /// It runs on a GPU class that the bid does not accept.
    Gpu,
    /// It runs in a region that the bid does not accept.
    Region,
    /// It serves with a precision that the bid does not accept.
    Precision,
    /// It has too little left for a bid that takes all from one ask.
    Capacity {
        /// What it has left.
        remaining: Quantity,
        /// What the bid wants.
        wanted: Quantity,
    },
    /// It is the bidding account's own.
    SelfTrade,
    /// Another that the bid may take is at least as good in price, latency and throughput, and better in one.
    Dominated {
        /// Of all that dominate it the one that the bid would take first. It is on the frontier.
        by: OrderId,
    },
    /// It is on the frontier, but the bid takes another one first.
    NotPreferred {
        /// Which.
        chosen: OrderId,
    },
    /// The bid takes it first.
    Chosen,
}

impl Engine {
    /// The frontier for a bid, in the order in which the bid would take it: of the first [`QUOTE_ASKS_MAX`] asks that it
    /// may take, and at most [`QUOTE_CANDIDATES_MAX`] of them. What is told is exact, since whatever dominates an ask
    /// comes before it; of a large book it is the beginning.
    ///
    /// # Errors
    /// What placing the bid would be refused for: its market, its quantity, its weights or its limit.
    pub fn quote(&self, bid: &NewOrder) -> Result<Vec<Candidate>, RejectReason> {
        let (market, wanted) = self.quoted(bid)?;
        let mut frontier = self.undominated(self.feasible(market, bid, &wanted, QUOTE_ASKS_MAX));
        frontier.sort_unstable_by_key(|slot| preference_rank(wanted.preference, self.orders.hot(*slot)));
        Ok(frontier.into_iter().take(QUOTE_CANDIDATES_MAX).map(|slot| self.candidate(market, slot)).collect())
    }

    /// The bid's market and what it wants there.
    pub(crate) fn quoted(&self, bid: &NewOrder) -> Result<(&Market, Demand), RejectReason> {
        let market = self.quoted_market(bid).ok_or(RejectReason::UnknownInstrument)?;
        if market.state != InstrumentState::Open {
            return Err(RejectReason::InstrumentNotOpen { state: market.state });
        }
        market.check_quantity(bid.quantity)?;
        let ticks = limit_ticks(market, bid)?;
        let wanted = demand(&bid.terms, ticks, bid.quantity.0);
        if let Preference::Weights { price, latency, throughput } = wanted.preference
            && (price == 0 || latency == 0 || throughput == 0)
        {
            return Err(RejectReason::InvalidWeights);
        }
        Ok((market, wanted))
    }

    /// The ask that a bid would meet first, its own account's included; none in a market that is not open. Allocates
    /// nothing.
    #[inline]
    pub fn best_ask(&self, bid: &NewOrder) -> Option<OrderId> {
        let market = self.quoted_market(bid).filter(|market| market.state == InstrumentState::Open)?;
        let ticks = limit_ticks(market, bid).ok()?;
        let slot = market.book.best_ask(&self.orders, &demand(&bid.terms, ticks, bid.quantity.0))?;
        Some(OrderId(self.orders.hot(slot).id))
    }

    /// Why a bid would take, or not take, an ask first. A limit that is no price of the market counts as the next lower
    /// one. What comes behind [`QUOTE_ASKS_MAX`] asks of the bidding account itself is not looked at.
    pub fn explain(&self, bid: &NewOrder, ask: OrderId) -> Verdict {
        let Some(slot) = self.orders.find(ask).filter(|slot| self.orders.hot(*slot).flags.has(Flags::ASK)) else {
            return Verdict::UnknownAsk;
        };
        let hot = self.orders.hot(slot);
        let market = match self.quoted_market(bid) {
            Some(market) if bid.instrument == hot.instrument => market,
            Some(_) | None => return Verdict::OtherInstrument,
        };
        let limit = bid.limit.unwrap_or(market.spec().reference_price);
        let ticks = u32::try_from(limit.0 / market.spec().tick.0).unwrap_or(u32::MAX);
        let wanted = demand(&bid.terms, ticks, bid.quantity.0);
        if let Some(verdict) = self.excluded(market, bid, &wanted, slot) {
            return verdict;
        }
        let first = |wanted: &Demand| self.feasible(market, bid, wanted, 1).first().copied();
        let id = |slot: Slot| OrderId(self.orders.hot(slot).id);
        // Of those that are as good as it in everything, those that are better in something come first.
        let (ticks, latency_max_ms, throughput_min_tps) = (hot.ticks, hot.latency_ms, hot.throughput_tps);
        let as_good = Demand { ticks, latency_max_ms, throughput_min_tps, ..wanted };
        match (first(&as_good), first(&wanted)) {
            (Some(by), _) if dominates(self.orders.hot(by), hot) => Verdict::Dominated { by: id(by) },
            (_, Some(chosen)) if chosen != slot => Verdict::NotPreferred { chosen: id(chosen) },
            _ => Verdict::Chosen,
        }
    }

    /// The first rule that keeps a bid from an ask of its market.
    pub(crate) fn excluded(&self, market: &Market, bid: &NewOrder, wanted: &Demand, slot: Slot) -> Option<Verdict> {
        let (hot, limit) = (self.orders.hot(slot), bid.limit.unwrap_or(market.spec().reference_price));
        self.excluded_from_book(market, hot, limit, wanted.ticks)
            .or_else(|| self.unsuitable(slot, wanted))
            .or_else(|| is_own(bid, hot).then_some(Verdict::SelfTrade))
    }

    #[inline]
    fn quoted_market(&self, bid: &NewOrder) -> Option<&Market> {
        dense_index(bid.instrument.0).and_then(|index| self.markets.get(index))
    }

    /// The first `most` that the bid may take, in the order in which it takes them, if they are among those that are looked
    /// at.
    fn feasible(&self, market: &Market, bid: &NewOrder, wanted: &Demand, most: usize) -> Vec<Slot> {
        let (mut looked_at, mut feasible) = (0, Vec::new());
        market.book.visit_asks(&self.orders, wanted, QUOTE_SMALL_ASKS_MAX, |slot| {
            looked_at += 1;
            if !is_own(bid, self.orders.hot(slot)) {
                feasible.push(slot);
            }
            looked_at < QUOTE_ASKS_MAX && feasible.len() < most
        });
        feasible
    }

    /// The frontier of some asks. Sorted by price, latency and throughput, whatever dominates an ask comes before it; so
    /// it is enough to remember, for each latency, the most throughput of what came before.
    fn undominated(&self, mut asks: Vec<Slot>) -> Vec<Slot> {
        asks.sort_unstable_by_key(|slot| preference_rank(Preference::Price, self.orders.hot(*slot)));
        // Latencies ascend, and throughputs with them.
        let mut stairs: BTreeMap<u32, u32> = BTreeMap::new();
        let mut last = None;
        asks.retain(|slot| {
            let hot = self.orders.hot(*slot);
            let (latency_ms, throughput_tps) = (hot.latency_ms, hot.throughput_tps);
            let measures = (hot.ticks, latency_ms, throughput_tps);
            match last {
                Some((same, kept)) if same == measures => return kept,
                Some(_) | None => {}
            }
            let below = stairs.range(..=latency_ms).next_back();
            let kept = below.is_none_or(|(_, best)| *best < throughput_tps);
            if kept {
                while let Some((later, _)) =
                    stairs.range(latency_ms..).next().filter(|(_, best)| **best <= throughput_tps)
                {
                    let later = *later;
                    stairs.remove(&later);
                }
                stairs.insert(latency_ms, throughput_tps);
            }
            last = Some((measures, kept));
            kept
        });
        asks
    }

    pub(crate) fn candidate(&self, market: &Market, slot: Slot) -> Candidate {
        let (hot, promises) = (self.orders.hot(slot), self.orders.promises(slot));
        Candidate {
            order: OrderId(hot.id),
            provider: hot.account,
            price: market.price(hot.ticks),
            latency_ms: hot.latency_ms,
            throughput_tps: hot.throughput_tps,
            gpu: promises.gpu,
            region: promises.region,
            precision: promises.precision,
            remaining: Quantity(hot.remaining),
        }
    }

    /// Whether no bid of that limit meets an ask.
    fn excluded_from_book(&self, market: &Market, hot: &Hot, limit: Price, ticks: u32) -> Option<Verdict> {
        if market.state != InstrumentState::Open {
            return Some(Verdict::InstrumentNotOpen { state: market.state });
        }
        if hot.flags.has(Flags::PARKED) {
            return Some(Verdict::ProviderSuspended);
        }
        (hot.ticks > ticks).then_some(Verdict::Price { limit })
    }

    /// What of a bid's demands an ask does not meet.
    fn unsuitable(&self, slot: Slot, wanted: &Demand) -> Option<Verdict> {
        let (hot, own) = (self.orders.hot(slot), self.orders.cold(slot).category);
        if hot.latency_ms > wanted.latency_max_ms {
            return Some(Verdict::Latency { effective: hot.latency_ms, max: wanted.latency_max_ms });
        }
        if hot.throughput_tps < wanted.throughput_min_tps {
            return Some(Verdict::Throughput { effective: hot.throughput_tps, min: wanted.throughput_min_tps });
        }
        let kinds = [Verdict::Gpu, Verdict::Region, Verdict::Precision];
        for (at, verdict) in kinds.into_iter().enumerate() {
            let mut only = [0; 3];
            only[at] = wanted.category[at];
            if !category_accepted(&only, &own) {
                return Some(verdict);
            }
        }
        (hot.remaining < wanted.units)
            .then_some(Verdict::Capacity { remaining: Quantity(hot.remaining), wanted: Quantity(wanted.units) })
    }
}

/// The bid's limit in ticks, as when it is placed.
#[inline]
fn limit_ticks(market: &Market, bid: &NewOrder) -> Result<u32, RejectReason> {
    match bid.limit {
        Some(limit) => market.ticks(limit),
        None => Ok((market.spec().reference_price.0 / market.spec().tick.0) as u32), // At most LEVELS_MAX.
    }
}

pub(crate) fn is_own(bid: &NewOrder, ask: &Hot) -> bool {
    ask.account == bid.account && bid.self_trade != SelfTrade::Allow
}

/// Whether one is at least as good as the other in price, latency and throughput, and better in one.
pub(crate) fn dominates(one: &Hot, other: &Hot) -> bool {
    let measures = |hot: &Hot| (hot.ticks, hot.latency_ms, hot.throughput_tps);
    one.ticks <= other.ticks
        && one.latency_ms <= other.latency_ms
        && one.throughput_tps >= other.throughput_tps
        && measures(one) != measures(other)
}
