//! How any engine is measured over an order file, in this process.
//!
//! An engine becomes a [`Subject`]. First a verification pass, untimed, must trade exactly what the file says; an engine
//! that does not is refused, not measured. Then come passes that read the clock twice in all, on fresh engines, the
//! subjects in turns; then passes that read it around each operation. All of them fill the book and warm up first,
//! run on one pinned thread, and must end with the same trades.
//!
//! Throughput is of the thread's processor time, so that a neighbour who takes the core away does not count. Service
//! times are of the wall clock; what reading it costs is subtracted. The loop is closed: queueing is not measured.

use crate::output;
use crate::workload::{Answer, Header, Op, Trade, Work};
use anyhow::{Context, bail, ensure};
use core_affinity::CoreId;
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Empty pairs of clock readings whose median is the clock's cost.
const CLOCK_PAIRS: usize = 100_000;

/// An engine that can be measured.
pub(crate) trait Subject: Sized {
    /// The name in the table.
    const NAME: &'static str;

    /// An empty engine for a file with that header, with whatever accounts and funds it needs.
    ///
    /// # Errors
    /// When the engine cannot take such a file.
    fn fresh(header: &Header) -> anyhow::Result<Self>;

    /// Applies one operation and hands out its trades in order.
    fn apply(&mut self, op: &Op, trade: &mut impl FnMut(Trade));

    /// Shows the operations that come next, so that the engine can fetch from memory what they will need. Part of the
    /// measured time; an engine that is fed one operation at a time ignores it.
    #[inline]
    fn look_ahead(&mut self, _upcoming: &[Op]) {}

    /// What must hold after all operations besides the trades; asked outside of the measured time.
    ///
    /// # Errors
    /// When it does not hold.
    fn check(&self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// A subject whose type is forgotten: its passes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passes {
    name: &'static str,
    verify: fn(&Work) -> anyhow::Result<Answer>,
    whole: fn(&Work) -> anyhow::Result<Duration>,
    each: fn(&Work, Duration) -> anyhow::Result<Histogram<u64>>,
}

impl Passes {
    /// The passes of a subject.
    pub(crate) fn of<S: Subject>() -> Passes {
        Passes { name: S::NAME, verify: verify::<S>, whole: whole::<S>, each: each::<S> }
    }
}

/// How often to measure.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Plan {
    /// Passes over an order file for throughput; their median and best are printed
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) repetitions: u32,
    /// Passes over an order file for service times; the one with the best p99.9 is printed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) latency_passes: u32,
}

/// One engine's figures on one workload; the names are the keys of the JSON object, and rivals print the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measurement {
    /// Who was measured.
    pub(crate) engine: String,
    /// On what.
    pub(crate) workload: String,
    /// The workload's seed.
    pub(crate) seed: u64,
    /// Measured operations.
    pub(crate) commands: u64,
    /// The median of the passes.
    pub(crate) commands_per_s: u64,
    /// The best of the passes.
    pub(crate) best_commands_per_s: u64,
    /// Service time, half of the operations take at most this.
    pub(crate) p50_ns: u64,
    /// 99% of them.
    pub(crate) p99_ns: u64,
    /// 99.9% of them.
    pub(crate) p999_ns: u64,
    /// What was subtracted for reading the clock.
    pub(crate) clock_ns: u64,
    /// Trades of all operations, measured or not.
    pub(crate) trades: u64,
    /// Their quantity.
    pub(crate) quantity: u64,
    /// Their hash, sixteen hexadecimal digits.
    pub(crate) hash: String,
    /// What is different about this engine, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) note: String,
}

impl Measurement {
    /// Whether it traded exactly that.
    pub(crate) fn traded(&self, answer: Answer) -> bool {
        let hash = format!("{:016x}", answer.hash.0);
        (self.trades, self.quantity, &self.hash) == (answer.trades, answer.quantity, &hash)
    }
}

/// Measures all subjects on one pinned thread, in turns.
///
/// # Errors
/// When the thread cannot be pinned, or a subject does not trade what the file says.
pub(crate) fn measure(subjects: &[Passes], name: &str, work: &Work, plan: Plan) -> anyhow::Result<Vec<Measurement>> {
    pinned(|| passes(subjects, name, work, plan)).with_context(|| format!("workload {name}"))
}

/// Runs something on a thread of its own that is pinned to [`core()`].
///
/// # Errors
/// When the thread cannot be pinned, or what runs fails or panics.
pub(crate) fn pinned<T: Send>(run: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    let run = || {
        pin()?;
        run()
    };
    std::thread::scope(|scope| match scope.spawn(run).join() {
        Ok(result) => result,
        Err(_) => bail!("an engine panicked"),
    })
}

