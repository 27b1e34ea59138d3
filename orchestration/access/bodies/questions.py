"""Bodies of requests about the data of a tenant."""

from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from orchestration.access.bodies.common import Moment, Shape
from orchestration.access.bodies.segments import SegmentRule
from orchestration.records.fields import Example
from orchestration.records.questions import RuleEngine

UserId = Annotated[str, Field(min_length=1, max_length=1024)]
Rule = Annotated[str, Field(max_length=500_000, description="A rule as text, or its JSON as a string.")]
MAX_SQL: Final = 100_000
"""Characters of a query."""
Sql = Annotated[str, Field(max_length=MAX_SQL)]
Parameters = Annotated[
    dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")], Annotated[str, Field(max_length=10_000)]],
    Field(max_length=100),
]
"""Texts by name."""


class NewCount(Shape):
    """A rule to count. `precision`: `estimate` reads one partition of the users, unless the archive is small.

    `editor` and `revision`: a question ends those of the same editor whose revision is not higher, with SUPERSEDED.
    `users`: name so many members, which needs the action read_users and is recorded. `notes`: also operands of a type
    that no value has, and members of audiences whom the rule does not ask about. `engine`: that counts exactly, instead
    of the setting `engine`; estimates are DuckDB's.
    """

    rule: Rule
    timezone: Annotated[str | None, Field(max_length=64)] = None
    precision: Literal["estimate", "exact"] = "estimate"
    users: Annotated[int, Field(ge=0, le=5)] = 0
    notes: bool = False
    engine: RuleEngine | None = None
    editor: Annotated[str | None, Field(min_length=1, max_length=64)] = None
    revision: Annotated[int, Field(ge=0, le=2**53)] = 0
    example: ClassVar[Example] = {"rule": "count(purchase, 30d) >= 2", "editor": "builder-1", "revision": 7}

    @model_validator(mode="after")
    def _exact_on_an_engine(self) -> Self:
        if self.engine is not None and self.precision != "exact":
            raise ValueError("an engine counts exactly; an estimate takes none")
        return self


class NewEditPreview(SegmentRule):
    """A rule that a segment could have. `users`: how many of those who would enter, and who would leave, to name."""

    users: Annotated[int, Field(ge=0, le=100)] = 10
    example: ClassVar[Example] = {"rule": "count(purchase, 30d) >= 3"}


class NewForecast(Shape):
    """Seconds from now, up to 366 days: instants at which a segment is counted."""

    in_s: Annotated[list[Annotated[int, Field(ge=0, le=366 * 24 * 3600)]], Field(min_length=1, max_length=48)]
    example: ClassVar[Example] = {"in_s": [3600, 86_400, 604_800]}


class WantedUser(Shape):
    """A user to look up."""

    user: UserId
    example: ClassVar[Example] = {"user": "ann"}


class WantedExplanation(Shape):
    """A user, and the instant at which membership is explained; now without it."""

    user: UserId
    as_of: Moment | None = None
    example: ClassVar[Example] = {"user": "ann"}


class NewQuery(Shape):
    """One SELECT over `audience('name')` and `rejects('job')`. `rows`: at most so many are returned.

    `parameters`: texts, for which `$name` stands in the query; the audit trail keeps their names alone.
    """

    sql: Sql
    parameters: Parameters = Field(default_factory=dict)
    rows: Annotated[int, Field(ge=1, le=10_000)] = 1000
    timeout_s: Annotated[float, Field(ge=0.1, le=50)] = 30.0
    example: ClassVar[Example] = {"sql": "select count(*) as members from audience('vip')"}


class LongQuery(Shape):
    """One SELECT whose rows are streamed. `parameters`: as in `NewQuery`."""

    sql: Sql
    parameters: Parameters = Field(default_factory=dict)
    timeout_s: Annotated[float, Field(ge=0.1, le=3600)] = 3600.0
    example: ClassVar[Example] = {"sql": "select user_id from audience('vip')"}
