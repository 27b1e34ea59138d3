"""The child process that parses one untrusted file; the fork server creates it.

1. The child confines itself first (`connectors.sandbox`): it has no network, and of the file system it sees only the
   files that Python imports.
2. The job arrives as JSON over a socket, with the descriptors of the file and of the pipe for frames.
3. It cannot exceed its limits (RLIMIT_AS, RLIMIT_CPU, no core dump), which are set before it reads a byte of the file.
   It dies with the server, which dies with the process that wants the file.
4. A fault of the file becomes an ERROR frame; a fault of the parser kills the child, and the parent translates that.
"""

import json
import resource
import socket
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, assert_never

from connectors.sources.frames import BatchWriter, FrameKind, write_frame, write_record
from connectors.sources.job import ParseJob
from connectors.sources.ranges import RangeRead, UnknownRangeError
from schemas.errors import MusterError, UserError
from schemas.import_formats import BINARY_MAGIC_BYTES, IMPORT_FORMATS, binary_format
from schemas.records import as_record, from_record
from schemas.text_form import ENCODING_LABELS

if TYPE_CHECKING:
    import pyarrow as pa

    from connectors.sources.compression import ByteSource, CountedSource, Decompressed
    from connectors.sources.digester import Digester
    from connectors.sources.rejects import RejectBatch
    from connectors.sources.suggestion import Chooser, Layout
    from connectors.sources.text_form import TextSample
    from schemas.import_spec import ImportSpec

NO_TYPE: Final = "nested, or of several types"
PROGRESS_S: Final = 0.25
FILE_MAX_BYTES: Final = 64 * 1024 * 1024
"""The child writes no file except its last words."""
EXIT_FAULT: Final = 3
EXIT_MEMORY: Final = 4
EXIT_BUG: Final = 1


def run(control_fd: int) -> int:
    """Parse the file of the one job that arrives. The exit code is for people; the parent reads the frames."""
    with socket.socket(fileno=control_fd) as control:
        _, fds, _, _ = socket.recv_fds(control, 1, 2)
        if not fds:
            return 0  # the child was not needed
        with control.makefile("rb") as stream:
            job = from_record(ParseJob, json.load(stream))
    source_fd, frames_fd = fds
    _confine(job)
    return parse(job, source_fd, frames_fd)


def parse(job: ParseJob, source_fd: int, frames_fd: int) -> int:
    """Parse a file and write its frames. The exit code of the child."""
    try:
        _parse(job, source_fd, frames_fd)
    except MemoryError:  # pyarrow.ArrowMemoryError is one too
        write_record(frames_fd, FrameKind.ERROR, _memory_error(job).as_record())
        return EXIT_MEMORY
    except UnknownRangeError:
        write_record(frames_fd, FrameKind.BEGIN, {"begin": None})
    except MusterError as exc:
        write_record(frames_fd, FrameKind.ERROR, exc.as_record())
        return EXIT_FAULT
    except BrokenPipeError:
        return EXIT_FAULT
    except Exception as exc:  # noqa: BLE001  # a fault of the parser
        report_bug(exc)
        return EXIT_BUG
    return 0


def report_bug(exc: Exception) -> None:
    """Print where an error came from, without its message, which may quote the file: the job's error has the output."""
    traceback.print_tb(exc.__traceback__)
    sys.stderr.write(f"{type(exc).__name__}\n")


def _confine(job: ParseJob) -> None:
    limits = job.limits
    cpu_s = int(limits.cpu_s + limits.cpu_s_per_mib * job.source_size / 2**20) + 1
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_MAX_BYTES, FILE_MAX_BYTES))


def _memory_error(job: ParseJob) -> UserError:
    return UserError(
        "PARSER_MEMORY",
        f"reading the file takes more than {job.limits.memory_bytes} bytes of memory",
        limit_bytes=job.limits.memory_bytes,
    )


class _ReportingSource:
    """A byte source that reports progress when read, so that the child shows signs of life even if it finds no rows."""

    def __init__(self, source: "ByteSource", report_progress: Callable[[], None]) -> None:
        self._source = source
        self._report_progress = report_progress

    def readinto(self, buffer: memoryview) -> int:
        """See `ByteSource`."""
        self._report_progress()
        return self._source.readinto(buffer)