/// The core on which everything is measured: the last one this process may use, since the first gets the interrupts.
///
/// # Errors
/// When the operating system does not tell.
pub(crate) fn core() -> anyhow::Result<CoreId> {
    let cores = core_affinity::get_core_ids().context("cannot list the processor's cores")?;
    cores.last().copied().context("there is no core to measure on")
}

fn pin() -> anyhow::Result<()> {
    let core = core()?;
    ensure!(core_affinity::set_for_current(core), "cannot pin the measuring thread to core {}", core.id);
    Ok(())
}

fn passes(subjects: &[Passes], name: &str, work: &Work, plan: Plan) -> anyhow::Result<Vec<Measurement>> {
    let clock = clock_cost();
    let mut runs = Vec::new();
    for subject in subjects {
        let answer = (subject.verify)(work).with_context(|| format!("engine {}", subject.name))?;
        runs.push(Runs { name: subject.name, answer, times: Vec::new(), histograms: Vec::new() });
    }
    for _ in 0..plan.repetitions {
        for (subject, runs) in subjects.iter().zip(&mut runs) {
            runs.times.push((subject.whole)(work)?);
        }
    }
    for _ in 0..plan.latency_passes {
        for (subject, runs) in subjects.iter().zip(&mut runs) {
            runs.histograms.push((subject.each)(work, clock)?);
        }
    }
    runs.into_iter().map(|runs| runs.measurement(name, work, clock)).collect()
}

/// What the passes of one subject gave.
#[derive(Debug)]
struct Runs {
    name: &'static str,
    answer: Answer,
    times: Vec<Duration>,
    histograms: Vec<Histogram<u64>>,
}

impl Runs {
    fn measurement(mut self, workload: &str, work: &Work, clock: Duration) -> anyhow::Result<Measurement> {
        self.times.sort_unstable();
        let commands = work.measured().len();
        let rate = |at: usize| self.times.get(at).map(|&took| output::per_second(commands, took));
        let best = self.histograms.iter().min_by_key(|times| times.value_at_quantile(0.999));
        let best = best.context("no pass for service times")?;
        Ok(Measurement {
            engine: self.name.to_owned(),
            workload: workload.to_owned(),
            seed: work.header.seed,
            commands: work.header.measured,
            commands_per_s: rate(self.times.len() / 2).context("no pass for throughput")?,
            best_commands_per_s: rate(0).context("no pass for throughput")?,
            p50_ns: best.value_at_quantile(0.5),
            p99_ns: best.value_at_quantile(0.99),
            p999_ns: best.value_at_quantile(0.999),
            clock_ns: output::nanoseconds(clock),
            trades: self.answer.trades,
            quantity: self.answer.quantity,
            hash: format!("{:016x}", self.answer.hash.0),
            note: String::new(),
        })
    }
}

/// Replays everything and compares all trades with the file's.
fn verify<S: Subject>(work: &Work) -> anyhow::Result<Answer> {
    let (answer, expected) = (replay::<S>(&work.header, &work.ops)?, work.header.answer);
    ensure!(
        answer == expected,
        "traded something else than the file expects: expected {expected:x?}, actual {answer:x?}"
    );
    Ok(answer)
}

/// What an engine trades over operations.
///
/// # Errors
/// When the engine cannot take such a file, or its own check fails.
pub(crate) fn replay<S: Subject>(header: &Header, ops: &[Op]) -> anyhow::Result<Answer> {
    let (mut engine, mut answer) = (S::fresh(header)?, Answer::EMPTY);
    for op in ops {
        engine.apply(op, &mut |trade| answer.add(trade));
    }
    engine.check()?;
    Ok(answer)
}

/// An engine that filled its book and warmed up, and what it traded so far.
fn warm<S: Subject>(work: &Work) -> anyhow::Result<(S, Sum)> {
    let (mut engine, mut sum) = (S::fresh(&work.header)?, Sum::default());
    for op in work.unmeasured() {
        engine.apply(op, &mut |trade| sum.add(trade));
    }
    Ok((engine, sum))
}

/// All measured operations at once.
fn whole<S: Subject>(work: &Work) -> anyhow::Result<Duration> {
    let (mut engine, mut sum) = warm::<S>(work)?;
    let started = thread_time()?;
    let ops = work.measured();
    for (at, op) in ops.iter().enumerate() {
        engine.look_ahead(&ops[at..]);
        engine.apply(op, &mut |trade| sum.add(trade));
    }
    let took = thread_time()?.saturating_sub(started);
    sum.check(work)?;
    black_box(&engine);
    Ok(took)
}

/// Each measured operation by itself.
fn each<S: Subject>(work: &Work, clock: Duration) -> anyhow::Result<Histogram<u64>> {
    let (mut engine, mut sum) = warm::<S>(work)?;
    let mut times = output::histogram()?;
    for op in work.measured() {
        let started = Instant::now();
        engine.apply(op, &mut |trade| sum.add(trade));
        let took = started.elapsed();
        output::record(&mut times, took.saturating_sub(clock));
    }
    sum.check(work)?;
    black_box(&engine);
    Ok(times)
}

