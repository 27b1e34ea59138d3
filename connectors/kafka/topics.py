"""Topics as `schemas.topics` declares them: creates missing ones and corrects configuration that has drifted."""

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, Protocol

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicMetadata,
)

from connectors.kafka.clients import admin_client
from connectors.kafka.log_offsets import LogOffsets, PartitionKey
from connectors.kafka.logon import answer, metadata
from schemas.errors import FatalError, RetriableError
from schemas.topics import TOPICS, TopicSpec

REQUEST_TIMEOUT_S: Final = 15.0
ANSWER_TIMEOUT_S: Final = REQUEST_TIMEOUT_S + 1
"""librdkafka reports its own time-out a little late."""
LEADER_PAUSE_S: Final = 0.05


class Cluster(Protocol):
    """Settings for where the topics are and how large they are."""

    @property
    def kafka_bootstrap(self) -> str:
        """Address of the brokers, as `schemas.kafka_address` reads it."""
        ...

    @property
    def partitions(self) -> int:
        """Partitions of a topic that declares no number."""
        ...

    @property
    def replication_factor(self) -> int:
        """Replicas of every partition."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicDifference:
    """One way in which a topic differs from its declaration; `actual` is None if the topic is missing."""

    topic: str
    setting: str
    expected: str
    actual: str | None


def ensure_topics(cluster: Cluster, specs: Iterable[TopicSpec] = TOPICS) -> None:
    """Create missing topics and set the declared configuration on existing ones. Idempotent.

    Returns when the leader of each partition of a new topic responds.

    Raises `FatalError` TOPIC_PARTITIONS_CHANGED if a topic exists with another number of partitions (its users would
    move to other partitions under running jobs), TOPIC_REPLICAS_CHANGED likewise; `RetriableError` BROKER_UNAVAILABLE;
    `FatalError` LOGON_REFUSED.
    """
    specs = tuple(specs)
    admin = admin_client(cluster.kafka_bootstrap)
    try:
        differences = find_differences(admin, specs, cluster)
        for difference in differences:
            if difference.setting == "partitions" and difference.actual is not None:
                raise FatalError(
                    "TOPIC_PARTITIONS_CHANGED",
                    f"topic {difference.topic} has {difference.actual} partitions, the settings say "
                    f"{difference.expected}; set partitions = {difference.actual} again, or start with an empty home",
                    topic=difference.topic,
                    expected=int(difference.expected),
                    actual=int(difference.actual),
                )
            if difference.setting == "replicas":
                raise FatalError(
                    "TOPIC_REPLICAS_CHANGED",
                    f"topic {difference.topic} has {difference.actual} replicas, the settings say "
                    f"{difference.expected}; move its replicas (kafka-reassign-partitions), or set "
                    f"replication_factor = {difference.actual} again",
                    topic=difference.topic,
                    expected=int(difference.expected),
                    actual=int(difference.actual or 0),
                )
        missing = {d.topic for d in differences if d.actual is None}
        _create(admin, [s for s in specs if s.name in missing], cluster)
        changed = {d.topic for d in differences} - missing
        _configure(admin, [s for s in specs if s.name in changed], cluster)
    except KafkaException as exc:
        raise unavailable(cluster.kafka_bootstrap, exc) from exc


def topic_differences(cluster: Cluster, specs: Iterable[TopicSpec] = TOPICS) -> tuple[TopicDifference, ...]:
    """How the broker's topics differ from the declared ones. Raises `RetriableError` BROKER_UNAVAILABLE."""
    try:
        return find_differences(admin_client(cluster.kafka_bootstrap), tuple(specs), cluster)
    except KafkaException as exc:
        raise unavailable(cluster.kafka_bootstrap, exc) from exc


def unavailable(address: str, exc: KafkaException) -> RetriableError:
    """The error for a broker that did not answer."""
    return RetriableError("BROKER_UNAVAILABLE", f"the broker at {address} did not answer: {exc}", broker=address)


