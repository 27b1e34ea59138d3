"""What the values of a text column speak for: its type, values that mean "none", and the ones that do not fit."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.sources.findings import Finding, names_shown, quoted
from connectors.sources.typed_columns import convert_text
from schemas.activity_columns import ATTRIBUTE_TYPES, PROPERTY_TYPES
from schemas.columns import Column, ColumnType, ImportKind

EXAMPLES: Final = 3
EXAMPLE_CHARACTERS: Final = 60
MENTIONED: Final = 0.9
"""Share of values that must fit a type for it to be mentioned: below that, the column is text of several kinds."""
SUGGESTED: Final = 0.99
"""Share from which the type is suggested and its misfits rejected.

Typing errors are rarer than one value in a hundred. What is more frequent is meant, such as house numbers "12a", and
its users must not be lost to whoever runs the suggested command.
"""
SIGNIFICANT_ZERO: Final = r"^[+-]?0[0-9]"
"""A number with a leading zero is a code (post, phone) and must keep the zero."""
NULL_TEXTS: Final = (
    *("NA", "N/A", "n/a", "<NA>", "#N/A", "NaN", "nan", "NAN", "null", "NULL", "Null", "None", "NONE", "none"),
    *("nil", "NIL", "undefined", "\\N", "-", "--"),
)
"""Texts that programs write where they have no value."""
MISFITS: Final = ("mostly_typed", "null_like_id", "null_like_value")
"""Codes of findings about values that do not fit the suggested import."""
TYPE_WORDS: Final[dict[ColumnType, str]] = {
    "long": "whole numbers",
    "double": "numbers",
    "boolean": "true or false",
    "date": "dates (YYYY-MM-DD)",
    "timestamp": "times",
}


@dataclass(slots=True)
class Guess:
    """A candidate type of a text column, and the values that do not fit it; `first` has the first ones with rows."""

    type: ColumnType
    misfits: int = 0
    local_time: bool = False
    first: list[tuple[int, str]] = field(default_factory=list)

    def look_at(self, texts: pa.Array, ordinals: pa.Array) -> bool:
        """False if the values cannot have this type."""
        if self.type in ("long", "double") and pc.any(pc.match_substring_regex(texts, SIGNIFICANT_ZERO)).as_py():
            return False
        column = Column(name="guess", type=self.type)
        bad = convert_text(texts, column, (), None).bad
        if bad is not None and self.type == "timestamp":
            strict, bad = bad, convert_text(texts, column, (), "UTC").bad
            self.local_time = self.local_time or bad is None or bool((strict & ~bad).any())
        if bad is not None:
            self.misfits += int(bad.sum())
            for row in np.flatnonzero(bad)[: EXAMPLES - len(self.first)].tolist():
                self.first.append((ordinals[row].as_py() + 1, texts[row].as_py()[:EXAMPLE_CHARACTERS]))
        return True


@dataclass(slots=True)
class ColumnEvidence:
    """Facts about the values of one column so far. `may_be_null`: whether texts can be declared to mean "no value"."""

    guesses: list[Guess]
    may_be_null: bool
    nulls: int = 0
    texts: int = 0
    """Number of texts other than null-like ones."""
    null_like: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def look_at(self, values: pa.Array, ordinals: pa.Array) -> None:
        """Take more values; `ordinals` are those of their rows."""
        self.nulls += values.null_count
        if values.null_count:
            known = values.is_valid()
            values, ordinals = values.filter(known), ordinals.filter(known)
        for value in values[: EXAMPLES * 4].to_pylist():
            text = str(value)[:EXAMPLE_CHARACTERS]
            if len(self.examples) < EXAMPLES and text not in self.examples:
                self.examples.append(text)
        if not pa.types.is_string(values.type):
            return
        if self.may_be_null:
            null_like = pc.is_in(values, value_set=pa.array(NULL_TEXTS))
            if pc.any(null_like).as_py():
                self.null_like.update(values.filter(null_like).to_pylist())
                others = pc.invert(null_like)
                values, ordinals = values.filter(others), ordinals.filter(others)
        self.texts += len(values)
        if len(values):
            self.guesses = [g for g in self.guesses if g.look_at(values, ordinals) and 2 * g.misfits <= self.texts]

    def best(self) -> Guess | None:
        """The likeliest type other than text, if at least `MENTIONED` of the values fit it."""
        best = min(self.guesses, key=lambda guess: guess.misfits, default=None) if self.texts else None
        return best if best is not None and best.misfits <= (1 - MENTIONED) * self.texts else None

    @property
    def has_local_times(self) -> bool:
        """Whether some of the texts are times without an offset."""
        return any(guess.local_time for guess in self.guesses)

    def suggests(self, guess: Guess) -> bool:
        """Whether so many values fit that the few others are mistakes."""
        return guess.misfits <= (1 - SUGGESTED) * self.texts


def mostly_typed(column: Column, seen: ColumnEvidence, guess: Guess, kind: ImportKind, tolerated: str) -> list[Finding]:
    """What does not fit a type that nearly all values have; none if a `kind` has no such columns.

    `tolerated`: the share of rejects with which an import that uses the type would succeed.
    """
    type_: ColumnType = "double" if kind != "audience" and guess.type == "long" else guess.type
    if kind != "audience" and type_ not in (PROPERTY_TYPES if kind == "events" else ATTRIBUTE_TYPES):
        return []
    percent = f"{min(100 * (1 - guess.misfits / seen.texts), 99.9):.1f} %"
    examples = ", ".join(f"{text!r} (row {row:,})" for row, text in guess.first)
    if suggested := seen.suggests(guess):
        outcome = f"The suggested import reads it as {type_} and rejects these rows; to keep them as text"
        options = f"--column {quoted(column.notation)}"
    else:
        outcome = f"The suggested import keeps it as text; to read it as {type_} and reject these rows"
        options = f"--column {quoted(replace(column, type=type_).notation)} --max-reject-share {tolerated}"
    return [
        Finding(
            code="mostly_typed",
            message=f"the column {column.file_name!r} is {percent} {TYPE_WORDS[type_]}; {guess.misfits:,} of "
            f"{seen.texts:,} values do not fit, such as {examples}. {outcome}",
            column=column.file_name,
            suggestion=options,
            detail={
                "percent": percent,
                "type": type_,
                "misfits": guess.misfits,
                "values": seen.texts,
                "examples": [{"row": row, "text": text} for row, text in guess.first],
                "rejects": suggested,
            },
        )
    ]


def null_like_values(column: Column, guess: Guess, texts: Counter[str]) -> Finding:
    """Texts such as `NA` in a column of another type."""
    return Finding(
        code="null_like_value",
        message=f"{texts.total():,} values of the column {column.file_name!r} are {names_shown(sorted(texts))} instead "
        f"of {TYPE_WORDS[guess.type]}. The suggested import reads these texts as no value, in every column",
        column=column.file_name,
        suggestion=_null_options(texts),
        detail={"count": texts.total(), "texts": sorted(texts), "type": guess.type},
    )


def null_like_ids(id_column: str, texts: Counter[str], *, can_be_null: bool) -> Finding:
    """Ids such as `NA`: all rows of one text would be one user."""
    outcome = (
        "The suggested import rejects these rows; to keep them as users, leave out --null"
        if can_be_null
        else "Remove these rows, or make the ids null, unless these are users"
    )
    return Finding(
        code="null_like_id",
        message=f"{texts.total():,} rows have the id {names_shown(sorted(texts))}, which often stands for no id; as an "
        f"id, each of these texts is one user. {outcome}",
        column=id_column,
        suggestion=_null_options(texts) if can_be_null else None,
        detail={"count": texts.total(), "texts": sorted(texts), "rejects": can_be_null},
    )


def _null_options(texts: Iterable[str]) -> str:
    return " ".join(f"--null {quoted(text)}" for text in ("", *sorted(texts)))