/// Trades and their quantity: as much of the answer as a timed pass can count without being slowed down by it.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    trades: u64,
    quantity: u64,
}

impl Sum {
    #[inline]
    fn add(&mut self, trade: Trade) {
        self.trades = self.trades.wrapping_add(1);
        self.quantity = self.quantity.wrapping_add(trade.quantity);
    }

    fn check(self, work: &Work) -> anyhow::Result<()> {
        let (expected, actual) = (work.header.answer, (self.trades, self.quantity));
        let expected = (expected.trades, expected.quantity);
        ensure!(actual == expected, "a timed pass made other trades: expected {expected:?}, actual {actual:?}");
        Ok(())
    }
}

/// The processor time of this thread.
///
/// # Errors
/// Never on the systems that are supported.
pub(crate) fn thread_time() -> anyhow::Result<Duration> {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).context("the thread's clock is before its start")
}

/// What two readings of the clock with nothing between them say: the median of many.
pub(crate) fn clock_cost() -> Duration {
    let mut pairs: Vec<Duration> = (0..CLOCK_PAIRS).map(|_| Instant::now().elapsed()).collect();
    pairs.sort_unstable();
    pairs[CLOCK_PAIRS / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bare::Bare;
    use crate::generate::{self, Shape, Volume};

    const PLAN: Plan = Plan { repetitions: 2, latency_passes: 1 };

    fn work(shape: Shape, seed: u64) -> Work {
        generate::work(shape, seed, Volume { warm: 5_000, measured: 40_000 }).unwrap()
    }

    #[test]
    fn the_bare_book_trades_what_the_reference_trades() {
        for shape in [Shape::Steady, Shape::Churn, Shape::Exchange] {
            for seed in 1..=5 {
                let work = work(shape, seed);
                assert_eq!(verify::<Bare>(&work).unwrap(), work.header.answer, "{shape:?}, seed {seed}");
            }
        }
    }

    #[test]
    fn a_large_book_trades_what_the_reference_trades() {
        let work = generate::work(Shape::Deep, 1, Volume { warm: 0, measured: 20_000 }).unwrap();
        assert_eq!(verify::<Bare>(&work).unwrap(), work.header.answer);
    }

    #[test]
    fn a_measurement_holds_the_answer_and_figures_in_order() {
        let work = work(Shape::Exchange, 9);
        let measured = measure(&[Passes::of::<Bare>()], "exchange", &work, PLAN).unwrap().remove(0);
        assert!(measured.traded(work.header.answer) && !measured.traded(Answer::EMPTY));
        assert!(0 < measured.commands_per_s && measured.commands_per_s <= measured.best_commands_per_s);
        assert!(measured.p50_ns <= measured.p99_ns && measured.p99_ns <= measured.p999_ns);
        assert_eq!((measured.engine.as_str(), measured.seed, measured.commands), ("bare", 9, 40_000));
    }

    #[test]
    fn a_file_with_another_answer_is_refused_with_both() {
        let mut work = work(Shape::Steady, 1);
        work.header.answer.hash.0 ^= 1;
        let (expected, actual) = (work.header.answer.hash.0, work.header.answer.hash.0 ^ 1);
        let error = format!("{:#}", measure(&[Passes::of::<Bare>()], "wrong", &work, PLAN).unwrap_err());
        for part in ["workload wrong", "engine bare", &format!("{expected:x}"), &format!("{actual:x}")] {
            assert!(error.contains(part), "{error}");
        }
    }

    /// A book that forgets its last trade when nobody hashes.
    #[derive(Debug)]
    struct Forgetful(Bare, u64);

    impl Subject for Forgetful {
        const NAME: &'static str = "forgetful";

        fn fresh(header: &Header) -> anyhow::Result<Forgetful> {
            Ok(Forgetful(Bare::fresh(header)?, header.answer.trades))
        }

        fn apply(&mut self, op: &Op, trade: &mut impl FnMut(Trade)) {
            self.0.apply(op, &mut |made| {
                self.1 -= 1;
                if self.1 > 0 {
                    trade(made);
                }
            });
        }
    }

    #[test]
    fn a_timed_pass_with_other_trades_is_refused() {
        let work = work(Shape::Steady, 1);
        assert!(format!("{:#}", whole::<Forgetful>(&work).unwrap_err()).contains("a timed pass made other trades"));
        assert!(format!("{:#}", each::<Forgetful>(&work, Duration::ZERO).unwrap_err()).contains("other trades"));
        assert!(format!("{:#}", verify::<Forgetful>(&work).unwrap_err()).contains("expected"));
    }
}
