//! A real broker, the exchange that publishes and the projector that reads are killed by turns in the middle of traffic; and
//! broker and projector stand still while traffic goes on. After each the projector comes to hold exactly the views that the
//! journal gives at the same input.

use super::binaries::Binaries;
use super::broker::Broker;
use super::server::{Plan, Server};
use super::traffic::Market;
use super::views::from_the_journal;
use super::{Checked, DEADLINE, doing, ensure, outcome, pass, skipped};
use crate::outcome::Outcome;
use gollem_journal::sim::Random;
use rustix::process::{Signal, kill_process};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// The latest moment of a kill after traffic started, and of the exchange's own after that.
const KILL_US_MAX: u64 = 60_000;
/// Kills of one data folder: after each all of it is folded anew.
const KILLS_PER_FOLDER: u64 = 30;
const TOKEN: &str = "the token of the projector of a fault check";

/// Kills `kills` times.
pub fn check(kills: u64, seed: u64) -> Outcome {
    with_a_broker(seed, |random, cases| run(kills, random, cases))
}

/// Lets broker and projector stand still `pauses` times while all trade, in turns.
pub fn check_pauses(pauses: u64, seed: u64) -> Outcome {
    with_a_broker(seed, |random, cases| {
        let mut venue = Venue::found()?;
        while *cases < pauses {
            venue.pause(cases.is_multiple_of(2), random)?;
            *cases += 1;
        }
        venue.server.stop()?;
        venue.projector.stop()
    })
}

/// Runs a check where there can be a broker.
fn with_a_broker(seed: u64, check: impl FnOnce(&mut Random, &mut u64) -> Checked<()>) -> Outcome {
    if let Err(why) = Broker::start() {
        return skipped(format!("no Kafka broker: {why}"));
    }
    let (mut random, mut cases) = (Random(seed), 0);
    let ended = check(&mut random, &mut cases);
    outcome(cases, seed, ended)
}

fn run(kills: u64, random: &mut Random, cases: &mut u64) -> Checked<()> {
    while *cases < kills {
        let mut venue = Venue::found()?;
        for _ in 0..KILLS_PER_FOLDER.min(kills - *cases) {
            let victim = [Victim::Broker, Victim::Exchange, Victim::Projector][*cases as usize % 3];
            venue = venue.round(victim, random).map_err(doing(format!("{victim:?} killed")))?;
            *cases += 1;
        }
        venue.server.stop()?;
        venue.projector.stop()?;
    }
    Ok(())
}

/// Who is killed while all work.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Broker,
    Exchange,
    Projector,
}

struct Venue {
    broker: Broker,
    plan: Plan,
    projection: Projection,
    server: Server,
    projector: Server,
    market: Market,
    _temporary: tempfile::TempDir,
}

/// How the projector is started.
struct Projection {
    program: PathBuf,
    kafka: String,
    data: PathBuf,
    log: PathBuf,
}

impl Projection {
    fn start(&self) -> Checked<Server> {
        let mut command = Command::new(&self.program);
        command.args(["--listen", "127.0.0.1:0", "--kafka", &self.kafka, "--data"]).arg(&self.data);
        command.env("GOLLEM_PROJECTOR_TOKEN", TOKEN).env("GOLLEM_LOG", "warn");
        let mut projector = Server::spawn(command, &self.log)?;
        ensure(projector.ready()?, || format!("the projector does not come up: {}", projector.told()))?;
        Ok(projector)
    }
}

impl Venue {
    fn found() -> Checked<Venue> {
        let temporary = tempfile::tempdir().map_err(doing("a data folder"))?;
        let path = |name| temporary.path().join(name);
        let broker = Broker::start()?;
        let binaries = Binaries::ordinary()?;
        let (program, kafka) = (binaries.projector.clone(), broker.address());
        let projection = Projection { program, kafka, data: path("projected"), log: path("projector.log") };
        let plan = Plan { kafka: Some(broker.address()), ..Plan::new(binaries, path("data"), path("log")) };
        let server = plan.start()?;
        let market = Market::found(&server)?;
        let projector = projection.start()?;
        Ok(Venue { broker, plan, projection, server, projector, market, _temporary: temporary })
    }

    /// Traffic, a kill in it, and the exchange's own a moment later, because traffic ends with it.
    fn round(mut self, victim: Victim, random: &mut Random) -> Checked<Venue> {
        let mut moment = || Duration::from_micros(random.below(KILL_US_MAX + 1));
        let moments = [moment(), moment()];
        let traffic = self.market.start(&self.server, random, false)?;
        pass(moments[0]);
        match victim {
            Victim::Broker => self.broker.kill()?,
            Victim::Projector => {
                self.projector.kill()?;
                self.projector = self.projection.start()?;
            }
            Victim::Exchange => {}
        }
        pass(moments[1]);
        self.server.kill()?;
        self.market.remember(traffic)?;
        // Up before its broker is: it serves without.
        self.server = self.plan.start()?;
        if matches!(victim, Victim::Broker) {
            self.broker.go_on()?;
        }
        self.market.check(&self.server)?;
        self.compare()?;
        Ok(self)
    }

    /// All trade, thousands of requests, while one stands still: each request is answered.
    fn pause(&mut self, of_broker: bool, random: &mut Random) -> Checked<()> {
        let pid = if of_broker { self.broker.pid()? } else { self.projector.pid() };
        let tell = |signal| kill_process(pid, signal).map_err(doing("stopping a process for a while"));
        tell(Signal::STOP)?;
        let traffic = self.market.start(&self.server, random, false)?;
        let remembered = self.market.remember(traffic);
        tell(Signal::CONT)?;
        remembered?;
        let lost = self.market.unanswered();
        ensure(lost == 0, || format!("{lost} requests got no answer"))?;
        self.market.check(&self.server)?;
        self.compare()
    }

    /// Waits until the projector has everything, and holds its views against the journal.
    fn compare(&self) -> Checked<()> {
        let durable = self.server.admin()?.get("/v1/admin/state")?["last_seq"].as_u64().unwrap_or(u64::MAX);
        let until = Instant::now() + 2 * DEADLINE;
        let mut reader = self.projector.client(TOKEN)?;
        loop {
            let shown = reader.get("/v1/views")?;
            if let Some(seq) = shown["seq"].as_u64().filter(|seq| *seq >= durable) {
                let expected = from_the_journal(&self.plan.data, seq)?.to_string();
                return ensure(shown["hash"] == expected, || {
                    format!("at input {seq} the projector has {}, the journal gives {expected}", shown["hash"])
                });
            }
            ensure(Instant::now() < until, || {
                let logs = [self.projector.told(), self.server.told()].join("\n");
                format!("the projector stays at {shown}, the journal is at {durable}: {logs}")
            })?;
        }
    }
}
