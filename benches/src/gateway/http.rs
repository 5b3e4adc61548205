//! The least HTTP/1.1 client that keeps a connection open: one request, one answer with a length. It blocks, so that
//! nothing of its own stands between a socket that has an answer and the time that is noted.

use anyhow::{Context, bail, ensure};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Answers are smaller than this.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// One open connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// The head of every request from the host on.
    head: String,
    request: String,
    answer: Vec<u8>,
    filled: usize,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) body: &'a [u8],
}

impl Connection {
    /// Connects for requests with this API key.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(super) fn open(address: SocketAddr, key: Option<&str>) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut head = format!("host: {address}\r\n");
        if let Some(key) = key {
            write!(head, "authorization: Bearer {key}\r\n")?;
        }
        Ok(Connection { stream, head, request: String::new(), answer: vec![0; ANSWER_BYTES_MAX], filled: 0 })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// When the connection breaks or what comes is no answer with a length.
    pub(super) fn ask(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<Answer<'_>> {
        self.request.clear();
        let Connection { request, head, .. } = self;
        write!(request, "{method} {path} HTTP/1.1\r\n{head}content-length: {}\r\n\r\n{body}", body.len())?;
        self.stream.write_all(self.request.as_bytes()).context("the request was not taken")?;
        self.filled = 0;
        let (status, start, length) = loop {
            self.read_more()?;
            if let Some(head) = parse_head(&self.answer[..self.filled])? {
                break head;
            }
        };
        ensure!(start + length <= ANSWER_BYTES_MAX, "an answer of {length} bytes is longer than expected");
        while self.filled < start + length {
            self.read_more()?;
        }
        Ok(Answer { status, body: &self.answer[start..start + length] })
    }

    /// The connection itself, without the room for answers.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    fn read_more(&mut self) -> anyhow::Result<()> {
        let read = self.stream.read(&mut self.answer[self.filled..]).context("no answer")?;
        ensure!(read > 0, "the exchange closed the connection");
        self.filled += read;
        Ok(())
    }
}

/// Status, where the body begins, and its length, once the whole head is there.
fn parse_head(bytes: &[u8]) -> anyhow::Result<Option<(u16, usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).context("an answer's head is text")?;
    let status = head.get(9..12).context("an answer begins with its status")?.parse()?;
    for line in head.lines() {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            return Ok(Some((status, end + 4, value.trim().parse()?)));
        }
    }
    bail!("an answer has no length: {head}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 12\r\nx: y\r\n\r\n{";
        for end in 0..answer.len() - 1 {
            assert_eq!(parse_head(&answer[..end]).unwrap(), None, "{end}");
        }
        assert_eq!(parse_head(answer).unwrap(), Some((201, answer.len() - 1, 12)));
        assert!(parse_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "no length");
    }
}
