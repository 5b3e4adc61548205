//! A real broker of one node, and what is in its topics.

use gollem_projections::kafka::{Position, TOPICS};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::park_timeout;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One broker at a time: each takes half a gigabyte.
static ONE: Mutex<()> = Mutex::new(());

/// A running broker; stopped when dropped.
pub(crate) struct Broker {
    port: u16,
    proxy: Option<String>,
    dir: tempfile::TempDir,
    _one: MutexGuard<'static, ()>,
}

impl Broker {
    /// Starts one, or says why there is none.
    pub(crate) fn start() -> Option<Broker> {
        Broker::start_behind(None)
    }

    /// One that tells those who come through its third port to use that address.
    pub(crate) fn start_behind(proxy: Option<String>) -> Option<Broker> {
        tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_test_writer().try_init().ok();
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        for program in ["java", "mvn"] {
            if Command::new(program).arg("-version").output().is_err() {
                println!("skipped: there is no {program}, so no broker");
                return None;
            }
        }
        let broker = Broker { port: free_ports(), proxy, dir: tempfile::tempdir().unwrap(), _one: one };
        if let Err(why) = broker.script("start") {
            // Without a network the jars cannot be fetched; anything else is a failure.
            assert!(why.contains("Maven could not fetch"), "{why}");
            println!("skipped: {why}");
            return None;
        }
        Some(broker)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where those connect who come through a proxy.
    pub(crate) fn proxied_port(&self) -> u16 {
        self.port + 2
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) {
        let pid = std::fs::read_to_string(self.dir.path().join("pid")).unwrap();
        let killed = Command::new("kill").args(["-9", pid.trim()]).status().unwrap();
        assert!(killed.success());
    }

    /// Starts it again, with what it stored.
    pub(crate) fn restart(&self) {
        self.script("start").unwrap();
    }

    fn script(&self, action: &str) -> Result<(), String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/kafka.sh");
        let mut command = Command::new(script);
        command.arg(action).args(["--port", &self.port.to_string(), "--data"]).arg(self.dir.path());
        if let Some(proxy) = &self.proxy {
            command.args(["--proxy", proxy]);
        }
        let output = command.output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() { Ok(()) } else { Err(said) }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Err(why) = self.script("stop") {
            println!("{why}");
        }
    }
}

/// The first of three ports in a row that nobody has, below those that the system gives to outgoing connections.
fn free_ports() -> u16 {
    let begin = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_micros() as u16 % 3_000;
    let free = |port: &u16| (*port..port + 3).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    (begin..3_000).chain(0..begin).map(|place| 20_000 + 3 * place).find(free).expect("three ports are free")
}

/// Deletes these topics, and waits until they are gone.
pub(crate) fn delete_topics(brokers: &str, topics: &[&str]) {
    use rdkafka::admin::{AdminClient, AdminOptions};
    let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    for deleted in runtime.block_on(admin.delete_topics(topics, &options)).unwrap() {
        deleted.unwrap();
    }
    wait_until("the topics are gone", || {
        let known = admin.inner().fetch_metadata(None, Duration::from_secs(10)).unwrap();
        !known.topics().iter().any(|topic| topics.contains(&topic.name()))
    });
}

/// Waits until it is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        park_timeout(Duration::from_millis(10));
    }
}

/// A record as a consumer gets it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Got {
    pub(crate) position: Position,
    pub(crate) kind: String,
    pub(crate) key: Option<String>,
    pub(crate) value: serde_json::Value,
}

/// Everything in the topics, by topic and partition, in order.
pub(crate) type Contents = BTreeMap<(String, i32), Vec<Got>>;

/// Reads every topic from its beginning to its end.
pub(crate) fn contents(brokers: &str) -> Contents {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "test")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let (mut contents, mut ends) = (Contents::new(), BTreeMap::new());
    let mut partitions = TopicPartitionList::new();
    for topic in TOPICS {
        for partition in 0..topic.partitions {
            let (low, high) = consumer.fetch_watermarks(topic.name, partition, Duration::from_secs(30)).unwrap();
            contents.insert((topic.name.to_owned(), partition), Vec::new());
            if high > low {
                partitions.add_partition_offset(topic.name, partition, Offset::Offset(low)).unwrap();
                ends.insert((topic.name.to_owned(), partition), high);
            }
        }
    }
    consumer.assign(&partitions).unwrap();
    let mut heard = Instant::now();
    while !ends.is_empty() {
        assert!(heard.elapsed() < Duration::from_secs(60), "the broker does not give the rest before {ends:?}");
        let Some(polled) = consumer.poll(Duration::from_secs(1)) else { continue };
        heard = Instant::now();
        let message = match polled {
            Ok(message) => message,
            Err(error) => {
                println!("while reading {ends:?}: {error}");
                continue;
            }
        };
        let partition = (message.topic().to_owned(), message.partition());
        if message.offset() + 1 == ends[&partition] {
            ends.remove(&partition);
        }
        contents.get_mut(&partition).unwrap().push(got(&message));
    }
    contents
}

fn got(message: &BorrowedMessage<'_>) -> Got {
    let headers = message.headers().expect("headers");
    let header = |name: &str| {
        let found = headers.iter().find(|header| header.key == name);
        found.map(|header| String::from_utf8(header.value.unwrap().to_vec()).unwrap())
    };
    let number = |name: &str| header(name).unwrap().parse::<u64>().unwrap();
    assert_eq!(header("schema").as_deref(), Some("1"));
    assert_eq!(header("leg").is_some(), message.topic() == "gollem.ledger");
    let leg = header("leg").map_or(0, |leg| leg.parse().unwrap());
    Got {
        position: Position { seq: number("seq"), index: number("index") as u32, leg },
        kind: header("kind").unwrap(),
        key: message.key().map(|key| String::from_utf8(key.to_vec()).unwrap()),
        value: serde_json::from_slice(message.payload().unwrap()).unwrap(),
    }
}
