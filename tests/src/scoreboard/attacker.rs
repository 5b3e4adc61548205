//! Row 24: an attacker rewrites a record and recomputes every checksum and the chain after it.
//!
//! The attacker writes the journal anew with the journal's own writer, so nothing in it is wrong by itself: it must be
//! read without complaint. A head that was signed and carried away before shows the change, whatever the attacker
//! does to the head. Random proofs of inclusion and consistency verify for the true records and for no other.

use gollem_journal::sim::{Random, SimStorage};
use gollem_journal::tree::{ConsistencyProver, InclusionProver, record_hash};
use gollem_journal::{Group, HeadSigner, Tree, TreeHead};
use sha2::{Digest, Sha256};

use super::Run;
use super::model::{Kept, Model, below, open, scan};
use crate::outcome::Outcome;

const PROOFS: usize = 100;
const NAME: &str = "exchange.example/journal";

pub(crate) fn run(run: &Run) -> Outcome {
    let keys = tempfile::tempdir().map_err(|error| error.to_string()).and_then(|dir| {
        let key = |file| HeadSigner::load_or_create(&dir.path().join(file), NAME).map_err(|error| error.to_string());
        Ok((key("owner")?, key("attacker")?))
    });
    match keys {
        Ok((owner, attacker)) => run.each(|seed| attack(seed, &owner, &attacker).map(|()| 1)),
        Err(error) => Outcome { failures: vec![format!("no keys: {error}")], ..Outcome::default() },
    }
}

/// Writes these records in groups that end where the model's do, and reads them back.
fn write(records: &[Kept], ends: &[u64]) -> Result<Vec<Kept>, String> {
    let disk = SimStorage::new();
    let (mut opened, _) = open(&disk, 0).map_err(|error| error.to_string())?;
    let mut group = Group::new();
    for (seq, time_ns, payload) in records {
        let pushed = opened.encoder.push(&mut group, *time_ns, |bytes| bytes.extend_from_slice(payload));
        pushed.map_err(|error| error.to_string())?;
        if ends.contains(seq) || *seq == records.len() as u64 {
            opened.encoder.seal(&mut group);
            opened.writer.commit(&mut group).map_err(|error| error.to_string())?;
            group.clear();
        }
    }
    opened.writer.close().map_err(|error| error.to_string())?;
    let (report, found) = scan(&disk, 0).map_err(|error| format!("not read: {error}"))?;
    if report.clean && found == records { Ok(found) } else { Err(format!("read as {report:?}")) }
}

fn tree(records: &[Kept]) -> Tree {
    let mut tree = Tree::new();
    records.iter().for_each(|(seq, time_ns, payload)| tree.push_record(*seq, *time_ns, payload));
    tree
}

/// The root by the words of RFC 6962, section 2.1.
fn rfc_6962(records: &[Kept]) -> [u8; 32] {
    match records {
        [] => Sha256::digest([]).into(),
        [(seq, time_ns, payload)] => {
            let parts = [&[0][..], &seq.to_le_bytes(), &time_ns.to_le_bytes(), payload];
            Sha256::digest(parts.concat()).into()
        }
        _ => {
            let (left, right) = records.split_at(records.len().next_power_of_two() / 2);
            Sha256::digest([&[1][..], &rfc_6962(left), &rfc_6962(right)].concat()).into()
        }
    }
}

/// Records with one changed, exchanged with its neighbour, taken out, or put in.
fn forge(records: &[Kept], at: usize, random: &mut Random) -> Vec<Kept> {
    let mut forged = records.to_vec();
    match random.below(5) {
        0 => {
            forged.remove(at);
        }
        1 => forged.insert(at, (0, forged[at].1, vec![7; 20])),
        2 if at + 1 < forged.len() => {
            let payload = forged[at].2.clone();
            forged[at].2 = std::mem::replace(&mut forged[at + 1].2, payload);
        }
        _ => {
            let bit = below(random, forged[at].2.len() * 8);
            forged[at].2[bit / 8] ^= 1 << (bit % 8);
        }
    }
    for (record, seq) in forged.iter_mut().zip(1..) {
        record.0 = seq;
    }
    forged
}

