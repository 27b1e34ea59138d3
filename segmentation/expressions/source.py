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
        return UserError(
            self.code, f"at character {position}: {what}", position=position, marked=self._marked(position - 1)
        )

    def _marked(self, at: int) -> str:
        begin = max(self.text.rfind("\n", 0, at) + 1, at - CONTEXT_CHARACTERS)
        before, after = self.text[begin:at], self.text[at : at + CONTEXT_CHARACTERS].partition("\n")[0]
        return f"{_shown(before)}{_shown(after)}\n{' ' * sum(map(_width, before))}^"


def _shown(text: str) -> str:
    """One line for a terminal, with blanks for characters that cannot be printed."""
    return "".join(c if c.isprintable() else " " for c in text)


def _width(character: str) -> int:
    return 2 if east_asian_width(character) in "WF" else 1
