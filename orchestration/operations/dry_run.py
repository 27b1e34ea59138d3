"""Dry run: verifies the file as a real import does, and computes the exact result of the import.

The accepted rows go into a local Parquet file during verification; DuckDB then compares them with the current version,
spilling to disk. Nothing is written to Kafka, the lake or the catalog.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.lake.faults import lake_faults
from connectors.lake.sides import Sides
from connectors.sources.file_set import open_rows
from connectors.sources.parsing import ParseProgress
from connectors.sources.rejects import Reject, RejectBatch
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits, connect
from connectors.storage.pinned import Source
from connectors.verification.policy import EXAMPLES
from connectors.verification.stream import ParsedRows, ParsedSummary
from connectors.verification.verifier import verify_rows
from orchestration.catalog.references import ref_of
from orchestration.kinds.specs import import_spec
from schemas.arrow import arrow_schema
from schemas.columns import ORDINAL, USER_ID, ImportMode, RowSchema
from schemas.errors import UserError
from schemas.ids import AudienceName, TenantName, Version
from schemas.import_spec import ImportSpec
from schemas.records import as_record
from schemas.sql_text import literal
from segmentation.columns import ColumnChanges, check_change
from segmentation.publishing import check_columns, check_shrink, merged_schema
from segmentation.versions import MembershipCounts, Part, VersionInfo, emptied_columns

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
GROUP_ROWS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """The result an import would have. `problems`: why it would be refused; if empty, it would publish.

    `columns` are those of the next version, `column_changes` their difference from the current version's. `nulls`: its
    members without a value, by column; None if its columns do not fit the current ones. `emptied`: see
    `emptied_columns`.
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
    nulls: Mapping[str, int] | None = None
    emptied: Sequence[str] | None = None
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
            "membership": as_record(self.counts),
            "columns": self.columns.as_record(),
            "column_changes": None if self.column_changes is None else self.column_changes.as_record(),
            "nulls_by_column": self.nulls,
            "emptied_columns": self.emptied,
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
        source: Source | Path,
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
            rows = Path(directory) / "rows.parquet"
            with (
                open_rows(source, spec, self.parse_limits, self.objects, on_progress) as parsed,
                _Tee(parsed, rows, spec.row_schema) as tee,
            ):
                rejects = FirstRejects()
                try:
                    verify_rows(tee, spec, partitions=self.settings.partitions, rejects=rejects)
                except UserError as exc:
                    if exc.code not in POLICY or not tee.ended:
                        raise
                    problems.append(exc)
                summary = tee.summary
            current = base.info if base is not None else None
            before = None if current is None else current.row_schema
            merged = _merged_columns(spec, before)
            counts, distinct, nulls = compare(
                rows,
                summary.accepted,
                base,
                spec=spec,
                merged=merged,
                s3=self.s3,
                limits=replace(self.limits, temp_directory=Path(directory) / "spill"),
            )
        problems += [p for p in _guards(audience, spec, current, counts) if p.code not in {q.code for q in problems}]
        columns = merged or spec.row_schema
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
            nulls=nulls,
            emptied=emptied_columns(current, counts.members, nulls),
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
    rows: Path,
    accepted: int,
    base: Base | None,
    *,
    spec: ImportSpec,
    merged: RowSchema | None,
    s3: S3Access,
    limits: DuckLimits,
) -> tuple[MembershipCounts, int, Mapping[str, int] | None]:
    """Changes that the import would make to the members, distinct ids in `rows`, and nulls by column of the result.

    `merged`: columns of the result; without them its nulls are not counted. All is exact, in bounded memory.
    """
    with lake_faults("comparing with the current version"), connect(limits, s3) as connection:
        ids = f"select distinct {USER_ID} from read_parquet({literal(str(rows))})"  # noqa: S608  # quoted
        distinct = _count(connection, f"select count(*) from ({ids})")  # noqa: S608  # quoted
        if distinct < accepted:
            rows = _last_of_each_user(connection, rows)
        sides = Sides(
            incoming=[str(rows)],
            incoming_schema=spec.row_schema,
            base=[part.uri for part in base.parts] if base is not None else [],
            base_schema=base.info.row_schema if base is not None else RowSchema(),
        )
        found = sides.overlap(connection, attributes=spec.mode != "remove")
        nulls = None if merged is None else sides.nulls(connection, spec.mode, merged)
    members = sum(part.rows for part in base.parts) if base is not None else 0
    number = base.info.version if base is not None else None
    counts = counts_of(spec.mode, base_members=members, distinct=distinct, common=found.matched, base_version=number)
    return replace(counts, updated=found.updated), distinct, nulls


def _last_of_each_user(connection: duckdb.DuckDBPyConnection, rows: Path) -> Path:
    """The rows that an import keeps: of each user the one with the highest ordinal."""
    last = rows.with_name("last.parquet")
    connection.execute(
        f"copy (select * from read_parquet({literal(str(rows))}) "  # noqa: S608  # quoted
        f"qualify row_number() over (partition by {USER_ID} order by {ORDINAL} desc) = 1) to {literal(str(last))}"
    )
    return last


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
    """A parse stream that keeps the rows passing through it."""

    def __init__(self, parsed: ParsedRows, path: Path, schema: RowSchema) -> None:
        self._parsed = parsed
        rows = arrow_schema(schema, ordinal=True)
        self._writer = pq.ParquetWriter(path, rows, compression="zstd", compression_level=1)
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
                self._writer.write_batch(item, row_group_size=GROUP_ROWS)
            yield item
        self.ended = True

    @property
    def summary(self) -> ParsedSummary:
        return self._parsed.summary

    @property
    def file(self) -> int:
        return self._parsed.file


def _merged_columns(spec: ImportSpec, before: RowSchema | None) -> RowSchema | None:
    """Columns of the next version. None if there will be none, or those of the file do not fit the current ones."""
    if before is None or spec.mode == "replace":
        return spec.row_schema if spec.mode != "remove" else None
    try:
        incoming = RowSchema() if spec.mode == "remove" else spec.row_schema
        return merged_schema(before, incoming, {*spec.drop_columns})
    except UserError:
        return None


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
        after = _merged_columns(spec, current.row_schema) or spec.row_schema
        drop, retype = {*spec.drop_columns}, {*spec.retype_columns}
        check_change(audience, current.row_schema, after, drop=drop, retype=retype)
    except UserError as exc:
        problems.append(exc)
    return problems


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row is not None else 0
