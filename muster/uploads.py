"""Files that are sent to be imported. Part of `Client`."""

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from muster.api_methods import ApiMethods
from muster.errors import ApiError
from muster.jobs import Jobs
from muster.records import Record
from muster.repeating import until_answered

if TYPE_CHECKING:
    from muster.api_types import PartSizes, Upload
    from muster.sending import BytesListener

SENDS: Final = 4
"""How often to send a file, or a part of it, that does not arrive."""
PAUSE_S: Final = 0.5
"""Before the second try; each later pause is twice as long."""
SENT_AGAIN: Final = frozenset({403, 412})
"""Refusals that a fresh request may cure: the last one has expired, or its file has arrived without an answer."""
ValueT = TypeVar("ValueT")


class Uploads(Jobs, ApiMethods):
    """See `Client`."""

    def send_file(
        self, tenant: str, path: Path, *, key: str | None = None, on_bytes: "BytesListener" = lambda _: None
    ) -> "Upload":
        """Upload a file; returns the stored upload. No effect if it was stored under the key before. Raises OSError.

        What does not arrive is sent again, a few times. Characters of its name that are not printable become `_`.
        """
        from muster.sending import send_piece  # noqa: PLC0415  # as in `Client`

        size, key = path.stat().st_size, key or secrets.token_hex(16)

        def send() -> str:
            made = self.create_upload(tenant, _shown_name(path), size, key=key)  # a repeat has a fresh request
            upload = made["upload"]
            if self.upload(tenant, upload)["state"] == "unfinished":
                if made["put"] is not None:
                    send_piece(made["put"], path, 0, size, on_bytes)
                elif made["parts"] is not None:
                    self._send_parts(tenant, upload, path, size, made["parts"], on_bytes)
            return upload

        upload = _sent(send)
        return until_answered(lambda: self.complete_upload(tenant, upload))  # not all again for a restarting service

    def import_file(
        self,
        tenant: str,
        path: Path,
        *,
        key: str | None = None,
        on_bytes: "BytesListener" = lambda _: None,
        **wanted: Any,
    ) -> Record:
        """Upload a file and start its import; returns {job}. `wanted`: as `start_import`, without its source.

        If that job repeats another, `job` returns the other one, with `duplicate_of`; `again=True` imports anyway.
        """
        made_key = key or secrets.token_hex(16)
        upload = self.send_file(tenant, path, key=f"{made_key}-upload", on_bytes=on_bytes)
        return self.start_import(tenant, key=made_key, upload=upload["upload"], **wanted)

    def _send_parts(
        self, tenant: str, upload: str, path: Path, size: int, parts: "PartSizes", on_bytes: "BytesListener"
    ) -> None:
        from muster.sending import send_piece  # noqa: PLC0415  # as in `Client`

        of = parts["bytes"]
        for number in range(1, parts["count"] + 1):

            def send(number: int = number, at: int = (number - 1) * of) -> None:
                [request] = self.upload_parts(tenant, upload, [number])
                send_piece(request, path, at, min(of, size - at), on_bytes)

            _sent(send)


def _sent(send: Callable[[], ValueT]) -> ValueT:
    """What a call returns, which is made again if the object store does not answer, or refuses an expired request."""
    for last in range(1, SENDS + 1):
        try:
            return send()
        except ApiError as exc:
            if (exc.kind != "retriable" and exc.status not in SENT_AGAIN) or last == SENDS:
                raise
            time.sleep(PAUSE_S * 2 ** (last - 1))
    raise AssertionError(SENDS)


def _shown_name(path: Path) -> str:
    """The name of a file as the service takes it: at most 255 characters, the last of which name its format."""
    return "".join(c if c.isprintable() and c != "\\" else "_" for c in path.name)[-255:]
