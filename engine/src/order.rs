//! Orders and what they may demand of each other.

use crate::{AccountId, ClientOrderId, InstrumentId, OrderId, Price, Quantity};
use bincode::{Decode, Encode};

/// Which side of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Side {
    /// Buys.
    Bid,
    /// Sells.
    Ask,
}

/// How long an order may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum TimeInForce {
    /// Good till cancelled: what does not match rests.
    Gtc,
    /// Immediate or cancel: what does not match is dropped.
    Ioc,
}

/// A GPU class by its place in [`GpuClass::NAMES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct GpuClass(u8);

impl GpuClass {
    /// Known classes. Journaled as positions: append only.
    pub const NAMES: [&'static str; 11] =
        ["unspecified", "h100", "h200", "b200", "a100", "l40s", "l4", "a10", "rtx4090", "mi300x", "tpu"];

    /// The class of that name.
    pub fn from_name(name: &str) -> Option<GpuClass> {
        position(&Self::NAMES, name).map(GpuClass)
    }

    /// Its public name.
    pub fn name(self) -> &'static str {
        Self::NAMES.get(usize::from(self.0)).copied().unwrap_or("unspecified")
    }

    /// This class as a member of a set (see [`Constraints`]).
    pub fn bit(self) -> u32 {
        1_u32.checked_shl(u32::from(self.0)).unwrap_or(0)
    }
}

/// A region by its place in [`Region::NAMES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Region(u8);

impl Region {
    /// Known regions. Journaled as positions: append only.
    pub const NAMES: [&'static str; 8] = ["unspecified", "us", "eu", "uk", "ap", "sa", "me", "af"];

    /// The region of that name.
    pub fn from_name(name: &str) -> Option<Region> {
        position(&Self::NAMES, name).map(Region)
    }

    /// Its public name.
    pub fn name(self) -> &'static str {
        Self::NAMES.get(usize::from(self.0)).copied().unwrap_or("unspecified")
    }

    /// This region as a member of a set (see [`Constraints`]).
    pub fn bit(self) -> u32 {
        1_u32.checked_shl(u32::from(self.0)).unwrap_or(0)
    }
}

fn position(names: &[&str], name: &str) -> Option<u8> {
    names.iter().position(|known| *known == name).and_then(|index| u8::try_from(index).ok())
}

/// What an ask promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Attributes {
    /// Time to the first token, in milliseconds.
    pub latency_ms: u32,
    /// Tokens a second once they flow.
    pub throughput_tps: u32,
    /// What it runs on.
    pub gpu: GpuClass,
    /// Where it runs.
    pub region: Region,
}

/// What a bid demands of an ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Constraints {
    /// Most milliseconds to the first token.
    pub max_latency_ms: Option<u32>,
    /// Fewest tokens a second.
    pub min_throughput_tps: Option<u32>,
    /// Acceptable GPU classes as a set of [`GpuClass::bit`]; 0 accepts any.
    pub gpus: u32,
    /// Acceptable regions as a set of [`Region::bit`]; 0 accepts any.
    pub regions: u32,
}

impl Constraints {
    /// Whether an ask with these attributes may serve the bid.
    pub fn accept(&self, ask: &Attributes) -> bool {
        self.max_latency_ms.is_none_or(|max| ask.latency_ms <= max)
            && self.min_throughput_tps.is_none_or(|min| ask.throughput_tps >= min)
            && (self.gpus == 0 || self.gpus & ask.gpu.bit() != 0)
            && (self.regions == 0 || self.regions & ask.region.bit() != 0)
    }
}

/// What is particular to each side of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Terms {
    /// A bid.
    Bid {
        /// Demands on the ask.
        constraints: Constraints,
        /// The whole quantity must come from one ask: an inference request cannot be split.
        single: bool,
    },
    /// An ask.
    Ask {
        /// Promises.
        attributes: Attributes,
    },
}

impl Terms {
    /// The side these terms belong to.
    pub fn side(&self) -> Side {
        match self {
            Terms::Bid { .. } => Side::Bid,
            Terms::Ask { .. } => Side::Ask,
        }
    }
}

/// An order the engine accepted. While it is open `remaining` is above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Order {
    /// Its number.
    pub id: OrderId,
    /// Who placed it.
    pub account: AccountId,
    /// Where it trades.
    pub instrument: InstrumentId,
    /// The client's own id, if it gave one.
    pub client_id: Option<ClientOrderId>,
    /// The worst price it accepts.
    pub price: Price,
    /// Units ordered.
    pub quantity: Quantity,
    /// Units still open.
    pub remaining: Quantity,
    /// How long it may wait.
    pub time_in_force: TimeInForce,
    /// What is particular to its side.
    pub terms: Terms,
}

impl Order {
    /// Which side of the book it is on.
    pub fn side(&self) -> Side {
        self.terms.side()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_are_checked_one_by_one() {
        let h100 = GpuClass::from_name("h100").unwrap();
        let eu = Region::from_name("eu").unwrap();
        let ask = Attributes { latency_ms: 400, throughput_tps: 60, gpu: h100, region: eu };
        let accepts = |constraints: Constraints| constraints.accept(&ask);
        let any = Constraints::default();
        assert!(accepts(any));
        assert!(accepts(Constraints { max_latency_ms: Some(400), ..any }));
        assert!(!accepts(Constraints { max_latency_ms: Some(399), ..any }));
        assert!(accepts(Constraints { min_throughput_tps: Some(60), ..any }));
        assert!(!accepts(Constraints { min_throughput_tps: Some(61), ..any }));
        assert!(accepts(Constraints { gpus: h100.bit(), regions: eu.bit(), ..any }));
        assert!(!accepts(Constraints { gpus: GpuClass::from_name("a100").unwrap().bit(), ..any }));
        assert!(!accepts(Constraints { regions: Region::from_name("us").unwrap().bit(), ..any }));
    }

    #[test]
    fn names_round_trip() {
        for name in GpuClass::NAMES {
            assert_eq!(GpuClass::from_name(name).map(GpuClass::name), Some(name));
        }
        for name in Region::NAMES {
            assert_eq!(Region::from_name(name).map(Region::name), Some(name));
        }
        assert_eq!(GpuClass::from_name("abacus"), None);
    }
}
