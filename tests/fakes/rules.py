"""Rules of segments, from their text."""

from orchestration.catalog.segments import NewRule
from segmentation.rules.parser import parse_rule


def new_rule(text: str) -> NewRule:
    """The rule as a request brings it, without a time zone."""
    return NewRule(text=text, timezone=None, rule=parse_rule(text))
