//! Row 5: records and segments that are not where they belong, or not what they were, are refused.
//!
//! Each seed makes a journal of a few segments, and a second one of the same shape with other payloads: what the disk
//! may have held at the same places before. Every kind of change is then made once, to random records and segments.
//! After an unclean stop the last group is left alone (`torn` and `flips` have it), and a change to the last segment is
//! made with the last sequence known from outside: without either nobody can tell.

use gollem_journal::sim::{Random, SimStorage};
use gollem_journal::{OpenError, ScanError};

use super::Run;
use super::fixed::{Files, FixedDisk, disk_of, files_of};
use super::model::{Model, RECORD_HEADER, SEGMENT_HEADER, below, open, record_bytes, scan};
use crate::outcome::Outcome;

/// What happens to a record or to a segment.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// The write went to another place, and its own place has none.
    Misdirected,
    /// The write never happened.
    Lost,
    /// The place has what was there before.
    Stale,
    /// It is there a second time.
    Repeated,
    Swapped,
    Deleted,
}

const CHANGES: [Change; 6] =
    [Change::Misdirected, Change::Lost, Change::Stale, Change::Repeated, Change::Swapped, Change::Deleted];
/// Changes that each seed makes.
pub(crate) const KINDS: u64 = 2 * CHANGES.len() as u64;

pub(crate) fn run(run: &Run) -> Outcome {
    run.each(|seed| change_all(seed).map(|()| KINDS))
}

/// Where a record is.
#[derive(Clone, Debug)]
struct Place {
    file: String,
    at: usize,
    bytes: usize,
}

/// A journal, the one before it on the same disk, and the places of records in both.
struct Journals {
    files: Files,
    older: Files,
    model: Model,
    places: Vec<Place>,
    segments: Vec<String>,
    clean: bool,
}

impl Journals {
    fn new(seed: u64) -> Result<Self, String> {
        let mut random = Random(seed);
        let mut shape = Vec::new();
        for _ in 0..2 {
            shape.extend((0..2 + random.below(3)).map(|_| small(&mut random)));
            shape.push(vec![60_000; 17]);
        }
        shape.extend((0..3).map(|_| small(&mut random)));
        let clean = seed.is_multiple_of(2);
        let (disk, model) = journal(&shape, clean, &mut random)?;
        let (older, _) = journal(&shape, clean, &mut random)?;
        let files = files_of(&disk);
        let segments: Vec<String> = files.keys().filter(|name| name.ends_with(".log")).cloned().collect();
        let places: Vec<Place> = segments.iter().flat_map(|name| places(name, &files[name])).collect();
        if places.len() != model.records.len() || segments.len() < 2 {
            return Err(format!("{} records found in {segments:?}, {} written", places.len(), model.records.len()));
        }
        Ok(Self { files, older: files_of(&older), model, places, segments, clean })
    }

    /// Records that may be changed, counted from the first.
    fn records(&self) -> usize {
        let last_group = self.model.ends.iter().rev().nth(1).copied().unwrap_or(0);
        if self.clean { self.places.len() } else { usize::try_from(last_group).unwrap_or(0) }
    }

    fn change_record(&self, change: Change, random: &mut Random) -> Files {
        let mut files = self.files.clone();
        let first = below(random, self.records() - 1);
        let (one, next) = (&self.places[first], &self.places[first + 1]);
        // A write that reaches over several groups leaves too little to tell: it goes where there is room for it.
        let room = |place: &&Place| place.bytes >= one.bytes && place.at != one.at;
        let others: Vec<&Place> = self.places[..self.records()].iter().filter(room).collect();
        let record = read(&files, one);
        match change {
            Change::Misdirected => {
                write(&mut files, one, &vec![0; one.bytes]);
                let other = others.get(below(random, others.len().max(1))).copied().unwrap_or(next);
                write(&mut files, other, &record);
            }
            Change::Lost => write(&mut files, one, &vec![0; one.bytes]),
            Change::Stale => write(&mut files, one, &read(&self.older, one)),
            Change::Repeated => {
                if let Some(bytes) = files.get_mut(&one.file) {
                    bytes.splice(one.at..one.at, record);
                }
            }
            Change::Swapped => {
                let neighbour = read(&files, next);
                if one.file == next.file {
                    write(&mut files, one, &[neighbour, record].concat());
                } else {
                    write(&mut files, one, &neighbour);
                    write(&mut files, next, &record);
                }
            }
            Change::Deleted => {
                if let Some(bytes) = files.get_mut(&one.file) {
                    bytes.drain(one.at..one.at + one.bytes);
                    bytes.extend(vec![0; if self.clean { 0 } else { one.bytes }]);
                }
            }
        }
        files
    }