class _Tally:
    """Counts rows and rejects, and sends progress at most every `PROGRESS_S`."""

    def __init__(self, frames_fd: int) -> None:
        self._frames_fd = frames_fd
        self._last = time.monotonic()
        self.accepted = 0
        self.by_code: Counter[str] = Counter()

    def report_progress(self, source_bytes: int) -> None:
        if time.monotonic() - self._last < PROGRESS_S:
            return
        self._last = time.monotonic()
        rejected = self.by_code.total()
        progress = {"source_bytes": source_bytes, "rows": self.accepted + rejected, "rejected": rejected}
        write_record(self._frames_fd, FrameKind.PROGRESS, progress)

    def summary(self) -> dict[str, object]:
        rejected = self.by_code.total()
        return {
            "rows": self.accepted + rejected,
            "accepted": self.accepted,
            "rejected": rejected,
            "rejected_by_code": dict(sorted(self.by_code.items())),
        }


def _parse(job: ParseJob, source_fd: int, frames_fd: int) -> None:
    # Imported here, under the limits, and only as the format needs them: imports are most of the start-up time.
    from connectors.sources.compression import CountedSource, Decompressed
    from connectors.sources.rejects import RejectBatch

    if job.footer:
        from connectors.sources.parquet_reader import row_groups

        groups = [as_record(group) for group in row_groups(source_fd, max_ratio=job.limits.max_ratio)]
        write_record(frames_fd, FrameKind.GROUPS, {"groups": groups})
        return
    tally = _Tally(frames_fd)
    digester = _digester(job)
    add_rows = digester.add if digester is not None else BatchWriter(frames_fd).write
    with open(source_fd, "rb", buffering=0) as raw:  # a descriptor, not a path
        source = CountedSource(raw)
        limits = job.limits
        decoded = Decompressed(
            source, job.compression, max_decoded_bytes=limits.max_decoded_bytes, max_ratio=limits.max_ratio
        )
        choose = (lambda layout: _choose(job, layout, frames_fd)) if job.choose else None
        sample = _sample(job, decoded)
        reader = _reader(
            job,
            sample or decoded,
            source_fd,
            choose,
            lambda: tally.report_progress(source.bytes_read),
            lambda begin: write_record(frames_fd, FrameKind.BEGIN, {"begin": begin}) if job.part is not None else None,
        )
        try:
            for found in reader:
                if isinstance(found, RejectBatch):
                    tally.by_code.update(found.batch.column("code").to_pylist())
                    write_frame(frames_fd, FrameKind.REJECTS, memoryview(found.batch.serialize()))
                else:
                    tally.accepted += found.num_rows
                    add_rows(found)
        except UserError as exc:
            _send_form(job, sample, frames_fd)
            if exc.code != "EMPTY_FILE" or not job.one_of_several:
                raise
    _send_form(job, sample, frames_fd)
    if digester is not None:
        digests = [str(digest) for digest in digester.digests()]
        counts = {} if digester.chunks is None else {"chunks": as_record(digester.chunks)}
        write_record(frames_fd, FrameKind.DIGESTS, {"partitions": digests, **counts})
    summary = {
        **tally.summary(),
        **_bytes_read(job, source, decoded, reader),
        "format": job.format,
        "compression": job.compression,
        "lacking": getattr(reader, "lacking", None),
        "part": None if job.part is None else as_record(_range_read(reader)),
    }
    write_record(frames_fd, FrameKind.SUMMARY, summary)


def _digester(job: ParseJob) -> "Digester | None":
    """Takes the rows instead of the parent, if the job asks for digests; None if it does not."""
    if job.partitions is None:
        return None
    from connectors.sources.digester import Digester

    counter = None
    if job.chunks is not None:
        from schemas.chunk_rule import ChunkCounter

        counter = ChunkCounter(job.spec.row_schema, job.chunks)
    return Digester(job.spec.row_schema, job.partitions, counter)


def _sample(job: ParseJob, decoded: "Decompressed") -> "TextSample | None":
    """Looks at the text of a file that is inspected; None for other files."""
    if not job.choose or job.spec.other_columns or IMPORT_FORMATS[job.format].is_binary:
        return None
    from connectors.sources.text_form import TextSample

    return TextSample(decoded)


def _send_form(job: ParseJob, sample: "TextSample | None", frames_fd: int) -> None:
    if sample is not None:
        write_record(frames_fd, FrameKind.FORM, as_record(sample.form(job.format, job.compression)))


