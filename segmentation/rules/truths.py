"""The answer of a rule for a known user without any facts: no event, no attribute, no membership."""

from collections.abc import Callable

from segmentation.expressions.nodes import Comparison, OneOf, Presence
from segmentation.rules.nodes import Count, Ever, Member, Never, Rule, RuleCondition, Seen


def true_without_facts(rule: Rule) -> bool:
    """True if such a user is in the segment. If not, only users with some fact that the rule uses can be members."""
    return all(any(map(_true_without_facts, group.conditions)) != group.negated for group in rule.groups)


def false_without(rule: Rule, uses_facts: Callable[[RuleCondition], bool]) -> bool:
    """True if a rule is certainly false for a user without any of the facts that these conditions use."""
    return any(
        any(uses_facts(c) and _true_without_facts(c) for c in group.conditions)
        if group.negated
        else all(uses_facts(c) and not _true_without_facts(c) for c in group.conditions)
        for group in rule.groups
    )


def _true_without_facts(condition: RuleCondition) -> bool:
    match condition:
        case Count(quantity=quantity, times=times):
            return quantity == "at_most" or (quantity == "exactly" and times == 0)
        case Never():
            return True
        case Presence(present=present):
            return not present
        case Ever() | Seen() | Member() | Comparison() | OneOf():
            return False
