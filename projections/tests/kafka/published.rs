//! What is published is what happened, and from it the same views come.

use super::broker::{Broker, delete_topics, wait_until};
use super::exchange::{Exchange, journal};
use super::expected;
use super::projector::{Projected, hash_of};
use gollem_projections::kafka::TOPICS;
use gollem_sequencer::Feed;

#[test]
fn every_event_is_published_once_in_its_partition_and_gives_the_same_views_elsewhere() {
    let Some(broker) = Broker::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let projected = Projected::start(&broker.address());
    let mut exchange = Exchange::open(dir.path(), &broker.address(), 1);
    exchange.play(4_000);
    wait_until("all is published", || exchange.is_published());
    let seq = exchange.status().durable_seq();
    projected.reach(seq);
    assert!(exchange.market.seen["traded"] > 100, "{:?}", exchange.market.seen);
    exchange.close();
    let found = expected::check(&broker.address(), &journal(dir.path()));
    for topic in ["gollem.trades", "gollem.depth", "gollem.ledger", "gollem.payouts"] {
        let records = found.iter().filter(|((name, _), _)| name == topic).map(|(_, records)| records.len());
        assert!(records.sum::<usize>() > 10, "{topic}");
    }
    let legs = found.iter().filter(|((topic, _), _)| topic == "gollem.ledger").flat_map(|(_, records)| records);
    assert_eq!(legs.map(|leg| i128::from(leg.value["amount"].as_i64().unwrap())).sum::<i128>(), 0);
    assert_eq!(hash_of(&projected), expected::hash(&journal(dir.path())));
    super::schemas::check(&found);
    projected.stop();
}

#[test]
fn a_publisher_that_falls_behind_and_one_that_starts_late_read_the_journal() {
    let Some(broker) = Broker::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    // A feed that drops nearly everything.
    let mut exchange = Exchange::open_with(dir.path(), &broker.address(), 2, Feed::new(1, 0));
    exchange.play(100);
    wait_until("all is published", || exchange.is_published());
    wait_until("the feed leaves a gap", || {
        exchange.play(500);
        exchange.publisher.view().gaps() > 0
    });
    wait_until("all is published", || exchange.is_published());
    exchange.close();
    let mut exchange = Exchange::open(dir.path(), &broker.address(), 3);
    exchange.play(500);
    wait_until("all is published", || exchange.is_published());
    exchange.close();
    expected::check(&broker.address(), &journal(dir.path()));
}

#[test]
fn a_broker_that_is_away_at_the_start_costs_the_exchange_nothing_and_gets_everything_later() {
    let Some(broker) = Broker::start() else { return };
    broker.kill();
    let dir = tempfile::tempdir().unwrap();
    let mut exchange = Exchange::open(dir.path(), &broker.address(), 4);
    exchange.play(2_000);
    assert_eq!(exchange.publisher.view().published_seq(), 0);
    assert!(!exchange.publisher.view().is_up());
    broker.restart();
    wait_until("all is published", || exchange.is_published());
    assert!(exchange.publisher.view().is_up());
    broker.kill();
    exchange.play(1_000);
    wait_until("it is seen that the broker is away", || !exchange.publisher.view().is_up());
    assert!(!exchange.is_published());
    broker.restart();
    wait_until("all is published", || exchange.is_published());
    exchange.close();
    expected::check(&broker.address(), &journal(dir.path()));
}

#[test]
fn topics_of_another_exchange_are_not_mixed_with_this_ones() {
    let Some(broker) = Broker::start() else { return };
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut exchange = Exchange::open(first.path(), &broker.address(), 5);
    exchange.play(300);
    wait_until("all is published", || exchange.is_published());
    exchange.close();
    let mut other = Exchange::open(second.path(), &broker.address(), 6);
    wait_until("it is refused: the topics are ahead", || other.publisher.view().restarts() > 1);
    other.play(400);
    let restarts = other.publisher.view().restarts();
    wait_until("it is refused: another history", || other.publisher.view().restarts() > restarts + 1);
    assert!(!other.is_published());
    other.close();
    expected::check(&broker.address(), &journal(first.path()));
}

#[test]
fn a_topic_that_was_deleted_alone_is_not_made_anew_without_its_beginning() {
    let Some(broker) = Broker::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut exchange = Exchange::open(dir.path(), &broker.address(), 41);
    exchange.play(3_000);
    wait_until("all is published", || exchange.is_published());
    exchange.close();
    delete_topics(&broker.address(), &["gollem.ledger"]);
    let mut exchange = Exchange::open(dir.path(), &broker.address(), 42);
    exchange.play(100);
    wait_until("publishing is refused", || exchange.publisher.view().restarts() > 1);
    assert_eq!(exchange.publisher.view().records(), 0, "nothing was sent");
    let rest: Vec<&str> = TOPICS.iter().map(|topic| topic.name).filter(|name| *name != "gollem.ledger").collect();
    delete_topics(&broker.address(), &rest);
    wait_until("all is published anew", || exchange.is_published());
    exchange.close();
    expected::check(&broker.address(), &journal(dir.path()));
}
