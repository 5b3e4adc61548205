//! Orders and what they may demand of each other.

use crate::{AccountId, ClientOrderId, InstrumentId, KeyId, OrderId, Price, Quantity, Timestamp};
use bincode::{Decode, Encode};

/// Which side of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
pub enum Side {
    /// Buys.
    Bid,
    /// Sells.
    Ask,
}

/// How long an order may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
pub enum TimeInForce {
    /// Good till cancelled: what does not match rests.
    Gtc,
    /// Immediate or cancel: what does not match is dropped.
    Ioc,
    /// Fill or kill: the whole quantity matches at once, or nothing does.
    Fok,
    /// Good till a date: rests until that time at the latest.
    Gtd(Timestamp),
}

impl TimeInForce {
    /// Whether what does not match at once may rest.
    pub fn may_rest(self) -> bool {
        match self {
            TimeInForce::Gtc | TimeInForce::Gtd(_) => true,
            TimeInForce::Ioc | TimeInForce::Fok => false,
        }
    }
}

/// What happens when an arriving order would trade with a resting order of the same account. The arriving
/// order's mode decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
pub enum SelfTrade {
    /// The arriving order is cancelled; the resting one stays.
    #[default]
    CancelNewest,
    /// The resting order is cancelled; the arriving one goes on.
    CancelOldest,
    /// Both are cancelled.
    CancelBoth,
    /// Both shrink by the smaller of the two; whichever reaches zero is closed.
    Decrement,
    /// They trade.
    Allow,
}

/// A GPU class by its place in [`GpuClass::NAMES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct GpuClass(pub(crate) u8);

impl GpuClass {
    /// Known names. Journaled as positions: append only, at most 16 in all.
    pub const NAMES: [&'static str; 11] =
        ["unspecified", "h100", "h200", "b200", "a100", "l40s", "l4", "a10", "rtx4090", "mi300x", "tpu"];

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<GpuClass> {
        position(&Self::NAMES, name).map(GpuClass)
    }

    /// Its public name.
    pub fn name(self) -> &'static str {
        Self::NAMES.get(usize::from(self.0)).copied().unwrap_or("unspecified")
    }

    /// Itself as a member of a set (see [`Constraints`]); all beyond the last possible name share one bit.
    pub fn bit(self) -> u16 {
        1 << self.0.min(15)
    }
}

/// A region by its place in [`Region::NAMES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Region(pub(crate) u8);

impl Region {
    /// Known names. Journaled as positions: append only, at most 16 in all.
    pub const NAMES: [&'static str; 8] = ["unspecified", "us", "eu", "uk", "ap", "sa", "me", "af"];

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Region> {
        position(&Self::NAMES, name).map(Region)
    }

    /// Its public name.
    pub fn name(self) -> &'static str {
        Self::NAMES.get(usize::from(self.0)).copied().unwrap_or("unspecified")
    }

    /// Itself as a member of a set (see [`Constraints`]); all beyond the last possible name share one bit.
    pub fn bit(self) -> u16 {
        1 << self.0.min(15)
    }
}

/// A precision of the served weights by its place in [`Precision::NAMES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Precision(pub(crate) u8);

impl Precision {
    /// Known names. Journaled as positions: append only, at most 16 in all.
    pub const NAMES: [&'static str; 8] = ["unspecified", "fp32", "bf16", "fp16", "fp8", "int8", "fp4", "int4"];

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Precision> {
        position(&Self::NAMES, name).map(Precision)
    }

    /// Its public name.
    pub fn name(self) -> &'static str {
        Self::NAMES.get(usize::from(self.0)).copied().unwrap_or("unspecified")
    }

    /// Itself as a member of a set (see [`Constraints`]); all beyond the last possible name share one bit.
    pub fn bit(self) -> u16 {
        1 << self.0.min(15)
    }
}

fn position(names: &[&str], name: &str) -> Option<u8> {
    names.iter().position(|known| *known == name).and_then(|index| u8::try_from(index).ok())
}

