"""The answer of a rule for a user without any facts whom it asks about: no event, no attribute, no membership."""

from collections.abc import Callable

from segmentation.expressions.nodes import Presence
from segmentation.rules.events import OnEvents
from segmentation.rules.nodes import Member, Rule, RuleCondition, Split


def true_without_facts(rule: Rule) -> bool:
    """True if such a user may be in the segment: a split depends on the user.

    If not, only users with some fact that the rule uses can be members.
    """
    return all(
        not any(map(_true_without_facts, group.conditions))
        if group.negated
        else any(map(_may_be_true_without_facts, group.conditions))
        for group in rule.groups
    )


def false_without(rule: Rule, uses_facts: Callable[[RuleCondition], bool]) -> bool:
    """True if a rule is certainly false for a user without any of the facts that these conditions use."""
    return any(
        any(uses_facts(c) and _true_without_facts(c) for c in group.conditions)
        if group.negated
        else all(uses_facts(c) and not _may_be_true_without_facts(c) for c in group.conditions)
        for group in rule.groups
    )


def true_of_strangers(rule: Rule) -> bool:
    """True if the rule may have members without an event or a profile."""
    return bool(rule.admits) and not false_without(rule, lambda condition: not isinstance(condition, Member))


def _may_be_true_without_facts(condition: RuleCondition) -> bool:
    return isinstance(condition, Split) or _true_without_facts(condition)


def _true_without_facts(condition: RuleCondition) -> bool:
    if isinstance(condition, OnEvents):
        return condition.true_without_events
    return isinstance(condition, Presence) and not condition.present
