//! Log lines for a syslog collector (RFC 5424), over UDP (RFC 5426), TCP with counted frames (RFC 6587) or the system's
//! own socket. The facility is `daemon`.
//!
//! A collector that is away costs the lines of that time; it is tried again at each line, at most once a second.

use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tracing::{Level, Metadata};
use tracing_appender::non_blocking::NonBlocking;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// The facility `daemon` (RFC 5424, table 1).
const FACILITY: u8 = 3;
/// The longest message; more is cut off. A UDP packet holds it, and so does any collector (RFC 5424, 6.1: 2,048 and more).
const MESSAGE_BYTES_MAX: usize = 8 * 1024;
/// How long a collector may take to accept a connection or a message.
const PATIENCE: Duration = Duration::from_secs(2);
/// The least time between two tries to reach a collector.
const PAUSE: Duration = Duration::from_secs(1);

/// Which collector.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum SyslogTarget {
    /// `HOST:PORT`.
    Udp(String),
    /// `HOST:PORT`.
    Tcp(String),
    /// A datagram socket such as `/dev/log`.
    Unix(PathBuf),
}

impl SyslogTarget {
    /// The writing end: one call of `write` is one message.
    pub(super) fn connect(&self) -> Collector {
        Collector { target: self.clone(), link: None, tried: None }
    }

    fn link(&self) -> io::Result<Link> {
        match self {
            SyslogTarget::Udp(address) => {
                let to = first(address)?;
                let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
                socket.connect(to)?;
                Ok(Link::Udp(socket))
            }
            SyslogTarget::Tcp(address) => {
                let stream = TcpStream::connect_timeout(&first(address)?, PATIENCE)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Link::Tcp(stream))
            }
            SyslogTarget::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_write_timeout(Some(PATIENCE))?;
                socket.connect(path)?;
                Ok(Link::Unix(socket))
            }
        }
    }
}

fn first(address: &str) -> io::Result<std::net::SocketAddr> {
    let unknown = || io::Error::new(io::ErrorKind::NotFound, "the collector's name has no address");
    address.to_socket_addrs()?.next().ok_or_else(unknown)
}

#[derive(Debug)]
enum Link {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Unix(UnixDatagram),
}

impl Link {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Link::Udp(socket) => socket.send(message).map(drop),
            Link::Unix(socket) => socket.send(message).map(drop),
            Link::Tcp(stream) => {
                let mut frame = format!("{} ", message.len()).into_bytes();
                frame.extend_from_slice(message);
                stream.write_all(&frame)
            }
        }
    }
}

/// The writing end, in the log's own thread.
#[derive(Debug)]
pub(super) struct Collector {
    target: SyslogTarget,
    link: Option<Link>,
    tried: Option<Instant>,
}

impl Collector {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None if self.tried.is_some_and(|tried| tried.elapsed() < PAUSE) => return Ok(()),
            None => {
                self.tried = Some(Instant::now());
                self.target.link()?
            }
        };
        link.send(message)?;
        self.link = Some(link);
        Ok(())
    }
}

impl Write for Collector {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        let line = message.strip_suffix(b"\n").unwrap_or(message);
        // A connection that broke since the last line is made again once.
        let had_link = self.link.is_some();
        if self.send(line).is_err() && had_link {
            self.tried = None;
            self.send(line).ok();
        }
        // There is nobody to tell: the log is how things are told.
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Puts syslog's head in front of each line.
#[derive(Debug)]
pub(super) struct Syslog {
    lines: NonBlocking,
    host: String,
}

impl Syslog {
    pub(super) fn new(lines: NonBlocking) -> Syslog {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let printable = name.chars().filter(char::is_ascii_graphic).take(255).collect::<String>();
        Syslog { lines, host: if printable.is_empty() { "-".into() } else { printable } }
    }

    fn line(&self, level: Level) -> Line {
        Line { lines: self.lines.clone(), message: head(level, &self.host).into_bytes() }
    }
}

/// `<PRI>1 TIME HOST gollem PID - - `.
fn head(level: Level, host: &str) -> String {
    let severity = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    };
    let mut time = String::new();
    if SystemTime.format_time(&mut Writer::new(&mut time)).is_err() {
        time = "-".into();
    }
    format!("<{}>1 {time} {host} gollem {} - - ", FACILITY * 8 + severity, std::process::id())
}

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        self.line(Level::INFO)
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line {
        self.line(*meta.level())
    }
}

/// One message, sent when it is whole.
#[derive(Debug)]
pub(super) struct Line {
    lines: NonBlocking,
    message: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let room = MESSAGE_BYTES_MAX.saturating_sub(self.message.len());
        self.message.extend_from_slice(text.get(..room).unwrap_or(text));
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // One call, one message. What the queue has no room for is lost, as the log's owner accepts.
        self.lines.write_all(&self.message).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    #[test]
    fn a_line_has_syslogs_head_with_the_severity_of_its_level() {
        let line = head(Level::WARN, "here") + "disk full";
        let (pri, rest) = line.split_once("1 ").unwrap();
        assert_eq!(pri, "<28>", "daemon.warning");
        let words: Vec<&str> = rest.splitn(7, ' ').collect();
        let [time, host, app, pid, id, data, text] = words[..] else { panic!("{line}") };
        assert!(time.ends_with('Z') && time.contains('T'), "{time}");
        assert_eq!((host, app, pid), ("here", "gollem", std::process::id().to_string().as_str()));
        assert_eq!((id, data, text), ("-", "-", "disk full"));
    }

    #[test]
    fn a_datagram_is_one_message_without_its_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let unix = UnixDatagram::bind(&path).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap().to_string();
        for target in [SyslogTarget::Unix(path.clone()), SyslogTarget::Udp(address)] {
            assert_eq!(target.connect().write(b"one\n").unwrap(), 4);
        }
        let mut buffer = [0; 16];
        for read in [unix.recv(&mut buffer).unwrap(), udp.recv(&mut buffer).unwrap()] {
            assert_eq!(&buffer[..read], b"one");
        }
    }

    #[test]
    fn frames_are_counted_and_a_collector_that_went_away_is_found_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut collector = SyslogTarget::Tcp(listener.local_addr().unwrap().to_string()).connect();
        collector.write_all(b"first\n").unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut frame = [0; 7];
        stream.read_exact(&mut frame).unwrap();
        assert_eq!(&frame, b"5 first");
        drop(stream);
        // The first write after the end may still go into the void.
        listener.set_nonblocking(true).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut again = loop {
            collector.tried = None;
            collector.write_all(b"again\n").unwrap();
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::yield_now();
        };
        again.set_nonblocking(false).unwrap();
        again.read_exact(&mut frame).unwrap();
        assert_eq!(&frame, b"5 again");
    }

    #[test]
    fn a_collector_that_is_nowhere_costs_its_lines_only() {
        let mut collector = SyslogTarget::Unix("/nonexistent/log".into()).connect();
        assert_eq!(collector.write(b"lost\n").unwrap(), 5);
        assert_eq!(collector.write(b"lost\n").unwrap(), 5);
    }
}
