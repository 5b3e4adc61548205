//! Where to begin, and torn or corrupt: the decisions that opening, scanning and following share.
//!
//! # Fault model
//!
//! A crash or power loss keeps any subset of the 512-byte sectors written since the last sync, in a region that held
//! zeros. A disk may also flip bits, lose, repeat or misplace writes. The writer writes one group at a time and syncs it
//! before the next, and syncs a segment's header before giving the file its name.
//! So a crash can damage the group after the last complete one, and nothing else.
//!
//! `next.tmp` is no part of the log: it gets its name in the log last, so whatever a crash or a failed preparation leaves
//! in it holds nothing durable. It is ignored by a reader, removed when the journal is opened, and may be made anew by a
//! running writer when it could not be created or written. A sync that fails, of any file, is never tried again: not on
//! that file, for it may have dropped the pages, and not on another, for the disk is not to be trusted.
//!
//! A snapshot is written and synced under `snapshot.tmp`, then takes the name of the slot that does not hold the newest
//! sound one. So a crash can leave an old or a new slot, and never damages one. What is damaged in a slot is the disk's
//! work, and is reported; the other slot or the journal replaces it. A snapshot is only ever taken of durable records, so
//! each sound header is a witness: the log must reach it, even if the snapshot itself is not used.
//!
//! # The table
//!
//! First each slot of a snapshot is judged (`starts`):
//!
//! | case | what is found | verdict | why |
//! |---|---|---|---|
//! | 1 | no file | no candidate | none was written, or the power went before its name was durable |
//! | 2 | header, note or length wrong | no candidate, reported | no crash leaves one |
//! | 3 | sound, and the log's first segment begins right after its position or before, or there is no segment | candidate, the newest first | |
//! | 4 | sound, but the log's first segment begins later | no candidate | the records in between are gone, so it leads nowhere |
//! | 5 | a candidate whose body is found wrong while it is read | the next candidate, reported by who reads it | no crash leaves one |
//! | 6 | no candidate (left) | the beginning of the journal | full replay, or case 8 |
//!
//! A candidate is used alone: nothing of one slot is ever put together with something of the other.
//!
//! Then the place to begin at is looked up among the names of the segments (`begin`). *P* is the position to read from,
//! seq 0 for the beginning:
//!
//! | case | what is found | verdict | why |
//! |---|---|---|---|
//! | 7 | no segment | cases f, g, i with E = 0 | a position above 0 is then below witness |
//! | 8 | the first segment begins after P+1 | missing P+1 to its beginning | it was archived or lost: read from there, or bring it back |
//! | 9 | a segment begins at P+1 | begin there; its header's chain must be that of P, or case a | the header names the record before it |
//! | 10 | else: the last segment that begins before P | begin there, visit nothing before P; a group must end at P with its time and chain, or case a | the position is within a segment, or the log ends below it (case g) or at it |
//!
//! Then what is read is judged after each segment (`decide`). *E* is the sequence at the end of the last complete group,
//! *D* the first damage after it. The first row that fits holds.
//!
//! | case | what is found | verdict | why |
//! |---|---|---|---|
//! | a | a segment's name, place, header or header chain is wrong, or the log passes P with another record | corrupt | synced before it got its name |
//! | b | D is a record that matches its own checksum but not its place, or has nonzero padding | corrupt | a torn write over zeros leaves no such record; a misplaced, repeated or newer one does |
//! | c | after D in the segment, a valid record of a group that does not start at E+1 | corrupt | the damaged group had been synced before that one was written |
//! | d | damage, and a later segment exists | corrupt | a segment begins after all groups before it were synced |
//! | e | no damage, and a later segment exists | go on there | |
//! | f | the log does not end as the mark of a clean stop says | corrupt | nothing was being written |
//! | g | E is below what was seen outside | below witness | durable data is missing, with or without visible damage |
//! | h | damage, and none of the above: valid records after D, if any, are of group E+1 | torn, cut after E | the crash came before that group's sync |
//! | i | no damage | end | |
//!
//! A segment made by a rotation that crashed holds its header and zeros (the rename was last) and falls under i, or is
//! still `next.tmp` and is ignored. A last file with an empty, short or zeroed header is therefore case a: no crash
//! leaves one, and treating it as new could drop a segment of durable groups. The mark's own damage is case a.
//!
//! This module reads nothing; `walk` and `snapshot` gather the evidence.

use crate::Seq;
use crate::snapshot::{Checkpoint, DamagedSlot, Slot};

/// Where the state can be recovered from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Starts {
    /// Snapshots to try in this order, the newest first. When none is left the journal is read from its beginning, which
    /// is refused if its first segments are gone.
    pub candidates: Vec<Checkpoint>,
    /// Slots that hold no sound snapshot: to be reported, since the disk has lost something.
    pub damaged: Vec<DamagedSlot>,
}

