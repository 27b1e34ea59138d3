"""Texts in English and Japanese: `texts/*.toml`, by key."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, get_args

Language = Literal["en", "ja"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
FOLDER: Final = Path(__file__).with_name("texts")
Text = str | Mapping[str, str]
"""One text, or one for each plural category of CLDR (`one`, `other`), by `count`."""


@cache
def catalogue() -> Mapping[str, Mapping[str, Text]]:
    """All texts by key, in each language."""
    found: dict[str, Mapping[str, Text]] = {}
    for file in sorted(FOLDER.glob("*.toml")):
        for key, entry in _entries(tomllib.loads(file.read_text("utf-8")), ""):
            if key in found:
                raise ValueError(f"{file.name}: {key} has a text elsewhere")
            found[key] = entry
    return found


def _entries(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Text]]]:
    for name, value in table.items():
        if value.keys() & set(LANGUAGES):
            yield prefix + name, value
        else:
            yield from _entries(value, f"{prefix}{name}.")


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of one language."""

    language: Language

    def __call__(self, key: str, **values: object) -> str:
        """The text of a key, with values in its places. Numbers get their separators. Raises KeyError."""
        text = catalogue()[key][self.language]
        if not isinstance(text, str):
            text = text[self._category(values["count"])]
        return text.format_map({name: shown(value) for name, value in values.items()})

    def has(self, key: str) -> bool:
        """Whether there is a text: later releases may have more codes."""
        return key in catalogue()

    @property
    def comma(self) -> str:
        """What stands between the members of a list."""
        return "、" if self.language == "ja" else ", "

    def _category(self, count: object) -> str:
        return "one" if count == 1 and self.language == "en" else "other"


def shown(value: object) -> str:
    """A value as both languages write it: 1,234."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def preferred(accepted: str) -> Language:
    """The supported language that a header Accept-Language prefers, else English."""
    best: Language = "en"
    best_weight = 0.0
    for part in accepted[:1000].split(","):
        tag, _, rest = part.strip().partition(";")
        primary = tag.partition("-")[0].strip().lower()
        try:
            weight = float(rest.strip().removeprefix("q=")) if rest else 1.0
        except ValueError:
            continue
        for known in LANGUAGES:
            if primary == known and weight > best_weight:
                best, best_weight = known, weight
    return best
