"""What a rule says of a known user of whom nothing else is known: no event, no attribute, no membership."""

from collections.abc import Callable

from segmentation.expressions.nodes import Comparison, OneOf, Presence
from segmentation.rules.nodes import Count, Ever, Member, Never, Rule, RuleCondition, Seen


def true_of_nothing(rule: Rule) -> bool:
    """Whether such a user is in the segment. If not, only who has something of what the rule asks for may be."""
    return all(any(map(_of_nothing, group.conditions)) != group.negated for group in rule.groups)


def false_without(rule: Rule, of: Callable[[RuleCondition], bool]) -> bool:
    """Whether a rule is surely false of a user of whom nothing is known that these conditions ask for."""
    return any(
        any(of(c) and _of_nothing(c) for c in group.conditions)
        if group.negated
        else all(of(c) and not _of_nothing(c) for c in group.conditions)
        for group in rule.groups
    )


def _of_nothing(condition: RuleCondition) -> bool:
    match condition:
        case Count(quantity=quantity, times=times):
            return quantity == "at_most" or (quantity == "exactly" and times == 0)
        case Never():
            return True
        case Presence(present=present):
            return not present
        case Ever() | Seen() | Member() | Comparison() | OneOf():
            return False
