//! The frontier of a bid, found in bounded time: for asking the live engine, which has other things to do.
//!
//! A region of the market is the asks that answer no later than one bound and are no slower than another. Its cheapest ask,
//! ties broken by latency and throughput, is on the frontier: whatever dominated it would lie in the region and be
//! cheaper. What else is on the frontier answers sooner than that ask, or is faster: it lies in one of two smaller regions. So
//! the cheapest of all regions is taken again and again; a region that it lies in falls into those two, and one that lies
//! within another is left out. That makes two searches an ask found at most, however many asks there are.
//!
//! Deliberately absent: all asks that are equal in price, latency and throughput. The one that would be taken first stands for
//! them; [`Engine::quote`] lists them all, and looks at every ask to do so.

use crate::book::{Demand, preference_rank};
use crate::limits::QUOTE_SMALL_ASKS_MAX;
use crate::orders::Slot;
use crate::quote::{dominates, is_own};
use crate::{Candidate, Engine, NewOrder, Preference, RejectReason, Verdict};

/// Asks looked at beyond those that are found: own ones, and ones too small for a `single` bid. A millisecond or two of work.
const STEPS_MAX: usize = 4_000;

/// A frontier, or as much of it as was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    /// Its asks in the order in which the bid would take them. If it is not complete, those that cost the least.
    pub asks: Vec<Candidate>,
    /// Whether there are no others.
    pub complete: bool,
}

/// A region that holds an ask.
#[derive(Clone, Copy, Debug)]
struct Region {
    latency_max_ms: u32,
    throughput_min_tps: u32,
    cheapest: Slot,
}

type Bounds = (u32, u32);

/// Whether a region lies within another.
fn is_within((latency, throughput): Bounds, (other_latency, other_throughput): Bounds) -> bool {
    latency <= other_latency && throughput >= other_throughput
}

impl Region {
    fn bounds(&self) -> Bounds {
        (self.latency_max_ms, self.throughput_min_tps)
    }
}

impl Engine {
    /// At most `asks_max` asks of the frontier of a bid, in bounded time.
    ///
    /// # Errors
    /// As [`Engine::quote`].
    pub fn frontier(&self, bid: &NewOrder, asks_max: usize) -> Result<Frontier, RejectReason> {
        let (market, wanted) = self.quoted(bid)?;
        let mut steps = STEPS_MAX;
        let mut search = |(latency_max_ms, throughput_min_tps): Bounds| {
            let demand = Demand { latency_max_ms, throughput_min_tps, preference: Preference::Price, ..wanted };
            let found =
                market.book.first_ask(&self.orders, &demand, &mut steps, |slot| !is_own(bid, self.orders.hot(slot)));
            found.map(|cheapest| Region { latency_max_ms, throughput_min_tps, cheapest })
        };
        let mut regions: Vec<Region> = search((wanted.latency_max_ms, wanted.throughput_min_tps)).into_iter().collect();
        let (mut found, mut complete) = (Vec::new(), true);
        let cheapest = |regions: &[Region]| {
            let slots = regions.iter().map(|region| region.cheapest);
            slots.min_by_key(|slot| preference_rank(Preference::Price, self.orders.hot(*slot)))
        };
        while let Some(slot) = cheapest(&regions) {
            if found.len() == asks_max {
                complete = false;
                break;
            }
            found.push(slot);
            let hot = self.orders.hot(slot);
            let ask = (hot.latency_ms, hot.throughput_tps);
            let (split, mut kept): (Vec<Region>, Vec<Region>) =
                regions.into_iter().partition(|region| is_within(ask, region.bounds()));
            let mut parts: Vec<Bounds> = Vec::new();
            for (latency, throughput) in split.iter().map(Region::bounds) {
                parts.extend(ask.0.checked_sub(1).map(|sooner| (sooner, throughput)));
                parts.extend(ask.1.checked_add(1).map(|faster| (latency, faster)));
            }
            parts.sort_unstable();
            parts.dedup();
            let whole = |part: &Bounds| {
                let others = parts.iter().filter(|other| *other != part).copied();
                !others.chain(kept.iter().map(Region::bounds)).any(|other| is_within(*part, other))
            };
            let found_regions: Vec<Region> =
                parts.iter().filter(|part| whole(part)).filter_map(|part| search(*part)).collect();
            kept.extend(found_regions);
            regions = kept;
        }
        found.sort_unstable_by_key(|slot| preference_rank(wanted.preference, self.orders.hot(*slot)));
        let asks = found.into_iter().map(|slot| self.candidate(market, slot)).collect();
        Ok(Frontier { asks, complete: complete && steps > 0 })
    }

    /// The cheapest asks in the book that are not on a bid's frontier, at most `asks_max`, each with why the bid would not
    /// take it first: as [`Engine::explain`] says, but that of a frontier that is not complete an ask beyond it counts
    /// as not preferred.
    ///
    /// # Errors
    /// As [`Engine::quote`].
    pub fn explain_others(
        &self,
        bid: &NewOrder,
        frontier: &Frontier,
        asks_max: usize,
    ) -> Result<Vec<(Candidate, Verdict)>, RejectReason> {
        let (market, wanted) = self.quoted(bid)?;
        let any = Demand {
            ticks: u32::MAX - 1,
            latency_max_ms: u32::MAX,
            throughput_min_tps: 0,
            category: [0; 3],
            units: 0,
            preference: Preference::Price,
        };
        let mut others = Vec::new();
        let mut seen = 0;
        market.book.visit_asks(&self.orders, &any, QUOTE_SMALL_ASKS_MAX, |slot| {
            let ask = self.candidate(market, slot);
            if frontier.asks.iter().all(|listed| listed.order != ask.order) {
                let verdict = self.excluded(market, bid, &wanted, slot);
                others.push((ask, verdict.unwrap_or_else(|| self.outdone(slot, frontier))));
            }
            seen += 1;
            seen < asks_max + frontier.asks.len() && others.len() < asks_max
        });
        Ok(others)
    }

    /// Why a bid takes another ask than this one, which it could take.
    fn outdone(&self, slot: Slot, frontier: &Frontier) -> Verdict {
        let better = |listed: &&Candidate| {
            let other = self.orders.find(listed.order);
            other.is_some_and(|other| dominates(self.orders.hot(other), self.orders.hot(slot)))
        };
        match (frontier.asks.iter().find(better), frontier.asks.first()) {
            (Some(by), _) => Verdict::Dominated { by: by.order },
            (None, Some(chosen)) => Verdict::NotPreferred { chosen: chosen.order },
            (None, None) => Verdict::Chosen,
        }
    }
}
