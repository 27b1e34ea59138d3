"""Turn an untrusted file into digests and rejects: the child process that parses the file also digests its rows.

    with open_digested(path, spec, limits, partitions=8) as digested:
        for rejects in digested: ...             # REJECT_SCHEMA
    digested.digests                             # only now is the file known to be whole

Publishing needs the rows themselves: `parsing.open_parsed`.
"""

from collections.abc import Iterator
from pathlib import Path

from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import ParsedFile, ProgressListener, source_file
from connectors.sources.process import FileBytes
from connectors.sources.rejects import RejectBatch
from connectors.sources.typed_columns import check_timezone
from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import SourceObject
from schemas.chunk_rule import ChunkCounts
from schemas.digest import Digest
from schemas.errors import FatalError
from schemas.import_spec import ImportSpec


class DigestedFile(ParsedFile):
    """Like `ParsedFile`, but yields only rejects; accepted rows become a count and digest per partition."""

    def __init__(
        self,
        source: FileBytes,
        spec: ImportSpec,
        limits: ParseLimits,
        on_progress: ProgressListener | None,
        *,
        one_of_several: bool = False,
        partitions: int,
        chunks: ChunkCounts | None = None,
    ) -> None:
        self._schema_id = spec.row_schema.schema_id
        self._partitions = partitions
        super().__init__(
            source,
            spec,
            limits,
            on_progress,
            one_of_several=one_of_several,
            partitions=partitions,
            chunks=chunks,
        )

    @property
    def digests(self) -> tuple[Digest, ...]:
        """Digest of each partition, in order.

        Raises RuntimeError before the iteration has ended, and `FatalError` BAD_FRAME if the parser sent other digests.
        """
        _ = self.summary
        if [digest.schema_id for digest in self._digests] != [self._schema_id] * self._partitions:
            raise FatalError("BAD_FRAME", f"the parser sent no digests of {self._partitions} partitions")
        return self._digests

    @property
    def chunks(self) -> ChunkCounts:
        """Chunks of its rows and those before. Raises as `digests`; only if the job has the chunks before the file."""
        _ = self.summary
        if self._chunks is None or self._chunks.partitions != self._partitions:
            raise FatalError("BAD_FRAME", f"the parser counted no chunks of {self._partitions} partitions")
        return self._chunks

    def __iter__(self) -> Iterator[RejectBatch]:
        for found in super().__iter__():
            if not isinstance(found, RejectBatch):
                raise FatalError("BAD_FRAME", "the parser sent rows that it should have digested")
            yield found


def open_digested(
    source: SourceObject | Path,
    spec: ImportSpec,
    limits: ParseLimits | None = None,
    store: ObjectStore | None = None,
    on_progress: ProgressListener | None = None,
    *,
    partitions: int,
) -> DigestedFile:
    """Like `open_parsed`."""
    check_timezone(spec.timezone)
    return DigestedFile(source_file(source, store), spec, limits or ParseLimits(), on_progress, partitions=partitions)
