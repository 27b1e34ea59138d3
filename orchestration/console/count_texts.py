"""Counts as pages show them: with their interval while they are estimates, and with doubts about the names."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestration.access.pages import Record
from orchestration.console.formatting import number
from orchestration.console.language import Texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number of users. `interval`: empty if it is exact."""

    text: str
    interval: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistyped:
    """An operand that is compared with a type that none of its values has."""

    name: str
    compared_as: str
    values: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Members of an audience without an event or a profile, so that no rule matches them."""

    audience: str
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """Notes about the names of a rule."""

    unseen_events: Sequence[str]
    unseen_attributes: Sequence[str]
    suggestions: Sequence[str]
    paused: Sequence[str]
    mistyped: Sequence[Mistyped]
    outside: Sequence[Outside]


def figure_of(counted: Record, t: Texts, rounded_to: int | None) -> Figure:
    """The number of a rule, a group or a condition. `rounded_to`: of the answer."""
    low, high = counted["interval"]
    if counted["members"] is None:
        return Figure(text=t("count.below", most=rounded_to), interval=t("count.interval", low=low, high=high))
    members = number(counted["members"])
    if low == high:
        return Figure(text=members, interval="")
    return Figure(text=f"≈ {members}", interval=t("count.interval", low=low, high=high))


def notes_of(counted: Record, t: Texts) -> Notes:
    """The notes on a count."""
    return Notes(
        unseen_events=counted["unseen_events"],
        unseen_attributes=counted["unseen_attributes"],
        suggestions=[_suggestion(one, t) for one in counted["suggestions"]],
        paused=counted["paused"],
        mistyped=[_mistyped(one) for one in counted["mistyped"] or ()],
        outside=[Outside(audience=one["audience"], users=one["users"]) for one in counted["outside"] or ()],
    )


def _suggestion(one: Record, t: Texts) -> str:
    """What to write in place of a condition on an attribute that no user has."""
    condition, instead = one["condition"], one["instead"][0]
    if one["events"]:
        return t("count.of_event", event=one["events"][0], condition=condition, instead=instead)
    return t("count.by_id", condition=condition, instead=instead)


def _mistyped(one: Record) -> Mistyped:
    name = one["name"] if one["event"] is None else f"{one['event']}.{one['name']}"
    values = ", ".join(f"{number(count)} {type_}" for type_, count in one["values"].items())
    return Mistyped(name=name, compared_as=one["compared_as"], values=values)
