//! Making proofs in one pass over the leaves.
//!
//! A proof consists of roots of subtrees, each over a range of leaves. The ranges are known beforehand and do not overlap,
//! so one small tree, begun anew for each range, computes them all while the leaves pass by. Memory: that tree and the
//! proof, whatever the journal's length. A prover is given all leaves from the first on; it does not check that they are
//! the right ones: verify the proof before giving it away.

use std::ops::Range;

use super::proof::{consistency_siblings, inclusion_siblings};
use super::{ConsistencyProof, Hash, InclusionProof, ProofError, Tree};

/// Makes the proof that one leaf is in a tree.
#[derive(Debug)]
pub struct InclusionProver {
    index: u64,
    subtrees: Subtrees,
}

impl InclusionProver {
    /// A prover for the leaf at `index`, from 0, in the tree of the first `size` leaves.
    ///
    /// # Errors
    ///
    /// [`ProofError::OutOfRange`] if there is no such leaf.
    pub fn new(index: u64, size: u64) -> Result<Self, ProofError> {
        Ok(Self { index, subtrees: Subtrees::new(size, inclusion_siblings(index, size)?) })
    }

    /// Takes the next leaf, from the first on. Leaves after the tree's last are ignored, so a journal that has grown since
    /// can be read whole.
    pub fn push(&mut self, leaf: &Hash) {
        self.subtrees.push(leaf);
    }

    /// The proof.
    ///
    /// # Errors
    ///
    /// [`ProofError::Leaves`] if fewer leaves were given than the tree has.
    pub fn finish(self) -> Result<InclusionProof, ProofError> {
        Ok(InclusionProof { index: self.index, path: self.subtrees.finish()? })
    }
}

/// Makes the proof that a tree begins with an older one.
#[derive(Debug)]
pub struct ConsistencyProver {
    subtrees: Subtrees,
}

impl ConsistencyProver {
    /// A prover for the trees of the first `old_size` and the first `new_size` leaves.
    ///
    /// # Errors
    ///
    /// [`ProofError::OutOfRange`] if the older tree is the larger one.
    pub fn new(old_size: u64, new_size: u64) -> Result<Self, ProofError> {
        Ok(Self { subtrees: Subtrees::new(new_size, consistency_siblings(old_size, new_size)?) })
    }

    /// Takes the next leaf, from the first on; see [`InclusionProver::push`].
    pub fn push(&mut self, leaf: &Hash) {
        self.subtrees.push(leaf);
    }

    /// The proof.
    ///
    /// # Errors
    ///
    /// [`ProofError::Leaves`] if fewer leaves were given than the newer tree has.
    pub fn finish(self) -> Result<ConsistencyProof, ProofError> {
        Ok(ConsistencyProof { path: self.subtrees.finish()? })
    }
}

/// The roots of some ranges of leaves.
#[derive(Debug)]
struct Subtrees {
    size: u64,
    /// Index of the next leaf.
    next: u64,
    /// What is still to come, the last range first, each with its place in the path.
    ahead: Vec<(Range<u64>, usize)>,
    /// The leaves so far of the range that comes next.
    tree: Tree,
    path: Vec<Hash>,
}

impl Subtrees {
    fn new(size: u64, ranges: Vec<Range<u64>>) -> Self {
        let path = vec![Hash::default(); ranges.len()];
        let mut ahead: Vec<_> = ranges.into_iter().zip(0..).collect();
        ahead.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
        Self { size, next: 0, ahead, tree: Tree::new(), path }
    }

    fn push(&mut self, leaf: &Hash) {
        if self.next == self.size {
            return;
        }
        if let Some((range, place)) = self.ahead.last()
            && range.contains(&self.next)
        {
            self.tree.push(leaf);
            if self.next + 1 == range.end {
                self.path[*place] = std::mem::take(&mut self.tree).root();
                self.ahead.pop();
            }
        }
        self.next += 1;
    }

    fn finish(self) -> Result<Vec<Hash>, ProofError> {
        if self.next == self.size {
            Ok(self.path)
        } else {
            Err(ProofError::Leaves { found: self.next, expected: self.size })
        }
    }
}
