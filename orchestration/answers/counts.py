"""Counts of a rule, by a sample of users or exactly."""

import zlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from connectors.lake.activity_relations import Activity
from connectors.lake.rule_answers import Breakdown, RuleQueries, UnknownNames
from connectors.lake.segment_queries import Question
from connectors.lake.spark_queries import PinnedQuestion
from orchestration.answers.reading import Reading
from orchestration.kinds.segment_meaning import Meaning
from orchestration.operations.segments import find, rule_of
from orchestration.platform.settings import SPARK
from orchestration.readers.questions import CountUsers, ForecastSegment, PreviewEdit
from orchestration.readers.sampling import Estimate, exactly, scaled
from schemas.ids import Partition, TenantName
from schemas.records import as_record
from segmentation.rules.canonical import rule_hash
from segmentation.rules.nodes import Group, Rule
from segmentation.rules.printer import rule_condition_text
from segmentation.rules.references import check_members, dependents
from segmentation.rules.truths import true_of_strangers, true_without_facts

SMALL_ROWS: Final = 500_000
"""Up to this many events and profile changes of a tenant, all are counted: an estimate would be hardly faster."""
QuestionT = TypeVar("QuestionT", Question, PinnedQuestion)
DRAFT: Final = "draft "
"""Not a valid name of a segment."""


def count_users(reading: Reading, asked: CountUsers) -> dict[str, Any]:
    """Members of a rule with the counts of its groups and conditions, and notes about its names.

    Raises `UserError` BAD_RULE, BAD_TIMEZONE, UNKNOWN_AUDIENCE, UNKNOWN_SEGMENT, RULE_TOO_BIG, `RetriableError`.
    """
    context, meanings = reading.context, reading.meanings
    new, at = rule_of(asked.rule, asked.timezone), datetime.now(UTC)
    audiences = {audience.name for audience in context.audiences.all(asked.tenant)}
    check_members(DRAFT, {**context.segments.rules(asked.tenant), DRAFT: new.rule}, audiences, new.written)
    meaning = meanings.resolve(asked.tenant, new.rule)
    if asked.exact and (asked.engine or context.settings.engine) == SPARK:
        pinned = meanings.pinned_question(asked.tenant, meaning, meanings.pinned_activity(asked.tenant))
        return _counted(meanings.spark, asked, meaning, pinned, pinned, at)
    everything = meanings.activity(asked.tenant)
    # A sample is of one partition, but audiences are read whole: members who are not known cannot be scaled.
    whole = asked.exact or everything.rows <= SMALL_ROWS or true_of_strangers(new.rule)
    partitions = 1 if whole else context.settings.partitions
    activity = everything if partitions == 1 else _sample(everything, asked.tenant, partitions)
    question = meaning.question(everything)
    return _counted(meanings.queries, asked, meaning, question, replace(question, activity=activity), at, partitions)


def preview_edit(reading: Reading, asked: PreviewEdit) -> dict[str, Any]:
    """How the segment, and those whose rules depend on it, would change: both rules at one instant and position.

    Raises `UserError` UNKNOWN_SEGMENT, and as `count_users`.
    """
    context, meanings = reading.context, reading.meanings
    segment = find(context.segments, asked.tenant, asked.segment)
    new, at = rule_of(asked.rule, asked.timezone), datetime.now(UTC)
    rules = context.segments.rules(asked.tenant)
    audiences = {audience.name for audience in context.audiences.all(asked.tenant)}
    check_members(asked.segment, {**rules, asked.segment: new.rule}, audiences, new.written)
    meaning = meanings.resolve(asked.tenant, new.rule, dependents(asked.segment, rules))
    changes = meanings.queries.edit(meaning.question(meanings.activity(asked.tenant)), asked.segment, at, asked.users)
    return {
        "rule_version": segment.segment.rule_version,
        "rule": new.text,
        "timezone": new.timezone,
        "same": rule_hash(new.rule) == segment.rule.hash,
        "as_of": at.isoformat(),
        "changes": [{"segment": name, **as_record(change)} for name, change in changes.items()],
        "paused": list(meaning.paused),
    }


