//! SIGKILL of the process that publishes, and of the broker, in mid-batch.

use super::broker::{Broker, wait_until};
use super::exchange::{Exchange, journal};
use super::expected;
use super::projector::{Projected, hash_of};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often each is killed.
const KILLS: u32 = 10;

/// Where the child finds its folder, its brokers and its seed.
const CHILD: &str = "GOLLEM_TEST_KAFKA_CHILD";

/// What the killed process does; for anyone else it is no test.
#[test]
fn a_child_that_publishes_until_it_is_killed() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let [dir, brokers, seed] = told.split('|').collect::<Vec<_>>()[..] else { panic!("{told}") };
    let mut exchange = Exchange::open(Path::new(dir), brokers, seed.parse().unwrap());
    loop {
        exchange.play(200);
        // However slow the machine is, the publisher is never far behind.
        let (status, view) = (exchange.status(), exchange.publisher.view());
        wait_until("the publisher keeps up", || view.published_seq() + 4_000 > status.durable_seq());
        println!("published {}", exchange.publisher.view().published_seq());
    }
}

fn child(dir: &Path, brokers: &str, seed: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::a_child_that_publishes_until_it_is_killed", "--nocapture"])
        .env(CHILD, format!("{}|{brokers}|{seed}", dir.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Some time below `max`, from the clock.
fn some(max: Duration) -> Duration {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    max * (nanos / 1_000 % 1_000) / 1_000
}

#[test]
fn a_killed_publisher_leaves_nothing_out_and_repeats_nothing() {
    let Some(broker) = Broker::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for seed in 0..KILLS {
        let mut child = child(dir.path(), &broker.address(), seed);
        // Killed while it publishes: some time after it got further than the one before.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in &mut lines {
            let line = line.unwrap();
            let published = line.strip_prefix("published ").and_then(|seq| seq.parse().ok()).unwrap_or(0);
            if published > seen {
                seen = published;
                break;
            }
        }
        std::thread::park_timeout(some(Duration::from_millis(300)));
        child.kill().unwrap();
        child.wait().unwrap();
        drop(lines);
    }
    let exchange = Exchange::open(dir.path(), &broker.address(), KILLS.into());
    wait_until("all is published", || exchange.is_published());
    exchange.close();
    expected::check(&broker.address(), &journal(dir.path()));
}

#[test]
fn a_killed_broker_loses_nothing_and_repeats_nothing() {
    let Some(broker) = Broker::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let projected = Projected::start(&broker.address());
    let mut exchange = Exchange::open(dir.path(), &broker.address(), 21);
    for _ in 0..KILLS {
        wait_until("all is published", || exchange.is_published());
        let before = exchange.publisher.view().records();
        while exchange.publisher.view().records() == before {
            exchange.play(200);
        }
        exchange.play(some(Duration::from_micros(400)).as_micros() as usize);
        broker.kill();
        exchange.play(200);
        broker.restart();
    }
    wait_until("all is published", || exchange.is_published());
    projected.reach(exchange.status().durable_seq());
    exchange.close();
    expected::check(&broker.address(), &journal(dir.path()));
    assert_eq!(hash_of(&projected), expected::hash(&journal(dir.path())));
    assert_eq!(projected.view().gaps(), 0);
    projected.stop();
}
