"""The vocabulary of evidence: an exhibit runs something and returns a section of docs/evidence.md.

To add an exhibit, write a module with a value of `Exhibit`, and add it to `tests.prove.registry`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.prove.kept import Kept

Say = Callable[[str], None]
"""Reports the progress of an exhibit in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much to run. `deadline_s`: an exhibit stops after this time, and whatever is missing is a failure."""

    schedules: int = 50_000
    soak_turns: int = 200
    burst_files: int = 1_000
    rules: int = 200
    processes: int = 2
    deadline_s: float = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under a header, with a line of text before them."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What an exhibit found. `failures` say what did not hold; without any, the exhibit is green."""

    summary: str  # a line: what ran, with what result
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    failures: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """One kind of evidence. `name` is a word for the command line, `title` the heading of its section.

    `covers`: git pathspecs of what the evidence is about. Once one of these files has changed, the evidence is too old
    for a release (`release.evidence`). `uv.lock` stands for the libraries. `alone`: runs only when named.
    """

    name: str
    title: str
    covers: tuple[str, ...]
    run: Callable[[Scale, Say, Kept], Section]
    alone: bool = False
