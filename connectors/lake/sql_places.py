"""Shows where in a query, as it was written, DuckDB found an error.

The query that runs is made of the checked tree and names internal views: its text and its positions are not the user's.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from connectors.lake.sql_tree import Tree
from segmentation.expressions.source import line_with_caret

CONTEXT_CHARACTERS: Final = 35
"""Characters on either side of a place that is shown: with its label, the line fits a terminal."""
MESSAGE_CHARACTERS: Final = 800
"""Of a message, which may list dozens of candidates."""
ERRORS_AS_JSON: Final = "SET errors_as_json = true"
"""The setting that `errors_as_written` needs."""
_ERROR: Final = re.compile(r"([A-Za-z -]+ Error): (\{.*\})", re.DOTALL)


def marked(text: str, position: object) -> str:
    """The line of a query with a caret below one of its characters, as DuckDB shows it; empty without a position."""
    if not str(position).isdecimal() or int(str(position)) > len(text):
        return ""
    at = int(str(position))
    lines_before = text.count("\n", 0, at)
    return "\n\n" + line_with_caret(text, at, around=CONTEXT_CHARACTERS, label=f"LINE {lines_before + 1}: ")


@contextmanager
def errors_as_written(text: str, tree: Tree, parse: Callable[[], Tree]) -> Iterator[None]:
    """Give DuckDB's errors their plain message, with their place in `text`.

    `tree`: of `text`, with calls replaced; `parse` returns the tree of the query that runs, which was made of it.
    """
    import duckdb

    try:
        yield
    except duckdb.Error as exc:
        if found := _ERROR.fullmatch(str(exc)):
            said = json.loads(found[2])
            mark = marked(text, _written(said["position"], text, tree, parse())) if "position" in said else ""
            exc.args = (f"{found[1]}: {said['exception_message'].rstrip()[:MESSAGE_CHARACTERS]}{mark}",)
        raise


def _written(position: str, text: str, tree: Tree, executed: Tree) -> int | None:
    """The character of `text` for a position in the query that runs. None if it has no counterpart."""
    places = dict(_places(executed, tree))
    found = places.get(int(position))
    # The tree counts the bytes of the text.
    return None if found is None else len(text.encode()[:found].decode(errors="ignore"))


def _places(executed: Tree, written: Tree) -> Iterator[tuple[int, int]]:
    """The positions of the same nodes in two trees of the same shape. Not recursive, as trees may be very deep."""
    waiting: list[tuple[Any, Any]] = [(executed, written)]
    while waiting:
        match waiting.pop():
            case dict() as one, dict() as other:
                if "query_location" in one and "query_location" in other:
                    yield one["query_location"], other["query_location"]
                waiting += [(one[name], other[name]) for name in one.keys() & other.keys()]
            case list() as one, list() as other:
                waiting += zip(one, other, strict=False)
