"""Requests of schedules in the form in which they are given, so that an edit is checked like a creation."""

from collections.abc import Mapping
from typing import Any, Final

from orchestration.catalog.schedules import Schedule
from schemas.errors import UserError
from schemas.import_targets import kind_of_target
from schemas.layout import s3_uri

NULL_TEXT: Final = "\\N"
_PARTS: Final = ("format", "shape", "changes")
"""Members that are merged: what an edit does not name stays."""
_SOURCES: Final = {"source", "list", "sql"}


def edited_request(schedule: Schedule, changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The request of a schedule with `changes`: {kind: members}. Null removes a setting of an import.

    Raises `UserError` BAD_SCHEDULE if the changes are for another kind of schedule.
    """
    if other := changes.keys() - {schedule.kind}:
        raise UserError(
            "BAD_SCHEDULE",
            f"schedule {schedule.name} is one of {schedule.kind}s and has no settings of an {min(other)}; "
            "an edit does not change its kind: delete it, and create another",
            schedule=schedule.name,
            kind=schedule.kind,
        )
    given, wanted = _as_given(schedule), changes.get(schedule.kind, {})
    if wanted.keys() & _SOURCES:  # another one takes its place
        given = {name: value for name, value in given.items() if name not in _SOURCES}
    parts: dict[str, Any] = {name: {**given[name], **wanted.get(name, {})} for name in _PARTS if name in given}
    new = {**given, **wanted, **parts}
    if "changes" in new:
        new["changes"] = {n: v for n, v in new["changes"].items() if v is not None or n == "max_shrink_percent"}
    if "format" in new:  # only CSV has a text for "no value"
        style = new["format"]
        style["null_token"] = (style.get("null_token") or NULL_TEXT) if style["name"] == "csv" else None
    return new


def _as_given(schedule: Schedule) -> dict[str, Any]:
    request = dict(schedule.request)
    if schedule.kind == "snapshot":
        return request
    if schedule.kind == "export":
        return {"since_last": request.pop("delta_from", None) is not None, "shape": {}, **request}
    kind, changes = kind_of_target(request["audience"]), dict(request.get("overrides", {}))
    return {
        "kind": kind,
        "audience": request["audience"] if kind == "audience" else None,
        **_source(request),
        "only_columns": changes.pop("other_columns", True) is False,
        "changes": changes,
        "again": request.get("again", False),
    }


def _source(request: Mapping[str, Any]) -> dict[str, Any]:
    if "sql" in request:
        return {"sql": request["sql"]}
    return {"list" if request.get("form") == "list" else "source": s3_uri(request["bucket"], request["key"])}
