"""Imports of sets of files whose units are verified and sent side by side: a world of its own, with its own people."""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, Self
from unittest.mock import patch

import pyarrow as pa

from connectors.publishing.chunking import Chunker
from connectors.sources.file_set import FileRead
from connectors.sources.job import ParseSummary
from connectors.sources.ranges import FileRange, RangeRead
from connectors.sources.units import Unit
from connectors.storage.pinned import SourceFiles, SourceObject
from connectors.verification.verifier import verify_rows
from orchestration.entrypoints import unit_handlers
from orchestration.entrypoints.tasks import run_unit
from schemas.chunk_rule import ChunkCounter, ChunkCounts
from schemas.digest import Digest
from schemas.errors import RetriableError, UserError
from schemas.ids import job_id
from schemas.records import from_record
from schemas.row_digest import PartitionDigests
from tests.fakes.import_log import GivenSummary
from tests.simulation import patching
from tests.simulation.parsing import SimulatedFile
from tests.simulation.patching import CHUNK_ROWS, Holder, InlinePool
from tests.simulation.people import USERS, People
from tests.simulation.stores import S3Client
from tests.simulation.world import World

UNIT_BYTES = 12
"""Two or three files of a few users."""


class SimulatedSet:
    """`FileSet` and `DigestedSet` over files of one id per line."""

    def __init__(
        self,
        client: S3Client,
        files: SourceFiles,
        spec: Any,
        *_: object,
        unit: Unit,
        rows_before: int = 0,
        rows_in_file: int = 0,
        partitions: int | None = None,
        chunks: ChunkCounts | None = None,
    ) -> None:
        del rows_in_file  # events are not simulated
        self._client = client
        self._unit = unit
        self._files = unit.of(files)
        self._rows = rows_before
        self._digests = None if partitions is None else PartitionDigests(spec.row_schema, partitions)
        self._counter = None if chunks is None else ChunkCounter(spec.row_schema, chunks, max_rows=CHUNK_ROWS)
        self._schema_id = spec.row_schema.schema_id
        self.file = unit.first
        self.format = "csv"
        self.read: list[FileRead] = []
        self.unknown = False
        self.begin = unit.known_begin
        self.chunks = chunks
        self.digests: tuple[Digest, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def summary(self) -> GivenSummary:
        rows, size = sum(one.summary.rows for one in self.read), sum(one.summary.source_bytes for one in self.read)
        return GivenSummary(rows=rows, accepted=rows, source_bytes=size, decoded_bytes=size)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for number, source in enumerate(self._files, self._unit.first):
            self.file = number
            parsed = SimulatedFile(source, self._client)
            found: RangeRead | None = None
            batches: Sequence[pa.RecordBatch] = [*parsed]
            if self._unit.part is not None:
                batches, found = self._range(source, self._unit.part, pa.Table.from_batches(batches))
                size = found.end - found.begin
                parsed.summary = GivenSummary(rows=found.lines, accepted=found.lines, source_bytes=size)
            for batch in batches:
                ordinals = pa.array([one + self._rows for one in batch.column(0).to_pylist()], pa.int64())
                rows = pa.RecordBatch.from_arrays([ordinals, *batch.columns[1:]], schema=batch.schema)
                if self._digests is None:
                    yield rows
                else:
                    self._digests.add(rows)
                if self._counter is not None:
                    self._counter.add(rows)
            self._rows += parsed.summary.rows
            summary = ParseSummary(
                rows=parsed.summary.rows,
                accepted=parsed.summary.rows,
                rejected=0,
                source_bytes=source.size if found is None else found.end - found.begin,
                decoded_bytes=source.size if found is None else found.end - found.begin,
                format="csv",
                compression="none",
                part=found,
            )
            self.read.append(FileRead(source=source, summary=summary, digest=Digest(schema_id=self._schema_id)))
        if self._digests is not None:
            self.digests = self._digests.digests()
        if self._counter is not None:
            self.chunks = self._counter.counts

    def _range(self, source: SourceObject, part: FileRange, rows: pa.Table) -> tuple[list[pa.RecordBatch], RangeRead]:
        """The lines that begin in a range; of a guess, sometimes all but the first, or a fault that is none."""
        offsets = [0]
        for user in rows.column(1).to_pylist():
            offsets.append(offsets[-1] + len(user) + 1)
        offsets[-1] = source.size
        begin = part.begin
        if not part.exact:
            likely = [*(offset for offset in offsets[:-1] if offset >= begin), source.size, source.size]
            luck = zlib.crc32(f"{source.key} {source.etag} {begin}".encode()) % 4
            begin = likely[1 if luck >= 2 else 0]
            if luck == 3 and likely[0] != likely[1]:
                self.begin = begin
                raise UserError("UNCLOSED_QUOTE", "a guess that begins within quotes", line=1)
        first = next(number for number, offset in enumerate(offsets) if offset >= begin)
        end = max(first, next(number for number, offset in enumerate(offsets) if offset >= part.end))
        table = rows.slice(first, end - first)
        ordinals = pa.array(range(len(table)), pa.int64())
        table = table.set_column(0, rows.schema.field(0), ordinals).combine_chunks()
        return table.to_batches(), RangeRead(begin=begin, end=offsets[end], lines=len(table))


class SetPeople(People):
    """Every upload is a folder of files, some of which are cut into ranges."""

    def _put(self, key: str, mode: str) -> None:
        folder = f"{key.removesuffix('.csv')}/"
        files = self.random.choice((2, 4, 6))
        for number in range(files):
            users = tuple(self.random.choices(USERS, k=self.random.choice((1, 2, 4, 12))))
            self.world.uploaded(f"{folder}{number}.csv", users)
        audience = key.split("/")[1]
        request = {
            "tenant": "acme",
            "audience": audience,
            "bucket": "inbox",
            "key": folder,
            "form": "prefix",
            "overrides": {"mode": mode, "max_shrink_percent": None},
        }
        for _ in range(2 if self.world.faults.strike("event delivered twice") else 1):
            name = self.world.fresh_id()
            self._start(name, {"import": {**request, "job_id": name}})


class UnitWorld(World):
    """A deployment whose imports have several units."""

    people_are = SetPeople
    unit_bytes = UNIT_BYTES

    def _invoke(self, function: str, event: Mapping[str, Any]) -> Any:
        if (handler := getattr(unit_handlers, function, None)) is None:
            return super()._invoke(function, event)
        return json.loads(json.dumps(handler(json.loads(json.dumps(event)), None)))

    def _run_task(self, arguments: list[str]) -> int:
        if not arguments[0].endswith("-unit"):
            return super()._run_task(arguments)
        command, job, execution, number, *attempt = arguments
        try:
            run_unit(self.context, command, job_id(job), int(number), execution, *attempt)
        except RetriableError:
            return 1
        return 0

    def _files(self, source: Mapping[str, Any]) -> list[SourceObject]:
        if "units" not in source:
            return [from_record(SourceObject, source)]
        return [from_record(SourceObject, record) for record in json.loads(self.objects.lists[source["units"]])]

    def rows_of(self, source: Mapping[str, Any]) -> tuple[str, ...]:
        files = self._files(source)
        return tuple(
            row for file in files for row in self.uploads[file.key, file.etag, int(file.last_modified.timestamp())]
        )

    def overwritten(self, source: Mapping[str, Any]) -> bool:
        if self.store.buckets["inbox"].versioned:
            return False
        newest = [(self.store.find("inbox", file.key), file) for file in self._files(source)]
        return any(found is None or found.etag != file.etag for found, file in newest)


@contextmanager
def patched(holder: "Holder[World]") -> Iterator[None]:
    """As `patching.patched`, with what reads units."""

    def sets(*given: Any, **named: Any) -> SimulatedSet:
        return SimulatedSet(holder.now.s3, *given, **named)

    def whole(source: Any, spec: Any) -> Any:
        if not isinstance(source, tuple):
            return SimulatedFile(source, holder.now.s3)
        return sets(source, spec, unit=Unit(first=0, files=len(source)))

    def verify_file(source: Any, spec: Any, *, partitions: int, rejects: Any, **_: Any) -> Any:
        return verify_rows(whole(source, spec), spec, partitions=partitions, rejects=rejects)

    @contextmanager
    def open_rows(source: Any, spec: Any, *_: Any) -> Iterator[Any]:
        yield whole(source, spec)

    parsers = SimpleNamespace(prepare=lambda: None)
    replaced: dict[str, Any] = {
        "orchestration.kinds.verify.verify_side_by_side": verify_file,
        "orchestration.kinds.send.open_rows": open_rows,
        "orchestration.entrypoints.unit_handlers.process_context": lambda: holder.now.context,
        "orchestration.entrypoints.unit_handlers.PARSERS": parsers,
        "connectors.verification.units.DigestedSet": sets,
        "orchestration.kinds.units.send.FileSet": sets,
        "orchestration.kinds.units.results.ThreadPoolExecutor": InlinePool,
        "connectors.publishing.unit_importer.Chunker": partial(Chunker, max_rows=CHUNK_ROWS),
        "connectors.publishing.unit_importer.monotonic": lambda: holder.now.kernel.now_us / 1e6,
    }
    with patching.patched(holder), ExitStack() as stack:
        for target, value in replaced.items():
            stack.enter_context(patch(target, value))
        yield
