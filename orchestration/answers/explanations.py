"""Why a user is in a segment or not, according to the archive."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from connectors.lake.segment_queries import Explained
from orchestration.answers.reading import Reading
from orchestration.answers.users import unknown_user
from orchestration.operations.segments import find
from orchestration.readers.questions import ExplainUser
from schemas.ids import Partition
from schemas.partitioning import partition_of
from schemas.topics import EVENTS, PROFILES
from segmentation.rules.nodes import Count, EventCondition, Group, Member, Rule, RuleCondition, Seen
from segmentation.rules.printer import rule_condition_text
from segmentation.rules.state import needs

SHOWN_EVENTS: Final = 20


def explain_user(reading: Reading, asked: ExplainUser) -> dict[str, Any]:
    """The conditions of the rule with what they found, as plain JSON data.

    `outside` names the audiences of the rule that have the user as a member although nothing else is known of the user.

    Raises `UserError` UNKNOWN_SEGMENT, UNKNOWN_USER.
    """
    context, meanings, user_id = reading.context, reading.meanings, asked.user
    overview = find(context.segments, asked.tenant, asked.segment)
    segment = overview.segment
    meaning, queries = meanings.resolve(segment.tenant, overview.rule.parsed), meanings.queries
    at = datetime.now(UTC) if asked.as_of is None else datetime.fromisoformat(asked.as_of)
    partition = Partition(partition_of(user_id, context.settings.partitions))
    question = meaning.question(meanings.activity(segment.tenant, partition))
    found = queries.explain(question, at, user_id)
    audiences = queries.audiences_containing(question.audiences, user_id) if found is None else ()
    if found is None and not audiences:
        raise unknown_user()
    return {
        "tenant": segment.tenant,
        "segment": segment.name,
        "rule_version": segment.rule_version,
        "user": user_id,
        "member": found is not None and found.member,
        "outside": audiences,
        "as_of": at.isoformat(),
        "partition": partition,
        "archived_to": {topic: context.archive.archived_to(topic).get(partition, 0) for topic in (EVENTS, PROFILES)},
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
    if isinstance(condition, EventCondition):
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


ANSWERS: Final = {ExplainUser: explain_user}
