"""What the archive has of one user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from connectors.lake.activity_relations import Activity
from schemas.activity import ATTRIBUTES, OFFSET, PROPERTIES, SOURCE_ORDINAL
from schemas.activity_columns import DELETED
from schemas.sql_text import identifier

if TYPE_CHECKING:
    import duckdb

LATEST: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsOfName:
    """Events of one name, copies included."""

    event: str
    count: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OneEvent:
    """An event with its properties."""

    event: str
    event_id: str | None
    occurred_at: datetime
    properties: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserActivity:
    """`attributes`: the latest values. `latest`: the latest `LATEST` events, newest first.

    `profile_changes`: how many there are; a user with neither these nor events is not known.
    """

    attributes: Mapping[str, object]
    profile_changes: int
    events: Sequence[EventsOfName]
    latest: Sequence[OneEvent]


def user_activity(connection: "duckdb.DuckDBPyConnection", activity: Activity, user: str) -> UserActivity:
    """What is known of a user."""
    rows = f"FROM ({activity.event_rows()}) WHERE user_id = ?"
    counted = connection.execute(
        f"SELECT event, count(*), min(occurred_at), max(occurred_at) {rows} GROUP BY event ORDER BY event", [user]
    ).fetchall()
    latest = connection.execute(
        f"SELECT event, given_id, occurred_at, {PROPERTIES} {rows} ORDER BY occurred_at DESC LIMIT {LATEST}", [user]
    ).fetchall()
    offset, ordinal = identifier(OFFSET), identifier(SOURCE_ORDINAL)
    changes = connection.execute(
        f"SELECT {DELETED}, {ATTRIBUTES} FROM ({activity.profile_rows()}) WHERE user_id = ? "  # noqa: S608  # ours
        f"ORDER BY {offset}, coalesce({ordinal}, 0)",
        [user],
    ).fetchall()
    attributes: dict[str, Any] = {}
    for deleted, changed in changes:
        if deleted:
            attributes.clear()
        attributes |= _set_values(changed)
    return UserActivity(
        attributes={name: value for name, value in sorted(attributes.items()) if value is not None},
        profile_changes=len(changes),
        events=[EventsOfName(event=e, count=n, first_at=first, last_at=last) for e, n, first, last in counted],
        latest=[
            OneEvent(event=e, event_id=id_, occurred_at=at, properties=_set_values(properties))
            for e, id_, at, properties in latest
        ],
    )


def _set_values(values: Mapping[str, Mapping[str, object] | None] | None) -> dict[str, object]:
    """By name, the value of the type that has one."""
    return {
        name: None if value is None else next((one for one in value.values() if one is not None), None)
        for name, value in (values or {}).items()
    }
