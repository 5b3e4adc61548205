//! `gollem-bench`: how fast the engine and the whole durable pipeline are on this machine, and how fast others are.
//!
//! | module | idea |
//! |---|---|
//! | `random`, `market` | random numbers from a seed; the accounts and the instrument that all workloads share |
//! | `calls` | exchange-like flow for the engine alone |
//! | `flow` | the order flow as commands, for the pipeline |
//! | `engine` | commands a second and service times of one engine |
//! | `workload`, `generate`, `reference` | order files that any engine can replay, the flow they are made of, the right answers |
//! | `measure`, `book`, `bare` | how an engine is measured over an order file; ours, and the least that any needs |
//! | `pareto` | finding and taking asks that differ in price, latency and throughput |
//! | `peers` | other people's engines over the same files, side by side |
//! | `pipeline`, `open_loop` | durable commands a second; acknowledgement times on a fixed schedule |
//! | `projections` | events folded into views |
//! | `gateway` | the real binary over HTTP |
//! | `inference` | calls through the market, beside the same calls straight to the model and through a bare proxy |
//! | `recovery` | a journal of order flow read, decoded and applied |
//! | `snapshot` | the state of a large exchange written to a file and loaded |
//! | `control` | what one small synced write costs in the same folder |
//! | `output` | a table for people, a JSON line a measurement for programs |
//!
//! Goals: the same seed gives the same commands everywhere; nothing is generated inside a timed pass; waiting is
//! measured from when a command was due, not from when it could be sent; a run whose result is wrong fails.
//!
//! Non-goals: comparing machines or days. Figures compare within one run: that is why the control is part of it.

mod bare;
mod book;
mod calls;
mod control;
mod engine;
mod flow;
mod gateway;
mod generate;
mod gollem;
mod inference;
mod kafka;
mod market;
mod measure;
mod open_loop;
mod output;
mod pareto;
mod peers;
mod pipeline;
mod projections;
mod random;
mod recovery;
mod reference;
mod snapshot;
mod workload;

use anyhow::Context;
use clap::{Parser, Subcommand};
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "gollem-bench", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    Engine(engine::Options),
    Gateway(gateway::Options),
    Generate(generate::Options),
    Inference(inference::Options),
    Pareto(pareto::Options),
    #[command(hide = true)]
    PassThrough(inference::PassThrough),
    Peers(peers::Options),
    Pipeline(pipeline::Options),
    Projections(projections::Options),
    Recovery(recovery::Options),
    Snapshot(snapshot::Options),
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when standard error is closed; the exit code still says it.
            writeln!(io::stderr(), "gollem-bench: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

/// Tells whoever waits what is being done.
fn say(what: fmt::Arguments<'_>) {
    // Nobody needs to listen: the result is on standard output.
    writeln!(io::stderr(), "gollem-bench: {what}").ok();
}

fn run(bench: &Bench) -> anyhow::Result<()> {
    let text = match bench {
        Bench::Engine(options) => engine::run(options)?,
        Bench::Gateway(options) => gateway::run(options)?,
        Bench::Generate(options) => generate::run(options)?,
        Bench::Inference(options) => inference::run(options)?,
        Bench::Pareto(options) => pareto::run(options)?,
        Bench::PassThrough(options) => inference::pass_through(options)?,
        Bench::Peers(options) => peers::run(options)?,
        Bench::Pipeline(options) => pipeline::run(options)?,
        Bench::Projections(options) => projections::run(options)?,
        Bench::Recovery(options) => recovery::run(options)?,
        Bench::Snapshot(options) => snapshot::run(options)?,
    };
    io::stdout().write_all(text.as_bytes()).context("cannot write the result to standard output")
}
