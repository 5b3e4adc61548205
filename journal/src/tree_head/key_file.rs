//! The key that signs tree heads, in a file of its own.
//!
//! The file holds one line, `PRIVATE+KEY+<name>+<key hash>+<base64 of 0x01 and the seed>`: the text form that other tools
//! for signed notes read and write. A bare seed would carry neither its name nor a check against a damaged copy, and PKCS8
//! carries no name.
//!
//! # Invariants
//!
//! - The file is created once, with mode 0600, whole and durable before its name exists, and never replaced.
//! - A file that anybody but its owner may read or write is refused: its key may be known already.
//! - The seed is printed nowhere, not by `Debug` either.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use ed25519_dalek::SigningKey;
use thiserror::Error;

use super::TreeHead;
use super::note::{NoteError, VerifierKey, hex, key_text, name_ok, seal, split_key};
use crate::tree::Tree;

const FILE_PREFIX: &str = "PRIVATE+KEY+";
/// Most bytes of a key file: the longest name fits.
const FILE_BYTES_MAX: u64 = 1024;
/// Permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// A signing key that cannot be used.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// The system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others can read the key, so others can sign. Move it away, tell who relies on it, and let a new one be made; if
    /// nobody else was ever on this machine, `chmod 600`.
    #[error("{} can be read by others (mode {mode:o}): make a new key, or chmod 600 if it is still secret", path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is damaged or something else: restore it from a copy.
    #[error("{} does not hold a signing key: restore it from a copy", path.display())]
    Malformed {
        /// The key file.
        path: PathBuf,
    },
    /// The key is that of another origin: name that one, or another file.
    #[error("{} holds the key of {found}, not of {wanted}", path.display())]
    OtherName {
        /// The key file.
        path: PathBuf,
        /// Name in the file.
        found: String,
        /// Name asked for.
        wanted: String,
    },
    /// A name has 1 to 255 bytes, no space, no `+`.
    #[error("{name:?} is not a name for a key: 1 to 255 bytes, no space, no plus sign")]
    Name {
        /// The name asked for.
        name: String,
    },
}

/// Signs tree heads, and what else the owner of the journal states about it.
pub struct HeadSigner {
    key: SigningKey,
    public: VerifierKey,
}

impl HeadSigner {
    /// The key in the file `path`, which is created with a fresh key if it does not exist. `name` becomes the origin of
    /// all heads: a host name with a path, like `exchange.example/journal`, is customary.
    ///
    /// # Errors
    ///
    /// See [`KeyFileError`]. A file that exists is never changed.
    pub fn load_or_create(path: &Path, name: &str) -> Result<Self, KeyFileError> {
        if !name_ok(name) {
            return Err(KeyFileError::Name { name: name.to_owned() });
        }
        match Self::load(path) {
            Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            loaded => return check_name(loaded?, path, name),
        }
        match create(path, name) {
            // Somebody was faster: theirs is the key.
            Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {}
            created => created?,
        }
        // What counts is what the next start will find.
        check_name(Self::load(path)?, path, name)
    }

    /// The head of `tree`, whose last record carries `time_ns`, as a signed note.
    #[must_use]
    pub fn sign(&self, tree: &Tree, time_ns: u64) -> String {
        self.seal(&TreeHead::new(self.public.name(), tree, time_ns).text())
    }

    /// Something else than a tree head as a signed note: a receipt, say. Its first line says of what kind it is, in more
    /// than one word; so nobody can take it for a tree head, whose first line is the name of a key and holds no space.
    ///
    /// # Errors
    ///
    /// [`NoteError::Malformed`]: the text says not of what kind it is, or no note can hold it.
    pub fn sign_statement(&self, text: &str) -> Result<String, NoteError> {
        let note = self.seal(text);
        let what = "the text of a note ends in a newline";
        let read = self.public.open_statement(&note)?;
        if read == text { Ok(note) } else { Err(NoteError::Malformed { what }) }
    }

