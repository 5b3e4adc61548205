//! Promise: any payloads in any groups, over any restarts, clean or not, come back as they were.
//! proptest prints the failing case and keeps its seed.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Model, open, scan};
use crate::sim::SimStorage;

#[derive(Clone, Copy, Debug)]
enum Stop {
    Clean,
    Killed,
    PowerCut(u64),
}

fn stop() -> impl Strategy<Value = Stop> {
    prop_oneof![Just(Stop::Clean), Just(Stop::Killed), any::<u64>().prop_map(Stop::PowerCut)]
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 1_usize..200, 1 => 1_usize..=60_000]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_committed_comes_back_over_any_restarts(
        runs in vec((vec(vec(size(), 1..16), 0..8), stop()), 1..5),
    ) {
        let storage = SimStorage::new();
        let mut model = Model::default();
        for (groups, stop) in runs {
            let (mut opened, found) = open(&storage).unwrap();
            prop_assert_eq!(&found, &model.records);
            for sizes in groups {
                model.commit(&mut opened, &sizes).unwrap();
            }
            prop_assert_eq!(opened.writer.durable_seq(), model.records.len() as u64);
            match stop {
                Stop::Clean => opened.writer.close().unwrap(),
                Stop::Killed => drop(opened),
                Stop::PowerCut(seed) => {
                    drop(opened);
                    storage.power_cycle(Some(seed));
                }
            }
            let (report, found) = scan(&storage).unwrap();
            prop_assert_eq!(&found, &model.records);
            prop_assert_eq!(report.clean, matches!(stop, Stop::Clean));
        }
    }
}
