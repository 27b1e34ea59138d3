"""Logon to Amazon MSK with the role of the process: a token that AWS' own library signs takes the place of a password.

The only place that makes tokens, for librdkafka (`oauth_cb`) and aiokafka (a token provider) alike. Tested with the
library, both clients and Apache Kafka, but not against Amazon MSK.
https://docs.aws.amazon.com/msk/latest/developerguide/iam-access-control.html
"""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

from aiokafka.abc import AbstractTokenProvider

from schemas.errors import RetriableError

BEARER: Final = "OAUTHBEARER"
"""The SASL mechanism that carries the token."""
RENEWED_S: Final = 300.0
"""A token is replaced when less is left of its 15 minutes, or of the credentials that signed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """`expires_at_s`: seconds since 1970."""

    text: str
    expires_at_s: float


class IamTokens(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
    """Tokens of one region, each used until it is about to expire: clients ask with every connection. For threads.

    Clients get them from `iam_tokens`, so that those of a process share them.
    """

    def __init__(self, region: str, *, now_s: Callable[[], float] = time.time) -> None:
        self._region = region
        self._now_s = now_s
        self._lock = threading.Lock()
        self._token: Token | None = None

    def current(self) -> Token:
        """A valid token. Blocks for up to seconds. Raises `RetriableError` NO_KAFKA_TOKEN."""
        with self._lock:
            if self._token is None or self._token.expires_at_s - self._now_s() < RENEWED_S:
                self._token = _signed(self._region)
            return self._token

    async def token(self) -> str:
        """For aiokafka; raises as `current`."""
        return (await asyncio.to_thread(self.current)).text

    def for_librdkafka(self, _config: str) -> tuple[str, float]:
        """For `oauth_cb`; raises as `current`, which librdkafka reports, and it asks again after 10 s."""
        token = self.current()
        return token.text, token.expires_at_s


@cache
def iam_tokens(region: str) -> IamTokens:
    """The tokens of this process."""
    return IamTokens(region)


def _signed(region: str) -> Token:
    from aws_msk_iam_sasl_signer import MSKAuthTokenProvider  # noqa: PLC0415 - loads boto3: a third of a second

    try:
        text, expires_at_ms = MSKAuthTokenProvider.generate_auth_token(region)
    except Exception as exc:  # the library documents none: botocore's, and ValueError without credentials
        raise RetriableError(
            "NO_KAFKA_TOKEN",
            f"the token to log on to Kafka in {region} cannot be signed: {type(exc).__name__}: {exc}. It needs the "
            "role of the process, or other credentials of AWS",
            region=region,
        ) from exc
    return Token(text=text, expires_at_s=expires_at_ms / 1000)
