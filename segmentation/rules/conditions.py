"""Parses one condition of a rule.

condition = "count" "(" events [ "," window ] ")" compared times
          | "distinct" "(" property "of" events [ "," window ] ")" compared times
          | ( "min" | "max" ) "(" property "of" events [ "," window ] ")" compared number
          | ( "sum" | "avg" ) "(" property "of" events [ "," window ] [ latest ] ")" compared number
          | ( "ever" | "never" ) "(" events ")"
          | "sequence" "(" events then [ then ] [ "same" property ] "," window [ latest ] ")"
          | ( "first" | "last" ) "(" events ")" ( ( ">=" | ">" | "<=" | "<" ) time | near )
          | "in" ( "audience" | "segment" ) name
          | "split" "(" name ")" ( "<" | ">=" ) percent
          | attribute ( test | near | today | between ) | anniversary
compared  = ">=" | ">" | "<=" | "<" | "="
latest    = "," "latest" int
then      = "then" [ "not" ] events "within" [ window ".." ] window
events    = event [ "where" property test { "and" property test } ] [ "between" time "and" time ]
test      = operator value | "in" "(" value { "," value } ")" | "is" [ "not" ] "set"

`relative_text` parses near, today, between and anniversary. An event, attribute or property is a word, or anything in
double quotes.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, NoReturn, cast, get_args

from schemas.columns import USER_ID, ColumnType
from schemas.errors import UserError
from segmentation.expressions.conditions import ValueReader
from segmentation.expressions.cursor import Cursor
from segmentation.expressions.lexer import RESERVED, Lexicon, Token, pattern
from segmentation.expressions.literals import moment, value
from segmentation.expressions.nodes import Condition
from segmentation.rules.aggregates import (
    COMPARED,
    UNASKED,
    Bounded,
    Extreme,
    Function,
    Sign,
    Total,
    aggregate,
    no_aggregate,
)
from segmentation.rules.days import day
from segmentation.rules.events import NO_DATES, Events, check_name
from segmentation.rules.nodes import (
    SPLIT_FORM,
    Bound,
    Count,
    Distinct,
    Ever,
    Form,
    Kind,
    Member,
    Never,
    Quantity,
    RuleCondition,
    Seen,
    SeenNear,
    Split,
    Which,
    check_attribute,
)
from segmentation.rules.relative import Anniversary, AttributeCondition
from segmentation.rules.relative_text import RelativeReader
from segmentation.rules.sequences import MAX_LATEST, Sequence, Step
from segmentation.rules.splits import BUCKETS
from segmentation.rules.windows import MINUTES, is_ambiguous, window

WORD: Final = "[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*"
RULES: Final = Lexicon(
    pattern(word=WORD, symbols=r"|\.\.|\+|-", more="| (?P<duration>[0-9]+[A-Za-z][0-9A-Za-z]*) | (?P<colon>:)"),
    RESERVED | {"count", "ever", "never", "first", "last", "where", "audience", "segment"},
)
BY_ID: Final = (
    "a rule does not list users: import the ids as an audience, and write: in audience chosen-users; an attribute of "
    f'this name needs double quotes: "{USER_ID}"'
)
SEQUENCE: Final = "sequence(add_to_cart then not purchase within 1d, 7d)"
FUNCTIONS: Final = (
    *("count", "ever", "never", "first", "last", "sequence", "sum", "avg", "min", "max", "distinct", "anniversary"),
    "split",
)
MICROSECOND: Final = timedelta(microseconds=1)
CONDITION: Final = "a condition, as in: count(purchase, 30d) >= 2, ever(purchase), age >= 25, in audience vip"


@dataclass(frozen=True, slots=True)
class RuleReader:
    """Parses conditions of rules. All methods raise `UserError` BAD_RULE, which points at a character."""

    cursor: Cursor
    timezone: str | None
    stored: bool = False
    """Whether the rule was accepted earlier: then `user_id` without quotes is an attribute."""
    form: Form = 1

    def condition(self) -> RuleCondition:
        """Parse one condition."""
        cursor, token = self.cursor, self.cursor.token
        cursor.term(token.at)
        word = token.text.lower() if cursor.is_reserved(token) else ""
        match word:
            case "count":
                return self._count()
            case "ever" | "never":
                return self._ever()
            case "first" | "last":
                return self._seen()
            case "in":
                return self._member()
            case _:
                called = token.text.lower() if token.kind == "word" and cursor.following.text == "(" else ""
                return self._functions.get(called, self._attribute)()

    @property
    def _functions(self) -> Mapping[str, Callable[[], RuleCondition]]:
        """Functions whose names are not reserved."""
        return {
            "split": self._split,
            "sequence": self._sequence,
            "distinct": self._distinct,
            **dict.fromkeys(get_args(Function), self._aggregate),
        }

    def _count(self) -> Count:
        events = self._events("count(purchase, 30d) >= 2")
        within_s = self._closed(events, "count(purchase, 30d) >= 2; without a window, write ever(purchase)")
        quantity, more = self._quantity("count(purchase, 30d)")
        with self._pointing(self.cursor.token.at):
            return Count(events=events, quantity=quantity, times=self._times() + more, within_s=within_s)

    def _distinct(self) -> Distinct:
        example = "distinct(sku of view, 7d) >= 3"
        name, events = self._of(example)
        within_s = self._closed(events, example)
        quantity, more = self._quantity("distinct(sku of view, 7d)")
        with self._pointing(self.cursor.token.at):
            times = self._times() + more
            return Distinct(of=name, events=events, quantity=quantity, times=times, within_s=within_s)

    def _aggregate(self) -> Total | Extreme:
        cursor, function = self.cursor, cast(Function, self.cursor.token.text.lower())
        example = f"{function}(amount of purchase, 30d) >= 100"
        name, events = self._of(example)
        bounded = function in get_args(Bounded)
        within_s = self._within(events, None, bounded=bounded)
        latest = self._latest() if bounded else MAX_LATEST
        self._close(events, within_s)
        sign = cursor.token
        if sign.kind != "symbol" or sign.text not in COMPARED:
            cursor.refuse(f"{', '.join(COMPARED)} and a number, as in: {example}; != is written as: not ... = 100")
        operator = cast(Sign, cursor.take().text)
        with self._pointing(cursor.token.at):
            if cursor.token.kind != "number":
                cursor.refuse(f"a number, as in: {example}")
            bound = cast(float, value(cursor.source, cursor.take(), "double", None))
            return aggregate(
                function, of=name, events=events, operator=operator, value=bound, within_s=within_s, latest=latest
            )

    def _of(self, example: str) -> tuple[str, Events]:
        """Parse from the name of the function to the end of the events of a property."""
        self.cursor.take()
        self.cursor.take()
        with self._pointing(self.cursor.token.at):
            check_name("property", name := self._name(f"the name of a property, as in: {example}"))
        if not self.cursor.word("of"):
            self.cursor.refuse(f"of and an event, as in: {example}")
        return name, self._of_name(example)

    def _closed(self, events: Events, needs_window: str) -> int | None:
        """Parse a window, which must be there unless the events have times, and the parenthesis."""
        within_s = self._within(events, needs_window)
        self._close(events, within_s)
        return within_s

    def _within(self, events: Events, needs_window: str | None, *, bounded: bool = False) -> int | None:
        """Parse a window. `needs_window`: an example, if it must be there. `bounded`: `latest` may follow."""
        cursor, within_s = self.cursor, None
        if bounded and self._sees_latest:
            return None
        if events.since is not None:
            if cursor.sees("symbol", ","):
                cursor.refuse("')': between takes the place of the window")
        elif cursor.symbol(","):
            with self._pointing(cursor.token.at):
                within_s = self._window()
                Count(events=events, quantity="at_most", times=0, within_s=within_s)
        elif needs_window is not None:
            cursor.refuse(f"a comma and a window, as in: {needs_window}")
        return within_s

    def _close(self, events: Events, within_s: int | None) -> None:
        after = "after the times" if events.since else "after the window" if within_s else "after the events"
        self.cursor.expect(")", after)

    @property
    def _sees_latest(self) -> bool:
        return self.cursor.sees("symbol", ",") and self.cursor.following.text.lower() == "latest"

    def _latest(self) -> int:
        """Parse how many of the latest events or moments count, if that is not the limit."""
        cursor = self.cursor
        if not self._sees_latest:
            return MAX_LATEST
        cursor.take()
        cursor.take()
        token = cursor.token
        if token.kind != "number" or not (token.text.isdecimal() and 1 <= int(token.text) <= MAX_LATEST):
            cursor.refuse(f"how many count, from 1 to {MAX_LATEST:,}, as in: sum(amount of purchase, 30d, latest 5)")
        return int(cursor.take().text)

    def _window(self) -> int:
        token = self.cursor.token
        seconds = window(token.text) if token.kind == "duration" else None
        if seconds is None:
            unit = "; months and years have no exact length: write 30d, 365d" if token.kind == "duration" else ""
            self.cursor.refuse(f"a window from 1s to 366d, as in 3d, 12h, 30m, 90s or 1d12h{unit}")
        if is_ambiguous(token.text) and not self.stored:
            self.cursor.refuse(MINUTES)
        self.cursor.take()
        return seconds

    def _quantity(self, function: str) -> tuple[Quantity, int]:
        """The quantity, and the number to add to `times`."""
        quantities: dict[str, tuple[Quantity, int]] = {
            ">=": ("at_least", 0),
            ">": ("at_least", 1),
            "<=": ("at_most", 0),
            "<": ("at_most", -1),
            "=": ("exactly", 0),
        }
        token = self.cursor.token
        if token.kind != "symbol" or token.text not in quantities:
            self.cursor.refuse(f">=, <=, = or >, < and a number; != is written as: not {function} = 2")
        return quantities[self.cursor.take().text]

    def _times(self) -> int:
        token = self.cursor.token
        if token.kind != "number" or not token.text.isdecimal():
            self.cursor.refuse("a whole number of times, as in: count(purchase, 30d) >= 2")
        return int(self.cursor.take().text)

    def _ever(self) -> Ever | Never:
        word = self.cursor.token.text.lower()
        events = self._events(f"{word}(purchase)")
        if self.cursor.sees("symbol", ","):
            within = "= 0" if word == "never" else ">= 1"
            self.cursor.refuse(f"')'; {word} has no window: write count(purchase, 30d) {within}")
        self.cursor.expect(")", "after the event")
        return Ever(events=events) if word == "ever" else Never(events=events)

    def _seen(self) -> Seen | SeenNear:
        cursor, which = self.cursor, cast(Which, self.cursor.token.text.lower())
        events = self._events(f"{which}(purchase) < 2026-11-01")
        cursor.expect(")", "after the event")
        sign = cursor.token
        if (distance := self._relative.distance()) is not None:
            with self._pointing(sign.at):
                past = replace(distance, until_s=0) if distance.until_s is None else distance
                return SeenNear(which=which, events=events, distance=past)
        if sign.kind != "symbol" or sign.text not in ("<", "<=", ">", ">="):
            cursor.refuse("<, <=, > or >= and a time: before is written as <, after as >; or in last 7d, over 90d ago")
        cursor.take()
        bound: Bound = "before" if sign.text in ("<", "<=") else "from"
        return Seen(which=which, events=events, bound=bound, moment=self._time(after=sign.text in ("<=", ">")))

    def _time(self, *, after: bool) -> datetime:
        """A time, or with `after` the first one after it: the next microsecond, or the end of the day."""
        token = self.cursor.token
        if token.kind not in ("date", "timestamp"):
            self.cursor.refuse("a time without quotes: 2026-11-01, or 2026-11-01T09:00:00Z")
        self.cursor.take()
        with self._pointing(token.at):
            try:
                if token.kind == "date":
                    span = day(date.fromisoformat(token.text), self._zone(token))
                    return span.ends if after else span.begins
                return moment(self.cursor.source, token, self.timezone) + (MICROSECOND if after else timedelta())
            except (ValueError, OverflowError) as exc:
                raise self.cursor.source.fault(token.at, f"this time does not exist: {token}") from exc

    def _sequence(self) -> Sequence:
        cursor, at = self.cursor, self.cursor.token.at
        steps = [Step(events=self._events(SEQUENCE))]
        while (then := cursor.token).kind == "word" and cursor.word("then"):
            cursor.term(then.at)
            negated = cursor.word("not")
            events = self._of_name(SEQUENCE)
            if not cursor.word("within"):
                cursor.refuse(f"within and a time, as in: {SEQUENCE}")
            gap_s, within_s = 0, self._window()
            if cursor.symbol(".."):
                gap_s, within_s = within_s, self._window()
            steps.append(Step(events=events, negated=negated, gap_s=gap_s, within_s=within_s))
        if len(steps) == 1:
            cursor.refuse(f"then and the next step, as in: {SEQUENCE}")
        same = self._name(f"a property, as in: {SEQUENCE}") if cursor.word("same") else None
        if not cursor.symbol(","):
            cursor.refuse(f"a comma and a window, up to 366d, as in: {SEQUENCE}")
        with self._pointing(at):
            found = Sequence(steps=tuple(steps), same=same, window_s=self._window(), latest=self._latest())
        cursor.expect(")", "after the window")
        return found

    def _member(self) -> Member:
        self.cursor.take()
        kind = self.cursor.token
        if not (self.cursor.word("audience") or self.cursor.word("segment")):
            self.cursor.refuse("audience or segment, as in: in audience vip")
        what = f"the name of the {kind.text.lower()}, in double quotes if it begins with a digit"
        with self._pointing(self.cursor.token.at):
            return Member(kind=cast(Kind, kind.text.lower()), name=self._name(what))

    def _split(self) -> Split:
        cursor, function = self.cursor, self.cursor.take()
        if self.form == 1:
            raise cursor.source.fault(function.at, SPLIT_FORM)
        cursor.take()
        at = cursor.token.at
        name = self._name("the name of a split, as in: split(winter) < 5")
        cursor.expect(")", "after the name of the split")
        sign = cursor.token
        if sign.kind != "symbol" or sign.text not in ("<", ">="):
            cursor.refuse("< or >= and a percentage, as in: split(winter) < 5")
        cursor.take()
        if cursor.token.kind != "number":
            cursor.refuse("a percentage, as in: split(winter) < 5")
        share = Decimal(cursor.take().text) * 100
        with self._pointing(at):
            end = int(share) if share == share.to_integral_value() and 0 < share < BUCKETS else BUCKETS
            return (
                Split(name=name, begin=0, before=end)
                if sign.text == "<"
                else Split(name=name, begin=end, before=BUCKETS)
            )

    def _attribute(self) -> AttributeCondition:
        token = self.cursor.token
        name = self._name(CONDITION)
        if self.cursor.sees("symbol", "("):
            return self._anniversary(token)
        if token.kind == "word" and token.text.lower() == USER_ID and not self.stored:
            raise self.cursor.source.fault(token.at, BY_ID)
        with self._pointing(token.at):
            condition = self._relative.condition(name) or self._plain.condition(self.cursor, name)
            check_attribute(condition)
        return condition

    def _anniversary(self, function: Token) -> Anniversary:
        if function.kind != "word" or function.text.lower() != "anniversary":
            self._no_function(function)
        self.cursor.take()
        at = self.cursor.token.at
        name = self._name("the name of an attribute, as in: anniversary(born) = today")
        self.cursor.expect(")", "after the attribute")
        with self._pointing(at):
            check_attribute(condition := self._relative.anniversary(name))
        return condition

    @property
    def _plain(self) -> ValueReader:
        return ValueReader(self._attribute_type, self.timezone)

    @property
    def _relative(self) -> RelativeReader:
        return RelativeReader(self.cursor, self.timezone, self._attribute_type, self._zone, self._pointing, self.stored)

    def _events(self, example: str) -> Events:
        """Parse from the name of the function to the end of the events."""
        function = self.cursor.take().text
        self.cursor.expect("(", f'as in: {example}; an attribute of this name needs double quotes: "{function}"')
        if function.lower() == "sequence" and self.cursor.sees("word", "not"):
            raise self.cursor.source.fault(self.cursor.token.at, "not cannot be the first step: it follows something")
        return self._of_name(example)

    def _of_name(self, example: str) -> Events:
        """Parse events, which begin with their name."""
        cursor, at = self.cursor, self.cursor.token.at
        event, tests = self._name(f"the name of an event, as in: {example}"), []
        if cursor.word("where"):
            tests.append(self._test())
            while cursor.word("and"):
                tests.append(self._test())
            if cursor.sees("word", "or"):
                cursor.refuse('and, a comma, or \')\'; a choice of values is written as: where plan in ("free", "pro")')
        since = before = None
        if cursor.word("between"):
            since = self._time(after=False)
            if not cursor.word("and"):
                cursor.refuse("and and the later time, as in: purchase between 2026-11-01 and 2026-11-30")
            before = self._time(after=True)
        with self._pointing(at):
            return Events(event=event, where=tuple(tests), since=since, before=before)

    def _test(self) -> Condition:
        cursor, token = self.cursor, self.cursor.token
        cursor.term(token.at)
        if cursor.sees("word", "not"):
            cursor.refuse("a property; not is not allowed within where: use !=, or is not set")
        name = self._name("a property, as in: count(purchase where amount >= 100, 30d) >= 2")
        if cursor.sees("word", "not"):
            cursor.refuse('an operator; several values are excluded as in: where plan != "free" and plan != "pro"')
        with self._pointing(token.at):
            check_name("property", name)
        return ValueReader(self._property_type, None).condition(cursor, name)

    def _name(self, what: str) -> str:
        token = self.cursor.token
        if token.kind not in ("word", "column", "string"):
            self.cursor.refuse(what)
        if self.cursor.is_reserved(token):
            self.cursor.refuse(f'{what}; a name that is a keyword needs double quotes: "{token.text}"')
        return self.cursor.take().text

    def _property_type(self, token: Token) -> ColumnType:
        type_ = self._type(token)
        if type_ in ("date", "timestamp"):
            raise self.cursor.source.fault(token.at, f"properties of {NO_DATES}")
        return type_

    def _attribute_type(self, token: Token) -> ColumnType:
        type_ = self._type(token)
        if type_ == "date":
            self._zone(token)
        return type_

    def _type(self, token: Token) -> ColumnType:
        types: dict[str, ColumnType] = {
            "string": "string",
            "number": "double",
            "date": "date",
            "timestamp": "timestamp",
        }
        if token.kind == "word" and token.text.lower() in ("true", "false"):
            return "boolean"
        if token.kind not in types:
            self.cursor.refuse('a text in double quotes: "JP"; a number, true or false, a date or a timestamp')
        return types[token.kind]

    def _zone(self, token: Token) -> str:
        if self.timezone is None:
            raise self.cursor.source.fault(
                token.at, f"{token.text} has no time zone: give a zone, or write a timestamp with an offset"
            )
        return self.timezone

    def _no_function(self, token: Token) -> NoReturn:
        name, source = token.text[:80], self.cursor.source
        if name.lower() in UNASKED:
            raise source.fault(token.at, no_aggregate(name))
        raise source.fault(token.at, f"unknown function {name}; known are {', '.join(FUNCTIONS)}")

    @contextmanager
    def _pointing(self, at: int) -> Iterator[None]:
        """Add this character's position to errors that have none."""
        try:
            yield
        except UserError as exc:
            if exc.code == "BAD_RULE" and "position" not in exc.detail:
                raise self.cursor.source.fault(at, exc.message) from exc
            raise
