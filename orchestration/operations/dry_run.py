"""Dry run: verifies the file as a real import does, and computes the exact result of the import.

The accepted ids go into a local Parquet file during verification; DuckDB then compares them with the current version,
spilling to disk. Nothing is written to Kafka, the lake or the catalog.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.lake.audience_sql import rows_sql
from connectors.lake.faults import lake_faults
from connectors.sources.parsing import ParseProgress, open_parsed
from connectors.sources.rejects import Reject, RejectBatch
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits, connect
from connectors.storage.pinned import SourceObject
from connectors.verification.policy import EXAMPLES
from connectors.verification.stream import ParsedRows, ParsedSummary
from connectors.verification.verifier import verify_rows
from orchestration.catalog.references import ref_of
from orchestration.kinds.specs import import_spec
from schemas.columns import USER_ID, ImportMode, RowSchema
from schemas.errors import UserError
from schemas.ids import AudienceName, TenantName, Version
from schemas.import_spec import ImportSpec
from schemas.records import as_record
from schemas.sql_text import literal
from segmentation.columns import ColumnChanges, check_change
from segmentation.publishing import check_columns, check_shrink, merged_schema
from segmentation.versions import MembershipCounts, Part, VersionInfo

if TYPE_CHECKING:
    from connectors.sources.limits import ParseLimits
    from connectors.storage.objects import ObjectStore
    from orchestration.catalog.audiences import AudienceStore
    from orchestration.catalog.records import Audience
    from orchestration.kinds.specs import Specs
    from orchestration.platform.settings import Settings
    from segmentation.versions import VersionStore

POLICY: Final = frozenset({"TOO_MANY_REJECTS", "NO_TIMEZONE", "EMPTY_FILE"})
"""Errors that verification raises after reading the whole file: the numbers are still known."""
CHANGES: Final = frozenset({"COLUMNS_WOULD_CHANGE", "SCHEMA_MISMATCH"})
"""Errors about columns: the rest of the file can still be checked."""
IDS: Final = pa.schema([pa.field(USER_ID, pa.string(), nullable=False)])
GROUP_ROWS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """The result an import would have. `problems`: why it would be refused; if empty, it would publish.

    `columns` are those of the next version, `column_changes` their difference from the current version's.
    """

    mode: ImportMode
    rows: int
    accepted: int
    rejected: int
    rejected_by_code: dict[str, int]
    duplicates: int
    counts: MembershipCounts
    columns: RowSchema = field(default_factory=RowSchema)
    column_changes: ColumnChanges | None = None
    problems: tuple[UserError, ...] = ()
    examples: tuple[Reject, ...] = field(default=())

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "mode": self.mode,
            "would_publish": not self.problems,
            "rows": self.rows,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "rejected_by_code": self.rejected_by_code,
            "duplicates": self.duplicates,
            "distinct": self.accepted - self.duplicates,
            "membership": {k: v for k, v in as_record(self.counts).items() if k != "updated"},
            "columns": self.columns.as_record(),
            "column_changes": None if self.column_changes is None else self.column_changes.as_record(),
            "problems": [problem.as_record() for problem in self.problems],
            "rejects": [as_record(r) for r in self.examples],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The version that an import would follow, with its files."""

    info: VersionInfo
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRuns:
    """Dry runs of audience imports. `limits`: of DuckDB, `parse_limits`: of the process that parses the file."""

    audiences: "AudienceStore"
    limits: DuckLimits
    objects: "ObjectStore"
    parse_limits: "ParseLimits"
    s3: S3Access
    settings: "Settings"
    specs: "Specs"
    versions: "Callable[[], VersionStore]"

    def run(
        self,
        source: SourceObject | Path,
        *,
        tenant: TenantName,
        audience: AudienceName,
        overrides: dict[str, Any],
        on_progress: Callable[[ParseProgress], None],
    ) -> DryRun:
        """Verify and compare. Raises what verification raises for a file that cannot be read to its end."""
        known = self.audiences.find(tenant, audience)
        base, kept = self._base(known), ImportSpec() if known is None else self.specs.stored(known)
        spec, problems = kept.with_changes(overrides), []
        try:
            spec = import_spec(audience, kept, overrides)
        except UserError as exc:
            if exc.code not in CHANGES:
                raise
            problems.append(exc)
        with TemporaryDirectory(prefix="muster-dry-run-") as directory:
            ids = Path(directory) / "ids.parquet"
            with (
                open_parsed(source, spec, self.parse_limits, self.objects, on_progress) as parsed,
                _Tee(parsed, ids) as tee,
            ):
                rejects = FirstRejects()
                try:
                    verify_rows(tee, spec, partitions=self.settings.partitions, rejects=rejects)
                except UserError as exc:
                    if exc.code not in POLICY or not tee.ended:
                        raise
                    problems.append(exc)
                summary = tee.summary
            counts, distinct = compare(
                ids,
                base,
                mode=spec.mode,
                s3=self.s3,
                limits=replace(self.limits, temp_directory=Path(directory) / "spill"),
            )
        current = base.info if base is not None else None
        problems += [p for p in _guards(audience, spec, current, counts) if p.code not in {q.code for q in problems}]
        before = None if current is None else current.row_schema
        columns = _columns_of(spec, before)
        return DryRun(
            mode=spec.mode,
            rows=summary.rows,
            accepted=summary.accepted,
            rejected=summary.rejected,
            rejected_by_code=dict(summary.rejected_by_code),
            duplicates=summary.accepted - distinct,
            counts=counts,
            columns=columns,
            column_changes=None if before is None else ColumnChanges.between(before, columns),
            problems=tuple(problems),
            examples=tuple(rejects.first),
        )

    def _base(self, audience: "Audience | None") -> Base | None:
        if audience is None:
            return None
        ref, versions = ref_of(audience), self.versions()
        info = versions.current(ref)
        return None if info is None else Base(info=info, parts=tuple(versions.files(ref, info.version)))


