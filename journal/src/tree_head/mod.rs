//! Signed tree heads: what the owner of a journal says its tree is, kept where nobody can take it back.
//!
//! A head is a C2SP `tlog-checkpoint` in a signed note (`note`):
//!
//! ```text
//! exchange.example/journal                          origin: the name of the key
//! 4096                                              leaves of the tree: the last sequence
//! XcnaeacGWamtVZy3Adedoqudgjqi0vRgz+Nw7/RgQyg=      root
//! time 1763736600000000000                          extension: time stamp of that record, Unix nanoseconds
//!
//! — exchange.example/journal VGlt…                  signature over the text above
//! ```
//!
//! The same key signs other statements of the journal's owner, such as receipts. Their first line is of more than one word,
//! and a key's name is one word, so that neither is ever taken for the other.
//!
//! # Invariants
//!
//! - A head is believed only with a signature by a key that the reader brings along, and only if the text's origin is that
//!   key's name.
//! - Parsing is total: any text gives a head or a [`NoteError`], never a panic, in time that is linear in at most
//!   [`NOTE_BYTES_MAX`].
//! - Heads only grow: who finds two with the same size and different roots, or a root that no consistency proof leads to,
//!   holds a proof of forgery.
//!
//! What is absent: trust in the machine that signs. Whoever has the key can sign a forged tree, so heads have to leave the
//! machine as they are made, and the key does not lie beside the data ([`key_is_outside`]).

mod key_file;
mod log;
mod note;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub use key_file::{HeadSigner, KeyFileError, key_is_outside};
pub use log::{HEADS_NAME, HeadLog, HeadLogError, HeadsRead, read_heads, read_heads_in};
pub use note::{NOTE_BYTES_MAX, NoteError, VerifierKey, statement_text};

use crate::tree::{Hash, Tree};

/// What a tree was when it was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// Which journal: the name of the key that signs its heads.
    pub origin: String,
    /// Number of leaves, which is the sequence of the last record.
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
    /// Time stamp of the last record, Unix nanoseconds; 0 if there is none.
    pub time_ns: u64,
}

impl TreeHead {
    /// The head of `tree`, whose last record carries `time_ns`.
    #[must_use]
    pub fn new(origin: &str, tree: &Tree, time_ns: u64) -> Self {
        Self { origin: origin.to_owned(), size: tree.size(), root: tree.root(), time_ns }
    }

    /// Reads a note **without checking who signed it**.
    ///
    /// # Errors
    ///
    /// [`NoteError::Malformed`]: it is not a tree head.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        Self::from_text(note::split(note)?.text)
    }

    /// Reads a note that `key` has signed. Other signatures, as of witnesses, are ignored.
    ///
    /// # Errors
    ///
    /// It is not a tree head, or not one that this key vouches for; see [`NoteError`].
    pub fn verify(note: &str, key: &VerifierKey) -> Result<Self, NoteError> {
        let head = Self::from_text(note::open(note, key)?)?;
        if head.origin == key.name() {
            Ok(head)
        } else {
            Err(NoteError::Origin { found: head.origin, name: key.name().to_owned() })
        }
    }

    /// Whether this head may follow `earlier` as far as the heads alone can say.
    #[must_use]
    pub fn may_follow(&self, earlier: &Self) -> bool {
        let grows = self.size > earlier.size && self.time_ns >= earlier.time_ns;
        let same = self.size == earlier.size && self.root == earlier.root && self.time_ns == earlier.time_ns;
        self.origin == earlier.origin && (grows || same)
    }

    /// The text that is signed.
    fn text(&self) -> String {
        let root = STANDARD.encode(self.root);
        format!("{}\n{}\n{root}\n{TIME_PREFIX}{}\n", self.origin, self.size, self.time_ns)
    }

    fn from_text(text: &str) -> Result<Self, NoteError> {
        let malformed = |what| NoteError::Malformed { what };
        let mut lines = text.lines();
        let mut line = || lines.next().filter(|line| !line.is_empty());
        let origin = line().ok_or(malformed("line 1 is the origin"))?.to_owned();
        let size = line().and_then(decimal).ok_or(malformed("line 2 is the size in decimal"))?;
        let root = line().and_then(|line| STANDARD.decode(line).ok()?.try_into().ok());
        let root = root.ok_or(malformed("line 3 is the root: 32 bytes in base64"))?;
        let time_ns = line().and_then(|line| decimal(line.strip_prefix(TIME_PREFIX)?));
        let time_ns = time_ns.ok_or(malformed("line 4 is the time"))?;
        if lines.any(str::is_empty) {
            return Err(malformed("a tree head has no empty lines"));
        }
        Ok(Self { origin, size, root, time_ns })
    }
}

const TIME_PREFIX: &str = "time ";

/// A number as the format writes it: digits, no sign, no leading zero.
fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
