//! What a disk holds: files and folders in memory, each with a volatile and a durable side.
//!
//! # Fault model
//!
//! That of `gollem_journal::sim`, for a tree of folders:
//!
//! - Written bytes, lengths and names are volatile until the file, or the folder for names, is synced. A power cut drops
//!   them; with a seed it keeps a random subset of the unsynced 512-byte sectors of each file and a random prefix of
//!   the name changes of each folder. A synced file whose name was not synced is lost, and so is all that lies in a
//!   folder whose name was not synced.
//! - Each changing call has a number. The power can be planned to go at one of them: before it takes effect, but for a
//!   write, which still reaches the volatile side. Every later call fails until the power is back.
//!
//! An unlinked file stays, for those that have it open, until the next power cut. There are no permissions, times, links
//! or quotas.

use gollem_journal::sim::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::ops::Range;

/// The number of the topmost folder.
pub(super) const ROOT: u64 = 1;

const SECTOR_BYTES: usize = 512;

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The power is off.
    Off,
    NotFound,
    Exists,
    NotAFolder,
    IsAFolder,
    NotEmpty,
}

/// What is left when the power is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// All of it, as volatile as before: not the power went, but the process.
    Everything,
    /// What was synced.
    Synced,
    /// What was synced, and by this seed some of the rest.
    Some(u64),
}

/// A disk. What is on it is addressed by number, as a kernel does.
#[derive(Debug)]
pub(super) struct Image {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    calls: u64,
    cut_at: Option<u64>,
    off: bool,
}

#[derive(Debug)]
enum Node {
    File(File),
    Folder(Folder),
}

#[derive(Debug, Default)]
struct File {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// Bytes written and not yet synced, in the order of the writes.
    dirty: Vec<Range<usize>>,
}

type Names = BTreeMap<OsString, u64>;

#[derive(Debug, Default)]
struct Folder {
    names: Names,
    durable: Names,
    /// The names after each unsynced change, oldest first.
    pending: Vec<Names>,
}

/// What a call may ask about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) number: u64,
    pub(super) is_folder: bool,
    pub(super) bytes: u64,
}

impl Image {
    /// An empty disk.
    pub(super) fn new() -> Image {
        let nodes = BTreeMap::from([(ROOT, Node::Folder(Folder::default()))]);
        Image { nodes, next: ROOT + 1, calls: 0, cut_at: None, off: false }
    }

    /// Lets the power go at the changing call after `calls` others.
    pub(super) fn cut_after(&mut self, calls: u64) {
        self.cut_at = Some(self.calls + calls);
    }

    /// Lets the power go now.
    pub(super) fn cut(&mut self) {
        self.off = true;
    }

    /// Whether the power is off.
    pub(super) fn is_off(&self) -> bool {
        self.off
    }