def compare(
    ids: Path,
    base: Base | None,
    *,
    mode: ImportMode,
    s3: S3Access,
    limits: DuckLimits,
) -> tuple[MembershipCounts, int]:
    """(changes that the import would make to the members, distinct ids in `ids`): exact, in bounded memory."""
    incoming = f"select distinct {USER_ID} from read_parquet({literal(str(ids))})"  # noqa: S608  # quoted
    base_rows = rows_sql([part.uri for part in base.parts] if base is not None else [], RowSchema())
    with lake_faults("comparing with the current version"), connect(limits, s3) as connection:
        distinct = _count(connection, f"select count(*) from ({incoming})")  # noqa: S608  # quoted
        members = sum(part.rows for part in base.parts) if base is not None else 0
        common = _count(connection, f"select count(*) from ({base_rows}) semi join ({incoming}) using ({USER_ID})")  # noqa: S608  # quoted
    number = base.info.version if base is not None else None
    return counts_of(mode, base_members=members, distinct=distinct, common=common, base_version=number), distinct


def counts_of(
    mode: ImportMode, *, base_members: int, distinct: int, common: int, base_version: Version | None
) -> MembershipCounts:
    """Counts for a mode, from the sizes of the base, of the file's distinct ids, and of their intersection."""
    added = distinct - common if mode != "remove" else 0
    removed = {"replace": base_members - common, "append": 0, "remove": common}[mode]
    return MembershipCounts(
        base=base_members,
        added=added,
        removed=removed,
        kept=base_members - removed,
        members=base_members - removed + added,
        base_version=base_version,
    )


class FirstRejects:
    """A `RejectsSink` that keeps the first few rejects for the screen, and no file."""

    def __init__(self) -> None:
        self.first: list[Reject] = []

    def write(self, rejects: RejectBatch) -> None:
        """Keep rejects until there are enough examples."""
        room = EXAMPLES - len(self.first)
        if room > 0:
            self.first += RejectBatch(rejects.batch.slice(0, room)).rejects()

    def finish(self) -> str | None:
        """Stands in for the URI of the rejects file."""
        return "not kept by a dry run" if self.first else None


class _Tee:
    """A parse stream that keeps the ids passing through it."""

    def __init__(self, parsed: ParsedRows, path: Path) -> None:
        self._parsed = parsed
        self._writer = pq.ParquetWriter(path, IDS, compression="zstd", compression_level=1)
        self.ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._writer.close()

    def __iter__(self) -> Iterator[pa.RecordBatch | RejectBatch]:
        for item in self._parsed:
            if not isinstance(item, RejectBatch):
                self._writer.write_batch(item.select([USER_ID]).cast(IDS), row_group_size=GROUP_ROWS)
            yield item
        self.ended = True

    @property
    def summary(self) -> ParsedSummary:
        return self._parsed.summary


def _columns_of(spec: ImportSpec, before: RowSchema | None) -> RowSchema:
    """Columns of the next version; those of the file if they do not fit the current ones."""
    if before is None or spec.mode == "replace":
        return spec.row_schema
    try:
        incoming = RowSchema() if spec.mode == "remove" else spec.row_schema
        return merged_schema(before, incoming, {*spec.drop_columns})
    except UserError:
        return spec.row_schema


def _guards(
    audience: AudienceName, spec: ImportSpec, current: VersionInfo | None, counts: MembershipCounts
) -> list[UserError]:
    """Errors that building and publishing would raise."""
    problems = []
    if spec.mode == "remove" and current is None:
        problems.append(UserError("NOTHING_TO_REMOVE_FROM", "the audience has no version to remove users from"))
    try:
        check_shrink(current, counts.members, spec.max_shrink_percent)
    except UserError as exc:
        problems.append(exc)
    if current is None:
        return problems
    try:
        if spec.mode == "append":
            check_columns(current.row_schema, spec.row_schema)
        after, drop, retype = _columns_of(spec, current.row_schema), {*spec.drop_columns}, {*spec.retype_columns}
        check_change(audience, current.row_schema, after, drop=drop, retype=retype)
    except UserError as exc:
        problems.append(exc)
    return problems


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row is not None else 0
