//! Signed notes: text, a blank line, signature lines. The format is C2SP `signed-note`, Ed25519 only.
//!
//! | part | bytes |
//! |---|---|
//! | note | text ending in a newline, newline, signature lines |
//! | signature line | `— `, key name, space, base64 of (4 bytes key hash, 64 bytes signature of the text), newline |
//! | key hash | first 4 bytes of SHA-256 of (name, newline, `0x01`, public key) |
//! | verifier key | name, `+`, key hash in hex, `+`, base64 of (`0x01`, public key) |
//!
//! The key hash only tells which key a signature claims to be of. A signature line of another key is ignored, whatever it
//! holds; one of the key asked for has to be right.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Most bytes of a note: a hundred signatures of witnesses fit.
pub const NOTE_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of a key's name.
const NAME_BYTES_MAX: usize = 255;
/// Marks Ed25519 keys.
const ED25519: u8 = 1;
const SIGNATURE_PREFIX: &str = "— ";
const KEY_HASH_BYTES: usize = 4;

/// A note that proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoteError {
    /// Not a note, or not one of what was asked for: look at the file.
    #[error("not a signed note of this kind: {what}")]
    Malformed {
        /// The rule that is broken.
        what: &'static str,
    },
    /// Not the text form of a verifier key: copy it again from where the exchange publishes it.
    #[error("not a verifier key: it has the form name+hash+key")]
    Key,
    /// Somebody else's note, or the wrong key.
    #[error("the note carries no signature of {name}")]
    Unsigned {
        /// Name of the key.
        name: String,
    },
    /// The note was changed, or made by somebody who does not have the key.
    #[error("the signature of {name} does not match the note")]
    Forged {
        /// Name of the key.
        name: String,
    },
    /// A head of another journal, signed with this key.
    #[error("the note is about {found}, its key is that of {name}")]
    Origin {
        /// Origin in the note.
        found: String,
        /// Name of the key.
        name: String,
    },
}

/// The public part of a signing key, with its name: what everybody may know.
///
/// Its text form (`Display`, [`FromStr`]) is `name+hash+key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: VerifyingKey,
}

impl VerifierKey {
    pub(super) fn new(name: &str, key: VerifyingKey) -> Self {
        Self { name: name.to_owned(), key }
    }

    /// Name of the key, which is the origin of what it signs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of a statement that this key has signed ([`crate::HeadSigner::sign_statement`]).
    ///
    /// # Errors
    ///
    /// It is no statement, or not one that this key vouches for; see [`NoteError`].
    pub fn open_statement<'a>(&self, note: &'a str) -> Result<&'a str, NoteError> {
        let text = open(note, self)?;
        check_statement(text).map(|()| text)
    }

    pub(super) fn hash(&self) -> [u8; KEY_HASH_BYTES] {
        let hash =
            Sha256::new().chain_update(&self.name).chain_update([b'\n', ED25519]).chain_update(self.key.as_bytes());
        let [a, b, c, d, ..]: [u8; 32] = hash.finalize().into();
        [a, b, c, d]
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&key_text(&self.name, self.hash(), self.key.as_bytes()))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, hash, key) = split_key(text).ok_or(NoteError::Key)?;
        let key = Self::new(name, VerifyingKey::from_bytes(&key).map_err(|_| NoteError::Key)?);
        if hex(key.hash()) == hash { Ok(key) } else { Err(NoteError::Key) }
    }
}

/// A key as the format writes it.
pub(super) fn key_text(name: &str, hash: [u8; KEY_HASH_BYTES], key: &[u8; 32]) -> String {
    let mut bytes = [ED25519; 33];
    bytes[1..].copy_from_slice(key);
    format!("{name}+{}+{}", hex(hash), STANDARD.encode(bytes))
}

/// Name, key hash in hex and 32 bytes of key out of `name+hash+key`; the hash is not checked.
pub(super) fn split_key(text: &str) -> Option<(&str, &str, [u8; 32])> {
    let mut parts = text.splitn(3, '+');
    let (name, hash, key) = (parts.next()?, parts.next()?, parts.next()?);
    let key: [u8; 33] = STANDARD.decode(key).ok()?.try_into().ok()?;
    let [algorithm, key @ ..] = key;
    (algorithm == ED25519 && name_ok(name)).then_some((name, hash, key))
}

