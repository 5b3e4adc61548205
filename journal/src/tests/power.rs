//! Promise: when the power goes at any call, and the disk keeps nothing or any subset of what was unsynced, a restart
//! finds every acknowledged group, only whole groups, and goes on; also when the power goes again during the restart.

use super::faults::workload;
use super::{Model, append_works, open};
use crate::sim::{Fault, Random, SimStorage};

#[test]
fn no_acknowledged_group_is_lost_when_the_power_fails_at_any_call() {
    let sound = SimStorage::new();
    assert_eq!(workload(&sound, &mut Model::default()), Some(()));
    for call in 0..sound.calls() {
        let storage = SimStorage::new();
        storage.plan(call, Fault::PowerCut);
        let mut model = Model::default();
        assert_eq!(workload(&storage, &mut model), None);
        for seed in [None, Some(1), Some(2), Some(3), Some(4)] {
            let storage = storage.fork();
            storage.power_cycle(seed);
            append_works(&storage, &model, &format!("power cut at call {call}, seed {seed:?}"));
        }
    }
}

#[test]
fn no_acknowledged_group_is_lost_when_the_power_fails_again_during_recovery() {
    let sound = SimStorage::new();
    assert_eq!(workload(&sound, &mut Model::default()), Some(()));
    for seed in 0..200 {
        let mut random = Random(seed);
        let storage = SimStorage::new();
        let mut model = Model::default();
        storage.plan(random.below(sound.calls()), Fault::PowerCut);
        assert_eq!(workload(&storage, &mut model), None);
        for _ in 0..3 {
            storage.power_cycle(Some(seed));
            let storage = storage.clone();
            storage.plan(storage.calls() + random.below(12), Fault::PowerCut);
            if let Ok((mut opened, found)) = open(&storage) {
                model.check_prefix(&found, &format!("seed {seed}"));
                // What was recovered has been given to a reader: it must stay.
                model.acked = found.len() as u64;
                model.commit(&mut opened, &[100, 900]).ok();
            }
        }
        storage.power_cycle(Some(seed));
        append_works(&storage, &model, &format!("seed {seed}"));
    }
}
