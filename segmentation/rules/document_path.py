"""Paths in a JSON document, and strict reading of the values there."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from schemas.errors import UserError


@dataclass(frozen=True, slots=True)
class DocumentPath:
    """A path such as `all[0].any`. All methods raise `UserError` BAD_RULE, which names it."""

    path: str

    def at(self, key: str) -> "DocumentPath":
        """The path of a key of the object here."""
        return DocumentPath(f"{self.path}.{key}" if self.path else key)

    def fault(self, what: str) -> UserError:
        """The error at this path."""
        return UserError("BAD_RULE", f"at {self.path or 'the top'}: {what}", path=self.path)

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Add this path to errors that have none."""
        try:
            yield
        except UserError as exc:
            if exc.code == "BAD_RULE" and "path" not in exc.detail:
                raise self.fault(exc.message) from exc
            raise

    def fields(self, given: object, required: Collection[str], optional: Collection[str] = ()) -> Mapping[str, object]:
        """An object with these keys and no others."""
        if not isinstance(given, Mapping):
            raise self.fault("not an object")
        if unknown := sorted(str(key)[:80] for key in given.keys() - {*required, *optional}):
            raise self.fault(f"unknown: {', '.join(unknown[:5])}; known: {', '.join(sorted({*required, *optional}))}")
        if missing := sorted({*required} - given.keys()):
            raise self.fault(f"missing: {', '.join(missing)}")
        return given

    def entries(self, given: object) -> list[tuple["DocumentPath", object]]:
        """A list, each entry with its path."""
        if not isinstance(given, list):
            raise self.fault("not a list")
        return [(DocumentPath(f"{self.path}[{number}]"), entry) for number, entry in enumerate(given)]

    def text(self, given: object) -> str:
        """A text."""
        if not isinstance(given, str):
            raise self.fault("not a string")
        return given

    def integer(self, given: object) -> int:
        """An integer, also when written as 3.0."""
        if isinstance(given, bool) or not isinstance(given, int | float) or given != given // 1:
            raise self.fault("not a whole number")
        return int(given)

    def one_of(self, given: object, words: Collection[str]) -> str:
        """One of these words."""
        if not isinstance(given, str) or given not in words:
            raise self.fault(f"not one of {', '.join(words)}")
        return given
