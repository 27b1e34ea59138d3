"""Parsers whose children are threads of this process: the same frames, without a process, its limits and its sandbox.

For small files: what a child writes has to fit into the pipe, since nothing can end a thread.
"""

import json
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from connectors.sources.child import parse
from connectors.sources.compression import MAGIC_BYTES
from connectors.sources.job import ParseJob
from connectors.sources.process import ParserProcess
from schemas.records import from_record


def parse_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork no parsers."""
    monkeypatch.setattr("connectors.sources.process.PARSERS", ThreadParsers())
    monkeypatch.setattr(ParserProcess, "_run_on_pipe", _run_on_copy)


class ThreadParsers:
    """A fork server that forks nothing."""

    def fork(self) -> "ThreadChild":
        return ThreadChild()


class ThreadChild:
    """As `ChildProcess`; of one that is killed, nothing more is seen."""

    about = 0
    peak_bytes = 0

    def __init__(self) -> None:
        self.exit_code = 0
        self._frames_fd = -1
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run)

    def assign(self, job: Mapping[str, object], source_fd: int, frames_fd: int) -> None:
        self._job = from_record(ParseJob, json.loads(json.dumps(job)))
        self._source_fd, self._frames_fd = os.dup(source_fd), os.dup(frames_fd)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.exit_code = parse(self._job, self._source_fd, self._frames_fd)
        finally:
            if self._job.footer:  # all other readers close it
                os.close(self._source_fd)
            with self._lock:
                os.close(self._frames_fd)
                self._frames_fd = -1

    def kill(self) -> None:
        with self._lock, Path(os.devnull).open("wb") as nowhere:
            if self._frames_fd >= 0:
                os.dup2(nowhere.fileno(), self._frames_fd)

    def wait(self) -> None:
        if self._thread.ident is not None:
            self._thread.join()

    def stderr_tail(self) -> bytes:
        return b""

    def close(self) -> None:
        self.kill()
        self.wait()


def _run_on_copy(self: ParserProcess, first: bytes, blocks: Iterator[bytes]) -> None:
    """Instead of a pipe, from which a thread could wait for ever."""
    with tempfile.TemporaryFile() as copy:
        copy.writelines((first, *blocks))
        copy.flush()
        copy.seek(0)
        self._launch(copy.fileno(), first[:MAGIC_BYTES])
        self._waiting_for_store = False
        self._wait_for_exit()
