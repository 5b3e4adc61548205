//! The note of an input that stopped the process: `poison.txt` beside the journal.
//!
//! An input on which the engine panics is a bug, and would be one again at every start. So the thread that panicked leaves
//! this note, and a start that finds it refuses until a person has looked. If the input had not become durable (the group
//! that holds it was never written), it is not part of history, and the note may be removed to go on without it.
//!
//! Invariant: the note names an input only when the engine was applying that very input.

use gollem_engine::Command;
use gollem_journal::{Seq, Storage, StorageFile};
use std::any::Any;
use std::fmt::Write as _;
use std::io;

/// Name of the note.
pub const POISON_NAME: &str = "poison.txt";
const POISON_TEMP_NAME: &str = "poison.tmp";
/// Most bytes of a note: a command in hexadecimal and a message.
const POISON_BYTES_MAX: usize = 64 * 1024;
/// Most characters kept of a panic's message.
const MESSAGE_MAX: usize = 1_000;

/// An input that stopped the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poison {
    /// Its place in the sequence.
    pub seq: Seq,
    /// Its time, in nanoseconds.
    pub time_ns: u64,
    /// Whether it is in the journal: then it cannot be gone on without.
    pub durable: bool,
    /// What the panic said.
    pub message: String,
    /// The command's bytes.
    pub payload: Vec<u8>,
}

impl Poison {
    /// The command, if it can be read.
    pub fn command(&self) -> Option<Command> {
        Command::decode(&self.payload).ok()
    }

    /// Leaves the note, durably.
    ///
    /// # Errors
    /// The disk refused.
    pub(crate) fn write<S: Storage>(&self, storage: &S) -> io::Result<()> {
        let file = storage.create(POISON_TEMP_NAME)?;
        file.write_all_at(self.text().as_bytes(), 0)?;
        file.sync_all()?;
        storage.rename(POISON_TEMP_NAME, POISON_NAME)?;
        storage.sync_dir()
    }

    /// The note, if there is one. One that cannot be understood is an error, not an absence.
    ///
    /// # Errors
    /// The disk refused, or the file is no note.
    pub fn read<S: Storage>(storage: &S) -> io::Result<Option<Poison>> {
        let file = match storage.open(POISON_NAME, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = vec![0; usize::try_from(file.size()?).unwrap_or(usize::MAX).min(POISON_BYTES_MAX)];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        let text = String::from_utf8_lossy(&bytes[..filled]);
        Poison::parse(&text).map(Some).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} is not readable", storage.path(POISON_NAME).display()),
            )
        })
    }

    fn text(&self) -> String {
        let mut text = format!(
            "seq {}\ntime_ns {}\ndurable {}\npayload ",
            self.seq,
            self.time_ns,
            if self.durable { "yes" } else { "no" }
        );
        for byte in &self.payload {
            // Writing to a string cannot fail.
            write!(text, "{byte:02x}").ok();
        }
        text + "\nmessage " + &one_line(&self.message) + "\n"
    }

    fn parse(text: &str) -> Option<Poison> {
        let mut lines = text.lines();
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let seq = field("seq")?.parse().ok()?;
        let time_ns = field("time_ns")?.parse().ok()?;
        let durable = match field("durable")? {
            "yes" => true,
            "no" => false,
            _ => return None,
        };
        let payload = unhex(field("payload")?)?;
        let message = field("message")?.to_owned();
        Some(Poison { seq, time_ns, durable, message, payload })
    }
}

/// What a caught panic said.
pub(crate) fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    one_line(text.unwrap_or("a panic without a message"))
}

fn one_line(text: &str) -> String {
    text.chars().take(MESSAGE_MAX).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gollem_journal::sim::SimStorage;

    #[test]
    fn a_note_comes_back_as_it_was_left_and_garbage_is_an_error() {
        let storage = SimStorage::new();
        assert_eq!(Poison::read(&storage).unwrap(), None);
        let mut payload = Vec::new();
        Command::OpenAccount.encode(&mut payload);
        let message = "index out of bounds:\nthe len is 3".to_owned();
        let poison = Poison { seq: 77, time_ns: 5, durable: false, message, payload };
        poison.write(&storage).unwrap();
        storage.power_cycle(None);
        let read = Poison::read(&storage).unwrap().expect("it was durable");
        assert_eq!(read, Poison { message: "index out of bounds: the len is 3".to_owned(), ..poison });
        assert_eq!(read.command(), Some(Command::OpenAccount));
        for garbage in ["", "seq x\n", "seq 1\ntime_ns 2\ndurable no\npayload 123\nmessage m\n"] {
            storage.put(POISON_NAME, garbage.as_bytes());
            assert_eq!(Poison::read(&storage).unwrap_err().kind(), io::ErrorKind::InvalidData, "{garbage:?}");
        }
    }
}
