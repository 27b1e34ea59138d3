"""One POST to one URL, at an address that was checked (`targets`); only the status of the response is read."""

import http.client
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from orchestration.notifications.deadline import OPERATION_S, TOTAL_S
from orchestration.notifications.outbound import exchange
from orchestration.notifications.targets import PrivateTargets
from schemas.errors import RetriableError

_SUCCESS: Final = range(200, 300)


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    private: PrivateTargets,
    operation_s: float = OPERATION_S,
    total_s: float = TOTAL_S,
) -> None:
    """Deliver to a public address over https, or to one of `private`.

    Raises `RetriableError` WEBHOOK_FAILED: no connection, an invalid certificate, a target that may not be called, any
    response but 2xx.
    """
    host = urlsplit(url).hostname or ""
    try:
        status, _ = exchange("POST", url, body, headers, private=private, operation_s=operation_s, total_s=total_s)
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise RetriableError("WEBHOOK_FAILED", f"{host}: {type(exc).__name__}: {exc}"[:300]) from exc
    if status not in _SUCCESS:
        redirect = "; redirects are not followed" if 300 <= status < 400 else ""
        raise RetriableError("WEBHOOK_FAILED", f"{host} answered {status}{redirect}", status=status)
