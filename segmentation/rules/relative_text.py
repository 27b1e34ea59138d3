"""Text of conditions on an attribute that follow the clock, and how it is parsed.

near      = "within" length | "in" ( "last" | "next" ) length [ ".." length ] | length ".." length "ago"
          | "over" length "ago" | ( ">" | "<=" ) "now" [ ( "+" | "-" ) length ]
today     = operator "today" [ ( "+" | "-" ) days ]
between   = "between" ( value | today ) "and" ( value | today )
anniversary = "anniversary" "(" attribute ")" ( "=" "today" | "in" ( "last" | "next" ) days )

These words are not reserved: they stand where no other condition can go on. Names may have hyphens, so blanks decide:
`today - 7d` is a difference, `today-7d` a name.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, cast

from schemas.columns import ColumnType
from segmentation.expressions.cursor import Cursor
from segmentation.expressions.lexer import Token
from segmentation.expressions.literals import literal, value
from segmentation.expressions.nodes import OPERATORS, Operator, Value
from segmentation.rules.relative import DAY_S, Anniversary, Between, Distance, Near, Today, TodayComparison
from segmentation.rules.windows import MINUTES, is_ambiguous, window, window_text

WORDS: Final = ("now", "today")
ANNIVERSARY: Final = "as in: anniversary(born) = today, anniversary(born) in next 7d"
ENDS: Final = (
    "with now there are > and <=: at that very moment a time is not after now; write > now for times to come and "
    "<= now for past ones"
)


@dataclass(frozen=True, slots=True)
class RelativeReader:
    """Parses what follows the name of an attribute. `zone` refuses a token that needs a time zone if there is none.

    `type_of` gives the type to read a token as. All methods raise `UserError` BAD_RULE, which points at a character.
    """

    cursor: Cursor
    timezone: str | None
    type_of: Callable[[Token], ColumnType]
    zone: Callable[[Token], object]
    pointing: Callable[[int], AbstractContextManager[None]]
    stored: bool = False

    def condition(self, name: str) -> Near | TodayComparison | Between | None:
        """Parse what follows an attribute; None, with nothing taken, if it is none of these."""
        cursor, token = self.cursor, self.cursor.token
        with self.pointing(token.at):
            if token.kind == "word" and token.text.lower() == "between":
                return self._between(name)
            if self._compares(token) and self._moving(cursor.following) == "today":
                operator = cast(Operator, cursor.take().text)
                return TodayComparison(column=name, operator=operator, value=self._today())
            if (distance := self.distance()) is None:
                return None
            if distance.is_of_days and self.timezone is None:
                raise cursor.source.fault(
                    token.at, "dates are compared by whole days, which begin in a time zone: give a zone"
                )
            return Near(column=name, distance=distance)

    def distance(self) -> Distance | None:
        """Parse how far from now a time is; None, with nothing taken, if the text does not say so."""
        cursor, token, following = self.cursor, self.cursor.token, self.cursor.following
        word = token.text.lower() if token.kind == "word" else ""
        with self.pointing(token.at):
            if self._compares(token) and self._moving(following) == "now":
                return self._now(cast(Operator, cursor.take().text), token)
            near = word in ("within", "over") or token.kind == "duration"
            if near or (word == "in" and following.kind in ("word", "duration")):
                return self._near()
        return None

    def anniversary(self, name: str) -> Anniversary:
        """Parse what follows the parentheses of an anniversary."""
        cursor, token = self.cursor, self.cursor.token
        self.zone(token)
        with self.pointing(token.at):
            if cursor.symbol("="):
                if not cursor.word("today"):
                    cursor.refuse(f"today, {ANNIVERSARY}")
                return Anniversary(column=name, first_day=0, last_day=0)
            if not cursor.word("in"):
                cursor.refuse(f"= today, in next or in last, {ANNIVERSARY}")
            following = cursor.word("next")
            if not (following or cursor.word("last")):
                cursor.refuse(f"next or last and some days, {ANNIVERSARY}")
            more = self._days() - 1
            return Anniversary(column=name, first_day=0 if following else -more, last_day=more if following else 0)

    def _near(self) -> Distance:
        cursor = self.cursor
        after_s: int | None
        if cursor.word("within"):
            after_s, until_s = -self._length(), 0
        elif cursor.word("over"):
            after_s, until_s = None, -self._length()
            self._ago()
        elif cursor.word("in"):
            following = cursor.word("next")
            if not (following or cursor.word("last")):
                cursor.refuse("last or next and a length, as in: signed_up in last 7d; or values in parentheses")
            nearer, farther = self._lengths(single=True)
            after_s, until_s = (nearer, farther) if following else (-farther, -nearer)
        else:
            nearer, farther = self._lengths(single=False)
            after_s, until_s = -farther, -nearer
            self._ago()
        return Distance(after_s=after_s, until_s=until_s)

    def _lengths(self, *, single: bool) -> tuple[int, int]:
        """`7d..30d`, in seconds; where a single length is allowed, it begins now."""
        at, first = self.cursor.token.at, self._length()
        if not self.cursor.symbol(".."):
            if single:
                return 0, first
            self.cursor.refuse("two lengths, as in: 30d..90d ago; or: over 90d ago, in last 90d")
        farther = self._length()
        if first >= farther:
            raise self.cursor.source.fault(at, "the nearer end comes first, as in: 30d..90d ago")
        return first, farther

    def _ago(self) -> None:
        if not self.cursor.word("ago"):
            self.cursor.refuse("ago, as in: signed_up over 90d ago, signed_up 30d..90d ago")

    def _now(self, operator: Operator, token: Token) -> Distance:
        self.cursor.take()
        if operator not in (">", "<="):
            raise self.cursor.source.fault(token.at, ENDS)
        end, sign = 0, self.cursor.token
        if self.cursor.symbol("+") or self.cursor.symbol("-"):
            end = self._length() * (1 if sign.text == "+" else -1)
        return Distance(after_s=end, until_s=None) if operator == ">" else Distance(after_s=None, until_s=end)

    def _compares(self, token: Token) -> bool:
        return token.kind == "symbol" and token.text in OPERATORS

    def _between(self, name: str) -> Between:
        self.cursor.take()
        low_type, low = self._end()
        if not self.cursor.word("and"):
            self.cursor.refuse("and and the higher end, as in: age between 18 and 30")
        at = self.cursor.token
        high_type, high = self._end()
        if high_type != low_type:
            raise self.cursor.source.fault(at.at, f"both ends have one type; {at} is no {low_type}")
        return Between(column=name, type=low_type, low=low, high=high)

    def _end(self) -> tuple[ColumnType, Value | Today]:
        token = self.cursor.token
        match self._moving(token):
            case "today":
                return "date", self._today()
            case "now":
                raise self.cursor.source.fault(token.at, "between has days, not now: write in last 7d, in next 7d")
        type_ = self.type_of(token)
        return type_, value(self.cursor.source, self.cursor.take(), type_, self.timezone)

    def _today(self) -> Today:
        self.zone(self.cursor.take())
        sign = self.cursor.token
        if not (self.cursor.symbol("+") or self.cursor.symbol("-")):
            return Today()
        token = self.cursor.token
        days = self._days()
        with self.pointing(token.at):
            return Today(days=days if sign.text == "+" else -days)

    def _days(self) -> int:
        token = self.cursor.token
        days, rest = divmod(self._length(), DAY_S)
        if rest:
            raise self.cursor.source.fault(token.at, "from today it is whole days, as in: today + 7d; hours follow now")
        return days

    def _moving(self, token: Token) -> str | None:
        """`now` or `today`, if this token says so."""
        if token.kind != "word":
            return None
        word, hyphen, _ = token.text.lower().partition("-")
        if word in WORDS and hyphen:
            message = f"{token.text[:80]} is a name, as names have hyphens: with blanks, {word} - 7d is a difference"
            raise self.cursor.source.fault(token.at, message)
        return word if word in WORDS else None

    def _length(self) -> int:
        token = self.cursor.token
        seconds = window(token.text) if token.kind == "duration" else None
        if not seconds:
            self.cursor.refuse("a length as in 7d, 12h, 30m, 90s or 1d12h; months and years have no exact length")
        if is_ambiguous(token.text) and not self.stored:
            self.cursor.refuse(MINUTES)
        self.cursor.take()
        return seconds


def relative_text(condition: Near | TodayComparison | Between | Anniversary, name: str) -> str:
    """One condition on the attribute that is written so."""
    match condition:
        case Near(distance=distance):
            return f"{name} {distance_text(distance)}"
        case TodayComparison(operator=operator, value=today):
            return f"{name} {operator} {end_text(today)}"
        case Between(low=low, high=high):
            return f"{name} between {end_text(low)} and {end_text(high)}"
        case Anniversary(first_day=first, last_day=last):
            days = last - first + 1
            return f"anniversary({name}) " + ("= today" if days == 1 else f"in {'next' if last else 'last'} {days}d")


def end_text(end: Value | Today) -> str:
    """A value, or a day relative to today."""
    return _moved_text("today", end.days * DAY_S) if isinstance(end, Today) else literal(end)


def distance_text(distance: Distance) -> str:
    """How far from now a time is."""
    after_s, until_s = distance.after_s, distance.until_s
    if after_s is None:
        assert until_s is not None  # noqa: S101  # one of them is set
        return f"over {window_text(-until_s)} ago" if until_s < 0 else f"<= {_moved_text('now', until_s)}"
    if until_s is None:
        return f"> {_moved_text('now', after_s)}"
    if until_s == 0:
        return f"in last {window_text(-after_s)}"
    if after_s == 0:
        return f"in next {window_text(until_s)}"
    if until_s < 0:
        return f"{window_text(-until_s)}..{window_text(-after_s)} ago"
    return f"in next {window_text(after_s)}..{window_text(until_s)}"


def _moved_text(word: str, seconds: int) -> str:
    return f"{word} {'+' if seconds > 0 else '-'} {window_text(abs(seconds))}" if seconds else word
