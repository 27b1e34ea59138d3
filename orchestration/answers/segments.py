"""Segments compared with their rules, and with what the topics have."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final

from confluent_kafka import KafkaException

from connectors.kafka.log_offsets import LogOffsets
from orchestration.answers.reading import Reading
from orchestration.catalog.segment_records import PartitionStatus
from orchestration.composition.context import Context
from orchestration.operations.availability import require_services
from orchestration.operations.segments import find
from orchestration.readers.questions import CheckSegment, MeasureSegment
from orchestration.records.questions import Bounded, UnknownMembers
from schemas.errors import MusterError, RetriableError
from schemas.ids import Partition, TenantName
from schemas.records import as_record
from schemas.topics import ACTIVITY_TOPICS, EVENTS, PROFILES
from segmentation.rules.aggregates import Total
from segmentation.rules.nodes import Rule
from segmentation.rules.printer import rule_condition_text
from segmentation.rules.references import names

KAFKA_TIMEOUT_S: Final = 3.0


def check_segment(reading: Reading, asked: CheckSegment) -> dict[str, Any]:
    """As `muster segments check --json`. Raises as `SegmentCheck.run`."""
    found = reading.context.segment_check.run(
        asked.tenant, asked.segment, asked.timeout_s, engine=asked.engine or reading.context.settings.engine
    )
    compared = found.comparison
    return {
        "segment": asked.segment,
        "tenant": asked.tenant,
        "rule_version": found.rule_version,
        "cut_id": found.cut_id,
        "as_of": found.at.isoformat(),
        "equal": compared.equal,
        "by_rule": compared.by_rule,
        "by_stream": compared.by_stream,
        "missing": {"users": compared.missing, "some": list(compared.missing_users)},
        "extra": {"users": compared.extra, "some": list(compared.extra_users)},
        **as_record(found.members),
        **as_record(found.unknown),
    }


def measure_segment(reading: Reading, asked: MeasureSegment) -> dict[str, Any]:
    """As the record `Coverage`."""
    context = reading.context
    found, trouble = find(context.segments, asked.tenant, asked.segment), None
    behind = records_behind(context, found.partitions.values())
    members: dict[str, Any] = {"outside": None, "known_only_by": None, "bounded": None}
    try:
        members = as_record(_unknown_members(reading, asked.tenant, found.rule.parsed))
        members["bounded"] = [as_record(one) for one in _bounded(reading, asked.tenant, found.rule.parsed)]
    except MusterError as exc:
        trouble = str(exc)
    return {"behind": behind, **members, "trouble": trouble}


def records_behind(context: Context, statuses: Collection[PartitionStatus]) -> int | None:
    """Records of events and profiles that have not been read yet. None if Kafka or the lake does not answer."""
    wanted = [(topic, int(one.partition)) for topic in ACTIVITY_TOPICS for one in statuses]
    try:
        ends = LogOffsets(context.settings.kafka_bootstrap).ends(wanted, KAFKA_TIMEOUT_S)
        logs = {topic: context.archive.log(topic) for topic in ACTIVITY_TOPICS}
        found = {(topic, p): logs[topic].position(Partition(p), end) for (topic, p), end in ends.items()}
    except (KafkaException, RetriableError):
        return None
    positions = [(EVENTS, one.partition, one.events) for one in statuses]
    positions += [(PROFILES, one.partition, one.profiles) for one in statuses]
    return sum(max(0, found[topic, partition] - at) for topic, partition, at in positions)


def _unknown_members(reading: Reading, tenant: TenantName, rule: Rule) -> UnknownMembers:
    """Members of the audiences that a rule depends on without any archived activity.

    Raises `RetriableError` STACK_NOT_RUNNING if there are such audiences and no lake, and as `SegmentQueries`.
    """
    if not (names(rule).audiences or names(rule).segments):  # the lake is slow to load
        return UnknownMembers()
    require_services(reading.context.settings, "object store")
    return reading.meanings.unknown_members(tenant, reading.meanings.resolve(tenant, rule))


def _bounded(reading: Reading, tenant: TenantName, rule: Rule) -> list[Bounded]:
    """What the sums and averages of a rule leave out now. Raises as `_unknown_members`."""
    totals = list(dict.fromkeys(one for one in rule.conditions if isinstance(one, Total)))
    if not totals:
        return []
    require_services(reading.context.settings, "object store")
    activity, now = reading.meanings.activity(tenant), datetime.now(UTC)
    counted = [(one, *reading.meanings.queries.left_out(one, activity, now)) for one in totals]
    return [
        Bounded(condition=rule_condition_text(one), latest=one.latest, users=users, left_out=numbers)
        for one, users, numbers in counted
        if users or numbers
    ]


ANSWERS: Final = {CheckSegment: check_segment, MeasureSegment: measure_segment}
