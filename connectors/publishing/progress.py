"""Reports how far an attempt has come while it sends."""

from collections.abc import Callable
from typing import Final

from connectors.publishing.chunking import Chunker
from connectors.publishing.reports import PublishProgress
from connectors.publishing.sending import Sender

PROGRESS_INTERVAL_S: Final = 0.25

OnProgress = Callable[[PublishProgress], None]


class ProgressTimer:
    """Reports progress a few times a second, and once at the end."""

    def __init__(self, sender: Sender, chunker: Chunker, on_progress: OnProgress) -> None:
        self._sender = sender
        self._chunker = chunker
        self._on_progress = on_progress
        self._due = sender.clock()

    def report(self, *, last: bool = False) -> None:
        """Report if it is due, or if it is the `last` time."""
        now = self._sender.clock()
        if last or now >= self._due:
            self._due = now + PROGRESS_INTERVAL_S
            rows = tuple(digest.count for digest in self._chunker.digests)
            self._on_progress(
                PublishProgress(
                    rows=sum(rows), bytes=self._sender.bytes, partitions=rows, offsets=self._sender.offsets()
                )
            )
