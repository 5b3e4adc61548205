//! What can go wrong with a request on purpose.
//!
//! Each fault has a share of the requests. A request draws once, by the seed and its own number, so the same server
//! makes the same requests fail in each run, whatever the order in which they end.

use serde::{Deserialize, Serialize};

use super::options::MockOptions;
use crate::hash;

/// A whole in the unit of shares.
pub const PPM: u32 = 1_000_000;

/// One way in which a model server fails its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Answers 500 before any token.
    Fail,
    /// Answers 429 with `Retry-After` before any token.
    Refuse,
    /// Closes the connection before any byte of the answer.
    Drop,
    /// Cuts a stream off after some of its tokens, a plain answer in the middle.
    Die,
    /// Takes the request and never sends a byte.
    Stall,
    /// Answers 200 with bytes that are neither JSON nor events.
    Garbage,
    /// Answers 200 with one line of [`LONG_LINE_BYTES`](super::LONG_LINE_BYTES).
    EndlessLine,
    /// Sends tokens beyond the limit of the request and never ends.
    Endless,
    /// Sends the answer a byte at a time, one in [`DRIP_PAUSE`](super::DRIP_PAUSE).
    Drip,
}

impl Fault {
    /// Every fault, in the order in which shares are laid out.
    pub const ALL: [Fault; 9] = [
        Fault::Fail,
        Fault::Refuse,
        Fault::Drop,
        Fault::Die,
        Fault::Stall,
        Fault::Garbage,
        Fault::EndlessLine,
        Fault::Endless,
        Fault::Drip,
    ];

    /// Its name in [`MockStats::outcomes`](super::MockStats::outcomes).
    pub const fn name(self) -> &'static str {
        match self {
            Fault::Fail => "fail",
            Fault::Refuse => "refuse",
            Fault::Drop => "drop",
            Fault::Die => "die",
            Fault::Stall => "stall",
            Fault::Garbage => "garbage",
            Fault::EndlessLine => "endless_line",
            Fault::Endless => "endless",
            Fault::Drip => "drip",
        }
    }
}

/// What happens to the request with this number.
pub(crate) fn draw(options: &MockOptions, number: u64) -> Option<Fault> {
    let drawn = hash::draw_below(options.seed, number, u64::from(PPM));
    let mut end = 0;
    Fault::ALL.into_iter().find(|fault| {
        end += u64::from(options.share_ppm(*fault));
        drawn < end
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_its_share_and_the_rest_have_none() {
        let options = MockOptions {
            failure_rate_ppm: 100_000,
            die_rate_ppm: 200_000,
            drip_rate_ppm: 50_000,
            ..MockOptions::default()
        };
        let mut counts = std::collections::BTreeMap::new();
        for number in 0..10_000 {
            *counts.entry(draw(&options, number)).or_insert(0) += 1;
        }
        let count = |fault| counts[&fault];
        assert_eq!(counts.len(), 4, "{counts:?}");
        assert!((850..1_150).contains(&count(Some(Fault::Fail))), "{counts:?}");
        assert!((1_800..2_200).contains(&count(Some(Fault::Die))), "{counts:?}");
        assert!((400..600).contains(&count(Some(Fault::Drip))), "{counts:?}");
        assert!((6_200..6_800).contains(&count(None)), "{counts:?}");
    }

    #[test]
    fn shares_of_one_are_exact() {
        for (number, fault) in (0..).zip(Fault::ALL) {
            let options = MockOptions::default().with_share(fault, PPM);
            assert_eq!(draw(&options, number), Some(fault));
        }
    }
}