    /// The changed files, and whether the change can only be seen from outside.
    fn change_segment(&self, change: Change, random: &mut Random) -> (Files, bool) {
        let mut files = self.files.clone();
        let first = below(random, self.segments.len());
        let one = &self.segments[first];
        let other = &self.segments[(first + 1 + below(random, self.segments.len() - 1)) % self.segments.len()];
        let bytes = self.files[one].clone();
        let zeros = vec![0; bytes.len()];
        match change {
            Change::Misdirected => drop((files.insert(one.clone(), zeros), files.insert(other.clone(), bytes))),
            Change::Lost => drop(files.insert(one.clone(), zeros)),
            Change::Stale => {
                let mut early = bytes;
                let own: Vec<&Place> = self.places.iter().filter(|place| place.file == *one).collect();
                early[own[below(random, own.len())].at..].fill(0);
                files.insert(one.clone(), early);
            }
            Change::Repeated => drop(files.insert(format!("{:020}.log", self.places.len() + 1), bytes)),
            Change::Swapped => {
                files.insert(one.clone(), self.files[other].clone());
                files.insert(other.clone(), bytes);
            }
            Change::Deleted => drop(files.remove(one)),
        }
        (files, first + 1 == self.segments.len() && !self.clean)
    }
}

fn small(random: &mut Random) -> Vec<usize> {
    (0..1 + random.below(4)).map(|_| 1 + below(random, 200)).collect()
}

fn journal(shape: &[Vec<usize>], clean: bool, random: &mut Random) -> Result<(SimStorage, Model), String> {
    let disk = SimStorage::new();
    let mut model = Model::default();
    let (mut opened, _) = open(&disk, 0).map_err(|error| error.to_string())?;
    for sizes in shape {
        model.commit(&mut opened, sizes, random)?.map_err(|error| error.to_string())?;
    }
    if clean {
        opened.writer.close().map_err(|error| error.to_string())?;
    }
    Ok((disk, model))
}

/// The records of a segment, by the documented bytes.
fn places(name: &str, bytes: &[u8]) -> Vec<Place> {
    let mut places = Vec::new();
    let mut at = SEGMENT_HEADER;
    while at + RECORD_HEADER <= bytes.len() {
        let payload = usize::from(u16::from_le_bytes([bytes[at + 12], bytes[at + 13]]));
        if payload == 0 {
            break;
        }
        places.push(Place { file: name.to_owned(), at, bytes: record_bytes(payload) });
        at += record_bytes(payload);
    }
    places
}

fn read(files: &Files, place: &Place) -> Vec<u8> {
    files[&place.file][place.at..place.at + place.bytes].to_vec()
}

/// Writes from the place on, as far as the file goes.
fn write(files: &mut Files, place: &Place, bytes: &[u8]) {
    if let Some(file) = files.get_mut(&place.file) {
        let end = file.len().min(place.at + bytes.len());
        file[place.at..end].copy_from_slice(&bytes[..end - place.at]);
    }
}

fn change_all(seed: u64) -> Result<(), String> {
    let journals = Journals::new(seed)?;
    let mut random = Random(!seed);
    let sound = scan(&FixedDisk::new(journals.files.clone()), journals.model.acked);
    journals.model.check(&sound.map_err(|error| format!("before any change: {error}"))?.1)?;
    for change in CHANGES {
        let context = |what| format!("{change:?}, clean stop {}: {what}", journals.clean);
        let files = journals.change_record(change, &mut random);
        refused(files, 0).map_err(|what| context(format!("a record: {what}")))?;
        let (files, from_outside) = journals.change_segment(change, &mut random);
        let witnessed = if from_outside { journals.model.acked } else { 0 };
        refused(files, witnessed).map_err(|what| context(format!("a segment: {what}")))?;
    }
    Ok(())
}

/// Reading and opening both refuse, and nothing changes.
fn refused(files: Files, witnessed: u64) -> Result<(), String> {
    let disk = disk_of(&files);
    match open(&disk, witnessed).map(|(opened, _)| opened.report) {
        Err(OpenError::Read(
            ScanError::Corrupt { .. } | ScanError::Missing { .. } | ScanError::BelowWitness { .. },
        )) => {}
        other => return Err(format!("opened: {other:?}")),
    }
    // What was left unsynced may be synced before anyone is told of it.
    if files_of(&disk) != files || disk.calls() != disk.syncs() {
        return Err("the refusal changed the folder".to_owned());
    }
    match scan(&FixedDisk::new(files), witnessed).map(|(report, _)| report) {
        Err(ScanError::Corrupt { .. } | ScanError::Missing { .. } | ScanError::BelowWitness { .. }) => Ok(()),
        other => Err(format!("read: {other:?}")),
    }
}