    /// Turns the power on again.
    pub(super) fn power_on(&mut self, kept: Kept) {
        (self.cut_at, self.off) = (None, false);
        let mut random = match kept {
            Kept::Everything => return,
            Kept::Synced => None,
            Kept::Some(seed) => Some(Random(seed)),
        };
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) => file.power_cycle(random.as_mut()),
                Node::Folder(folder) => folder.power_cycle(random.as_mut()),
            }
        }
        let reachable = self.reachable();
        self.nodes.retain(|number, _| reachable.contains(number));
    }

    fn reachable(&self) -> BTreeSet<u64> {
        let (mut reachable, mut open) = (BTreeSet::from([ROOT]), vec![ROOT]);
        while let Some(Node::Folder(folder)) = open.pop().map(|number| &self.nodes[&number]) {
            for &number in folder.names.values() {
                reachable.insert(number);
                if matches!(self.nodes[&number], Node::Folder(_)) {
                    open.push(number);
                }
            }
        }
        reachable
    }

    pub(super) fn look_up(&self, folder: u64, name: &OsStr) -> Result<Facts, Fault> {
        let number = *self.folder(folder)?.names.get(name).ok_or(Fault::NotFound)?;
        self.facts(number)
    }

    pub(super) fn facts(&self, number: u64) -> Result<Facts, Fault> {
        if self.off {
            return Err(Fault::Off);
        }
        let (is_folder, bytes) = match self.nodes.get(&number).ok_or(Fault::NotFound)? {
            Node::File(file) => (false, file.bytes.len() as u64),
            Node::Folder(_) => (true, 0),
        };
        Ok(Facts { number, is_folder, bytes })
    }

    /// Every name in a folder.
    pub(super) fn list(&self, folder: u64) -> Result<Vec<(OsString, Facts)>, Fault> {
        let names = &self.folder(folder)?.names;
        names.iter().map(|(name, &number)| Ok((name.clone(), self.facts(number)?))).collect()
    }

    pub(super) fn create(&mut self, folder: u64, name: &OsStr, is_folder: bool) -> Result<Facts, Fault> {
        self.call()?;
        let number = self.next;
        self.change(folder, |names| match names.contains_key(name) {
            true => Err(Fault::Exists),
            false => Ok(names.insert(name.to_owned(), number)),
        })?;
        self.next += 1;
        let node = if is_folder { Node::Folder(Folder::default()) } else { Node::File(File::default()) };
        self.nodes.insert(number, node);
        self.facts(number)
    }

    pub(super) fn unlink(&mut self, folder: u64, name: &OsStr, is_folder: bool) -> Result<(), Fault> {
        self.call()?;
        let found = self.look_up(folder, name)?;
        match (is_folder, found.is_folder) {
            (true, false) => return Err(Fault::NotAFolder),
            (false, true) => return Err(Fault::IsAFolder),
            (true, true) if !self.folder(found.number)?.names.is_empty() => return Err(Fault::NotEmpty),
            _ => {}
        }
        self.change(folder, |names| names.remove(name).ok_or(Fault::NotFound)).map(drop)
    }

    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Result<(), Fault> {
        self.call()?;
        let number = self.look_up(from.0, from.1)?.number;
        if from.0 == to.0 {
            // One change, so that a power cut leaves the one name or the other.
            return self.change(from.0, |names| {
                names.remove(from.1);
                names.insert(to.1.to_owned(), number);
                Ok(())
            });
        }
        self.change(to.0, |names| Ok(names.insert(to.1.to_owned(), number)))?;
        self.change(from.0, |names| names.remove(from.1).ok_or(Fault::NotFound)).map(drop)
    }

    pub(super) fn read(&self, file: u64, offset: usize, count: usize) -> Result<&[u8], Fault> {
        if self.off {
            return Err(Fault::Off);
        }
        let Some(Node::File(file)) = self.nodes.get(&file) else { return Err(Fault::NotFound) };
        let start = offset.min(file.bytes.len());
        let end = start.saturating_add(count).min(file.bytes.len());
        Ok(&file.bytes[start..end])
    }

    pub(super) fn write(&mut self, file: u64, offset: usize, bytes: &[u8]) -> Result<(), Fault> {
        let was_off = self.off;
        let called = self.call();
        if !was_off {
            self.file(file)?.write(offset, bytes);
        }
        called
    }

    pub(super) fn set_len(&mut self, file: u64, bytes: usize) -> Result<(), Fault> {
        self.call()?;
        self.file(file)?.bytes.resize(bytes, 0);
        Ok(())
    }

    /// Makes a file's bytes and length durable.
    pub(super) fn sync(&mut self, file: u64) -> Result<(), Fault> {
        self.call()?;
        self.file(file)?.sync();
        Ok(())
    }

    /// Makes a folder's names durable.
    pub(super) fn sync_folder(&mut self, folder: u64) -> Result<(), Fault> {
        self.call()?;
        match self.nodes.get_mut(&folder) {
            Some(Node::Folder(folder)) => {
                folder.durable.clone_from(&folder.names);
                folder.pending.clear();
                Ok(())
            }
            _ => Err(Fault::NotAFolder),
        }
    }

    /// Counts a changing call; fails when the power is off or goes now.
    fn call(&mut self) -> Result<(), Fault> {
        self.off |= self.cut_at == Some(self.calls);
        self.calls += 1;
        if self.off { Err(Fault::Off) } else { Ok(()) }
    }

    fn folder(&self, number: u64) -> Result<&Folder, Fault> {
        if self.off {
            return Err(Fault::Off);
        }
        match self.nodes.get(&number) {
            Some(Node::Folder(folder)) => Ok(folder),
            _ => Err(Fault::NotAFolder),
        }
    }

    fn file(&mut self, number: u64) -> Result<&mut File, Fault> {
        match self.nodes.get_mut(&number) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(Fault::NotFound),
        }
    }

    fn change<T>(&mut self, folder: u64, change: impl FnOnce(&mut Names) -> Result<T, Fault>) -> Result<T, Fault> {
        let Some(Node::Folder(folder)) = self.nodes.get_mut(&folder) else { return Err(Fault::NotAFolder) };
        let changed = change(&mut folder.names)?;
        folder.pending.push(folder.names.clone());
        Ok(changed)
    }
}

