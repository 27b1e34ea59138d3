"""Questions about the data of a tenant."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from orchestration.access.bodies.common import AT, Example, Moment, Problem, Shape, Time

Interval = Annotated[list[int], Field(min_length=2, max_length=2, description="95 % confidence; equal if exact.")]
UserId = Annotated[str, Field(min_length=1, max_length=1024)]
Rule = Annotated[str, Field(max_length=500_000, description="A rule as text, or its JSON as a string.")]
MAX_SQL = 100_000
"""Characters of a query."""
Sql = Annotated[str, Field(max_length=MAX_SQL)]
CONDITION: Example = {"condition": "count(purchase, 30d) >= 2", "members": 108_700, "interval": [107_100, 110_300]}


class NewCount(Shape):
    """A rule to count. `precision`: `estimate` reads one partition of the users, unless the archive is small.

    `editor` and `revision`: a question ends those of the same editor whose revision is not higher, with SUPERSEDED.
    `users`: name so many members, which needs the action read_users and is recorded. `notes`: also operands of a type
    that no value has, and members of audiences whom no rule covers.
    """

    rule: Rule
    timezone: Annotated[str | None, Field(max_length=64)] = None
    precision: Literal["estimate", "exact"] = "estimate"
    users: Annotated[int, Field(ge=0, le=5)] = 0
    notes: bool = False
    editor: Annotated[str | None, Field(min_length=1, max_length=64)] = None
    revision: Annotated[int, Field(ge=0, le=2**53)] = 0
    example: ClassVar[Example] = {"rule": "count(purchase, 30d) >= 2", "editor": "builder-1", "revision": 7}


class ConditionCount(Shape):
    """Users for whom a condition is true. `members`: null if fewer than `rounded_to` of the answer."""

    condition: str
    members: int | None
    interval: Interval


class GroupCount(Shape):
    """Users in a group; a negated group has those for whom none of its conditions is true. `members`: as above."""

    negated: bool
    members: int | None
    interval: Interval
    conditions: list[ConditionCount]


class RuleSuggestion(Shape):
    """A condition on an attribute that no user has ever had, and conditions to write `instead`.

    `events`: up to three events with a property of that name, the most frequent first. The conditions are about the
    first of them, at any time and in a window; for `user_id`, about an audience to import the ids as.
    """

    attribute: str
    condition: str
    events: list[str]
    instead: list[str]


class Count(Shape):
    """How many users a rule matches, as of `as_of`. `unseen_...`: names that the archive has never had.

    `paused`: segments that the rule names, counted as if they were active. `users`, `mistyped` and `outside` are null
    unless requested. `rounded_to`: without the action read_users, all numbers are blurred and rounded to a multiple of
    it, and null below it; `precision` is then `rounded` instead of `exact`.
    """

    precision: Literal["estimate", "exact", "rounded"]
    members: int | None
    interval: Interval
    groups: list[GroupCount]
    users: list[str] | None
    as_of: Time
    unseen_events: list[str]
    unseen_attributes: list[str]
    suggestions: list[RuleSuggestion]
    paused: list[str]
    mistyped: list[dict[str, Any]] | None
    outside: list[dict[str, Any]] | None
    rounded_to: int | None
    example: ClassVar[Example] = {
        "precision": "estimate",
        "members": 108_700,
        "interval": [107_100, 110_300],
        "groups": [{"negated": False, "members": 108_700, "interval": [107_100, 110_300], "conditions": [CONDITION]}],
        "users": None,
        "as_of": AT,
        "unseen_events": [],
        "unseen_attributes": ["carrier"],
        "suggestions": [
            {
                "attribute": "carrier",
                "condition": 'carrier = "UA"',
                "events": ["flight"],
                "instead": ['ever(flight where carrier = "UA")', 'count(flight where carrier = "UA", 30d) >= 1'],
            }
        ],
        "paused": [],
        "mistyped": None,
        "outside": None,
        "rounded_to": None,
    }


class SeenName(Shape):
    """An attribute or a property with the types that its values have."""

    name: str
    types: list[str]


class SeenEvent(Shape):
    """An event with its properties."""

    event: str
    properties: list[SeenName]


class Names(Shape):
    """What rules can name. `complete`: the whole archive was searched; else its newest part."""

    events: list[SeenEvent]
    attributes: list[SeenName]
    audiences: list[str]
    segments: list[str]
    complete: bool
    example: ClassVar[Example] = {
        "events": [{"event": "purchase", "properties": [{"name": "amount", "types": ["double"]}]}],
        "attributes": [{"name": "country", "types": ["string"]}],
        "audiences": ["vip"],
        "segments": ["buyers"],
        "complete": True,
    }


class WantedUser(Shape):
    """A user to look up."""

    user: UserId
    example: ClassVar[Example] = {"user": "ann"}


class UserEvents(Shape):
    """How many events of a name a user has, copies included, and when the first and the last occurred."""

    event: str
    count: int
    first_at: Time
    last_at: Time


class UserEvent(Shape):
    """One event of a user."""

    event: str
    event_id: str | None
    occurred_at: Time
    properties: dict[str, Any]


class User(Shape):
    """Everything known of a user. `audiences`: those whose current version has the user.

    `segments`: those whose rules are true of the user as of `as_of`, by the archive; also paused ones, whose members
    do not change.
    """

    user: str
    known: Literal[True]
    partition: int
    attributes: dict[str, Any]
    events: list[UserEvents]
    latest: list[UserEvent]
    audiences: list[str]
    segments: list[str]
    as_of: Time
    example: ClassVar[Example] = {
        "user": "ann",
        "known": True,
        "partition": 3,
        "attributes": {"country": "JP"},
        "events": [{"event": "purchase", "count": 2, "first_at": AT, "last_at": AT}],
        "latest": [{"event": "purchase", "event_id": "e1", "occurred_at": AT, "properties": {"amount": 9.5}}],
        "audiences": ["vip"],
        "segments": ["buyers"],
        "as_of": AT,
    }


class WantedExplanation(Shape):
    """A user, and the instant at which membership is explained; now without it."""

    user: UserId
    as_of: Moment | None = None
    example: ClassVar[Example] = {"user": "ann"}


class Explanation(Shape):
    """Why a user is in a segment or not (docs/cli.md, `muster explain`)."""

    tenant: str
    segment: str
    rule_version: int
    user: str
    member: bool
    outside: list[str]
    as_of: Time
    partition: int
    archived_to: dict[str, int]
    paused: list[str]
    groups: list[dict[str, Any]]
    attributes: dict[str, Any]
    example: ClassVar[Example] = {
        "tenant": "acme",
        "segment": "buyers",
        "rule_version": 1,
        "user": "ann",
        "member": True,
        "outside": [],
        "as_of": AT,
        "partition": 3,
        "archived_to": {"muster.events": 120, "muster.profiles": 7},
        "paused": [],
        "groups": [
            {
                "negated": False,
                "true": True,
                "conditions": [
                    {
                        "condition": "count(purchase, 30d) >= 2",
                        "true": True,
                        "counted": 2,
                        "events": [],
                        "changes_at": AT,
                    }
                ],
            }
        ],
        "attributes": {},
    }


class Outside(Shape):
    """Members of a version of an audience without an event or a profile, whom no rule covers."""

    audience: str
    version: int
    users: int


class Coverage(Shape):
    """`behind`: records of the topics that the workers of the segment have not processed; null if Kafka is down.

    `outside`: by audience that the rule names; null if it could not be counted, for the reason in `trouble`.
    """

    behind: int | None
    outside: list[Outside] | None
    trouble: str | None
    example: ClassVar[Example] = {
        "behind": 12,
        "outside": [{"audience": "vip", "version": 2, "users": 3}],
        "trouble": None,
    }


class NewQuery(Shape):
    """One SELECT over `audience('name')` and `rejects('job')`. `rows`: at most so many are returned."""

    sql: Sql
    rows: Annotated[int, Field(ge=1, le=10_000)] = 1000
    timeout_s: Annotated[float, Field(ge=0.1, le=50)] = 30.0
    example: ClassVar[Example] = {"sql": "select count(*) as members from audience('vip')"}


class Column(Shape):
    """A column with its DuckDB type."""

    name: str
    type: str


class QueryResult(Shape):
    """Rows as lists; all but numbers, booleans and null is text. `truncated`: there are more rows, or 4 MiB."""

    columns: list[Column]
    rows: list[list[Any]]
    truncated: bool
    example: ClassVar[Example] = {
        "columns": [{"name": "members", "type": "BIGINT"}],
        "rows": [[3]],
        "truncated": False,
    }


class LongQuery(Shape):
    """One SELECT whose rows are streamed."""

    sql: Sql
    timeout_s: Annotated[float, Field(ge=0.1, le=3600)] = 3600.0
    example: ClassVar[Example] = {"sql": "select user_id from audience('vip')"}


class QueryLine(Shape):
    """A line of an answer has one member: first `columns`, then any number of `rows`, finally `end` or `error`.

    Empty lines say that the query still runs.
    """

    columns: list[Column] | None = None
    rows: list[list[Any]] | None = None
    end: Literal[True] | None = None
    error: Problem | None = None
    example: ClassVar[Example] = {"rows": [["ann"], ["bob"]]}