def forecast(reading: Reading, asked: ForecastSegment) -> dict[str, Any]:
    """As the record `Forecast`: the answers of later instants over what is archived now.

    Raises `UserError` UNKNOWN_SEGMENT, RULE_TOO_BIG, `RetriableError`.
    """
    meanings, now = reading.meanings, datetime.now(UTC)
    found = find(reading.context.segments, asked.tenant, asked.segment)
    meaning = meanings.resolve(asked.tenant, found.rule.parsed)
    instants = [now + timedelta(seconds=later_s) for later_s in asked.in_s]
    numbers = meanings.queries.counts(meaning.question(meanings.activity(asked.tenant)), instants)
    return {
        "segment": asked.segment,
        "rule_version": found.segment.rule_version,
        "as_of": now.isoformat(),
        "points": [
            {"in_s": later_s, "at": at.isoformat(), "members": members, "interval": [members, members]}
            for later_s, at, members in zip(asked.in_s, instants, numbers, strict=True)
        ],
        "paused": [*((asked.segment,) if found.segment.state == "paused" else ()), *meaning.paused],
    }


def _counted(
    queries: RuleQueries[QuestionT],
    asked: CountUsers,
    meaning: Meaning,
    question: QuestionT,
    sampled: QuestionT,
    at: datetime,
    partitions: int = 1,
) -> dict[str, Any]:
    """`sampled`: the question over one of the partitions, or the question itself."""
    found = queries.breakdown(sampled, at, asked.users)
    unmet = _unmet(meaning.rule, found.conditions)
    unknown = UnknownNames() if unmet is None else queries.unknown_names(replace(question, rule=unmet))
    members: dict[str, Any] = {"outside": None, "known_only_by": None}
    if asked.notes:
        members = as_record(meaning.unknown_members(queries, question))
    return {
        "precision": "exact" if partitions == 1 else "estimate",
        **_estimate(found.members, partitions),
        "groups": _groups(meaning.rule, found, partitions),
        "users": list(found.users) if asked.users else None,
        "as_of": at.isoformat(),
        **as_record(unknown),
        "paused": list(meaning.paused),
        "mistyped": [as_record(one) for one in queries.mistyped(question)] if asked.notes else None,
        **members,
    }


def _sample(activity: Activity, tenant: TenantName, partitions: int) -> Activity:
    """The activity of one partition, always the same of a tenant: its files stay cached, and edits are comparable."""
    return activity.of_partition(Partition(zlib.crc32(tenant.encode()) % partitions))


def _unmet(rule: Rule, counted: Iterable[int]) -> Rule | None:
    """The part of the rule whose names may be unknown: a name is known if users have what a condition asks for."""
    alone = {condition: replace(rule, groups=(Group(conditions=(condition,)),)) for condition in rule.conditions}
    unmet = {
        condition
        for condition, users in zip(rule.conditions, counted, strict=True)
        if not users or true_without_facts(alone[condition])
    }
    found = [(group, tuple(one for one in group.conditions if one in unmet)) for group in rule.groups]
    groups = tuple(replace(group, conditions=conditions) for group, conditions in found if conditions)
    return replace(rule, groups=groups) if groups else None


def _groups(rule: Rule, found: Breakdown, partitions: int) -> list[dict[str, Any]]:
    counted = iter(found.conditions)
    return [
        {
            "negated": group.negated,
            **_estimate(members, partitions),
            "conditions": [
                {"condition": rule_condition_text(condition), **_estimate(next(counted), partitions)}
                for condition in group.conditions
            ],
        }
        for group, members in zip(rule.groups, found.groups, strict=True)
    ]


def _estimate(found: int, partitions: int) -> dict[str, Any]:
    estimate: Estimate = exactly(found) if partitions == 1 else scaled(found, partitions)
    return {"members": estimate.users, "interval": [estimate.low, estimate.high]}


ANSWERS: Final = {CountUsers: count_users, PreviewEdit: preview_edit, ForecastSegment: forecast}
