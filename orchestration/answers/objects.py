"""Files in the object store before they are imported."""

from typing import Any, Final

from orchestration.answers.reading import Reading
from orchestration.operations import inspection, quoting, wiring
from orchestration.operations.submit import source_of
from orchestration.readers.questions import InspectObject, TryImport
from schemas.import_targets import kind_of_target


def inspect_object(reading: Reading, asked: InspectObject) -> dict[str, Any]:
    """As `muster inspect --json`. Raises `UserError` BAD_URI, SOURCE_GONE."""
    context = reading.context
    found, suggested = inspection.inspect_object(
        asked.uri,
        kind=asked.kind,
        format_=asked.format,
        limits=context.parse_limits(),
        store=context.objects,
        settings=context.settings,
        tenant=asked.tenant,
    )
    return {**suggested.added_to(found), "command": suggested.command}


def try_import(reading: Reading, asked: TryImport) -> dict[str, Any]:
    """As `muster import --dry-run --json`. Raises as the dry run, and `UserError` BAD_URI, SOURCE_GONE."""
    context = reading.context
    bucket, key = source_of(context.settings, asked.tenant, asked.uri)
    pinned = context.objects.pin(bucket, key)
    prices, kind = quoting.prices_of(context.settings), kind_of_target(asked.target)
    given: dict[str, Any] = {"tenant": asked.tenant, "overrides": asked.spec, "on_progress": lambda _: None}
    result: Any = (
        wiring.dry_runs(context).run(pinned, audience=asked.target, **given)
        if kind == "audience"
        else wiring.activity_dry_runs(context).run(pinned, kind=kind, **given)
    )
    quote = quoting.quote_of(pinned, result, prices, objects=context.objects, settings=context.settings)
    return {**result.as_record(), "quote": quote.as_record()}


ANSWERS: Final = {InspectObject: inspect_object, TryImport: try_import}
