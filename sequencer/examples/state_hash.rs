//! Prints the state hash of the journal in a folder: `cargo run --release -p gollem-sequencer --example state_hash DIR`.
//!
//! It needs the core alone, so it is built in half a minute where `gollem-replay` takes five: tests compare compilers'
//! profiles with it.

use gollem_journal::ScanOptions;
use gollem_sequencer::{ReplayError, Replica};
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: state_hash DIR")?;
    let mut replica = Replica::default();
    gollem_journal::scan(&dir, ScanOptions::default(), &mut |record| {
        replica.apply(&record)?;
        Ok::<(), ReplayError>(())
    })?;
    writeln!(std::io::stdout(), "{}", replica.engine().state_hash())?;
    Ok(())
}
