"""Why a user is in a segment or not, according to the archive."""

from collections.abc import Sequence as Several
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from connectors.lake.explained import CountedEvent, Explained, Followed
from orchestration.answers.reading import Reading
from orchestration.answers.users import unknown_user
from orchestration.operations.segments import find
from orchestration.readers.questions import ExplainUser
from schemas.ids import Partition
from schemas.partitioning import partition_of
from schemas.topics import EVENTS, PROFILES
from segmentation.evaluation.spans import next_change_of
from segmentation.expressions.literals import EPOCH
from segmentation.rules.aggregate_value import Aggregate
from segmentation.rules.events import OnEvents
from segmentation.rules.nodes import Count, Member, Rule, RuleCondition, Seen, SeenNear, Split
from segmentation.rules.printer import rule_condition_text, step_text
from segmentation.rules.relative import is_relative
from segmentation.rules.sequences import Sequence
from segmentation.rules.splits import bucket
from segmentation.rules.state import need

SHOWN_EVENTS: Final = 20


def explain_user(reading: Reading, asked: ExplainUser) -> dict[str, Any]:
    """The conditions of the rule with what they found, as plain JSON data.

    `outside` and `known_only_by` name the audiences of the rule that have the user as a member although nothing else is
    known of the user: `outside` if the rule does not ask about the user.

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
    known = found is not None and (not meaning.rule.admits or queries.is_known(question.activity, user_id))
    audiences = () if known else queries.audiences_containing(question.audiences, user_id)
    if found is None and not audiences:
        raise unknown_user()
    return {
        "tenant": segment.tenant,
        "segment": segment.name,
        "rule_version": segment.rule_version,
        "user": user_id,
        "member": found is not None and found.member,
        "outside": audiences if found is None else (),
        "known_only_by": () if found is None else audiences,
        "as_of": at.isoformat(),
        "partition": partition,
        "archived_to": {topic: context.archive.archived_to(topic).get(partition, 0) for topic in (EVENTS, PROFILES)},
        "paused": [*((segment.name,) if segment.state == "paused" else ()), *meaning.paused],
        "groups": [] if found is None else _groups(meaning.rule, found, at),
        "attributes": {} if found is None else {name: _plain(value) for name, value in found.values.items()},
    }


def _groups(rule: Rule, found: Explained, at: datetime) -> list[dict[str, Any]]:
    answers = iter(found.conditions)
    groups = []
    for group in rule.groups:
        conditions = [_condition(condition, rule, found, at, true=next(answers)) for condition in group.conditions]
        holds = any(condition["true"] for condition in conditions) != group.negated
        groups.append({"negated": group.negated, "true": holds, "conditions": conditions})
    return groups


def _condition(condition: RuleCondition, rule: Rule, found: Explained, at: datetime, *, true: bool) -> dict[str, Any]:
    record: dict[str, Any] = {"condition": rule_condition_text(condition), "true": true}
    if isinstance(condition, OnEvents):
        events = found.events[condition]
        record["counted"] = len(events)
        is_first = isinstance(condition, Seen | SeenNear) and condition.which == "first"
        record["events"] = _events(events[-1:] if is_first else events)
        if isinstance(condition, Aggregate):
            of = found.aggregated[condition]
            record |= {"value": of.value, "changes_at": _moment(of.changes_us)}
        elif isinstance(condition, Count | SeenNear):
            record["changes_at"] = _changes_at(condition, [one.occurred_at for one in events], at)
    elif isinstance(condition, Sequence):
        record |= _sequence(condition, found.followed[condition])
    elif isinstance(condition, Split):
        record["value"] = bucket(condition.name, found.user) / 100  # percent
    elif not isinstance(condition, Member):
        value = found.values[condition.column]
        record["value"] = _plain(value)
        if is_relative(condition):
            changes_at = next_change_of(condition, rule.timezone, value, at)
            record["changes_at"] = None if changes_at is None else changes_at.isoformat()
    return record


def _sequence(sequence: Sequence, followed: Followed) -> dict[str, Any]:
    steps = []
    for step, of, events in zip(sequence.steps, followed.progress.steps, followed.events, strict=True):
        reached: dict[str, Any] = {"step": step_text(step), "reached_at": _moment(of.reached_us)}
        if sequence.same is not None:
            reached["value"] = of.value
        waits_until = _moment(of.waits_until_us)
        steps.append({**reached, "waits_until": waits_until, "counted": len(events), "events": _events(events)})
    return {"steps": steps, "changes_at": _moment(followed.progress.changes_us)}


def _events(events: Several[CountedEvent]) -> list[dict[str, Any]]:
    return [
        {
            "occurred_at": one.occurred_at.astimezone(UTC).isoformat(),
            "event_id": one.event_id,
            "partition": one.partition,
            "offset": one.offset,
        }
        for one in events[:SHOWN_EVENTS]
    ]


def _moment(us: int | None) -> str | None:
    return None if us is None else (EPOCH + timedelta(microseconds=us)).isoformat()


def _changes_at(condition: Count | SeenNear, times: list[datetime], at: datetime) -> str | None:
    """When the answer changes if no further event comes. `times`: of the events, the latest first.

    A count changes when the next of the ranks leaves the window.
    """
    match condition:
        case Count(within_s=within_s):
            due = [
                times[rank - 1] + timedelta(seconds=within_s)
                for rank in need(condition).deadlines
                if within_s is not None and rank <= len(times)
            ]
        case SeenNear(which=which, distance=distance):
            seen = times[-1:] if which == "first" else times[:1]
            ends = [end for end in (distance.until_s, distance.after_s) if end is not None]
            changes = [then - timedelta(seconds=end) for then in seen for end in ends]
            due = [change for change in changes if change > at]
    return min(due).astimezone(UTC).isoformat() if due else None


def _plain(value: object) -> object:
    return value.isoformat() if hasattr(value, "isoformat") else value


ANSWERS: Final = {ExplainUser: explain_user}