    pub(super) fn seal(&self, text: &str) -> String {
        seal(text, &self.key, &self.public)
    }

    /// What a verifier needs to know, to be published.
    #[must_use]
    pub fn public_key(&self) -> &VerifierKey {
        &self.public
    }

    pub(super) fn from_text(text: &str) -> Option<Self> {
        let (name, hash, seed) = split_key(text.strip_prefix(FILE_PREFIX)?)?;
        let signer = Self::from_seed(name, &seed);
        (hex(signer.public.hash()) == hash).then_some(signer)
    }

    pub(super) fn from_seed(name: &str, seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let public = VerifierKey::new(name, key.verifying_key());
        Self { key, public }
    }

    fn load(path: &Path) -> Result<Self, KeyFileError> {
        let file = File::open(path).map_err(failed("open", path))?;
        let mode = file.metadata().map_err(failed("examine", path))?.permissions().mode() & 0o7777;
        if mode & OTHERS != 0 {
            return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed("read", path))?;
        let signer = str::from_utf8(&bytes).ok().and_then(|text| Self::from_text(text.strip_suffix('\n')?));
        signer.ok_or_else(|| KeyFileError::Malformed { path: path.to_owned() })
    }

    /// The line of the key file.
    pub(super) fn to_text(&self) -> String {
        FILE_PREFIX.to_owned() + &key_text(self.public.name(), self.public.hash(), self.key.as_bytes())
    }
}

impl fmt::Debug for HeadSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadSigner").field("public", &self.public.to_string()).finish_non_exhaustive()
    }
}

fn check_name(signer: HeadSigner, path: &Path, name: &str) -> Result<HeadSigner, KeyFileError> {
    if signer.public.name() == name {
        return Ok(signer);
    }
    let found = signer.public.name().to_owned();
    Err(KeyFileError::OtherName { path: path.to_owned(), found, wanted: name.to_owned() })
}

/// Writes a fresh key beside `path` and gives it its name with a link, which, unlike a rename, never replaces a file.
fn create(path: &Path, name: &str) -> Result<(), KeyFileError> {
    let (seed, unique) = random().map_err(failed("make a random key for", path))?;
    let text = HeadSigner::from_seed(name, &seed).to_text() + "\n";
    let mut temp = OsString::from(path);
    temp.push(format!(".{unique:016x}.tmp"));
    let temp = PathBuf::from(temp);
    let linked = write_new(&temp, text.as_bytes())
        .map_err(failed("write", &temp))
        .and_then(|()| fs::hard_link(&temp, path).map_err(failed("create", path)));
    let removed = fs::remove_file(&temp).map_err(failed("remove", &temp));
    linked.and(removed)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(failed("sync", parent))
}

fn random() -> io::Result<([u8; 32], u64)> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok((seed, getrandom::u64()?))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyFileError + use<> {
    let path = path.to_owned();
    move |source| KeyFileError::Io { action, path, source }
}

/// Whether the key file lies outside the folder of the data, with all links followed. Who can rewrite a journal must not
/// find the key beside it, and neither must who copies the folder away. Neither path has to exist yet.
///
/// A hard link to the key inside the folder is not seen.
///
/// # Errors
///
/// A path cannot be resolved: it leads through something that is no folder, a link that leads nowhere, or `..` after a
/// folder that does not exist.
pub fn key_is_outside(data_dir: &Path, key_path: &Path) -> io::Result<bool> {
    Ok(!resolve(key_path)?.starts_with(resolve(data_dir)?))
}

/// The absolute path without links; what does not exist yet is taken as it is written.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        resolved => return resolved,
    }
    if path.symlink_metadata().is_ok() {
        return Err(io::Error::other(format!("{} is a link that leads nowhere", path.display())));
    }
    let Some(Component::Normal(name)) = path.components().next_back() else {
        return Err(io::Error::other(format!("{} cannot be resolved", path.display())));
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(resolve(parent)?.join(name))
}
