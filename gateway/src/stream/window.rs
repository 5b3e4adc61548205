//! The best levels of a book that one channel shows, and which of them changed.
//!
//! Invariant: what is shown of a side is its best `depth` levels, or all if there are fewer. A level that leaves the window
//! is told as gone, one that enters it as new, so whoever applies the changes has exactly the window.

use crate::stream::book::{Book, Half, Level, Rank};
use gollem_engine::Side;
use std::collections::BTreeMap;

/// Levels that changed, with what is there now; nothing for one that is gone. Levels told as gone may be unknown to the
/// reader.
pub(super) type Changes = BTreeMap<(Side, Rank), Option<Level>>;

/// What is shown of both sides.
#[derive(Clone, Debug)]
pub(super) struct Window {
    depth: usize,
    bids: Shown,
    asks: Shown,
    pub(super) changes: Changes,
}

/// What is shown of one side: so many levels, and the rank of the last of them.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    count: usize,
    last: Option<Rank>,
}

impl Shown {
    fn of(half: &Half, depth: usize) -> Shown {
        let count = half.len().min(depth);
        Shown { count, last: count.checked_sub(1).and_then(|last| half.keys().nth(last)).copied() }
    }

    fn covers(&self, rank: Rank) -> bool {
        self.last.is_some_and(|last| rank <= last)
    }
}

impl Window {
    /// The window on a book as it is.
    pub(super) fn new(book: &Book, depth: usize) -> Window {
        let (bids, asks) = (Shown::of(book.half(Side::Bid), depth), Shown::of(book.half(Side::Ask), depth));
        Window { depth, bids, asks, changes: Changes::new() }
    }

    /// Notes what a change means for the window. The book has changed already; `before` is what it had at that rank.
    pub(super) fn follow(&mut self, book: &Book, side: Side, rank: Rank, before: Option<Level>) {
        let half = book.half(side);
        let shown = match side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        };
        let now = half.get(&rank).copied();
        match (before, now) {
            (None, None) => {}
            (Some(_), Some(_)) => {
                if shown.covers(rank) {
                    self.changes.insert((side, rank), now);
                }
            }
            (None, Some(_)) if shown.count < self.depth => {
                shown.count += 1;
                shown.last = shown.last.max(Some(rank));
                self.changes.insert((side, rank), now);
            }
            (None, Some(_)) => {
                let Some(pushed_out) = shown.last.filter(|last| rank < *last) else { return };
                self.changes.insert((side, rank), now);
                self.changes.insert((side, pushed_out), None);
                shown.last = half.range(..pushed_out).next_back().map(|(rank, _)| *rank);
            }
            (Some(_), None) => {
                let Some(last) = shown.last.filter(|last| rank <= *last) else { return };
                self.changes.insert((side, rank), None);
                match half.range(last..).find(|(next, _)| **next > last) {
                    Some((next, level)) => {
                        self.changes.insert((side, *next), Some(*level));
                        shown.last = Some(*next);
                    }
                    None => {
                        shown.count -= 1;
                        shown.last = half.range(..=last).next_back().map(|(rank, _)| *rank);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod property_tests {
    use super::*;
    use gollem_engine::Price;
    use proptest::prelude::*;

    /// What a reader has who was given `changes` on top of `book`.
    pub(in crate::stream) fn apply(book: &mut Book, changes: &Changes) {
        for ((side, rank), level) in changes {
            book.set(*side, *rank, *level);
        }
    }

    /// The best `depth` levels a side, found anew.
    fn best(book: &Book, depth: usize) -> Book {
        let mut shown = Book::default();
        for side in [Side::Bid, Side::Ask] {
            for (rank, level) in book.half(side).iter().take(depth) {
                shown.set(side, *rank, Some(*level));
            }
        }
        shown
    }

    proptest! {
        #[test]
        fn whoever_applies_the_changes_has_the_window_however_they_are_merged(
            depth in 1_usize..6,
            early in 0_usize..40,
            steps in prop::collection::vec((any::<bool>(), 1_u64..14, 0_u64..4, any::<bool>()), 1..120),
        ) {
            let mut book = Book::default();
            let mut window: Option<Window> = None;
            let (mut reader, mut late, mut merged) = (Book::default(), Book::default(), Changes::new());
            for (number, (bid, price, quantity, told)) in steps.into_iter().enumerate() {
                if number == early {
                    window = Some(Window::new(&book, depth));
                    (reader, late) = (best(&book, depth), best(&book, depth));
                }
                let side = if bid { Side::Bid } else { Side::Ask };
                let rank = Rank::of(side, Price(price));
                let level = (quantity > 0).then_some(Level { quantity, orders: 1 });
                let before = book.set(side, rank, level);
                let Some(window) = &mut window else { continue };
                window.follow(&book, side, rank, before);
                if told {
                    let changes = std::mem::take(&mut window.changes);
                    apply(&mut reader, &changes);
                    // A slow reader gets the latest state of each level that was touched.
                    merged.extend(changes);
                    prop_assert_eq!(&reader, &best(&book, depth));
                }
            }
            if let Some(mut window) = window {
                apply(&mut reader, &window.changes);
                merged.extend(std::mem::take(&mut window.changes));
                apply(&mut late, &merged);
                prop_assert_eq!(&reader, &best(&book, depth));
                prop_assert_eq!(&late, &reader);
                prop_assert_eq!(late.checksum(), best(&book, depth).checksum());
            }
        }
    }
}
