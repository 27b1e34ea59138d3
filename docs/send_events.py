"""Send events or profiles to Muster, without Muster: python send_events.py BROKER TOPIC < records.jsonl

Needs confluent-kafka, and kafka_client.py beside it, which says what BROKER is. Each line is a record as
events.md describes it; what Muster would refuse is not found out here.
"""

import json
import sys

import kafka_client
from confluent_kafka import Producer


def main(broker, topic, lines):
    """How many records the broker has taken, and what it said of those that it has not."""
    failed = []
    producer = Producer(
        {
            **kafka_client.settings(broker),
            "partitioner": "murmur2_random",  # of the key, as Java's producers do; librdkafka's own is another
            "enable.idempotence": True,  # a retry is not a second event
            "linger.ms": 20,
            "compression.type": "zstd",
        }
    )
    sent = 0
    for line in lines:
        user = json.loads(line)["user_id"]
        report = lambda error, _: failed.append(str(error)) if error else None  # noqa: E731
        while True:
            try:
                producer.produce(topic, line.strip().encode(), key=user.encode(), on_delivery=report)
                break
            except BufferError:
                producer.poll(0.1)  # the queue is full: wait for reports
        producer.poll(0)
        sent += 1
    producer.flush(120)
    return sent - len(failed) - len(producer), failed


if __name__ == "__main__":
    taken, errors = main(sys.argv[1], sys.argv[2], sys.stdin)
    print(f"{taken} records taken")
    sys.exit(f"{len(errors)} records not taken, the first: {errors[0]}" if errors else 0)
