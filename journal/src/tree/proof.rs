//! Proofs about a tree, and checking them: a leaf is in a tree, a tree is the beginning of another.
//!
//! A proof is a list of roots of subtrees that, hashed together from the bottom up, give the root that is already known.
//! Which subtrees these are follows from the sizes alone, so `siblings` says it once for the prover and for the checks.
//! A proof therefore states neither its sizes nor its roots: both come from signed heads, and nothing in a proof is
//! redundant.
//!
//! Checking needs the proof and the heads, and no journal.

use std::ops::Range;

use thiserror::Error;

use super::{Hash, Tree, node_hash};

/// That a leaf is at an index of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// Index of the leaf, from 0: the sequence of its record less 1.
    pub index: u64,
    /// Roots of the subtrees beside the way from the leaf to the root, from the leaf up. At most 64.
    pub path: Vec<Hash>,
}

/// That a tree begins with all leaves of an older one, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// Roots of subtrees, from the bottom up, as RFC 6962 orders them. At most 65.
    pub path: Vec<Hash>,
}

/// A proof that shows nothing: what it is about may have been tampered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProofError {
    /// Nothing can be proved with these numbers.
    #[error("{inner} is not within a tree of {size} leaves")]
    OutOfRange {
        /// Index of the leaf, or leaves of the older tree.
        inner: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// The proof is not one for these sizes.
    #[error("proof holds {found} hashes, one for these sizes holds {expected}")]
    Length {
        /// Hashes in the proof.
        found: usize,
        /// Hashes that the sizes ask for.
        expected: usize,
    },
    /// The prover was finished before it had seen every leaf.
    #[error("only {found} of {expected} leaves were read")]
    Leaves {
        /// Leaves read.
        found: u64,
        /// Leaves of the tree.
        expected: u64,
    },
    /// The leaf is not the one in the tree, or the proof was changed.
    #[error("proof leads to another root")]
    Root,
    /// The older tree is not the beginning of the newer one, or the proof was changed.
    #[error("proof leads to another root of the older tree")]
    OldRoot,
}

impl InclusionProof {
    /// Checks that `leaf` is at the proof's index in the tree of `size` leaves with this root.
    ///
    /// # Errors
    ///
    /// It is not shown to be, see [`ProofError`].
    pub fn verify(&self, leaf: &Hash, size: u64, root: &Hash) -> Result<(), ProofError> {
        let siblings = inclusion_siblings(self.index, size)?;
        check_length(&self.path, siblings.len())?;
        let found = siblings.iter().zip(&self.path).fold(*leaf, |hash, (range, sibling)| {
            if range.start > self.index { node_hash(&hash, sibling) } else { node_hash(sibling, &hash) }
        });
        if found == *root { Ok(()) } else { Err(ProofError::Root) }
    }
}

impl ConsistencyProof {
    /// Checks that the tree of `new_size` leaves begins with the tree of `old_size` leaves.
    ///
    /// # Errors
    ///
    /// It is not shown to, see [`ProofError`].
    pub fn verify(&self, old_size: u64, old_root: &Hash, new_size: u64, new_root: &Hash) -> Result<(), ProofError> {
        let siblings = consistency_siblings(old_size, new_size)?;
        check_length(&self.path, siblings.len())?;
        if old_size == 0 && new_size > 0 {
            // The empty tree begins every tree: there is nothing to show of the newer one.
            return if *old_root == Tree::new().root() { Ok(()) } else { Err(ProofError::OldRoot) };
        }
        let mut steps = siblings.iter().zip(&self.path).peekable();
        let bottom = steps.next_if(|(range, _)| range.start < old_size).map_or(old_root, |(_, hash)| hash);
        let (mut old, mut new) = (*bottom, *bottom);
        for (range, sibling) in steps {
            if range.start < old_size {
                (old, new) = (node_hash(sibling, &old), node_hash(sibling, &new));
            } else {
                new = node_hash(&new, sibling);
            }
        }
        if old != *old_root {
            Err(ProofError::OldRoot)
        } else if new != *new_root {
            Err(ProofError::Root)
        } else {
            Ok(())
        }
    }
}

/// The subtrees whose roots prove that a leaf is in a tree, as ranges of leaves, from the leaf up.
pub(super) fn inclusion_siblings(index: u64, size: u64) -> Result<Vec<Range<u64>>, ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange { inner: index, size });
    }
    let (_, siblings) = descend(size, |range| range.end - range.start > 1, |split| index < split);
    Ok(siblings)
}

/// The subtrees whose roots prove that a tree begins with another, as ranges of leaves, from the bottom up.
pub(super) fn consistency_siblings(old_size: u64, new_size: u64) -> Result<Vec<Range<u64>>, ProofError> {
    if old_size > new_size {
        return Err(ProofError::OutOfRange { inner: old_size, size: new_size });
    }
    if old_size == 0 {
        return Ok(Vec::new());
    }
    let (bottom, mut siblings) = descend(new_size, |range| range.end != old_size, |split| old_size <= split);
    // When the older tree is one subtree, its root is known already.
    if bottom.start > 0 {
        siblings.insert(0, bottom);
    }
    Ok(siblings)
}

/// Goes down from the root while `deeper`, to the left where `left` says so of the first leaf on the right. Returns where
/// it ended, and the subtrees passed by, the lowest first.
fn descend(
    size: u64,
    deeper: impl Fn(&Range<u64>) -> bool,
    left: impl Fn(u64) -> bool,
) -> (Range<u64>, Vec<Range<u64>>) {
    let (mut range, mut passed) = (0..size, Vec::new());
    while deeper(&range) {
        // The largest power of two smaller than the number of leaves.
        let split = range.start + (1 << (range.end - range.start - 1).ilog2());
        if left(split) {
            passed.push(split..range.end);
            range.end = split;
        } else {
            passed.push(range.start..split);
            range.start = split;
        }
    }
    passed.reverse();
    (range, passed)
}

fn check_length(path: &[Hash], expected: usize) -> Result<(), ProofError> {
    if path.len() == expected { Ok(()) } else { Err(ProofError::Length { found: path.len(), expected }) }
}
