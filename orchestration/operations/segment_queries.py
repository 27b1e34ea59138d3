"""Rules evaluated over the archive: count a draft, explain a user."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from connectors.lake.segment_queries import Explained, Mistyped
from orchestration.catalog.segment_records import NewRule
from orchestration.kinds.segment_meaning import Outside
from orchestration.operations.availability import require_services
from orchestration.operations.segments import find
from orchestration.operations.submit import require_tenant
from schemas.errors import UserError
from schemas.ids import Partition, tenant_name
from schemas.partitioning import partition_of
from schemas.topics import EVENTS, PROFILES
from segmentation.rules.nodes import Count, Ever, Group, Member, Never, Rule, RuleCondition, Seen
from segmentation.rules.printer import rule_condition_text
from segmentation.rules.references import check_members, names
from segmentation.rules.state import needs

if TYPE_CHECKING:
    from connectors.lake.archive import ActivityArchive
    from orchestration.catalog.audiences import AudienceStore
    from orchestration.catalog.segments import SegmentStore
    from orchestration.kinds.segment_meaning import Meanings
    from orchestration.platform.settings import Settings

SHOWN_EVENTS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Number of users that match a rule at an instant, according to the archive.

    Also names in the rule that the archive never saw, or never with a value of the type they are compared with.
    """

    members: int
    at: datetime
    unseen_events: tuple[str, ...]
    unseen_attributes: tuple[str, ...]
    mistyped: tuple[Mistyped, ...]
    paused: tuple[str, ...]  # segments named by the rule, which are counted by their rules as if they were not paused
    outside: tuple[Outside, ...]


def preview(
    tenant: str, new: NewRule, *, audiences: "AudienceStore", meanings: "Meanings", segments: "SegmentStore"
) -> Preview:
    """Count a draft. Raises `UserError` UNKNOWN_TENANT, UNKNOWN_AUDIENCE, UNKNOWN_SEGMENT; `RetriableError`."""
    tenant_ = tenant_name(tenant)
    require_tenant(audiences, tenant_)
    draft = "draft "  # not a valid segment name
    rules = {**segments.rules(tenant_), draft: new.rule}
    check_members(draft, rules, {audience.name for audience in audiences.all(tenant_)}, new.written)
    meaning, queries = meanings.resolve(tenant_, new.rule), meanings.queries
    activity, at = meanings.activity(tenant_), datetime.now(UTC)
    question = meaning.question(activity)
    members = queries.count(question, at)
    unknown = queries.unknown_names(question)
    return Preview(
        members=members,
        at=at,
        unseen_events=unknown.events,
        unseen_attributes=unknown.attributes,
        mistyped=tuple(queries.mistyped(question)),
        paused=meaning.paused,
        outside=meanings.outside(tenant_, meaning, activity),
    )


def outside(
    tenant: str, rule: Rule, *, meanings: "Callable[[], Meanings]", settings: "Settings"
) -> tuple[Outside, ...]:
    """Members of the audiences that a rule depends on without any archived activity, so that no rule can match them.

    `meanings` is called only if there are such audiences, since the lake is slow to load.

    Raises `RetriableError` STACK_NOT_RUNNING if there are such audiences and no lake, and as `SegmentQueries`.
    """
    if not (names(rule).audiences or names(rule).segments):
        return ()
    require_services(settings, "object store")
    tenant_, known = tenant_name(tenant), meanings()
    return known.outside(tenant_, known.resolve(tenant_, rule))


def explain(
    tenant: str,
    name: str,
    user_id: str,
    as_of: datetime | None,
    *,
    archive: "ActivityArchive",
    meanings: "Meanings",
    segments: "SegmentStore",
    settings: "Settings",
) -> dict[str, Any]:
    """Why a user is in a segment or not, according to the archive, as plain JSON data.

    `outside` names the audiences of the rule that have the user as a member although nothing else is known of the user.

    Raises `UserError` UNKNOWN_SEGMENT, UNKNOWN_USER.
    """
    overview = find(segments, tenant, name)
    segment = overview.segment
    meaning, queries = meanings.resolve(segment.tenant, overview.rule.parsed), meanings.queries
    at = as_of or datetime.now(UTC)
    partition = Partition(partition_of(user_id, settings.partitions))
    question = meaning.question(meanings.activity(segment.tenant, partition))
    found = queries.explain(question, at, user_id)
    audiences = queries.audiences_containing(question.audiences, user_id) if found is None else ()
    if found is None and not audiences:
        raise UserError("UNKNOWN_USER", "the archive has no event and no profile change of this user")
    return {
        "tenant": segment.tenant,
        "segment": segment.name,
        "rule_version": segment.rule_version,
        "user": user_id,
        "member": found is not None and found.member,
        "outside": audiences,
        "as_of": at.isoformat(),
        "partition": partition,
        "archived_to": {topic: archive.archived_to(topic).get(partition, 0) for topic in (EVENTS, PROFILES)},
        "paused": [*((segment.name,) if segment.state == "paused" else ()), *meaning.paused],
        "groups": [] if found is None else _groups(meaning.rule, found),
        "attributes": {} if found is None else {name: _plain(value) for name, value in found.values.items()},
    }


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
    """When the answer changes if no further event comes: when the next of the ranks leaves the window."""
    times = [one.occurred_at for one in found.events[condition]]
    ranks = needs(Rule(groups=(Group(conditions=(condition,)),)))[condition].deadlines
    due = [times[rank - 1] + timedelta(seconds=condition.within_s) for rank in ranks if rank <= len(times)]
    return min(due).astimezone(UTC).isoformat() if due else None


def _plain(value: object) -> object:
    return value.isoformat() if hasattr(value, "isoformat") else value
