"""Events and profiles of a tenant as tables of `muster sql`: each event once, and each user's attributes now."""

from datetime import datetime

from connectors.lake.activity_relations import Activity
from schemas.activity import ATTRIBUTES, OFFSET, PROPERTIES, SOURCE_ORDINAL
from schemas.activity_columns import ATTRIBUTE_TYPES, DELETED
from schemas.columns import USER_ID
from schemas.sql_text import identifier, literal
from segmentation.expressions.dialects import DUCKDB
from segmentation.expressions.sql import parameter


def events_table(activity: Activity, *, event: str | None, since: datetime | None, until: datetime | None) -> str:
    """user_id, event, occurred_at, event_id, properties: MAP from name to a struct with a field for each type.

    Events of one name or of all, with `since` <= occurred_at < `until` (aware). Copies of an event are one row.
    """
    conditions = [f"event = {literal(event)}"] if event is not None else []
    conditions += [f"occurred_at >= {moment_sql(since)}"] if since is not None else []
    conditions += [f"occurred_at < {moment_sql(until)}"] if until is not None else []
    rows = f"FROM ({activity.event_rows()}) AS found WHERE {' AND '.join(conditions) or 'true'}"
    return (
        f"SELECT {USER_ID}, event, occurred_at, any_value(given_id) AS event_id, "
        f"arg_min({PROPERTIES}, {identifier(OFFSET)}) AS {PROPERTIES} {rows} "
        f"GROUP BY {USER_ID}, event, occurred_at, found.event_id"
    )


def profiles_table(activity: Activity) -> str:
    """user_id, attributes: MAP from name to a struct with a field for each type. Users without attributes are no row.

    Of each attribute its latest value; a deleted profile has none of those before.
    """
    place = DUCKDB.place(identifier(OFFSET), f"coalesce({SOURCE_ORDINAL}, 0)")
    is_set = " OR ".join(f"value.{identifier(type_)} IS NOT NULL" for type_ in ATTRIBUTE_TYPES)
    return f"""
        WITH changes AS (SELECT {USER_ID}, {DELETED}, {ATTRIBUTES}, {place} AS place FROM ({activity.profile_rows()})),
        deletions AS (SELECT {USER_ID}, max(place) AS place FROM changes WHERE {DELETED} GROUP BY {USER_ID}),
        entries AS (
            SELECT {USER_ID}, place, unnest(map_entries({ATTRIBUTES})) AS entry FROM changes WHERE NOT {DELETED}
        ),
        latest AS (
            SELECT entries.{USER_ID}, entry.key AS name, {DUCKDB.latest("entry.value", "entries.place")} AS value
            FROM entries LEFT JOIN deletions ON deletions.{USER_ID} = entries.{USER_ID}
            WHERE deletions.place IS NULL OR entries.place > deletions.place
            GROUP BY entries.{USER_ID}, entry.key
        )
        SELECT {USER_ID}, map_from_entries(list((name, value) ORDER BY name)) AS {ATTRIBUTES}
        FROM latest WHERE {is_set} GROUP BY {USER_ID}
    """  # noqa: S608  # ours


def moment_sql(at: datetime) -> str:
    """An instant."""
    return DUCKDB.moment(str(parameter(at)))
