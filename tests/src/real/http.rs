//! A blocking HTTP/1.1 client over one connection that is kept, written to ahead of its answers, and dropped at will.
//!
//! It reads only what the gateway writes to such requests: a status line, headers, a body of a given length.

use super::{Checked, DEADLINE, doing, ensure};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A client of one server with one key.
#[derive(Debug)]
pub(super) struct Client {
    address: SocketAddr,
    key: String,
    connection: Option<BufReader<TcpStream>>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Whether it says when to come back.
    pub(super) retry_after: bool,
    /// `null` where the body is no JSON.
    pub(super) body: Value,
}

impl Answer {
    /// The code of a refusal; empty for a success.
    pub(super) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }
}

impl Client {
    pub(super) fn new(address: SocketAddr, key: &str) -> Client {
        Client { address, key: key.to_owned(), connection: None }
    }

    /// Writes a request without waiting for its answer.
    ///
    /// # Errors
    /// The connection cannot be made or is broken; it is dropped.
    pub(super) fn send(&mut self, method: &str, path: &str, body: Option<&Value>) -> io::Result<()> {
        self.send_bytes(method, path, body.map(Value::to_string).unwrap_or_default().as_bytes())
    }

    /// [`Client::send`] of a body that need not be JSON.
    ///
    /// # Errors
    /// As there.
    pub(super) fn send_bytes(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<()> {
        let authorization = format!("Bearer {}", self.key);
        self.send_with(method, path, &[("authorization", &authorization)], body)
    }

    /// [`Client::send`] with these headers instead of the key's.
    ///
    /// # Errors
    /// The connection cannot be made or is broken; it is dropped.
    pub(super) fn send_with(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: gollem\r\n{headers}\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        let request = [head.as_bytes(), body].concat();
        let sent = self.connection().and_then(|connection| connection.get_mut().write_all(&request));
        self.keep_if(sent)
    }

    /// Reads the answer to the oldest request that has none yet.
    ///
    /// # Errors
    /// The connection ended before the answer did; it is dropped.
    pub(super) fn receive(&mut self) -> io::Result<Answer> {
        let answer = self.connection().and_then(read_answer);
        self.keep_if(answer)
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// The connection ended before the answer did: whether the request took effect is unknown.
    pub(super) fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> io::Result<Answer> {
        self.send(method, path, body)?;
        self.receive()
    }

    /// [`Client::call`] with these headers instead of the key's. For requests that may be sent twice.
    pub(super) fn call_with(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Checked<Answer> {
        let mut once = || self.send_with(method, path, headers, body).and_then(|()| self.receive());
        once().or_else(|_| once()).map_err(doing(format!("{method} {path}")))
    }

    /// The body of a success. For requests that may be sent twice: an idle connection may have been closed meanwhile.
    pub(super) fn ok(&mut self, method: &str, path: &str, body: Option<&Value>) -> Checked<Value> {
        let answer = self.call(method, path, body).or_else(|_| self.call(method, path, body));
        let answer = answer.map_err(doing(format!("{method} {path}")))?;
        ensure((200..300).contains(&answer.status), || format!("{method} {path}: {answer:?}"))?;
        Ok(answer.body)
    }

    pub(super) fn get(&mut self, path: &str) -> Checked<Value> {
        self.ok("GET", path, None)
    }

    /// The text of a page that is no JSON.
    pub(super) fn text(&mut self, path: &str) -> Checked<String> {
        let mut ask = || {
            self.send("GET", path, None)?;
            let text = self.connection().and_then(read_text);
            self.keep_if(text)
        };
        ask().or_else(|_| ask()).map_err(doing(format!("GET {path}")))
    }

    pub(super) fn post(&mut self, path: &str, body: &Value) -> Checked<Value> {
        self.ok("POST", path, Some(body))
    }

    /// Closes the connection, by which answers that were not read are lost, and goes on at this address.
    pub(super) fn move_to(&mut self, address: SocketAddr) {
        (self.address, self.connection) = (address, None);
    }

    fn connection(&mut self) -> io::Result<&mut BufReader<TcpStream>> {
        if self.connection.is_none() {
            let stream = TcpStream::connect_timeout(&self.address, DEADLINE)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(DEADLINE))?;
            stream.set_write_timeout(Some(DEADLINE))?;
            self.connection = Some(BufReader::new(stream));
        }
        self.connection.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn keep_if<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.connection = None;
        }
        result
    }
}

fn read_answer(stream: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let (status, retry_after, body) = read(stream)?;
    Ok(Answer { status, retry_after, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
}

fn read_text(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let (_, _, body) = read(stream)?;
    String::from_utf8(body).map_err(|_| broken("no text"))
}

/// Status, whether it says when to come back, and body.
fn read(stream: &mut BufReader<TcpStream>) -> io::Result<(u16, bool, Vec<u8>)> {
    let status = line(stream)?.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| broken("no status"))?;
    let (mut length, mut retry_after) = (0, false);
    loop {
        let header = line(stream)?.to_ascii_lowercase();
        match header.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().map_err(|_| broken("a bad length"))?,
            Some(("retry-after", _)) => retry_after = true,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((status, retry_after, body))
}

/// The next line without its end.
fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.trim_end().len());
    Ok(line)
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
