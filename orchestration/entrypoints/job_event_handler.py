"""The Lambda function between Kafka and SNS: each event of `muster.job-events` becomes a message of an SNS topic.

Lambda reads the Kafka topic (an event source mapping) and calls `publish` with batches of records. It repeats a batch
until this returns, so events arrive at least once, as they do on Kafka: receivers deduplicate by (job_id, sequence).

1. A record that is not a job event is logged, counted and skipped: no retry would decode it.
2. The others are sent, ten per request. Any event that SNS does not accept fails the call, and with it the batch.

https://docs.aws.amazon.com/lambda/latest/dg/with-msk.html
"""

import base64
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Final

from orchestration.platform.clock import iso, now_ms
from orchestration.platform.embedded_metrics import embedded_line
from orchestration.platform.logs import configure
from orchestration.platform.settings import Settings
from schemas.codec import CODEC, UndecodableError
from schemas.errors import RetriableError, UserError
from schemas.import_targets import kind_of_target
from schemas.log_ids import bound
from schemas.messages import JobEvent
from schemas.metrics import UNDECODABLE_JOB_EVENTS, cloudwatch_namespace

BATCH: Final = 10
"""The most that SNS accepts in one request."""
ATTRIBUTES: Final = ("tenant", "kind", "state")
"""Attributes that subscriptions can filter by."""
_log = logging.getLogger(__name__)


def publish(event: Mapping[str, Any], _: object) -> dict[str, int]:
    """Forward the job events of a batch; returns {published, undecodable}.

    Raises `UserError` BAD_SETTINGS without a topic, `RetriableError` JOB_EVENTS_NOT_PUBLISHED.
    """
    settings = _settings()
    with bound():
        events, undecodable = _decoded(event)
        if undecodable:
            namespace = cloudwatch_namespace(settings.deployment)
            print(embedded_line(namespace, now_ms(), {UNDECODABLE_JOB_EVENTS: undecodable}), flush=True)  # noqa: T201
        for start in range(0, len(events), BATCH):
            _send(settings.job_events_topic, events[start : start + BATCH])
    return {"published": len(events), "undecodable": undecodable}


def as_json(event: JobEvent) -> dict[str, Any]:
    """An event as receivers get it: the fields of the record, the kind of import, and the time as text."""
    kind = kind_of_target(event.audience)
    return {**asdict(event), "kind": kind, "occurred_at": iso(event.occurred_at_us // 1000)}


def _decoded(event: Mapping[str, Any]) -> tuple[list[JobEvent], int]:
    events, undecodable = [], 0
    for record in _records(event):
        try:
            message = CODEC.decode(base64.b64decode(record["value"]) if record.get("value") else None)
            if not isinstance(message, JobEvent):
                raise UndecodableError(f"not a JobEvent but {type(message).__name__}")
        except (UndecodableError, ValueError) as exc:  # the latter: not base64
            place = f"{record.get('topic')}[{record.get('partition')}] at {record.get('offset')}"
            _log.error("skipped the record of %s: %s", place, exc)
            undecodable += 1
        else:
            events.append(message)
    return events, undecodable


def _records(event: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for records in event["records"].values():  # by "topic-partition", in the order of the log
        yield from records


def _send(topic: str, events: Sequence[JobEvent]) -> None:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  # slow to import

    entries = [_entry(number, event) for number, event in enumerate(events)]
    try:
        answer = _sns(topic.split(":")[3]).publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    except (BotoCoreError, ClientError) as exc:
        raise RetriableError("JOB_EVENTS_NOT_PUBLISHED", f"{topic} accepted no event: {exc}", topic=topic) from exc
    if failed := answer.get("Failed"):
        why = f"{failed[0].get('Code')}: {failed[0].get('Message')}"
        raise RetriableError(
            "JOB_EVENTS_NOT_PUBLISHED",
            f"{topic} did not accept {len(failed)} of {len(events)} events: {why}",
            topic=topic,
        )


def _entry(number: int, event: JobEvent) -> Any:
    record = as_json(event)
    return {
        "Id": str(number),
        "Message": json.dumps(record),
        "MessageAttributes": {
            # SNS rejects a request with an empty text in it; a refused job may have any text as its tenant.
            name: {"DataType": "String", "StringValue": record[name]}
            for name in ATTRIBUTES
            if record[name] and record[name].isprintable()
        },
    }


@lru_cache(maxsize=1)
def _settings() -> Settings:
    settings = Settings.load()
    configure(settings)
    if settings.job_events_topic.count(":") < 5:  # arn:aws:sns:region:account:name
        raise UserError(
            "BAD_SETTINGS",
            f"setting job_events_topic: {settings.job_events_topic!r} is not the ARN of an SNS topic",
            name="job_events_topic",
        )
    return settings


@lru_cache(maxsize=1)
def _sns(region: str) -> Any:
    import boto3  # noqa: PLC0415  # as above

    return boto3.client("sns", region_name=region)
