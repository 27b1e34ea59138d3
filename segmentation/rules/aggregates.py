"""Sums, averages and extremes over events, which rules do not have, and what to write instead."""

import re
from collections.abc import Collection
from typing import Final

from segmentation.rules.events import MAX_WINDOW_S
from segmentation.rules.windows import window

EXTREMES: Final = frozenset({"min", "minimum", "max", "maximum"})
AGGREGATES: Final = EXTREMES | {"sum", "total", "avg", "average", "mean", "median"}
_OPERANDS: Final = re.compile(
    r"\s*\(\s*(?P<name>[A-Za-z_][A-Za-z0-9_]{0,99})\s*(?:,\s*(?P<window>[0-9A-Za-z]+)\s*)?\)\s*"
    r"(?P<operator><=|>=|<|>)\s*(?P<bound>-?[0-9]{1,15}(?:\.[0-9]{1,10})?)(?![0-9A-Za-z_.])"
)
_OPPOSITE: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}


def why_not(function: str) -> str:
    """Why there is no such function."""
    return (
        f"{function} over events is not supported: it would need every event of the window, without limit, whereas a "
        "count needs only the latest"
    )


def no_aggregate(function: str, operands: str, reserved: Collection[str]) -> str:
    """Why there is no such function, and what to write instead.

    `operands`: the text after its name, as in `(amount, 30d) > 100`; property, window and bound are taken from it where
    they are plain, and the property is no `reserved` word.
    """
    name, length, operator, bound = "amount", "30d", ">=", "100"
    found = _OPERANDS.match(operands)
    if found and found["name"].lower() not in reserved:
        name, operator, bound = found["name"], found["operator"], found["bound"]
        if 1 <= (window(found["window"] or "") or 0) <= MAX_WINDOW_S:
            length = found["window"]
    word, times = function.lower(), ">= 2"
    attribute = f"{name}_{word} {operator} {bound}"
    if word in EXTREMES:
        times = ">= 1"
        if word.startswith("max") == operator.startswith("<"):  # none is beyond the bound
            times, operator = "= 0", _OPPOSITE[operator]
    count = f"count(purchase where {name} {operator} {bound}, {length}) {times}"
    return (
        f"{why_not(function)}. Count the events on one side of a bound (replace purchase with your event): {count}. Or "
        f"import the {word} as an attribute of profiles, and write: {attribute}"
    )
