"""The names of events, properties and attributes in the archive, with the types of their values.

Only the newest files are read, up to a number of rows: names that came up long ago and never again are of little use.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from connectors.lake.activity_relations import Activity
from connectors.lake.archive_tables import ArchivedFile
from schemas.activity import ATTRIBUTES, PROPERTIES
from schemas.activity_columns import ATTRIBUTE_TYPES, PROPERTY_TYPES
from schemas.columns import ColumnType
from schemas.sql_text import identifier

if TYPE_CHECKING:
    import duckdb

MOST_ROWS: Final = 1_000_000
MOST_NAMES: Final = 10_000
Types = tuple[ColumnType, ...]


def seen_events(
    connection: "duckdb.DuckDBPyConnection", activity: Activity
) -> tuple[dict[str, dict[str, Types]], bool]:
    """By event, its properties with their types; and whether all events of the archive were read."""
    files, complete = _newest(activity.events)
    rows = replace(activity, events=files).event_rows()
    found: dict[str, dict[str, Types]] = {}
    for (event,) in connection.execute(f"SELECT DISTINCT event FROM ({rows}) LIMIT {MOST_NAMES}").fetchall():  # noqa: S608  # ours
        found[event] = {}
    sql = f"""SELECT event, {_typed(PROPERTY_TYPES)}
        FROM (SELECT event, unnest(map_entries({PROPERTIES})) AS one FROM ({rows}))
        GROUP BY event, one.key LIMIT {MOST_NAMES}"""  # noqa: S608  # ours
    for event, name, *values in connection.execute(sql).fetchall():
        found.setdefault(event, {})[name] = _types(PROPERTY_TYPES, values)
    return found, complete


def seen_attributes(connection: "duckdb.DuckDBPyConnection", activity: Activity) -> tuple[dict[str, Types], bool]:
    """By attribute, its types; and whether all profile changes of the archive were read."""
    files, complete = _newest(activity.profiles)
    rows = replace(activity, profiles=files).profile_rows()
    sql = f"""SELECT {_typed(ATTRIBUTE_TYPES)} FROM (SELECT unnest(map_entries({ATTRIBUTES})) AS one FROM ({rows}))
        GROUP BY one.key LIMIT {MOST_NAMES}"""  # noqa: S608  # ours
    found = {name: _types(ATTRIBUTE_TYPES, values) for name, *values in connection.execute(sql).fetchall()}
    return found, complete


def events_with(
    connection: "duckdb.DuckDBPyConnection", activity: Activity, properties: Sequence[str]
) -> dict[str, list[str]]:
    """By property, the events that have it in the newest files, the most frequent first."""
    files, _ = _newest(activity.events)
    rows = replace(activity, events=files).event_rows()
    sql = f"""SELECT name, event FROM (SELECT event, unnest(map_keys({PROPERTIES})) AS name FROM ({rows}))
        WHERE list_contains(?, name) GROUP BY name, event ORDER BY count(*) DESC, event LIMIT {MOST_NAMES}"""  # noqa: S608  # ours
    found: dict[str, list[str]] = {}
    for name, event in connection.execute(sql, (list(properties),)).fetchall():
        found.setdefault(name, []).append(event)
    return found


def _newest(files: Sequence[ArchivedFile]) -> tuple[list[ArchivedFile], bool]:
    """The newest files of each partition in turn, up to the number of rows; and whether these are all."""
    by_age = sorted(files, key=lambda file: file.key.end_offset, reverse=True)
    taken, rows = list[ArchivedFile](), 0
    for file in by_age:
        if taken and rows + file.rows > MOST_ROWS:
            return taken, False
        taken.append(file)
        rows += file.rows
    return taken, True


def _typed(types: Sequence[ColumnType]) -> str:
    return ", ".join(["one.key", *(f"count(one.value.{identifier(type_)}) > 0" for type_ in types)])


def _types(types: Sequence[ColumnType], values: Sequence[bool]) -> Types:
    return tuple(type_ for type_, has in zip(types, values, strict=True) if has)
