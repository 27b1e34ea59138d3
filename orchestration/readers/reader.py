"""One reader, as the service sees it: a process that answers one question at a time over a socket.

To cancel, the service sends `stop` once; the reader interrupts its query again and again until the question ends. A
reader that does not answer within `KILL_AFTER_S` is killed.
"""

import select
import time
from itertools import count
from typing import Any, Final

from connectors.fork_server.child_process import ChildProcess
from orchestration.readers.cancellation import Cancellation
from orchestration.readers.frames import CHUNK_BYTES, Frame, Frames, encode
from orchestration.readers.questions import Question
from schemas.errors import FatalError, MusterError, RetriableError
from schemas.records import as_record

KILL_AFTER_S: Final = 2.0
START_TIMEOUT_S: Final = 120.0
"""Loading takes 2 s of a core, which a busy machine may not have for a while."""


class Reader:
    """Used by one thread at a time, except `kill` and `end`."""

    def __init__(self, process: ChildProcess) -> None:
        self._process = process
        self._connection = process.control
        self._frames = Frames()
        self._numbers = count(1)
        self._ready = False
        self._lost = False
        self._began = time.monotonic()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """True if it can answer another question."""
        return not self._lost and self._process.alive

    @property
    def exit_code(self) -> int:
        """Exit code, negative for a signal; after `close`."""
        return self._process.exit_code

    def ask(self, question: Question, cancellation: Cancellation) -> Any:
        """The answer, as plain JSON data.

        Raises what the reader raises, the error of the cancellation, `RetriableError` READER_DIED (also if it was
        killed), QUESTION_TIMEOUT, and `FatalError` READER_FAILED if it could not start.
        """
        self._await_ready(cancellation)
        number = next(self._numbers)
        self._send({"number": number, "question": type(question).__name__, "given": as_record(question)})
        limit = time.monotonic() + question.limit_s
        kill_at: float | None = None
        error: MusterError | None = None
        while True:
            now = time.monotonic()
            if error is None and (error := _given_up(cancellation, question, expired=now >= limit)) is not None:
                self._send({"stop": number})
                kill_at = now + KILL_AFTER_S
            if kill_at is not None and now >= kill_at:
                self.kill()
                assert error is not None  # noqa: S101  # set with `kill_at`
                raise error
            until = limit if kill_at is None else kill_at
            for frame in self._receive(until - now, cancellation if error is None else None):
                if error is not None:
                    raise error
                if "error" in frame:
                    raise error_of(frame)
                return frame["answer"]

    def kill(self) -> None:
        """Kill the process; a question that runs ends with READER_DIED."""
        self._lost = True
        self._process.kill()

    def end(self) -> None:
        """Kill the process and wait for it; a question that runs ends with READER_DIED."""
        self.kill()
        self._process.wait()

    def close(self) -> None:
        """Kill the process, wait for it, release everything."""
        self._process.close()

    def _await_ready(self, cancellation: Cancellation) -> None:
        while not self._ready:
            cancellation.check()
            left_s = max(0.0, self._began + START_TIMEOUT_S - time.monotonic())
            try:
                # A reader that has been idle for long reported so in time; it is only read now.
                self._ready = any("ready" in frame for frame in self._receive(left_s, cancellation))
                if not self._ready and not left_s:
                    self.kill()
            except RetriableError as exc:
                self._process.wait()
                code = self._process.exit_code
                if code < 0:  # by a signal: the next one may live
                    raise
                raise FatalError("READER_FAILED", f"a reader cannot start: exit code {code}", exit_code=code) from exc

    def _receive(self, timeout_s: float, cancellation: Cancellation | None) -> list[Frame]:
        """Messages that have arrived; none if the time is up or the question is given up. Raises READER_DIED."""
        waiting = select.poll()
        waiting.register(self._connection, select.POLLIN)
        if cancellation is not None and cancellation.error is None:
            waiting.register(cancellation.fileno(), select.POLLIN)
        ready = {fd for fd, _ in waiting.poll(max(0.0, timeout_s) * 1000)}
        if self._connection.fileno() not in ready:
            return []
        try:
            data = self._connection.recv(CHUNK_BYTES)
        except ConnectionResetError:
            data = b""
        if not data:
            self._lost = True
            raise died()
        return list(self._frames.feed(data))

    def _send(self, frame: Frame) -> None:
        self.send(encode(frame))

    def send(self, message: bytes) -> None:
        """Send a message. Raises `RetriableError` READER_DIED."""
        try:
            self._connection.sendall(message)
        except (BrokenPipeError, ConnectionResetError) as exc:
            self._lost = True
            raise died() from exc


def error_of(frame: Frame) -> MusterError:
    """The error of an answer. Where a bug was raised in the reader is a note, for the log of the service alone."""
    error = MusterError.from_record(frame["error"])
    if "trace" in frame:
        error.add_note(frame["trace"])
    return error


def died() -> RetriableError:
    """The process ended while it worked on a question."""
    return RetriableError("READER_DIED", "the process that was answering has ended; try again")


def _given_up(cancellation: Cancellation, question: Question, *, expired: bool) -> MusterError | None:
    if cancellation.error is not None or not expired:
        return cancellation.error
    return RetriableError("QUESTION_TIMEOUT", f"the answer took longer than {question.limit_s:g} s")
