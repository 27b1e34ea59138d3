"""The findings of an inspection in the reader's language."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestration.console.language import Texts

SHOWN: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingText:
    """A finding. `command`: converts the file. `is_english`: there is no translation."""

    text: str
    command: str
    is_english: bool = False


def finding_texts(findings: Iterable[Mapping[str, Any]], t: Texts) -> list[FindingText]:
    """All findings in words."""
    return [_finding(one, t) for one in findings]


def _finding(one: Mapping[str, Any], t: Texts) -> FindingText:
    key = f"finding.{_key(one)}"
    command = str(one["suggestion"] or "") if one["blocking"] else ""
    if not t.has(key):
        return FindingText(text=one["message"], command=command, is_english=True)
    values = {name: _shown(name, value, t) for name, value in one["detail"].items()}
    return FindingText(text=t(key, **{**values, "column": one["column"] or ""}), command=command)


def _key(one: Mapping[str, Any]) -> str:
    detail = one["detail"]
    match one["code"]:
        case "encoding" if not detail["encoding"]:
            return "encoding_unclear"
        case "encoding" | "separator" as code if detail.get("reads"):
            return f"{code}_read"
        case "mostly_typed" if not detail["rejects"]:
            return "sometimes_typed"
        case "null_like_id" if not detail["rejects"]:
            return "null_like_user"
        case code:
            return str(code)


def _shown(name: str, value: object, t: Texts) -> object:
    match name, value:
        case "separator", str():
            return t("finding.spaces") if value.isspace() and value != "\t" else value.replace("\t", r"\t")
        case "examples", list():
            return ", ".join(str(example["text"]) for example in value)
        case _, Sequence() if not isinstance(value, str):
            return ", ".join(map(str, value[:SHOWN]))
        case _:
            return value
