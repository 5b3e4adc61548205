//! Segments: one index for each category of orders, and what a search that accepts many categories needs to skip most.
//!
//! A category is one of 4,096: a digit of 16 in each of three groups. A bid accepts a set of digits in each group, so its
//! asks may be in hundreds of segments, few of which matter. Kept for each segment, side by side:
//!
//! | what | rules out |
//! |---|---|
//! | its category, its least price and attributes | what is not accepted, or cannot score as well as what is found already |
//! | its first entries (*heads*) | most that compete by price: where many categories do, few entries of each are good enough |
//! | its column of a directory: the least code of `b` up to a code of `a` | what has nothing within the attributes |
//!
//! Invariants: a segment is here while it has an entry; heads are its first entries in rank order; floors and column are
//! exact. Their order says nothing: the last takes the place of one that goes.
//!
//! Deliberately absent: what the categories mean.

use super::codes::LANES;
use super::directory::Directory;
use super::few::{Few, Standing};
use super::leaf::bits;
use super::score::Floors;
use super::{Entry, ParetoIndex, Query, Rank, Source};

/// First entries of a segment that are kept apart.
const HEADS: usize = 4;
/// No head: no query reaches it.
const NO_HEAD: Entry = Entry { price: u32::MAX, a: u32::MAX, b: u32::MAX, slot: u32::MAX };
const LAST_HEAD: usize = HEADS - 1;
const NO_PLACE: u16 = u16::MAX;
const RANK: Rank = Rank::Attributes;

/// A set of digits for each of three groups, 16 bits each.
pub(crate) type Categories = u64;

/// The category with these digits, 4 bits each, as a set.
pub(super) fn only(category: u32) -> Categories {
    [0, 4, 8].iter().fold(0, |set, shift| set | 1 << (4 * shift + ((category >> shift) & 15)))
}

