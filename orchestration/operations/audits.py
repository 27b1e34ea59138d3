"""Queries of the audit trail, and its entries as plain JSON data."""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from orchestration.platform.clock import iso
from schemas.errors import UserError

if TYPE_CHECKING:
    from orchestration.catalog.audit import AuditEntry

_UNITS_MS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


def since_ms(text: str, now_ms: int) -> int:
    """Parse `30m`, `12h`, `7d`, or a date (and time), in UTC unless it has an offset. Raises `UserError` BAD_TIME."""
    if found := re.fullmatch(r"(\d{1,6})([mhd])", text):
        return now_ms - int(found[1]) * _UNITS_MS[found[2]]
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        raise UserError("BAD_TIME", f"{text!r} is neither a duration such as 12h or 7d nor a date", text=text) from exc
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def entry_record(entry: "AuditEntry") -> dict[str, Any]:
    """An entry of the audit trail as plain JSON data."""
    names = ("actor", "action", "object", "arguments", "before", "after", "error", "principal", "token", "session")
    return {
        "entry": entry.entry_id,
        "at": iso(entry.at_ms),
        "job": entry.job_id,
        **{name: getattr(entry, name) for name in names},
        "request_id": entry.request_id,
    }
