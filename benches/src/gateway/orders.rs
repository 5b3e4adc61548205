//! Orders over WebSocket, many on their way at once: each socket sends as long as fewer than its window are unanswered.

use super::socket::{self, Incoming};
use super::venue::{INSTRUMENT, Venue};
use crate::output;
use anyhow::{Context, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

/// Unanswered orders of a socket: what the exchange takes before it reads on.
const WINDOW: usize = 512;
/// Orders written together.
const TOGETHER: usize = 32;
/// After so many orders all are cancelled, so that the book stays as it is.
const RESTING: usize = 64;

/// Commands a second over `sockets` sockets, each of an account of its own.
///
/// # Errors
/// When one is refused.
pub(super) fn pipelined(venue: &Venue, sockets: usize, commands: usize) -> anyhow::Result<u64> {
    let open = |number| {
        let key = venue.open_account(&format!("socket {number}"))?;
        socket::connect(venue.address, Some(&key))
    };
    let sockets: Vec<TcpStream> = (0..sockets).map(open).collect::<anyhow::Result<_>>()?;
    let each = commands / sockets.len();
    let count = each * sockets.len();
    let started = Instant::now();
    thread::scope(|scope| {
        let mut running = Vec::new();
        for stream in sockets {
            let reader = stream.try_clone()?;
            let (answered, answers) = channel();
            running.push(scope.spawn(move || send(stream, &answers, each)));
            running.push(scope.spawn(move || read(reader, &answered, each)));
        }
        for thread in running {
            thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        anyhow::Ok(())
    })?;
    Ok(output::per_second(count, started.elapsed()))
}

fn send(mut stream: TcpStream, answers: &Receiver<usize>, count: usize) -> anyhow::Result<()> {
    let (mut sent, mut unanswered, mut out) = (0, 0, Vec::new());
    while sent < count {
        while unanswered + TOGETHER > WINDOW {
            unanswered -= answers.recv().context("the socket's reader ended")?;
        }
        unanswered -= answers.try_iter().sum::<usize>();
        out.clear();
        let together = TOGETHER.min(count - sent);
        for number in sent..sent + together {
            socket::write_text(&mut out, &command(number));
        }
        stream.write_all(&out)?;
        sent += together;
        unanswered += together;
    }
    Ok(())
}

fn command(number: usize) -> String {
    if number % RESTING == RESTING - 1 {
        return format!(r#"{{"op":"cancel_all","id":{number}}}"#);
    }
    let price = 1 + number % 1_000;
    format!(
        r#"{{"op":"place","id":{number},"order":{{"instrument":"{INSTRUMENT}","side":"bid","price":"0.{price:08}","quantity":1000}}}}"#
    )
}

fn read(mut stream: TcpStream, answered: &Sender<usize>, count: usize) -> anyhow::Result<()> {
    let (mut incoming, mut buffer, mut taken) = (Incoming::default(), vec![0; 64 * 1024], 0);
    while taken < count {
        let read = stream.read(&mut buffer).context("no answer")?;
        ensure!(read > 0, "the exchange closed the connection");
        incoming.push(&buffer[..read]);
        let mut now = 0;
        while let Some(message) = incoming.next()? {
            ensure!(message.contains("\"type\":\"reply\""), "an order was refused: {message}");
            now += 1;
        }
        taken += now;
        // The sender is done when nothing is left to send.
        answered.send(now).ok();
    }
    Ok(())
}
