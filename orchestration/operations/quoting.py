"""The quote for a file that a dry run has verified."""

from pathlib import Path
from typing import TYPE_CHECKING

from connectors.sources.detection import PARQUET_MAGIC
from connectors.storage.pinned import SourceObject
from orchestration.operations.activity_dry_run import ActivityDryRun
from orchestration.operations.dry_run import DryRun
from orchestration.quoting.deployment import Deployment
from orchestration.quoting.prices import Prices, load_prices
from orchestration.quoting.quote import Quote, quote
from orchestration.quoting.rates import shipped_rates
from orchestration.quoting.work import Work

if TYPE_CHECKING:
    from connectors.storage.objects import ObjectStore
    from orchestration.platform.settings import Settings


def prices_of(settings: "Settings") -> Prices:
    """The list prices, with the operator's own prices in place of some. Raises `UserError` BAD_SETTINGS."""
    return load_prices(None if settings.prices_file == Path() else settings.prices_file)


def quote_of(
    source: SourceObject | Path,
    result: DryRun | ActivityDryRun,
    prices: Prices,
    *,
    objects: "ObjectStore",
    settings: "Settings",
) -> Quote:
    """The quote for importing a file, based on the rows counted in it."""
    deployment = Deployment(settings=settings)
    return quote(work_of(objects, source, result), deployment, shipped_rates(), prices)


def work_of(objects: "ObjectStore", source: SourceObject | Path, result: DryRun | ActivityDryRun) -> Work:
    """The file and the effect of its import."""
    if isinstance(source, Path):
        size = source.stat().st_size
        with source.open("rb") as file:
            start = file.read(len(PARQUET_MAGIC))
    else:
        size, start = source.size, objects.read_range(source, 0, len(PARQUET_MAGIC))
    copied = start == PARQUET_MAGIC
    if isinstance(result, ActivityDryRun):
        return Work(rows=result.rows, bytes=size, kind=result.kind, mode="append", copied=copied)
    counts = result.counts
    return Work(
        rows=result.rows,
        bytes=size,
        mode=result.mode,
        base_members=counts.base,
        members=counts.members,
        copied=copied,
    )
