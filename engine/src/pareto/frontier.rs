//! A frontier: the pairs `(a, b)` that can answer "does a block hold an entry this good?", exactly and fast.
//!
//! Holds the fronts of all leaves of a block: a multiset of pairs sorted by `a`, then `b`, in chunks of up to 32, with
//! the least `b` of each chunk and of all chunks up to it.
//! A search reads the chunk that `a_max` falls in and one number of the chunks before it.
//!
//! Invariants: no chunk is empty; each has its fence; the unused places of a chunk hold the greatest pair.
//!
//! Deliberately absent: which entry a pair belongs to, and pairs beaten within their leaf. An ask that nothing beats
//! costs 8 bytes here; the usual ask costs nothing.

const CHUNK: usize = 32;
/// Two neighbouring chunks this small together become one.
const MERGED: usize = 24;

#[derive(Clone, Copy, Debug)]
struct Chunk {
    a: [u32; CHUNK],
    b: [u32; CHUNK],
    len: usize,
}

const EMPTY: Chunk = Chunk { a: [u32::MAX; CHUNK], b: [u32::MAX; CHUNK], len: 0 };

impl Chunk {
    fn least(&self) -> u32 {
        self.b.iter().fold(u32::MAX, |least, &b| least.min(b))
    }

    /// How many pairs come before this one.
    fn rank(&self, a: u32, b: u32) -> usize {
        (0..self.len).filter(|&i| (self.a[i], self.b[i]) < (a, b)).count()
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Frontier {
    fences: Vec<Fence>,
    chunks: Vec<Chunk>,
}

/// What a search needs of a chunk and of those before it.
#[derive(Clone, Copy, Debug)]
struct Fence {
    /// The chunk's first pair.
    low: u64,
    /// The least `b` of this chunk and all before it.
    least: u32,
    /// The least `b` of this chunk.
    own: u32,
}

/// A pair as one number of the same order.
pub(super) fn pair(a: u32, b: u32) -> u64 {
    (u64::from(a) << 32) | u64::from(b)
}

fn halves(pair: u64) -> (u32, u32) {
    ((pair >> 32) as u32, (pair & 0xffff_ffff) as u32)
}

impl Frontier {
    /// Whether some pair has at most these attributes.
    pub(super) fn any(&self, a_max: u32, b_max: u32) -> bool {
        self.any_in(self.chunks_to(a_max), a_max, b_max)
    }

    /// How many chunks hold a pair with at most this `a`, as far as their first pairs tell.
    pub(super) fn chunks_to(&self, a_max: u32) -> usize {
        let end = pair(a_max, u32::MAX);
        self.fences.partition_point(|fence| fence.low <= end)
    }

    /// [`Frontier::any`], given [`Frontier::chunks_to`].
    pub(super) fn any_in(&self, chunks: usize, a_max: u32, b_max: u32) -> bool {
        if chunks == 0 {
            return false;
        }
        if chunks > 1 && self.fences[chunks - 2].least <= b_max {
            return true;
        }
        let chunk = &self.chunks[chunks - 1];
        // Unused places hold the greatest pair: they fit only where everything does.
        let mut found = 0;
        for i in 0..CHUNK {
            found |= u32::from(chunk.a[i] <= a_max) & u32::from(chunk.b[i] <= b_max);
        }
        found != 0
    }

    /// A lower bound of `a_weight * a + b_weight * b` over the pairs with at most these attributes.
    pub(super) fn least_sum(&self, a_max: u32, b_max: u32, a_weight: u64, b_weight: u64) -> u64 {
        let fences = self.fences[..self.chunks_to(a_max)].iter().filter(|fence| fence.own <= b_max);
        let sum = |fence: &Fence| a_weight * (fence.low >> 32) + b_weight * u64::from(fence.own);
        fences.fold(u64::MAX, |least, fence| least.min(sum(fence)))
    }

    /// The least `a` and the least `b`.
    pub(super) fn floors(&self) -> (u32, u32) {
        (self.fences.first().map_or(u32::MAX, |fence| halves(fence.low).0), self.least_b())
    }

    fn least_b(&self) -> u32 {
        self.fences.last().map_or(u32::MAX, |fence| fence.least)
    }

    /// Replaces everything by these pairs, which it sorts.
    pub(super) fn rebuild(&mut self, pairs: &mut [u64]) {
        pairs.sort_unstable();
        self.fill(pairs);
    }

    /// Takes out these sorted pairs, all of which are there, by way of spare room at the end of their list.
    pub(super) fn subtract(&mut self, pairs: &mut Vec<u64>) {
        let count = pairs.len();
        let mut at = 0;
        for chunk in &self.chunks {
            for own in chunk.a.iter().zip(&chunk.b).take(chunk.len).map(|(&a, &b)| pair(a, b)) {
                if at < count && pairs[at] == own {
                    at += 1;
                } else {
                    pairs.push(own);
                }
            }
        }
        assert!(at == count, "pairs on leaves' fronts are on the frontier");
        self.fill(&pairs[count..]);
    }

    fn fill(&mut self, pairs: &[u64]) {
        self.clear();
        for run in pairs.chunks(MERGED) {
            let mut chunk = EMPTY;
            for (i, &pair) in run.iter().enumerate() {
                (chunk.a[i], chunk.b[i]) = halves(pair);
            }
            chunk.len = run.len();
            let own = chunk.least();
            self.fences.push(Fence { low: run[0], least: own.min(self.least_b()), own });
            self.chunks.push(chunk);
        }
        // A block that has split needs half of what it had.
        let room = self.chunks.len() + self.chunks.len() / 2;
        self.fences.shrink_to(room);
        self.chunks.shrink_to(room);
    }

    /// Forgets everything; keeps its memory.
    pub(super) fn clear(&mut self) {
        self.fences.clear();
        self.chunks.clear();
    }

    fn chunk_of(&self, pair: u64) -> usize {
        self.fences.partition_point(|fence| fence.low <= pair).saturating_sub(1)
    }

    /// Adds a pair.
    pub(super) fn insert(&mut self, a: u32, b: u32) {
        let pair = pair(a, b);
        if self.chunks.is_empty() {
            self.open(0, EMPTY);
        }
        let mut k = self.chunk_of(pair);
        if self.chunks[k].len == CHUNK {
            self.split(k);
            k = self.chunk_of(pair);
        }
        let chunk = &mut self.chunks[k];
        let (at, len) = (chunk.rank(a, b), chunk.len);
        chunk.a.copy_within(at..len, at + 1);
        chunk.b.copy_within(at..len, at + 1);
        (chunk.a[at], chunk.b[at]) = (a, b);
        chunk.len = len + 1;
        let fence = &mut self.fences[k];
        if at == 0 {
            fence.low = pair;
        }
        if b < fence.own {
            fence.own = b;
            self.repair(k);
        }
    }

    /// Takes out a pair that is there.
    pub(super) fn remove(&mut self, a: u32, b: u32) {
        let k = self.chunk_of(pair(a, b));
        let chunk = &mut self.chunks[k];
        let at = chunk.rank(a, b);
        assert!(at < chunk.len && (chunk.a[at], chunk.b[at]) == (a, b), "a pair on a leaf's front is on the frontier");
        let len = chunk.len - 1;
        chunk.a.copy_within(at + 1..=len, at);
        chunk.b.copy_within(at + 1..=len, at);
        (chunk.a[len], chunk.b[len]) = (u32::MAX, u32::MAX);
        chunk.len = len;
        self.fences[k].low = pair(chunk.a[0], chunk.b[0]);
        if len == 0 {
            self.close(k);
        } else if self.chunks.get(k + 1).is_some_and(|next| len + next.len <= MERGED) {
            self.merge(k);
        } else if k > 0 && len + self.chunks[k - 1].len <= MERGED {
            self.merge(k - 1);
        } else if b == self.fences[k].own {
            self.fences[k].own = self.chunks[k].least();
            self.repair(k);
        }
    }

    /// Replaces some pairs by others; what is in both stays untouched.
    pub(super) fn replace(&mut self, old: &mut [u64], new: &mut [u64]) {
        old.sort_unstable();
        new.sort_unstable();
        let (mut o, mut n) = (0, 0);
        while o < old.len() || n < new.len() {
            let next = |list: &[u64], at: usize| list.get(at).copied().map_or(u128::MAX, u128::from);
            let (gone, come) = (next(old, o), next(new, n));
            if gone < come {
                let (a, b) = halves(old[o]);
                self.remove(a, b);
            } else if come < gone {
                let (a, b) = halves(new[n]);
                self.insert(a, b);
            }
            o += usize::from(gone <= come);
            n += usize::from(come <= gone);
        }
    }

    /// Makes `least` true again from chunk `k` on, before which nothing changed and after which only chunks went.
    fn repair(&mut self, k: usize) {
        let mut least = self.least_before(k);
        for fence in &mut self.fences[k..] {
            least = least.min(fence.own);
            if fence.least == least {
                return;
            }
            fence.least = least;
        }
    }

    fn least_before(&self, k: usize) -> u32 {
        if k == 0 { u32::MAX } else { self.fences[k - 1].least }
    }

    /// Puts in a chunk that leaves the minimum up to it as it was.
    fn open(&mut self, k: usize, chunk: Chunk) {
        let least = self.least_before(k);
        let own = chunk.least();
        self.fences.insert(k, Fence { low: pair(chunk.a[0], chunk.b[0]), least: least.min(own), own });
        self.chunks.insert(k, chunk);
    }

    fn close(&mut self, k: usize) {
        self.fences.remove(k);
        self.chunks.remove(k);
        self.repair(k);
    }

    fn split(&mut self, k: usize) {
        let half = CHUNK / 2;
        let mut next = EMPTY;
        let chunk = &mut self.chunks[k];
        next.a[..half].copy_from_slice(&chunk.a[half..]);
        next.b[..half].copy_from_slice(&chunk.b[half..]);
        next.len = half;
        chunk.a[half..].fill(u32::MAX);
        chunk.b[half..].fill(u32::MAX);
        chunk.len = half;
        let own = chunk.least();
        let least = self.least_before(k).min(own);
        (self.fences[k].own, self.fences[k].least) = (own, least);
        self.open(k + 1, next);
    }

    /// Joins chunk `k + 1` to chunk `k`, either of which may have lost a pair since `least` was true.
    fn merge(&mut self, k: usize) {
        let next = self.chunks.remove(k + 1);
        self.fences.remove(k + 1);
        let chunk = &mut self.chunks[k];
        let (len, both) = (chunk.len, chunk.len + next.len);
        chunk.a[len..both].copy_from_slice(&next.a[..next.len]);
        chunk.b[len..both].copy_from_slice(&next.b[..next.len]);
        chunk.len = both;
        let own = chunk.least();
        let least = self.least_before(k).min(own);
        (self.fences[k].own, self.fences[k].least) = (own, least);
        self.repair(k + 1);
    }
}

#[cfg(test)]
impl Frontier {
    /// Checks itself: all pairs in order.
    pub(super) fn pairs(&self) -> Vec<(u32, u32)> {
        assert_eq!(self.fences.len(), self.chunks.len());
        let mut pairs = Vec::new();
        let mut least = u32::MAX;
        for (fence, chunk) in self.fences.iter().zip(&self.chunks) {
            let len = chunk.len;
            assert!(len > 0 && fence.low == pair(chunk.a[0], chunk.b[0]));
            assert_eq!(fence.own, chunk.least());
            least = least.min(fence.own);
            assert_eq!(fence.least, least);
            pairs.extend((0..len).map(|i| (chunk.a[i], chunk.b[i])));
            assert!(chunk.a[len..].iter().chain(&chunk.b[len..]).all(|&unused| unused == u32::MAX));
        }
        pairs
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.fences.capacity() * size_of::<Fence>() + self.chunks.capacity() * size_of::<Chunk>()
    }
}
