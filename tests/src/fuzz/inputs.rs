//! Sound input, made by the real encoders: a few hundred commands and everything that comes of them.

use super::seals;
use crate::scoreboard::fixed::{Files, files_of};
use crate::scoreboard::states::commands;
use gollem_engine::{Command, Engine, Event, Events, Input, Timestamp};
use gollem_journal::sim::{SEGMENT_BYTES, SimStorage};
use gollem_journal::{Group, HEADS_NAME, HeadLog, HeadSigner, Opened, Options, Position, SnapshotStore, Tree, open_in};
use gollem_projections::kafka::EventRecord;
use gollem_projections::{Fold, Views};
use std::convert::Infallible;
use std::error::Error;

/// The name of the mark of a clean stop, of a snapshot's file, and of the file of signed heads.
pub(super) const MARK: &str = "clean";
pub(super) const SLOT: &str = "snapshot.0";
pub(super) const HEADS: &str = HEADS_NAME;
/// Small segments, so that a journal has many.
pub(super) const SMALL: Options = Options { segment_bytes: SEGMENT_BYTES, prepare_ahead: false };
/// Commands of a journal; the state is that after the first half of them.
const COMMANDS: usize = 400;
/// Commands in a group, at most.
const GROUP: usize = 5;

/// Everything that is read somewhere, as it was written.
pub(super) struct Inputs {
    /// Commands' bytes.
    pub(super) commands: Vec<Vec<u8>>,
    /// The files of a journal, with the mark of a clean stop.
    pub(super) journal: Files,
    /// The last input in it.
    pub(super) last_seq: u64,
    /// The engine's state after the first half of the commands.
    pub(super) state: Vec<u8>,
    /// The input that it is after, and its time.
    pub(super) state_seq: u64,
    pub(super) state_at: Timestamp,
    /// A snapshot of it, and where the engine's rows begin in it, after its counters.
    pub(super) slot: Vec<u8>,
    pub(super) rows_at: usize,
    /// The tree over its records.
    pub(super) tree: Vec<u8>,
    /// Signed heads, one after the other.
    pub(super) heads: Vec<u8>,
    /// Values of `gollem.events` about what came after.
    pub(super) records: Vec<Vec<u8>>,
    /// What came before.
    told: Vec<(Timestamp, Vec<Event>)>,
}

impl Inputs {
    /// The same for the same seed.
    pub(super) fn make(seed: u64) -> Result<Inputs, String> {
        Inputs::try_make(seed).map_err(|error| format!("making sound input: {error}"))
    }

    fn try_make(seed: u64) -> Result<Inputs, Box<dyn Error>> {
        let all = commands(seed, COMMANDS);
        let (mut engine, mut tree) = (Engine::new(), Tree::new());
        let (mut encoded, mut told, mut records) = (Vec::new(), Vec::new(), Vec::new());
        let half = COMMANDS / 2;
        let (mut state, mut peaks, mut state_at) = (Vec::new(), Vec::new(), Timestamp(0));
        for (seq, (at, command)) in (1..).zip(&all) {
            let mut bytes = Vec::new();
            command.encode(&mut bytes);
            tree.push_record(seq, at.0, &bytes);
            encoded.push(bytes);
            let mut events = Events::new();
            engine.apply(&Input { seq, at: *at, command: command.clone() }, &mut events);
            if encoded.len() <= half {
                told.push((*at, events.to_vec()));
            } else {
                for (index, event) in (0..).zip(events.iter()) {
                    let events = events.len() as u32;
                    let record = EventRecord { seq, index, events, at_ns: at.0, event: Some(*event) };
                    records.push(serde_json::to_vec(&record)?);
                }
            }
            if encoded.len() == half {
                engine.write_snapshot(&mut state)?;
                (peaks, state_at) = (tree.encode(), *at);
            }
        }
        let state_seq = half as u64;
        let position = Position { seq: state_seq, time_ns: state_at.0, chain: 7 };
        let slots = SimStorage::new();
        SnapshotStore::new(slots.clone()).write(position, &peaks, &mut |out| out.write_all(&state))?;
        let slot = slots.get(SLOT).ok_or("no snapshot was written")?;
        let rows_at = slot.len() - state.len() + seals::first_chunk_end(&state);
        let (journal, last_seq) = (journal(&all, &encoded)?, all.len() as u64);
        let (heads, tree) = (heads(&encoded, &all)?, peaks);
        Ok(Inputs {
            commands: encoded,
            journal,
            last_seq,
            state,
            state_seq,
            state_at,
            slot,
            rows_at,
            tree,
            heads,
            records,
            told,
        })
    }

    /// Views of what came before the records.
    pub(super) fn views(&self) -> Result<Views, String> {
        let views = Views::in_memory().map_err(|error| format!("opening views: {error}"))?;
        let fold = || {
            let mut fold = Fold::new(&views)?;
            for (seq, (at, events)) in (1..).zip(&self.told) {
                fold.apply(seq, *at, events)?;
            }
            fold.flush()
        };
        fold().map_err(|error| format!("folding sound input: {error}"))?;
        Ok(views)
    }
}

/// Opens a journal for writing.
pub(super) fn open(disk: &SimStorage) -> Result<Opened<SimStorage>, gollem_journal::OpenError> {
    open_in(disk.clone(), &SMALL, 0, &mut |_| Ok::<(), Infallible>(()))
}

fn journal(all: &[(Timestamp, Command)], encoded: &[Vec<u8>]) -> Result<Files, Box<dyn Error>> {
    let disk = SimStorage::new();
    let mut opened = open(&disk)?;
    let records: Vec<_> = all.iter().map(|(at, _)| at.0).zip(encoded).collect();
    // Groups of one, two, three and so on.
    let mut left = records.as_slice();
    for size in (1..=GROUP).cycle() {
        let (records, rest) = left.split_at(size.min(left.len()));
        if records.is_empty() {
            break;
        }
        let mut group = Group::new();
        for (time_ns, bytes) in records {
            opened.encoder.push(&mut group, *time_ns, |out| out.extend_from_slice(bytes))?;
        }
        opened.encoder.seal(&mut group);
        opened.writer.commit(&mut group)?;
        left = rest;
    }
    opened.writer.close()?;
    Ok(files_of(&disk))
}

fn heads(encoded: &[Vec<u8>], all: &[(Timestamp, Command)]) -> Result<Vec<u8>, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let signer = HeadSigner::load_or_create(&folder.path().join("key"), "exchange.example/journal")?;
    let (disk, mut tree) = (SimStorage::new(), Tree::new());
    let mut log = HeadLog::open_in(disk.clone())?;
    for (seq, ((at, _), bytes)) in (1..).zip(all.iter().zip(encoded)) {
        tree.push_record(seq, at.0, bytes);
        if seq % 100 == 0 {
            log.append(&signer.sign(&tree, at.0))?;
        }
    }
    Ok(disk.get(HEADS).ok_or("no heads were written")?)
}
