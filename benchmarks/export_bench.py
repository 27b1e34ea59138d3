"""Exports compared with DuckDB writing the same rows unchecked, and reading them back compared with a plain SHA-256."""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.measure import Measured, Result, best_of
from benchmarks.setting import Setting, warm_parser
from benchmarks.versions import ROW_SCHEMA, TENANT, Versions, make_versions
from connectors.lake.audience_sql import rows_sql
from connectors.sinks.checking import check
from connectors.sinks.export_order import ExportOrder
from connectors.sinks.exporting import export
from connectors.sinks.local_folder import LocalFolder
from connectors.sinks.receiving import read_manifest
from connectors.sources.fork_server import PARSERS
from connectors.sources.limits import ParseLimits
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits, connect
from orchestration.composition.context import Context
from orchestration.platform.clock import fresh_id
from schemas.manifest import MANIFEST_NAME, ExportFormat, FileFormat
from schemas.warm import warm

NULL_TOKEN: Final = ""
GOAL: Final = 1 / 1.5
GOAL_DELTA: Final = 1 / 2
PEAK_MIB: Final = 1536
MIB: Final = 1024 * 1024
BARE_MEMORY: Final = 8 * 1024 * MIB
"""Memory for the baselines, which should be as fast as they can be."""
BARE_OPTIONS: Final = {
    "parquet": "FORMAT parquet, COMPRESSION zstd",
    "csv": "FORMAT csv, HEADER",
}


def run(setting: Setting) -> list[Result]:
    """Muster and DuckDB both read the lake through S3 and write sorted files to the same disk."""
    context = Context(setting.settings)
    versions = make_versions(context, setting.rows, setting.scratch)
    limits = context.duck_limits
    bench = _Bench(setting, versions, context.s3, limits, replace(limits, memory_bytes=BARE_MEMORY))
    return [
        *bench.whole("parquet"),
        *bench.whole("csv"),
        *bench.delta(),
        *bench.verify("parquet"),
        *bench.verify("csv"),
    ]


class _Bench:
    def __init__(
        self, setting: Setting, versions: Versions, s3: S3Access, limits: DuckLimits, bare: DuckLimits
    ) -> None:
        self._repeat = setting.repeat
        self._versions = versions
        self._out = setting.scratch / "exports"
        self._out.mkdir()
        self._s3 = s3
        self._limits = limits
        self._bare = bare

    def whole(self, format_: FileFormat) -> list[Result]:
        """Export all members of a version."""
        new = rows_sql(self._versions.later.uris, ROW_SCHEMA)
        label = f"DuckDB COPY, {format_}"
        bare = best_of(self._repeat, copy, f"{new} ORDER BY user_id", format_, self._out, self._s3, self._bare)
        ours = best_of(
            self._repeat, write, self._order(format_), self._folder(format_), self._s3, self._limits, prepare=warm
        )
        return [
            Result(benchmark="export", label=label, best=bare, note=_size(self._out / f"bare.{format_}")),
            Result(
                benchmark="export",
                label=f"muster export, {format_}",
                best=ours,
                baseline=label,
                goal=GOAL,
                note=_size(self._folder(format_)),
            ),
            Result(
                benchmark="export",
                label=f"memory, {format_}",
                best=ours,
                target=f"< {PEAK_MIB} MiB",
                met=ours.peak_bytes < PEAK_MIB * MIB,
            ),
        ]

    def delta(self) -> list[Result]:
        """Export the rows added and removed between two versions; the baseline is the fastest of several queries."""
        new, old = (rows_sql(one.uris, ROW_SCHEMA) for one in (self._versions.later, self._versions.base))
        queries = {
            "EXCEPT": (f"{new} EXCEPT {old}", f"{old} EXCEPT {new}"),
            "ANTI JOIN": (_anti(new, old), _anti(old, new)),
            "FULL JOIN": (_full(new, old),),
        }
        runs = {
            name: best_of(self._repeat, copy_all, both, self._out, self._s3, self._bare)
            for name, both in queries.items()
        }
        best = min(runs, key=lambda name: runs[name].wall_s)
        rows = self._versions.later.info.members + self._versions.base.info.members
        label = f"DuckDB delta, {best}"
        folder = self._folder("delta")
        ours = best_of(
            self._repeat, write, self._order("parquet", delta=True), folder, self._s3, self._limits, prepare=warm
        )
        return [
            Result(benchmark="export", label=label, best=replace(runs[best], rows=rows), note=_seconds(runs)),
            Result(
                benchmark="export",
                label="muster export --delta-from",
                best=replace(ours, rows=rows),
                baseline=label,
                goal=GOAL_DELTA,
                note="rows of both versions",
            ),
        ]

    def verify(self, format_: FileFormat) -> list[Result]:
        """Read back what `whole` has written, compared with hashing it."""
        folder = self._folder(format_)
        rows = self._versions.later.info.members
        bare = replace(best_of(self._repeat, sha256, folder), rows=rows)
        label = f"SHA-256, {format_}"
        ours = best_of(self._repeat, verify, folder, self._s3, prepare=warm_parser)
        return [
            Result(benchmark="verify export", label=label, best=bare, note=_speed(folder, bare.wall_s)),
            Result(
                benchmark="verify export",
                label=f"muster verify, {format_}",
                best=ours,
                baseline=label,
                note=_speed(folder, ours.wall_s),
            ),
        ]

    def _folder(self, name: str) -> Path:
        return self._out / name

    def _order(self, format_: FileFormat, *, delta: bool = False) -> ExportOrder:
        return ExportOrder(
            export_id=fresh_id(),
            tenant=TENANT,
            audience=self._versions.audience,
            version=self._versions.later,
            base=self._versions.base if delta else None,
            format=ExportFormat(format=format_, null_token=NULL_TOKEN if format_ == "csv" else None),
            created_at="2026-11-25T00:00:00Z",
        )


