"""Where output goes: results to stdout, messages to stderr; with JSON, nothing else on stdout."""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from textwrap import indent
from typing import TYPE_CHECKING, Any, Final, Literal

from orchestration.cli.formatting import safe
from orchestration.platform.deferred import deferred
from schemas.errors import MusterError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

with deferred(__name__):
    from rich import console, table, text

_ID: Final = re.compile(r"\b(?:[0-9a-hjkmnp-tv-z]{26}|[0-9a-f]{32})\b")
"""Ids are copied by people: a column is as wide as its longest one."""
_STYLES: Final = {
    **dict.fromkeys(("READY", "active", "delivered"), "green"),
    **dict.fromkeys(("FAILED", "given up"), "red"),
    **dict.fromkeys(("CANCELLED", "SUPERSEDED", "paused", "waiting"), "yellow"),
}
_LEAST_WIDTH: Final = 10
"""Least width of other columns. If even that does not fit, the table is wider than the terminal, which breaks lines."""
PIPE_WIDTH: Final = 200
"""Width without a terminal: wide enough that tables are not folded for `grep`."""


@cache
def out() -> "Console":
    """The console of results."""
    return _console(stderr=False)


@cache
def err() -> "Console":
    """The console of messages, progress and errors."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> "Console":
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    # No markup, no emoji codes, no highlighting: names and file contents come from outside.
    return console.Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True, width=width)


def print_note(message: str) -> None:
    """Print a message that is not part of the result."""
    err().print(message)


def print_json(value: Any) -> None:
    """Print the machine-readable result as one document."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def print_json_rows(rows: Iterable[Any]) -> None:
    """Like `print_json` for a list, without holding all of it in memory."""
    start = "["
    for row in rows:
        document = json.dumps(row, indent=2, ensure_ascii=False, default=str)
        sys.stdout.write(f"{start}\n" + indent(document, "  "))
        start = ","
    sys.stdout.write("[]\n" if start == "[" else "\n]\n")


def print_line(line: str, style: str | None = None) -> None:
    """Print one line of the result."""
    out().print(line, style=style)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Print a table of untrusted text; columns in `right` are right-aligned. Long cells are folded, never cut."""
    grid = table.Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    least = 0
    for header, cells in zip(headers, zip(*rows, strict=True) if rows else [()] * len(headers), strict=True):
        id_width = max((len(found) for cell in cells for found in _ID.findall(str(cell))), default=None)
        alone = id_width is not None and all(len(str(cell)) <= id_width for cell in cells)
        justify: Literal["left", "right"] = "right" if header in right else "left"
        grid.add_column(header, justify=justify, overflow="fold", min_width=id_width, no_wrap=alone)
        widest = max((len(str(cell)) for cell in (header, *cells)), default=0)
        least += 2 + (id_width or min(widest, _LEAST_WIDTH))
    for row in rows:
        styles = (state_style(cell) if header == "STATE" else "" for header, cell in zip(headers, row, strict=True))
        grid.add_row(*(text.Text(safe(cell), style=style) for cell, style in zip(row, styles, strict=True)))
    _print_grid(grid, least)


def state_style(state: object) -> str:
    """The colour of a state; never the only way to tell it."""
    return _STYLES.get(str(state), "cyan" if str(state).isupper() else "")


def print_pairs(pairs: Sequence[tuple[str, object]]) -> None:
    """Print names and values, one pair per line."""
    grid = table.Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(name, text.Text(safe(value), style=state_style(value) if name == "state" else ""))
    _print_grid(grid)


def _print_grid(grid: "Table", least: int = 0) -> None:
    """Print a table; into a pipe, without the padding of its last column. `least`: wider than a narrow terminal."""
    if out().is_terminal:
        out().print(grid, soft_wrap=False, crop=False, width=max(out().width, least))
        return
    with out().capture() as captured:
        out().print(grid, soft_wrap=False)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def show_error(error: MusterError) -> None:
    """Print an error as `CODE: message`."""
    message = "\n".join(safe(line) for line in error.message.splitlines())
    err().print(text.Text.assemble((error.code, "bold red"), f": {message}"))