def _choose(job: ParseJob, layout: "Layout", frames_fd: int) -> "ImportSpec":
    """Spec for a file with this layout; the parent gets it before any rows."""
    from connectors.sources.header import present_spec, wanted_columns
    from connectors.sources.suggestion import completed, suggest

    traits = IMPORT_FORMATS[job.format]
    if job.spec.other_columns:
        if traits.has_header:  # only a header with the columns that are named certainly has names, and no values
            names = [name for name, _ in layout.columns]
            wanted_columns(names, present_spec(names, job.spec, alike=not traits.untyped))
        spec = completed(layout, job.spec)
    else:
        given = job.spec
        spec = replace(
            suggest(layout),
            format=job.format,
            timezone=given.timezone,
            delimiter=given.delimiter,
            encoding=given.encoding,
        )
    encoding = "UTF-8 with a byte order mark" if layout.bom else "UTF-8"
    if job.spec.encoding != "utf-8" and traits.untyped:
        encoding = ENCODING_LABELS[job.spec.encoding]
    if traits.is_binary:
        encoding = ""
    record = {
        "names": [name for name, _ in layout.columns],
        "encoding": encoding,
        "format": job.format,
        "compression": job.compression,
        "local_times": list(layout.local_times),
        "file_types": {
            name: layout.file_types.get(name, NO_TYPE)
            for name, type_ in layout.columns
            if type_ is None or name in layout.file_types
        },
        "spec": spec.as_record(),
    }
    write_record(frames_fd, FrameKind.LAYOUT, record)
    return spec


def _reader(
    job: ParseJob,
    decoded: "ByteSource",
    source_fd: int,
    choose: "Chooser | None",
    report_progress: Callable[[], None],
    on_begin: Callable[[int], None],
) -> "Iterable[pa.RecordBatch | RejectBatch]":
    match job.format:
        case "csv":
            from connectors.sources.csv_reader import CsvReader

            return CsvReader(
                _text(job, decoded, report_progress),
                job.spec,
                choose=choose,
                received_at_us=job.received_at_us,
                part=job.part,
                on_begin=on_begin,
            )
        case "jsonl":
            from connectors.sources.jsonl_reader import JsonLinesReader

            return JsonLinesReader(
                _text(job, decoded, report_progress),
                job.spec,
                choose=choose,
                one_of_several=job.one_of_several,
                received_at_us=job.received_at_us,
                part=job.part,
                on_begin=on_begin,
            )
        case "parquet":
            from connectors.sources.parquet_reader import ParquetReader

            return ParquetReader(
                source_fd,
                job.spec,
                max_decoded_bytes=job.limits.max_decoded_bytes,
                max_ratio=job.limits.max_ratio,
                choose=choose,
                received_at_us=job.received_at_us,
                report_progress=report_progress,
                groups=job.groups,
            )
        case "avro":
            from connectors.sources.avro_reader import AvroReader

            return AvroReader(
                open(source_fd, "rb", closefd=False),  # the descriptor is closed by its owner
                job.spec,
                max_decoded_bytes=job.limits.max_decoded_bytes,
                max_ratio=job.limits.max_ratio,
                choose=choose,
                received_at_us=job.received_at_us,
                report_progress=report_progress,
            )
        case _:
            assert_never(job.format)


def _text(job: ParseJob, decoded: "ByteSource", report_progress: Callable[[], None]) -> "ByteSource":
    """The bytes of a text file. A range may begin like any other file, so only its parent looks at the file's start."""
    if job.part is not None and job.part.begin:
        return _ReportingSource(decoded, report_progress)
    return _checked(decoded, report_progress)


def _checked(decoded: "ByteSource", report_progress: Callable[[], None]) -> "ByteSource":
    """The decompressed bytes. Raises `UserError` UNKNOWN_FORMAT for a binary file inside gzip or Zstandard."""
    from connectors.sources.compression import CountedSource
    from connectors.sources.detection import compressed_twice

    source = _ReportingSource(decoded, report_progress)
    start = bytearray(BINARY_MAGIC_BYTES)
    filled = 0
    while filled < len(start) and (n := source.readinto(memoryview(start)[filled:])):
        filled += n
    if (found := binary_format(start[:filled])) is not None:
        raise compressed_twice(IMPORT_FORMATS[found])
    return CountedSource(source, bytes(start[:filled]))


def _bytes_read(
    job: ParseJob, source: "CountedSource", decoded: "Decompressed", reader: "Iterable[object]"
) -> dict[str, int]:
    if job.part is not None:  # so that those of all ranges are those of the file
        size = getattr(reader, "end", 0) - getattr(reader, "begin", 0)
        return {"source_bytes": size, "decoded_bytes": size}
    if IMPORT_FORMATS[job.format].is_binary:
        return {"source_bytes": job.source_size, "decoded_bytes": getattr(reader, "bytes_decoded", 0)}
    return {"source_bytes": source.bytes_read, "decoded_bytes": decoded.bytes_decoded}


def _range_read(reader: "Iterable[object]") -> RangeRead:
    begin, end, lines = (int(getattr(reader, name)) for name in ("begin", "end", "lines"))
    return RangeRead(begin=begin, end=end, lines=lines, fields=getattr(reader, "fields", None))
