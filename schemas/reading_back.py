"""How an import reads the files of an export, from its manifest alone."""

from typing import Any

from schemas.errors import UserError
from schemas.import_spec import ImportSpec
from schemas.manifest import Manifest


def import_spec(manifest: Manifest) -> ImportSpec:
    """Spec with which an import reads the files of an export back: its types and its null token."""
    token = manifest.format.null_token
    return ImportSpec(
        columns=manifest.schema.columns,
        format=manifest.format.format,
        null_values=() if token is None else (token,),
    )


def written_as(manifest: Manifest, address: str, source: str) -> dict[str, Any]:
    """Columns, format and null token of a file of an export, as keys of an import spec.

    `address`: of the manifest. `source` is a path or a URI; its last part is looked up in the manifest. Raises
    `UserError` NOT_IN_MANIFEST, ESCAPED_EXPORT.
    """
    name = source.rpartition("/")[2]
    if not any(file.key.rpartition("/")[2] == name for file in manifest.files):
        raise UserError("NOT_IN_MANIFEST", f"{address} names no file {name}", manifest=address, file=name)
    if manifest.format.formulas == "escape":
        raise UserError(
            "ESCAPED_EXPORT",
            "texts of this export that look like formulas begin with an apostrophe, so they are not the audience's "
            "values; export it with --formulas as-is to import it",
            manifest=address,
        )
    spec = import_spec(manifest).as_record()
    return {name: spec[name] for name in ("id_column", "columns", "format", "null_values")}
