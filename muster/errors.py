"""What the service answers instead of a result."""

from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """A problem (RFC 9457), or no answer at all.

    `code` is stable: look at it, not at the message. `kind`: `user` (the request is at fault), `retriable` (try again
    later), `fatal`. `status` is None without an answer. `request_id` finds the request in the log of the service.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        kind: str,
        status: int | None = None,
        values: Mapping[str, Any] | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.kind = kind
        self.status = status
        self.values: Mapping[str, Any] = values or {}
        self.request_id = request_id
