//! The least WebSocket client (RFC 6455): text out, text in, no fragments, no extensions; the mask is zero, which is a
//! legal one and costs nothing. Whole messages are found in a buffer, so that blocking and asynchronous readers share it.

use anyhow::{Context, bail, ensure};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long anything may take to come.
const PATIENCE: Duration = Duration::from_secs(30);
const FINAL_TEXT: u8 = 0x81;
const MASKED: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;

/// Connects and upgrades.
///
/// # Errors
/// When the exchange does not make it a WebSocket.
pub(super) fn connect(address: SocketAddr, key: Option<&str>) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).context("cannot connect")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = format!(
        "GET /v1/ws HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    );
    if let Some(key) = key {
        write!(request, "authorization: Bearer {key}\r\n")?;
    }
    stream.write_all((request + "\r\n").as_bytes())?;
    // A byte at a time: what follows the head belongs to the first message.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        ensure!(stream.read(&mut byte)? == 1 && head.len() < 8_192, "no answer to the upgrade");
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    ensure!(head.starts_with("HTTP/1.1 101 "), "no WebSocket: {head}");
    Ok(stream)
}

/// Appends a text message.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(FINAL_TEXT);
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(length @ ..126), _) => out.push(MASKED | length),
        (_, Ok(length)) => {
            out.push(MASKED | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(text.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(text.as_bytes());
}

/// What has come and is not yet taken.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    bytes: Vec<u8>,
    taken: usize,
}

impl Incoming {
    /// Adds what was read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole text message; pings go unanswered, as no run is long enough for it to matter.
    ///
    /// # Errors
    /// When the exchange closes, or sends what it should not.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<&str>> {
        loop {
            let rest = &self.bytes[self.taken..];
            let [first, second, ..] = *rest else { return Ok(None) };
            let (head, length) = match second {
                126 => match rest.get(2..4) {
                    Some(length) => (4, u16::from_be_bytes([length[0], length[1]]).into()),
                    None => return Ok(None),
                },
                127 => match rest.get(2..10).and_then(|length| length.try_into().ok()) {
                    Some(length) => (10, usize::try_from(u64::from_be_bytes(length))?),
                    None => return Ok(None),
                },
                length => (2, usize::from(length)),
            };
            if rest.len() < head + length {
                return Ok(None);
            }
            let start = self.taken + head;
            self.taken = start + length;
            match first & OPCODE {
                TEXT => return Ok(Some(std::str::from_utf8(&self.bytes[start..start + length])?)),
                PING => {}
                CLOSE => bail!("the exchange closed the socket"),
                other => bail!("a frame of kind {other} is not expected"),
            }
        }
    }
}

/// The number behind `"name":` in a message.
pub(super) fn number(message: &str, name: &str) -> Option<u64> {
    let rest = message.split_once(&format!("\"{name}\":"))?.1;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_any_length_come_whole_however_they_are_cut() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let text = "x".repeat(length);
            let mut frame = Vec::new();
            write_text(&mut frame, &text);
            // As the exchange sends it: without a mask.
            let head = frame.len() - 4 - length;
            let sent = [&[frame[0], frame[1] & !MASKED], &frame[2..head], text.as_bytes()].concat();
            let mut incoming = Incoming::default();
            let cut = sent.len() / 2;
            incoming.push(&sent[..cut]);
            assert_eq!(incoming.next().unwrap(), None, "{length}");
            incoming.push(&sent[cut..]);
            assert_eq!(incoming.next().unwrap().map(str::len), Some(length));
            assert_eq!(incoming.next().unwrap(), None);
        }
    }

    #[test]
    fn numbers_are_found_by_name() {
        let message = r#"{"type":"update","prev":90,"seq":94}"#;
        assert_eq!((number(message, "prev"), number(message, "seq"), number(message, "x")), (Some(90), Some(94), None));
    }
}
