"""Findings about text that Muster does not read, each with the command that makes a file it reads."""

from pathlib import PurePosixPath
from typing import Final

from connectors.sources.compression import Compression
from connectors.sources.findings import Finding, quoted
from connectors.sources.text_form import ALIGNED, SPACES, TextForm
from schemas.import_formats import COMPRESSED_SUFFIXES, IMPORT_FORMATS, ImportFormat
from schemas.text_form import DELIMITER_NAMES, Delimiter, TextEncoding, delimiter_name, delimiter_of

ENCODINGS: Final = {
    "CP932": "Shift_JIS (CP932)",
    "CP1252": "Windows-1252 (Latin-1)",
    "UTF-16LE": "UTF-16 without a byte order mark",
    "UTF-16BE": "UTF-16 without a byte order mark",
}
SEPARATOR_WORDS: Final = {
    ";": "semicolons",
    "\t": r"tabs (\t)",
    "|": "bars (|)",
    " ": "spaces",
    ALIGNED: "runs of spaces",
}
UNPACK: Final[dict[Compression, str]] = {"none": "", "gzip": "gzip -dc", "zstd": "zstd -dc"}
WRITER: Final = 'import csv; csv.writer(open(1, "w", encoding="utf-8", newline="")).writerows'


READ_ENCODINGS: Final[dict[str, TextEncoding]] = {
    "UTF-8": "utf-8",
    "CP932": "cp932",
    "EUC-JP": "euc-jp",
    "UTF-16": "utf-16",
    "UTF-16LE": "utf-16le",
    "UTF-16BE": "utf-16be",
    "CP1252": "cp1252",
}
"""By their names for iconv."""


def readable(form: TextForm) -> tuple[Delimiter, TextEncoding] | None:
    """How CSV that is not comma-separated UTF-8 is read; None if it is, or cannot be read."""
    encoding = READ_ENCODINGS.get(form.encoding)
    if encoding is None or form.separator not in DELIMITER_NAMES.values() or not IMPORT_FORMATS[form.format].untyped:
        return None
    found: tuple[Delimiter, TextEncoding] = (delimiter_of(form.separator), encoding)
    return None if found == (",", "utf-8") else found


def read_findings(form: TextForm, delimiter: Delimiter, encoding: TextEncoding) -> list[Finding]:
    """Findings about encoding and delimiter of text that the suggested import reads."""
    findings = []
    if encoding != "utf-8":
        name = ENCODINGS.get(form.encoding, form.encoding)
        example = f", such as {form.example!r}" if form.example else ""
        findings.append(
            Finding(
                code="encoding",
                message=f"the text is {name}{example}. The suggested import reads it so",
                suggestion=f"--encoding {encoding}",
                detail={"encoding": name, "example": form.example, "reads": True},
            )
        )
    if delimiter != ",":
        word = SEPARATOR_WORDS[form.separator]
        findings.append(
            Finding(
                code="separator",
                message=f"{form.columns} columns are separated by {word}. The suggested import reads them so",
                suggestion=f"--delimiter {delimiter_name(delimiter)}",
                detail={"separator": form.separator, "columns": form.columns, "reads": True},
            )
        )
    return findings


def text_findings(form: TextForm, called: str) -> list[Finding]:
    """Findings about encoding and separator. `called`: what the user calls the file."""
    findings = []
    command = _conversion(form, called)
    foreign = form.separator != ","
    if form.encoding != "UTF-8":
        name = ENCODINGS.get(form.encoding, form.encoding)
        example = f", such as {form.example!r}" if form.example else ""
        findings.append(
            Finding(
                code="encoding",
                message=f"the text is {name}{example}; it is not read. Convert the file and inspect the result",
                suggestion=None if foreign else command,
                blocking=True,
                detail={"encoding": name, "example": form.example},
            )
            if name
            else Finding(
                code="encoding",
                message="text that is not UTF-8, in an encoding that is not clear: find out which one the program "
                "that wrote the file uses, and convert the file from it",
                detail={"encoding": "", "example": ""},
            )
        )
    if foreign:
        word = SEPARATOR_WORDS[form.separator]
        one = ". If each line is one id instead, name it with --id-column" if form.separator in SPACES else ""
        findings.append(
            Finding(
                code="separator",
                message=f"{form.columns} columns are separated by {word}; they are not read. Convert the file and "
                f"inspect the result{one}",
                suggestion=command,
                blocking=True,
                detail={"separator": form.separator, "columns": form.columns},
            )
        )
    return findings


def _conversion(form: TextForm, called: str) -> str:
    """Shell command that writes the file as comma-separated UTF-8 beside it; it stops at an ambiguous quote."""
    encoding = "utf-8-sig" if form.encoding == "UTF-8" else form.encoding or "latin-1"
    if form.separator == ",":
        step = f"iconv -f {form.encoding} -t UTF-8"
    elif form.separator == ALIGNED:
        step = f"python3 -c '{WRITER}(map(str.split, open(0, encoding=\"{encoding}\")))'"
    else:
        separator = form.separator.replace("\t", r"\t")
        lines = f'open(0, encoding="{encoding}", newline="")'
        step = f"python3 -c '{WRITER}(csv.reader({lines}, delimiter=\"{separator}\", strict=True))'"
    source, target = quoted(called), quoted(_target(called, form.format))
    if unpack := UNPACK[form.compression]:
        return f"{unpack} < {source} | {step} > {target}"
    return f"{step} < {source} > {target}"


def _target(called: str, format_: ImportFormat) -> str:
    path = PurePosixPath(called)
    if path.suffix.lower() in COMPRESSED_SUFFIXES:
        path = path.with_suffix("")
    return str(path.with_name(f"{path.stem}.converted.{format_}"))
