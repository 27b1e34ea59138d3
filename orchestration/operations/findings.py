"""Findings of `muster fsck`."""

from dataclasses import dataclass
from typing import Literal

from schemas.ids import JobId

Severity = Literal["wrong", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One inconsistency. A `note` is worth knowing but not wrong.

    `job`: the job whose record derives from its version and can be written again.
    """

    severity: Severity
    code: str
    subject: str
    message: str
    repaired: bool = False
    job: JobId | None = None
