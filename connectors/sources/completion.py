"""Complete an import spec that keeps the columns it does not name (`ImportSpec.other_columns`)."""

from collections.abc import Callable
from pathlib import Path

from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import ParsedFile, source_file
from connectors.sources.rejects import RejectBatch
from connectors.sources.typed_columns import check_timezone
from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import SourceObject
from schemas.errors import FatalError
from schemas.import_spec import ImportSpec


def complete_spec(
    source: SourceObject | Path,
    spec: ImportSpec,
    limits: ParseLimits,
    store: ObjectStore | None = None,
    *,
    keep: Callable[[RejectBatch], None] = lambda _: None,
) -> ImportSpec:
    """The spec with all columns of the file; for JSON Lines, with all members of its first lines (at most 1,000).

    A child reads the file from its beginning, as far as needed. Raises `UserError` BAD_COLUMN, BAD_COLUMN_TYPE,
    BAD_SPEC, which name the column, and the errors of `parsing.open_parsed` and of reading the first rows; `keep` takes
    the header of a file that is refused for it.
    """
    check_timezone(spec.timezone)
    with ParsedFile(source_file(source, store), spec, limits, None, choose=True) as parsed:
        for batch in parsed:
            if not isinstance(batch, RejectBatch) or batch.of_rows.num_rows:
                break
            keep(batch)
        layout = parsed.layout
    if layout is None:
        raise FatalError("BAD_FRAME", "the parser sent rows before the list of columns")
    found: ImportSpec = layout["spec"]
    return found
