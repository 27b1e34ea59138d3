"""The present states of one topic as events, each with the revision of its last change.

Streams keep no queues: each knows the revision that it has seen, and takes what has changed since. One that is slow
skips states that have been replaced meanwhile, and its memory does not grow.
"""

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from schemas.errors import RetriableError

KEPT: Final = 1000
"""Events on a board. More than a reading has; the rest belong to ended jobs and deleted things."""


def event(name: str, data: Mapping[str, Any]) -> bytes:
    """A server-sent event. JSON in ASCII has no line breaks."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return f"event: {name}\ndata: {text}\n\n".encode("ascii")


def events(kind: str, found: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """The events of states, by id."""
    return {id_: event(kind, {"kind": kind, "id": id_, "value": value}) for id_, value in found.items()}


class Board:
    """`whole`: what a reading lacks is gone."""

    def __init__(self, kind: str, *, whole: bool) -> None:
        self._kind = kind
        self._whole = whole
        self._entries: OrderedDict[str, tuple[int, bytes]] = OrderedDict()  # the last change comes last
        self._gone: set[str] = set()
        self._forgotten = 0  # the revision of the newest event that was dropped
        self.complete = False

    def update(self, found: Mapping[str, bytes], revision: int) -> bool:
        """Take over a reading; returns whether anything has changed."""
        self.complete = True
        changed = {id_: text for id_, text in found.items() if self._entries.get(id_, (0, b""))[1] != text}
        self._gone -= changed.keys()
        if self._whole:
            for id_ in self._entries.keys() - found.keys() - self._gone:
                changed[id_] = event(self._kind, {"kind": self._kind, "id": id_, "value": None})
                self._gone.add(id_)
        for id_, text in changed.items():
            self._entries[id_] = (revision, text)
            self._entries.move_to_end(id_)
        if (surplus := len(self._entries) - KEPT) > 0:
            self._forget([id_ for id_ in self._entries if id_ not in found][:surplus])
        return bool(changed)

    def _forget(self, ids: Iterable[str]) -> None:
        for id_ in ids:
            self._forgotten = max(self._forgotten, self._entries.pop(id_)[0])
            self._gone.discard(id_)

    def present(self) -> list[bytes]:
        """All states."""
        return [text for id_, (_, text) in self._entries.items() if id_ not in self._gone]

    def since(self, revision: int) -> list[bytes]:
        """What has changed after a revision. Raises `RetriableError` STREAM_TOO_SLOW if that is no longer known."""
        if self._forgotten > revision:
            raise RetriableError("STREAM_TOO_SLOW", "the client fell behind; connect again for the present states")
        return list(self._newest(revision))[::-1]

    def _newest(self, revision: int) -> Iterator[bytes]:
        for changed, text in reversed(self._entries.values()):
            if changed <= revision:
                return
            yield text
