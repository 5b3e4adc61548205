//! The ways in. Each takes sound input, changes it, and gives it to what reads it; half of the time with its checksums made
//! right, so that it gets past them. Whatever is not refused must be as good as what the program wrote itself.

use super::inputs::{HEADS, Inputs, MARK, SLOT, open};
use super::seals;
use crate::mutate::{self, below, one_of};
use crate::scoreboard::fixed::disk_of;
use gollem_engine::{Capacity, Command, Engine, Event, Events, Input, Timestamp};
use gollem_journal::sim::{Random, SimStorage};
use gollem_journal::{
    Position, ScanError, ScanOptions, SnapshotStore, Tail, TailStop, Tree, TreeHead, read_heads_in, scan_in, starts_in,
};
use gollem_projections::kafka::EventRecord;
use gollem_projections::{Fold, StoreError, Views};
use gollem_sequencer::restore;
use serde_json::Value;
use std::convert::Infallible;

/// Changes of one input, at most.
const CHANGES_MAX: usize = 4;
/// Nanoseconds that pass before a changed command, at most.
const PAUSE_NS_MAX: u64 = 1 << 50;
/// Events of one input of the views, at most.
const EVENTS_MAX: usize = 4;

/// One case.
pub(super) fn try_one(inputs: &Inputs, views: &Views, random: &mut Random) -> Result<(), String> {
    match random.below(8) {
        0..=2 => command(inputs, random).map_err(doing("a command")),
        3 | 4 => events(inputs, views, random).map_err(doing("events of Kafka")),
        5 => journal(inputs, random).map_err(doing("a journal")),
        6 => snapshot(inputs, random).map_err(doing("a snapshot")),
        _ => notes(inputs, random).map_err(doing("a tree or its heads")),
    }
}

fn doing(what: &'static str) -> impl FnOnce(String) -> String {
    move |why| format!("{what}: {why}")
}

/// Sound bytes with some changes.
fn changed(random: &mut Random, sound: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    (0..=below(random, CHANGES_MAX)).for_each(|_| mutate::bytes(random, &mut bytes, other));
    bytes
}

/// A command that can be read is written so that it is read again, and the engine does it or refuses it.
fn command(inputs: &Inputs, random: &mut Random) -> Result<(), String> {
    let (sound, other): (&Vec<u8>, &Vec<u8>) = (one_of(random, &inputs.commands), one_of(random, &inputs.commands));
    let bytes = changed(random, sound, other);
    let Ok(command) = Command::decode(&bytes) else { return Ok(()) };
    let mut again = Vec::new();
    command.encode(&mut again);
    if Command::decode(&again).ok().as_ref() != Some(&command) {
        return Err(format!("{command:?} is read as another once it is written"));
    }
    let mut engine = Engine::read_snapshot(&mut inputs.state.as_slice()).map_err(|error| error.to_string())?;
    let at = Timestamp(inputs.state_at.0.saturating_add(random.below(PAUSE_NS_MAX)));
    engine.apply(&Input { seq: inputs.state_seq + 1, at, command: command.clone() }, &mut Events::new());
    if engine.ledger_sum() == 0 { Ok(()) } else { Err(format!("{command:?} makes or loses money")) }
}

/// A journal that opens is read as it was opened.
fn journal(inputs: &Inputs, random: &mut Random) -> Result<(), String> {
    let mut files = inputs.journal.clone();
    if random.below(2) == 0 {
        files.remove(MARK);
    }
    let names: Vec<String> = files.keys().cloned().collect();
    for _ in 0..=random.below(2) {
        let (name, other) = (one_of(random, &names), one_of(random, &names));
        let mut bytes = changed(random, &files[name], &files[other]);
        if random.below(2) == 0 {
            let seal = if name == MARK { seals::mark } else { seals::segment };
            seal(&mut bytes);
        }
        files.insert(name.clone(), bytes);
    }
    let disk = disk_of(&files);
    let after = random.below(2) * random.below(inputs.last_seq);
    // Whatever it says: it says it, in time.
    let position = Position { seq: after, time_ns: 0, chain: 0 };
    let _: Result<_, ScanError> =
        scan_in(&disk, ScanOptions { after: position, ..ScanOptions::default() }, &mut |_| Ok(()));
    let mut tail = Tail::new(disk.clone(), Position::START);
    while let Ok(stop) = tail.read(inputs.last_seq, &mut |_| Ok::<(), Infallible>(())) {
        if matches!(stop, TailStop::Reached) {
            break;
        }
    }
    let Ok(opened) = open(&disk) else { return Ok(()) };
    let (last, report) = (opened.encoder.next_seq() - 1, opened.report);
    drop(opened);
    let mut seen = 0;
    let visit = &mut |_: gollem_journal::Record<'_>| {
        seen += 1;
        Ok::<(), Infallible>(())
    };
    match scan_in(&disk, ScanOptions::default(), visit) {
        Ok(read) if read.torn_bytes == 0 && read.last_seq == last && seen == report.records => Ok(()),
        other => Err(format!("opened with {report:?}, then read as {other:?}")),
    }
}