/// The digits of the category in a set of one.
fn digits(only: Categories) -> u32 {
    [0, 4, 8].iter().fold(0, |digits, shift| digits | ((only >> (4 * shift)) as u16).trailing_zeros() << shift)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Summary {
    category: Categories,
    floors: Floors,
}

impl Summary {
    fn is_among(&self, accepted: Categories) -> bool {
        self.category & !accepted == 0
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    /// Where the segment of each category is.
    places: Vec<u16>,
    /// All that follows is by segment.
    summaries: Vec<Summary>,
    heads: Vec<[Entry; HEADS]>,
    directory: Directory,
    indexes: Vec<ParetoIndex>,
    /// Empty indexes that keep their memory for the next segment.
    spare: Vec<ParetoIndex>,
}

impl Segments {
    /// Whether there is no entry at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    /// Lowest price key.
    pub(crate) fn best_price(&self) -> Option<u32> {
        self.summaries.iter().map(|summary| summary.floors.price).min()
    }

    /// Adds an entry to its category, as [`ParetoIndex::insert`].
    pub(crate) fn insert(&mut self, category: u32, entry: Entry, quantity: u64) {
        let at = self.place_of(category).unwrap_or_else(|| self.open(category));
        self.indexes[at].insert(entry, quantity);
        let floors = &mut self.summaries[at].floors;
        *floors = Floors { price: floors.price.min(entry.price), a: floors.a.min(entry.a), b: floors.b.min(entry.b) };
        self.renew_heads(at, &entry);
        let (code, mut column) = (RANK.b_code(entry.b), self.directory.column(at));
        for a_code in RANK.a_code(entry.a)..super::codes::A_CODES {
            if column.get(a_code) <= code {
                break;
            }
            column.set(a_code, code);
        }
    }

    /// Removes an entry from its category, as [`ParetoIndex::remove`].
    pub(crate) fn remove(&mut self, category: u32, entry: Entry, time: impl Fn(u32) -> u64) {
        let at = crate::invariant(self.place_of(category), "a removed entry has its segment");
        let index = &mut self.indexes[at];
        index.remove(entry, time);
        if index.is_empty() {
            return self.close(category, at);
        }
        let (code, mut column) = (RANK.b_code(entry.b), self.directory.column(at));
        for a_code in RANK.a_code(entry.a)..super::codes::A_CODES {
            // No entry within a higher code of `a` was, or is now, worse.
            if column.get(a_code) != code {
                break;
            }
            let least = index.least_code(a_code);
            if least == code {
                break;
            }
            column.set(a_code, least);
        }
        let floors = self.summaries[at].floors;
        if entry.price == floors.price || entry.a == floors.a || entry.b == floors.b {
            self.summaries[at].floors = index.all_floors();
        }
        self.renew_heads(at, &entry);
    }

    /// As [`ParetoIndex::resize`].
    pub(crate) fn resize(&mut self, category: u32, entry: Entry, quantity: u64, time: impl Fn(u32) -> u64) {
        let at = crate::invariant(self.place_of(category), "a resized entry has its segment");
        self.indexes[at].resize(entry, quantity, time);
    }

    fn place_of(&self, category: u32) -> Option<usize> {
        self.places.get(category as usize).filter(|&&place| place != NO_PLACE).map(|&place| usize::from(place))
    }

    fn open(&mut self, category: u32) -> usize {
        let (at, known) = (self.indexes.len(), category as usize + 1);
        if self.places.len() < known {
            self.places.resize(known, NO_PLACE);
        }
        self.places[category as usize] = at as u16; // Below the number of categories.
        let none = Floors { price: u32::MAX, a: u32::MAX, b: u32::MAX };
        self.summaries.push(Summary { category: only(category), floors: none });
        self.heads.push([NO_HEAD; HEADS]);
        self.directory.open(at);
        self.indexes.push(self.spare.pop().unwrap_or_else(|| ParetoIndex::new(RANK)));
        at
    }

    /// Takes out an empty segment.
    fn close(&mut self, category: u32, at: usize) {
        self.places[category as usize] = NO_PLACE;
        self.summaries.swap_remove(at);
        self.heads.swap_remove(at);
        self.directory.close_unordered(at);
        self.spare.push(self.indexes.swap_remove(at));
        if let Some(moved) = self.summaries.get(at) {
            self.places[digits(moved.category) as usize] = at as u16;
        }
    }

    /// An entry came or went: finds the heads anew if it is, or was, one of them.
    fn renew_heads(&mut self, at: usize, entry: &Entry) {
        let heads = &mut self.heads[at];
        if RANK.key(entry) <= RANK.key(&heads[LAST_HEAD]) {
            *heads = [NO_HEAD; HEADS];
            heads.iter_mut().zip(self.indexes[at].iter()).for_each(|(head, entry)| *head = entry);
        }
    }

    /// Offers a list the feasible entries of accepted categories that it wants.
    pub(crate) fn search<S: Source, const N: usize>(
        &self,
        accepted: Categories,
        query: &Query,
        source: &S,
        few: &mut Few<N>,
    ) {
        debug_assert!(query.limit < u32::MAX, "no price reaches what stands for no entry");
        match (self.summaries.as_slice(), self.indexes.as_slice()) {
            ([summary], [index]) => {
                if summary.is_among(accepted) {
                    index.search(query, source, few);
                }
            }
            _ if query.weights == [0; 3] => self.search_by_price(accepted, query, source, few),
            _ => self.search_by_score(accepted, query, source, few),
        }
    }

    /// Rank order alone: the heads of all segments first, then what comes after the heads.
    fn search_by_price<S: Source, const N: usize>(
        &self,
        accepted: Categories,
        query: &Query,
        source: &S,
        few: &mut Few<N>,
    ) {
        let mut limit = few.limit(query);
        for (summary, heads) in self.summaries.iter().zip(&self.heads) {
            if summary.floors.price > limit || !summary.is_among(accepted) {
                continue;
            }
            for head in heads.iter().take_while(|head| head.price <= limit) {
                let fits = head.a <= query.a_max && head.b <= query.b_max;
                if fits && source.units(head.slot) >= query.quantity && !few.offer(standing(head, source), head.slot) {
                    break;
                }
            }
            limit = few.limit(query);
        }
        for at in self.within(*query) {
            let (summary, limit) = (&self.summaries[at], few.limit(query));
            if summary.floors.price > limit || !summary.is_among(accepted) {
                continue;
            }
            let last = &self.heads[at][LAST_HEAD];
            if *last != NO_HEAD && last.price <= limit {
                let from = few.after().max(Some(standing(last, source)));
                self.indexes[at].search_from(from, query, source, few);
            }
        }
    }

    /// The segment with the lowest bound first; what it holds rules out most others.
    fn search_by_score<S: Source, const N: usize>(
        &self,
        accepted: Categories,
        query: &Query,
        source: &S,
        few: &mut Few<N>,
    ) {
        let is_candidate = |summary: &Summary| summary.floors.price <= query.limit && summary.is_among(accepted);
        let candidates = || self.within(*query).filter(|&at| is_candidate(&self.summaries[at]));
        let Some(first) = candidates().min_by_key(|&at| query.bound(&self.summaries[at].floors)) else { return };
        self.indexes[first].search(query, source, few);
        for at in candidates().filter(|&at| at != first) {
            let first = &self.heads[at][0];
            let most = few.most(RANK.key(first), || source.time(first.slot));
            let Some(narrow) = most.and_then(|most| query.within(most, &self.summaries[at].floors)) else { continue };
            if self.directory.get(RANK.a_code(narrow.a_max), at) <= RANK.b_code(narrow.b_max) {
                self.indexes[at].search(&narrow, source, few);
            }
        }
    }

    /// Segments that may have an entry within the attributes.
    fn within(&self, query: Query) -> impl Iterator<Item = usize> {
        let (a_code, b_code) = (RANK.a_code(query.a_max), RANK.b_code(query.b_max));
        let words = (0..).map_while(move |word| Some((word, self.directory.word(word, a_code, b_code)?.0)));
        words.flat_map(|(word, segments)| bits(segments).map(move |at| word * LANES + at))
    }

    /// All feasible entries of accepted categories, by segment.
    pub(crate) fn feasible(&self, accepted: Categories, query: Query) -> impl Iterator<Item = Entry> {
        let segments = self.within(query).filter(move |&at| self.summaries[at].is_among(accepted));
        segments.flat_map(move |at| self.indexes[at].feasible(query))
    }
}

fn standing(entry: &Entry, source: &impl Source) -> Standing {
    Standing { score: 0, key: RANK.key(entry), time: source.time(entry.slot) }
}

#[cfg(test)]
impl Segments {
    /// Checks what is kept of each segment against its entries.
    pub(super) fn check(&self) {
        assert!(self.summaries.len() == self.indexes.len() && self.heads.len() == self.indexes.len());
        assert_eq!(self.places.iter().filter(|&&place| place != NO_PLACE).count(), self.indexes.len());
        for (at, index) in self.indexes.iter().enumerate() {
            let summary = self.summaries[at];
            assert_eq!(self.place_of(digits(summary.category)), Some(at), "segment {at} has its place");
            assert!(!index.is_empty() && summary.floors == index.all_floors());
            let least = |measure: fn(Entry) -> u32| index.iter().map(measure).min().unwrap();
            assert_eq!(summary.floors, Floors { price: least(|e| e.price), a: least(|e| e.a), b: least(|e| e.b) });
            let heads = index.iter().chain(std::iter::repeat(NO_HEAD)).take(HEADS);
            assert!(heads.eq(self.heads[at]), "the heads of segment {at}");
            for code in 0..super::codes::A_CODES {
                let least = index.iter().filter(|e| RANK.a_code(e.a) <= code).map(|e| RANK.b_code(e.b)).min();
                assert_eq!(self.directory.get(code, at), least.unwrap_or(u8::MAX), "segment {at}, code {code}");
            }
        }
    }

    /// Indexes kept for later.
    pub(super) fn spare(&self) -> usize {
        self.spare.len()
    }
}
