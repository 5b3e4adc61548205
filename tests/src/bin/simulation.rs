//! `gollem-simulation`: runs whole-node simulations from a seed on, one after another in one thread, and says how fast simulated
//! time passes. A seed that fails is run again to see that it fails the same way. The exit status is 1 if one failed.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use gollem_tests::simulation::{Faults, Summary, run};

const YEAR_S: f64 = 365.25 * 86_400.0;

/// Runs whole-node simulations.
#[derive(Debug, Parser)]
struct Arguments {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// Only the clock is wrong.
    #[arg(long)]
    clock: bool,
    /// Stops at so many failures.
    #[arg(long, default_value_t = 5)]
    failures: u64,
}

fn main() -> io::Result<ExitCode> {
    let Arguments { seed, seeds, clock, failures } = Arguments::parse();
    let faults = if clock { Faults::Clock } else { Faults::Swarm };
    let (mut all, mut failed, mut runs) = (Summary::default(), 0, 0);
    let began = Instant::now();
    for seed in seed..seed.saturating_add(seeds) {
        runs += 1;
        let first = run(faults, seed);
        match &first {
            Ok(summary) => all += *summary,
            Err(failure) => {
                failed += 1;
                let same =
                    if run(faults, seed) == first { "fails the same way again" } else { "DIFFERS when run again" };
                writeln!(io::stdout(), "FAILED: {failure} ({same}; {runs} seeds tried)")?;
            }
        }
        if failed >= failures {
            break;
        }
    }
    let real_s = began.elapsed().as_secs_f64();
    let simulated_s = all.simulated_ns as f64 / 1e9;
    writeln!(io::stdout(), "{all:#?}")?;
    writeln!(
        io::stdout(),
        "{runs} seeds in {real_s:.1} s, {:.0} a second; {:.0} times real time, {:.1} simulated years a day",
        runs as f64 / real_s,
        simulated_s / real_s,
        simulated_s / real_s * 86_400.0 / YEAR_S,
    )?;
    Ok(ExitCode::from(u8::from(failed > 0)))
}
