"""Checked ids in requests. What is no id is refused with the place that shows ids: all raise `UserError` BAD_JOB_ID."""

from schemas.errors import UserError
from schemas.ids import JobId, job_id


def token_id(text: str) -> JobId:
    """Id of a token."""
    return job_id(text, of="a token", listed="muster tokens list")


def principal_id(text: str) -> JobId:
    """Id of a principal."""
    return job_id(text, of="a principal", listed="muster grants list")


def session_id(text: str) -> JobId:
    """Id of a session."""
    return job_id(text, of="a session", listed="GET /v1/sessions")


def upload_id(text: str) -> JobId:
    """Id of an upload."""
    return _unlisted(text, "an upload")


def operation_id(text: str) -> JobId:
    """Id of an operation."""
    return _unlisted(text, "an operation")


def _unlisted(text: str, of: str) -> JobId:
    try:
        return job_id(text)
    except UserError as exc:
        message = f"{text[:80]!r} is not the id of {of}; the answer that began it has its id"
        raise UserError(exc.code, message, **exc.detail) from None
