//! The promise: an attacker who owns the disk, rewrites a record and recomputes every checksum and the chain after it is
//! found out by a signed tree head that was kept elsewhere; and every record under the head can be proved.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::path::Path;

use gollem_journal::tree::{ConsistencyProver, InclusionProver, ProofError, Tree, record_hash};
use gollem_journal::{HeadSigner, TreeHead, VerifierKey};
use support::{Kept, read_journal, segments, write_journal};

const RECORDS: u64 = 4_000;

/// A journal, and what was carried away from it: the note and the public key.
struct Audited {
    dir: tempfile::TempDir,
    note: String,
    key: VerifierKey,
    records: Vec<Kept>,
}

fn audited() -> Audited {
    let (dir, vault) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_journal(dir.path(), RECORDS);
    let signer = HeadSigner::load_or_create(&vault.path().join("key"), "exchange.example").unwrap();
    let records = read_journal(dir.path());
    let tree = tree_of(&records);
    let note = signer.sign(&tree, records.last().unwrap().1);
    Audited { note, key: signer.public_key().clone(), records, dir }
}

/// Numbers that look random and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn tree_of(records: &[Kept]) -> Tree {
    let mut tree = Tree::new();
    records.iter().for_each(|(seq, time_ns, payload)| tree.push_record(*seq, *time_ns, payload));
    tree
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn put_crc(bytes: &mut [u8], at: usize, crc: u32) {
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Lets `forge` change the payload of the record `target` and makes everything after it right again: checksums, the chain,
/// segment headers. Written from the format's description alone.
fn rewrite(dir: &Path, target: u64, forge: &dyn Fn(&mut [u8])) {
    let mut chain = 0;
    for path in segments(dir) {
        let mut bytes = fs::read(&path).unwrap();
        put_crc(&mut bytes, 24, chain);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..64]);
        put_crc(&mut bytes, 12, crc);
        let mut at = 64;
        while at + 32 <= bytes.len() && bytes[at..at + 32] != [0; 32] {
            let len = usize::from(u16::from_le_bytes([bytes[at + 12], bytes[at + 13]]));
            put_crc(&mut bytes, at + 4, chain);
            if u64_at(&bytes, at + 16) == target {
                forge(&mut bytes[at + 32..at + 32 + len]);
            }
            chain = crc32c::crc32c(&bytes[at + 4..at + 32 + len]);
            put_crc(&mut bytes, at, chain);
            at += 32 + len.next_multiple_of(8);
        }
        fs::write(&path, &bytes).unwrap();
    }
}

#[test]
fn a_rewritten_record_passes_every_checksum_and_never_the_signed_head() {
    let audited = audited();
    assert!(segments(audited.dir.path()).len() >= 3, "the forgery crosses segments");
    let head = TreeHead::verify(&audited.note, &audited.key).unwrap();
    assert_eq!((head.size, head.root), (RECORDS, tree_of(&audited.records).root()));

    let mut random = Random(24);
    let picked = (0..8).map(|_| 1 + random.below(RECORDS));
    for target in picked.chain([1, RECORDS]) {
        rewrite(audited.dir.path(), target, &|payload| payload[7] ^= 1);
        let forged = read_journal(audited.dir.path());
        let differing: Vec<u64> =
            forged.iter().zip(&audited.records).filter(|(a, b)| a != b).map(|(a, _)| a.0).collect();
        assert_eq!((forged.len() as u64, differing.as_slice()), (RECORDS, [target].as_slice()), "scanning accepts it");
        assert_ne!(tree_of(&forged).root(), head.root, "record {target} was rewritten unseen");
        rewrite(audited.dir.path(), target, &|payload| payload[7] ^= 1);
    }
    assert_eq!(read_journal(audited.dir.path()), audited.records, "the forger undid what it did");
}

#[test]
fn a_rewritten_journal_that_goes_on_cannot_be_proved_to_continue_the_signed_one() {
    let audited = audited();
    let head = TreeHead::verify(&audited.note, &audited.key).unwrap();
    let grown = |dir: &Path| {
        let records = read_journal(dir);
        let mut prover = ConsistencyProver::new(head.size, records.len() as u64).unwrap();
        records.iter().for_each(|(seq, time_ns, payload)| prover.push(&record_hash(*seq, *time_ns, payload)));
        let tree = tree_of(&records);
        prover.finish().unwrap().verify(head.size, &head.root, tree.size(), &tree.root())
    };
    write_journal(audited.dir.path(), 700);
    assert_eq!(grown(audited.dir.path()), Ok(()));
    rewrite(audited.dir.path(), 1234, &|payload| payload.reverse());
    assert_eq!(grown(audited.dir.path()), Err(ProofError::OldRoot));
}

#[test]
fn a_thousand_random_records_are_proved_under_the_signed_head() {
    let audited = audited();
    let head = TreeHead::verify(&audited.note, &audited.key).unwrap();
    let leaves: Vec<_> =
        audited.records.iter().map(|(seq, time_ns, payload)| record_hash(*seq, *time_ns, payload)).collect();
    let mut random = Random(1);
    for _ in 0..1_000 {
        let index = random.below(head.size);
        let mut prover = InclusionProver::new(index, head.size).unwrap();
        leaves.iter().for_each(|leaf| prover.push(leaf));
        let proof = prover.finish().unwrap();
        let (seq, time_ns, payload) = &audited.records[usize::try_from(index).unwrap()];
        assert_eq!(proof.verify(&record_hash(*seq, *time_ns, payload), head.size, &head.root), Ok(()));
        assert!(proof.verify(&record_hash(*seq, *time_ns + 1, payload), head.size, &head.root).is_err());
    }
}
