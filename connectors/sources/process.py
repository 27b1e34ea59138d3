"""The parent's side of the parsing child: feed it the file, and find out how it died.

One keeper thread per file feeds the child and waits for it to exit.
"""

import contextlib
import fcntl
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import IO, Final, Protocol

from connectors import sandbox
from connectors.fork_server.child_process import ChildProcess
from connectors.sources.compression import MAGIC_BYTES
from connectors.sources.detection import detect
from connectors.sources.fork_server import PARSERS
from connectors.sources.job import ParseJob
from connectors.sources.limits import ParseLimits
from connectors.sources.ranges import FileRange
from schemas.chunk_rule import ChunkCounts
from schemas.errors import FatalError, MusterError, RetriableError, UserError
from schemas.import_formats import IMPORT_FORMATS, FormatTraits, ImportFormat
from schemas.import_spec import ImportSpec
from schemas.records import as_record

PARSER: Final = "the process that reads a customer's file"
PIPE_BYTES: Final = 1024 * 1024
MEMORY_WORDS: Final = (b"bad_alloc", b"MemoryError", b"Cannot allocate memory", b"out of memory")


class FileBytes(Protocol):
    """A file to be parsed: its name, size in bytes, time of writing, and blocks in order."""

    name: str
    size: int
    modified_us: int
    """Microseconds since 1970 UTC."""

    def blocks(self) -> Iterator[bytes]:
        """The content. Raises `MusterError` if it cannot be read or has changed."""

    def local_file(self) -> IO[bytes] | None:
        """The file itself if it is on local disk, else None."""

    @property
    def part(self) -> FileRange | None:
        """The range of the file that the blocks have, behind the file's first `FileRange.head` bytes; None for all."""

    @property
    def groups(self) -> tuple[int, int] | None:
        """The row groups of a Parquet file that the local file has; None for all."""


