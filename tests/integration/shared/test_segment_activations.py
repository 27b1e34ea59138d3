"""What workers learn of segments, over a real broker, and how their reports reach the catalog."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from connectors.kafka.logon import librdkafka_config
from connectors.publishing import producer
from connectors.publishing.activations import ActivationSender
from orchestration.catalog.references import ref_of
from orchestration.catalog.segments import NewRule
from orchestration.composition import control_plane
from orchestration.composition.context import Context
from orchestration.control.activations import RESEND_AFTER_MS
from orchestration.control.periodic import Lane
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.settings import Settings
from schemas.codec import CODEC
from schemas.errors import FatalError, RetriableError
from schemas.ids import AudienceName, Partition, TenantName
from schemas.messages import Message
from schemas.segment_messages import (
    AudienceActivated,
    RuleActivated,
    SegmentDeleted,
    SegmentPaused,
    SegmentStatus,
)
from schemas.topics import SEGMENT_ACTIVATIONS, SEGMENT_STATUS
from segmentation.rules.parser import parse_rule
from tests.fakes.catalog import catalog_in
from tests.fakes.rules import new_rule
from tests.fakes.version_store import InMemoryVersionStore
from tests.integration.lake.support import Parts, new_id, request, users
from tests.waiting import until

pytestmark = pytest.mark.integration
BUYERS, VIP = AudienceName("buyers"), AudienceName("vip")
LATER = 10_000


@pytest.fixture
def tenant() -> TenantName:
    """A tenant that is unique on the broker."""
    return TenantName(f"t{new_id()}")


@pytest.fixture
def context(stack: Settings, tmp_path: Path, tenant: TenantName) -> Iterator[Context]:
    url = catalog_in(tmp_path)
    made = Context(stack.with_(catalog_url=url, home=tmp_path))
    made.__dict__["versions"] = InMemoryVersionStore()
    made.audiences.add_tenant(tenant, 1)
    made.audiences.ensure(tenant, VIP, new_id=fresh_id(), now_ms=1)
    yield made
    made.database.close()


@pytest.fixture
def relay(context: Context) -> Lane:
    return control_plane.activations(context).lane()


def create(context: Context, tenant: TenantName, text: str = "ever(purchase)") -> None:
    rule = new_rule(text)
    context.segments.create(tenant, BUYERS, rule, new_id=fresh_id(), author="ann", now_ms=now_ms())


def publish(context: Context, tenant: TenantName, order: str) -> None:
    ref, parts = ref_of(context.audiences.get(tenant, VIP)), Parts()
    context.versions.publish(request(ref, parts.write(ref, new_id(), users("ann", "bob")), order))


def announced(context: Context, tenant: TenantName) -> list[list[Message]]:
    """A tenant's activations in each partition."""
    consumer = Consumer({**librdkafka_config(context.settings.kafka_bootstrap), "group.id": "nobody"})
    try:
        places = [TopicPartition(SEGMENT_ACTIVATIONS, p, 0) for p in range(context.settings.partitions)]
        left = sum(consumer.get_watermark_offsets(place, timeout=10)[1] for place in places)
        consumer.assign(places)
        found: list[list[Message]] = [[] for _ in places]
        while left:
            records = consumer.consume(left, 10.0)
            left -= len(records)
            for record in records:
                found[record.partition() or 0].append(CODEC.decode(record.value()))
    finally:
        consumer.close()
    return [[m for m in messages if getattr(m, "tenant", None) == tenant] for messages in found]


def alike(found: list[list[Message]]) -> list[Message]:
    """The messages, which are the same in each partition."""
    assert [other == found[0] for other in found] == [True] * len(found)
    return found[0]


def status(tenant: TenantName, partition: int, **given: object) -> SegmentStatus:
    values: dict[str, Any] = {
        "rule_version": 1,
        "partitions": 4,
        "members": 5,
        "at_us": now_ms() * 1000,
        "paused": False,
    }
    values |= {"events": 0, "profiles": 0, "activations": 10**9, **given}
    return SegmentStatus(tenant=tenant, segment=BUYERS, partition=Partition(partition), **values)


def test_every_partition_gets_every_change_in_order(context: Context, tenant: TenantName, relay: Lane) -> None:
    create(context, tenant)
    context.segments.pause(tenant, BUYERS, now_ms=2)
    relay.tick(1_000)
    context.segments.resume(tenant, BUYERS, now_ms=3)
    context.segments.delete(tenant, BUYERS, now_ms=4)
    relay.tick(1_500)
    relay.tick(2_000)
    kinds = [type(message) for message in alike(announced(context, tenant))]
    assert kinds == [RuleActivated, SegmentPaused, RuleActivated, SegmentDeleted]
    assert context.activations.unsent() == []


