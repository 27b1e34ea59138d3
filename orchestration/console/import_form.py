"""The settings of an import as a form."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from starlette.requests import Request

from orchestration.access.bodies.imports import ImportSettings, NewColumn
from schemas.columns import ROUNDED, ColumnType, ImportMode
from schemas.errors import UserError
from schemas.text_form import Delimiter, TextEncoding

OTHERS: Final = "with"
"""Query parameter, repeated: uploads that are imported together with that of the path."""


def others_of(request: Request) -> list[str]:
    """The uploads that are imported together with that of the path, in order."""
    return [one[:63] for one in request.query_params.getlist(OTHERS)]


def files_of(upload: str, others: list[str]) -> dict[str, Any]:
    """The members of a request that name the files."""
    return {"uploads": [upload, *others]} if others else {"upload": upload}


def settings_of(form: Mapping[str, str]) -> ImportSettings:
    """The settings in a form. Raises `UserError` INVALID_REQUEST."""
    indices = sorted(
        (name.removeprefix("keep-") for name in form if name.startswith("keep-")), key=lambda n: (len(n), n)
    )
    try:
        share = float(form.get("max_reject_percent") or 0) / 100
    except ValueError as exc:
        raise UserError("INVALID_REQUEST", "the share of rejected rows is a number of percent, from 0 to 100") from exc
    columns = [
        NewColumn(
            name=form.get(f"name-{index}", ""),
            type=cast(ColumnType, form.get(f"type-{index}", "string").removesuffix(ROUNDED)),
            rounded=form.get(f"type-{index}", "").endswith(ROUNDED),
            source=form.get(f"source-{index}") or None,
        )
        for index in indices
    ]
    lacking = [form.get(f"name-{index}", "") for index in indices if f"lacking-{index}" in form]
    return ImportSettings(
        mode=cast(ImportMode, form.get("mode", "replace")),
        id_column=form.get("id_column") or None,
        columns=columns,
        max_reject_share=share,
        timezone=form.get("timezone", "").strip() or None,
        delimiter=cast(Delimiter, form["delimiter"]) if form.get("delimiter") else None,
        encoding=cast(TextEncoding, form["encoding"]) if form.get("encoding") else None,
        null_values=null_values_of(form.get("null_values", "")),
        allow_missing_columns=lacking or None,
    )


def null_values_of(text: str) -> list[str] | None:
    """Texts of a field that mean no value, besides the empty one; None, which keeps the audience's, if it is empty."""
    given = [one for part in text.split(",") if (one := part.strip())]
    return ["", *given] if given else None


def null_values_text(null_values: Iterable[str]) -> str:
    """The texts as the field shows them."""
    return ", ".join(filter(None, null_values))
