"""What the API answers, as types. docs/openapi.json describes every member; jobs keep their members as they are."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

Record = Mapping[str, Any]
"""A job, receipt, audience, segment, schedule or audit entry."""


class Event(TypedDict):
    """One event of a stream.

    `kind` job, audience, segment, schedule: `value` is the whole present state of the thing `id`; None if it is gone.
    `ready`: everything that exists has come since the connection was made; the rest is gone. `lost`: the
    connection is lost; nothing after `as_of` is known until the next `ready`.
    """

    kind: str
    id: str | None
    value: Record | None
    as_of: str | None


Roles = Mapping[str, Sequence[str]]
"""Roles by principal, or by tenant."""
