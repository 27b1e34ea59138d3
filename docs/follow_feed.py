"""Follow feeds on a topic without Muster (feeds.md): python follow_feed.py BROKER TOPIC STORE; a rerun goes on."""

import json
import sqlite3
import sys

import kafka_client
from confluent_kafka import Consumer, KafkaException

RESET = "UPDATE users SET member = 0 WHERE source = ? AND place = ? AND sequence < ?"
CHANGE = """INSERT INTO users VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET place = excluded.place,
            sequence = excluded.sequence, member = excluded.member WHERE excluded.sequence > sequence"""
broker, topic, store = sys.argv[1:]
db = sqlite3.connect(store)
db.execute("CREATE TABLE IF NOT EXISTS users (source, user, place, sequence, member, PRIMARY KEY (source, user))")
group = {"group.id": f"follow-{topic}", "enable.auto.commit": False, "auto.offset.reset": "earliest"}
consumer = Consumer({**kafka_client.settings(broker), **group})
consumer.subscribe([topic])
while True:
    messages = consumer.consume(1000, timeout=1)
    with db:
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            e, place = json.loads(message.value()), message.partition()
            if e["type"].endswith(".reset"):  # whoever was not named since the epoch began has left
                db.execute(RESET, (e["source"], place, e["sequence"].partition(".")[0]))
            else:  # only what is newer than what is known of the user: repetitions change nothing
                db.execute(CHANGE, (e["source"], e["subject"], place, e["sequence"], e["type"].endswith(".entered")))
    if messages:
        consumer.commit(asynchronous=False)
