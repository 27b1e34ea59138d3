"""Segments as pages show them: state, size, and dependencies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from orchestration.access.views.feeds import Feeds
from orchestration.access.views.schedules import Schedules
from orchestration.access.views.segments import Segments
from orchestration.console.context import PageContext
from orchestration.console.job_texts import ICONS, Badge
from orchestration.console.language import Texts
from orchestration.console.paths import in_tenant
from orchestration.records.segments import RuleVersion, Segment
from segmentation.rules.nodes import Rule
from segmentation.rules.parser import parse_rule
from segmentation.rules.references import names

ALL: Final = 500
"""As many segments as a tenant can have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Something that a page leads to; without a path it is only named."""

    name: str
    path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """Names of one kind that a rule refers to."""

    kind: str
    names: Sequence[Named]


def parsed_rule(segment: Segment | RuleVersion) -> Rule:
    """The rule of a segment or of one of its versions."""
    return parse_rule(segment.rule, timezone=segment.timezone, stored=True)


def badge_of(segment: Segment, t: Texts) -> Badge:
    """Paused; being evaluated, as long as partitions have not reported for this rule; or active."""
    if segment.state == "paused":
        return Badge(tone="neutral", icon="‖", text=t("segment.paused"))
    if not segment.complete:
        text = t("segment.evaluating", reported=segment.reported, partitions=segment.partitions)
        return Badge(tone="running", icon=ICONS["running"], text=text)
    return Badge(tone="good", icon=ICONS["good"], text=t("segment.active"))


def members_text(segment: Segment, t: Texts) -> str:
    """How many members the workers have reported."""
    if segment.members is None:
        return t("segment.no_report")
    return t("segment.members", count=segment.members)


def uses_of(rule: Rule, tenant: str, t: Texts) -> list[Uses]:
    """What a rule depends on."""
    found = names(rule)
    return [
        Uses(
            kind=t(f"segment.uses_{kind}"),
            names=[
                Named(name=name, path=in_tenant(tenant, "segments", name) if kind == "segments" else None)
                for name in of_kind
            ],
        )
        for kind, of_kind in (
            ("events", found.events),
            ("attributes", found.attributes),
            ("audiences", found.audiences),
            ("segments", found.segments),
        )
        if of_kind
    ]


def dependants(context: PageContext, name: str, t: Texts) -> list[Named]:
    """Segments whose rules name a segment, schedules that take or export snapshots of it, and its feeds."""
    return [*_segments(context, name, "segments"), *_schedules(context, name, t), *_feeds(context, name, t)]


def _segments(context: PageContext, name: str, named: Literal["audiences", "segments"]) -> Iterator[Named]:
    for one in context.view(Segments).list_segments(limit=ALL).items:
        if name in one.rule and name in getattr(names(parsed_rule(one)), named):
            yield Named(name=one.segment, path=in_tenant(context.tenant, "segments", one.segment))


def _schedules(context: PageContext, name: str, t: Texts) -> Iterator[Named]:
    for one in context.view(Schedules).list_schedules(limit=ALL).items:
        if (one.kind, one.request.get("segment")) == ("snapshot", name) or (
            (one.kind, one.request.get("audience")) == ("export", name)
        ):
            yield Named(name=t("segment.schedule", name=one.name))


def _feeds(context: PageContext, name: str, t: Texts) -> Iterator[Named]:
    for one in context.view(Feeds).list_feeds(limit=ALL).items:
        if one.segment == name:
            yield Named(name=t("segment.feed", name=one.name), path=in_tenant(context.tenant, "feeds"))


def dependants_of_audience(context: PageContext, name: str, t: Texts) -> list[Named]:
    """Segments whose rules name an audience, and schedules that fill or export it."""
    schedules = [
        Named(name=t("audience.schedule", name=one.name), path=in_tenant(context.tenant, "schedules"))
        for one in context.view(Schedules).list_schedules(limit=ALL).items
        if one.request.get("audience") == name
    ]
    return [*_segments(context, name, "audiences"), *schedules]
