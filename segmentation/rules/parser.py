"""Parses rules from text.

rule      = [ "rule" ( "1" | "2" ) ":" ] ( group { "and" group } | condition { "or" condition } )
group     = [ "not" ] ( condition | "(" condition { "or" condition } ")" )

`conditions` parses one condition; docs/rules.md explains the language, `nodes` its semantics. A rule is flat: nothing
here recurses.
"""

from dataclasses import replace
from typing import Final, get_args

from segmentation.expressions.cursor import Cursor
from segmentation.expressions.lexer import Token
from segmentation.expressions.source import Source
from segmentation.rules.conditions import RULES, RuleReader
from segmentation.rules.nodes import Form, Group, Rule, RuleCondition
from segmentation.timetable import time_zone

MIXED: Final = (
    "mix and, or and not only with parentheses, as in: (age < 18 or age >= 65) and "
    "not (in audience vip or in audience staff)"
)
NESTED: Final = (
    "a rule is flat: only or is allowed within parentheses; write (a and b) or c as (a or c) and (b or c), and "
    "(a and b) and c without parentheses"
)
NOT_INSIDE: Final = (
    "not is allowed before a group, but not within it; negate a single condition with !=, is not set, never, or = 0"
)


def parse_rule(text: str, *, timezone: str | None = None, stored: bool = False) -> Rule:
    """Parse a rule. `timezone` (IANA) applies to dates, and to timestamps without an offset.

    `stored`: the rule was accepted earlier, perhaps by a version that took `user_id` for an attribute, or 3M for
    minutes.

    Raises `UserError` BAD_RULE, with `position` (from 1) and `marked` (the line and a caret) in its detail, and
    BAD_TIMEZONE.
    """
    if timezone is not None:
        time_zone(timezone)
    cursor = Cursor(Source(text=text, code="BAD_RULE"), RULES)
    form = _form(cursor)
    reader = RuleReader(cursor, timezone, stored, form)
    opening = cursor.token
    groups = [_group(cursor, reader)]
    if cursor.sees("word", "or") and not _grouped(opening):
        alternatives = (*groups[0].conditions, *_alternatives(cursor, reader))
        groups = [Group(conditions=alternatives)]
    else:
        while cursor.word("and"):
            groups.append(_group(cursor, reader))
    if cursor.sees("word", "or") or cursor.sees("word", "and"):
        raise cursor.source.fault(cursor.token.at, MIXED)
    if cursor.token.kind != "end":
        cursor.refuse("and, or, or the end")
    rule = Rule(groups=tuple(groups), timezone=timezone, form=form)
    return rule if rule.has_dates else replace(rule, timezone=None)


def _form(cursor: Cursor) -> Form:
    """The form in front of the rule. An attribute may be called `rule`, but no number follows one."""
    if not (cursor.sees("word", "rule") and cursor.following.kind == "number"):
        return 1
    cursor.take()
    if cursor.token.text not in map(str, get_args(Form)):
        cursor.refuse("the form of the rule, 1 or 2, as in: rule 2: in audience vip")
    form: Form = 2 if cursor.take().text == "2" else 1
    if not cursor.sees("colon", ":"):
        cursor.refuse("a colon after the form of the rule, as in: rule 2: in audience vip")
    cursor.take()
    return form


def _group(cursor: Cursor, reader: RuleReader) -> Group:
    negated = cursor.word("not")
    if cursor.sees("word", "not"):
        raise cursor.source.fault(cursor.token.at, "not can be written only once")
    at = cursor.token.at
    if not cursor.symbol("("):
        return Group(conditions=(reader.condition(),), negated=negated)
    conditions = (_inside(cursor, reader), *_alternatives(cursor, reader))
    if cursor.sees("word", "and"):
        raise cursor.source.fault(cursor.token.at, NESTED)
    cursor.expect(")", f"for the one opened at character {at + 1}")
    return Group(conditions=conditions, negated=negated)


def _alternatives(cursor: Cursor, reader: RuleReader) -> tuple[RuleCondition, ...]:
    """The conditions after each `or`."""
    conditions = []
    while cursor.word("or"):
        conditions.append(_inside(cursor, reader))
    return tuple(conditions)


def _inside(cursor: Cursor, reader: RuleReader) -> RuleCondition:
    if cursor.sees("symbol", "("):
        raise cursor.source.fault(cursor.token.at, NESTED)
    if cursor.sees("word", "not"):
        raise cursor.source.fault(cursor.token.at, NOT_INSIDE)
    return reader.condition()


def _grouped(opening: Token) -> bool:
    return (opening.kind, opening.text.lower()) in (("symbol", "("), ("word", "not"))
