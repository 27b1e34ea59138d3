"""The operations of the API as methods, by what they are about."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from muster.access import Access
from muster.administration import Administration
from muster.api_methods import ApiMethods
from muster.deployment import Deployment
from muster.http_calls import HttpCalls
from muster.questions import Questions
from muster.uploads import Uploads
from muster.waiting import Waiting

if TYPE_CHECKING:
    from muster.transport import Transport


class Client(Uploads, Waiting, Questions, Administration, Deployment, ApiMethods):
    """A service, as the owner of a token sees it. Every method raises `ApiError`. Not thread-safe.

    Lists are iterators that fetch pages as they are read. Methods that start something take `key`: repeat them with the
    same key after an error, and it starts once. Without one they make a fresh key, and repeat the request themselves
    for 45 s. `note`: on whose behalf, for the audit trail; it grants nothing.
    """

    def __init__(self, access: Access, transport: "Transport | None" = None, *, note: str = "") -> None:
        self._url = access.url
        if transport is None:
            from muster.transport import HttpTransport  # noqa: PLC0415  # HTTP is most of what the package loads

            transport = HttpTransport(access.url)
        self._transport = transport
        self._calls = HttpCalls(self._transport, access.token, note=note)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()