impl File {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(bytes);
        match self.dirty.last_mut() {
            Some(last) if last.end == offset => last.end = end,
            _ => self.dirty.push(offset..end),
        }
    }

    fn sync(&mut self) {
        self.durable.resize(self.bytes.len(), 0);
        for range in std::mem::take(&mut self.dirty) {
            self.keep(range);
        }
    }

    fn power_cycle(&mut self, random: Option<&mut Random>) {
        let dirty = std::mem::take(&mut self.dirty);
        if let Some(random) = random {
            if random.below(2) == 1 {
                self.durable.resize(self.bytes.len(), 0);
            }
            let sectors =
                dirty.into_iter().flat_map(|range| range.start / SECTOR_BYTES..range.end.div_ceil(SECTOR_BYTES));
            for sector in sectors.collect::<BTreeSet<usize>>() {
                if random.below(2) == 1 {
                    self.keep(sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES);
                }
            }
        }
        self.bytes.clone_from(&self.durable);
    }

    /// Copies to the durable side what both sides have of these bytes.
    fn keep(&mut self, range: Range<usize>) {
        let end = range.end.min(self.bytes.len()).min(self.durable.len());
        if range.start < end {
            self.durable[range.start..end].copy_from_slice(&self.bytes[range.start..end]);
        }
    }
}

