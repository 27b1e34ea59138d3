"""Entries of the audit trail as plain JSON data."""

from typing import TYPE_CHECKING, Any

from orchestration.platform.clock import iso

if TYPE_CHECKING:
    from orchestration.catalog.audit import AuditEntry


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
