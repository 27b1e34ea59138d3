"""Names and identifiers, as `NewType`s over plain values, with checks for text from outside."""

import re
from hashlib import sha256
from typing import Final, NewType

from schemas.errors import UserError

TenantName = NewType("TenantName", str)
AudienceName = NewType("AudienceName", str)
JobId = NewType("JobId", str)
"""A job; an import job's id is also its import id on Kafka. A ULID in lower case: sorts by creation time."""
Attempt = NewType("Attempt", int)
"""1.. ; increases by one with every start of a job's import task."""
Partition = NewType("Partition", int)
"""0..P-1"""
Seq = NewType("Seq", int)
"""Position of a chunk among the chunks of one (import, attempt, partition): 0.."""
Version = NewType("Version", int)
"""Version of an audience: 1.. , never reused."""

DEFAULT_TENANT: Final = TenantName("default")
"""The tenant of everything without an explicit one."""
NAME_MAX: Final = 63
NAME_PATTERN: Final = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{NAME_MAX - 1}}}", re.ASCII)
SNAPSHOT: Final = "-snapshot"
JOB_ID_LENGTH: Final = 26
TIME_LENGTH: Final = 10
"""So many of the first characters of a job's id are its time."""
JOB_ID_PATTERN: Final = re.compile(rf"[0-9a-hjkmnp-tv-z]{{{JOB_ID_LENGTH}}}", re.ASCII)
USER_ID_MAX_CHARACTERS: Final = 191
"""Code points, not bytes: the longest key that MySQL indexes in utf8mb4, which many receivers of exports use."""


def tenant_name(text: str) -> TenantName:
    """Checked tenant name. Raises `UserError` BAD_NAME."""
    return TenantName(_checked("tenant", text))


def audience_name(text: str) -> AudienceName:
    """Checked audience name. Raises `UserError` BAD_NAME."""
    return AudienceName(_checked("audience", text))


def segment_name(text: str) -> AudienceName:
    """Checked segment name, by the rules of audience names. Raises `UserError` BAD_NAME."""
    return AudienceName(_checked("segment", text))


def snapshot_audience(segment: str) -> str:
    """The default audience of a segment's snapshots, unchecked. The two share one namespace, so their names differ.

    A name that would be too long is cut, and told from others by a hash.
    """
    if len(segment) + len(SNAPSHOT) > NAME_MAX:
        mark = f"-{sha256(segment.encode()).hexdigest()[:8]}{SNAPSHOT}"
        return segment[: NAME_MAX - len(mark)] + mark
    return segment + SNAPSHOT


def schedule_name(text: str) -> str:
    """Checked name of a schedule. Raises `UserError` BAD_NAME."""
    return _checked("schedule", text)


def feed_name(text: str) -> str:
    """Checked name of a feed. Raises `UserError` BAD_NAME."""
    return _checked("feed", text)


def job_id(text: str, *, of: str = "a job", listed: str = "muster jobs list") -> JobId:
    """Checked id of a job or of another thing, which `of` names and the command `listed` lists.

    Raises `UserError` BAD_JOB_ID.
    """
    if not JOB_ID_PATTERN.fullmatch(text):
        message = f"{text[:80]!r} is not the id of {of}; `{listed}` shows them"
        raise UserError("BAD_JOB_ID", message, value=text[:80])
    return JobId(text)


def new_job_id(now_ms: int, entropy: bytes) -> JobId:
    """ULID of a time (milliseconds since 1970) and 10 random bytes (https://github.com/ulid/spec), in lower case."""
    if len(entropy) != 10:
        raise ValueError("a ULID needs 10 random bytes")
    number = (now_ms << 80) | int.from_bytes(entropy, "big")
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    return JobId("".join(alphabet[(number >> shift) & 31] for shift in range(125, -1, -5)))


def _checked(what: str, text: str) -> str:
    if not NAME_PATTERN.fullmatch(text):
        raise UserError(
            "BAD_NAME",
            f"{what} name {text[:80]!r} is not allowed: use 1 to 63 of a-z, 0-9, '_' and '-', starting with a "
            "letter or a digit",
            what=what,
            value=text[:80],
        )
    return text
