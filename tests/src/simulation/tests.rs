use super::{Faults, Summary, check, run};

fn sum(faults: Faults, seeds: std::ops::Range<u64>) -> Summary {
    let mut all = Summary::default();
    for seed in seeds {
        all += run(faults, seed).unwrap_or_else(|failure| panic!("{failure}"));
    }
    all
}

#[test]
fn equal_seeds_give_equal_runs_and_other_seeds_other_ones() {
    for faults in [Faults::Swarm, Faults::Clock] {
        let runs: Vec<_> = (0..6).map(|seed| run(faults, seed)).collect();
        let again: Vec<_> = (0..6).map(|seed| run(faults, seed)).collect();
        assert_eq!(runs, again);
        assert!(runs.windows(2).all(|pair| pair[0] != pair[1]));
    }
}

#[test]
fn no_promise_is_broken_while_every_kind_of_trouble_happens() {
    let all = sum(Faults::Swarm, 0..60);
    let Summary { inputs, answered, resent, refused, starts, crashes, power_cuts, .. } = all;
    assert!(inputs > 1_000 && answered > 1_000 && starts > 60, "{all:?}");
    assert!([resent, refused, crashes, power_cuts].iter().all(|&count| count > 0), "{all:?}");
    let Summary { recoveries_cut, from_snapshots, journal_failures, full_disks, flips, .. } = all;
    assert!(
        [recoveries_cut, from_snapshots, journal_failures, full_disks, flips].iter().all(|&count| count > 0),
        "{all:?}"
    );
    let Summary { clock_faults, gaps, snapshots, segments_removed, simulated_ns, .. } = all;
    assert!([clock_faults, gaps, snapshots, segments_removed, simulated_ns].iter().all(|&count| count > 0), "{all:?}");
}

#[test]
fn a_wrong_clock_breaks_no_promise_either() {
    let all = sum(Faults::Clock, 0..20);
    assert!(all.clock_faults > 100 && all.starts == 20 && all.power_cuts + all.crashes == 0, "{all:?}");
}

#[test]
fn a_check_counts_its_cases() {
    let outcome = check(Faults::Swarm, 9, 64);
    assert_eq!((outcome.cases, outcome.failures.as_slice()), (9, &[][..]));
}
