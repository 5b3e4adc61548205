//! The views' folder after `kill -9` of the exchange, with the end of RocksDB's own log cut off, and deleted: data and
//! watermark agree, the next start folds what is missing, and what was deleted is built again, byte by byte as the journal
//! says.

use super::binaries::Binaries;
use super::server::{Plan, Server};
use super::traffic::Market;
use super::{Checked, DEADLINE, doing, ensure, outcome, pass};
use crate::outcome::Outcome;
use gollem_engine::Timestamp;
use gollem_journal::sim::Random;
use gollem_journal::{ScanOptions, scan};
use gollem_projections::{ContentHash, Fold, Views};
use gollem_sequencer::Replica;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The latest moment of a kill after traffic started.
const KILL_US_MAX: u64 = 60_000;
/// Kills of one data folder.
const KILLS_PER_FOLDER: u64 = 50;

/// What happens to the folder after the kill.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Nothing,
    /// The newest log of RocksDB loses its end.
    LogTail,
    Deleted,
}

/// Kills the server `kills` times and holds its views against its journal.
pub fn check(kills: u64, seed: u64) -> Outcome {
    let (mut random, mut cases) = (Random(seed), 0);
    let ended = run(kills, &mut random, &mut cases);
    outcome(cases, seed, ended)
}

fn run(kills: u64, random: &mut Random, cases: &mut u64) -> Checked<()> {
    let binaries = Binaries::ordinary()?;
    while *cases < kills {
        let temporary = tempfile::tempdir().map_err(doing("a data folder"))?;
        let (data, log) = (temporary.path().join("data"), temporary.path().join("log"));
        let plan = Plan::new(binaries.clone(), data, log);
        let mut server = plan.start()?;
        let mut market = Market::found(&server)?;
        for _ in 0..KILLS_PER_FOLDER.min(kills - *cases) {
            let damage = [Damage::Nothing, Damage::LogTail, Damage::Deleted][*cases as usize % 3];
            server = kill(&plan, server, &mut market, damage, random).map_err(doing(format!("{damage:?}")))?;
            *cases += 1;
        }
        server.stop()?;
        let views = plan.data.join("views");
        same_as_the_journal(&plan.data, &views)?;
    }
    Ok(())
}

/// One kill; returns the server that came after it, whose views have caught up.
fn kill(plan: &Plan, server: Server, market: &mut Market, damage: Damage, random: &mut Random) -> Checked<Server> {
    let traffic = market.start(&server, random, false)?;
    pass(Duration::from_micros(random.below(KILL_US_MAX + 1)));
    server.kill()?;
    market.remember(traffic)?;
    let views = plan.data.join("views");
    match damage {
        Damage::Nothing => {}
        Damage::LogTail => cut_log(&views, random)?,
        Damage::Deleted => std::fs::remove_dir_all(&views).map_err(doing("deleting the views"))?,
    }
    if !matches!(damage, Damage::Deleted) {
        same_as_the_journal(&plan.data, &views)?;
    }
    let server = plan.start()?;
    let mut admin = server.admin()?;
    let until = Instant::now() + DEADLINE;
    let durable = admin.get("/v1/admin/state")?["last_seq"].as_u64().unwrap_or(u64::MAX);
    loop {
        let shown = admin.get("/v1/views")?;
        if shown["seq"].as_u64().is_some_and(|seq| seq >= durable) {
            break;
        }
        ensure(Instant::now() < until, || format!("the views stay at {shown}, the journal is at {durable}"))?;
    }
    market.check(&server)?;
    Ok(server)
}

/// Data and watermark of the views agree: they hold what the journal gives up to there.
fn same_as_the_journal(data: &Path, folder: &Path) -> Checked<()> {
    let views = Views::open(folder).map_err(doing("opening the views"))?;
    let (seq, hash) = views.content_hash().map_err(doing("reading the views"))?;
    let expected = from_the_journal(data, seq)?;
    ensure(hash == expected, || format!("at input {seq} the views are {hash}, the journal gives {expected}"))
}

/// The hash of views that are folded from the journal alone.
pub(super) fn from_the_journal(data: &Path, until: u64) -> Checked<ContentHash> {
    let views = Views::in_memory().map_err(doing("views in memory"))?;
    let mut fold = Fold::new(&views).map_err(doing("views in memory"))?;
    let mut replica = Replica::default();
    let options = ScanOptions { until: Some(until), ..ScanOptions::default() };
    let scanned = scan(&data.join("journal"), options, &mut |record| -> Checked<()> {
        let events = replica.apply(&record).map_err(doing("applying the journal"))?;
        fold.apply(record.seq, Timestamp(record.time_ns), events).map_err(doing("folding"))
    });
    scanned.map_err(doing("folding the journal"))?;
    fold.flush().map_err(doing("writing views in memory"))?;
    ensure(fold.watermark() == until, || format!("the journal ends at {}, views at {until}", fold.watermark()))?;
    Ok(views.content_hash().map_err(doing("reading views in memory"))?.1)
}

/// Cuts a random part off the end of RocksDB's newest log.
fn cut_log(views: &Path, random: &mut Random) -> Checked<()> {
    let Some(log) = newest_log(views)? else { return Ok(()) };
    let file = std::fs::File::options().write(true).open(&log).map_err(doing("opening RocksDB's log"))?;
    let bytes = file.metadata().map_err(doing("looking at RocksDB's log"))?.len();
    file.set_len(bytes - random.below(bytes + 1)).map_err(doing("cutting RocksDB's log"))
}

fn newest_log(views: &Path) -> Checked<Option<PathBuf>> {
    let entries = std::fs::read_dir(views).map_err(doing("listing the views"))?;
    let logs = entries.filter_map(Result::ok).map(|entry| entry.path());
    Ok(logs.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max())
}
