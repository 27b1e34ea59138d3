"""Rules asked of the archive: counting a draft, explaining a user, checking what the stream says.

A check, step by step (once workers were told all that the catalog says: else a rule means something else to them):
1. Every partition is asked for a cut: who is in the segment at an instant that is a moment away.
2. Each writes its members down, and says at which offsets they are so.
3. Once the archive has everything below these offsets, the rule is asked of exactly that, at that instant.
4. Both must have the same members. What the rule means must not have changed meanwhile.
5. What the partitions have written down is removed.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from connectors.lake.activity_relations import Activity, Below
from connectors.lake.segment_queries import Comparison, Explained, Question, SegmentQueries
from orchestration.catalog.segment_records import NewRule, Segment
from orchestration.clock import fresh_id, now_ms
from orchestration.operations.segments import find
from orchestration.operations.submit import require_tenant
from orchestration.steps.references import ref_of
from schemas.codec import CODEC, UndecodableError
from schemas.errors import MusterError, RetriableError, UserError
from schemas.ids import AudienceName, JobId, Partition, TenantName, Version, tenant_name
from schemas.layout import cut_prefix
from schemas.partitioning import partition_of
from schemas.segment_messages import CutRequested, SegmentCut
from schemas.topics import EVENTS, PROFILES, SEGMENT_STATUS
from segmentation.expressions.literals import EPOCH
from segmentation.rules.nodes import Count, Ever, Group, Member, Never, Rule, RuleCondition, Seen
from segmentation.rules.printer import rule_condition_text
from segmentation.rules.references import check_members, names
from segmentation.rules.state import needs

if TYPE_CHECKING:
    from orchestration.context import Context

AHEAD_S: Final = 2
"""A cut is of an instant that has not come yet when it is asked for, so that no partition is past it."""
POLL_S: Final = 0.2
SAMPLE: Final = 10
"""Users of a difference that are named."""
SHOWN_EVENTS: Final = 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """How many users a rule finds at an instant in what is archived, and which of its names were never seen there."""

    members: int
    at: datetime
    unseen_events: tuple[str, ...]
    unseen_attributes: tuple[str, ...]
    paused: tuple[str, ...]  # segments that it names, which are counted by their rules as if they were not paused


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check has found: both sizes and the difference, and of which cut."""

    cut_id: JobId
    rule_version: int
    at: datetime
    comparison: Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meaning:
    """A rule with everything that it depends on, as it is now."""

    rule: Rule
    segments: Mapping[str, Rule]
    versions: Mapping[str, tuple[Version, tuple[str, ...]]]  # of audiences, with their files
    paused: tuple[str, ...]
    changed_ms: tuple[int, ...]  # when each of the segments was edited, paused or resumed last

    def question(self, activity: Activity) -> Question:
        audiences = {name: files for name, (_, files) in self.versions.items()}
        return Question(rule=self.rule, activity=activity, segments=self.segments, audiences=audiences)


def preview(context: "Context", tenant: str, new: NewRule) -> Preview:
    """Count a draft. Raises `UserError` UNKNOWN_TENANT, UNKNOWN_AUDIENCE, UNKNOWN_SEGMENT; `RetriableError`."""
    tenant_ = tenant_name(tenant)
    require_tenant(context, tenant_)
    draft = "draft "  # no segment can be called so
    rules = {**context.segments.rules(tenant_), draft: new.rule}
    check_members(draft, rules, {audience.name for audience in context.audiences.all(tenant_)})
    meaning = _meaning(context, tenant_, new.rule)
    queries, activity, at = _queries(context), _activity(context, tenant_), datetime.now(UTC)
    question = meaning.question(activity)
    members = queries.count(question, at)
    events, attributes = queries.unseen(question)
    return Preview(
        members=members,
        at=at,
        unseen_events=tuple(events),
        unseen_attributes=tuple(attributes),
        paused=meaning.paused,
    )