/// Cases 1 to 4; `first_seq` is that of the log's first segment.
pub(crate) fn starts(slots: [Slot; 2], first_seq: Option<Seq>) -> Starts {
    let mut starts = Starts { candidates: Vec::new(), damaged: Vec::new() };
    for slot in slots {
        match slot {
            Slot::Empty => {}                                       // 1
            Slot::Damaged(damaged) => starts.damaged.push(damaged), // 2
            Slot::Sound(checkpoint) => {
                if first_seq.is_none_or(|first| first <= checkpoint.position.next_seq()) {
                    starts.candidates.push(checkpoint); // 3, otherwise 4
                }
            }
        }
    }
    starts.candidates.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.position.seq));
    starts
}

/// Which segment to read first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// Case 7.
    Nowhere,
    /// Case 8.
    Missing { first_seq: Seq, last_seq: Seq },
    /// Case 9.
    Boundary { index: usize },
    /// Case 10.
    Within { index: usize },
}

/// Cases 7 to 10 for segments that begin at `first_seqs`, in order, and a position after `after`.
pub(crate) fn begin(first_seqs: &[Seq], after: Seq) -> Beginning {
    let next_seq = after.saturating_add(1);
    let begun = first_seqs.partition_point(|&first| first <= next_seq);
    match (first_seqs.first(), begun.checked_sub(1)) {
        (None, _) => Beginning::Nowhere,
        (Some(&first), None) => Beginning::Missing { first_seq: next_seq, last_seq: first - 1 },
        (Some(_), Some(index)) if first_seqs[index] == next_seq => Beginning::Boundary { index },
        (Some(_), Some(index)) => Beginning::Within { index },
    }
}

/// What kind of damage was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Case a.
    Structure,
    /// Case b.
    Inconsistent,
    /// Bytes that an interrupted write can leave.
    Broken,
}

/// What was found at the end of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// E.
    pub(crate) last_seq: u64,
    pub(crate) fault: Option<Fault>,
    /// A valid record after the damage that belongs to another group than E+1.
    pub(crate) foreign_seq: Option<u64>,
    /// First sequence of the segment after this one.
    pub(crate) later_seq: Option<u64>,
    /// Whether the log ends as the mark of a clean stop says; `None` without a mark.
    pub(crate) mark_agrees: Option<bool>,
    /// Highest sequence seen outside.
    pub(crate) witnessed: u64,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Corrupt { next_valid_seq: Option<u64> },
    NextSegment,
    BelowWitness,
    Torn,
    End,
}

