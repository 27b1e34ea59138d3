"""The text that a user wrote, and errors that point at a character of it."""

from dataclasses import dataclass
from typing import Final, Literal
from unicodedata import east_asian_width

from schemas.errors import UserError

MAX_CHARACTERS: Final = 64 * 1024
CONTEXT_CHARACTERS: Final = 60
"""Characters that an error shows on either side of the one it points at."""

Code = Literal["BAD_FILTER", "BAD_RULE", "UNKNOWN_AUDIENCE", "UNKNOWN_SEGMENT", "SEGMENT_CYCLE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A text, and the code of the errors in it."""

    text: str
    code: Code

    def __post_init__(self) -> None:
        if len(self.text) > MAX_CHARACTERS:
            raise UserError(
                self.code,
                f"{len(self.text)} characters exceed the limit of {MAX_CHARACTERS}",
                characters=len(self.text),
            )

    def fault(self, at: int, what: str) -> UserError:
        """The error at this character. Its detail has the position, from 1, and the line with a caret."""
        position = min(at, len(self.text)) + 1
        marked = line_with_caret(self.text, position - 1, around=CONTEXT_CHARACTERS)
        return UserError(self.code, f"at character {position}: {what}", position=position, marked=marked)


def line_with_caret(text: str, at: int, *, around: int, label: str = "") -> str:
    """The line of a character after a label, with a caret below it; `around`: how many are shown on either side.

    Characters that cannot be printed are shown as blanks. The caret is right in a terminal: characters of twice the
    width, such as Japanese ones, have two blanks below them.
    """
    before = label + text[max(text.rfind("\n", 0, at) + 1, at - around) : at]
    line = before + text[at : at + around].partition("\n")[0]
    shown = "".join(c if c.isprintable() else " " for c in line)
    return f"{shown}\n{' ' * sum(map(_width, before))}^"


def _width(character: str) -> int:
    return 2 if east_asian_width(character) in "WF" else 1
