"""Reads TOML tables into frozen dataclasses; reports all errors at once, each with the name of its setting."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import GenericAlias
from typing import Any, Final, TypeVar, get_type_hints

from schemas.errors import UserError

T = TypeVar("T")
_WORDS: Final = {str: "a string", int: "a whole number", bool: "true or false", tuple: "a list of strings"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One problem with one setting (`kafka.mechanism`), worded so that it says what to do."""

    setting: str
    problem: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.problem}"


def refuse(source: str, findings: Sequence[Finding]) -> None:
    """Raise `UserError` BAD_DEPLOYMENT with all findings; no effect without any."""
    if findings:
        raise UserError(
            "BAD_DEPLOYMENT",
            f"{source}: " + "; ".join(map(str, findings)),
            settings=[finding.setting for finding in findings],
            problems=[str(finding) for finding in findings],
        )


def read_toml(path: Path) -> dict[str, Any]:
    """The file as tables. Raises `UserError` BAD_DEPLOYMENT if it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise UserError("BAD_DEPLOYMENT", f"{path} cannot be read: {exc.strerror}", path=str(path)) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise UserError("BAD_DEPLOYMENT", f"{path} is not valid TOML: {exc}", path=str(path)) from exc


def read(into: type[T], tables: Mapping[str, Any], findings: list[Finding], within: str = "") -> T | None:
    """An instance of a dataclass from a table. None, with additions to `findings`, if that is not possible.

    A field `from_` is the key `from`. A field whose type is a dataclass is a table of its own.
    """
    hints = get_type_hints(into)
    given: dict[str, Any] = {}
    known = {field.name.rstrip("_"): field for field in fields(into)}  # type: ignore[arg-type]  # always a dataclass
    before = len(findings)
    unknown = f"is not a setting; known: {', '.join(known)}"
    findings.extend(Finding(setting=within + key, problem=unknown) for key in sorted(tables.keys() - known.keys()))
    for key, field in known.items():
        name, kind = within + key, hints[field.name]
        if key in tables:
            given[field.name] = _value(kind, tables[key], name, findings)
        elif field.default is MISSING and field.default_factory is MISSING:
            if is_dataclass(kind):
                given[field.name] = _value(kind, {}, name, findings)
            else:
                findings.append(Finding(setting=name, problem="is missing"))
    return into(**given) if len(findings) == before else None


def _value(kind: Any, value: object, name: str, findings: list[Finding]) -> Any:
    if is_dataclass(kind) and isinstance(kind, type):
        if isinstance(value, Mapping):
            return read(kind, value, findings, f"{name}.")
        findings.append(Finding(setting=name, problem=f"must be a table, not {value!r}; write [{name}]"))
        return None
    plain = tuple if isinstance(kind, GenericAlias) else kind
    if plain is tuple and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    # In Python True is an int, in TOML it is not.
    if plain is not tuple and isinstance(value, plain) and isinstance(value, bool) == (plain is bool):
        return value
    findings.append(Finding(setting=name, problem=f"must be {_WORDS[plain]}, not {value!r}"))
    return None
