"""Which events of a user a condition is about."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from schemas.errors import UserError
from segmentation.expressions.nodes import Condition, Presence

MAX_WINDOW_S: Final = 366 * 24 * 60 * 60
MAX_NAME: Final = 255
"""Maximum characters in the name of an event, a property or an attribute."""
NO_DATES: Final = "events have no dates: compare the text, which sorts by time if written as 2026-11-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Events of a name whose properties satisfy all of `where`; `column` of those conditions is a property.

    With `since` and `before`, only those with `since` <= occurred_at < `before`.
    """

    event: str
    where: tuple[Condition, ...] = ()
    since: datetime | None = None
    before: datetime | None = None

    def __post_init__(self) -> None:
        check_name("event", self.event)
        for test in self.where:
            check_name("property", test.column)
            if not isinstance(test, Presence) and test.type in ("date", "timestamp"):
                raise _bad(f"properties of {NO_DATES}")
        if (self.since is None) != (self.before is None):
            raise _bad("events between two times have both of them")
        if self.since is not None and self.before is not None and self.since >= self.before:
            raise _bad("nothing is between these times: write the earlier one first")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnEvents(ABC):
    """A condition on the events of a user with occurred_at <= T: its subclasses say which ones satisfy it."""

    events: Events

    @property
    @abstractmethod
    def true_without_events(self) -> bool:
        """Whether it is true for a known user with no such event."""


def check_name(what: str, name: str) -> None:
    """Raise `UserError` BAD_RULE for an invalid name of an event, a property or an attribute."""
    if not 1 <= len(name) <= MAX_NAME:
        raise _bad(f"the name of an {what} has 1 to {MAX_NAME} characters".replace("an p", "a p"))
    if fault := unusable(name):
        raise _bad(f"the {what} {name[:80]!r} has {fault}")


def unusable(text: str) -> str | None:
    """The part of a text that no value can have. None if there is none."""
    if "\0" in text:
        return "a NUL character"
    if any("\ud800" <= c <= "\udfff" for c in text):
        return "half of a surrogate pair"
    return None


def _bad(what: str) -> UserError:
    return UserError("BAD_RULE", what)
