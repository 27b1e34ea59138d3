"""What a person should know about a file before its import: why, and what to do about it."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

FindingCode = Literal[
    "encoding",
    "separator",
    "no_rows",
    "most_rows_rejected",
    "mostly_typed",
    "null_like_id",
    "null_like_value",
    "local_times",
    "doubled_column",
    "columns_not_kept",
    "decimals",
    "type_not_kept",
    "too_many_columns",
    "not_of_this_kind",
]
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding about a file.

    `message`: what was found and why it matters. `suggestion`: text to paste, which is a shell command or options of
    `muster import`. `blocking`: an import makes no sense before this is mended, so none is suggested. `detail`: the
    values in the message, for its translations.
    """

    code: FindingCode
    message: str
    column: str | None = None
    suggestion: str | None = None
    blocking: bool = False
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hint(self) -> str:
        """The finding as one sentence."""
        return self.message if self.suggestion is None else f"{self.message}: {self.suggestion}"

    def as_record(self) -> dict[str, object]:
        """Plain JSON data."""
        return {
            "code": self.code,
            "message": self.message,
            "column": self.column,
            "suggestion": self.suggestion,
            "blocking": self.blocking,
            "detail": dict(self.detail),
        }


def names_shown(names: Sequence[str]) -> str:
    """Names for a message, the first ten."""
    return ", ".join(map(repr, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def quoted(word: str) -> str:
    """A word for a POSIX shell; control characters as escapes, which a terminal shows and a shell reads."""
    if CONTROL.search(word) is None:
        return shlex.quote(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'").replace("\t", "\\t")
    return "$'" + CONTROL.sub(lambda c: f"\\u{ord(c[0]):04x}", escaped) + "'"


def reject_share(rejected: int, rows: int) -> str:
    """The smallest share of four decimals that tolerates so many rejects."""
    return f"{min(rejected / rows + 0.00005, 1):.4f}"
