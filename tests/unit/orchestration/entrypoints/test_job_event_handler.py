"""Job events on their way from Kafka to SNS, through the function that Lambda calls with batches of records."""

import base64
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from orchestration.entrypoints import job_event_handler
from orchestration.entrypoints.job_event_handler import publish
from schemas.codec import CODEC
from schemas.errors import RetriableError, UserError
from schemas.ids import Attempt, AudienceName, JobId, Partition, TenantName
from schemas.messages import ImportAborted, JobEvent
from tests.servers.moto_aws import client, environment, moto_server

READY = JobEvent(
    job_id=JobId("01m87b5fjxy5p23eqzcwh67tr0"),
    tenant=TenantName("acme"),
    audience=AudienceName("vip"),
    sequence=7,
    state="READY",
    attempt=Attempt(1),
    version=3,
    code=None,
    occurred_at_us=1_764_166_201_500_000,
)


def batch(*values: bytes | None, **more: Any) -> dict[str, Any]:
    """An event as AWS documents it for MSK: https://docs.aws.amazon.com/lambda/latest/dg/with-msk.html"""
    records = [
        {
            "topic": "muster.job-events",
            "partition": 0,
            "offset": 15 + number,
            "timestamp": 1545084650987,
            "timestampType": "CREATE_TIME",
            "key": "abcDEFghiJKLmnoPQRstuVWXyz1234==",
            "value": None if value is None else base64.b64encode(value).decode(),
            "headers": [{"headerKey": [104, 101, 97, 100, 101, 114, 86, 97, 108, 117, 101]}],
        }
        for number, value in enumerate(values)
    ]
    return {
        "eventSource": "aws:kafka",
        "eventSourceArn": "arn:aws:kafka:eu-west-1:123456789012:cluster/vpc-2priv-2pub/751d2973-a626-431c-9d4e-1",
        "bootstrapServers": "b-2.demo.a1b.kafka.eu-west-1.amazonaws.com:9092",
        "records": {"muster.job-events-0": records},
        **more,
    }


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as running:
        yield running


@pytest.fixture
def published(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """Messages in a queue subscribed to the topic; the function is set up to publish there."""
    for name, value in environment(endpoint).items():
        monkeypatch.setenv(name, value)
    sns, sqs = client("sns", endpoint), client("sqs", endpoint)
    name = f"events-{os.urandom(4).hex()}"
    topic = sns.create_topic(Name=name)["TopicArn"]
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    point_to(monkeypatch, topic)

    def received() -> list[dict[str, Any]]:
        bodies = []
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                bodies.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    return received


def point_to(monkeypatch: pytest.MonkeyPatch, topic: str) -> None:
    monkeypatch.setenv("MUSTER_JOB_EVENTS_TOPIC", topic)
    monkeypatch.setenv("MUSTER_MACHINE_PREFIX", "prod-")
    monkeypatch.setattr(job_event_handler, "configure", lambda _: None)  # it would remove pytest's handlers
    job_event_handler._settings.cache_clear()
    job_event_handler._sns.cache_clear()


def test_event_is_published_as_json_with_filter_attributes(published: Callable[[], list[dict[str, Any]]]) -> None:
    assert publish(batch(CODEC.encode(READY)), None) == {"published": 1, "undecodable": 0}
    [body] = published()
    assert json.loads(body["Message"]) == {
        "job_id": "01m87b5fjxy5p23eqzcwh67tr0",
        "tenant": "acme",
        "audience": "vip",
        "kind": "audience",
        "sequence": 7,
        "state": "READY",
        "attempt": 1,
        "version": 3,
        "code": None,
        "occurred_at_us": 1_764_166_201_500_000,
        "occurred_at": "2025-11-26T14:10:01.500Z",
    }
    assert {name: given["Value"] for name, given in body["MessageAttributes"].items()} == {
        "tenant": "acme",
        "kind": "audience",
        "state": "READY",
    }


def test_large_batches_and_self_managed_kafka_are_handled(published: Callable[[], list[dict[str, Any]]]) -> None:
    events = [CODEC.encode(replace(READY, sequence=n)) for n in range(1, 24)]
    event = batch(*events, eventSource="SelfManagedKafka")
    assert publish(event, None)["published"] == 23
    assert sorted(json.loads(body["Message"])["sequence"] for body in published()) == list(range(1, 24))


def test_foreign_records_are_skipped_and_counted(
    published: Callable[[], list[dict[str, Any]]],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    aborted = ImportAborted(import_id=READY.job_id, attempt=Attempt(1), partition=Partition(0), reason="CANCELLED")
    event = batch(b"rubbish", None, CODEC.encode(aborted), CODEC.encode(READY)[:-3], CODEC.encode(READY))
    event["records"]["muster.job-events-0"][0]["value"] = "not base64!"
    assert publish(event, None) == {"published": 1, "undecodable": 4}
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [text.partition(": ")[0] for text in said] == [
        f"skipped the record of muster.job-events[0] at {offset}" for offset in range(15, 19)
    ]
    assert "not a JobEvent but ImportAborted" in said[2]
    assert len(published()) == 1
    [line] = [line for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    counted = json.loads(line)
    [metric] = counted["_aws"]["CloudWatchMetrics"]
    assert (metric["Namespace"], [m["Name"] for m in metric["Metrics"]]) == ("Muster/prod", ["UndecodableJobEvents"])
    assert counted["UndecodableJobEvents"] == 4


@pytest.mark.parametrize("tenant", ["", "a\x00b"])
def test_refused_job_with_an_invalid_tenant_does_not_block(
    published: Callable[[], list[dict[str, Any]]], tenant: str
) -> None:
    odd = replace(READY, tenant=TenantName(tenant), audience=AudienceName(""), state="FAILED", code="BAD_NAME")
    assert publish(batch(CODEC.encode(odd)), None)["published"] == 1
    [body] = published()
    assert set(body["MessageAttributes"]) == {"kind", "state"}
    assert json.loads(body["Message"])["tenant"] == tenant


def test_batch_refused_by_sns_is_delivered_again(
    published: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    point_to(monkeypatch, "arn:aws:sns:eu-west-1:123456789012:gone")
    with pytest.raises(RetriableError, match=r"JOB_EVENTS_NOT_PUBLISHED: .*gone accepted no event"):
        publish(batch(CODEC.encode(READY)), None)
    assert published() == []


def test_single_event_refused_by_sns_fails_the_batch(
    published: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = {"Failed": [{"Id": "1", "Code": "InternalError", "Message": "later", "SenderFault": False}]}
    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", lambda *_: failed)
    with pytest.raises(RetriableError, match="did not accept 1 of 2 events: InternalError: later"):
        publish(batch(CODEC.encode(READY), CODEC.encode(READY)), None)
    monkeypatch.undo()


@pytest.mark.parametrize("topic", ["", "events"])
def test_missing_topic_fails_loudly(monkeypatch: pytest.MonkeyPatch, topic: str) -> None:
    point_to(monkeypatch, topic)
    with pytest.raises(UserError, match=r"BAD_SETTINGS: setting job_events_topic: .* is not the ARN of an SNS topic"):
        publish(batch(CODEC.encode(READY)), None)
