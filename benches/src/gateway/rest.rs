//! Orders over REST: each is placed, rests, and is cancelled; both answers come when the command is durable.

use super::http::Connection;
use super::venue::{INSTRUMENT, Venue};
use crate::open_loop::Schedule;
use crate::output;
use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A connection that places an order and cancels it, in turns.
struct Trader {
    connection: Connection,
    /// The path of the order that rests.
    open: Option<String>,
    placed: u64,
}

impl Trader {
    fn open(venue: &Venue, name: &str) -> anyhow::Result<Trader> {
        let key = venue.open_account(name)?;
        Ok(Trader { connection: Connection::open(venue.address, Some(&key))?, open: None, placed: 0 })
    }

    /// Sends the next command and waits until it is durable.
    fn turn(&mut self) -> anyhow::Result<()> {
        if let Some(path) = self.open.take() {
            let answer = self.connection.ask("DELETE", &path, "")?;
            ensure!(answer.status == 200, "DELETE {path}: {}", String::from_utf8_lossy(answer.body));
            return Ok(());
        }
        self.placed += 1;
        // Prices below anything that is asked, a thousand levels of them.
        let price = 1 + self.placed % 1_000;
        let order = format!(
            r#"{{"instrument":"{INSTRUMENT}","side":"bid","price":"0.{price:08}","quantity":1000,"client_order_id":"{}"}}"#,
            self.placed
        );
        let answer = self.connection.ask("POST", "/v1/orders", &order)?;
        let body = String::from_utf8_lossy(answer.body);
        ensure!(answer.status == 201, "POST /v1/orders: {body}");
        let id = body.split("\"ord_").nth(1).and_then(|rest| rest.split('"').next());
        self.open = Some(format!("/v1/orders/ord_{}", id.context("an order has an id")?));
        Ok(())
    }
}

/// Some of the traders.
pub(super) struct Group<'a>(&'a mut [Trader]);

/// Traders with accounts of their own.
pub(super) struct Traders(Vec<Trader>);

impl Traders {
    /// # Errors
    /// When the exchange refuses one.
    pub(super) fn open(venue: &Venue, connections: usize) -> anyhow::Result<Traders> {
        (0..connections)
            .map(|number| Trader::open(venue, &format!("trader {number}")))
            .collect::<Result<_, _>>()
            .map(Traders)
    }

    /// So many of them, to begin with the first.
    pub(super) fn first(&mut self, count: u32) -> Group<'_> {
        let count = (count as usize).min(self.0.len());
        Group(&mut self.0[..count])
    }
}

impl Group<'_> {
    /// Commands a second when each connection sends its next as soon as the last is answered, and the times of them.
    ///
    /// # Errors
    /// When one is refused.
    pub(super) fn closed(&mut self, commands: usize) -> anyhow::Result<(u64, Histogram<u64>)> {
        let left = AtomicUsize::new(commands);
        let started = Instant::now();
        let times = in_threads(self.0, |_, trader, times| {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                let sent = Instant::now();
                trader.turn()?;
                output::record(times, sent.elapsed());
            }
            Ok(())
        })?;
        Ok((output::per_second(commands, started.elapsed()), times))
    }

    /// Times from when a command was due to when it was answered: `rate` of them a second, in turns on all connections. A
    /// command that is due while its connection still waits is late by that wait (no coordinated omission).
    ///
    /// # Errors
    /// When one is refused.
    pub(super) fn open_loop(&mut self, rate: u32, seconds: u32) -> anyhow::Result<Histogram<u64>> {
        let (schedule, connections) = (Schedule::starting_in(Duration::from_millis(20), rate), self.0.len());
        let commands = rate as usize * seconds as usize;
        in_threads(self.0, |number, trader, times| {
            for command in (number..commands).step_by(connections) {
                schedule.wait_for(command);
                trader.turn()?;
                output::record(times, schedule.due(command).elapsed());
            }
            Ok(())
        })
    }
}

/// Runs one thread a trader; all their times together.
fn in_threads(
    traders: &mut [Trader],
    run: impl Fn(usize, &mut Trader, &mut Histogram<u64>) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<Histogram<u64>> {
    let run = &run;
    thread::scope(|scope| {
        let start = |(number, trader)| {
            scope.spawn(move || -> anyhow::Result<Histogram<u64>> {
                let mut times = output::histogram()?;
                run(number, trader, &mut times)?;
                Ok(times)
            })
        };
        let threads: Vec<_> = traders.iter_mut().enumerate().map(start).collect();
        let mut all = output::histogram()?;
        for thread in threads {
            let times = thread.join().map_err(|_| anyhow::anyhow!("a sending thread panicked"))??;
            all.add(&times).context("histograms of one shape")?;
        }
        Ok(all)
    })
}
