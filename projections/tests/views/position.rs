//! What stands beside the rows: position, offset and the hash of everything.

use crate::exact::play;
use gollem_engine::{AccountId, Amount, Command, Engine, Events, Input, Timestamp};
use gollem_projections::{ContentHash, Fold, Views};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Folds the opening of `accounts` accounts and a purchase of each, and writes after every `chunk` inputs.
fn folded(views: &Views, accounts: u32, chunk: usize, offset: Option<u64>) -> ContentHash {
    let mut engine = Engine::default();
    let mut fold = Fold::new(views).unwrap();
    let opened = (0..accounts).map(|_| Command::OpenAccount);
    let bought = (1..=accounts).map(|account| Command::PurchaseCredits {
        account: AccountId(account),
        amount: Amount(gollem_engine::limits::PURCHASE_ATOMS_MIN),
        reference: gollem_engine::Reference(u128::from(account).to_le_bytes()),
    });
    for (seq, command) in (1..).zip(opened.chain(bought)) {
        let mut events = Events::new();
        engine.apply(&Input { seq, at: Timestamp(seq), command }, &mut events);
        fold.apply(seq, Timestamp(seq), &events).unwrap();
        if let Some(offset) = offset {
            fold.set_offset(offset + seq);
        }
        if seq.is_multiple_of(chunk as u64) {
            fold.flush().unwrap();
        }
    }
    fold.flush().unwrap();
    let (watermark, hash) = views.content_hash().unwrap();
    assert_eq!(watermark, u64::from(accounts) * 2);
    hash
}

#[test]
fn an_offset_is_written_with_the_watermark_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    {
        let views = Views::open(dir.path()).unwrap();
        assert_eq!(views.offset().unwrap(), None, "nothing was folded from Kafka");
        let mut fold = Fold::new(&views).unwrap();
        fold.apply(1, Timestamp(1), &[]).unwrap();
        fold.set_offset(7);
        assert_eq!(views.offset().unwrap(), None, "not before the data");
        fold.flush().unwrap();
    }
    let views = Views::open(dir.path()).unwrap();
    assert_eq!((views.watermark().unwrap(), views.offset().unwrap()), (1, Some(7)));
    let mut fold = Fold::new(&views).unwrap();
    fold.apply(2, Timestamp(2), &[]).unwrap();
    fold.flush().unwrap();
    assert_eq!((views.watermark().unwrap(), views.offset().unwrap()), (2, Some(7)), "none was set since");
}

#[test]
fn the_hash_is_of_what_is_held_and_not_of_how_it_came_there() {
    let stores = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let views = stores.each_ref().map(|dir| Views::open(dir.path()).unwrap());
    let alone = folded(&views[0], 20, 1, None);
    assert_eq!(folded(&views[1], 20, 1_000, Some(100)), alone, "neither batches nor offsets matter");
    assert_ne!(folded(&views[2], 21, 1, None), alone);
    let (watermark, empty) = views[3].content_hash().unwrap();
    assert!(watermark == 0 && empty != alone);
    assert_eq!(empty.to_string().len(), 64);
}

/// Copies a folder's files, as they are while a store has them open.
fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// The newest log of a store's folder.
fn newest_log(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max().unwrap()
}

#[test]
fn a_folder_that_lost_the_end_of_its_log_holds_an_earlier_position_whole() {
    let dir = tempfile::tempdir().unwrap();
    let views = Views::open(dir.path()).unwrap();
    let mut fold = Fold::new(&views).unwrap();
    let mut hashes = BTreeMap::from([views.content_hash().unwrap()]);
    play(3, 600, |_, seq, at, events| {
        fold.apply(seq, at, events).unwrap();
        if seq.is_multiple_of(20) {
            fold.flush().unwrap();
            hashes.extend([views.content_hash().unwrap()]);
        }
    });
    let bytes = fs::metadata(newest_log(dir.path())).unwrap().len();
    let mut found = Vec::new();
    for lost in [0, 1, 100, bytes / 10, bytes / 3, bytes / 2, bytes * 9 / 10] {
        let crashed = tempfile::tempdir().unwrap();
        copy(dir.path(), crashed.path());
        let log = fs::OpenOptions::new().write(true).open(newest_log(crashed.path())).unwrap();
        log.set_len(bytes - lost).unwrap();
        drop(log);
        let (watermark, hash) = Views::open(crashed.path()).unwrap().content_hash().unwrap();
        assert_eq!(hashes.get(&watermark), Some(&hash), "{lost} of {bytes} bytes lost, input {watermark}");
        found.push(watermark);
    }
    assert!(found[0] == 600 && found.is_sorted_by(|one, next| one >= next) && found[6] < 300, "{found:?}");
}
