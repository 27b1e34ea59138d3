"""Counts as pages show them: with their interval while they are estimates, and with doubts about the names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.console.formatting import number
from orchestration.console.language import Texts
from orchestration.records.questions import ConditionCount, Count, GroupCount, RuleSuggestion


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


def figure_of(counted: Count | GroupCount | ConditionCount, t: Texts, rounded_to: int | None) -> Figure:
    """The number of a rule, a group or a condition. `rounded_to`: of the answer."""
    low, high = counted.interval
    if counted.members is None:
        return Figure(text=t("count.below", most=rounded_to), interval=t("count.interval", low=low, high=high))
    members = number(counted.members)
    if low == high:
        return Figure(text=members, interval="")
    return Figure(text=f"≈ {members}", interval=t("count.interval", low=low, high=high))


def suggestion_text(one: RuleSuggestion, t: Texts) -> str:
    """What to write in place of a condition on an attribute that no user has."""
    condition, instead = one.condition, one.instead[0]
    if one.events:
        return t("count.of_event", event=one.events[0], condition=condition, instead=instead)
    return t("count.by_id", condition=condition, instead=instead)


def mistyped_of(one: Mapping[str, Any]) -> Mistyped:
    """An operand as the notes of a count have it."""
    name = one["name"] if one["event"] is None else f"{one['event']}.{one['name']}"
    values = ", ".join(f"{number(count)} {type_}" for type_, count in one["values"].items())
    return Mistyped(name=name, compared_as=one["compared_as"], values=values)
