"""What evidence is made of: an exhibit runs something and gives a section of docs/evidence.md.

A further exhibit is a module with a value of `Exhibit`, and a line in `tests.prove.registry`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.prove.kept import Kept

Say = Callable[[str], None]
"""Tells how far an exhibit is, in a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is to be run. `deadline_s`: after so long an exhibit stops, and what is missing is a failure."""

    schedules: int = 50_000
    soak_turns: int = 200
    processes: int = 2
    deadline_s: float = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under a header, with what they say in a line before them."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What an exhibit found. `failures` say what did not hold; with none it is green."""

    summary: str  # a line: what ran, and what came of it
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    failures: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """One kind of evidence. `name` is a word for the command line, `title` the heading of its section.

    `covers`: pathspecs of git for what the evidence is about; once one of these files has changed, no release is made
    with it (`release.evidence`). `uv.lock` stands for the libraries. `alone`: it runs only when it is named.
    """

    name: str
    title: str
    covers: tuple[str, ...]
    run: Callable[[Scale, Say, Kept], Section]
    alone: bool = False
