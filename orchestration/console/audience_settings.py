"""The settings of an audience in words, and as a form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast, get_args

from orchestration.access.bodies.audiences import AudienceChange, Retention
from orchestration.access.bodies.imports import ImportSettings
from orchestration.console.formatting import number
from orchestration.console.import_form import null_values_text
from orchestration.console.language import Texts
from orchestration.records.audiences import Audience
from schemas.columns import ImportMode
from schemas.errors import UserError
from schemas.file_lists import Folders
from schemas.import_formats import ImportFormat
from schemas.text_form import DELIMITER_NAMES, ENCODING_LABELS, Delimiter, TextEncoding

MODES: Final[Sequence[str]] = get_args(ImportMode)
FOLDERS: Final[Sequence[str]] = get_args(Folders)
FORMATS: Final[Sequence[str]] = get_args(ImportFormat)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting of the audience's imports, in words."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptColumn:
    """A column of the current version. `source`: its name in the file, if it differs."""

    name: str
    type: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsForm:
    """The fields as the form shows them."""

    mode: str
    id_column: str
    format: str
    max_reject_percent: str
    max_shrink_percent: str
    allow_empty: bool
    timezone: str
    null_values: str
    delimiter: str
    encoding: str
    versions: int
    days: int
    folders: str

    @classmethod
    def of(cls, audience: Audience) -> "SettingsForm":
        """The settings as they are."""
        spec, shrink = audience.spec, audience.spec.get("max_shrink_percent")
        return cls(
            mode=spec["mode"],
            id_column=spec["id_column"],
            format=spec["format"] or "",
            max_reject_percent=f"{100 * spec['max_reject_share']:g}",
            max_shrink_percent="" if shrink is None else f"{shrink:g}",
            allow_empty=spec["allow_empty"],
            timezone=spec["timezone"] or "",
            null_values=null_values_text(spec["null_values"]),
            delimiter=spec.get("delimiter") or ",",
            encoding=spec.get("encoding") or "utf-8",
            versions=audience.retention["versions"],
            days=audience.retention["days"],
            folders=audience.folders,
        )


def words_of(audience: Audience, t: Texts) -> list[Setting]:
    """Each setting in words, those of CSV only where they differ from the usual."""
    form = SettingsForm.of(audience)
    found = {
        "mode": t(f"mode.{form.mode}"),
        "id_column": form.id_column,
        "max_rejects": t("setting.percent_of_rows", percent=form.max_reject_percent),
        "max_shrink": t("setting.percent_of_members", percent=form.max_shrink_percent)
        if form.max_shrink_percent
        else t("setting.no_limit"),
        "allow_empty": t("setting.yes") if form.allow_empty else t("setting.no"),
        "format": form.format or t("setting.by_name"),
        "timezone": form.timezone or t("setting.no_timezone"),
        "null_values": t("setting.and_empty", texts=form.null_values) if form.null_values else t("setting.empty_only"),
    }
    if form.delimiter != ",":
        found["delimiter"] = t(f"delimiter.{next(n for n, one in DELIMITER_NAMES.items() if one == form.delimiter)}")
    if form.encoding != "utf-8":
        found["encoding"] = ENCODING_LABELS[cast(TextEncoding, form.encoding)]
    if lacking := audience.spec.get("allow_missing_columns"):
        found["lacking"] = t.comma.join(lacking)
    found |= {
        "folders": t(f"setting.folders_are.{form.folders}"),
        "retention": t("setting.kept", versions=number(form.versions), days=number(form.days)),
    }
    return [Setting(name=t(f"setting.{name}"), value=value) for name, value in found.items()]


def columns_of(audience: Audience) -> list[KeptColumn]:
    """Columns of the current version, without the user id."""
    sources = {one["name"]: one.get("source") or "" for one in audience.spec["columns"]}
    return [
        KeptColumn(name=str(one["name"]), type=str(one["type"]), source=sources.get(one["name"], ""))
        for one in (audience.current.schema if audience.current else ())
    ]


def change_of(form: Mapping[str, str], shown: SettingsForm) -> AudienceChange:
    """What differs from the settings as they are. Raises `UserError` INVALID_REQUEST."""
    null_values = [one for part in form.get("null_values", "").split(",") if (one := part.strip())]
    wanted: dict[str, Any] = {
        "mode": cast(ImportMode, form.get("mode", shown.mode)),
        "id_column": form.get("id_column", "").strip() or None,
        "format": form.get("format") or None,
        "max_reject_share": _percent(form, "max_reject_percent", shown.max_reject_percent, 0.01),
        "max_shrink_percent": _percent(form, "max_shrink_percent", "", 1),
        "allow_empty": "allow_empty" in form,
        "timezone": form.get("timezone", "").strip() or None,
        "null_values": ["", *null_values],
        "delimiter": cast(Delimiter, form.get("delimiter", shown.delimiter)),
        "encoding": cast(TextEncoding, form.get("encoding", shown.encoding)),
    }
    return AudienceChange(
        settings=ImportSettings(**wanted),
        retention=Retention(versions=_whole(form, "versions"), days=_whole(form, "days")),
        folders=cast(Folders, form.get("folders", shown.folders)),
    )


def _percent(form: Mapping[str, str], name: str, default: str, scale: float) -> float | None:
    text = form.get(name, default).strip()
    try:
        return round(float(text) * scale, 6) if text else None
    except ValueError as exc:
        raise UserError("INVALID_REQUEST", f"{text[:20]!r} is no number of percent, from 0 to 100", field=name) from exc


def _whole(form: Mapping[str, str], name: str) -> int:
    text = form.get(name, "").strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise UserError("INVALID_REQUEST", f"{text[:20]!r} is no whole number", field=name)
    return int(text)
