"""Rules that many begin with: each builds a rule from parameters of declared types."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from schemas.errors import UserError
from segmentation.expressions.nodes import Comparison
from segmentation.rules.events import Events
from segmentation.rules.nodes import Count, Group, Member, Rule, RuleCondition, SeenNear, Split
from segmentation.rules.relative import Anniversary, Distance, Near
from segmentation.rules.sequences import Sequence, Step
from segmentation.rules.splits import BUCKETS
from segmentation.rules.windows import window

ParameterType = Literal["event", "property", "attribute", "audience", "name", "duration", "whole", "number"]
PERCENT: Final = BUCKETS // 100
WHOLE: Final = re.compile(r"[0-9]{1,9}")
NUMBER: Final = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of a template. `default`: as typed; it may be left empty if `optional`."""

    name: str
    type: ParameterType
    default: str
    optional: bool = False

    def value(self, typed: str) -> object:
        """The value of what was typed. Raises `UserError` BAD_RULE."""
        text = typed.strip()
        if not text and self.optional:
            return None
        match self.type:
            case "duration":
                found: object = window(text)
            case "whole":
                found = int(text) if WHOLE.fullmatch(text) else None
            case "number":
                found = float(text) if NUMBER.fullmatch(text) else None
            case _:
                found = text or None
        if found is None:
            raise UserError("BAD_RULE", f"{self.name} is not {_EXPECTED.get(self.type, 'given')}")
        return found


_EXPECTED: Final = {
    "duration": "a length of time, as in 7d, 12h or 30m",
    "whole": "a whole number",
    "number": "a number",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """`build` returns the conditions of the rule, all of which have to be true, from the values by name."""

    name: str
    parameters: tuple[Parameter, ...]
    build: Callable[..., tuple[RuleCondition, ...]]
    form: Literal[1, 2] = 1

    def rule(self, typed: Mapping[str, str], timezone: str | None) -> Rule:
        """The rule of typed values; defaults stand for those that are missing. Raises `UserError` BAD_RULE."""
        values: dict[str, Any] = {one.name: one.value(typed.get(one.name, one.default)) for one in self.parameters}
        groups = tuple(Group(conditions=(condition,)) for condition in self.build(**values))
        return Rule(groups=groups, timezone=timezone, form=self.form)


def _abandoned_cart(cart: str, purchase: str, same: str | None, within: int, period: int) -> tuple[RuleCondition, ...]:
    bought = Step(events=Events(event=purchase), negated=True, within_s=within)
    return (Sequence(steps=(Step(events=Events(event=cart)), bought), same=same, window_s=period),)


def _win_back(event: str, silent: int) -> tuple[RuleCondition, ...]:
    return (SeenNear(which="last", events=Events(event=event), distance=Distance(after_s=None, until_s=-silent)),)


def _new(attribute: str, period: int) -> tuple[RuleCondition, ...]:
    return (Near(column=attribute, distance=Distance(after_s=-period, until_s=0)),)


def _birthday(attribute: str, days: int) -> tuple[RuleCondition, ...]:
    return (Anniversary(column=attribute, first_day=0, last_day=days - 1),)


def _trial_ending(attribute: str, period: int) -> tuple[RuleCondition, ...]:
    return (Near(column=attribute, distance=Distance(after_s=0, until_s=period)),)


def _spenders(event: str, amount: str, least: float, times: int, period: int) -> tuple[RuleCondition, ...]:
    large = Comparison(column=amount, type="double", operator=">=", value=least)
    return (Count(events=Events(event=event, where=(large,)), quantity="at_least", times=times, within_s=period),)


def _regulars(event: str, times: int, period: int, known: int) -> tuple[RuleCondition, ...]:
    events = Events(event=event)
    often = Count(events=events, quantity="at_least", times=times, within_s=period)
    return often, SeenNear(which="first", events=events, distance=Distance(after_s=None, until_s=-known))


def _holdout(audience: str, split: str, percent: float) -> tuple[RuleCondition, ...]:
    kept_out = round(percent * PERCENT)
    return Member(kind="audience", name=audience), Split(name=split, begin=kept_out, before=BUCKETS)


TEMPLATES: Final[Mapping[str, Template]] = {
    one.name: one
    for one in (
        Template(
            name="abandoned_cart",
            parameters=(
                Parameter(name="cart", type="event", default="add_to_cart"),
                Parameter(name="purchase", type="event", default="purchase"),
                Parameter(name="same", type="property", default="product_id", optional=True),
                Parameter(name="within", type="duration", default="1d"),
                Parameter(name="period", type="duration", default="7d"),
            ),
            build=_abandoned_cart,
        ),
        Template(
            name="win_back",
            parameters=(
                Parameter(name="event", type="event", default="purchase"),
                Parameter(name="silent", type="duration", default="90d"),
            ),
            build=_win_back,
        ),
        Template(
            name="new",
            parameters=(
                Parameter(name="attribute", type="attribute", default="signed_up"),
                Parameter(name="period", type="duration", default="7d"),
            ),
            build=_new,
        ),
        Template(
            name="birthday",
            parameters=(
                Parameter(name="attribute", type="attribute", default="born"),
                Parameter(name="days", type="whole", default="7"),
            ),
            build=_birthday,
        ),
        Template(
            name="trial_ending",
            parameters=(
                Parameter(name="attribute", type="attribute", default="trial_ends"),
                Parameter(name="period", type="duration", default="3d"),
            ),
            build=_trial_ending,
        ),
        Template(
            name="spenders",
            parameters=(
                Parameter(name="event", type="event", default="purchase"),
                Parameter(name="amount", type="property", default="amount"),
                Parameter(name="least", type="number", default="100"),
                Parameter(name="times", type="whole", default="2"),
                Parameter(name="period", type="duration", default="30d"),
            ),
            build=_spenders,
        ),
        Template(
            name="regulars",
            parameters=(
                Parameter(name="event", type="event", default="visit"),
                Parameter(name="times", type="whole", default="8"),
                Parameter(name="period", type="duration", default="30d"),
                Parameter(name="known", type="duration", default="90d"),
            ),
            build=_regulars,
        ),
        Template(
            name="holdout",
            parameters=(
                Parameter(name="audience", type="audience", default="vip"),
                Parameter(name="split", type="name", default="holdout"),
                Parameter(name="percent", type="number", default="5"),
            ),
            build=_holdout,
            form=2,
        ),
    )
}
"""By name."""