/// Cases a to i.
pub(crate) fn decide(evidence: &Evidence) -> Verdict {
    let next_valid_seq = evidence.foreign_seq.filter(|&seq| seq > evidence.last_seq).or(evidence.later_seq);
    let corrupt = Verdict::Corrupt { next_valid_seq };
    let damaged = evidence.fault.is_some();
    let followed = evidence.foreign_seq.is_some() || evidence.later_seq.is_some();
    let never_torn = matches!(evidence.fault, Some(Fault::Structure | Fault::Inconsistent));
    if never_torn || (damaged && followed) {
        corrupt // a, b, c, d
    } else if evidence.later_seq.is_some() {
        Verdict::NextSegment // e
    } else if evidence.mark_agrees == Some(false) {
        corrupt // f
    } else if evidence.last_seq < evidence.witnessed {
        Verdict::BelowWitness // g
    } else if damaged {
        Verdict::Torn // h
    } else {
        Verdict::End // i
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SnapshotDamage;
    use crate::position::Position;

    fn sound(seq: Seq) -> Slot {
        Slot::Sound(Checkpoint::at(Position { seq, ..Position::START }))
    }

    fn damaged() -> Slot {
        Slot::Damaged(DamagedSlot { path: "snapshot.1".into(), damage: SnapshotDamage::HeaderMagic })
    }

    /// Checks the candidates, by their sequence, and how many slots are reported.
    fn check_starts(cases: &str, slots: [Slot; 2], first_seq: Option<Seq>, candidates: &[Seq], reported: usize) {
        let found = starts(slots.clone(), first_seq);
        let seqs: Vec<Seq> = found.candidates.iter().map(|checkpoint| checkpoint.position.seq).collect();
        assert_eq!((seqs.as_slice(), found.damaged.len()), (candidates, reported), "cases {cases}: {slots:?}");
    }

    #[test]
    fn each_condition_of_the_slots_gives_its_candidates() {
        check_starts("1, 6", [Slot::Empty, Slot::Empty], Some(1), &[], 0);
        check_starts("1, 6", [Slot::Empty, Slot::Empty], None, &[], 0);
        check_starts("1, 2, 6", [Slot::Empty, damaged()], Some(1), &[], 1);
        check_starts("2, 6", [damaged(), damaged()], Some(1), &[], 2);
        check_starts("1, 3", [sound(7), Slot::Empty], Some(1), &[7], 0);
        check_starts("2, 3", [damaged(), sound(7)], Some(1), &[7], 1);
        check_starts("3", [sound(7), sound(9)], Some(1), &[9, 7], 0);
        check_starts("3", [sound(9), sound(7)], Some(1), &[9, 7], 0);
        check_starts("3", [sound(9), sound(7)], Some(8), &[9, 7], 0);
        check_starts("3", [sound(9), Slot::Empty], None, &[9], 0);
        check_starts("3, 4", [sound(9), sound(7)], Some(9), &[9], 0);
        check_starts("3, 4", [sound(9), sound(7)], Some(10), &[9], 0);
        check_starts("4, 6", [sound(9), sound(7)], Some(11), &[], 0);
        check_starts("2, 4, 6", [sound(9), damaged()], Some(11), &[], 1);
    }

    #[test]
    fn each_place_of_a_position_among_the_segments_gives_its_beginning() {
        let check = |case: u8, first_seqs: &[Seq], after, beginning| {
            assert_eq!(begin(first_seqs, after), beginning, "case {case}: {first_seqs:?} after {after}");
        };
        check(7, &[], 0, Beginning::Nowhere);
        check(7, &[], 5, Beginning::Nowhere);
        check(8, &[2], 0, Beginning::Missing { first_seq: 1, last_seq: 1 });
        check(8, &[500, 600], 0, Beginning::Missing { first_seq: 1, last_seq: 499 });
        check(8, &[500, 600], 300, Beginning::Missing { first_seq: 301, last_seq: 499 });
        check(8, &[500, 600], 498, Beginning::Missing { first_seq: 499, last_seq: 499 });
        check(9, &[1], 0, Beginning::Boundary { index: 0 });
        check(9, &[1, 500], 499, Beginning::Boundary { index: 1 });
        check(9, &[500, 600], 499, Beginning::Boundary { index: 0 });
        check(9, &[u64::MAX], u64::MAX - 1, Beginning::Boundary { index: 0 });
        check(10, &[1], 1, Beginning::Within { index: 0 });
        check(10, &[1, 500, 600], 498, Beginning::Within { index: 0 });
        check(10, &[1, 500, 600], 500, Beginning::Within { index: 1 });
        check(10, &[500, 600], 9_000, Beginning::Within { index: 1 });
        check(10, &[500], u64::MAX, Beginning::Within { index: 0 });
    }

    const SOUND: Evidence =
        Evidence { last_seq: 7, fault: None, foreign_seq: None, later_seq: None, mark_agrees: None, witnessed: 7 };
    const BROKEN: Evidence = Evidence { fault: Some(Fault::Broken), ..SOUND };

    fn check(case: char, evidence: Evidence, verdict: Verdict) {
        assert_eq!(decide(&evidence), verdict, "case {case}: {evidence:?}");
    }

    fn corrupt(next_valid_seq: Option<u64>) -> Verdict {
        Verdict::Corrupt { next_valid_seq }
    }

    #[test]
    fn each_row_of_the_table_gives_its_verdict() {
        check('a', Evidence { fault: Some(Fault::Structure), ..SOUND }, corrupt(None));
        check('b', Evidence { fault: Some(Fault::Inconsistent), ..SOUND }, corrupt(None));
        check('c', Evidence { foreign_seq: Some(12), ..BROKEN }, corrupt(Some(12)));
        check('c', Evidence { foreign_seq: Some(3), ..BROKEN }, corrupt(None));
        check('d', Evidence { later_seq: Some(20), ..BROKEN }, corrupt(Some(20)));
        check('e', Evidence { later_seq: Some(8), witnessed: 99, ..SOUND }, Verdict::NextSegment);
        check('f', Evidence { mark_agrees: Some(false), ..SOUND }, corrupt(None));
        check('f', Evidence { mark_agrees: Some(false), ..BROKEN }, corrupt(None));
        check('g', Evidence { witnessed: 8, ..SOUND }, Verdict::BelowWitness);
        check('g', Evidence { witnessed: 8, ..BROKEN }, Verdict::BelowWitness);
        check('h', BROKEN, Verdict::Torn);
        check('i', SOUND, Verdict::End);
        check('i', Evidence { mark_agrees: Some(true), ..SOUND }, Verdict::End);
    }

    #[test]
    fn a_cut_needs_every_condition_at_once() {
        for bits in 0..64_u8 {
            let on = |bit: u8| bits & (1 << bit) != 0;
            let evidence = Evidence {
                fault: [None, Some(Fault::Broken), Some(Fault::Inconsistent), Some(Fault::Structure)]
                    [usize::from(bits & 3)],
                foreign_seq: on(2).then_some(12),
                later_seq: on(3).then_some(20),
                mark_agrees: on(4).then_some(false),
                witnessed: if on(5) { 8 } else { 7 },
                ..SOUND
            };
            assert_eq!(decide(&evidence) == Verdict::Torn, evidence == BROKEN, "{evidence:?}");
        }
    }
}
