"""Files in the object store before they are imported."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import SourceFiles
from orchestration.answers.reading import Reading
from orchestration.kinds.file_sets import Address, check_formats, choose
from orchestration.kinds.places import AllowedLocations
from orchestration.operations import inspection
from orchestration.operations.activity_dry_run import ActivityDryRun
from orchestration.operations.dry_run import DryRun
from orchestration.operations.submit import source_of
from orchestration.platform.settings import Settings
from orchestration.quoting.deployment import Deployment
from orchestration.quoting.prices import Prices, load_prices
from orchestration.quoting.quote import quote
from orchestration.quoting.rates import shipped_rates
from orchestration.quoting.work import Work
from orchestration.readers.questions import InspectObject, TryImport
from schemas.import_formats import BINARY_MAGIC_BYTES, ImportFormat, binary_format, may_be_cut
from schemas.import_targets import kind_of_target


def inspect_object(reading: Reading, asked: InspectObject) -> dict[str, Any]:
    """As `muster inspect --json`. Raises `UserError` BAD_URI, SOURCE_GONE."""
    context = reading.context
    found, suggested = inspection.inspect_object(
        asked.uri,
        kind=asked.kind,
        format_=asked.format,
        limits=context.parse_limits,
        store=context.objects,
        settings=context.settings,
        tenant=asked.tenant,
    )
    return {**suggested.added_to(found), "command": suggested.command}


def try_import(reading: Reading, asked: TryImport) -> dict[str, Any]:
    """As `muster import --dry-run --json`. Raises as the dry run, and `UserError` BAD_URI, SOURCE_GONE."""
    context = reading.context
    bucket, key = source_of(context.settings, asked.tenant, asked.uri)
    allowed = AllowedLocations(tenant=asked.tenant, places=context.places, settings=context.settings)
    chosen = choose(Address(bucket=bucket, key=key, form=asked.form), objects=context.objects, allowed=allowed)
    pinned = chosen.source
    check_formats(chosen.files, asked.spec.get("format"))
    prices, kind = prices_of(context.settings), kind_of_target(asked.target)
    given: dict[str, Any] = {"tenant": asked.tenant, "overrides": asked.spec, "on_progress": lambda _: None}
    result: Any = (
        context.dry_runs.run(pinned, audience=asked.target, **given)
        if kind == "audience"
        else context.activity_dry_runs.run(pinned, kind=kind, **given)
    )
    work = work_of(context.objects, chosen.files, result, asked.spec.get("format"))
    quoted = quote(work, Deployment(settings=context.settings), shipped_rates(), prices)
    read = {"files": len(chosen.files), **chosen.left_out_record()} if asked.form != "object" else {}
    return {**result.as_record(), **read, "quote": quoted.as_record()}


def prices_of(settings: Settings) -> Prices:
    """The list prices, with the operator's own prices in place of some. Raises `UserError` BAD_SETTINGS."""
    return load_prices(None if settings.prices_file == Path() else settings.prices_file)


def work_of(
    objects: ObjectStore, files: SourceFiles, result: DryRun | ActivityDryRun, wanted: ImportFormat | None
) -> Work:
    """The files and the effect of their import, based on the rows counted in them. `wanted`: as the spec says."""
    read = Work(
        rows=result.rows,
        bytes=sum(file.size for file in files),
        files=len(files),
        cut=may_be_cut(files[0].key, wanted),
        copied=binary_format(objects.read_range(files[0], 0, BINARY_MAGIC_BYTES)) is not None,
    )
    if isinstance(result, ActivityDryRun):
        return replace(read, kind=result.kind, mode="append")
    return replace(read, mode=result.mode, base_members=result.counts.base, members=result.counts.members)


ANSWERS: Final = {InspectObject: inspect_object, TryImport: try_import}