/// Whether a key may have this name.
pub(super) fn name_ok(name: &str) -> bool {
    let bad = |letter: char| letter == '+' || letter.is_whitespace() || letter.is_control();
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(bad)
}

pub(super) fn hex(hash: [u8; KEY_HASH_BYTES]) -> String {
    format!("{:08x}", u32::from_be_bytes(hash))
}

/// A note in its parts.
pub(super) struct Parts<'a> {
    /// What is signed, its last newline included.
    pub(super) text: &'a str,
    signatures: Vec<SignatureLine<'a>>,
}

struct SignatureLine<'a> {
    name: &'a str,
    hash: [u8; KEY_HASH_BYTES],
    signature: Vec<u8>,
}

/// Takes a note apart; checks no signature.
pub(super) fn split(note: &str) -> Result<Parts<'_>, NoteError> {
    let malformed = |what| NoteError::Malformed { what };
    if note.len() > NOTE_BYTES_MAX {
        return Err(malformed("a note has at most 16 KiB"));
    }
    if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
        return Err(malformed("a note holds no control characters"));
    }
    let (text, lines) = note.rsplit_once("\n\n").ok_or(malformed("a blank line ends the text"))?;
    let lines = lines.strip_suffix('\n').ok_or(malformed("the last line ends in a newline"))?;
    let signatures: Option<Vec<_>> = lines.split('\n').map(signature_line).collect();
    let signatures = signatures.ok_or(malformed("signature lines follow the text"))?;
    Ok(Parts { text: &note[..=text.len()], signatures })
}

/// The text of a statement, **without checking who signed it**.
///
/// # Errors
///
/// [`NoteError::Malformed`]: it is no statement.
pub fn statement_text(note: &str) -> Result<&str, NoteError> {
    let text = split(note)?.text;
    check_statement(text).map(|()| text)
}

/// What keeps statements and tree heads apart: a head's first line is the name of a key, which holds no space.
fn check_statement(text: &str) -> Result<(), NoteError> {
    let what = "line 1 of a statement says of what kind it is, in more than one word";
    let holds_space = text.lines().next().is_some_and(|kind| kind.contains(' '));
    if holds_space { Ok(()) } else { Err(NoteError::Malformed { what }) }
}

fn signature_line(line: &str) -> Option<SignatureLine<'_>> {
    let (name, signature) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
    let bytes = STANDARD.decode(signature).ok()?;
    let (hash, signature) = bytes.split_first_chunk()?;
    (name_ok(name) && !signature.is_empty()).then(|| SignatureLine { name, hash: *hash, signature: signature.to_vec() })
}

/// The text of a note that `key` has signed.
pub(super) fn open<'a>(note: &'a str, key: &VerifierKey) -> Result<&'a str, NoteError> {
    let (parts, hash) = (split(note)?, key.hash());
    let mut of_key = parts.signatures.iter().filter(|line| line.name == key.name && line.hash == hash).peekable();
    if of_key.peek().is_none() {
        return Err(NoteError::Unsigned { name: key.name.clone() });
    }
    let right = |line: &SignatureLine<'_>| {
        let signature = Signature::from_slice(&line.signature).ok()?;
        key.key.verify_strict(parts.text.as_bytes(), &signature).ok()
    };
    if of_key.all(|line| right(line).is_some()) {
        Ok(parts.text)
    } else {
        Err(NoteError::Forged { name: key.name.clone() })
    }
}

/// A note of `text`, which ends in a newline, signed.
pub(super) fn seal(text: &str, key: &SigningKey, public: &VerifierKey) -> String {
    let mut bytes = public.hash().to_vec();
    bytes.extend_from_slice(&key.sign(text.as_bytes()).to_bytes());
    format!("{text}\n{SIGNATURE_PREFIX}{} {}\n", public.name, STANDARD.encode(bytes))
}
