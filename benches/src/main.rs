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
mod generate;
mod gollem;
mod market;
mod measure;
mod open_loop;
mod output;
mod pareto;
mod peers;
mod pipeline;
mod random;
mod reference;
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
    Generate(generate::Options),
    Pareto(pareto::Options),
    Peers(peers::Options),
    Pipeline(pipeline::Options),
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
        Bench::Generate(options) => generate::run(options)?,
        Bench::Pareto(options) => pareto::run(options)?,
        Bench::Peers(options) => peers::run(options)?,
        Bench::Pipeline(options) => pipeline::run(options)?,
    };
    io::stdout().write_all(text.as_bytes()).context("cannot write the result to standard output")
}