/// What an ask promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
pub struct Attributes {
    /// Time to the first token, in milliseconds; 0 promises nothing that a rebate could be due for.
    pub latency_ms: u32,
    /// Tokens a second once they flow; 0 promises nothing.
    pub throughput_tps: u32,
    /// What it runs on.
    pub gpu: GpuClass,
    /// Where it runs.
    pub region: Region,
    /// How precise the served weights are.
    pub precision: Precision,
}

/// What a bid demands of an ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
pub struct Constraints {
    /// Most milliseconds to the first token.
    pub max_latency_ms: Option<u32>,
    /// Fewest tokens a second.
    pub min_throughput_tps: Option<u32>,
    /// Acceptable GPU classes as a set of [`GpuClass::bit`]; 0 accepts any.
    pub gpus: u16,
    /// Acceptable regions as a set of [`Region::bit`]; 0 accepts any.
    pub regions: u16,
    /// Acceptable precisions as a set of [`Precision::bit`]; 0 accepts any.
    pub precisions: u16,
}

impl Constraints {
    /// Whether they demand nothing.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.max_latency_ms.is_none()
            & self.min_throughput_tps.is_none()
            & (self.gpus | self.regions | self.precisions == 0)
    }

    /// Whether an ask with these attributes may serve the bid.
    pub fn accept(&self, ask: &Attributes) -> bool {
        self.max_latency_ms.is_none_or(|max| ask.latency_ms <= max)
            && self.min_throughput_tps.is_none_or(|min| ask.throughput_tps >= min)
            && (self.gpus == 0 || self.gpus & ask.gpu.bit() != 0)
            && (self.regions == 0 || self.regions & ask.region.bit() != 0)
            && (self.precisions == 0 || self.precisions & ask.precision.bit() != 0)
    }
}

/// Which of the asks that it may take a bid takes first. Every choice is on the Pareto frontier of
/// (price, latency, throughput); ties fall to the earlier in price, latency, throughput, time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
pub enum Preference {
    /// The cheapest.
    #[default]
    Price,
    /// The one with the least latency.
    Latency,
    /// The one with the most throughput.
    Throughput,
    /// The one with the least `price x ticks + latency x milliseconds - throughput x tokens a second`. Each weight
    /// is at least 1, so that a dominated ask never scores best.
    Weights {
        /// Weight of one tick of price.
        price: u16,
        /// Weight of one millisecond of latency.
        latency: u16,
        /// Weight of one token a second of throughput.
        throughput: u16,
    },
}

/// What is particular to each side of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "json", serde(rename_all = "snake_case"))]
pub enum Terms {
    /// A bid.
    Bid {
        /// Demands on the ask.
        constraints: Constraints,
        /// Which feasible ask it takes first.
        preference: Preference,
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
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
pub struct Order {
    /// Its number.
    pub id: OrderId,
    /// Who placed it.
    pub account: AccountId,
    /// The API key it was placed with.
    pub key: KeyId,
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
    /// It never takes: neither on arrival nor when it is replaced.
    pub post_only: bool,
    /// It is cancelled when its account's connection timer fires.
    pub cancel_on_disconnect: bool,
    /// What happens when it meets an order of its own account.
    pub self_trade: SelfTrade,
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
        let fp8 = Precision::from_name("fp8").unwrap();
        let ask = Attributes { latency_ms: 400, throughput_tps: 60, gpu: h100, region: eu, precision: fp8 };
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
        assert!(accepts(Constraints { precisions: fp8.bit(), ..any }));
        assert!(!accepts(Constraints { precisions: Precision::from_name("int4").unwrap().bit(), ..any }));
    }

    #[test]
    fn names_round_trip() {
        for name in GpuClass::NAMES {
            assert_eq!(GpuClass::from_name(name).map(GpuClass::name), Some(name));
        }
        for name in Region::NAMES {
            assert_eq!(Region::from_name(name).map(Region::name), Some(name));
        }
        for name in Precision::NAMES {
            assert_eq!(Precision::from_name(name).map(Precision::name), Some(name));
        }
        assert_eq!(GpuClass::from_name("abacus"), None);
    }
}
