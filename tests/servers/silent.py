"""Servers that accept and then send nothing, or a byte now and then: never a whole answer."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silent_server() -> Iterator[int]:
    """Yields its port. Connections are accepted, and get nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the kernel accepts
        yield int(listener.getsockname()[1])


@contextmanager
def dribbling_server(every_s: float = 0.05) -> Iterator[int]:
    """Yields its port. Every connection gets a byte each `every_s`, forever."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def dribble(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while not stop.wait(every_s):
                connection.sendall(b"2")

    def accept() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=dribble, args=(connection,), daemon=True))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            stop.set()
            accepting.join()
            for thread in threads:
                thread.join()