def unseen(context: "Context", tenant: str, rule: Rule) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(events, attributes) that a rule names and nobody has ever had, by what is archived."""
    question = Question(rule=rule, activity=_activity(context, tenant_name(tenant)), segments={}, audiences={})
    events, attributes = _queries(context).unseen(question)
    return tuple(events), tuple(attributes)


def explain(context: "Context", tenant: str, name: str, user_id: str, as_of: datetime | None) -> dict[str, Any]:
    """Why a user is in a segment or not, by what is archived, as plain JSON data.

    Raises `UserError` UNKNOWN_SEGMENT, UNKNOWN_USER.
    """
    standing = find(context, tenant, name)
    segment = standing.segment
    meaning = _meaning(context, segment.tenant, standing.rule.parsed)
    at = as_of or datetime.now(UTC)
    found = _queries(context).explain(meaning.question(_activity(context, segment.tenant)), at, user_id)
    if found is None:
        raise UserError(
            "UNKNOWN_USER",
            f"the archive has neither an event nor a change of the profile of {user_id!r}",
            tenant=segment.tenant,
            user=user_id,
        )
    partition = Partition(partition_of(user_id, context.settings.partitions))
    return {
        "tenant": segment.tenant,
        "segment": segment.name,
        "rule_version": segment.rule_version,
        "user": user_id,
        "member": found.member,
        "as_of": at.isoformat(),
        "partition": partition,
        "archived_to": {topic: context.archive.archived_to(topic).get(partition, 0) for topic in (EVENTS, PROFILES)},
        "paused": [*((segment.name,) if segment.state == "paused" else ()), *meaning.paused],
        "groups": _groups(meaning.rule, found),
        "attributes": {name: _plain(value) for name, value in found.values.items()},
    }


def check(
    context: "Context",
    tenant: str,
    name: str,
    timeout_s: float,
    sleep: Callable[[float], None] = time.sleep,
    only: Partition | None = None,
) -> Checked:
    """Hold what the stream says of a segment against its rule; steps as in the module's docstring.

    `only`: one partition, and the users that are in it.

    Raises `UserError` UNKNOWN_SEGMENT, SEGMENT_PAUSED; `RetriableError` SEGMENT_NOT_READY, SEGMENT_CHANGED,
    CUT_TIMEOUT, KAFKA_UNAVAILABLE, LAKE_UNAVAILABLE; `FatalError` TOPIC_PARTITIONS_CHANGED.
    """
    deadline = time.monotonic() + timeout_s
    segment = _told_segment(context, tenant, name, deadline, sleep)
    meaning = _checked_meaning(context, segment)
    request = CutRequested(
        cut_id=fresh_id(),
        tenant=segment.tenant,
        segment=segment.name,
        at_us=(now_ms() + AHEAD_S * 1000) * 1000,
    )
    try:
        return _compared(context, segment, meaning, _cuts(context, request, deadline, only), deadline, sleep)  # 1, 2
    finally:
        _remove(context, request)  # 5


def _told_segment(
    context: "Context", tenant: str, name: str, deadline: float, sleep: Callable[[float], None]
) -> Segment:
    """The segment, at a moment when workers have been told of everything. Raises `RetriableError` SEGMENT_NOT_READY."""
    while True:
        segment = find(context, tenant, name).segment
        if context.activations.settled(segment.tenant):
            return segment
        if time.monotonic() > deadline:
            raise RetriableError(
                "SEGMENT_NOT_READY",
                f"workers have not been told yet of all segments of {tenant}, or of audiences that these name",
                segment=name,
            )
        sleep(POLL_S)


def _compared(
    context: "Context",
    segment: Segment,
    meaning: "_Meaning",
    cuts: list[SegmentCut],
    deadline: float,
    sleep: Callable[[float], None],
) -> Checked:
    """Steps 3 and 4."""
    name = segment.name
    for cut in cuts:
        if cut.rule_version != segment.rule_version:
            raise RetriableError(
                "SEGMENT_NOT_READY",
                f"partition {cut.partition} has rule version {cut.rule_version} of {name}, not {segment.rule_version}; "
                "try again in a while",
                segment=name,
                partition=cut.partition,
            )
    _wait_for_archive(context, cuts, deadline, sleep)  # 3
    activity = _activity(context, segment.tenant, cuts[0].partition if len(cuts) == 1 else None)
    by_instant: dict[int, list[SegmentCut]] = defaultdict(list)
    for cut in cuts:
        by_instant[cut.at_us].append(cut)
    questions = [
        (
            meaning.question(
                Activity(
                    events=activity.events,
                    profiles=activity.profiles,
                    events_below=Below(ends={cut.partition: cut.events for cut in some}),
                    profiles_below=Below(ends={cut.partition: cut.profiles for cut in some}),
                )
            ),
            EPOCH + timedelta(microseconds=at_us),
        )
        for at_us, some in by_instant.items()
    ]
    parts = [cut.part for cut in cuts if cut.part is not None]
    comparison = _queries(context).compare(questions, parts, SAMPLE)
    if find(context, segment.tenant, name).segment != segment or _checked_meaning(context, segment) != meaning:  # 4
        raise RetriableError(
            "SEGMENT_CHANGED", f"what the rule of {name} means has changed meanwhile; check again", segment=name
        )
    return Checked(
        cut_id=cuts[0].cut_id,
        rule_version=segment.rule_version,
        at=EPOCH + timedelta(microseconds=max(by_instant)),
        comparison=comparison,
    )


def _queries(context: "Context") -> SegmentQueries:
    return SegmentQueries(context.s3, context.duck_limits)


def _activity(context: "Context", tenant: TenantName, partition: Partition | None = None) -> Activity:
    events, profiles = (context.archive.files(t, tenant=tenant, partition=partition) for t in (EVENTS, PROFILES))
    return Activity(events=events, profiles=profiles)


def _meaning(context: "Context", tenant: TenantName, rule: Rule) -> _Meaning:
    """As workers have it: by the version of an audience that they were told, else the current one."""
    standing = {one.segment.name: one for one in context.segments.standing(tenant)}
    segments: dict[str, Rule] = {}
    waiting = list(names(rule).segments)
    while waiting:
        if (name := waiting.pop()) not in segments:
            segments[name] = standing[AudienceName(name)].rule.parsed
            waiting += names(segments[name]).segments
    versions = {}
    for name in sorted({a for one in (rule, *segments.values()) for a in names(one).audiences}):
        audience = context.audiences.get(tenant, AudienceName(name))
        ref, told = ref_of(audience), context.activations.audience(audience.audience_id)
        current = None if told is not None else context.versions.current(ref)
        number = told.version if told is not None else None if current is None else current.version
        files = () if number is None else tuple(part.uri for part in context.versions.files(ref, number))
        versions[name] = (number or Version(0), files)
    paused = tuple(sorted(n for n in segments if standing[AudienceName(n)].segment.state == "paused"))
    changed = tuple(standing[AudienceName(n)].segment.updated_at_ms for n in sorted(segments))
    return _Meaning(rule=rule, segments=segments, versions=versions, paused=paused, changed_ms=changed)


def _checked_meaning(context: "Context", segment: Segment) -> _Meaning:
    """Raises `UserError` SEGMENT_PAUSED: the members of a paused segment are those of when it was paused."""
    rule = context.segments.versions(segment.segment_id)[segment.rule_version - 1].parsed
    meaning = _meaning(context, segment.tenant, rule)
    if paused := [*((segment.name,) if segment.state == "paused" else ()), *meaning.paused]:
        raise UserError(
            "SEGMENT_PAUSED",
            f"{', '.join(paused)} is paused: its members are those of then, and no rule says them",
            segments=paused,
        )
    return meaning


def _cuts(context: "Context", request: CutRequested, deadline: float, only: Partition | None) -> list[SegmentCut]:
    """Steps 1 and 2. Of a partition that was cut twice, the last."""
    from confluent_kafka import Consumer, TopicPartition

    from connectors.publishing.activations import ActivationSender

    settings = context.settings
    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap, "group.id": "muster-check", "log_level": 2})
    asked = set(range(settings.partitions)) if only is None else {int(only)}
    found: dict[int, SegmentCut] = {}
    try:
        # What comes from here on, also if the first answer is there before the first look.
        _, end = consumer.get_watermark_offsets(TopicPartition(SEGMENT_STATUS, 0), timeout=10)
        consumer.assign([TopicPartition(SEGMENT_STATUS, 0, end)])
        ActivationSender(settings.kafka_bootstrap, settings.partitions).send(request, only)
        while missing := sorted(asked - found.keys()):
            if time.monotonic() > deadline:
                raise RetriableError(
                    "CUT_TIMEOUT",
                    f"no word of partitions {', '.join(map(str, missing))}: are the workers of segments running?",
                    partitions=missing,
                )
            for record in consumer.consume(500, POLL_S):
                if record.error() is None and (cut := _cut(record.value())) and cut.cut_id == request.cut_id:
                    found[cut.partition] = cut
    finally:
        consumer.close()
    return [found[partition] for partition in sorted(found)]


def _remove(context: "Context", request: CutRequested) -> None:
    """What a partition writes too late, or cannot be removed now, is removed with other orphans."""
    try:
        context.objects.delete_prefix(context.settings.staging_bucket, cut_prefix(request.cut_id))
    except MusterError as exc:
        _log.warning("the members of cut %s were not removed: %s", request.cut_id, exc)


def _cut(value: bytes | None) -> SegmentCut | None:
    try:
        message = CODEC.decode(value or b"")
    except UndecodableError:
        return None
    return message if isinstance(message, SegmentCut) else None


def _wait_for_archive(
    context: "Context", cuts: list[SegmentCut], deadline: float, sleep: Callable[[float], None]
) -> None:
    while True:
        events, profiles = context.archive.archived_to(EVENTS), context.archive.archived_to(PROFILES)
        behind = [
            cut.partition
            for cut in cuts
            if events.get(cut.partition, 0) < cut.events or profiles.get(cut.partition, 0) < cut.profiles
        ]
        if not behind:
            return
        if time.monotonic() > deadline:
            raise RetriableError(
                "CUT_TIMEOUT",
                f"the archive has not reached the cut in partitions {', '.join(map(str, behind))}",
                partitions=behind,
            )
        sleep(POLL_S)


def _groups(rule: Rule, found: Explained) -> list[dict[str, Any]]:
    answers = iter(found.conditions)
    groups = []
    for group in rule.groups:
        conditions = [_condition(condition, found, true=next(answers)) for condition in group.conditions]
        holds = any(condition["true"] for condition in conditions) != group.negated
        groups.append({"negated": group.negated, "true": holds, "conditions": conditions})
    return groups


def _condition(condition: RuleCondition, found: Explained, *, true: bool) -> dict[str, Any]:
    record: dict[str, Any] = {"condition": rule_condition_text(condition), "true": true}
    if isinstance(condition, Count | Ever | Never | Seen):
        events = found.events[condition]
        record["counted"] = len(events)
        shown = events[-1:] if isinstance(condition, Seen) and condition.which == "first" else events[:SHOWN_EVENTS]
        record["events"] = [
            {
                "occurred_at": one.occurred_at.astimezone(UTC).isoformat(),
                "event_id": one.event_id,
                "partition": one.partition,
                "offset": one.offset,
            }
            for one in shown
        ]
        if isinstance(condition, Count):
            record["changes_at"] = _changes_at(condition, found)
    elif not isinstance(condition, Member):
        record["value"] = _plain(found.values[condition.column])
    return record


def _changes_at(condition: Count, found: Explained) -> str | None:
    """When the answer changes if no event comes: when the next of the ranks leaves the window."""
    times = [one.occurred_at for one in found.events[condition]]
    ranks = needs(Rule(groups=(Group(conditions=(condition,)),)))[condition].deadlines
    due = [times[rank - 1] + timedelta(seconds=condition.within_s) for rank in ranks if rank <= len(times)]
    return min(due).astimezone(UTC).isoformat() if due else None


def _plain(value: object) -> object:
    return value.isoformat() if hasattr(value, "isoformat") else value
