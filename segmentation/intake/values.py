"""Limits on the content of a single record, value by value; docs/events.md lists the same limits."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from schemas.activity import (
    EARLIEST_US,
    MAX_AHEAD_US,
    MAX_PROPERTIES,
    PROPERTY_MAX_BYTES,
)
from schemas.ids import NAME_PATTERN, USER_ID_MAX_CHARACTERS
from schemas.messages import AttributeValue, EventRecord, ProfileRecord
from segmentation.intake.refusals import RefusalCode, Refused
from segmentation.intake.texts import check_characters, check_text

SHOWN_CHARACTERS: Final = 80
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def check_event(record: EventRecord, received_at_us: int) -> None:
    """Check an event. Raises `Refused`."""
    check_tenant(record.tenant)
    check_text(record.user_id, RefusalCode.BAD_USER_ID, "the user id", USER_ID_MAX_CHARACTERS)
    check_text(record.event, RefusalCode.BAD_EVENT, "the name of the event")
    if record.event_id is not None:
        check_text(record.event_id, RefusalCode.BAD_EVENT_ID, "the event id")
    check_time(record.occurred_at_us, received_at_us)
    check_values(record.properties)


def check_profile(record: ProfileRecord) -> None:
    """Check a change of a profile. Raises `Refused`."""
    check_tenant(record.tenant)
    check_text(record.user_id, RefusalCode.BAD_USER_ID, "the user id", USER_ID_MAX_CHARACTERS)
    if record.deleted and record.attributes:
        raise Refused(RefusalCode.BAD_PROPERTY, "a deleted profile cannot have attributes in the same record")
    check_values(record.attributes)


def check_tenant(name: str) -> None:
    """Raise `Refused` for an invalid tenant name; existence is checked elsewhere."""
    if not NAME_PATTERN.fullmatch(name):
        raise Refused(RefusalCode.BAD_TENANT, f"{name[:SHOWN_CHARACTERS]!r} is not a valid tenant name")


def check_time(occurred_at_us: int, received_at_us: int) -> None:
    """Raises `Refused` TOO_EARLY, TOO_FAR_AHEAD. Late events are accepted, however late they are."""
    latest_us = received_at_us + MAX_AHEAD_US
    if occurred_at_us < EARLIEST_US:
        reason = f"it occurred at {moment(occurred_at_us)}; the earliest is {moment(EARLIEST_US)}"
        if EARLIEST_US <= occurred_at_us * 1000 <= latest_us:
            reason += f"; times 1,000 it is {moment(occurred_at_us * 1000)}: is it in another unit?"
        raise Refused(RefusalCode.TOO_EARLY, reason)
    if occurred_at_us > latest_us:
        reason = (
            f"it occurred at {moment(occurred_at_us)}, more than {MAX_AHEAD_US // 3_600_000_000} hours after it was "
            f"received at {moment(received_at_us)}"
        )
        if EARLIEST_US <= occurred_at_us // 1000 <= latest_us:
            reason += f"; a thousandth of it is {moment(occurred_at_us // 1000)}: is it in another unit?"
        raise Refused(RefusalCode.TOO_FAR_AHEAD, reason)


def check_values(values: Mapping[str, AttributeValue | None]) -> None:
    """Raise `Refused` for too many properties, for names or values that are too large, and for non-finite numbers."""
    if len(values) > MAX_PROPERTIES:
        raise Refused(
            RefusalCode.TOO_MANY_PROPERTIES, f"{len(values)} properties; at most {MAX_PROPERTIES} are allowed"
        )
    for name, value in values.items():
        check_name(name)
        if isinstance(value, str):
            what = f"the property {name[:SHOWN_CHARACTERS]!r}"
            if (size := len(value.encode("utf-8", "surrogatepass"))) > PROPERTY_MAX_BYTES:
                raise Refused(
                    RefusalCode.BAD_PROPERTY, f"{what} has {size} bytes; at most {PROPERTY_MAX_BYTES} are allowed"
                )
            check_characters(value, RefusalCode.BAD_PROPERTY, what)
        elif isinstance(value, float) and not math.isfinite(value):
            raise Refused(
                RefusalCode.BAD_PROPERTY, f"the property {name[:SHOWN_CHARACTERS]!r} is {value}, not a number"
            )


@lru_cache(maxsize=4096)
def check_name(name: str) -> None:
    """Check the name of a property. Raises `Refused`.

    Cached, since names repeat from record to record. Errors are not cached.
    """
    check_text(name, RefusalCode.BAD_PROPERTY, f"the name of the property {name[:SHOWN_CHARACTERS]!r}")


def moment(us: int) -> str:
    """A time for a reason: ISO 8601 if the calendar has it."""
    try:
        return (_EPOCH + timedelta(microseconds=us)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return f"{us} microseconds since 1970"
