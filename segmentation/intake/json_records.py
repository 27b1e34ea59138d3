"""Parses JSON values of single records strictly: misspelt, duplicate or mistyped members are refused, never dropped.

    {"user_id": "alice", "event": "order", "occurred_at": "2026-11-25T10:00:00Z",
     "properties": {"total": 12.5, "coupon": "X1", "gift": true, "note": null}, "event_id": "o-1", "tenant": "shop"}
    {"user_id": "alice", "attributes": {"age": 30, "plan": null, "born": {"date": "1990-02-28"}}}
    {"user_id": "alice", "deleted": true}

Only the user id, the event and its time are required. `occurred_at` is RFC 3339 with an offset, or an integer of
milliseconds since 1970 UTC.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NoReturn, TypeVar

from schemas.activity import ATTRIBUTES, PROPERTIES, TENANT
from schemas.activity_columns import DELETED, EVENT, EVENT_ID, OCCURRED_AT
from schemas.columns import USER_ID
from schemas.ids import DEFAULT_TENANT, TenantName
from schemas.json_keys import duplicate_key
from schemas.json_types import json_type
from schemas.messages import AttributeValue, EventRecord, ProfileRecord, PropertyValue
from segmentation.intake.refusals import RefusalCode, Refused
from segmentation.intake.values import SHOWN_CHARACTERS

EXACT: Final = 2**53
RFC_3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)?", re.ASCII
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_V = TypeVar("_V")


def event_of_json(value: bytes) -> EventRecord:
    """Parse an event. Raises `Refused`."""
    members = _members(value, {USER_ID, EVENT, OCCURRED_AT, PROPERTIES, EVENT_ID, TENANT})
    event_id = members.get(EVENT_ID)
    if event_id is not None and not isinstance(event_id, str):
        raise Refused(RefusalCode.BAD_EVENT_ID, f"event_id is {json_type(event_id)}, not a string")
    return EventRecord(
        user_id=_text(members, USER_ID, RefusalCode.BAD_USER_ID),
        event=_text(members, EVENT, RefusalCode.BAD_EVENT),
        occurred_at_us=_time(members),
        properties=_values(members, PROPERTIES, _value),
        event_id=event_id,
        tenant=_tenant(members),
    )


def profile_of_json(value: bytes) -> ProfileRecord:
    """Parse a change of a profile. Raises `Refused`."""
    members = _members(value, {USER_ID, ATTRIBUTES, DELETED, TENANT})
    deleted = members.get(DELETED, False)
    if not isinstance(deleted, bool):
        raise Refused(RefusalCode.BAD_PROPERTY, f"deleted is {json_type(deleted)}, not a boolean")
    return ProfileRecord(
        user_id=_text(members, USER_ID, RefusalCode.BAD_USER_ID),
        attributes=_values(members, ATTRIBUTES, _attribute),
        deleted=deleted,
        tenant=_tenant(members),
    )


def _members(value: bytes, known: set[str]) -> dict[str, Any]:
    try:
        members: dict[str, Any] = _DECODE(value.decode())  # the record begins with a brace
    except UnicodeDecodeError as exc:
        raise Refused(RefusalCode.BAD_JSON, f"byte {exc.start} is {value[exc.start]:#04x}: not UTF-8") from exc
    except RecursionError as exc:
        raise Refused(RefusalCode.TOO_DEEP, "objects or arrays are nested too deeply") from exc
    except json.JSONDecodeError as exc:
        raise Refused(RefusalCode.BAD_JSON, f"invalid JSON: {exc.msg} at character {exc.pos + 1}") from exc
    except ValueError as exc:  # an integer of thousands of digits
        raise Refused(RefusalCode.BAD_JSON, "a number is too long") from exc
    if unknown := sorted(members.keys() - known):
        names = ", ".join(repr(name[:SHOWN_CHARACTERS]) for name in unknown[:5])
        raise Refused(RefusalCode.UNKNOWN_MEMBER, f"unknown member {names}; known are {', '.join(sorted(known))}")
    return members


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        name = duplicate_key(pairs)[:SHOWN_CHARACTERS]
        raise Refused(RefusalCode.DUPLICATE_KEY, f"the key {name!r} occurs more than once")
    return members


def _no_constant(word: str) -> NoReturn:
    raise Refused(RefusalCode.BAD_JSON, f"{word} is not JSON")


_DECODE: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant).decode


def _text(members: dict[str, Any], name: str, code: RefusalCode) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise Refused(code, f"{name} is missing" if value is None else f"{name} is {json_type(value)}, not a string")
    return value


def _tenant(members: dict[str, Any]) -> TenantName:
    if members.get(TENANT) is None:
        return DEFAULT_TENANT
    return TenantName(_text(members, TENANT, RefusalCode.BAD_TENANT))


def _time(members: dict[str, Any]) -> int:
    """Microseconds since 1970 UTC."""
    match members.get(OCCURRED_AT):
        case None:
            raise Refused(RefusalCode.BAD_TIME, f"{OCCURRED_AT} is missing")
        case bool() | float():
            raise Refused(RefusalCode.BAD_TIME, f"a numeric {OCCURRED_AT} must be whole milliseconds since 1970")
        case int(number):
            if abs(number) > EXACT:
                raise Refused(RefusalCode.BAD_TIME, f"{OCCURRED_AT} is not a number of milliseconds since 1970")
            return number * 1000
        case str(text):
            return _moment(text, RefusalCode.BAD_TIME)
        case other:
            raise Refused(RefusalCode.BAD_TIME, f"{OCCURRED_AT} is {json_type(other)}, not a string or a number")


def _moment(text: str, code: RefusalCode) -> int:
    """Microseconds since 1970 UTC of RFC 3339 with an offset. Nothing is rounded: digits after the sixth must be 0."""
    found = RFC_3339.fullmatch(text)
    shown = repr(text[:SHOWN_CHARACTERS])
    if found is None:
        raise Refused(code, f"{shown} is not YYYY-MM-DDTHH:MM:SS with an offset (RFC 3339)")
    fraction, zone = found[7] or "", found[8]
    if zone is None:
        raise Refused(code, f"{shown} has no offset such as Z or +09:00, so its instant is ambiguous")
    if fraction[6:].strip("0"):
        raise Refused(code, f"{shown} is finer than a microsecond")
    try:
        year, month, day, hour, minute, second = map(int, found.groups()[:6])
        wall = datetime(year, month, day, hour, minute, second, int(fraction[:6].ljust(6, "0")), UTC)
    except ValueError as exc:
        raise Refused(code, f"{shown}: {exc}") from exc
    us = (wall - _EPOCH) // _MICROSECOND
    if zone in ("Z", "z"):
        return us
    minutes = int(zone[1:3]) * 60 + int(zone[4:6])
    if int(zone[1:3]) > 23 or int(zone[4:6]) > 59:
        raise Refused(code, f"{shown}: offset {zone} does not exist")
    return us + (minutes if zone[0] == "-" else -minutes) * 60_000_000


def _values(members: dict[str, Any], member: str, value_of: Callable[[str, object], _V]) -> dict[str, _V]:
    given = members.get(member)
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise Refused(RefusalCode.BAD_PROPERTY, f"{member} is {json_type(given)}, not an object")
    return {name: value_of(name, value) for name, value in given.items()}


def _value(name: str, value: object) -> PropertyValue | None:
    match value:
        case None | bool() | str() | float():
            return value
        case int():
            # A float would silently change an identifier of 17 digits.
            if abs(value) > EXACT:
                raise Refused(
                    RefusalCode.BAD_PROPERTY,
                    f"the property {name[:SHOWN_CHARACTERS]!r} is beyond 2^53: send it as a string",
                )
            return float(value)
        case _:
            raise Refused(
                RefusalCode.BAD_PROPERTY,
                f"the property {name[:SHOWN_CHARACTERS]!r} is {json_type(value)}, not a number, string or boolean",
            )


def _attribute(name: str, value: object) -> AttributeValue | None:
    """As `_value`, or a date or a timestamp: an object with one member that names the type."""
    what = f"the attribute {name[:SHOWN_CHARACTERS]!r}"
    match value:
        case {"date": str(text), **others} if not others:
            return _date(text, what)
        case {"timestamp": str(text), **others} if not others:
            return _timestamp(text)
        case dict():
            raise Refused(
                RefusalCode.BAD_PROPERTY,
                f'{what} is an object other than {{"date": "YYYY-MM-DD"}} and {{"timestamp": "YYYY-MM-DDTHH:MM:SSZ"}}',
            )
        case _:
            return _value(name, value)


def _timestamp(text: str) -> datetime:
    us = _moment(text, RefusalCode.BAD_PROPERTY)
    try:
        return _EPOCH + timedelta(microseconds=us)
    except OverflowError as exc:
        where = "beyond the year 9999" if us > 0 else "before the year 1"
        raise Refused(RefusalCode.BAD_PROPERTY, f"{text[:SHOWN_CHARACTERS]!r} is {where} in UTC") from exc


def _date(text: str, what: str) -> date:
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise Refused(RefusalCode.BAD_PROPERTY, f"{what} is {text[:SHOWN_CHARACTERS]!r}, not a date YYYY-MM-DD")
