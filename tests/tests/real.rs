//! Faults against the real binary, in the volume of a pull request; the checks and their promises are in
//! `gollem_tests::real`. `SEED=<n>` repeats the random choices of a run, `VOLUME=<n>` sets another volume.

#[cfg(test)]
mod checks {
    use gollem_tests::outcome::Outcome;
    use gollem_tests::real::{full_disk, kill, power, resend};
    use std::io::Write;
    use std::time::{SystemTime, UNIX_EPOCH};

    /// The seed in `SEED`, or a fresh one.
    fn seed() -> u64 {
        let now = || u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos());
        std::env::var("SEED").map_or_else(|_| now(), |text| text.parse().expect("SEED is a number"))
    }

    /// The volume in `VOLUME`, or that of a pull request.
    fn volume(pull_request: u64) -> u64 {
        std::env::var("VOLUME").map_or(pull_request, |text| text.parse().expect("VOLUME is a number"))
    }

    #[track_caller]
    fn assert_held(outcome: &Outcome, cases: u64) {
        match &outcome.skipped {
            // Written past the test harness, which hides what a passing test prints.
            Some(why) => writeln!(std::io::stderr(), "skipped: {why}").expect("standard error is open"),
            None => {
                assert!(outcome.failures.is_empty(), "{:#?}", outcome.failures);
                assert_eq!(outcome.cases, cases);
            }
        }
    }

    #[test]
    fn kills_at_any_time_and_at_every_crash_point_lose_and_double_nothing() {
        let kills = volume(50);
        let points = kill::crash_points().unwrap();
        let points: Vec<&str> = points.iter().map(String::as_str).collect();
        assert_held(&kill::check(kills, &points, seed()), kills);
    }

    #[test]
    fn power_cuts_lose_and_double_nothing() {
        let cuts = volume(20);
        assert_held(&power::check(cuts, seed()), cuts);
    }

    #[test]
    fn a_full_disk_refuses_commands_and_loses_nothing() {
        let times = volume(2);
        assert_held(&full_disk::check(times, seed()), times);
    }

    #[test]
    fn a_request_sent_again_and_again_has_one_effect_and_one_answer() {
        let requests = volume(10_000);
        assert_held(&resend::check(requests, seed()), requests);
    }
}
