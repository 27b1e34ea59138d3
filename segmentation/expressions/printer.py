"""Filters and conditions -> text that parses to the same, with only the necessary parentheses."""

from collections.abc import Callable

from segmentation.expressions.lexer import RESERVED
from segmentation.expressions.literals import literal
from segmentation.expressions.nodes import And, Comparison, Condition, Filter, Not, OneOf, Or, Presence


def filter_text(tree: Filter) -> str:
    """A filter as text for `parse_filter`."""
    match tree:
        case Not(operand):
            return f"not {_inside(operand, And, Or)}"
        case And(operands):
            return " and ".join(_inside(operand, And, Or) for operand in operands)
        case Or(operands):
            return " or ".join(_inside(operand, Or) for operand in operands)
        case _:
            return condition_text(tree)


def column_text(name: str) -> str:
    """A column's name, in backquotes if it is a word of the language."""
    return f"`{name}`" if name.lower() in RESERVED else name


def condition_text(condition: Condition, named: Callable[[str], str] = column_text) -> str:
    """One condition. `named` writes the name of its operand."""
    name = named(condition.column)
    match condition:
        case Comparison():
            return f"{name} {condition.operator} {literal(condition.value)}"
        case OneOf():
            return f"{name} in ({', '.join(literal(value) for value in condition.values)})"
        case Presence():
            return f"{name} is {'set' if condition.present else 'not set'}"


def _inside(tree: Filter, *grouped: type[Filter]) -> str:
    text = filter_text(tree)
    return f"({text})" if isinstance(tree, grouped) else text
