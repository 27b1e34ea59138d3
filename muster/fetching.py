"""Fetches files by presigned requests."""

import http.client
from collections.abc import Iterator
from contextlib import closing

from muster.errors import ApiError
from muster.presigned import BLOCK, connection_to


def fetch(url: str) -> Iterator[bytes]:
    """The content at a URL, in blocks. Raises `ApiError` DOWNLOAD_REFUSED, DOWNLOAD_UNREACHABLE, DOWNLOAD_CUT_OFF."""
    connection, target, headers = connection_to(url)
    with closing(connection):
        try:
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            if answer.status != 200:
                answer.read()
                raise ApiError(
                    "DOWNLOAD_REFUSED",
                    f"the object store refuses the file with status {answer.status}: it is gone, or the request is "
                    "older than five minutes",
                    kind="user" if answer.status < 500 else "retriable",
                    status=answer.status,
                )
            while block := answer.read(BLOCK):
                yield block
        except (OSError, http.client.HTTPException) as exc:
            why = str(exc) or type(exc).__name__
            raise ApiError(
                "DOWNLOAD_UNREACHABLE",
                f"the object store at {headers['Host']} does not answer ({why})",
                kind="retriable",
            ) from exc
    if answer.length:
        raise ApiError("DOWNLOAD_CUT_OFF", f"{answer.length} bytes have not arrived; try again", kind="retriable")
