//! Market data to many: how long after an order was due each subscriber of the book had what it changed.

use super::socket::{self, Incoming, number};
use super::venue::{INSTRUMENT, Venue};
use crate::open_loop::Schedule;
use crate::output;
use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

/// How long the last update may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// An update as a subscriber saw it.
#[derive(Clone, Copy)]
struct Seen {
    prev: u64,
    seq: u64,
    at: Instant,
}

/// Times from due to seen, of every order at every subscriber: `rate` orders a second that each change the best levels.
/// An update that covers several orders counts for each of them.
///
/// # Errors
/// When a subscriber misses an update.
pub(super) fn measure(venue: &Venue, subscribers: usize, rate: u32, seconds: u32) -> anyhow::Result<Histogram<u64>> {
    let key = venue.open_account("mover")?;
    let mut mover = socket::connect(venue.address, Some(&key))?;
    let subscribe = format!(r#"{{"op":"subscribe","id":1,"channel":"book","instrument":"{INSTRUMENT}","depth":10}}"#);
    let streams: Vec<TcpStream> = (0..subscribers)
        .map(|_| {
            let mut stream = socket::connect(venue.address, None)?;
            let mut out = Vec::new();
            socket::write_text(&mut out, &subscribe);
            stream.write_all(&out)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        })
        .collect::<anyhow::Result<_>>()?;
    let (until, last) = watch::channel(u64::MAX);
    let reading = thread::spawn(move || read_all(streams, &last));
    let due = move_book(&mut mover, rate, rate as usize * seconds as usize);
    // Told whatever happened, so that the readers end.
    until.send(due.as_ref().map_or(0, |due| due.keys().next_back().copied().unwrap_or(0))).ok();
    let seen = reading.join().map_err(|_| anyhow::anyhow!("the reading thread panicked"))??;
    let due = due?;
    let mut times = output::histogram()?;
    for subscriber in &seen {
        let mut counted = 0;
        for update in subscriber {
            for (_, due) in due.range(update.prev + 1..=update.seq) {
                output::record(&mut times, update.at.saturating_duration_since(*due));
                counted += 1;
            }
        }
        ensure!(counted == due.len(), "a subscriber saw {counted} of {} orders", due.len());
    }
    Ok(times)
}

/// Bids that are placed and cancelled on schedule; when each was due, by its input.
fn move_book(mover: &mut TcpStream, rate: u32, commands: usize) -> anyhow::Result<BTreeMap<u64, Instant>> {
    let schedule = Schedule::starting_in(Duration::from_millis(500), rate);
    let mut answers = mover.try_clone()?;
    let reader = thread::spawn(move || -> anyhow::Result<Vec<u64>> {
        let (mut incoming, mut buffer, mut seqs) = (Incoming::default(), vec![0; 16 * 1024], Vec::new());
        while seqs.len() < commands {
            let read = answers.read(&mut buffer).context("no answer")?;
            ensure!(read > 0, "the exchange closed the connection");
            incoming.push(&buffer[..read]);
            while let Some(message) = incoming.next()? {
                ensure!(message.contains("\"type\":\"reply\""), "an order was refused: {message}");
                seqs.push(number(message, "seq").context("an answer has its input")?);
            }
        }
        Ok(seqs)
    });
    let mut out = Vec::new();
    for command in 0..commands {
        schedule.wait_for(command);
        out.clear();
        let text = if command % 2 == 0 {
            let price = 2_000 + command % 8;
            format!(
                r#"{{"op":"place","id":{command},"order":{{"instrument":"{INSTRUMENT}","side":"bid","price":"0.{price:08}","quantity":1000}}}}"#
            )
        } else {
            format!(r#"{{"op":"cancel_all","id":{command}}}"#)
        };
        socket::write_text(&mut out, &text);
        mover.write_all(&out)?;
    }
    let seqs = reader.join().map_err(|_| anyhow::anyhow!("the answers' reader panicked"))??;
    Ok(seqs.into_iter().enumerate().map(|(command, seq)| (seq, schedule.due(command))).collect())
}

/// Reads all sockets on one thread until each has seen the last input.
fn read_all(streams: Vec<TcpStream>, last: &watch::Receiver<u64>) -> anyhow::Result<Vec<Vec<Seen>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let read = |stream| tokio::spawn(read_one(stream, last.clone()));
        let tasks: Vec<_> = streams.into_iter().map(read).collect();
        let mut seen = Vec::new();
        for task in tasks {
            seen.push(task.await??);
        }
        Ok(seen)
    })
}

async fn read_one(stream: TcpStream, mut last: watch::Receiver<u64>) -> anyhow::Result<Vec<Seen>> {
    let mut stream = tokio::net::TcpStream::from_std(stream)?;
    let (mut incoming, mut buffer, mut seen) = (Incoming::default(), vec![0; 16 * 1024], Vec::new());
    let mut at_seq = 0;
    loop {
        let until = *last.borrow_and_update();
        if at_seq >= until {
            return Ok(seen);
        }
        let read = tokio::select! {
            read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)) => read.context("no update came")??,
            _ = last.changed() => continue,
        };
        ensure!(read > 0, "the exchange closed a subscriber");
        let at = Instant::now();
        incoming.push(&buffer[..read]);
        while let Some(message) = incoming.next()? {
            ensure!(!message.contains("resync_required"), "a subscriber was too slow: {message}");
            let Some(seq) = number(message, "seq") else { continue };
            at_seq = seq;
            if let Some(prev) = number(message, "prev") {
                seen.push(Seen { prev, seq, at });
            }
        }
    }
}
