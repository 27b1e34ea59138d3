"""Operations on segments."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestration.catalog.segment_records import NewRule, PartitionStatus, Segment, SegmentOverview
from orchestration.operations.submit import require_tenant
from orchestration.platform.clock import fresh_id, now_ms
from schemas.errors import RetriableError, UserError
from schemas.ids import Partition, segment_name, tenant_name
from schemas.topics import ACTIVITY_TOPICS, EVENTS, PROFILES
from segmentation.rules.parser import parse_rule
from segmentation.rules.printer import rule_text
from segmentation.rules.records import MAX_BYTES, rule_from_json

if TYPE_CHECKING:
    from connectors.lake.archive import ActivityArchive
    from orchestration.catalog.audiences import AudienceStore
    from orchestration.catalog.segments import SegmentStore
    from orchestration.platform.settings import Settings

PATH_MAX: Final = 1_024
"""A longer rule is not taken for a file path."""
KAFKA_TIMEOUT_S: Final = 3.0


def read_rule(given: str, timezone: str | None) -> NewRule:
    """A rule given as text or JSON, or read from a file (`@path`, or the path of an existing file).

    Raises `UserError` BAD_RULE, with the character or the place in its detail, BAD_TIMEZONE, RULE_UNREADABLE.
    """
    return new_rule(_content(given), timezone)


def new_rule(given: str, timezone: str | None) -> NewRule:
    """A rule given as text or JSON. Raises `UserError` BAD_RULE as `read_rule`, BAD_TIMEZONE."""
    text = given.strip()
    if not text.startswith("{"):
        return NewRule(text=text, timezone=timezone, rule=parse_rule(text, timezone=timezone))
    if timezone is not None:
        raise UserError("BAD_TIMEZONE", "a rule in JSON contains its own time zone", timezone=timezone)
    rule = rule_from_json(text.encode())
    return NewRule(text=rule_text(rule), timezone=rule.timezone, rule=rule, json=True)


def _content(given: str) -> str:
    path = Path(given.removeprefix("@"))
    try:
        if not given.startswith("@") and (len(given) > PATH_MAX or "\0" in given or not path.is_file()):
            return given
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        return content.decode()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise UserError("RULE_UNREADABLE", f"{path} cannot be read: {reason}", path=str(path)) from exc


def create(
    tenant: str, name: str, rule: NewRule, author: str, *, audiences: "AudienceStore", segments: "SegmentStore"
) -> Segment:
    """Create a segment. Raises as `SegmentStore.create`, and BAD_NAME."""
    tenant_, name_ = tenant_name(tenant), segment_name(name)
    require_tenant(audiences, tenant_)
    return segments.create(tenant_, name_, rule, new_id=fresh_id(), author=author, now_ms=now_ms())


def edit(segments: "SegmentStore", tenant: str, name: str, rule: NewRule, author: str) -> tuple[Segment, bool]:
    """Change the rule; also returns whether it differs from the old one.

    Raises as `SegmentStore.edit`, and BAD_NAME.
    """
    return segments.edit(tenant_name(tenant), segment_name(name), rule, author=author, now_ms=now_ms())


def find(segments: "SegmentStore", tenant: str, name: str) -> SegmentOverview:
    """A segment with everything known about it. Raises `UserError` BAD_NAME, UNKNOWN_SEGMENT."""
    tenant_, name_ = tenant_name(tenant), segment_name(name)
    found = segments.get(tenant_, name_)
    rule = segments.versions(found.segment_id)[found.rule_version - 1]
    return SegmentOverview(segment=found, rule=rule, partitions=segments.partitions(found.segment_id))


def change_state(segments: "SegmentStore", tenant: str, name: str, action: str) -> Segment:
    """`pause`, `resume` or `delete` a segment. Raises `UserError` BAD_NAME, UNKNOWN_SEGMENT, SEGMENT_IN_USE."""
    change = {"pause": segments.pause, "resume": segments.resume, "delete": segments.delete}[action]
    return change(tenant_name(tenant), segment_name(name), now_ms=now_ms())


def behind(partitions: Iterable[PartitionStatus], *, archive: "ActivityArchive", settings: "Settings") -> int | None:
    """Records of events and profiles that have not been read yet. None if Kafka or the lake does not answer."""
    from confluent_kafka import KafkaException, TopicPartition
    from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # not in its __all__

    from connectors.kafka.clients import admin_client
    from connectors.kafka.logon import answer

    statuses = list(partitions)
    admin = admin_client(settings.kafka_bootstrap)
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    requests = {TopicPartition(topic, one.partition): latest for topic in ACTIVITY_TOPICS for one in statuses}
    try:
        ends = admin.list_offsets(requests, request_timeout=KAFKA_TIMEOUT_S) if requests else {}
        logs = {topic: archive.log(topic) for topic in ACTIVITY_TOPICS}
        found = {
            (p.topic, p.partition): logs[p.topic].position(
                Partition(p.partition), int(answer(admin, f, KAFKA_TIMEOUT_S + 1).offset)
            )
            for p, f in ends.items()
        }
    except (KafkaException, RetriableError):
        return None
    positions = [(EVENTS, one.partition, one.events) for one in statuses]
    positions += [(PROFILES, one.partition, one.profiles) for one in statuses]
    return sum(max(0, found[topic, partition] - at) for topic, partition, at in positions)
