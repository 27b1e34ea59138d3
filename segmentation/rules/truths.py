"""What a rule says of a known user of whom nothing else is known: no event, no attribute, no membership."""

from segmentation.expressions.nodes import Comparison, OneOf, Presence
from segmentation.rules.nodes import Count, Ever, Member, Never, Rule, RuleCondition, Seen


def true_of_nothing(rule: Rule) -> bool:
    """Whether such a user is in the segment. If not, only who has something of what the rule asks for may be."""
    return all(any(map(_of_nothing, group.conditions)) != group.negated for group in rule.groups)


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