def test_workers_learn_audience_versions_before_rules_that_reference_them(
    context: Context, tenant: TenantName, relay: Lane
) -> None:
    audience_id = context.audiences.get(tenant, VIP).audience_id
    publish(context, tenant, "1")
    relay.tick(10_000)
    assert alike(announced(context, tenant)) == []  # no rule names it
    create(context, tenant, "in audience vip")
    relay.tick(10_500)
    publish(context, tenant, "2")
    relay.tick(20_000)
    relay.tick(30_000)
    first, activated, second = alike(announced(context, tenant))
    assert first == AudienceActivated(tenant=tenant, audience=VIP, version=1)  # type: ignore[arg-type]
    assert isinstance(activated, RuleActivated)
    assert second == AudienceActivated(tenant=tenant, audience=VIP, version=2)  # type: ignore[arg-type]
    assert context.audiences.retained(audience_id) == {1, 2}
    edited = NewRule(text="", timezone=None, rule=parse_rule("ever(visit)"))
    context.segments.edit(tenant, BUYERS, edited, author="ann", now_ms=5)
    relay.tick(40_000)
    assert context.audiences.retained(audience_id) == set()


def test_sent_but_unrecorded_change_is_sent_again(context: Context, tenant: TenantName, relay: Lane) -> None:
    create(context, tenant)
    [due] = context.activations.unsent()
    ActivationSender(context.settings.kafka_bootstrap, context.settings.partitions).send(due.message)
    relay.tick(1_000)
    assert alike(announced(context, tenant)) == [due.message, due.message]


def test_late_relay_repairs_an_outdated_audience_version(
    context: Context, tenant: TenantName, relay: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(context, tenant, "1")
    create(context, tenant, "in audience vip")
    other, send = control_plane.activations(context).lane(), ActivationSender.send
    stalled = [True]

    def stalls(sender: ActivationSender, message: Message) -> list[int]:
        if stalled and isinstance(message, AudienceActivated):
            stalled.clear()
            publish(context, tenant, "2")
            other.tick(10_000)
        return send(sender, message)  # type: ignore[arg-type]

    monkeypatch.setattr(ActivationSender, "send", stalls)
    relay.tick(20_000)
    versions = [m.version for m in alike(announced(context, tenant)) if isinstance(m, AudienceActivated)]
    assert versions == [2, 1, 2]


def test_segment_that_differs_at_a_worker_is_announced_with_backoff(
    context: Context, tenant: TenantName, relay: Lane
) -> None:
    create(context, tenant)
    context.segments.pause(tenant, BUYERS, now_ms=2)
    relay.tick(0)
    context.segments.put_statuses([status(tenant, 0, paused=False)])
    for now in (
        LATER,
        2 * LATER,
        2 * LATER + RESEND_AFTER_MS,
        3 * LATER + RESEND_AFTER_MS,
        2 * RESEND_AFTER_MS + LATER,
    ):
        relay.tick(now)
    kinds = [type(message) for message in alike(announced(context, tenant))]
    assert kinds == [RuleActivated, SegmentPaused, SegmentPaused, SegmentPaused]


def test_tenant_with_an_unreadable_audience_does_not_block_others(
    context: Context, tenant: TenantName, relay: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = TenantName(f"z{tenant[1:]}")
    context.audiences.add_tenant(other, 1)
    create(context, tenant, "in audience vip")
    create(context, other)

    def fails(_: object, ref: object) -> None:
        raise RetriableError("LAKE_UNAVAILABLE", f"{ref} is away")

    with monkeypatch.context() as broken:
        broken.setattr(InMemoryVersionStore, "current", fails)
        relay.tick(1_000)
    assert [one.tenant for one in context.activations.unsent()] == [tenant]
    assert len(alike(announced(context, other))) == 1
    relay.tick(1_500)
    assert len(alike(announced(context, tenant))) == 1


def test_changed_partition_count_of_a_topic_is_refused(context: Context, tenant: TenantName) -> None:
    create(context, tenant)
    [due] = context.activations.unsent()
    with pytest.raises(FatalError, match="TOPIC_PARTITIONS_CHANGED"):
        ActivationSender(context.settings.kafka_bootstrap, context.settings.partitions - 1).send(due.message)


def test_unreachable_broker_is_retried(context: Context, tenant: TenantName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer, "METADATA_TIMEOUT_S", 0.5)
    create(context, tenant)
    [due] = context.activations.unsent()
    with pytest.raises(RetriableError, match="KAFKA_UNAVAILABLE"):
        ActivationSender("127.0.0.1:1", 4).send(due.message)


def test_worker_statuses_reach_the_catalog(context: Context, tenant: TenantName) -> None:
    create(context, tenant)
    segment_id = context.segments.get(tenant, BUYERS).segment_id
    producer = Producer({**librdkafka_config(context.settings.kafka_bootstrap)})
    producer.produce(SEGMENT_STATUS, b"nonsense")
    for partition in range(4):
        producer.produce(SEGMENT_STATUS, CODEC.encode(status(tenant, partition, members=partition)))
    producer.flush(10)
    stop = threading.Event()
    fold = control_plane.segment_status(context, stop, threading.Event())
    thread = threading.Thread(target=fold.run)
    thread.start()
    until(lambda: len(context.segments.partitions(segment_id)) == 4)
    stop.set()
    thread.join()
    assert [one.members for one in context.segments.partitions(segment_id).values()] == [0, 1, 2, 3]
