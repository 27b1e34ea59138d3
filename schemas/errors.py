"""Errors, classed by what to do about them, never by their origin.

A `UserError` is shown to the customer and never retried; a `RetriableError` is retried with back-off; a `FatalError`
pages someone. The message is built from data and the data is kept, so that a catalog, a log line and a CLI can all
show the same fault. Vendor exceptions are translated at one place each, with `raise ... from exc`.
"""

from collections.abc import Mapping
from typing import ClassVar


class MusterError(Exception):
    """Base of every error that Muster raises on purpose.

    `code` is stable and upper case (`SOURCE_CHANGED`); `detail` holds the values the message was made from
    (strings, numbers, lists of them) and never a secret.
    """

    kind: ClassVar[str] = "system"

    def __init__(self, code: str, message: str, **detail: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail: Mapping[str, object] = detail

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.code, self.message, dict(self.detail)))

    def as_record(self) -> dict[str, object]:
        """The error as plain JSON data: kind, code, message, detail."""
        return {"kind": self.kind, "code": self.code, "message": self.message, "detail": dict(self.detail)}

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> "MusterError":
        """Inverse of `as_record`; an unknown kind becomes a `FatalError`."""
        error_class = _CLASSES.get(str(record.get("kind")), FatalError)
        detail = record.get("detail")
        return error_class(
            str(record.get("code", "UNKNOWN")),
            str(record.get("message", "")),
            **(dict(detail) if isinstance(detail, Mapping) else {}),
        )


class UserError(MusterError):
    """The input is at fault: state what, where and what to do. Never retried."""

    kind = "user"


class RetriableError(MusterError):
    """An outage or a conflict that may have passed at a later try: back off and retry."""

    kind = "retriable"

    @property
    def outage(self) -> bool:
        """Whether a server does not answer, or has no room for the caller: its code ends with `_UNAVAILABLE`.

        The work is not at fault, so it is worth a long wait.
        """
        return self.code.endswith("_UNAVAILABLE")


class FatalError(MusterError):
    """A guarantee would be broken, or no retry can help: stop and page someone."""

    kind = "fatal"


_CLASSES: Mapping[str, type[MusterError]] = {c.kind: c for c in (UserError, RetriableError, FatalError)}


def _rebuild(error_class: type[MusterError], code: str, message: str, detail: Mapping[str, object]) -> MusterError:
    return error_class(code, message, **detail)
