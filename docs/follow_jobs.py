"""Follow Muster's jobs on Kafka without Muster: python follow_jobs.py BROKER SCHEMAS DATABASE

Needs confluent-kafka and fastavro, and beside it consume_export.py and kafka_client.py, which says what BROKER is.
Writes the events that came since the last time to an SQLite database, and prints those that are new. The rules are
those of consuming.md.
"""

import sqlite3
import sys
from datetime import UTC, datetime

import kafka_client
from confluent_kafka import Consumer, KafkaError, TopicPartition
from consume_export import decoder

TOPIC = "muster.job-events"
TABLE = """CREATE TABLE IF NOT EXISTS events (
    job TEXT, sequence INTEGER, tenant TEXT, audience TEXT, state TEXT, version INTEGER, code TEXT, at TEXT,
    PRIMARY KEY (job, sequence)
)"""
NOW = "SELECT state FROM events WHERE job = ? ORDER BY sequence DESC LIMIT 1"


def take(database, event):
    """Write an event down; whether it is new."""
    row = [event[name] for name in ("job_id", "sequence", "tenant", "audience", "state", "version", "code")]
    at = datetime.fromtimestamp(event["occurred_at_us"] / 1e6, UTC).isoformat()
    return database.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [*row, at]).rowcount == 1


def main(broker, folder, path, group="job-follower"):
    decode, database = decoder(folder), sqlite3.connect(path)
    database.execute(TABLE)
    consumer = Consumer(
        {
            **kafka_client.settings(broker),
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(TOPIC, 0)])  # it has one; from the committed offset on
    new = []
    while (message := consumer.poll(30)) is not None:
        if message.error() is not None:
            if message.error().code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # that is its public name
                break
            raise RuntimeError(message.error())
        name, event = decode(message.value())
        if name == "JobEvent" and take(database, event):
            new.append(event)
    database.commit()  # before the offset: an event that comes again is known
    if new:
        consumer.commit(asynchronous=False)
    consumer.close()
    database.close()
    return new


if __name__ == "__main__":
    for event in main(*sys.argv[1:4]):
        print(f"{event['job_id']} {event['sequence']}: {event['state']} {event['version'] or event['code'] or ''}")