class ParserProcess:
    """One child process. `frames_fd` is readable once `start` has returned."""

    def __init__(
        self,
        source: FileBytes,
        spec: ImportSpec,
        limits: ParseLimits,
        *,
        choose: bool = False,
        one_of_several: bool = False,
        partitions: int | None = None,
        chunks: ChunkCounts | None = None,
        footer: bool = False,
    ) -> None:
        self._footer = footer
        self.format: ImportFormat | None = None
        """Known once the child has the file."""
        self._choose = choose
        self._one_of_several = one_of_several
        self._partitions = partitions
        self._chunks = chunks
        self._source = source
        self._spec = spec
        self._limits = limits
        self._child: ChildProcess | None = None
        self.peak_bytes = 0
        """Peak memory of the child; set once it has exited."""
        self._assigned = False
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._killed = False
        self._thread = threading.Thread(target=self._supervise, name="parser-keeper", daemon=True)
        self._waiting_for_store = True
        self._last_fed = time.monotonic()
        self.frames_fd, self._child_frames_fd = os.pipe()
        _widen(self.frames_fd)

    def start(self) -> None:
        """Start the keeper and wait until the child has the file. Raises errors from reading the file's first bytes."""
        self._thread.start()
        self._started.wait()
        if not self._assigned:
            self.finish()

    def fed_at(self) -> float:
        """Time the child last got bytes (monotonic clock); now, while the parent itself waits for the store."""
        return time.monotonic() if self._waiting_for_store else self._last_fed

    def kill(self) -> None:
        """Kill the child."""
        self._killed = True
        if self._child is not None:
            self._child.kill()

    def finish(self) -> None:
        """Wait for the child to exit. Raises an error of the source that occurred before that."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Kill the child if it still runs and release everything. May be called twice."""
        self.kill()
        if self._thread.ident is not None:
            self._thread.join()
        if self.frames_fd >= 0:
            os.close(self.frames_fd)
            self.frames_fd = -1
        if self._child is not None:
            self._child.close()
            self._child = None

    def death(self) -> MusterError:
        """Error for a child that died without a final frame; after `finish`."""
        assert self._child is not None  # noqa: S101  # the child has started
        code, stderr_tail = self._child.exit_code, self._child.stderr_tail()
        detail = {"exit_code": code, "stderr": stderr_tail.decode(errors="replace")}
        if any(word in stderr_tail for word in MEMORY_WORDS):
            limit = self._limits.memory_bytes
            return UserError("PARSER_MEMORY", f"reading the file takes more than {limit} bytes of memory", **detail)
        if code == -signal.SIGXCPU:
            return UserError("PARSER_TIMEOUT", "reading the file takes more CPU time than is allowed", **detail)
        if code in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT):
            return RetriableError("PARSER_KILLED", f"the parser was killed from outside (signal {-code})", **detail)
        if code < 0:
            name = signal.Signals(-code).name
            return UserError("PARSER_CRASHED", f"the file crashes the parser ({name}), so it is refused", **detail)
        return FatalError("PARSER_FAILED", f"the parser ended with code {code} and printed nothing", **detail)

    def _supervise(self) -> None:
        try:
            self._run()
        except BaseException as exc:  # noqa: BLE001  # raised again in the thread that reads the frames
            self._error = exc
            self.kill()
        finally:
            self._wait_for_exit()
            self._close_child_frames()
            self._started.set()

    def _run(self) -> None:
        local = self._source.local_file()
        if local is not None:
            with local:
                self._launch(local.fileno(), os.pread(local.fileno(), MAGIC_BYTES, 0))
                self._waiting_for_store = False
                self._wait_for_exit()
            return
        blocks = self._source.blocks()
        first = next(blocks, b"")
        format_, _ = detect(self._source.name, first[:MAGIC_BYTES], self._spec.format)
        if (traits := IMPORT_FORMATS[format_]).is_binary:
            self._run_on_copy(traits, first, blocks)
        else:
            self._run_on_pipe(first, blocks)

    def _run_on_copy(self, traits: FormatTraits, first: bytes, blocks: Iterator[bytes]) -> None:
        if self._source.size > self._limits.max_file_bytes:
            raise UserError(
                "FILE_TOO_LARGE",
                f"{traits.a_file} may have at most {self._limits.max_file_bytes} bytes, not {self._source.size}",
                limit_bytes=self._limits.max_file_bytes,
            )
        with tempfile.TemporaryFile() as copy:
            block: bytes | None = first
            while block is not None and not self._killed:
                copy.write(block)
                block = next(blocks, None)
            copy.flush()
            copy.seek(0)
            self._launch(copy.fileno(), first[:MAGIC_BYTES])
            self._waiting_for_store = False
            self._wait_for_exit()

    def _run_on_pipe(self, first: bytes, blocks: Iterator[bytes]) -> None:
        read_fd, write_fd = os.pipe()
        _widen(write_fd)
        try:
            try:
                self._launch(read_fd, first[:MAGIC_BYTES])
            finally:
                os.close(read_fd)
            block: bytes | None = first
            while block is not None and not self._killed:
                self._waiting_for_store = False
                view = memoryview(block)
                while view:
                    view = view[os.write(write_fd, view) :]
                    self._last_fed = time.monotonic()
                self._waiting_for_store = True
                block = next(blocks, None)
        except BrokenPipeError:
            pass  # the child has exited: its frames say why
        except BaseException:
            # The end of the pipe must not look like the end of the file, so the child is killed before it can see it.
            self.kill()
            self._wait_for_exit()
            raise
        finally:
            self._waiting_for_store = False
            os.close(write_fd)
        self._wait_for_exit()

    def _launch(self, source_fd: int, start: bytes) -> None:
        format_, compression = detect(self._source.name, start, self._spec.format)
        job = ParseJob(
            spec=self._spec,
            limits=self._limits,
            format=format_,
            compression=compression,
            source_size=self._source.size,
            received_at_us=self._source.modified_us,
            choose=self._choose,
            one_of_several=self._one_of_several,
            partitions=self._partitions,
            chunks=self._chunks,
            part=self._source.part,
            groups=self._source.groups,
            footer=self._footer,
        )
        if job.part is not None and (compression != "none" or IMPORT_FORMATS[format_].is_binary):
            raise FatalError("BAD_RANGE", f"a range of {self._source.name}, which cannot be cut")
        self._child = PARSERS.fork()
        missing = sandbox.Layer(self._child.about)
        if self._limits.sandbox_required:
            sandbox.require(PARSER, missing)
        sandbox.warn(PARSER, missing)
        self._assigned, self.format = True, format_
        self._started.set()
        if self._killed:
            self.kill()
        self._child.assign(as_record(job), source_fd, self._child_frames_fd)
        self._close_child_frames()

    def _close_child_frames(self) -> None:
        if self._child_frames_fd >= 0:
            os.close(self._child_frames_fd)
            self._child_frames_fd = -1

    def _wait_for_exit(self) -> None:
        if self._child is not None:
            self._child.wait()
            self.peak_bytes = self._child.peak_bytes


def _widen(fd: int) -> None:
    """Widen a pipe from 64 KiB to 1 MiB if the system allows it, for fewer switches between the processes."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
