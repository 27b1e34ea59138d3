"""What the parts of the builder share: view models, addresses, and what each may ask."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from starlette.requests import Request

from orchestration.access.bodies.questions import NewCount
from orchestration.access.policy import Action
from orchestration.access.views.questions import Questions
from orchestration.access.views.segments import Segments
from orchestration.api.service import asked_in_tenant
from orchestration.console.context import PageContext
from orchestration.console.count_texts import Figure, Mistyped
from orchestration.console.paths import in_tenant
from orchestration.console.rule_form import Draft
from orchestration.console.rule_rows import (
    AGGREGATES,
    BOUNDS,
    KINDS,
    NEAR,
    OF_EVENTS,
    OPERATORS_OF_NUMBERS,
    QUANTITIES,
    TESTS,
    TESTS_OF_ATTRIBUTES,
    UNITS_SHOWN,
)
from orchestration.readers.cancellation import Cancellation
from orchestration.records.questions import Count, MembersChange
from segmentation.rules.sequences import MAX_STEPS
from segmentation.rules.templates import TEMPLATES, Template

ValueT = TypeVar("ValueT")
OF_DRAFTS: Final = frozenset(
    {
        *("BAD_RULE", "RULE_TOO_BIG", "BAD_TIMEZONE", "UNKNOWN_AUDIENCE", "UNKNOWN_SEGMENT", "SEGMENT_CYCLE"),
        *("BAD_NAME", "NAME_TAKEN", "AUDIENCE_NAME_TAKEN", "SEGMENT_EXISTS", "TOO_MANY_SEGMENTS", "STALE_ETAG"),
        *("SEGMENT_PAUSED", "TOO_MANY_QUESTIONS", "BAD_BODY", "EDIT_NOT_COUNTED"),
    }
)
"""Errors that are shown within the page, where they can be corrected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where the parts of the page send to."""

    rows: str
    count: str
    names: str
    review: str
    save: str
    back: str
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderPage:
    """The form. `fault`: of a typed rule that is invalid; `marked`: its line with a caret.

    `chosen`: the template that a fault is about; `typed`: its parameters.
    """

    draft: Draft
    paths: Paths
    stream: str
    text: str
    json: str
    fault: str = ""
    marked: str = ""
    chosen: str = ""
    typed: Mapping[str, str] = field(default_factory=dict)
    templates: Sequence[Template] = tuple(TEMPLATES.values())
    kinds: Sequence[str] = KINDS
    of_events: frozenset[str] = OF_EVENTS
    aggregates: Sequence[str] = AGGREGATES
    operators_of_numbers: Sequence[str] = OPERATORS_OF_NUMBERS
    quantities: Sequence[str] = tuple(QUANTITIES)
    bounds: Sequence[str] = (*BOUNDS, *NEAR)
    units: Sequence[str] = UNITS_SHOWN
    tests: Sequence[str] = TESTS
    attribute_tests: Sequence[str] = TESTS_OF_ATTRIBUTES
    later_steps: int = MAX_STEPS - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CountPart:
    """What a draft would have. `found`: None while it cannot be counted; `samples`: members can be named.

    `rows`, `groups`: their figures by the ids of their places; `faults`: of rows.
    """

    paths: Paths
    found: Count | None
    total: Figure | None
    groups: Mapping[str, Figure]
    rows: Mapping[str, Figure]
    faults: Mapping[str, str]
    blank: bool
    fault: str
    marked: str
    suggestions: Sequence[str]
    mistyped: Sequence[Mistyped]
    samples: bool
    text: str | None
    json: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamesPart:
    """What rules can name, for suggestions."""

    events: Sequence[str]
    properties: Sequence[str]
    attributes: Sequence[str]
    audiences: Sequence[str]
    segments: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewPart:
    """What saving would do.

    `others`: segments that depend on this one, with their paths; `used_by`: schedules and feeds, in words.
    `approve`: the token by which saving approves a change of many members. `moved`: its numbers have changed since they
    were shown.
    """

    paths: Paths
    fault: str = ""
    same: bool = False
    changed: MembersChange | None = None
    others: Sequence[tuple[str, MembersChange]] = ()
    as_of: str = ""
    used_by: Sequence[str] = ()
    approve: str = ""
    moved: bool = False


def paths_of(draft: Draft, tenant: str) -> Paths:
    """The paths of the builder of a draft."""
    return Paths(
        **{name: in_tenant(tenant, "builder", name) for name in ("rows", "count", "names", "review", "save")},
        back=in_tenant(tenant, "segments", *((draft.segment,) if draft.segment else ())),
        user=in_tenant(tenant, "users", "found"),
    )


def may_see_users(context: PageContext) -> bool:
    """Whether members can be named. Raises `UserError` FORBIDDEN to those who may not write rules."""
    context.view(Segments).require(Action.WRITE_SEGMENTS)
    return context.may(Action.READ_USERS)


async def asked(request: Request, call: Callable[[Questions, Cancellation], ValueT]) -> ValueT:
    """What readers answer to a question about the tenant of the page."""
    return await asked_in_tenant(request, Questions, request.path_params["tenant"], call)


async def count(request: Request, body: NewCount, *, users: int) -> Count:
    """The numbers of a rule, and some of its members."""

    def call(view: Questions, cancellation: Cancellation) -> Count:
        if users:
            return view.count_with_users(cancellation, body, users)
        return view.count(cancellation, body)

    return await asked(request, call)
