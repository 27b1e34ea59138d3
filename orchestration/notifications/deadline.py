"""A deadline for a whole conversation: a peer that trickles bytes never hits a socket's own timeout."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

OPERATION_S: Final = 5.0
"""For one operation on a socket."""
TOTAL_S: Final = 20.0
"""For a whole delivery; far less than the lease of a row."""


@contextlib.contextmanager
def deadline(current: Callable[[], socket.socket | None], total_s: float = TOTAL_S) -> Iterator[float]:
    """Shut the current socket down at the deadline, which is yielded in monotonic seconds.

    A reader then finds the connection closed.
    """

    def cut() -> None:
        if (connection := current()) is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(total_s, cut)
    timer.daemon = True
    timer.start()
    try:
        yield time.monotonic() + total_s
    finally:
        timer.cancel()
