"""What the methods of `Client` have in common."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Literal, cast

from muster.http_calls import HttpCalls
from muster.records import Record
from muster.repeating import start

Tagged = tuple[Record, str]
"""A record, and its ETag, which a change of it sends back."""


class _Kind(Enum):
    UNSET = "unset"


Unset = Literal[_Kind.UNSET]
UNSET: Final = _Kind.UNSET
"""A member that a change leaves as it is; None is a value."""


class Methods:
    """Sends calls. Every method raises `ApiError`."""

    _url: str
    _calls: HttpCalls

    def _get(self, path: str, *names: str, query: Mapping[str, Any] | None = None) -> Record:
        return cast(Record, self._calls.call("GET", path, *names, query=query)[0])

    def _send(self, method: str, path: str, *names: str, **sent: Any) -> Record:
        return self._tagged(method, path, *names, **sent)[0]

    def _tagged(
        self,
        method: str,
        path: str,
        *names: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        etag: str | None = None,
    ) -> Tagged:
        record, received = self._calls.call(method, path, *names, query=query, body=body, headers=_if_match(etag))
        return cast(Record, record), received.get("etag", "")

    def _start(
        self, path: str, *names: str, body: Any = None, etag: str | None = None, key: str | None = None
    ) -> Record:
        return start(self._calls, path, *names, body=body, key=key, headers=_if_match(etag))


def _if_match(etag: str | None) -> Mapping[str, str]:
    return {} if etag is None else {"If-Match": etag}


def given(**members: Any) -> dict[str, Any]:
    """The members of a body, without those that have their default."""
    return {name: value for name, value in members.items() if value is not None}


def changed(**members: Any) -> dict[str, Any]:
    """The members of a body that changes some: None is a value."""
    return {name: value for name, value in members.items() if value is not UNSET}
