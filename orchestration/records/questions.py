"""Answers about the data of a tenant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

from orchestration.records.fields import EXAMPLE_TIME, About, Example, Time

Interval = Annotated[Sequence[int], About("95 % confidence; equal if exact.", min_length=2, max_length=2)]
RuleEngine = Literal["duckdb", "spark"]
"""What evaluates rules over the archive (setting `engine`)."""
CONDITION: Final[Example] = {
    "condition": "count(purchase, 30d) >= 2",
    "members": 108_700,
    "interval": [107_100, 110_300],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionCount:
    """Users for whom a condition is true. `members`: null if fewer than `rounded_to` of the answer."""

    condition: str
    members: int | None
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCount:
    """Users in a group; a negated group has those for whom none of its conditions is true. `members`: as above."""

    negated: bool
    members: int | None
    interval: Interval
    conditions: Sequence[ConditionCount]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSuggestion:
    """A condition on an attribute that no user has ever had, and conditions to write `instead`.

    `events`: up to three events with a property of that name, the most frequent first. The conditions are about the
    first of them, at any time and in a window; for `user_id`, about an audience to import the ids as.
    """

    attribute: str
    condition: str
    events: Sequence[str]
    instead: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many users a rule matches, as of `as_of`. `unseen_...`: names that the archive has never had.

    `paused`: segments that the rule names, counted as if they were active. `outside`: members of audiences without an
    event or a profile whom the rule does not ask about, `known_only_by`: whom it matches. These, `users` and `mistyped`
    are null unless requested. `rounded_to`: without the action read_users, all numbers are blurred and rounded to a
    multiple of it, and null below it, without `known_only_by`; `precision` is then `rounded` instead of `exact`.
    """

    precision: Literal["estimate", "exact", "rounded"]
    members: int | None
    interval: Interval
    groups: Sequence[GroupCount]
    users: Sequence[str] | None
    as_of: Time
    unseen_events: Sequence[str]
    unseen_attributes: Sequence[str]
    suggestions: Sequence[RuleSuggestion]
    paused: Sequence[str]
    mistyped: Sequence[Mapping[str, Any]] | None
    outside: Sequence[Mapping[str, Any]] | None
    known_only_by: Sequence[Mapping[str, Any]] | None
    rounded_to: int | None = None
    example: ClassVar[Example] = {
        "precision": "estimate",
        "members": 108_700,
        "interval": [107_100, 110_300],
        "groups": [{"negated": False, "members": 108_700, "interval": [107_100, 110_300], "conditions": [CONDITION]}],
        "users": None,
        "as_of": EXAMPLE_TIME,
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
        "known_only_by": None,
        "rounded_to": None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class MembersChange:
    """Users who would enter a segment, leave it, or stay in it. `..._users`: the first by id, as many as requested."""

    segment: str
    entering: int
    leaving: int
    staying: int
    entering_users: Sequence[str]
    leaving_users: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EditPreview:
    """What another rule would change, by both rules over the archive as of `as_of`.

    `changes`: of the segment itself, then of those whose rules depend on it. `same`: the rules mean the same.
    `schedules`: that take snapshots of any of them, or export these snapshots. `feeds`: that deliver who enters and
    leaves any of them. `paused`: segments counted as if they were active. `approve`: approves the edit, if it changes
    so many members that it needs that.
    """

    rule_version: int
    rule: str
    timezone: str | None
    same: bool
    as_of: Time
    changes: Sequence[MembersChange]
    paused: Sequence[str]
    schedules: Sequence[str] = ()
    feeds: Sequence[str] = ()
    approve: str | None = None
    example: ClassVar[Example] = {
        "rule_version": 1,
        "rule": "count(purchase, 30d) >= 3",
        "timezone": None,
        "same": False,
        "as_of": EXAMPLE_TIME,
        "changes": [
            {
                "segment": "buyers",
                "entering": 0,
                "leaving": 200,
                "staying": 1000,
                "entering_users": [],
                "leaving_users": ["ann"],
            }
        ],
        "paused": [],
        "schedules": ["nightly"],
        "feeds": ["crm"],
        "approve": None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastPoint:
    """Members `in_s` seconds after now, at `at`. `members`: null if fewer than `rounded_to` of the answer."""

    in_s: int
    at: Time
    members: int | None
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How many users a segment will have at later instants if nothing more is sent.

    By its rule over what the archive has at `as_of`. `precision` and `rounded_to`: as of counts. `paused`: this segment
    and those that its rule names, counted as if they were active.
    """

    segment: str
    rule_version: int
    as_of: Time
    points: Sequence[ForecastPoint]
    paused: Sequence[str]
    precision: Literal["exact", "rounded"] = "exact"
    rounded_to: int | None = None
    example: ClassVar[Example] = {
        "segment": "buyers",
        "rule_version": 1,
        "as_of": EXAMPLE_TIME,
        "points": [{"in_s": 3600, "at": EXAMPLE_TIME, "members": 1180, "interval": [1180, 1180]}],
        "paused": [],
        "precision": "exact",
        "rounded_to": None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenName:
    """An attribute or a property with the types that its values have."""

    name: str
    types: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenEvent:
    """An event with its properties."""

    event: str
    properties: Sequence[SeenName]


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What rules can name. `complete`: the whole archive was searched; else its newest part."""

    events: Sequence[SeenEvent]
    attributes: Sequence[SeenName]
    audiences: Sequence[str]
    segments: Sequence[str]
    complete: bool
    example: ClassVar[Example] = {
        "events": [{"event": "purchase", "properties": [{"name": "amount", "types": ["double"]}]}],
        "attributes": [{"name": "country", "types": ["string"]}],
        "audiences": ["vip"],
        "segments": ["buyers"],
        "complete": True,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class UserEvents:
    """How many events of a name a user has, copies included, and when the first and the last occurred."""

    event: str
    count: int
    first_at: Time
    last_at: Time


@dataclass(frozen=True, slots=True, kw_only=True)
class UserEvent:
    """One event of a user."""

    event: str
    event_id: str | None
    occurred_at: Time
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Everything known of a user. `audiences`: those whose current version has the user.

    `segments`: those whose rules are true of the user as of `as_of`, by the archive; also paused ones, whose members
    do not change.
    """

    user: str
    known: Literal[True] = True
    partition: int
    attributes: Mapping[str, Any]
    events: Sequence[UserEvents]
    latest: Sequence[UserEvent]
    audiences: Sequence[str]
    segments: Sequence[str]
    as_of: Time
    example: ClassVar[Example] = {
        "user": "ann",
        "known": True,
        "partition": 3,
        "attributes": {"country": "JP"},
        "events": [{"event": "purchase", "count": 2, "first_at": EXAMPLE_TIME, "last_at": EXAMPLE_TIME}],
        "latest": [{"event": "purchase", "event_id": "e1", "occurred_at": EXAMPLE_TIME, "properties": {"amount": 9.5}}],
        "audiences": ["vip"],
        "segments": ["buyers"],
        "as_of": EXAMPLE_TIME,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a user is in a segment or not (docs/cli.md, `muster explain`)."""

    tenant: str
    segment: str
    rule_version: int
    user: str
    member: bool
    outside: Sequence[str]
    known_only_by: Sequence[str]
    as_of: Time
    partition: int
    archived_to: Mapping[str, int]
    paused: Sequence[str]
    groups: Sequence[Mapping[str, Any]]
    attributes: Mapping[str, Any]
    example: ClassVar[Example] = {
        "tenant": "acme",
        "segment": "buyers",
        "rule_version": 1,
        "user": "ann",
        "member": True,
        "outside": [],
        "known_only_by": [],
        "as_of": EXAMPLE_TIME,
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
                        "changes_at": EXAMPLE_TIME,
                    }
                ],
            }
        ],
        "attributes": {},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Members of a version of an audience without an event or a profile."""

    audience: str
    version: int
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownMembers:
    """Members of audiences without an event or a profile, by audience.

    `outside`: whom the rule does not ask about. `known_only_by`: whom it matches.
    """

    outside: Sequence[Outside] = ()
    known_only_by: Sequence[Outside] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """What a sum or an average of a rule leaves out.

    `users`: who have more than the `latest` events that count; `left_out`: numbers that are too large to be summed,
    beyond 900,000,000,000 on either side.
    """

    condition: str
    latest: int
    users: int
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """`behind`: records of the topics that the workers of the segment have not processed; null if Kafka is down.

    `outside`: members of audiences without an event or a profile whom the rule does not ask about, `known_only_by`:
    whom it matches; `bounded`: of each sum and average of the rule that leaves something out. Null if they could not be
    counted, for the reason in `trouble`.
    """

    behind: int | None
    outside: Sequence[Outside] | None
    known_only_by: Sequence[Outside] | None
    bounded: Sequence[Bounded] | None
    trouble: str | None
    example: ClassVar[Example] = {
        "behind": 12,
        "outside": [{"audience": "vip", "version": 2, "users": 3}],
        "known_only_by": [],
        "bounded": [
            {"condition": "sum(amount of purchase, 30d) >= 100", "latest": 1000, "users": 12, "left_out": 0},
        ],
        "trouble": None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column with its DuckDB type."""

    name: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryResult:
    """Rows as lists; all but numbers, booleans and null is text. `truncated`: there are more rows, or 4 MiB."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    truncated: bool
    example: ClassVar[Example] = {
        "columns": [{"name": "members", "type": "BIGINT"}],
        "rows": [[3]],
        "truncated": False,
    }