fn attack(seed: u64, owner: &HeadSigner, attacker: &HeadSigner) -> Result<(), String> {
    let mut random = Random(seed);
    let mut model = Model::default();
    let disk = SimStorage::new();
    let (mut opened, _) = open(&disk, 0).map_err(|error| error.to_string())?;
    while model.records.len() < 20 + below(&mut random, 200) {
        let sizes: Vec<usize> = (0..1 + random.below(8)).map(|_| 8 + below(&mut random, 100)).collect();
        model.commit(&mut opened, &sizes, &mut random)?.map_err(|error| error.to_string())?;
    }
    let records = &model.records;
    let at = below(&mut random, records.len());
    let signed = at + 1 + below(&mut random, records.len() - at);
    let honest = tree(&records[..signed]);
    let note = owner.sign(&honest, records[signed - 1].1);
    let head = TreeHead::verify(&note, owner.public_key()).map_err(|error| format!("the owner's head: {error}"))?;

    if head.root != rfc_6962(&records[..signed]) {
        return Err(format!("the root of {signed} records is not that of RFC 6962"));
    }
    let found = write(&forge(records, at, &mut random), &model.ends)?;
    let forged = tree(&found[..signed.min(found.len())]);
    if head.size == forged.size() && head.root == forged.root() {
        return Err(format!("record {} is another, and the journal fits its signed head", at + 1));
    }
    let time_ns = found[found.len() - 1].1;
    let own = attacker.sign(&forged, time_ns);
    let signature = note.split_once("\n\n").map_or("", |(_, signature)| signature);
    let text = own.split_once("\n\n").map_or("", |(text, _)| text);
    for (how, note) in
        [("the attacker's key", own.clone()), ("the owner's old signature", format!("{text}\n\n{signature}"))]
    {
        if TreeHead::verify(&note, owner.public_key()).is_ok() {
            return Err(format!("a forged head with {how} is believed"));
        }
    }
    prove(records, &found, &mut random)
}

fn prove(records: &[Kept], forged: &[Kept], random: &mut Random) -> Result<(), String> {
    let hash = |record: &Kept| record_hash(record.0, record.1, &record.2);
    let hashes: Vec<_> = records.iter().map(hash).collect();
    for _ in 0..PROOFS {
        let size = 1 + below(random, records.len());
        let (index, old) = (below(random, size), below(random, size + 1));
        let root = tree(&records[..size]).root();
        let mut inclusion = InclusionProver::new(index as u64, size as u64).map_err(|error| error.to_string())?;
        let mut consistency = ConsistencyProver::new(old as u64, size as u64).map_err(|error| error.to_string())?;
        for leaf in &hashes {
            inclusion.push(leaf);
            consistency.push(leaf);
        }
        let inclusion = inclusion.finish().map_err(|error| error.to_string())?;
        let proved = inclusion.verify(&hashes[index], size as u64, &root);
        proved.map_err(|error| format!("record {} of {size} is not proved: {error}", index + 1))?;
        let other = forged.get(index).map(hash).filter(|other| *other != hashes[index]);
        if other.is_some_and(|other| inclusion.verify(&other, size as u64, &root).is_ok()) {
            return Err(format!("a forged record {} of {size} is proved", index + 1));
        }
        let (consistency, before) = (consistency.finish().map_err(|error| error.to_string())?, tree(&records[..old]));
        let proved = consistency.verify(old as u64, &before.root(), size as u64, &root);
        proved.map_err(|error| format!("{size} leaves are not proved to begin with {old}: {error}"))?;
        let other = tree(&forged[..old.min(forged.len())]);
        let differs = other.size() == old as u64 && other.root() != before.root();
        if differs && consistency.verify(old as u64, &other.root(), size as u64, &root).is_ok() {
            return Err(format!("{size} leaves are proved to begin with {old} forged ones"));
        }
    }
    Ok(())
}