impl Folder {
    fn power_cycle(&mut self, random: Option<&mut Random>) {
        let pending = std::mem::take(&mut self.pending);
        let kept = random.map_or(0, |random| random.below(pending.len() as u64 + 1));
        let kept = usize::try_from(kept).unwrap_or(0);
        if let Some(names) = pending.into_iter().take(kept).next_back() {
            self.durable = names;
        }
        self.names.clone_from(&self.durable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    /// A disk with a synced file `kept` that holds `old`.
    fn disk() -> (Image, u64) {
        let mut image = Image::new();
        let file = image.create(ROOT, name("kept"), false).unwrap().number;
        image.write(file, 0, b"old").unwrap();
        image.sync(file).unwrap();
        image.sync_folder(ROOT).unwrap();
        (image, file)
    }

    fn text(image: &Image, path: &str) -> Option<Vec<u8>> {
        let facts = image.look_up(ROOT, name(path)).ok()?;
        Some(image.read(facts.number, 0, 100).unwrap().to_vec())
    }

    #[test]
    fn what_was_not_synced_is_lost_and_what_was_stays() {
        let (mut image, file) = disk();
        image.write(file, 0, b"newer").unwrap();
        image.rename((ROOT, name("kept")), (ROOT, name("renamed"))).unwrap();
        assert_eq!(text(&image, "renamed").unwrap(), b"newer");
        image.power_on(Kept::Synced);
        assert_eq!((text(&image, "kept"), text(&image, "renamed")), (Some(b"old".to_vec()), None));
    }

    #[test]
    fn a_synced_file_without_a_synced_name_is_lost_and_an_unlinked_one_returns() {
        let (mut image, _) = disk();
        let file = image.create(ROOT, name("nameless"), false).unwrap().number;
        image.write(file, 0, b"bytes").unwrap();
        image.sync(file).unwrap();
        image.unlink(ROOT, name("kept"), false).unwrap();
        image.power_on(Kept::Synced);
        assert_eq!((text(&image, "nameless"), text(&image, "kept")), (None, Some(b"old".to_vec())));
    }

    #[test]
    fn a_folder_without_a_synced_name_takes_what_it_holds_with_it() {
        let (mut image, _) = disk();
        for (folder, synced) in [("with", true), ("without", false)] {
            let inner = image.create(ROOT, name(folder), true).unwrap().number;
            let file = image.create(inner, name("file"), false).unwrap().number;
            image.sync(file).unwrap();
            image.sync_folder(inner).unwrap();
            if synced {
                image.sync_folder(ROOT).unwrap();
            }
        }
        image.power_on(Kept::Synced);
        let with = image.look_up(ROOT, name("with")).unwrap().number;
        assert!(image.look_up(with, name("file")).is_ok());
        assert_eq!(image.look_up(ROOT, name("without")), Err(Fault::NotFound));
        assert_eq!(image.nodes.len(), 4, "what nobody can reach is gone");
    }

    #[test]
    fn a_seed_keeps_some_sectors_and_a_prefix_of_the_names_and_keeps_the_same_again() {
        let after = |seed| {
            let (mut image, file) = disk();
            image.write(file, 0, &[7; 20 * SECTOR_BYTES]).unwrap();
            for index in 0..5 {
                image.create(ROOT, name(&format!("new {index}")), false).unwrap();
            }
            image.power_on(Kept::Some(seed));
            let names: Vec<OsString> = image.list(ROOT).unwrap().into_iter().map(|(name, _)| name).collect();
            let bytes = image.read(file, 0, usize::MAX).unwrap().to_vec();
            (names, bytes)
        };
        let all: BTreeSet<_> = (0..40).map(after).collect();
        assert!(all.len() > 20, "seeds differ: {}", all.len());
        assert_eq!(after(3), after(3));
        for (names, bytes) in all {
            assert!(names[1..].iter().enumerate().all(|(at, name)| *name == *format!("new {at}")), "{names:?}");
            assert!(
                bytes.len() == 3
                    || bytes.chunks(SECTOR_BYTES).skip(1).all(|sector| sector == [sector[0]; SECTOR_BYTES])
            );
        }
    }

    #[test]
    fn what_the_process_alone_lost_is_still_volatile() {
        let (mut image, file) = disk();
        image.write(file, 0, b"new").unwrap();
        image.cut();
        image.power_on(Kept::Everything);
        assert_eq!(text(&image, "kept").unwrap(), b"new");
        image.power_on(Kept::Synced);
        assert_eq!(text(&image, "kept").unwrap(), b"old");
    }

    #[test]
    fn after_the_planned_call_nothing_works_until_the_power_is_back() {
        let (mut image, file) = disk();
        image.cut_after(1);
        image.write(file, 0, b"one").unwrap();
        assert!(!image.is_off());
        assert_eq!(image.sync(file), Err(Fault::Off));
        assert!(image.is_off());
        assert_eq!(image.write(file, 0, b"two"), Err(Fault::Off));
        assert_eq!(image.read(file, 0, 3), Err(Fault::Off));
        image.power_on(Kept::Synced);
        assert_eq!(text(&image, "kept").unwrap(), b"old");
    }
}