def copy(query: str, format_: FileFormat, out: Path, s3: S3Access, limits: DuckLimits) -> int:
    """Bare DuckDB: one file, no counts."""
    with connect(limits, s3) as connection:
        target = out / f"bare.{format_}"
        [(rows,)] = connection.execute(f"COPY ({query}) TO '{target}' ({BARE_OPTIONS[format_]})").fetchall()
    return int(rows)


def copy_all(queries: tuple[str, ...], out: Path, s3: S3Access, limits: DuckLimits) -> int:
    """One sorted file per query."""
    return sum(copy(f"SELECT * FROM ({query}) ORDER BY user_id", "parquet", out, s3, limits) for query in queries)


def write(order: ExportOrder, folder: Path, s3: S3Access, limits: DuckLimits) -> int:
    """An export in this process, as its task runs it."""
    shutil.rmtree(folder, ignore_errors=True)
    return sum(file.rows for file in export(order, LocalFolder(folder), s3=s3, limits=limits).files)


def sha256(folder: Path) -> int:
    """Read and hash every file: the minimum work of a receiver."""
    files = [path for path in folder.iterdir() if path.name != MANIFEST_NAME]
    for path in files:
        with path.open("rb") as stream:
            hashlib.file_digest(stream, "sha256")
    return len(files)


def verify(folder: Path, s3: S3Access) -> int:
    """`muster verify`, without the start of the command."""
    PARSERS.prepare()
    with read_manifest(str(folder / MANIFEST_NAME), s3, folder) as (manifest, files):
        if (difference := check(manifest, files, limits=ParseLimits())) is not None:
            raise RuntimeError(str(difference))
        return sum(file.rows for file in manifest.files)


def _anti(rows: str, others: str) -> str:
    same = " AND ".join(f"r.{name} IS NOT DISTINCT FROM o.{name}" for name in ROW_SCHEMA.names)
    return f"SELECT * FROM ({rows}) r ANTI JOIN ({others}) o ON {same}"


def _full(new: str, old: str) -> str:
    """Both sides in one query: the side that a row comes from is its change."""
    names = ROW_SCHEMA.names
    changed = " OR ".join(f"n.{name} IS DISTINCT FROM o.{name}" for name in names)
    one = ", ".join(f"unnest([n.{name}, o.{name}]) AS {name}" for name in names)
    both = f"SELECT {one}, unnest(['added', 'removed']) AS change FROM ({new}) n FULL JOIN ({old}) o "
    return f"SELECT * FROM ({both} ON n.user_id = o.user_id WHERE {changed}) WHERE user_id IS NOT NULL"


def _size(path: Path) -> str:
    return f"{_bytes(path) / 1e6:.0f} MB"


def _speed(path: Path, wall_s: float) -> str:
    return f"{_bytes(path) / 1e6 / wall_s:.0f} MB/s"


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size


def _seconds(runs: Mapping[str, Measured]) -> str:
    return ", ".join(f"{name} {run.wall_s:.1f} s" for name, run in runs.items())