def find_differences(admin: AdminClient, specs: tuple[TopicSpec, ...], cluster: Cluster) -> tuple[TopicDifference, ...]:
    """The same, asked through this client."""
    existing = metadata(admin, None, REQUEST_TIMEOUT_S).topics
    present = [s for s in specs if s.name in existing]
    found: list[TopicDifference] = []
    for spec in specs:
        expected = spec.partitions or cluster.partitions
        topic = existing.get(spec.name)
        actual = len(topic.partitions) if topic is not None else None
        if actual != expected:
            text = None if actual is None else str(actual)
            found.append(TopicDifference(topic=spec.name, setting="partitions", expected=str(expected), actual=text))
        if topic is not None and (replicas := _replicas(topic)) != cluster.replication_factor:
            wanted = str(cluster.replication_factor)
            found.append(TopicDifference(topic=spec.name, setting="replicas", expected=wanted, actual=str(replicas)))
    for spec, config in zip(present, _described(admin, present), strict=True):
        if config is None:
            partitions = str(spec.partitions or cluster.partitions)
            found.append(TopicDifference(topic=spec.name, setting="partitions", expected=partitions, actual=None))
            continue
        for name, value in spec.config(cluster.replication_factor).items():
            if config.get(name) != value:
                found.append(
                    TopicDifference(topic=spec.name, setting=name, expected=value, actual=config.get(name, ""))
                )
    return tuple(found)


def _replicas(topic: TopicMetadata) -> int:
    return min((len(partition.replicas) for partition in topic.partitions.values()), default=0)


def _described(admin: AdminClient, specs: list[TopicSpec]) -> list[Mapping[str, str] | None]:
    """Configuration of each topic. None for a topic that is being deleted although it was still listed."""
    if not specs:
        return []
    resources = [ConfigResource(ResourceType.TOPIC, s.name) for s in specs]
    futures = admin.describe_configs(resources, request_timeout=REQUEST_TIMEOUT_S)
    return [_config(admin, futures[resource]) for resource in resources]


def _config(admin: AdminClient, future: Future[dict[str, ConfigEntry]]) -> Mapping[str, str] | None:
    try:
        return {name: str(entry.value) for name, entry in answer(admin, future, ANSWER_TIMEOUT_S).items()}
    except KafkaException as exc:
        if exc.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise


def config_of(admin: AdminClient, topic: str) -> Mapping[str, str]:
    """Configuration of a topic. Raises `KafkaException`, UNKNOWN_TOPIC_OR_PART if it is not there."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    future = admin.describe_configs([resource], request_timeout=REQUEST_TIMEOUT_S)[resource]
    return {name: str(entry.value) for name, entry in answer(admin, future, ANSWER_TIMEOUT_S).items()}


def _create(admin: AdminClient, specs: list[TopicSpec], cluster: Cluster) -> None:
    if not specs:
        return
    new = [
        NewTopic(
            s.name,
            num_partitions=s.partitions or cluster.partitions,
            replication_factor=cluster.replication_factor,
            config=dict(s.config(cluster.replication_factor)),
        )
        for s in specs
    ]
    timeouts = {"operation_timeout": REQUEST_TIMEOUT_S, "request_timeout": REQUEST_TIMEOUT_S}
    for future in admin.create_topics(new, **timeouts).values():
        try:
            answer(admin, future, ANSWER_TIMEOUT_S)
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    await_leaders(
        cluster.kafka_bootstrap,
        [(s.name, p) for s in specs for p in range(s.partitions or cluster.partitions)],
    )


def await_leaders(bootstrap: str, partitions: Sequence[PartitionKey]) -> None:
    """Wait for partition leaders: the broker lists a topic before its leaders know their role and accept requests.

    A client that has once been told that a topic does not exist keeps believing it, so each try has a new client.
    """
    deadline = time.monotonic() + REQUEST_TIMEOUT_S
    while True:
        try:
            LogOffsets(bootstrap).ends(partitions, REQUEST_TIMEOUT_S)
        except KafkaException:
            if time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(LEADER_PAUSE_S)


def _configure(admin: AdminClient, specs: list[TopicSpec], cluster: Cluster) -> None:
    if not specs:
        return
    resources = [
        ConfigResource(
            ResourceType.TOPIC,
            s.name,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in s.config(cluster.replication_factor).items()
            ],
        )
        for s in specs
    ]
    for future in admin.incremental_alter_configs(resources, request_timeout=REQUEST_TIMEOUT_S).values():
        answer(admin, future, ANSWER_TIMEOUT_S)
