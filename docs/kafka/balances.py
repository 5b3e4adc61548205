#!/usr/bin/env python3
"""Balances and hourly volume from GoLLeM's Kafka topics, each record counted exactly once.

    pip install confluent-kafka
    python3 docs/kafka/balances.py 127.0.0.1:9092 balances.db --until-end

How exactly once comes about: sums and the position of the last record of each partition are changed in one SQLite
transaction. After a crash both are as they were before the batch; reading goes on from there, and a record that is not
above the position of its partition was counted before, so it is dropped, whatever brought it again.

Amounts are atoms: 10^-8 credits. Prices are atoms a unit.
"""

import argparse
import json
import signal
import sqlite3
from datetime import datetime, timezone

from confluent_kafka import Consumer, KafkaException, TopicPartition

LEDGER, TRADES = "gollem.ledger", "gollem.trades"
HOUR_NS = 3600 * 10**9

TABLES = """
CREATE TABLE IF NOT EXISTS positions (topic, partition, next_offset, seq, idx, leg, PRIMARY KEY (topic, partition));
CREATE TABLE IF NOT EXISTS balances (
    account, ledger, atoms INTEGER CHECK (typeof(atoms) = 'integer'), PRIMARY KEY (account, ledger));
CREATE TABLE IF NOT EXISTS volume (
    instrument, hour, units, atoms INTEGER CHECK (typeof(atoms) = 'integer'), trades, PRIMARY KEY (instrument, hour));
"""


def take(db, message):
    """Counts one record, unless it was counted before."""
    at = (message.topic(), message.partition())
    headers = dict(message.headers())
    position = (int(headers["seq"]), int(headers["index"]), int(headers.get("leg", 0)))
    last = db.execute("SELECT seq, idx, leg FROM positions WHERE topic = ? AND partition = ?", at).fetchone()
    if last is not None and position <= last:
        return
    count(db, message.topic(), json.loads(message.value()))
    db.execute("REPLACE INTO positions VALUES (?, ?, ?, ?, ?, ?)", (*at, message.offset() + 1, *position))


def count(db, topic, record):
    """Adds a record to the sums."""
    if topic == LEDGER:
        db.execute(
            "INSERT INTO balances VALUES (:account, :ledger, :amount) "
            "ON CONFLICT DO UPDATE SET atoms = atoms + excluded.atoms",
            record,
        )
    else:
        atoms = record["price"] * record["quantity"]
        row = (record["instrument"], record["at_ns"] // HOUR_NS, record["quantity"], atoms)
        db.execute(
            "INSERT INTO volume VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET "
            "units = units + excluded.units, atoms = atoms + excluded.atoms, trades = trades + 1",
            row,
        )


def partitions(consumer):
    """All partitions of both topics."""
    found = []
    for topic in (LEDGER, TRADES):
        about = consumer.list_topics(topic, timeout=30).topics[topic]
        if about.error is not None:
            raise KafkaException(about.error)
        found += [TopicPartition(topic, partition) for partition in about.partitions]
    return found


def begin(db, consumer):
    """Goes on where the sums stand; returns how far each partition reaches now."""
    ends, begins = {}, []
    for part in partitions(consumer):
        low, end = consumer.get_watermark_offsets(part, timeout=30)
        at = (part.topic, part.partition)
        stored = db.execute("SELECT next_offset FROM positions WHERE topic = ? AND partition = ?", at).fetchone()
        # A topic that was made anew may end below: then everything is read again, and dropped by position.
        part.offset = stored[0] if stored and low <= stored[0] <= end else low
        ends[at] = end
        begins.append(part)
    consumer.assign(begins)
    return ends


def run(db, consumer, until_end):
    """Counts until stopped, or until everything that was there at the start is counted."""
    ends = begin(db, consumer)
    stopped = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.append(True))
    while not stopped:
        if until_end and all(part.offset >= ends[part.topic, part.partition] for part in reached(consumer, ends)):
            return
        messages = consumer.consume(num_messages=1000, timeout=0.2)
        with db:  # One transaction: all of it, or nothing.
            for message in messages:
                if message.error() is not None:
                    raise KafkaException(message.error())
                take(db, message)


def reached(consumer, ends):
    """How far each partition was read; one of which nothing was read yet stands where it began."""
    begun = {(part.topic, part.partition): part.offset for part in consumer.assignment()}
    for part in consumer.position([TopicPartition(*at) for at in ends]):
        if part.offset < 0:
            part.offset = begun[part.topic, part.partition]
        yield part


def report(db):
    """The sums as JSON."""
    balances, volume = {}, {}
    for account, ledger, atoms in db.execute("SELECT * FROM balances WHERE atoms != 0"):
        balances.setdefault(account, {})[ledger] = atoms
    for instrument, hour, units, atoms, trades in db.execute("SELECT * FROM volume"):
        start = datetime.fromtimestamp(hour * 3600, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        volume.setdefault(instrument, {})[start] = {"units": units, "atoms": atoms, "trades": trades}
    print(json.dumps({"balances": balances, "volume": volume}, indent=2, sort_keys=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kafka", help="address of a broker, HOST:PORT")
    parser.add_argument("state", help="file that keeps sums and positions; made when missing")
    parser.add_argument("--until-end", action="store_true", help="stop at what is there now instead of going on")
    args = parser.parse_args()
    db = sqlite3.connect(args.state)
    db.executescript(TABLES)
    # No group: the positions are ours, Kafka's own offsets are not used.
    settings = {"bootstrap.servers": args.kafka, "group.id": "balances", "enable.auto.commit": False}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest"})
    try:
        run(db, consumer, args.until_end)
    finally:
        consumer.close()
    report(db)


if __name__ == "__main__":
    main()
