"""Rules asked of the archive: counting a draft, explaining a user."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from connectors.lake.activity_relations import Activity
from connectors.lake.segment_queries import Explained, Mistyped, Question, SegmentQueries
from orchestration.catalog.segment_records import NewRule
from orchestration.operations.segments import find
from orchestration.operations.submit import require_tenant
from orchestration.steps.references import ref_of
from schemas.errors import UserError
from schemas.ids import AudienceName, Partition, TenantName, Version, tenant_name
from schemas.partitioning import partition_of
from schemas.topics import EVENTS, PROFILES
from segmentation.rules.nodes import Count, Ever, Group, Member, Never, Rule, RuleCondition, Seen
from segmentation.rules.printer import rule_condition_text
from segmentation.rules.references import check_members, names
from segmentation.rules.state import needs

if TYPE_CHECKING:
    from orchestration.context import Context

SHOWN_EVENTS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """How many users a rule finds at an instant in what is archived.

    And which of its names were never seen there, or never with a value of the type that they are compared with.
    """

    members: int
    at: datetime
    unseen_events: tuple[str, ...]
    unseen_attributes: tuple[str, ...]
    mistyped: tuple[Mistyped, ...]
    paused: tuple[str, ...]  # segments that it names, which are counted by their rules as if they were not paused


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """A rule with everything that it depends on, as it is now."""

    rule: Rule
    segments: Mapping[str, Rule]
    versions: Mapping[str, tuple[Version, tuple[str, ...]]]  # of audiences, with their files
    paused: tuple[str, ...]
    changed_ms: tuple[int, ...]  # when each of the segments was edited, paused or resumed last

    def question(self, activity: Activity) -> Question:
        """The rule, to be asked of some activity."""
        audiences = {name: files for name, (_, files) in self.versions.items()}
        return Question(rule=self.rule, activity=activity, segments=self.segments, audiences=audiences)


def preview(context: "Context", tenant: str, new: NewRule) -> Preview:
    """Count a draft. Raises `UserError` UNKNOWN_TENANT, UNKNOWN_AUDIENCE, UNKNOWN_SEGMENT; `RetriableError`."""
    tenant_ = tenant_name(tenant)
    require_tenant(context, tenant_)
    draft = "draft "  # no segment can be called so
    rules = {**context.segments.rules(tenant_), draft: new.rule}
    check_members(draft, rules, {audience.name for audience in context.audiences.all(tenant_)}, new.written)
    meaning = meaning_of(context, tenant_, new.rule)
    queries, activity, at = queries_of(context), activity_of(context, tenant_), datetime.now(UTC)
    question = meaning.question(activity)
    members = queries.count(question, at)
    events, attributes = queries.unseen(question)
    return Preview(
        members=members,
        at=at,
        unseen_events=tuple(events),
        unseen_attributes=tuple(attributes),
        mistyped=tuple(queries.mistyped(question)),
        paused=meaning.paused,
    )


def unseen(
    context: "Context", tenant: str, rule: Rule
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[Mistyped, ...]]:
    """(events, attributes) that a rule names and nobody has ever had, and what no value can be compared with.

    By what is archived.
    """
    question = Question(rule=rule, activity=activity_of(context, tenant_name(tenant)), segments={}, audiences={})
    queries = queries_of(context)
    events, attributes = queries.unseen(question)
    return tuple(events), tuple(attributes), tuple(queries.mistyped(question))


def explain(context: "Context", tenant: str, name: str, user_id: str, as_of: datetime | None) -> dict[str, Any]:
    """Why a user is in a segment or not, by what is archived, as plain JSON data.

    Raises `UserError` UNKNOWN_SEGMENT, UNKNOWN_USER.
    """
    standing = find(context, tenant, name)
    segment = standing.segment
    meaning = meaning_of(context, segment.tenant, standing.rule.parsed)
    at = as_of or datetime.now(UTC)
    found = queries_of(context).explain(meaning.question(activity_of(context, segment.tenant)), at, user_id)
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


def queries_of(context: "Context") -> SegmentQueries:
    """Who asks the archive."""
    return SegmentQueries(context.s3, context.duck_limits)


def activity_of(context: "Context", tenant: TenantName, partition: Partition | None = None) -> Activity:
    """Events and profiles of a tenant [in one partition], as far as they are archived."""
    events, profiles = (
        context.archive.files(topic, tenant=tenant, partition=partition, with_users=True)
        for topic in (EVENTS, PROFILES)
    )
    return Activity(events=events, profiles=profiles)


def meaning_of(context: "Context", tenant: TenantName, rule: Rule) -> Meaning:
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
    return Meaning(rule=rule, segments=segments, versions=versions, paused=paused, changed_ms=changed)


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