/// A snapshot is used or passed over. With right checksums its counters are changed or its rows: the counters bound the
/// rows, so who makes both up may have as much memory taken as the engine ever takes.
fn snapshot(inputs: &Inputs, random: &mut Random) -> Result<(), String> {
    let (slot, (counters, rows)) = (&inputs.slot, inputs.slot.split_at(inputs.rows_at));
    let sealed = |mut bytes: Vec<u8>| {
        seals::snapshot(&mut bytes);
        bytes
    };
    let bytes = match random.below(4) {
        0 => changed(random, slot, slot),
        1 => sealed([&changed(random, counters, slot), rows].concat()),
        _ => sealed([counters, &changed(random, rows, slot)].concat()),
    };
    let disk = SimStorage::new();
    disk.put(SLOT, &bytes);
    let starts = starts_in(&disk).map_err(|error| error.to_string())?;
    let restored = restore(&SnapshotStore::new(disk), &starts, u64::MAX, Capacity::default);
    let (size, sum) = (restored.tree.size(), restored.replica.engine().ledger_sum());
    // Another sum can be written into a snapshot by who makes its checksums right, but then the state is another.
    if restored.position.seq == size && (sum == 0 || restored.position.seq == 0) {
        Ok(())
    } else {
        Err(format!("a state at {} with a tree of {size} and a sum of {sum}", restored.position.seq))
    }
}

/// A tree that can be read grows; heads are read or refused.
fn notes(inputs: &Inputs, random: &mut Random) -> Result<(), String> {
    if random.below(2) == 0 {
        let mut bytes = changed(random, &inputs.tree, &inputs.heads);
        seals::tree(&mut bytes);
        let Ok(mut tree) = Tree::decode(&bytes) else { return Ok(()) };
        if tree.size() < u64::MAX {
            tree.push(&[7; 32]);
        }
        let grown = Tree::decode(&tree.encode()).map_err(|error| error.to_string())?;
        return if grown.root() == tree.root() { Ok(()) } else { Err("a tree is read as another".to_owned()) };
    }
    let bytes = changed(random, &inputs.heads, &inputs.tree);
    let disk = SimStorage::new();
    disk.put(HEADS, &bytes);
    drop(read_heads_in(&disk, &mut |_, _| {}));
    drop(TreeHead::parse(&String::from_utf8_lossy(&bytes)));
    Ok(())
}

/// A record that can be read is written so that it is read again, and the views take its event or refuse it.
fn events(inputs: &Inputs, views: &Views, random: &mut Random) -> Result<(), String> {
    let mut events = Vec::new();
    for _ in 0..=below(random, EVENTS_MAX) {
        let Some(event) = event(inputs, random)? else { return Ok(()) };
        events.push(event);
    }
    let mut fold = Fold::new(views).map_err(|error| error.to_string())?;
    let at = Timestamp(inputs.state_at.0.saturating_add(random.below(u64::MAX)));
    match fold.apply(inputs.state_seq + 1, at, &events) {
        Err(StoreError::RocksDb(error)) => Err(error.to_string()),
        _ => Ok(()),
    }
}

/// The event of a changed record, if that can be read.
fn event(inputs: &Inputs, random: &mut Random) -> Result<Option<Event>, String> {
    let (sound, other): (&Vec<u8>, &Vec<u8>) = (one_of(random, &inputs.records), one_of(random, &inputs.records));
    let bytes = match random.below(4) {
        0 => changed(random, sound, other),
        way => {
            let mut value: Value = serde_json::from_slice(sound).map_err(|error| error.to_string())?;
            for _ in 0..=below(random, CHANGES_MAX) {
                if way == 1 { mutate::value(random, &mut value) } else { mutate::number(random, &mut value) }
            }
            value.to_string().into_bytes()
        }
    };
    let Ok(record) = serde_json::from_slice::<EventRecord>(&bytes) else { return Ok(None) };
    let again = serde_json::to_vec(&record).map_err(|error| error.to_string())?;
    match serde_json::from_slice::<EventRecord>(&again) {
        Ok(same) if same == record => Ok(record.event),
        other => Err(format!("{record:?} is read as {other:?} once it is written")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_input_gets_all_the_way_in() {
        let inputs = Inputs::make(3).unwrap();
        let views = inputs.views().unwrap();
        for bytes in &inputs.commands {
            Command::decode(bytes).unwrap();
        }
        let disk = disk_of(&inputs.journal);
        assert!(inputs.journal.len() > 4, "several segments and the mark");
        assert_eq!(open(&disk).unwrap().report.records, inputs.last_seq);
        let slots = SimStorage::new();
        slots.put(SLOT, &inputs.slot);
        let restored =
            restore(&SnapshotStore::new(slots.clone()), &starts_in(&slots).unwrap(), u64::MAX, Capacity::default);
        assert_eq!((restored.position.seq, restored.passed_over), (inputs.state_seq, Vec::new()));
        let heads = SimStorage::new();
        heads.put(HEADS, &inputs.heads);
        let mut read = 0;
        read_heads_in(&heads, &mut |_, _| read += 1).unwrap();
        assert!(read > 2, "{read} heads");
        let record: EventRecord = serde_json::from_slice(&inputs.records[0]).unwrap();
        let mut fold = Fold::new(&views).unwrap();
        fold.apply(inputs.state_seq + 1, Timestamp(record.at_ns), &[record.event.unwrap()]).unwrap();
    }
}
