//! The books and the bids that meet them: what is drawn, from a seed.
//!
//! The `number`th ask of a book plays the same part whenever it is drawn again: a tiny one stays tiny.

use crate::pareto::exchange::Ask;
use crate::random::Random;
use gollem_engine::{Attributes, Constraints, GpuClass, Precision, Region};

/// Units of an ask that is large enough; two bids fit into it.
const LARGE: u64 = 2 * WANTED;
/// Units of every bid.
pub(crate) const WANTED: u64 = 500;
/// Most asks that are equal in everything.
const EQUAL_MAX: usize = 10_000;
/// What asks and bids of a plain book say.
const PLAIN: (u32, u32) = (400, 60);
/// Asks of which constraints are drawn, and pairs of constraints for each share.
const SAMPLE: usize = 20_000;
const PAIRS: usize = 64;
/// Bids for each share; a measurement goes round.
const BIDS: usize = 4_096;

/// A book, and the bids that meet it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Case {
    /// Price, latency and throughput have nothing to do with each other
    Independent,
    /// Cheap is slow
    Anti,
    /// 64 kinds of asks, close together
    Clustered,
    /// No ask dominates another and every bid misses one by a millisecond; attributes of any size
    MissWide,
    /// The same with attributes up to 200,000
    MissNarrow,
    /// A tenth of the asks, the best in everything, are too small for every bid
    Tiny,
    /// All asks but one in 64 are too small for every bid, and that one is too slow
    TinyMixed,
    /// A tenth of the asks, the cheapest of a plain book, are too small for every bid
    TinyPlain,
    /// Up to 10,000 asks, the cheapest, are equal in everything
    Equal,
    /// Every GPU class, region and precision there is
    Categories,
    /// All asks promise the same: price-time priority
    Plain,
}

/// Bids of a book that about the same share of the asks could serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Its name.
    pub(crate) name: &'static str,
    /// Of a thousand asks, how many.
    per_mille: usize,
}

const TENTH: Share = Share { name: "10%", per_mille: 100 };
const HUNDREDTH: Share = Share { name: "1%", per_mille: 10 };
const THOUSANDTH: Share = Share { name: "0.1%", per_mille: 1 };
const NONE: Share = Share { name: "miss", per_mille: 0 };
const ALL: Share = Share { name: "100%", per_mille: 1_000 };

impl Case {
    /// All of them.
    pub(crate) const ALL: [Case; 11] = [
        Case::Independent,
        Case::Anti,
        Case::Clustered,
        Case::MissWide,
        Case::MissNarrow,
        Case::Tiny,
        Case::TinyMixed,
        Case::TinyPlain,
        Case::Equal,
        Case::Categories,
        Case::Plain,
    ];

    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Case::Independent => "independent",
            Case::Anti => "anti",
            Case::Clustered => "clustered",
            Case::MissWide => "miss-wide",
            Case::MissNarrow => "miss-narrow",
            Case::Tiny => "tiny",
            Case::TinyMixed => "tiny-mixed",
            Case::TinyPlain => "tiny-plain",
            Case::Equal => "equal",
            Case::Categories => "categories",
            Case::Plain => "plain",
        }
    }

    /// What the bids ask for.
    pub(crate) fn shares(self) -> &'static [Share] {
        match self {
            Case::Independent | Case::Anti | Case::Clustered | Case::Tiny => &[TENTH, HUNDREDTH, THOUSANDTH],
            Case::MissWide | Case::MissNarrow | Case::TinyMixed => &[NONE],
            Case::Equal | Case::Categories => &[HUNDREDTH],
            Case::TinyPlain | Case::Plain => &[ALL],
        }
    }

    /// Whether an ask that dominates all is posted and cancelled too.
    pub(crate) fn posts_best(self) -> bool {
        matches!(self, Case::Anti | Case::MissWide | Case::MissNarrow | Case::Plain)
    }

    /// Where a bid may have to look at much of the book: the part of the commands that is measured.
    pub(crate) fn part(self) -> usize {
        match self {
            Case::Categories => 10,
            Case::TinyMixed => 40,
            Case::TinyPlain => 200,
            _ => 1,
        }
    }

    /// Which asks are cancelled at random.
    pub(crate) fn cancelled(self, asks: usize) -> std::ops::Range<usize> {
        match self {
            Case::Equal => 1..asks.min(EQUAL_MAX + 1),
            _ => 0..asks,
        }
    }

    /// One ask.
    pub(crate) fn ask(self, random: &mut Random, number: usize) -> Ask {
        match self {
            Case::Independent => independent(random, 1, LARGE),
            Case::Anti => anti(random, 1),
            Case::Clustered => clustered(random),
            Case::MissWide => equal_pair(random, u64::from(u32::MAX)),
            Case::MissNarrow => equal_pair(random, 200_000),
            Case::Tiny if number.is_multiple_of(10) => {
                let ticks = below(random, 1_000) + 1;
                ask(ticks, 10 + below(random, 40), 1_001 + below(random, 1_000), tiny(random))
            }
            Case::Tiny => independent(random, 1_001, LARGE),
            Case::TinyMixed if number.is_multiple_of(64) => {
                let ticks = below(random, 1_000_000) + 1;
                ask(ticks, 20_000 + below(random, 1_000), 1_000 + below(random, 1_000), LARGE)
            }
            Case::TinyMixed => independent(random, 1, 99),
            Case::TinyPlain if number.is_multiple_of(10) => {
                ask(below(random, 1_000) + 1, PLAIN.0, PLAIN.1, tiny(random))
            }
            Case::TinyPlain => ask(below(random, 1_000_000) + 1_001, PLAIN.0, PLAIN.1, LARGE),
            Case::Equal if (1..=EQUAL_MAX).contains(&number) => ask(1_000, 10_000, 100, LARGE),
            Case::Equal => anti(random, 1_001),
            Case::Categories => Ask { attributes: categorized(random), ..independent(random, 1, LARGE) },
            Case::Plain => ask(below(random, 1_000_000) + 1, PLAIN.0, PLAIN.1, LARGE),
        }
    }

    /// What bids demand that about this share of the asks meet.
    pub(crate) fn bids(self, random: &mut Random, asks: &[Ask], share: Share) -> Vec<Constraints> {
        let any = |random: &mut Random| asks[below(random, asks.len() as u64) as usize].attributes;
        match self {
            Case::MissWide | Case::MissNarrow => {
                let near = (0..BIDS).map(|_| any(random));
                near.map(|near| demand(near.latency_ms.saturating_sub(1), near.throughput_tps)).collect()
            }
            Case::TinyMixed => (0..BIDS).map(|_| demand(3_050 + below(random, 5_000), 300)).collect(),
            Case::Equal => vec![demand(10_000, 100)],
            Case::TinyPlain | Case::Plain => vec![demand(PLAIN.0, PLAIN.1)],
            _ => {
                let pairs = pairs(random, asks, share);
                (0..BIDS).map(|at| demand(pairs[at % PAIRS].0 + below(random, 4), pairs[at % PAIRS].1)).collect()
            }
        }
    }
}

/// Pairs of a greatest latency and a least throughput that the share of the asks meets.
fn pairs(random: &mut Random, asks: &[Ask], share: Share) -> Vec<(u32, u32)> {
    let sample: Vec<Ask> = (0..SAMPLE).map(|_| asks[below(random, asks.len() as u64) as usize]).collect();
    let large: Vec<Attributes> = sample.iter().filter(|ask| ask.quantity >= WANTED).map(|ask| ask.attributes).collect();
    let wanted = sample.len() * share.per_mille / 1_000;
    let pair = |_| loop {
        let latency = large[below(random, large.len() as u64) as usize].latency_ms;
        let mut within: Vec<u32> =
            large.iter().filter(|ask| ask.latency_ms <= latency).map(|ask| ask.throughput_tps).collect();
        if within.len() > wanted {
            within.sort_unstable_by(|one, other| other.cmp(one));
            return (latency, within[wanted]);
        }
    };
    (0..PAIRS).map(pair).collect()
}

fn below(random: &mut Random, bound: u64) -> u32 {
    random.below(bound) as u32 // Bounds here fit.
}

fn tiny(random: &mut Random) -> u64 {
    random.between(1, 99)
}

fn ask(ticks: u32, latency_ms: u32, throughput_tps: u32, quantity: u64) -> Ask {
    Ask { ticks, attributes: Attributes { latency_ms, throughput_tps, ..Attributes::default() }, quantity }
}

fn independent(random: &mut Random, cheapest: u32, quantity: u64) -> Ask {
    let ticks = cheapest + below(random, 1_000_000);
    ask(ticks, 50 + below(random, 10_000), 1 + below(random, 1_000), quantity)
}

fn anti(random: &mut Random, cheapest: u32) -> Ask {
    let quality = below(random, 900_000);
    let ticks = cheapest + quality + below(random, 100_000);
    let latency_ms = 50 + (900_000 - quality) / 90 + below(random, 1_500);
    ask(ticks, latency_ms, 1 + quality / 900 + below(random, 150), LARGE)
}

fn clustered(random: &mut Random) -> Ask {
    let mut center = Random::new(random.below(64) + 77);
    let (ticks, latency_ms) = (below(&mut center, 1_000_000), below(&mut center, 9_000));
    let throughput_tps = below(&mut center, 900);
    let (ticks, latency_ms) = (1 + ticks + below(random, 20_000), 50 + latency_ms + below(random, 300));
    ask(ticks, latency_ms, 1 + throughput_tps + below(random, 50), LARGE)
}

/// An ask that is as slow as it is fast, so that no two of a price dominate each other.
fn equal_pair(random: &mut Random, bound: u64) -> Ask {
    let both = 1 + below(random, bound);
    ask(below(random, 1_000_000) + 1, both, both, LARGE)
}

fn categorized(random: &mut Random) -> Attributes {
    let mut name = |names: &[&'static str]| names[below(random, names.len() as u64) as usize];
    let (gpu, region, precision) = (name(&GpuClass::NAMES), name(&Region::NAMES), name(&Precision::NAMES));
    Attributes {
        latency_ms: 50 + below(random, 10_000),
        throughput_tps: 1 + below(random, 1_000),
        gpu: GpuClass::from_name(gpu).unwrap_or_default(),
        region: Region::from_name(region).unwrap_or_default(),
        precision: Precision::from_name(precision).unwrap_or_default(),
    }
}

fn demand(latency_ms: u32, throughput_tps: u32) -> Constraints {
    Constraints { max_latency_ms: Some(latency_ms), min_throughput_tps: Some(throughput_tps), ..Constraints::default() }
}
